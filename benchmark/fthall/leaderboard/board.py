"""Submissions in, the rows of the leaderboard out: every entry over its seeds, and what the numbers say."""

import datetime
import re
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from fthall.leaderboard import pairs
from fthall.leaderboard.pairs import Pairs
from fthall.measure import metrics, report, runs, stats
from fthall.measure.runs import CODES, EvaluatedRun, Ground
from fthall.measure.stats import Floats
from fthall.records import EpochPoint, Outcome, Release, Split
from fthall.submissions import Submission, odd, read, tiers
from fthall.submissions.tiers import Tier, Verification

NAMED = 4
"""Entries that a sentence names; of more, one fewer and how many others."""


@dataclass(frozen=True, slots=True)
class Stat:
    """A number over the seeds of an entry."""

    mean: float
    low: float
    high: float
    n: int


@dataclass(frozen=True, slots=True)
class SeedRow:
    """One submission, as its entry's details show it."""

    submission: Submission
    seed: int
    accuracy: Mapping[Split, float]
    wrong: float
    abstained: float
    forgetting: float | None
    paired: bool
    """Whether the reference has this seed too."""
    fall: float | None
    at: Mapping[int, float | None]
    trajectory: tuple[EpochPoint, ...]
    tier: Tier
    verification: Verification | None
    odd: tuple[str, ...]
    """What looks odd about it, a sentence each."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One row of the table: all seeds of one entry."""

    slug: str
    title: str
    method: str
    trained_on: tuple[Split, ...]
    is_reference: bool
    seeds: tuple[SeedRow, ...]
    accuracy: Mapping[Split, Stat]
    wrong: Stat
    abstained: Stat
    forgetting: Stat | None
    interval: tuple[float, float] | None
    """95 % interval of forgetting: over facts and seeds, or over facts alone in a table with one seed an entry."""
    learned_interval: tuple[float, float] | None
    """95 % interval of the accuracy on the unknown facts, percent; of the same kind as ``interval``."""
    p: float | None
    """That its forgetting is not 0, after Holm's correction over the table."""
    alike: frozenset[str]
    """Entries whose held accuracy is not told apart from its own, after Holm's correction over all pairs."""
    paired: bool
    at: Mapping[int, Stat | None]
    area: Stat | None
    evidenced: bool
    """Whether ``at`` and ``area`` were counted again, item by item; else they are the submitter's word."""
    tier: Tier
    """The least of its seeds'."""
    score: float | None
    rank: int | None
    """One more than the entries of its own tier or a higher one that score significantly better, seeds and items taken
    together; ties share it. None of what was refuted."""
    among: int
    """How many entries the rank is among; 0 without one."""
    place: int
    """Its place by name, which decides its colour and shape in the pictures."""
    descriptions: Sequence[str]
    facts: Mapping[str, Sequence[str]]
    """What the details list: a name, and the distinct values over the seeds."""

    @property
    def several(self) -> bool:
        """Whether it has more than one seed."""
        return len(self.seeds) > 1

    @property
    def created(self) -> datetime.date:
        """When its last seed was."""
        return max(row.submission.card.created for row in self.seeds)


@dataclass(frozen=True, slots=True)
class Board:
    """All entries of one track."""

    release: Release
    entries: tuple[Entry, ...]
    """The reference first, then by score."""
    reference: Entry | None
    said: tuple[str, ...]
    """What the numbers say, in sentences."""
    on: Ground
    """The release with its resampled subjects, which all numbers share."""
    pairs: Mapping[Split, Pairs]
    """Every entry against every other, in the order of the entries; none on a board without any."""


def board(
    release: Release,
    submissions: Sequence[Submission],
    verified: Path | None = None,
    looks_odd: Mapping[str, Sequence[str]] | None = None,
) -> Board:
    """The entries of a track.

    Args:
        release: of the track.
        submissions: all of it.
        verified: the folder of what maintainers verified; by default the shipped one.
        looks_odd: of :func:`fthall.submissions.odd.look`, where it was asked before.
    """
    by_entry: dict[str, list[Submission]] = {}
    for one in sorted(submissions, key=lambda s: (s.card.entry, s.card.seed)):
        by_entry.setdefault(one.card.entry, []).append(one)
    twins = metrics.reference_of([one.run for one in submissions])
    reference = twins[0].entry if twins else None
    odd_about = odd.look(release, submissions) if looks_odd is None else looks_odd
    seeds = {one.slug: _seed(one, twins, tuple(odd_about[one.slug]), verified) for one in submissions}
    entries = [
        _entry(slug, group, [seeds[one.slug] for one in group], twins, place)
        for place, (slug, group) in enumerate(by_entry.items())
    ]
    on = runs.ground(release)
    groups = [[one.run for one in group] for group in by_entry.values()]
    drawn = {split: pairs.drawn(groups, split, on) for split in pairs.SPLITS if groups}
    against = {split: pairs.pairs(groups, split, replicates, on) for split, replicates in drawn.items()}
    if twins:
        entries = _compared(entries, groups, twins, on, drawn, against[Split.HELD])
    entries.sort(key=lambda e: (not e.is_reference, -1 if e.score is None else -e.score, e.slug))
    chosen = entries[0] if reference else None
    said = tuple(_say(entries, chosen, report.floor(release.track)))
    ordered = {split: found.ordered([entry.place for entry in entries]) for split, found in against.items()}
    return Board(release, tuple(entries), chosen, said, on, ordered)


def _compared(
    entries: Sequence[Entry],
    groups: Sequence[Sequence[EvaluatedRun]],
    twins: Sequence[EvaluatedRun],
    on: Ground,
    drawn: Mapping[Split, Floats],
    against: Pairs,
) -> list[Entry]:
    """Entries with their intervals, p-values and ranks, which hang on the whole table.

    With a second seed anywhere, intervals and p-values are about methods (:func:`fthall.measure.stats.compare_all`),
    else they stay those of the checkpoints (:func:`fthall.measure.runs.paired`). What is learned is not paired with
    the reference: its interval is of the entry alone.
    """

    def over_seeds(value: Callable[[EvaluatedRun, EvaluatedRun], float]) -> Floats:
        most = max(map(len, groups))
        rows = [[value(twin, run) for twin, run in runs.twins(twins, group)] for group in groups]
        return np.array([[*row, *[np.nan] * (most - len(row))] for row in rows])

    def score(twin: EvaluatedRun, run: EvaluatedRun) -> float:
        bound = twin.accuracy(Split.HELD)
        return (
            metrics.harmonic_mean(100 * run.accuracy(Split.HELD) / bound, run.accuracy(Split.UNKNOWN)) if bound else 0
        )

    subjects = on.drawn[Split.HELD].subjects
    bound, held, unknown = pairs.drawn([twins], Split.HELD, on), drawn[Split.HELD], drawn[Split.UNKNOWN]
    kept = np.minimum(100.0, 100 * held / np.maximum(bound, 1e-9))
    scores = over_seeds(score)
    found = stats.compare_all(scores, 2 * kept * unknown / np.maximum(kept + unknown, 1e-9), subjects)
    ranks = _ranks(entries, np.nanmean(scores, axis=1), found.p)
    place = next(i for i, entry in enumerate(entries) if entry.is_reference)
    others = [i for i in range(len(entries)) if i != place]
    if max(map(len, groups)) > 1:
        p_values = [float(p) for p in against.p[place]]
        intervals = [(float(a), float(b)) for a, b in zip(against.low[place], against.high[place], strict=True)]
        least, most = stats.each(
            over_seeds(lambda _, run: run.accuracy(Split.UNKNOWN)), unknown, on.drawn[Split.UNKNOWN].subjects
        )
    else:
        checkpoints = [runs.paired(twins, group, Split.HELD, on) for group in groups]
        p_values, intervals = [pair.p for pair in checkpoints], [(pair.low, pair.high) for pair in checkpoints]
        means = np.stack([runs.right(group, Split.UNKNOWN).mean(0) for group in groups])
        least, most = (100 * end for end in on.drawn[Split.UNKNOWN].interval(means, extremes=(0.0, 1.0)))
    learned = np.clip(np.stack([least, most], axis=1), 0, 100).tolist()
    intervals[place] = (0.0, 0.0)
    adjusted = dict(zip(others, stats.holm([p_values[i] for i in others]).tolist(), strict=True))
    return [
        replace(
            entry,
            interval=intervals[i],
            learned_interval=(learned[i][0], learned[i][1]),
            p=adjusted.get(i),
            rank=ranks[i][0],
            among=ranks[i][1],
            alike=frozenset(
                entries[j].slug for j in range(len(entries)) if j != i and against.adjusted[i, j] >= stats.ALPHA
            ),
        )
        for i, entry in enumerate(entries)
    ]


def _ranks(entries: Sequence[Entry], scores: Floats, p_values: Floats) -> list[tuple[int | None, int]]:
    """Each entry's, and of how many: those of its own tier or a higher one. No claim pushes down what was checked."""
    ranks: list[tuple[int | None, int]] = [(None, 0)] * len(entries)
    for tier in {entry.tier for entry in entries} - {Tier.REFUTED}:
        of = [i for i, entry in enumerate(entries) if entry.tier.level >= tier.level]
        found, _ = stats.ranks(scores[of], p_values[np.ix_(of, of)])
        for i, rank in zip(of, found, strict=True):
            if entries[i].tier is tier:
                ranks[i] = int(rank), len(of)
    return ranks


def table(submissions: Path, *, release: Release | None = None) -> str:
    """The table of every track as Markdown: means over the seeds, forgetting paired with the reference.

    Raises:
        FthallError: as :func:`read`.
    """
    lines = []
    for against, rows in read(submissions, release):
        lines += [
            f"**{against.track}**",
            "",
            "| trained | seeds | known | new facts learned | old facts kept | forgotten, points | at 90 % learned |",
            "|---|---:|---:|---:|---:|---:|---:|",
        ]
        for entry in board(against, rows).entries:
            means = [f"{entry.accuracy[split].mean:.1f}" for split in (Split.KNOWN, Split.UNKNOWN, Split.HELD)]
            lost = "no reference"
            if entry.forgetting and entry.interval:
                low, high = entry.interval
                within = "" if entry.is_reference else f" ({number(low)} to {number(high)})"
                lost = number(entry.forgetting.mean) + within
            at = entry.at[90]
            reached = "not reached" if at is None else f"{at.mean:.1f}"
            if at and at.n < len(entry.seeds):
                reached += f" ({at.n} of {len(entry.seeds)})"
            if at and not entry.evidenced:
                reached = f"({reached})"
            lines.append(f"| {' | '.join([_plain(entry.title), str(len(entry.seeds)), *means, lost, reached])} |")
        lines.append("")
    return "\n".join(lines)


def _plain(title: str) -> str:
    """A title that cannot end its cell or start markup."""
    return re.sub(r"([\\|`*_<>\[\]])", r"\\\1", title)


def plain(entries: Iterable[Entry]) -> Entry | None:
    """What methods are compared with: plain SFT on known and new facts, the entry of that name before others."""
    found = [e for e in entries if e.method == "sft" and set(e.trained_on) == {Split.KNOWN, Split.UNKNOWN}]
    return min(found, key=lambda entry: (entry.slug != "sft", entry.slug), default=None)


def _entry(
    slug: str, group: Sequence[Submission], seeds: Sequence[SeedRow], twins: Sequence[EvaluatedRun], place: int
) -> Entry:
    is_reference = bool(twins) and slug == twins[0].entry
    accuracy = {split: over(seed.accuracy[split] for seed in seeds) for split in Split}
    held = accuracy[Split.HELD]
    forgetting, score = None, None
    if twins:
        forgetting = over(seed.forgetting for seed in seeds if seed.forgetting is not None)
        if (bound := statistics.fmean(twin.accuracy(Split.HELD) for twin in twins)) > 0:
            score = metrics.harmonic_mean(100 * held.mean / bound, accuracy[Split.UNKNOWN].mean)
    areas = [area for seed in seeds if (area := metrics.area(seed.trajectory)) is not None]
    reached = {level: [at for s in seeds if (at := s.at[level]) is not None] for level in report.LEVELS}
    card = group[0].card
    return Entry(
        slug=slug,
        title=card.title,
        method=card.method,
        trained_on=tuple(split for split in Split if split in card.trained_on),
        is_reference=is_reference,
        seeds=tuple(seeds),
        accuracy=accuracy,
        wrong=over(seed.wrong for seed in seeds),
        abstained=over(seed.abstained for seed in seeds),
        forgetting=forgetting,
        interval=None,
        learned_interval=None,
        p=None,
        alike=frozenset(),
        paired=all(seed.paired for seed in seeds),
        at={level: over(values) if values else None for level, values in reached.items()},
        area=over(areas) if areas else None,
        evidenced=all(one.evidenced for one in group if one.results.trajectory),
        tier=min((seed.tier for seed in seeds), key=lambda tier: tier.level),
        score=score,
        rank=None,
        among=0,
        place=place,
        descriptions=_distinct(one.card.description for one in group if one.card.description),
        facts=_facts(group),
    )


def _seed(one: Submission, twins: Sequence[EvaluatedRun], looks_odd: tuple[str, ...], verified: Path | None) -> SeedRow:
    held = np.bincount(one.run.outcomes[Split.HELD], minlength=len(CODES)).tolist()
    twin = runs.twins(twins, [one.run])[0][0] if twins else None
    accuracy = {split: 100 * int(right.sum()) / len(right) for split, right in one.run.right.items()}
    forgetting = twin.accuracy(Split.HELD) - accuracy[Split.HELD] if twin else None
    trajectory = one.run.trajectory
    return SeedRow(
        submission=one,
        seed=one.card.seed,
        accuracy=accuracy,
        wrong=100 * held[CODES[Outcome.WRONG]] / sum(held),
        abstained=100 * held[CODES[Outcome.ABSTAINED]] / sum(held),
        forgetting=forgetting,
        paired=twin is not None and twin.seed == one.card.seed,
        fall=metrics.fall_from_peak(trajectory) if trajectory else None,
        at={level: metrics.held_at_plasticity(trajectory, level) for level in report.LEVELS},
        trajectory=trajectory,
        tier=tiers.tier(one, verified),
        verification=tiers.verification(one, verified),
        odd=looks_odd,
    )


def _facts(group: Sequence[Submission]) -> dict[str, list[str]]:
    cards = [one.card for one in group]
    names = _distinct(name for card in cards for name in card.hyperparameters)
    versions = _distinct(f"{name} {version}" for card in cards for name, version in card.versions.items())
    settings = [f"{n} = {' / '.join(_distinct(str(c.hyperparameters.get(n, '–')) for c in cards))}" for n in names]
    return {
        "Hyperparameters": settings,
        "Command": _distinct(card.command for card in cards),
        "Hardware": _distinct(card.hardware for card in cards),
        "Versions": versions,
        "Authors": _distinct(author for card in cards for author in card.authors),
        "Contact": _distinct(card.contact for card in cards),
        "Created": _distinct(card.created.isoformat() for card in cards),
    }


def _distinct(values: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(values))


def over(values: Iterable[float]) -> Stat:
    """Mean and range."""
    found = list(values)
    return Stat(statistics.fmean(found), min(found), max(found), len(found))


def number(value: float, digits: int = 1) -> str:
    """A number for the reader: a real minus sign, and never a negative zero."""
    text = f"{value:.{digits}f}"
    return text.lstrip("-") if float(text) == 0 else text.replace("-", "−")


def _say(entries: Sequence[Entry], reference: Entry | None, floor: float | None) -> list[str]:
    """What the numbers say, in sentences that hold whatever the numbers are; ``floor`` is the control's, in points."""
    if reference is None:
        return [
            "No Only-Known reference has been submitted to this track, so there is nothing to count forgetting from: "
            "only accuracies are shown."
        ]
    said = [
        f"The reference, {reference.title}, never saw the new facts. It answers "
        f"{number(reference.accuracy[Split.HELD].mean)} % of the held-out facts; forgetting is counted from there."
    ]
    learners = [entry for entry in entries if Split.UNKNOWN in entry.trained_on]
    sft = plain(entries)
    if sft:
        said.append(f"{sft.title} {_learned(sft)}.")
    others = [entry for entry in learners if entry is not sft]
    if real := [entry for entry in others if entry.accuracy[Split.UNKNOWN].mean >= 50]:
        best = min(real, key=lambda entry: (forgotten(entry), entry.slug))
        worse = ""
        if sft and forgotten(best) >= forgotten(sft):
            worse = f", which is no better than {sft.title}"
        elif sft and best.rank == sft.rank:
            worse = f"; by its score it is not told apart from {sft.title}"
        said.append(
            f"Among the other entries that learned at least half of the new facts, {best.title} kept most of the old "
            f"ones: it {_learned(best)}{worse}."
        )
    if little := [entry for entry in others if entry.accuracy[Split.UNKNOWN].mean < 50]:
        first = little if len(little) <= NAMED else little[: NAMED - 1]
        names = ", ".join(f"{e.title} ({number(e.accuracy[Split.UNKNOWN].mean)} %)" for e in first)
        if len(first) < len(little):
            names += f" and {len(little) - len(first)} others"
        said.append(
            f"Less than half of the new facts were learned by {names}: keeping old facts is easy for a model that "
            "learns few new ones, so compare it at matched plasticity."
        )
    if floor is not None:
        said.append(
            f"Asked in other batches, another order or by lm-eval, a model changes {number(floor)} % of its answers to "
            "held-out facts; no smaller difference means anything."
            if floor > 0
            else "Asked in other batches, another order or by lm-eval, a model gives the very same answers."
        )
    if any(len(entry.seeds) < 3 for entry in entries):
        said.append("Not every entry has three seeds: take differences between entries as leads, not as findings.")
    return said


def forgotten(entry: Entry) -> float:
    """Mean forgetting of an entry of a track that has a reference, points."""
    assert entry.forgetting is not None
    return entry.forgetting.mean


def _learned(entry: Entry) -> str:
    points = forgotten(entry)
    start = f"learned {number(entry.accuracy[Split.UNKNOWN].mean)} % of the new facts and "
    if abs(points) < 0.05:
        return start + "lost, on balance, none of the old facts it had never been trained on"
    assert entry.interval is not None
    low, high = entry.interval
    within = " (the error bar includes zero)" if low <= 0 <= high else ""
    verb = "lost" if points > 0 else "gained"
    return f"{start}{verb} {number(abs(points))} points on old facts it had never been trained on{within}"
