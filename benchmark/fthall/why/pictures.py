"""Pictures of drift and availability, as SVG: the same bytes for the same results."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from fthall.files import atomic
from fthall.records import Split
from fthall.why.available import summary
from fthall.why.trace import CONTROL

COLOURS = ("#c2491d", "#2a6fbb", "#3b8a4b", "#7b4ea3", "#b0861a", "#555555")
"""Told apart on white, as text and as lines."""
FIRST = ("sft", "self-distill", "sft-known")
"""Entries with a colour of their own in all pictures; others take what is left, as they come."""


def _colours(entries: Sequence[str]) -> dict[str, str]:
    order = [*FIRST, *(entry for entry in entries if entry not in FIRST)]
    return {entry: COLOURS[order.index(entry) % len(COLOURS)] for entry in entries}


@contextmanager
def _figure(path: Path, columns: int) -> Iterator[Any]:
    """Axes in a row; written when they are drawn."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    # Text stays text; ids do not change from one drawing to the next.
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "fthall", "font.family": "sans-serif"}):
        figure = Figure(figsize=(4.6 * columns, 3.6), layout="constrained")
        axes = figure.subplots(1, columns)
        yield axes
        for one in np.atleast_1d(axes):
            one.spines[["top", "right"]].set_visible(False)
        with atomic(path) as temporary:
            figure.savefig(temporary, format="svg", metadata={"Date": None, "Creator": None})


def drift(found: Mapping[str, Any], path: Path) -> None:
    """Drift of held-out facts by layer at the end, and epoch by epoch at half depth; the control text dashed."""
    at = found["layer"]
    entries = list(dict.fromkeys(point["entry"] for point in found["points"]))
    with _figure(path, 2) as (by_layer, by_epoch):
        for entry, colour in _colours(entries).items():
            points = [point for point in found["points"] if point["entry"] == entry]
            epochs = sorted({point["epoch"] for point in points if point["epoch"] is not None})
            ends = [point for point in points if not epochs or point["epoch"] == epochs[-1]]
            for group, style in ((Split.HELD, "-"), (CONTROL, "--")):
                label = entry if group == Split.HELD else None
                mean = np.mean([point["of"][group]["cosine"] for point in ends], axis=0)
                by_layer.plot(range(len(mean)), mean, style, color=colour, label=label)
                if len(epochs) > 1:
                    line = [
                        np.mean([p["of"][group]["cosine"][at] for p in points if p["epoch"] == epoch])
                        for epoch in epochs
                    ]
                    by_epoch.plot([0, *epochs], [0, *line], style, color=colour)
                elif epochs and group == Split.HELD:
                    by_epoch.plot(epochs, [mean[at]], "o", color=colour)
        by_layer.set_xlabel("layer (0: embeddings)")
        by_layer.set_ylabel("cosine distance from the base")
        by_layer.set_title("at the end", fontsize=10)
        by_epoch.set_xlabel("epoch")
        by_epoch.set_title(f"at layer {at}", fontsize=10)
        for axes in (by_layer, by_epoch):
            axes.set_ylim(bottom=0)
        by_layer.plot([], [], "--", color=COLOURS[-1], label="plain sentences")
        by_layer.legend(frameon=False, fontsize=9)


def availability(found: Mapping[str, Any], path: Path) -> None:
    """What share of the lost facts can be had in which way, and at which rank the right answer is."""
    ways = ("when sampled", "in a context", "after an epoch of known facts", "in any way")
    entries = list(dict.fromkeys(one["entry"] for one in found["runs"] if one["facts"]))
    with _figure(path, 2) as (bars, ranks):
        for number, (entry, colour) in enumerate(_colours(entries).items()):
            runs = [one for one in found["runs"] if one["entry"] == entry]
            told = [summary(one) for one in runs]
            lost = sum(one["lost"] for one in told)
            shares = [100 * sum(one[way] for one in told) / lost for way in ways]
            height = 0.8 / len(entries)
            places = [at + number * height for at in range(len(ways))]
            bars.barh(places, shares, height, color=colour, label=f"{entry}, {lost} lost")
            rows = [row for one in runs for row in one["facts"]]
            for of, style, label in (("after", "-", entry), ("other", "--", None)):
                values = np.sort([row[of][1] for row in rows])
                ranks.step(
                    [1, *values, 1e5],
                    [0, *(100 * np.arange(1, len(values) + 1) / len(values)), 100],
                    style,
                    where="post",
                    color=colour,
                    label=label,
                )
        bars.set_yticks([at + 0.4 - 0.4 / max(1, len(entries)) for at in range(len(ways))], ways)
        bars.invert_yaxis()
        bars.set_xlim(0, 100)
        bars.set_xlabel("% of the lost facts")
        ranks.set_xscale("log")
        ranks.set_xlim(1, 1e4)
        ranks.set_ylim(0, 100)
        ranks.set_xlabel("rank of the right answer (dashed: of another)")
        ranks.set_ylabel("% of the lost facts")
        if entries:
            bars.legend(frameon=False, fontsize=9, loc="lower center", bbox_to_anchor=(0.35, 1), ncols=2)
