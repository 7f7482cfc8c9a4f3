"""The plane: new facts learned against old facts forgotten. Vega draws it, ahead of time and in the browser alike."""

import json
import xml.etree.ElementTree as ET
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from fthall.leaderboard.board import Entry, forgotten, number
from fthall.leaderboard.charts import labels, vega
from fthall.leaderboard.charts.geometry import Fronts, frame, fronts
from fthall.leaderboard.charts.inline import Thing, inline
from fthall.leaderboard.charts.rows import SMALL, Extra, Row, about, label, rows
from fthall.records import Split
from fthall.submissions.tiers import Tier

WIDTH, HEIGHT = 676, 412
"""Of the frame, px."""
CROWD = 60
"""With more entries, marks are smaller, labels stay close, and seeds are left to the entries' own pages."""
QUESTION = "What did this fine-tuning make the model forget?"


@dataclass(frozen=True, slots=True)
class Plane:
    """The picture of a track."""

    svg: str
    """For the page: well-formed, everything from submissions escaped, no style attributes, one a page."""
    spec: vega.Spec
    """For the browser: the same picture, which can be zoomed and takes the page's colours."""
    front: bool
    """Whether there is a front to speak of."""
    seeds: bool
    """Whether single seeds are drawn."""
    unnamed: int
    """How many marks have no label, for want of room."""
    kinds: frozenset[str]
    """Which of ``checked``, ``claimed``, ``refuted`` and ``base`` are drawn."""

    @property
    def crowd(self) -> bool:
        """Whether there are so many that only those with a name show their intervals at first."""
        return 'class="still crowd"' in self.svg

    def script(self, track_id: str) -> str:
        """A script that hands ``spec`` to plane.js, which loads it on demand: a page may not fetch JSON from a disk."""
        data = json.dumps(self.spec, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
        return f"(window.fthallPlanes ??= {{}})[{json.dumps(track_id)}] = {data};\n"

    def png(self) -> bytes:
        """The picture in light colours, 1520 x 1000: twice as large as its px."""
        return vega.png(self.spec, _LIGHT)

    def painted(self, painter: vega.Painter) -> Callable[[], bytes]:
        """The same, drawn by another process until somebody waits for it."""
        return painter.png(self.spec, _LIGHT)


_LIGHT: dict[str, Any] = {"hint": "better: learns more, forgets less"}
"""Signals of a picture by itself: Liberation Sans has no oblique arrow, and would be left for whatever font has one."""


def plane(entries: Sequence[Entry], track_id: str = "", track: str = "", extras: Sequence[Extra] = ()) -> Plane:
    """Draw a track.

    Args:
        entries: of one track, each with a forgetting.
        track_id: of the section of the page, and of the entries' pages; without one, marks are no links.
        track: its name.
        extras: further marks, which are no links and on no front.
    """
    crowd = len(entries) > CROWD
    best = _fronts(entries)
    found = rows(entries, extras, best.line, track_id, seeds=not crowd)
    spec = _spec(found, best, (WIDTH, HEIGHT), crowd=crowd)
    title, desc = ET.Element("title", {"id": f"{track_id}-plane-title"}), ET.Element("desc")
    title.text = ", ".join(filter(None, ["New facts learned against old facts forgotten", track]))
    desc.set("id", f"{track_id}-plane-desc")
    desc.text = _described(entries)
    brief = {entry.slug: about(entry, brief=True) for entry in entries} if crowd else {}
    svg = inline(
        vega.svg(spec),
        {row["slug"]: _thing(row, brief.get(row["slug"]) or row["about"]) for row in reversed(found)},
        [title, desc],
        {
            "class": "still crowd" if crowd else "still",
            "role": "group",
            "aria-labelledby": f"{track_id}-plane-title {track_id}-plane-desc",
        },
        grow=SMALL if crowd else 1.0,
        digits=0 if crowd else 1,
    )
    return Plane(
        svg,
        spec,
        front=bool(best.line),
        seeds=any(row["seeds"] for row in found),
        unnamed=sum(row["text"] is None for row in found),
        kinds=frozenset(row["kind"] for row in found),
    )


def preview(
    painter: vega.Painter, entries: Sequence[Entry], track: str, extras: Sequence[Extra] = ()
) -> Callable[[], bytes]:
    """A PNG of 1200 x 630 for those who link to the leaderboard: its question over the plane of a track, light."""
    best = _fronts(entries)
    found = rows(entries, extras, best.line, "", seeds=False)
    spec = _spec(found, best, (520, 184), crowd=True)
    spec["padding"] = {"left": 60, "top": 82, "right": 20, "bottom": 49}
    titles = {
        "heading": QUESTION,
        "track": track,
        "xtitle": "New facts learned, % →",
        "ytitle": "← Old facts forgotten",
    }
    return painter.png(spec, _LIGHT | titles)


def _fronts(entries: Sequence[Entry]) -> Fronts:
    """Of those whose numbers were not refuted."""
    return fronts([entry for entry in entries if entry.tier is not Tier.REFUTED])


def _spec(found: list[Row], best: Fronts, size: tuple[float, float], *, crowd: bool) -> vega.Spec:
    """The specification; gives the rows the places of their labels."""
    shown = [row["forgotten"] for row in found]
    shown += [end for row in found for end in (row["region"] or ())[2:]]
    shown += [points for row in found for _, points in row["seeds"]]
    within = frame(shown, *size)
    grow = SMALL if crowd else 1.0
    label(found, best.line, within, size=grow, reach=labels.REACH / 2 if crowd else labels.REACH)
    shapes = list(dict.fromkeys(row["shape"] for row in found))
    drawn = [row | {"shape": shapes.index(row["shape"])} for row in reversed(found)]  # what matters most lies on top
    made = vega.spec(
        "plane",
        {
            "entries": drawn,
            "front": [{"learned": learned, "forgotten": points} for learned, points in best.line],
            "band": [{"learned": learned, "forgotten": points} for learned, points in best.band],
        },
        {
            "shapes": shapes,
            "across": within.across,
            "down": within.down,
            "grow": grow,
            "faint": 0.07 if crowd else 0.18,  # as plane.css
        },
    )
    return made | {"width": within.width, "height": within.height}


def _thing(row: Row, numbers: Sequence[str]) -> Thing:
    """What is drawn about a row."""
    kind = "" if row["kind"] == "checked" else f" {row['kind']}"
    return Thing(
        classes=f"c{row['colour']}{kind}",
        entry=None if row["kind"] == "base" else row["slug"],
        title=f"{row['title']}: {', '.join(numbers)}",
        href=row["href"],
        shape=row["shape"],
    )


def _described(entries: Sequence[Entry]) -> str:
    """What a reader without the picture is told."""
    learned = [entry.accuracy[Split.UNKNOWN].mean for entry in entries]
    points = [forgotten(entry) for entry in entries]
    return (
        f"{len(entries)} entr{'y' if len(entries) == 1 else 'ies'}. New facts learned: {number(min(learned))} to "
        f"{number(max(learned))} %. Old facts forgotten: {number(min(points))} to {number(max(points))} points below "
        "the reference. The table below has every number."
    )
