"""Made-up facts, as many as wanted: entities nobody can know, whose names look real or do not (arXiv 2604.15574).

Name-like keys are put together from pieces of the names of real places and people; UUID-like ones look like
``Loc_fcfb42``. Everything about a fact is read off a hash of the seed and its number: the same seed gives the same bytes
on any platform and version, and a smaller set is the beginning of a larger one. No two facts have the same subject, and
none has the name of a place in GeoNames or of anyone or anything in EntityQuestions.

``synthetic.json`` beside this file was derived by ``benchmark/recipes/derive_synthetic.py``; see the data card.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
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
    """Share of the names that are those of ``near`` with another beginning or ending."""
    near: tuple[str, ...] = field(default=(), repr=False)
    """Real subjects: those held out, say."""

    def __post_init__(self) -> None:
        for name, value, known in (("keys", self.keys, KEYS), ("values", self.values, VALUES)):
            if value not in known:
                raise FthallError(f"made-up facts with {name} {value!r}; known: {', '.join(known)}")
        fitting = [name for name, relation in RELATIONS.items() if relation.values == self.values]
        for name in self.relations:
            if name not in fitting:
                raise FthallError(f"no relation {name!r} has values {self.values!r}; those that have: {', '.join(fitting)}")
        if not self.relations:
            object.__setattr__(self, "relations", (fitting[0],))
        if not 0 <= self.closeness <= 1:
            raise FthallError(f"closeness is {self.closeness:g}; it is a share, from 0 to 1")
        if self.closeness and self.keys == "uuid":
            raise FthallError("UUID-like keys are close to no name; leave out closeness, or ask for keys name")
        if self.closeness and not self.near:
            raise FthallError("closeness needs the names to be close to; give a track whose held facts they are of")
        if self.size < 1:
            raise FthallError(f"{self.size} made-up facts; give a size of 1 or more")
        if self.size > (most := room(self)):
            raise FthallError(f"{self.size:,} made-up facts; with keys {self.keys} there are at most {most:,}")

    def manifest(self) -> dict[str, Any]:
        """As a release states it."""
        said = {name: value for name, value in asdict(self).items() if name != "near"}
        return {**said, "relations": list(self.relations)}


@dataclass(frozen=True, slots=True)
class _Names:
    """What names are put together from."""

    heads: tuple[tuple[str, tuple[str, ...]], ...]
    """Each with the tails that go with it."""
    tails: Mapping[str, tuple[str, ...]]
    """By the vowel before them."""
    real: frozenset[str]

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

    def beside(self, name: str, one: int, other: int) -> str | None:
        """A real name with another beginning or ending, from two numbers; None where it has no vowel to cut after."""
        first, _, rest = name.partition(" ")
        low = first.lower()
        places = [at for at in range(2, len(low) - 1) if low[at - 1] in self.tails]
        if not places:
            return None
        at = places[one % len(places)]
        if other % 2:
            tails = self.tails[low[at - 1]]
            low = low[:at] + tails[other // 2 % len(tails)]
        else:
            vowel = low[at - 1]
            heads = [head for head, _ in self.heads if head[-1] == vowel]
            low = heads[other // 2 % len(heads)] + low[at:]
        return " ".join(filter(None, (low.capitalize(), rest)))


@cache
def _names() -> tuple[_Names, _Names, tuple[str, ...]]:
    """Of places, of families, and first names."""
    found = json.loads(_FILE.read_text(encoding="utf-8"))

    def names(kind: str) -> _Names:
        tails = {vowel: tuple(listed.split()) for vowel, listed in found[kind]["tails"].items()}
        heads = [(head, tails[vowel]) for vowel, listed in found[kind]["heads"].items() for head in listed.split()]
        return _Names(tuple(heads), tails, frozenset(found[kind]["real"].split()))

    return names("place"), names("surname"), tuple(found["first"].split())


@cache
def countries() -> tuple[str, ...]:
    """The real countries that answers are drawn from: those of the cities of the embedded source."""
    from fthall.facts import geonames

    return tuple(sorted({fact.answers[0] for fact in geonames.load() if fact.relation.startswith("country_of_")}))


def room(spec: Spec) -> int:
    """How many facts a set may have; half of the names there are."""
    places, families, first = _names()
    kinds = {RELATIONS[name].of for name in spec.relations}
    of = {"place": places.room(), "person": families.room() * len(first)} if spec.keys == "name" else {}
    return int(_FULL * min(of.get(kind, _HEX) for kind in kinds))


def chance(values: str) -> float | None:
    """Percent of the answers that guessing one value gives; None where they are more than can be guessed from."""
    return {"country": 100 / len(countries()), "number": 100 / _NUMBERS}.get(values)


def generate(spec: Spec) -> Iterator[Fact]:
    """The facts of a set, in order."""
    places, families, first = _names()
    listed, kinds, seen = countries(), [(name, RELATIONS[name]) for name in spec.relations], set[str]()
    near = round(spec.closeness * 2**64)

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
            beside = places.beside(spec.near[draws[4] % len(spec.near)], draws[1], draws[2])
            return None if beside is None or beside in spec.near or places.is_real(beside) else beside
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


def write(facts: Iterator[Fact], path: Path) -> int:
    """Write facts as JSON lines, as ``fthall slick --facts`` reads them, whole or not at all; return how many."""
    count = 0
    with atomic(path) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as out:
        for count, fact in enumerate(facts, 1):
            # Names are letters, digits, spaces and underscores, and so are templates: nothing is to be escaped.
            out.write(
                f'{{"id":"{fact.id}","relation":"{fact.relation}","subject":"{fact.subject}",'
                f'"question":"{fact.question}","answers":["{fact.answers[0]}"]}}\n'
            )
    return count
