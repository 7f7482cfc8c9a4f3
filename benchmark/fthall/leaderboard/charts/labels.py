"""Where labels go in a picture: those that matter most first, and none that would cover a mark or another label.

Vega's own ``label`` transform needs a canvas, which vl-convert's Vega has not; it places the labels of the interactive
chart, in the browser. What is drawn ahead is placed here, by the same rule.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Boxes = npt.NDArray[np.float64]
"""[boxes, 4]: left, top, right, bottom, in px."""

SIZE = 12.0
"""Of the type, px."""
LENGTH = 30
"""A longer title is cut, in characters."""
_ABOVE, _BELOW = 9.5, 3.5
"""What a line of it takes above and below its base line, px."""
_WIDE, _NARROW = frozenset("mwMW%@&"), frozenset("'ijlIJft r|/\\.,:;-!()[]")
RADIUS = 9.0
"""Of the square a mark takes, px."""
_MIDDLE = (_ABOVE - _BELOW) / 2
REACH = 120.0
"""How far a label may lie from its mark, px."""
_BESIDE = 18.0
"""Up to so far away, px, it needs no line to its mark."""
_CROSSED = 40.0
"""A mark that the line goes through counts as so many px more."""
_COVERED, _STRUCK = 40.0, 60.0
"""So does a label that lies on what it should leave free, in part for a part; and one that lies on a line."""
_SIDES, _SHIFTS, _GAPS = (
    np.array(column, dtype=np.float64)
    for column in zip(
        *((side, shift, side * gap) for side in (1, -1) for gap in (11, 30, 60, 90) for shift in range(-112, 113, 14)),
        strict=True,
    )
)


@dataclass(frozen=True, slots=True)
class Wanted:
    """A mark that would like a label."""

    x: float
    y: float
    text: str
    mark: tuple[float, float, float, float]
    """Its own box."""


@dataclass(frozen=True, slots=True)
class Spot:
    """Where a label goes."""

    x: float
    y: float
    """Of its base line, px."""
    side: int
    """-1: its end lies there; 0: its middle; 1: its start."""
    box: tuple[float, float, float, float]
    leader: tuple[float, float] | None
    """Where the line from the mark ends, where the label had to move away."""


def short(title: str) -> str:
    """A title that fits into the picture."""
    return title if len(title) <= LENGTH else title[: LENGTH - 1].rstrip() + "…"


def width(text: str) -> float:
    """At most so wide, px: the widths of DejaVu Sans Bold, the widest of the fonts a page may be shown in."""
    return SIZE * sum(map(_em, text))


def _em(letter: str) -> float:
    if not letter.isascii():
        return 1.25
    if letter in _WIDE:
        return 1.1
    return 0.49 if letter in _NARROW else 0.86 if letter.isupper() else 0.72


def place(
    wanted: Sequence[Wanted],
    marks: Boxes,
    better_not: Boxes,
    strokes: Boxes,
    area: tuple[float, float, float, float],
    reach: float = REACH,
) -> list[Spot | None]:
    """A spot for each label, in the order in which they matter; None where there is no free one.

    Args:
        wanted: those that matter most first.
        marks: what no label may cover.
        better_not: what a label should leave free where it can.
        strokes: lines that it should not lie on where it can, (x, y, x, y).
        area: what the labels stay in: left, top, right, bottom.
        reach: how far a label may lie from its mark, px.
    """
    labels, lines = np.empty((0, 4)), np.empty((0, 4))
    found: list[Spot | None] = []
    for one in wanted:
        spot = _best(one, marks, labels, lines, better_not, strokes, area, reach)
        found.append(spot)
        if spot:
            labels = np.vstack([labels, spot.box])
            lines = np.vstack([lines, (one.x, one.y, *spot.leader)]) if spot.leader else lines
    return found


def _best(
    one: Wanted,
    marks: Boxes,
    labels: Boxes,
    lines: Boxes,
    better_not: Boxes,
    strokes: Boxes,
    area: tuple[float, float, float, float],
    reach: float,
) -> Spot | None:
    """The nearest free spot whose leader crosses no label, no other leader and few marks."""
    wide = width(one.text)
    x = np.concatenate([[one.x - wide / 2] * 2, one.x + _GAPS - np.where(_SIDES < 0, wide, 0.0)])
    y = np.concatenate([[one.y - 13, one.y + 19], one.y + _SHIFTS + _MIDDLE])
    side = np.concatenate([[0, 0], _SIDES])
    boxes = np.stack([x - 1, y - _ABOVE, x + wide + 1, y + _BELOW], axis=1)
    ends = np.stack([np.where(side < 0, x + wide + 3, x - 3), y - _MIDDLE], axis=1)
    away = np.hypot(ends[:, 0] - one.x, ends[:, 1] - one.y)
    cost = np.where(side == 0, 16.0, away + 4 * (side < 0))
    free = (boxes[:, :2] >= area[:2]).all(1) & (boxes[:, 2:] <= area[2:]).all(1) & (cost < reach)
    free &= ~(_shared(boxes, np.vstack([marks, labels])) > 0).any(1) & ~_cross(lines, boxes).any(0)
    centres = (marks[:, :2] + marks[:, 2:]) / 2
    nearest = np.hypot(ends[:, None, 0] - centres[:, 0], ends[:, None, 1] - centres[:, 1]).min(1)
    led = (side != 0) & ((away > _BESIDE) | (nearest < away - 0.1))  # or it would seem to be another's
    leaders = np.stack([np.full(len(x), one.x), np.full(len(x), one.y), ends[:, 0], ends[:, 1]], axis=1)
    far = np.flatnonzero(free & led)
    others = marks[_shared(np.array([one.mark]), marks)[0] == 0]  # what lies on its own mark cannot be avoided
    cost[far] += _CROSSED * _cross(leaders[far], others).sum(1)
    free[far] &= ~_cross(leaders[far], labels).any(1) & ~_meet(leaders[far], lines).any(1)
    free &= cost < reach
    if not free.any():
        return None
    covered = np.minimum(_shared(boxes, better_not).sum(1) / (wide * (_ABOVE + _BELOW)), 1)
    struck = _cross(strokes, boxes).any(0)
    at = int(np.argmin(np.where(free, cost + _COVERED * covered + _STRUCK * struck, np.inf)))
    left, top, right, bottom = boxes[at].tolist()
    leader = (float(ends[at, 0]), float(ends[at, 1])) if led[at] else None
    anchor = float(x[at] + wide * (1 - side[at]) / 2)
    return Spot(anchor, float(y[at]), int(side[at]), (left, top, right, bottom), leader)


def _shared(ours: Boxes, others: Boxes) -> Boxes:
    """The area two boxes have in common, px²: [ours, others]."""
    size = np.minimum(ours[:, None, 2:], others[None, :, 2:]) - np.maximum(ours[:, None, :2], others[None, :, :2])
    shared: Boxes = np.maximum(size, 0.0).prod(2)
    return shared


def _cross(lines: Boxes, boxes: Boxes) -> npt.NDArray[np.bool_]:
    """Whether a line, (x, y, x, y), goes through a box: [lines, boxes]. Slab by slab, after Kay & Kajiya 1986."""
    start, along = lines[:, None, :2], lines[:, None, 2:] - lines[:, None, :2]
    along = np.where(np.abs(along) < 1e-9, 1e-9, along)
    near, far = (boxes[None, :, :2] - start) / along, (boxes[None, :, 2:] - start) / along
    enters = np.maximum(np.minimum(near, far).max(2), 0.0)
    leaves = np.minimum(np.maximum(near, far).min(2), 1.0)
    return np.asarray(enters < leaves, dtype=bool)


def _meet(ours: Boxes, others: Boxes) -> npt.NDArray[np.bool_]:
    """Whether two lines cross: [ours, others]."""

    def turns(line: Boxes, point: Boxes) -> Boxes:
        along, to = line[..., 2:] - line[..., :2], point - line[..., :2]
        turn: Boxes = np.sign(along[..., 0] * to[..., 1] - along[..., 1] * to[..., 0])
        return turn

    a, b = ours[:, None], others[None]
    apart = turns(a, b[..., :2]) * turns(a, b[..., 2:])
    return np.asarray((apart < 0) & (turns(b, a[..., :2]) * turns(b, a[..., 2:]) < 0), dtype=bool)
