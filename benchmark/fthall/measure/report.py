"""What one way of fine-tuning did, and how two of them differ: evaluated runs in, one record out, ready for JSON.

Everything is paired (:mod:`fthall.measure.runs`): the same facts, and the same seed of the reference wherever it has
one.
"""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass

import numpy as np

from fthall.errors import FthallError
from fthall.files import read_json
from fthall.measure import metrics, stats
from fthall.measure.runs import CODES, EvaluatedRun, Ground, Paired, paired, right, spread, twins
from fthall.measure.stats import ALPHA
from fthall.paths import data_dir
from fthall.records import EpochPoint, Outcome, Split

LEVELS = (50, 90)
"""Percent of the new facts learned at which methods are compared."""
_SAYS = {
    Split.KNOWN: "known facts, trained on",
    Split.UNKNOWN: "new facts",
    Split.HELD: "old facts, held out",
    Split.HELD_VAL: "old facts, held out for choosing",
}


@dataclass(frozen=True, slots=True)
class Share:
    """Outcomes on a split, percent, means over seeds."""

    items: int
    correct: float
    low: float
    """Of the 95 % interval of ``correct``, over subjects."""
    high: float
    wrong: float
    abstained: float
    seed_sd: float | None
    """Standard deviation of ``correct`` over seeds, points; None for one seed."""


@dataclass(frozen=True, slots=True)
class Reached:
    """A quantity at a level of new facts learned, over the seeds that got there."""

    level: int
    seeds: int
    """How many got there; 0: not reached."""
    held: float | None
    epochs: float | None


@dataclass(frozen=True, slots=True)
class Bin:
    """Part of the held-out facts."""

    label: str
    items: int
    correct: float
    forgetting: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class Report:
    """One entry of a track, over its seeds."""

    track: str
    release: str
    entry: str
    title: str
    seeds: tuple[int, ...]
    reference: str | None
    """Entry it is compared with; None if the track has none."""
    accuracy: Mapping[str, Share]
    forgetting: Paired | None
    retention: float | None
    """Held accuracy in percent of the reference's."""
    score: float | None
    """Harmonic mean of retention and unknown accuracy, for sorting only."""
    fall_from_peak: float | None
    area: float | None
    """Under held against unknown accuracy, percent of the square (:func:`fthall.measure.metrics.area`)."""
    reached: tuple[Reached, ...]
    transitions: Mapping[str, Mapping[str, float]] | None
    """Outcome of the reference to outcome of the run to held-out items, mean over pairs."""
    leakage: float | None
    """Of the wrong answers to held-out facts, percent that are a training answer of the same relation."""
    entropy: float
    """Of the answers to held-out facts, bits (:func:`fthall.measure.metrics.answer_entropy`)."""
    reference_entropy: float | None
    bins: Mapping[str, tuple[Bin, ...]]
    detectable: float | None
    """Smallest forgetting, points, this split shows with 80 % power, at the share of items that differ here."""
    floor: float | None
    """Points that the way of asking alone moves (:func:`floor`)."""
    words: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Item:
    """One fact two runs were asked."""

    fact_id: str
    seed: int
    question: str
    answer: str
    first: str
    first_outcome: Outcome
    second: str
    second_outcome: Outcome


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two entries, or two runs, on the same track."""

    track: str
    release: str
    first: str
    second: str
    splits: Mapping[str, Paired]
    adjusted: Mapping[str, float]
    """p-values after Holm's correction over the splits: between methods where both have two seeds, else checkpoints."""
    words: tuple[str, ...]


def floor(track: str) -> float | None:
    """Points of held accuracy that batches, their order and the harness alone move; None where not measured.

    Measured by ``fthall control batching`` and shipped in ``leaderboard/controls``.
    """
    path = data_dir("leaderboard") / "controls" / track / "batching.json"
    return float(read_json(path)["floor"]) if path.is_file() else None


def report(runs: Sequence[EvaluatedRun], reference: Sequence[EvaluatedRun], on: Ground) -> Report:
    """All there is to say about the seeds of one entry.

    Args:
        runs: at least one, all of one entry and of this release.
        reference: the Only-Known runs of the track; may be empty.
        on: the track's release.
    """
    first, release = runs[0], on.release
    accuracy = {str(split): _share(runs, split, on) for split in Split}
    forgetting = paired(reference, runs, Split.HELD, on) if reference else None
    bound = statistics.fmean(run.accuracy(Split.HELD) for run in reference) if reference else 0.0
    kept = metrics.retention(bound, accuracy["held"].correct) if bound else None
    trajectories = [run.trajectory for run in runs if run.trajectory]
    drilled = frozenset[tuple[str, str]]().union(*(on.drilled[split] for split in first.trained_on))
    held = [run.answers[Split.HELD] for run in runs]
    bound_held = [run.answers[Split.HELD] for run in reference]
    return Report(
        track=release.track,
        release=release.digest,
        entry=first.entry,
        title=first.title,
        seeds=tuple(run.seed for run in runs),
        reference=reference[0].entry if reference else None,
        accuracy=accuracy,
        forgetting=forgetting,
        retention=kept,
        score=None if kept is None else metrics.harmonic_mean(kept, accuracy["unknown"].correct),
        fall_from_peak=_mean([metrics.fall_from_peak(t) for t in trajectories]),
        area=_mean([area for t in trajectories if (area := metrics.area(t)) is not None]),
        reached=tuple(_reached(trajectories, level) for level in LEVELS) if trajectories else (),
        transitions=_transitions(twins(reference, runs)) if reference else None,
        leakage=_mean([x for rows in held if (x := metrics.leakage(rows, on.relations, drilled)) is not None]),
        entropy=statistics.fmean(metrics.answer_entropy(rows, on.relations) for rows in held),
        reference_entropy=_mean([metrics.answer_entropy(rows, on.relations) for rows in bound_held]),
        bins=_bins(runs, reference, on),
        detectable=_detectable(forgetting),
        floor=floor(release.track),
        words=tuple(_said(runs, reference, forgetting)),
    )


def compare(first: Sequence[EvaluatedRun], second: Sequence[EvaluatedRun], on: Ground) -> Comparison:
    """Two entries on every split, paired by seed.

    Raises:
        FthallError: they are of different tracks or releases.
    """
    one, other = first[0], second[0]
    if (one.track, one.release) != (other.track, other.release):
        raise FthallError(
            f"cannot compare {one.track} ({one.release[:12]}…) with {other.track} ({other.release[:12]}…): "
            "only runs of the same release have answered the same facts"
        )
    found = {str(split): paired(first, second, split, on) for split in Split}
    adjusted = stats.holm([one.judged.p for one in found.values()])
    words = [
        _difference(_SAYS[split], pair, p, one.title, other.title)
        for (split, pair), p in zip(((split, found[str(split)]) for split in Split), adjusted.tolist(), strict=True)
    ]
    return Comparison(
        track=one.track,
        release=one.release,
        first=_name(first),
        second=_name(second),
        splits=found,
        adjusted=dict(zip(found, adjusted.tolist(), strict=True)),
        words=(*words, *_caveats(first, second)),
    )


def items(first: Sequence[EvaluatedRun], second: Sequence[EvaluatedRun], split: Split, on: Ground) -> list[Item]:
    """The facts of a split whose outcome differs, pair of runs by pair of runs."""
    return [
        Item(fact.id, b.seed, fact.question, fact.answers[0], x.prediction, x.outcome, y.prediction, y.outcome)
        for a, b in twins(first, second)
        for fact, x, y in zip(on.release.splits[split], a.answers[split], b.answers[split], strict=True)
        if x.outcome is not y.outcome
    ]


def _share(runs: Sequence[EvaluatedRun], split: Split, on: Ground) -> Share:
    found = right(runs, split)
    n = len(runs)
    low, high = (float(end) / n for end in on.drawn[split].interval(found.sum(0), extremes=(0, n)))
    total = found.shape[1]
    by_seed = 100 * found.mean(1)
    found_counts = [np.bincount(run.outcomes[split], minlength=len(CODES)).tolist() for run in runs]
    return Share(
        items=total,
        correct=float(by_seed.mean()),
        low=100 * low,
        high=100 * high,
        wrong=statistics.fmean(100 * count[CODES[Outcome.WRONG]] / total for count in found_counts),
        abstained=statistics.fmean(100 * count[CODES[Outcome.ABSTAINED]] / total for count in found_counts),
        seed_sd=spread(by_seed.tolist()),
    )


def _bins(runs: Sequence[EvaluatedRun], reference: Sequence[EvaluatedRun], on: Ground) -> dict[str, tuple[Bin, ...]]:
    """All parts at once: what :func:`fthall.measure.runs.paired` says of each alone, without its tests."""
    found, chosen = right(runs, Split.HELD), on.parted.chosen.T.astype(np.int64)
    items = chosen.sum(0)
    correct = 100 * (found.sum(0) @ chosen / (items * len(runs)))
    apart = lows = highs = np.full(len(items), np.nan)
    if reference:
        pairs = twins(reference, runs)
        differs = right([a for a, _ in pairs], Split.HELD).astype(np.int64) - found
        apart = np.ascontiguousarray((100 * (differs @ chosen / items)).T).mean(1)
        lows = highs = np.zeros(len(items))
        if any((a.entry, a.seed) != (b.entry, b.seed) for a, b in pairs):  # 0 for sure with itself
            n = len(pairs)
            lows, highs = (100 * (end / n) for end in on.parted.intervals(differs.sum(0), extremes=(-n, n)))
    rows = zip(items.tolist(), correct.tolist(), apart.tolist(), lows.tolist(), highs.tolist(), strict=True)
    return {
        name: tuple(
            Bin(label, *next(rows)) if reference else Bin(label, *next(rows)[:2], None, None, None)
            for label, _ in parts
        )
        for name, parts in on.parts.items()
    }


def _reached(trajectories: Sequence[Sequence[EpochPoint]], level: int) -> Reached:
    held = [at for t in trajectories if (at := metrics.held_at_plasticity(t, level)) is not None]
    epochs = [at for t in trajectories if (at := metrics.epochs_to(t, level)) is not None]
    return Reached(level, len(held), _mean(held), _mean(epochs))


def _transitions(pairs: Sequence[tuple[EvaluatedRun, EvaluatedRun]]) -> dict[str, dict[str, float]]:
    kinds = len(CODES)
    steps = [kinds * a.outcomes[Split.HELD] + b.outcomes[Split.HELD] for a, b in pairs]
    found = [np.bincount(step, minlength=kinds**2).tolist() for step in steps]
    return {
        str(before): {
            str(after): statistics.fmean(one[kinds * CODES[before] + CODES[after]] for one in found)
            for after in Outcome
        }
        for before in Outcome
    }


def _detectable(found: Paired | None) -> float | None:
    if found is None or found.lost + found.gained == 0:
        return None
    return stats.minimum_detectable_effect(found.items, (found.lost + found.gained) / found.items)


def _mean(values: Sequence[float]) -> float | None:
    return statistics.fmean(values) if values else None


def _name(runs: Sequence[EvaluatedRun]) -> str:
    return runs[0].slug if len(runs) == 1 else runs[0].entry


def _points(value: float) -> str:
    return f"{abs(value):.1f} points"


def _said(runs: Sequence[EvaluatedRun], reference: Sequence[EvaluatedRun], forgetting: Paired | None) -> list[str]:
    """What the numbers mean, for a reader in a hurry."""
    if forgetting is None:
        return ["The track has no Only-Known reference, so there is nothing to count forgetting from."]
    if runs[0].entry == reference[0].entry:
        return ["This is the reference itself: its forgetting is 0 by definition."]
    least = floor(runs[0].track) or 0.0
    found = forgetting
    low, high, p = astuple(found.judged)
    over = "these checkpoints, other facts" if found.methods is None else "other facts and other seeds"
    bounds = f"95 % interval {low:.1f} to {high:.1f} over {over}, p {p_text(p)}"
    if 0 < abs(found.difference) <= least:
        first = f"{found.difference:.1f} points: no more than other batches change ({least:.1f} points)."
    elif p < ALPHA and found.difference > 0:
        first = f"It forgot: {_points(found.difference)} of held-out facts ({bounds})."
    elif p < ALPHA:
        first = f"It answers {_points(found.difference)} more of the held-out facts than the reference ({bounds})."
    else:
        first = f"No forgetting shown: {found.difference:.1f} points ({bounds})."
    return [first, *_caveats(reference, runs)]


def _difference(what: str, found: Paired, adjusted: float, first: str, second: str) -> str:
    """One comparison in words; ``adjusted`` is its p-value after Holm's correction."""
    if found.lost == found.gained == 0:
        return f"{what}: no answer differs."
    numbers = f"{found.judged.low:.1f} to {found.judged.high:.1f}, p {p_text(adjusted)} after Holm"
    if adjusted >= ALPHA:
        return f"{what}: not told apart ({found.difference:+.1f} points, {numbers})."
    better, worse = (first, second) if found.difference > 0 else (second, first)
    return f"{what}: {better} has {_points(found.difference)} more than {worse} ({numbers})."


def _caveats(first: Sequence[EvaluatedRun], second: Sequence[EvaluatedRun]) -> list[str]:
    seeds = min(len(first), len(second))
    said = []
    if seeds == 1:
        said.append("One seed: this is about these checkpoints; whether the methods differ takes three seeds or more.")
    elif seeds < 3:
        said.append(f"{seeds} seeds: a lead, not a finding; claims about methods take three or more.")
    if not {run.seed for run in second} <= {run.seed for run in first}:
        said.append("Not every run has a twin of the same seed: data order adds to the difference.")
    return said


def p_text(value: float) -> str:
    """A p-value for the reader."""
    return "below 0.0001" if value < 0.0001 else f"{value:.4f}"
