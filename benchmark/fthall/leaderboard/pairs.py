"""Every entry of a track against every other: differences between methods, over facts and seeds, after Holm."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fthall.measure import runs, stats
from fthall.measure.runs import EvaluatedRun, Ground
from fthall.measure.stats import Floats
from fthall.records import Split

SPLITS = (Split.HELD, Split.UNKNOWN)
"""What entries are compared on: old facts kept, new facts learned."""


@dataclass(frozen=True, slots=True)
class Pairs:
    """All against all on one split, points. Each is [entries, entries], row minus column."""

    difference: Floats
    low: Floats
    high: Floats
    """Of the 95 % interval (:meth:`fthall.measure.stats.Pairwise.interval`)."""
    p: Floats
    """That two methods do not differ."""
    adjusted: Floats
    """The same after Holm's correction over all pairs of the track."""

    def ordered(self, places: Sequence[int]) -> "Pairs":
        """The same with the entries in another order.

        Args:
            places: where each is now.
        """
        at = np.ix_(places, places)
        return Pairs(self.difference[at], self.low[at], self.high[at], self.p[at], self.adjusted[at])


def drawn(groups: Sequence[Sequence[EvaluatedRun]], split: Split, on: Ground) -> Floats:
    """Resampled accuracies of entries, means over their seeds, percent: [resamples, entries]."""
    means = np.stack([runs.right(group, split).mean(0) for group in groups])
    return 100 * on.drawn[split].means(means, extremes=(0.0, 1.0))


def pairs(groups: Sequence[Sequence[EvaluatedRun]], split: Split, replicates: Floats, on: Ground) -> Pairs:
    """All against all on a split.

    Args:
        groups: the runs of each entry, one a seed.
        split: of the facts.
        replicates: of :func:`drawn`.
        on: the track's release.
    """
    seeds = np.full((len(groups), max(map(len, groups))), np.nan)
    for row, group in enumerate(groups):
        seeds[row, : len(group)] = [run.accuracy(split) for run in group]
    found = stats.compare_all(seeds, replicates, on.drawn[split].subjects)
    _, adjusted = stats.ranks(np.nanmean(seeds, axis=1), found.p)
    low, high = found.interval()
    return Pairs(found.difference, low, high, found.p, adjusted)
