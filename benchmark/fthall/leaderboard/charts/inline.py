"""Vega's SVG in, the SVG of a page out: a few hundred bytes an entry, classes in place of colours and fonts.

Vega says where everything is. The page's style sheet says how it looks, since only that knows whether the reader wants
it dark; and the page's security policy lets no style attribute through.
"""

import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

_AXES = {"role-axis-label": "tick", "role-axis-title": "axis", "role-axis-grid": "grid"}
"""Vega's classes, and ours. Marks keep the names they have in the specification."""
_JOINED = frozenset({"grid", "seed"})
"""What becomes one path, however many there are."""

_Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Thing:
    """What the marks of one entry have in common."""

    classes: str
    """Of its group."""
    entry: str | None
    """What scripts know it by."""
    title: str
    href: str | None
    shape: str
    """Of its mark, a path about the origin."""


def inline(
    drawn: ET.Element,
    things: Mapping[str, Thing],
    head: Sequence[ET.Element],
    about: Mapping[str, str],
    *,
    grow: float = 1.0,
    digits: int = 1,
) -> str:
    """The picture, well-formed XML without a namespace, to be put into HTML as it is; one a page, for its shapes' ids.

    Args:
        drawn: by Vega. What belongs to a thing has its key for a description.
        things: by key, in the order in which they are drawn.
        head: elements to begin with.
        about: attributes of the root.
        grow: how much larger the shapes are drawn.
        digits: of what belongs to a thing; of the marks themselves it is always one.

    Raises:
        ValueError: Vega did not draw a mark for every thing.
    """
    left, top = _shift(drawn[0])
    sides = map(float, (drawn.get("viewBox") or "").split()[2:])
    root = ET.Element("svg", {"viewBox": " ".join(map(number, (-left, -top, *sides))), **about})
    root.extend(head)
    # Each shape is written once: the path Vega writes at each mark is several times as long.
    shapes = {shape: f"p{at}" for at, shape in enumerate(dict.fromkeys(thing.shape for thing in things.values()))}
    defs, size = ET.SubElement(root, "defs"), {} if grow == 1 else {"transform": f"scale({grow:g})"}
    defs.extend(ET.Element("path", {"id": name, "d": shape, **size}) for shape, name in shapes.items())
    groups = {}
    for key, thing in things.items():
        groups[key] = ET.Element("a" if thing.href else "g", {"class": thing.classes})
        for name, value in {"data-entry": thing.entry, "href": thing.href}.items():
            if value is not None:
                groups[key].set(name, value)
        if thing.href:
            groups[key].set("tabindex", "-1")  # the table below has the same links
        ET.SubElement(groups[key], "title").text = thing.title
    marked = set()
    for name, element, place in _walk(drawn[0], "", (-left, -top)):
        key = element.get("aria-label", "")
        parent, fine = (groups[key], digits) if key else (root, 1)
        if name == "mark":
            marked.add(key)
            use = {"href": f"#{shapes[things[key].shape]}", "x": number(place[0]), "y": number(place[1])}
            ET.SubElement(parent, "use", use)
        elif element.tag.endswith("text"):
            parent.append(_text(name, element, place, fine))
        else:
            path, before = _path(name, element, place, fine), parent[-1] if len(parent) else None
            if before is not None and before.get("class") == name in _JOINED:
                before.set("d", before.get("d", "") + path)
            else:
                ET.SubElement(parent, "path", {"class": name, "d": path})
    if missing := groups.keys() - marked:
        raise ValueError(f"Vega drew no mark for {min(missing)}")
    root.extend(groups.values())
    return ET.tostring(root, encoding="unicode").replace(" />", "/>")  # a ">" of others' is escaped


def number(value: float, digits: int = 1) -> str:
    """To a tenth of a px, as short as can be."""
    return f"{round(value, digits) + 0.0:.{digits}f}".removesuffix(".0")  # adding 0 makes a negative zero a zero


def _walk(element: ET.Element, name: str, at: _Point) -> Iterator[tuple[str, ET.Element, _Point]]:
    """Everything Vega drew that can be seen, by the name of its mark, and where its origin is."""
    x, y = _shift(element)
    at = (at[0] + x, at[1] + y)
    tag, classes = element.tag.rpartition("}")[2], element.get("class", "").split()
    if tag == "g":
        if classes and "root" not in classes and "role-axis" not in classes:
            name = next((_AXES[one] for one in classes if one in _AXES), classes[-1])
        for child in element:
            yield from _walk(child, name, at)
        return
    hidden = element.get("opacity") == "0" or (tag == "text" and not element.text)
    if not hidden and "background" not in classes and "foreground" not in classes:
        yield name, element, at


def _shift(element: ET.Element) -> _Point:
    """Where it is moved to, of ``translate(x,y)`` and what may follow."""
    found = re.match(r"translate\(([^,]+),([^)]+)\)", element.get("transform", ""))
    return (float(found[1]), float(found[2])) if found else (0.0, 0.0)


def _text(name: str, element: ET.Element, at: _Point, digits: int) -> ET.Element:
    x, y = (number(value, digits) for value in at)
    turned = "rotate(-90)" in element.get("transform", "")
    place = {"transform": f"translate({x} {y})rotate(-90)"} if turned else {"x": x, "y": y}
    anchor = element.get("text-anchor", "start")
    made = ET.Element("text", {"class": f"{name} {anchor}" if anchor != "start" else name, **place})
    made.text = element.text
    return made


def _path(name: str, element: ET.Element, at: _Point, digits: int) -> str:
    """Path of a line, a dot or an area."""
    start = f"M{number(at[0], digits)} {number(at[1], digits)}"
    if element.tag.endswith("line"):
        along, down = (number(float(element.get(end, 0)), digits) for end in ("x2", "y2"))
        return start + (f"h{along}" if down == "0" else f"v{down}" if along == "0" else f"l{along} {down}")
    if name == "seed":
        return f"{start}z"  # of no length: a style sheet's round ends make it a dot
    data = element.get("d", "").replace(",", " ")
    return re.sub(r"-?[\d.]+(?:e-?\d+)?", lambda one: number(float(one[0]), digits), data)
