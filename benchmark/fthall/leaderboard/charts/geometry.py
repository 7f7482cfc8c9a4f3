"""What the plane shows of all entries together: the front of the best, and the part of the plane they lie in."""

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from fthall.leaderboard.board import Entry, forgotten
from fthall.records import Split

INSET = 14
"""What the outermost marks keep from the frame, px."""

Point = tuple[float, float]
"""(percent of new facts learned, points of old facts forgotten), or px from the frame's left upper corner."""
Box = tuple[float, float, float, float]
"""Left, top, right, bottom, px."""


def front(entries: Iterable[tuple[Entry, float]]) -> list[Point]:
    """The Pareto front, from nothing learned to the most: (percent of new facts learned, fewest points forgotten).

    What is learned counts to a whole percent, so that a fact more does not excuse ten that are forgotten. Entries come
    with the points they are to be drawn at.
    """
    found: list[Point] = []
    for entry, points in sorted(entries, key=lambda row: (-round(row[0].accuracy[Split.UNKNOWN].mean), row[1])):
        if not found or points < found[-1][1]:
            found.append((entry.accuracy[Split.UNKNOWN].mean, points))
    return [(0.0, found[-1][1]), *reversed(found)] if found else []


@dataclass(frozen=True, slots=True)
class Fronts:
    """The front as a line and within error, each a staircase; empty where no two entries are on it."""

    line: tuple[Point, ...]
    band: tuple[Point, ...]
    """Outline of what lies between the fronts of the better and of the worse ends of the intervals."""


def fronts(entries: Sequence[Entry]) -> Fronts:
    """Those of the entries."""
    middle = front([(entry, forgotten(entry)) for entry in entries])
    if len(middle) <= 2:  # the first corner is at nothing learned
        return Fronts((), ())
    better, worse = (front([(entry, _ends(entry)[end]) for entry in entries]) for end in (0, 1))
    return Fronts(tuple(_corners(middle)), (*_corners(better), *reversed(_corners(worse))))


def _ends(entry: Entry) -> Point:
    """The interval of forgetting; the reference is 0 by definition."""
    if entry.is_reference or not entry.interval:
        return forgotten(entry), forgotten(entry)
    return entry.interval


def _corners(steps: Sequence[Point]) -> list[Point]:
    """Of a staircase: along at what has been forgotten so far, then to the next."""
    turns = [[(before[0], after[1]), after] for before, after in itertools.pairwise(steps)]
    return [*steps[:1], *itertools.chain(*turns)]


@dataclass(frozen=True, slots=True)
class Frame:
    """What the axes show, and how large it is drawn."""

    width: float
    height: float
    """Px."""
    across: Point
    """Percent at the left and at the right."""
    down: Point
    """Points at the top and at the bottom."""

    def px(self, learned: float, points: float) -> Point:
        """Where it lies, as Vega's linear scales have it."""
        (left, right), (top, bottom) = self.across, self.down
        return (learned - left) / (right - left) * self.width, (points - top) / (bottom - top) * self.height

    def box(self, one: Point, other: Point, margin: float) -> Box:
        """About two points of the plane."""
        (x, y), (x2, y2) = self.px(*one), self.px(*other)
        return min(x, x2) - margin, min(y, y2) - margin, max(x, x2) + margin, max(y, y2) + margin


def frame(shown: Iterable[float], width: float, height: float) -> Frame:
    """All percent, and all points that are shown; 0 to 5 at least."""
    points = list(shown)
    low, high = min([0.0, *points]), max([5.0, *points])
    aside, above = 100 * INSET / (width - 2 * INSET), (high - low) * INSET / (height - 2 * INSET)
    return Frame(width, height, (-aside, 100 + aside), (low - above, high + above))
