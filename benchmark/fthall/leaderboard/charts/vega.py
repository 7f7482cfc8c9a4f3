"""Vega, through vl-convert: a specification in; SVG, PNG or the script that shows it in a browser out. No network."""

import contextlib
import copy
import functools
import io
import json
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ET
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

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
"""The parts of Vega that the planes need, and the interpreter, which does without ``eval``: half of what Vega is with
Vega-Lite and Vega-Embed. These are the names under which this version of vl-convert carries them."""


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
    sets = {one["name"]: one for one in made["data"]}
    for key, rows in data.items():
        sets[key]["values"] = list(rows)
    return _set(made, signals)


def svg(made: Spec) -> ET.Element:
    """Draw it; numbers are in px. What goes wrong in a mark Vega says on stderr only, and leaves the mark out.

    Raises:
        ValueError: not a specification.
    """
    import vl_convert

    text = vl_convert.vega_to_svg(_still(made))
    return ET.fromstring(text)  # noqa: S314  # what Vega wrote


def png(made: Spec, signals: Mapping[str, Any], scale: float = 2.0) -> bytes:
    """Draw it as a picture on white, in 256 colours.

    Text is in Liberation Sans, which vl-convert carries, except what that lacks: that is left to the fonts of the
    machine, so pictures of such titles are not the same everywhere.

    Args:
        made: the specification.
        signals: values of signals it has.
        scale: how many pixels a px has.
    """
    import vl_convert
    from PIL import Image

    drawn = vl_convert.vega_to_png(_still(_set(made, signals)) | {"background": "#ffffff"}, scale=scale)
    out = io.BytesIO()
    with Image.open(io.BytesIO(drawn)) as picture:
        picture.convert("RGB").quantize(256).save(out, "PNG", optimize=True)
    return out.getvalue()


class Painter:
    """Draws in a process of its own while this one goes on: Vega lets no other thread of Python run meanwhile.

    It starts with the first picture, and ends with the ``with`` it is made for.
    """

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="fthall.")
        self._child: subprocess.Popen[str] | None = None
        self._asked = self._drawn = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._child:
            self._child.kill()  # whatever is asked for was waited for
            self._child.communicate()
        self._folder.cleanup()

    def start(self) -> None:
        """Have the process start, so that it is there when the first picture is."""
        if self._child is None:
            command = [sys.executable, "-c", _PAINTER, json.dumps(sys.path)]
            self._child = subprocess.Popen(  # noqa: S603 - ours; in a session of its own, as Ctrl-C is not for it
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                encoding="utf-8",
                start_new_session=True,
            )

    def png(self, made: Spec, signals: Mapping[str, Any], scale: float = 2.0) -> Callable[[], bytes]:
        """Begin to draw what :func:`png` draws; what is returned waits for it.

        Args:
            made: the specification.
            signals: values of signals it has.
            scale: how many pixels a px has.
        """
        self.start()
        child, number = self._child, self._asked
        self._asked += 1
        given = Path(self._folder.name) / f"{number}.json"
        given.write_text(json.dumps([made, signals, scale]), encoding="utf-8")
        assert child and child.stdin and child.stdout
        with contextlib.suppress(OSError):  # it died
            child.stdin.write(f"{given}\n")
            child.stdin.flush()
        answers = child.stdout

        def wait() -> bytes:
            while self._drawn <= number and answers.readline():
                self._drawn += 1
            if self._drawn > number:
                return given.with_suffix(".png").read_bytes()
            return png(made, signals, scale)  # here it says what is wrong

        return wait


_PAINTER = """
import json, sys
sys.path[:] = json.loads(sys.argv[1])
from pathlib import Path
from fthall.leaderboard.charts import vega
for line in sys.stdin:
    given = Path(line.rstrip("\\n"))
    given.with_suffix(".png").write_bytes(vega.png(*json.loads(given.read_text(encoding="utf-8"))))
    sys.stdout.write("drawn\\n")
    sys.stdout.flush()
"""
"""Takes names of files, one a line, and says of each when it is drawn."""


@functools.cache
def bundle() -> str:
    """The script that shows a specification in a browser, under a policy without ``unsafe-eval``; 450 kB.

    It sets ``fthallVega`` to ``{parse, View, expr}``. The same bytes each time, for one version of vl-convert.
    """
    import vl_convert

    licence = (data_dir("leaderboard") / "static" / "vega.license.txt").read_text(encoding="utf-8")
    return f"/*\n{licence}*/\n{vl_convert.javascript_bundle(_BUNDLE)}\n"


def _set(made: Spec, values: Mapping[str, Any]) -> Spec:
    """With other values of signals."""
    copied = copy.deepcopy(made)
    signals = {one["name"]: one for one in copied["signals"]}
    for key, value in values.items():
        signals[key]["value"] = value
    return copied


def _still(made: Spec) -> Spec:
    """Without what needs a browser: the placing of labels, which measures on a canvas."""
    still = copy.deepcopy(made)

    def strip(marks: list[Spec]) -> None:
        for mark in marks:
            mark["transform"] = [one for one in mark.get("transform", ()) if one["type"] != "label"]
            strip(mark.get("marks", []))

    strip(still["marks"])
    return still
