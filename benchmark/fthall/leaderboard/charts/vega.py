"""Vega, through vl-convert: a specification in; SVG, PNG or the script that shows it in a browser out. No network."""

import copy
import json
import xml.etree.ElementTree as ET
from collections.abc import Mapping, Sequence
from typing import Any

from fthall.paths import data_dir

Spec = dict[str, Any]
"""A Vega specification, as JSON."""

_BUNDLE = """
import {parse} from "/npm/vega-parser@7.1.0/+esm";
import {View} from "/npm/vega-view@6.1.0/+esm";
import {transforms} from "/npm/vega-dataflow@6.1.0/+esm";
import * as plain from "/npm/vega-transforms@5.1.0/+esm";
import * as views from "/npm/vega-view-transforms@5.1.0/+esm";
import * as encode from "/npm/vega-encode@5.1.0/+esm";
import * as label from "/npm/vega-label@2.1.0/+esm";
import {expressionInterpreter} from "/npm/vega-interpreter@2.0.0/+esm";
Object.assign(transforms, plain, views, encode, label);
window.fthallVega = {parse, View, expr: expressionInterpreter};
"""
"""The parts of Vega that the planes need, as vl-convert carries them: half of all, and the interpreter, which does
without ``eval``."""


def spec(name: str, data: Mapping[str, Sequence[Mapping[str, Any]]], signals: Mapping[str, Any]) -> Spec:
    """A specification of the leaderboard's folder with data sets and signals of one's own.

    Args:
        name: of the file, without ``.vega.json``.
        data: rows of data sets the file has.
        signals: values of signals the file has.

    Raises:
        KeyError: the file has no data set or signal of that name.
    """
    made: Spec = json.loads((data_dir("leaderboard") / "static" / f"{name}.vega.json").read_text(encoding="utf-8"))
    sets, own = ({one["name"]: one for one in made[kind]} for kind in ("data", "signals"))
    for key, rows in data.items():
        sets[key]["values"] = list(rows)
    for key, value in signals.items():
        own[key]["value"] = value
    return made


def svg(made: Spec) -> ET.Element:
    """Draw it; numbers are in px, and no position hangs on a font.

    Raises:
        ValueError: Vega could not draw it whole.
    """
    import vl_convert

    text = vl_convert.vega_to_svg(_still(made))
    return ET.fromstring(text)  # noqa: S314  # what Vega wrote


def png(made: Spec, scale: float = 2.0) -> bytes:
    """Draw it as a picture, ``scale`` times as large as its px. Text is in Liberation Sans, which vl-convert carries."""
    import vl_convert

    return vl_convert.vega_to_png(_still(made), scale=scale)


def bundle() -> str:
    """The script that shows a specification in a browser, under a policy without ``unsafe-eval``; 450 kB.

    It sets ``fthallVega`` to ``{parse, View, expr}``. The same bytes each time, for one version of vl-convert.
    """
    import vl_convert

    licence = (data_dir("leaderboard") / "static" / "vega.license.txt").read_text(encoding="utf-8")
    return f"/*\n{licence}*/\n{vl_convert.javascript_bundle(_BUNDLE)}\n"


def _still(made: Spec) -> Spec:
    """Without what needs a browser: the placing of labels, which measures on a canvas."""
    still = copy.deepcopy(made)

    def strip(marks: list[Spec]) -> None:
        for mark in marks:
            mark["transform"] = [one for one in mark.get("transform", ()) if one["type"] != "label"]
            strip(mark.get("marks", []))

    strip(still["marks"])
    return still
