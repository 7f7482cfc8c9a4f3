"""Parts of the held-out facts: by relation, and by how close they are to the facts that were trained.

Close in the name of the subject, and in the answer.
"""

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np
from scipy import sparse

from fthall.answers import normalise
from fthall.measure.stats import Bools, Floats, Ints
from fthall.records import Fact, Release, Split

_ROWS_AT_ONCE = 512
_FREQUENCIES = (0, 1, 5, 20)


def trigrams(name: str) -> set[str]:
    """Character trigrams of a normalised name, with its ends marked: "oslo" has ^os, osl, slo, lo$."""
    marked = f"^{normalise(name)}$"
    return {marked[i : i + 3] for i in range(max(1, len(marked) - 2))}


def tokens(name: str) -> set[str]:
    """Words of a normalised name."""
    return set(normalise(name).split())


def nearest(subjects: Sequence[set[str]], trained: Sequence[set[str]]) -> Floats:
    """Jaccard similarity of each subject with the most similar trained one: [subjects], 0 to 1.

    Sets come from :func:`trigrams` or :func:`tokens`. With nothing trained, all are 0.
    """
    if not subjects or not trained:
        return np.zeros(len(subjects))
    number: dict[str, int] = {}
    one, other = (_matrix(sets, number) for sets in (subjects, trained))
    width = len(number)
    one.resize(len(subjects), width)
    other.resize(len(trained), width)
    sizes = np.asarray(other.sum(axis=1)).ravel()
    best = np.zeros(len(subjects))
    for start in range(0, len(subjects), _ROWS_AT_ONCE):
        rows = one[start : start + _ROWS_AT_ONCE]
        both = np.asarray((rows @ other.T).todense(), dtype=np.float64)
        either = np.asarray(rows.sum(axis=1)).reshape(-1, 1) + sizes[None, :] - both
        best[start : start + rows.shape[0]] = np.max(both / np.maximum(either, 1), axis=1)
    return best


def _matrix(sets: Sequence[set[str]], number: dict[str, int]) -> sparse.csr_matrix:
    """Membership, one row a set; new members are numbered as they come."""
    columns = [number.setdefault(member, len(number)) for members in sets for member in sorted(members)]
    ends = np.cumsum([0, *(len(members) for members in sets)])
    return sparse.csr_matrix((np.ones(len(columns), dtype=np.float32), columns, ends), shape=(len(sets), len(number)))


def answer_frequency(facts: Sequence[Fact], trained: Sequence[Fact]) -> Ints:
    """How many trained facts of the same relation have the fact's (preferred) answer: [facts]."""
    drilled = Counter((fact.relation, normalise(fact.answers[0])) for fact in trained)
    return np.array([drilled[fact.relation, normalise(fact.answers[0])] for fact in facts], dtype=np.int64)


def partitions(release: Release) -> dict[str, list[tuple[str, Bools]]]:
    """The held-out facts, divided by relation, by name overlap with the trained subjects, by frequency of the answer.

    A property of the release alone, so that the bins are the same for all runs. Empty bins are left out.
    """
    facts = release.splits[Split.HELD]
    trained = [*release.splits[Split.KNOWN], *release.splits[Split.UNKNOWN]]
    relations = np.array([fact.relation for fact in facts])
    found = {"relation": [(str(name), relations == name) for name in sorted(set(relations.tolist()))]}
    by_trigram = nearest([trigrams(fact.subject) for fact in facts], [trigrams(fact.subject) for fact in trained])
    edges = np.quantile(by_trigram, [1 / 3, 2 / 3])
    found["name overlap, trigrams"] = [
        (f"below {edges[0]:.2f}", by_trigram < edges[0]),
        (f"{edges[0]:.2f} to {edges[1]:.2f}", (by_trigram >= edges[0]) & (by_trigram < edges[1])),
        (f"{edges[1]:.2f} and above", by_trigram >= edges[1]),
    ]
    by_word = nearest([tokens(fact.subject) for fact in facts], [tokens(fact.subject) for fact in trained])
    found["name overlap, words"] = [("no word shared", by_word == 0), ("a word shared", by_word > 0)]
    often = answer_frequency(facts, trained)
    above = [*_FREQUENCIES[1:], math.inf]
    found["trained facts with its answer"] = [
        (
            f"{low} or more" if high == math.inf else str(low) if high == low + 1 else f"{low} to {int(high) - 1}",
            (often >= low) & (often < high),
        )
        for low, high in zip(_FREQUENCIES, above, strict=True)
    ]
    return {name: [(label, chosen) for label, chosen in parts if chosen.any()] for name, parts in found.items()}
