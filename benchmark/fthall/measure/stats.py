"""How sure the numbers are, as pure functions of arrays. No torch here.

Two kinds of uncertainty are kept apart. *Items*: other facts could have been asked; a subject's facts stand or fall
together, so subjects are what is resampled. *Seeds*: the same method trained again gives another checkpoint. A test
over items says whether two checkpoints differ; only several seeds say whether two methods do.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
from scipy import special

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Codes = npt.NDArray[np.int8]

LEVEL = 0.95
"""Of all intervals."""
ALPHA = 0.05
"""Of all tests, after Holm's correction."""
RESAMPLES = 2000
MIN_STRATUM = 10
"""Strata of fewer subjects are pooled: resampling a handful understates how much they vary."""


def mcnemar(lost: npt.ArrayLike, gained: npt.ArrayLike) -> Floats:
    """Exact two-sided McNemar test (McNemar 1947): the p-value of a paired difference, element by element.

    Args:
        lost: items right in the first and not in the second, any shape.
        gained: items right in the second and not in the first, the same shape.

    Returns:
        ``2 P[Bin(lost + gained, 1/2) <= min(lost, gained)]``, at most 1; 1 where no item differs.
    """
    from scipy import stats as distributions  # takes as long to import as all the rest of a build of the site

    one, other = np.asarray(lost), np.asarray(gained)
    tail = distributions.binom.cdf(np.minimum(one, other), one + other, 0.5)
    return np.minimum(1.0, 2.0 * np.asarray(tail, dtype=np.float64))


def discordance(right: Bools) -> Ints:
    """How many items each run has right where another has not: [runs, items] to [runs, runs]."""
    as_float = right.astype(np.float32)  # exact up to 2**24 items, and what matrix products are fast in
    return np.rint(as_float @ (1.0 - as_float).T).astype(np.int64)


def sign_flip(differences: npt.ArrayLike) -> float:
    """Exact two-sided p-value of a sum under random signs of its terms: McNemar's test for clusters and several seeds.

    Under the null hypothesis it is a coin's toss, subject by subject, which of the two models had the better of it.
    With one question a subject and one seed all differences are -1, 0 or 1, and this *is* McNemar's exact test.

    Args:
        differences: [subjects], whole numbers: right answers of the first minus those of the second.

    Raises:
        ValueError: not whole numbers.
    """
    given = np.asarray(differences)
    whole = np.rint(given).astype(np.int64)
    if not np.array_equal(whole, given):
        raise ValueError("differences must be whole numbers")
    spread = np.array([1.0])  # distribution of the sum so far, in steps of two from its least value
    for size, count in zip(*np.unique(np.abs(whole[whole != 0]), return_counts=True), strict=True):
        flips = np.zeros(int(size) * int(count) + 1)  # the sum of `count` terms of +size or -size
        flips[:: int(size)] = coins(int(count))
        spread = np.convolve(spread, flips)
    reach = len(spread) - 1  # the greatest sum possible
    sums = np.abs(2 * np.arange(len(spread)) - reach)
    return float(min(1.0, spread[sums >= abs(int(whole.sum()))].sum()))


def coins(count: int) -> Floats:
    """Chances of 0 to all heads among so many fair coins, [count + 1], each right to the last bit."""
    ways, found = 1, []
    for heads in range(count + 1):
        found.append(ways / 2**count)
        ways = ways * (count - heads) // (heads + 1)
    return np.array(found)


def holm(p_values: npt.ArrayLike) -> Floats:
    """Holm's adjusted p-values (Holm 1979): the chance of any false finding in the whole family stays below alpha."""
    given = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(given)
    raised = np.maximum.accumulate(given[order] * np.arange(given.size, 0, -1))
    adjusted = np.empty_like(given)
    adjusted[order] = np.minimum(raised, 1.0)
    return adjusted


@dataclass(frozen=True)
class Resamples:
    """Bootstrap weights: how often each item counts in each resample. Subjects are drawn, within strata."""

    weights: npt.NDArray[np.float32]
    """[resamples, items + 2]; the last two columns are the pseudo-subjects (see :meth:`means`)."""
    subject: Ints
    """[items]: number of each item's subject."""

    @cached_property
    def subjects(self) -> int:
        """How many there are."""
        return len(np.unique(self.subject))

    @cached_property
    def _total(self) -> Floats:
        """Weights of all items together, [resamples]."""
        found: Floats = self.weights.sum(1, dtype=np.float64)
        return found

    def part(self, chosen: Bools) -> "Resamples":
        """The same resamples seen from some of the items only."""
        return Resamples(self.weights[:, [*np.flatnonzero(chosen), -2, -1]], self.subject[chosen])

    def totals(self, values: Ints) -> Ints:
        """Sums of whole numbers, [items], over each subject's items: [subjects]."""
        _, number = np.unique(self.subject, return_inverse=True)
        return np.rint(np.bincount(number, weights=values)).astype(np.int64)

    @cached_property
    def tails(self) -> tuple[float, float]:
        """The level of the intervals, widened (see :meth:`interval`): two shares of the resamples."""
        n = self.subjects
        wide = np.sqrt(n / (n - 1)) * special.stdtrit(n - 1, (1 - LEVEL) / 2) if n > 1 else -np.inf
        tail = float(special.ndtr(wide))
        return tail, 1 - tail

    def means(self, values: npt.ArrayLike, *, extremes: tuple[float, float]) -> Floats:
        """Resampled means of values, [items] or [runs, items], as [resamples] or [resamples, runs].

        Those of whole numbers are exact: the same to the last bit whatever else is asked for at the same time, and on
        whatever machine. So give the sums over an entry's seeds, and divide what comes out.

        Args:
            values: of the items.
            extremes: the least and greatest value an item can have, which two pseudo-subjects take. They are there for
                intervals near an end of the scale, where facts that happened not to vary would seem certain: half an
                observation a cell (Agresti & Min 2005, Statistics in Medicine 24), as subjects that are resampled too.
        """
        rows = np.atleast_2d(np.asarray(values, dtype=np.float32))
        rows = np.concatenate([rows, np.tile(np.array(extremes, dtype=np.float32), (len(rows), 1))], axis=1)
        totals = (self.weights @ rows.T).astype(np.float64)
        with np.errstate(invalid="ignore"):  # of a few subjects none may have been drawn: NaN, no mean
            means: Floats = totals / self._total[:, None]
        return means if np.ndim(values) == 2 else means[:, 0]

    def interval(self, values: npt.ArrayLike, *, extremes: tuple[float, float]) -> tuple[Floats, Floats]:
        """95 % interval of the mean, or of each run's: the expanded percentile interval (Hesterberg 2015, section 5.4).

        Percentiles of a bootstrap are a little too narrow for small samples, as normal quantiles are beside Student's;
        the level is widened to make up for it.
        """
        low, high = _quantiles(self.means(values, extremes=extremes), self.tails)
        return low, high

    def correlation(self, one: npt.ArrayLike, other: npt.ArrayLike) -> tuple[float, float, float]:
        """Spearman's rank correlation over the items, and its 95 % interval over subjects: (rho, low, high).

        Ties share their middle rank, so that one of the two may be a mark, 0 or 1. The ranks are those among all items
        in every resample. All NaN where one of the two does not vary.

        Args:
            one: [items].
            other: [items].
        """
        from scipy.stats import rankdata

        ranks = np.stack([rankdata(values) for values in (one, other)])
        if np.ptp(ranks, axis=1).min() == 0:
            return (float("nan"),) * 3
        every = np.ones((1, ranks.shape[1]))
        drawn = np.concatenate([every, self.weights[:, :-2]]).astype(np.float64)
        share = drawn / np.maximum(drawn.sum(1, keepdims=True), 1)
        middle = share @ ranks.T
        spread = share @ (ranks**2).T - middle**2
        both = share @ ranks.prod(0) - middle.prod(1)
        with np.errstate(invalid="ignore", divide="ignore"):
            rho = both / np.sqrt(spread.prod(1))
        low, high = np.nanquantile(rho[1:], self.tails)
        return float(rho[0]), float(low), float(high)


def _quantiles(means: Floats, at: tuple[float, float]) -> Floats:
    """Of resamples, [resamples] or [resamples, runs], as [2] or [2, runs]; those without a mean do not count."""
    found: Floats = (np.nanquantile if np.isnan(means).any() else np.quantile)(means, at, axis=0)  # the first is slow
    return found


@dataclass(frozen=True)
class Parted:
    """Resamples seen from several parts of the items at once: as from each :meth:`Resamples.part`, by one product."""

    drawn: Resamples
    chosen: Bools
    """[parts, items]. A part has at least one."""

    @cached_property
    def _total(self) -> Floats:
        """Weights of each part, [resamples, parts]."""
        ends = np.ones((len(self.chosen), 2), dtype=bool)
        found: Floats = (self.drawn.weights @ np.concatenate([self.chosen, ends], axis=1).T).astype(np.float64)
        return found

    @cached_property
    def _tails(self) -> list[tuple[float, float]]:
        return [self.drawn.part(chosen).tails for chosen in self.chosen]

    def intervals(self, values: Ints, *, extremes: tuple[int, int]) -> tuple[Floats, Floats]:
        """95 % intervals of the mean within each part, [parts] and [parts]; see :meth:`Resamples.interval`.

        Args:
            values: of the items, whole numbers, so that it is the same number to the last bit as of the part alone.
            extremes: the least and the greatest value an item can have.
        """
        rows = np.concatenate([self.chosen * values, np.tile(extremes, (len(self.chosen), 1))], axis=1)
        totals = (self.drawn.weights @ rows.astype(np.float32).T).astype(np.float64)
        with np.errstate(invalid="ignore"):
            means = totals / self._total
        ends = [_quantiles(column, tails) for column, tails in zip(means.T.copy(), self._tails, strict=True)]
        low, high = np.reshape(ends, (len(ends), 2)).T
        return low, high


def resample(
    subjects: Sequence[Hashable], strata: Sequence[str], *, count: int = RESAMPLES, seed: int = 0
) -> Resamples:
    """Draw subjects with replacement, within strata; a subject brings all its items along.

    Args:
        subjects: of each item. A subject belongs to the stratum of its first item.
        strata: of each item, its relation. Strata of fewer than ten subjects are pooled.
        count: of resamples.
        seed: of the draw.

    Raises:
        ValueError: no items, or not one stratum an item.
    """
    if not subjects or len(subjects) != len(strata):
        raise ValueError("resampling needs items, and a stratum for each")
    number: dict[Hashable, int] = {}
    of_item = np.array([number.setdefault(subject, len(number)) for subject in subjects], dtype=np.int64)
    home: dict[int, str] = {}
    for subject, stratum in zip(of_item.tolist(), strata, strict=True):
        home.setdefault(subject, stratum)
    members: dict[str, list[int]] = {}
    for subject, stratum in home.items():
        members.setdefault(stratum, []).append(subject)
    groups = [group for _, group in sorted(members.items()) if len(group) >= MIN_STRATUM]
    pooled = [subject for _, group in sorted(members.items()) if len(group) < MIN_STRATUM for subject in group]
    groups += [pooled] if pooled else []
    pseudo = [len(number), len(number) + 1]
    largest = max(range(len(groups)), key=lambda i: len(groups[i]))
    groups[largest] = [*groups[largest], *pseudo]
    rng = np.random.default_rng(seed)
    drawn = np.zeros((count, len(number) + 2), dtype=np.float32)
    for group in groups:
        picked = rng.integers(0, len(group), (count, len(group)))
        flat = np.bincount((picked + np.arange(count)[:, None] * len(group)).ravel(), minlength=count * len(group))
        drawn[:, group] = flat.reshape(count, len(group))
    return Resamples(drawn[:, [*of_item, *pseudo]], of_item)


def minimum_detectable_effect(items: int, discordant: float, *, tests: int = 1, power: float = 0.8) -> float:
    """The smallest paired difference, in points, that a split of this size shows with the given power.

    Normal approximation for McNemar's test (Connor 1987, Biometrics 43, equation 3), solved for the difference ``d``:
    ``n d² = (z_{α/2} √ψ + z_β √(ψ - d²))²``.

    Args:
        items: in the split.
        discordant: share ψ of items that only one of the two has right.
        tests: in the family: α is divided by it (Bonferroni, which Holm's first step is).
        power: wanted.

    Raises:
        ValueError: no items, or a share outside 0 to 1.
    """
    if items < 1 or not 0 <= discordant <= 1:
        raise ValueError("a detectable effect needs items and a share of discordant ones between 0 and 1")
    a = -special.ndtri(ALPHA / tests / 2) * np.sqrt(discordant)
    b = -special.ndtri(1 - power)
    # a + b √(ψ - d²) = √n d is a quadratic in d once squared; the difference is its larger root.
    root = b * np.sqrt(max(0.0, discordant * (items + b * b) - a * a))
    effect = (a * np.sqrt(items) + root) / (items + b * b)
    return float(100 * min(effect, 1.0))


@dataclass(frozen=True, slots=True)
class Pairwise:
    """All entries against all, each [entries, entries]."""

    difference: Floats
    """Row minus column."""
    error: Floats
    """Standard error of the difference, of items and seeds together."""
    freedom: Floats
    """Degrees of freedom of that error."""
    p: Floats
    """Of the hypothesis that the two *methods* score alike, two-sided."""

    def interval(self) -> tuple[Floats, Floats]:
        """95 % intervals of the differences between the methods."""
        half = _within(self.freedom) * self.error
        return self.difference - half, self.difference + half


def compare_all(seeds: Floats, replicates: Floats, subjects: int) -> Pairwise:
    """Do *methods* differ, over the facts that could have been asked and the trainings that could have been run?

    The variance of a difference has two parts. Of the items: from the bootstrap, whose resamples all entries share. Of
    the seeds: the spread of single trainings, pooled over the entries, since three seeds alone say little of it (two
    degrees of freedom); where a pair's own spread is larger, that counts. The parts add up, with degrees of freedom
    after Satterthwaite 1946. Where no entry has a second seed the second part is not known, and the p-value is about
    the checkpoints alone.

    Args:
        seeds: [entries, seeds], NaN where an entry lacks a seed.
        replicates: [resamples, entries]: bootstrapped means over an entry's seeds.
        subjects: behind the bootstrap.
    """
    count, means, own, pooled, of_pool = _over_seeds(seeds)
    of_seeds = np.maximum(own[:, None] + own[None, :], pooled * (1 / count[:, None] + 1 / count[None, :]))
    covariance = np.atleast_2d(np.cov(replicates, rowvar=False))
    variance = np.diag(covariance)
    of_items = np.maximum(0.0, variance[:, None] + variance[None, :] - 2 * covariance)
    total = of_items + of_seeds
    difference = means[:, None] - means[None, :]
    with np.errstate(invalid="ignore", divide="ignore"):
        freedom = total**2 / (of_items**2 / max(1, subjects - 1) + of_seeds**2 / max(1, of_pool))
        p = 2 * special.stdtr(freedom, -np.abs(difference) / np.sqrt(total))
    p = np.where(total > 0, p, np.where(difference == 0, 1.0, 0.0))
    np.fill_diagonal(p, 1.0)
    return Pairwise(difference, np.sqrt(total), np.where(total > 0, freedom, 1.0), p)


def each(seeds: Floats, replicates: Floats, subjects: int) -> tuple[Floats, Floats]:
    """95 % intervals of methods one by one, over facts and seeds: :func:`compare_all` without a second one.

    Args:
        seeds: [entries, seeds], NaN where an entry lacks a seed.
        replicates: [resamples, entries]: bootstrapped means over an entry's seeds.
        subjects: behind the bootstrap.

    Returns:
        The lower and the upper ends, [entries] each.
    """
    count, means, own, pooled, of_pool = _over_seeds(seeds)
    of_seeds = np.maximum(own, pooled / count)
    of_items = np.var(replicates, axis=0, ddof=1)
    total = of_items + of_seeds
    with np.errstate(invalid="ignore", divide="ignore"):
        freedom = total**2 / (of_items**2 / max(1, subjects - 1) + of_seeds**2 / max(1, of_pool))
    half = _within(np.where(total > 0, freedom, 1.0)) * np.sqrt(total)
    return means - half, means + half


def _within(freedom: Floats) -> Floats:
    """How many errors Student's 95 % interval reaches from its middle, by the degrees of freedom."""
    found: Floats = -special.stdtrit(freedom, (1 - LEVEL) / 2)
    return found


def _over_seeds(seeds: Floats) -> tuple[Ints, Floats, Floats, float, int]:
    """Of each entry: how many seeds, their mean, its squared error. Of all: a training's variance, and its freedom."""
    count = np.sum(~np.isnan(seeds), axis=1)
    means = np.nanmean(seeds, axis=1)
    squares = np.nansum((seeds - means[:, None]) ** 2, axis=1)
    of_pool = int((count - 1).sum())
    pooled = float(squares.sum()) / of_pool if of_pool else 0.0
    own = np.where(count > 1, squares / np.maximum(1, count - 1), 0.0) / count
    return count, means, own, pooled, of_pool


def ranks(scores: Floats, p_values: Floats) -> tuple[Ints, Floats]:
    """Ranks with ties: one more than the number of entries that are significantly better, Holm over all pairs.

    Args:
        scores: [entries].
        p_values: [entries, entries], symmetric.

    Returns:
        The ranks, [entries], and the adjusted p-values, [entries, entries].
    """
    n = len(scores)
    upper = np.triu_indices(n, 1)
    adjusted = np.ones((n, n))
    adjusted[upper] = holm(p_values[upper])
    adjusted = np.minimum(adjusted, adjusted.T)
    better = (adjusted < ALPHA) & (scores[:, None] > scores[None, :])
    return 1 + better.sum(0).astype(np.int64), adjusted
