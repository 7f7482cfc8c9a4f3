"""Evaluated runs, and how two of them are paired: on the same facts, and by seed.

Numbers over several seeds are means over them; intervals and p-values are over subjects with the training fixed
(:mod:`fthall.measure.stats`), and the spread over seeds stands beside them, never inside them.
"""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from fthall.answers import LETTERS, outcomes_of
from fthall.measure import bins, metrics, stats
from fthall.measure.bins import Parts
from fthall.measure.stats import Bools, Codes, Parted, Resamples
from fthall.records import Answer, EpochPoint, Outcome, Release, Split

CODES = {outcome: code for code, outcome in enumerate(Outcome)}
"""Of each outcome, in arrays: 0 is correct."""


@dataclass(frozen=True)
class EvaluatedRun:
    """One training of one entry with every answer of its checkpoint: what all numbers are made of."""

    slug: str
    track: str
    release: str
    """Digest of the release it was trained and evaluated on."""
    entry: str
    """What is ranked: all runs of one entry are its seeds."""
    title: str
    method: str
    seed: int
    trained_on: tuple[Split, ...]
    answers: Mapping[Split, tuple[Answer, ...]]
    """Of each split, in the release's order."""
    trajectory: tuple[EpochPoint, ...] = ()
    """In order of epochs; empty if there is none."""

    @cached_property
    def outcomes(self) -> Mapping[Split, Codes]:
        """What became of each answer (:data:`CODES`), [items] a split."""
        code = np.zeros(128, dtype=np.int8)
        for outcome, letter in LETTERS.items():
            code[ord(letter)] = CODES[outcome]
        letters = {split: outcomes_of(self.answers, split).encode() for split in self.answers}
        return {split: code[np.frombuffer(of, dtype=np.uint8)] for split, of in letters.items()}

    @cached_property
    def right(self) -> Mapping[Split, Bools]:
        """Which answers are correct, [items] a split."""
        return {split: codes == CODES[Outcome.CORRECT] for split, codes in self.outcomes.items()}

    def accuracy(self, split: Split) -> float:
        """Exact match on a split, percent."""
        return 100 * float(self.right[split].mean())


@dataclass(frozen=True)
class Ground:
    """A release with what all statistics on it share: the same resampled subjects for every run."""

    release: Release
    drawn: Mapping[Split, Resamples]

    @cached_property
    def parts(self) -> Parts:
        """Parts of the held-out facts (:func:`fthall.measure.bins.partitions`)."""
        return bins.partitions(self.release)

    @cached_property
    def parted(self) -> Parted:
        """The resamples seen from all :attr:`parts`, one after the other."""
        return Parted(self.drawn[Split.HELD], np.stack([chosen for rows in self.parts.values() for _, chosen in rows]))

    @cached_property
    def relations(self) -> Sequence[str]:
        """Of the held-out facts."""
        return [fact.relation for fact in self.release.splits[Split.HELD]]

    @cached_property
    def drilled(self) -> Mapping[Split, frozenset[tuple[str, str]]]:
        """The answers of a split's facts (:func:`fthall.measure.metrics.drilled`)."""
        return {split: metrics.drilled(facts) for split, facts in self.release.splits.items()}


def ground(release: Release) -> Ground:
    """Draw the resamples of every split."""
    drawn = {
        split: stats.resample([fact.subject for fact in facts], [fact.relation for fact in facts])
        for split, facts in release.splits.items()
    }
    return Ground(release, drawn)


@dataclass(frozen=True, slots=True)
class Paired:
    """A difference on the same items, points: first minus second."""

    items: int
    pairs: int
    """Pairs of runs, one a seed of the second."""
    same_seeds: bool
    """Whether every run was paired with the same seed."""
    difference: float
    low: float
    high: float
    """95 % interval over subjects, the training held fixed."""
    p: float
    """Exact two-sided sign-flip test over subjects; McNemar's for one pair and one fact a subject."""
    lost: float
    """Items a pair that only the first has right, mean over pairs."""
    gained: float
    """Items a pair that only the second has right, mean over pairs."""
    seed_sd: float | None
    """Standard deviation of the difference over pairs, points; None for one pair."""
    methods: "Methods | None"
    """The same difference as one between methods; None unless both have two seeds or more."""

    @property
    def judged(self) -> "Methods":
        """What the difference is judged by: that of the methods where it is known, else that of the checkpoints."""
        return self.methods or Methods(self.low, self.high, self.p)


@dataclass(frozen=True, slots=True)
class Methods:
    """A difference between methods: over items and seeds (:func:`fthall.measure.stats.compare_all`)."""

    low: float
    high: float
    p: float


def right(runs: Sequence[EvaluatedRun], split: Split) -> Bools:
    """Which answers are correct: [runs, items], in the release's order."""
    return np.stack([run.right[split] for run in runs])


def twins(first: Sequence[EvaluatedRun], second: Sequence[EvaluatedRun]) -> list[tuple[EvaluatedRun, EvaluatedRun]]:
    """Each run of the second with the same seed of the first, or with its first seed where it lacks that one."""
    by_seed = {run.seed: run for run in first}
    return [(by_seed.get(run.seed, first[0]), run) for run in second]


def paired(
    first: Sequence[EvaluatedRun],
    second: Sequence[EvaluatedRun],
    split: Split,
    on: Ground,
    chosen: Bools | None = None,
) -> Paired:
    """First minus second on a split, or on the chosen facts of it."""
    drawn = on.drawn[split]
    chosen = np.ones(len(drawn.subject), dtype=bool) if chosen is None else chosen
    drawn = drawn if chosen.all() else drawn.part(chosen)
    pairs = twins(first, second)
    apart = right([a for a, _ in pairs], split)[:, chosen].astype(np.int64)
    apart -= right([b for _, b in pairs], split)[:, chosen]
    by_seed = 100 * apart.mean(1)
    low, high = 0.0, 0.0
    if any((a.entry, a.seed) != (b.entry, b.seed) for a, b in pairs):  # 0 for sure with itself
        n = len(pairs)  # of sums, which are whole numbers, and so exact
        low, high = (float(end) / n for end in drawn.interval(apart.sum(0), extremes=(-n, n)))
    return Paired(
        items=int(chosen.sum()),
        pairs=len(pairs),
        same_seeds=all(a.seed == b.seed for a, b in pairs),
        difference=float(by_seed.mean()),
        low=100 * low,
        high=100 * high,
        p=stats.sign_flip(drawn.totals(apart.sum(0))),
        lost=float((apart > 0).sum() / len(pairs)),
        gained=float((apart < 0).sum() / len(pairs)),
        seed_sd=spread(by_seed.tolist()),
        methods=_methods(first, second, split, chosen, drawn),
    )


def spread(values: Sequence[float]) -> float | None:
    """Standard deviation over seeds; None for one."""
    return statistics.stdev(values) if len(values) > 1 else None


def _methods(
    first: Sequence[EvaluatedRun], second: Sequence[EvaluatedRun], split: Split, chosen: Bools, drawn: Resamples
) -> Methods | None:
    if min(len(first), len(second)) < 2 or first[0].entry == second[0].entry:
        return None
    one, other = right(first, split)[:, chosen], right(second, split)[:, chosen]
    seeds = np.full((2, max(len(one), len(other))), np.nan)
    replicates = []
    for row, found in enumerate((one, other)):
        n = len(found)
        seeds[row, :n] = 100 * found.mean(1)
        replicates.append(100 * drawn.means(found.sum(0), extremes=(0, n)) / n)
    pair = stats.compare_all(seeds, np.stack(replicates, axis=1), drawn.subjects)
    low, high = pair.interval()
    return Methods(float(low[0, 1]), float(high[0, 1]), float(pair.p[0, 1]))
