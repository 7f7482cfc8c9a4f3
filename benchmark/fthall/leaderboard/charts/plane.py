"""The plane: new facts learned against old facts forgotten, in SVG coordinates; a template draws it."""

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from fthall.leaderboard.board import Entry, forgotten
from fthall.records import Split


@dataclass(frozen=True, slots=True)
class Mark:
    """One entry in the plane, in SVG coordinates."""

    entry: Entry
    x: float
    y: float
    bar: tuple[float, float] | None
    seeds: tuple[tuple[float, float], ...]
    label: str
    text_x: float
    text_y: float
    leader: tuple[float, float] | None
    """Where the line from the mark to a label that had to move away ends."""


@dataclass(frozen=True, slots=True)
class Plane:
    """New facts learned against old facts forgotten."""

    marks: tuple[Mark, ...]
    x_ticks: tuple[tuple[int, float], ...]
    y_ticks: tuple[tuple[float, float], ...]
    front: str = ""
    """SVG path of the Pareto front; empty where no two entries are on it."""
    band: str = ""
    """SVG path of what lies between the fronts of the better and of the worse ends of the intervals."""
    width: int = 680
    height: int = 460
    left: int = 64
    right: int = 660
    top: int = 44
    bottom: int = 404


def plane(entries: Sequence[Entry]) -> Plane:
    """Place the marks, their error bars and their labels. Every entry must have a forgetting."""
    frame = Plane((), (), ())
    shown: list[float] = [s.forgetting or 0.0 for e in entries for s in e.seeds]
    shown += [end for e in entries for end in e.interval or ()]
    low, high = min(0.0, *shown), max(5.0, *shown)
    step = next((s for s in (1, 2, 5, 10, 20) if (high - low) / s <= 7), 25)
    first, last = math.floor(low / step) * step, math.ceil(high / step) * step

    def across(percent: float) -> float:
        return round(frame.left + 14 + percent / 100 * (frame.right - frame.left - 28), 1)

    def down(points: float) -> float:
        return round(frame.top + 14 + (points - first) / (last - first) * (frame.bottom - frame.top - 28), 1)

    places = [(across(e.accuracy[Split.UNKNOWN].mean), down(forgotten(e))) for e in entries]
    dots = [
        tuple((across(s.accuracy[Split.UNKNOWN]), down(s.forgetting)) for s in e.seeds if s.forgetting is not None)
        for e in entries
    ]
    # The reference is 0 by definition; its own interval is where the zero line comes from, not a distance from it.
    bars = [None if e.is_reference or not e.interval else (down(e.interval[0]), down(e.interval[1])) for e in entries]
    blocks = [(x - 9, y - 9, x + 9, y + 9) for x, y in places]
    blocks += [(x - 4, y - 4, x + 4, y + 4) for x, y in itertools.chain(*dots)]
    blocks += [(x - 4, *bar[:1], x + 4, *bar[1:]) for (x, _), bar in zip(places, bars, strict=True) if bar]
    marks: dict[str, Mark] = {}
    # Labels find their places from top to bottom, so that leaders seldom cross.
    for entry, place, bar, seeds in sorted(zip(entries, places, bars, dots, strict=True), key=lambda row: row[1][1]):
        label = entry.title if len(entry.title) <= 26 else entry.title[:25].rstrip() + "…"
        box = _dodge(place, max(7.9 * len(label), 64.0), frame, blocks)
        blocks.append(box)
        end = (round(box[0] - 3 if box[0] > place[0] else box[2] + 3, 1), round((box[1] + box[3]) / 2, 1))
        leader = end if math.dist(place, end) > 24 else None
        marks[entry.slug] = Mark(entry, *place, bar, seeds, label, round(box[0], 1), round(box[1] + 11, 1), leader)
    y_ticks = tuple((value, down(value)) for value in range(first, last + 1, step))
    middle, better, worse = (
        [(across(learned), down(points)) for learned, points in front([(e, value(e)) for e in entries])]
        for value in (forgotten, lambda e: _ends(e)[0], lambda e: _ends(e)[1])
    )
    several = len(middle) > 2  # the first corner is at nothing learned
    back = " ".join(f"L{x} {y}" for x, y in reversed(_corners(worse)))
    return Plane(
        tuple(marks[entry.slug] for entry in entries),
        tuple((value, across(value)) for value in range(0, 101, 20)),
        y_ticks,
        f"M{' '.join(f'{x} {y}' for x, y in _corners(middle))}" if several else "",
        f"M{' '.join(f'{x} {y}' for x, y in _corners(better))} {back}Z" if several else "",
    )


def front(entries: Iterable[tuple[Entry, float]]) -> list[tuple[float, float]]:
    """The Pareto front, from nothing learned to the most: (percent of new facts learned, fewest points forgotten).

    What is learned counts to a whole percent, so that a fact more does not excuse ten that are forgotten. Entries come
    with the points they are to be drawn at.
    """
    found: list[tuple[float, float]] = []
    for entry, points in sorted(entries, key=lambda row: (-round(row[0].accuracy[Split.UNKNOWN].mean), row[1])):
        if not found or points < found[-1][1]:
            found.append((entry.accuracy[Split.UNKNOWN].mean, points))
    return [(0.0, found[-1][1]), *reversed(found)] if found else []


def _ends(entry: Entry) -> tuple[float, float]:
    """The interval of forgetting; the reference is 0 by definition."""
    if entry.is_reference or not entry.interval:
        return forgotten(entry), forgotten(entry)
    return entry.interval


def _corners(steps: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Of a staircase: along at what has been forgotten so far, then to the next."""
    turns = [[(before[0], after[1]), after] for before, after in itertools.pairwise(steps)]
    return [*steps[:1], *itertools.chain(*turns)]


_Box = tuple[float, float, float, float]


def _dodge(place: tuple[float, float], width: float, frame: Plane, blocks: Sequence[_Box]) -> _Box:
    """The nearest free spot for a two-line label beside its mark; the least covered one if none is free."""
    height, best = 27.0, (math.inf, (0.0, 0.0, 0.0, 0.0))
    shifts = (0, *(sign * by for by in range(15, 166, 15) for sign in (1, -1)))
    for shift, side, gap in itertools.product(shifts, (1, -1), (13, 40, 90, 150, 220)):
        x = place[0] + gap if side > 0 else place[0] - gap - width
        y = place[1] - height / 2 + shift
        box = (x, y, x + width, y + height)
        if box[0] < frame.left + 2 or box[2] > frame.right - 2 or y < frame.top + 2 or box[3] > frame.bottom - 2:
            continue
        covered = sum(
            max(0.0, min(box[2], b[2]) - max(box[0], b[0])) * max(0.0, min(box[3], b[3]) - max(box[1], b[1]))
            for b in blocks
        )
        best = min(best, (50 * covered + abs(shift) + gap + (4 if side < 0 else 0), box))
    return best[1]
