"""Parts of the held-out facts: by relation, and by how close they are to the facts that were trained.

Close in the name of the subject, and in the answer.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from fthall.answers import normalise
from fthall.measure.stats import Bools, Ints
from fthall.names import nearest, tokens, trigrams
from fthall.records import Fact, Release, Split

Parts = Mapping[str, Sequence[tuple[str, Bools]]]
"""By what the held-out facts are divided: a label and which facts, [facts], a part."""
_FREQUENCIES = (0, 1, 5, 20)


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
