"""Trajectories, a small chart an entry, in SVG coordinates; a template draws them."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from fthall.leaderboard.board import Entry, Stat, over
from fthall.records import Split

_CURVES = (Split.KNOWN, Split.UNKNOWN, Split.HELD)


@dataclass(frozen=True, slots=True)
class Panel:
    """The trajectory of one entry: a small chart and the table behind it."""

    entry: Entry
    thin: tuple[tuple[Split, str], ...]
    bold: tuple[tuple[Split, str], ...]
    labels: tuple[tuple[Split, float], ...]
    x_ticks: tuple[tuple[float, float], ...]
    y_ticks: tuple[tuple[int, float], ...]
    rows: tuple[tuple[float, tuple[Stat | None, ...]], ...]
    width: int = 300
    height: int = 200
    left: int = 32
    right: int = 236
    top: int = 12
    bottom: int = 168


def panels(entries: Sequence[Entry]) -> Iterable[Panel]:
    """A chart for every entry with a trajectory, all on the same axes."""
    end = max((p.epoch for e in entries for s in e.seeds for p in s.trajectory), default=0.0)
    step = next((s for s in (1, 2, 5, 10, 20, 50) if end / s <= 8), max(1, math.ceil(end / 8)))
    frame = Panel(entries[0], (), (), (), (), (), ())

    def across(epoch: float) -> float:
        return round(frame.left + (epoch / end if end else 0.0) * (frame.right - frame.left), 1)

    def up(percent: float) -> float:
        return round(frame.bottom - percent / 100 * (frame.bottom - frame.top), 1)

    def line(points: Iterable[tuple[float, float]]) -> str:
        return " ".join(f"{across(epoch)},{up(percent)}" for epoch, percent in points)

    for entry in entries:
        runs = [{point.epoch: point for point in seed.trajectory} for seed in entry.seeds if seed.trajectory]
        if not runs:
            continue
        # A mean over fewer seeds at some epochs would jump where no run did.
        epochs = sorted(set.intersection(*(set(run) for run in runs)))
        rows = [(e, tuple(_at([getattr(run[e], split) for run in runs]) for split in _CURVES)) for e in epochs]
        thin = [
            (s, line((e, value) for e in sorted(run) if (value := getattr(run[e], s)) is not None))
            for run in runs
            for s in _CURVES
        ]
        bold = [(s, line((e, at.mean) for e, stats in rows if (at := stats[i]))) for i, s in enumerate(_CURVES)]
        labels: list[tuple[Split, float]] = []
        if rows:
            ends = [(s, [at for _, stats in rows if (at := stats[i])]) for i, s in enumerate(_CURVES)]
            lasts = sorted((up(stats[-1].mean) + 4, s) for s, stats in ends if stats)
            floor = frame.bottom + 4 - 13 * (len(lasts) - 1)
            for y, split in lasts:
                y = min(max(y, labels[-1][1] + 13 if labels else 0.0), floor)  # noqa: PLW2901
                floor += 13
                labels.append((split, round(y, 1)))
        yield Panel(
            entry,
            tuple(thin) if len(runs) > 1 else (),
            tuple(bold),
            tuple(labels),
            tuple((e, across(e)) for e in range(0, math.floor(end) + 1, step)),
            tuple((percent, up(percent)) for percent in (0, 50, 100)),
            tuple(rows),
        )


def _at(values: Sequence[float | None]) -> Stat | None:
    """Over the seeds; None where a seed was not asked."""
    there = [value for value in values if value is not None]
    return over(there) if len(there) == len(values) else None
