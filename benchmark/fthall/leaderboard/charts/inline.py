"""Vega's SVG in, the SVG of a page out: a few hundred bytes an entry, classes in place of colours and fonts.

Vega says where everything is. The page's style sheet says how it looks, since only that knows whether the reader wants
it dark; and the page's security policy lets no style attribute through.
"""

import re
import xml.etree.ElementTree as ET
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

_SVG = "{http://www.w3.org/2000/svg}"
_Shift = tuple[float, float]
_AXES = {"role-axis-label": "tick", "role-axis-title": "axis", "role-axis-grid": "grid"}
"""Vega's classes, and ours."""


@dataclass(frozen=True, slots=True)
class Thing:
    """What the marks of one entry have in common."""

    classes: str
    """Of its group."""
    title: str
    href: str | None
    shape: str
    """Path of its mark, relative after its start."""


def inline(drawn: ET.Element, things: Mapping[str, Thing], head: Sequence[ET.Element], **attributes: str) -> str:
    """The picture, well-formed XML without a namespace, to be put into HTML as it is.

    Args:
        drawn: by Vega from ``plane.vega.json``; what belongs to an entry has its key for a description.
        things: by key, in the order in which they are drawn.
        head: elements to begin with.
        attributes: of the root.

    Raises:
        ValueError: Vega drew no mark for one of the things.
    """
    parts = _parts(drawn)
    left, top = parts.start
    size = [float(side) for side in (drawn.get("viewBox") or "").split()[2:]]
    root = ET.Element("svg", {"viewBox": " ".join(map(_number, (-left, -top, *size))), **attributes})
    root.extend(head)
    root.extend(parts.below)
    for key, thing in things.items():
        own = parts.own[key]
        names = [one.get("class") for one in own]
        if "mark" not in names:
            raise ValueError(f"Vega drew no mark for {key}")
        about = {"class": thing.classes, "data-entry": key}
        link = {"href": thing.href, "tabindex": "-1"} if thing.href else {}
        group = ET.SubElement(root, "a" if thing.href else "g", {**about, **link})
        ET.SubElement(group, "title").text = thing.title
        seeds = "".join(one.get("d", "") for one in own if one.get("class") == "seed")
        if seeds:
            ET.SubElement(group, "path", {"class": "seed", "d": seeds})
        group.extend(one for one in own if one.get("class") != "seed")
        for mark in group.iterfind("path[@class='mark']"):
            mark.set("d", _moved(thing.shape, mark.get("d", "")))
    return ET.tostring(root, encoding="unicode").replace(" />", "/>")  # ">" is escaped in what others wrote
