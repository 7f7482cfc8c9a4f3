"""The rows of ``plane.vega.json``: an entry each, those that matter most first, with the place of its label."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fthall.leaderboard.board import Entry, forgotten, number, plain
from fthall.leaderboard.charts import labels
from fthall.leaderboard.charts.geometry import Frame, Point
from fthall.leaderboard.charts.marks import colour, shape
from fthall.records import Split
from fthall.schema import visible
from fthall.submissions.tiers import Tier

Row = dict[str, Any]
"""Of the specification's data."""

SMALL = 0.7
"""Size of a mark in a crowd."""
_ALIGN = {-1: "right", 0: "center", 1: "left"}
_PLUS, _CROSS = "M0-8v16m-8-8h16", "M-7-7l14 14m0-14l-14 14"


@dataclass(frozen=True, slots=True)
class Extra:
    """A mark that is no entry, such as the untouched base."""

    name: str
    learned: float
    """Percent of the new facts."""
    forgotten: float
    """Points below the reference."""


def rows(
    entries: Sequence[Entry], extras: Sequence[Extra], line: Sequence[Point], track_id: str, *, seeds: bool
) -> list[Row]:
    """Those of the entries, the reference first, and of the further marks.

    Args:
        entries: of one track, in any order.
        extras: further marks.
        line: of the front; who is on it matters more.
        track_id: that the entries' pages are named after; without one, there are no links.
        seeds: whether single seeds are shown.
    """
    found = [_row(entry, track_id, seeds=seeds) for entry in _by_weight(entries, line)]
    found[1:1] = [_extra_row(at, extra) for at, extra in enumerate(extras)]
    return found


def label(found: Sequence[Row], line: Sequence[Point], frame: Frame, *, size: float, reach: float) -> None:
    """Give each row its ``order``, its ``text`` (px from its mark, alignment) and its ``leader``; both may be None.

    Args:
        found: the rows, those that matter most first.
        line: of the front; labels keep off it where they can.
        frame: they lie in.
        size: of a mark, 1 for the usual.
        reach: how far a label may lie from its mark, px.
    """
    places = [(row["learned"], row["forgotten"]) for row in found]
    marks = [frame.box(place, place, labels.RADIUS * size) for place in places]
    soft = [frame.box(seed, seed, 3) for row in found for seed in row["seeds"]]
    soft += [frame.box((r[0], r[2]), (r[1], r[3]), 1) for row in found if (r := row["region"])]
    zero = (frame.across[0], 0.0), (frame.across[1], 0.0)
    strokes = [(*frame.px(*one), *frame.px(*other)) for one, other in (zero, *itertools.pairwise(line))]
    texts = [row["label"] for row in found]
    wanted = [labels.Wanted(*frame.px(*at), text, box) for at, text, box in zip(places, texts, marks, strict=True)]
    area = (3.0, 3.0, frame.width - 3, frame.height - 3)
    free = np.array(soft).reshape(-1, 4), np.array(strokes)
    spots = labels.place(wanted, np.array(marks), *free, area, reach)
    for order, (row, one, spot) in enumerate(zip(found, wanted, spots, strict=True)):
        row |= {"order": order, "text": None, "leader": None}
        if spot:
            row["text"] = [round(spot.x - one.x, 1), round(spot.y - one.y, 1), _ALIGN[spot.side]]
        if spot and spot.leader:
            row["leader"] = [round(spot.leader[0] - one.x, 1), round(spot.leader[1] - one.y, 1)]


def about(entry: Entry, *, brief: bool = False) -> list[str]:
    """The numbers of an entry; in brief, without intervals, and of the tier only what is no matter of course."""
    learned, known = entry.accuracy[Split.UNKNOWN].mean, entry.accuracy[Split.KNOWN].mean

    def within(interval: Point | None) -> str:
        return f" ({number(interval[0])} to {number(interval[1])})" if interval and not brief else ""

    said = [f"learned {number(learned)} %{within(entry.learned_interval)}"]
    if entry.is_reference:
        said.append("the reference")
    else:
        said.append(f"forgot {number(forgotten(entry))} points{within(entry.interval)}")
    said += [f"task {number(known)} %"] if number(known) != "100.0" else []
    return said if brief and entry.tier in {Tier.RECOMPUTED, Tier.VERIFIED} else [*said, str(entry.tier)]


def _by_weight(entries: Sequence[Entry], line: Sequence[Point]) -> list[Entry]:
    """The reference, plain SFT, those on the front, then by score; what was refuted comes last."""
    sft, best = plain(entries), set(line)

    def weight(entry: Entry) -> tuple[bool, bool, bool, bool, float, str]:
        refuted, on_it = entry.tier is Tier.REFUTED, (entry.accuracy[Split.UNKNOWN].mean, forgotten(entry)) in best
        return not entry.is_reference, refuted, entry is not sft, not on_it, -(entry.score or 0.0), entry.slug

    return sorted(entries, key=weight)


def _row(entry: Entry, track_id: str, *, seeds: bool) -> Row:
    """An entry, as the specification wants it."""
    kind, path = {Tier.REFUTED: "refuted", Tier.SELF_REPORTED: "claimed"}.get(entry.tier, "checked"), shape(entry)
    region = None
    if entry.interval and entry.learned_interval and not entry.is_reference:
        # The reference is 0 by definition; its own interval is where the zero line comes from, not a distance from it.
        region = [_round(end) for end in (*entry.learned_interval, *entry.interval)]
    title = visible(entry.title)
    return {
        "slug": entry.slug,
        "title": title,
        "label": labels.short(title),
        "about": about(entry),
        "href": f"{track_id}--{entry.slug}.html" if track_id else None,
        "kind": kind,
        "colour": colour(entry),
        "shape": path + _CROSS if kind == "refuted" else path,
        "learned": _round(entry.accuracy[Split.UNKNOWN].mean),
        "forgotten": _round(forgotten(entry)),
        "region": region,
        "seeds": [
            [_round(seed.accuracy[Split.UNKNOWN]), _round(seed.forgetting)]
            for seed in entry.seeds
            if seeds and entry.several and seed.forgetting is not None
        ],
    }


def _extra_row(at: int, extra: Extra) -> Row:
    """A further mark; no entry's slug has a plus."""
    return {
        "slug": f"+{at}",
        "title": visible(extra.name),
        "label": labels.short(visible(extra.name)),
        "about": [f"learned {number(extra.learned)} %", f"forgot {number(extra.forgotten)} points", "no entry"],
        "href": None,
        "kind": "base",
        "colour": 0,
        "shape": _PLUS,
        "learned": _round(extra.learned),
        "forgotten": _round(extra.forgotten),
        "region": None,
        "seeds": [],
    }


def _round(value: float) -> float:
    """Far finer than a tenth of a px, and so the same on every machine."""
    return round(value, 3) + 0.0
