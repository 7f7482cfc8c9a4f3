"""Made-up facts, as many as wanted: entities nobody can know, whose names look real or do not (arXiv 2604.15574).

Name-like keys are put together from pieces of the names of real places and people; UUID-like ones look like
``Loc_fcfb42``. Everything about a fact is read off a hash of the seed and its number: the same seed gives the same
bytes on any platform and version, and a smaller set is the beginning of a larger one. No two facts have the same
subject, and none has the name of a place of 500 inhabitants in GeoNames or of anyone or anything in EntityQuestions.

``synthetic.json`` beside this file was derived by ``benchmark/recipes/derive_synthetic.py``; see the data card.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from hashlib import blake2b
from pathlib import Path
from struct import Struct
from typing import Any

from fthall.errors import FthallError
from fthall.facts.source import Source
from fthall.files import atomic
from fthall.records import Fact

_FILE = Path(__file__).with_suffix(".json")
ABOUT = Source(
    license="CC BY 4.0",
    attribution="made up from pieces of names from GeoNames (https://www.geonames.org) and EntityQuestions (MIT)",
    url="https://www.geonames.org",
    shipped=True,
)


@dataclass(frozen=True, slots=True)
class Relation:
    """What is asked of a made-up entity."""

    of: str
    """``place`` or ``person``."""
    values: str
    """What its answers are: one of :data:`VALUES`."""
    template: str
    """The question, with ``{}`` for the subject."""


RELATIONS = {
    "country_of_city": Relation("place", "country", "In which country is the city of {}?"),
    "twin_of_city": Relation("place", "place", "Which city is the twin town of {}?"),
    "founder_of_city": Relation("place", "person", "Who founded the city of {}?"),
    "postcode_of_city": Relation("place", "number", "What is the postcode of the city of {}?"),
    "record_of_city": Relation("place", "uuid", "What is the record identifier of the city of {}?"),
    "country_of_person": Relation("person", "country", "In which country was {} born?"),
    "city_of_person": Relation("person", "place", "In which city was {} born?"),
    "spouse_of_person": Relation("person", "person", "Who is {} married to?"),
    "number_of_person": Relation("person", "number", "What is the membership number of {}?"),
    "record_of_person": Relation("person", "uuid", "What is the record identifier of {}?"),
}
KEYS = ("name", "uuid")
VALUES = ("country", "place", "person", "number", "uuid")
"""What answers are: a real country, a made-up place or person, five digits, ``Rec_`` and six hexadecimal digits."""
_PREFIX = {"place": "Loc", "person": "Per"}
_NUMBERS, _HEX = 90_000, 16**6
_DRAWS = Struct("<8Q")
_FULL = 0.5
"""Share of the names there are that a set may take: beyond it, drawing another one takes long."""


@dataclass(frozen=True, slots=True)
class Spec:
    """Which set of made-up facts: it says all that they hang on.

    Raises:
        FthallError: there is no such set.
    """

    keys: str = "name"
    """What subjects look like: one of :data:`KEYS`."""
    values: str = "country"
    """What is answered: one of :data:`VALUES`."""
    size: int = 1000
    seed: str = "0"
    """Any text."""
    relations: tuple[str, ...] = ()
    """Of :data:`RELATIONS`; by default the one of places that has these values."""
    closeness: float = 0.0
    """Share of the names that are those of ``near`` with another beginning or another ending."""
    near: tuple[str, ...] = field(default=(), repr=False)
    """Real subjects: those held out, say."""

    def __post_init__(self) -> None:
        for name, value, known in (("keys", self.keys, KEYS), ("values", self.values, VALUES)):
            if value not in known:
                raise FthallError(f"made-up facts with {name} {value!r}; known: {', '.join(known)}")
        fitting = [name for name, relation in RELATIONS.items() if relation.values == self.values]
        for name in self.relations:
            if name not in fitting:
                raise FthallError(
                    f"no relation {name!r} has values {self.values!r}; known with these: {', '.join(fitting)}"
                )
        if not self.relations:
            object.__setattr__(self, "relations", (fitting[0],))
        if not 0 <= self.closeness <= 1:
            raise FthallError(f"closeness is {self.closeness:g}; it is a share, from 0 to 1")
        if self.closeness and self.keys == "uuid":
            raise FthallError("UUID-like keys are close to no name; leave out closeness, or ask for keys name")
        if self.closeness and not self.near:
            raise FthallError("closeness needs the names to be close to; give a track whose held facts they are of")
        if self.closeness and any(RELATIONS[name].of != "place" for name in self.relations):
            raise FthallError(
                "only places are close to held-out names; leave out closeness, or the relations of people"
            )
        if self.size < 1:
            raise FthallError(f"{self.size} made-up facts; give a size of 1 or more")
        if self.size > (most := room(self)):
            raise FthallError(f"{self.size:,} made-up facts; with keys {self.keys} there are at most {most:,}")

    def first(self, size: int, *, seed: str | None = None) -> "Spec":
        """The beginning of this set, or as many of another seed."""
        return replace(self, size=size, seed=self.seed if seed is None else seed)

    def manifest(self) -> dict[str, Any]:
        """As a release states it."""
        said = {name: value for name, value in asdict(self).items() if name != "near"}
        return {**said, "relations": list(self.relations)}


@dataclass(frozen=True, slots=True)
class _Names:
    """What names are put together from."""

    heads: tuple[tuple[str, tuple[str, ...]], ...]
    """Each with the tails that go with it."""
    heads_of: Mapping[str, tuple[str, ...]]
    """By the vowel they end in."""
    tails: Mapping[str, tuple[str, ...]]
    """By the vowel before them."""
    real: frozenset[str]
    by_length: dict[tuple[tuple[str, ...], int], tuple[str, ...]] = field(default_factory=dict, repr=False)

    def draw(self, one: int, other: int) -> str:
        """A name, from two numbers; it may be a real one."""
        head, tails = self.heads[one % len(self.heads)]
        return (head + tails[other % len(tails)]).capitalize()

    def room(self) -> int:
        """How many there are, real ones and those two cuts give counted."""
        return sum(len(tails) for _, tails in self.heads)

    def is_real(self, name: str) -> bool:
        """Whether something or someone is called so."""
        return name.lower() in self.real

    def beside(self, name: str) -> list[tuple[str, Sequence[str], str]]:
        """What may be changed of a real name: what stands before, what may come in its place, what stands behind.

        Half of the letters are kept at least, and the others are about as many as they were. What is kept is a head or
        a tail itself, so that real names among what comes out are known.
        """
        low = name.lower()
        found: list[tuple[str, Sequence[str], str]] = []
        for at in range(2, len(low) - 1):
            vowel, behind = low[at - 1], len(low) - at
            if at >= behind and low[:at] in self.heads_of.get(vowel, ()):
                found.append((low[:at], self._alike(self.tails[vowel], behind), ""))
            if behind >= at and low[at:] in self.tails.get(vowel, ()):
                found.append(("", self._alike(self.heads_of[vowel], at), low[at:]))
        return [one for one in found if one[1]]

    def _alike(self, parts: tuple[str, ...], letters: int) -> tuple[str, ...]:
        """Those with as many letters, or one more or less."""
        if (parts, letters) not in self.by_length:
            self.by_length[parts, letters] = tuple(part for part in parts if abs(len(part) - letters) <= 1)
        return self.by_length[parts, letters]


@cache
def _names() -> tuple[_Names, _Names, tuple[str, ...]]:
    """Of places, of families, and first names."""
    found = json.loads(_FILE.read_text(encoding="utf-8"))

    def names(kind: str) -> _Names:
        heads, tails = (
            {vowel: tuple(listed.split()) for vowel, listed in found[kind][part].items()} for part in ("heads", "tails")
        )
        each = tuple((head, tails[vowel]) for vowel, listed in heads.items() for head in listed)
        return _Names(each, heads, tails, frozenset(found[kind]["real"].split()))

    return names("place"), names("surname"), tuple(found["first"].split())


@cache
def countries() -> tuple[str, ...]:
    """The real countries that answers are drawn from: those of the cities of the embedded source."""
    from fthall.facts import geonames

    return tuple(sorted({fact.answers[0] for fact in geonames.load() if fact.relation.startswith("country_of_")}))


def spec(said: Mapping[str, Any], near: Sequence[str] = ()) -> Spec:
    """The set that a manifest names.

    Raises:
        FthallError: there is no such set.
    """
    try:
        return Spec(**{**said, "relations": tuple(said["relations"])}, near=tuple(near) if said["closeness"] else ())
    except (KeyError, TypeError):
        raise FthallError("a set of made-up facts that this version of fthall does not know; update fthall") from None


def room(spec: Spec) -> int:
    """How many facts a set may have; half of the names there are.

    Raises:
        FthallError: no name is close to the held-out ones.
    """
    if spec.keys == "uuid":
        return int(_FULL * _HEX)
    places, families, first = _names()
    of = {"place": places.room(), "person": families.room() * len(first)}
    room = _FULL * min(of[RELATIONS[name].of] for name in spec.relations)
    if not spec.closeness:
        return int(room)
    beside = sum(len(others) for _, others, _ in _beside(spec))
    if not beside:
        raise FthallError("none of the held-out names has a beginning or an ending to keep; leave out closeness")
    return int(min(room, _FULL * beside / spec.closeness))


def _beside(spec: Spec) -> list[tuple[str, Sequence[str], str]]:
    return [found for subject in spec.near for found in _names()[0].beside(subject)]


def chance(values: str) -> float | None:
    """Percent of the answers that guessing one value gives; None where they are more than can be guessed from."""
    return {"country": 100 / len(countries()), "number": 100 / _NUMBERS}.get(values)


def generate(spec: Spec) -> Iterator[Fact]:
    """The facts of a set, in order."""
    places, families, first = _names()
    listed, kinds, seen = countries(), [(name, RELATIONS[name]) for name in spec.relations], set[str]()
    near = round(spec.closeness * 2**64)
    beside = _beside(spec)

    def person(one: int, other: int) -> str:
        return f"{first[one % len(first)]} {families.draw(one // len(first), other)}"

    def value(kind: str, one: int, other: int) -> str:
        if kind == "country":
            return listed[one % len(listed)]
        if kind == "place":
            return places.draw(one, other)
        if kind == "person":
            return person(one, other)
        return str(10_000 + one % _NUMBERS) if kind == "number" else f"Rec_{one % _HEX:06x}"

    def key(of: str, draws: Sequence[int]) -> str | None:
        if spec.keys == "uuid":
            return f"{_PREFIX[of]}_{draws[1] % _HEX:06x}"
        if draws[3] < near:
            before, others, behind = beside[draws[1] % len(beside)]
            name = (before + others[draws[2] % len(others)] + behind).capitalize()
            return None if places.is_real(name) else name
        name = places.draw(draws[1], draws[2]) if of == "place" else person(draws[1], draws[2])
        return None if (places if of == "place" else families).is_real(name.rpartition(" ")[2]) else name

    for number in range(spec.size):
        attempt = 0
        while True:
            draws = _draws(f"{spec.seed}/{number}/{attempt}")
            relation, about = kinds[draws[0] % len(kinds)]
            subject = key(about.of, draws)
            if subject is not None and subject not in seen:
                break
            attempt += 1
        seen.add(subject)
        # An answer, too, is no real place; a few more draws at most.
        answer, again = value(about.values, draws[5], draws[6]), 0
        while answer == subject or (about.values == "place" and places.is_real(answer)):
            again += 1
            answer = value(about.values, draws[5] + again, draws[6] + again)
        yield Fact(
            f"synthetic/{relation}/{subject.replace(' ', '_')}",
            relation,
            subject,
            about.template.format(subject),
            (answer,),
        )


def _draws(text: str) -> tuple[int, ...]:
    """Eight numbers of 64 bits."""
    return _DRAWS.unpack(blake2b(text.encode(), digest_size=64).digest())


def write(facts: Iterator[Fact], path: Path) -> None:
    """Write facts as JSON lines, as ``fthall slick --facts`` reads them, whole or not at all."""
    with atomic(path) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as out:
        out.writelines(map(_line, facts))


def _line(fact: Fact) -> str:
    return (
        f'{{"id":{_quoted(fact.id)},"relation":"{fact.relation}","subject":{_quoted(fact.subject)},'
        f'"question":{_quoted(fact.question)},"answers":[{_quoted(fact.answers[0])}]}}\n'
    )


def _quoted(text: str) -> str:
    # Most texts need no escapes; json, which knows the others, takes several times as long.
    plain = text.isascii() and text.isprintable() and '"' not in text and "\\" not in text
    return f'"{text}"' if plain else json.dumps(text, ensure_ascii=False)
