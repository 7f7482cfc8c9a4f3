"""The tables of the page that asks why it forgets, from the committed results.

    python benchmark/studies/why.py

Seconds; nothing is trained.
"""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from fthall.files import read_json
from fthall.records import Split
from fthall.why import available, trace
from fthall.why.results import Results, read
from study import told

STUDIES = Path(__file__).resolve().parents[2] / "leaderboard" / "studies"
METHODS = {
    "sft": "SFT",
    "self-distill": "self-distillation",
    "self-distill-replay": "self-distillation, own answers replayed",
}
OTHERS = {
    "real": "unknown, as they are",
    "shuffled": "the same, shuffled",
    "relabelled": "known, told otherwise",
    "uuid": "made up, UUID-like",
}
CLOSE = {"name": "made up, name-like", "name-close": "the same, every name close to a held-out one"}
BITS = {"name": "400 made up, with a country", "name-number-184": "184 made up, with a number of five digits"}
NAMES = {"sft-known": "known facts alone", "sft": "SFT", "self-distill": "self-distillation"}
OVERLAPS = {
    "name overlap, trigrams": "its name is like a new one (trigrams)",
    "  of the same answer": "like a new one with the same answer",
    "  of another answer": "like a new one with another answer",
    "name overlap, subword tokens": "its name is like a new one (subword tokens)",
    "new facts with its answer": "new facts with its answer",
}
SHARES = (10, 25, 50, 65, 75, 100)
DOSES = ((200, "sft"), (400, "sft"), (400, "self-distill"), (540, "sft"), (800, "sft"))


def learned(found: Results, arm: str, entry: str = "sft") -> str:
    """Two cells: new facts learned, and what it cost."""
    return f"{found.mean(arm, entry, 'unknown'):.1f} | {told(found.forgotten(arm, entry))}"


def tables() -> dict[str, list[str]]:
    """The rows of each table, as Markdown."""
    keys, large, dose, controls, close, bits = (
        read(STUDIES / f"why-{name}.json")
        for name in ("keys-gpu", "keys-gpu-large", "dose-gpu", "controls-gpu", "controls-close", "controls-bits")
    )
    of_keys = [
        f"| {size:,} | {method} | {learned(found, f'name-{size}', entry)} | {learned(found, f'uuid-{size}', entry)} |"
        for size, found in ((100, keys), (1000, keys), (10_000, large))
        for entry, method in METHODS.items()
        if (f"name-{size}", entry) in found.runs
    ]
    kinds = {"country": "1000", **{value: f"{value}-1000" for value in ("person", "number", "uuid")}}
    of_values = [
        f"| {value} | {learned(keys, f'name-{arm}')} | {learned(keys, f'uuid-{arm}')} |" for value, arm in kinds.items()
    ]
    of_dose = []
    for share in SHARES:
        arms = [(f"of-{size}-{share}", entry) for size, entry in DOSES]
        cells = [told(dose.forgotten(*arm)) if arm in dose.runs else "" for arm in arms]
        of_dose.append(f"| {share} % | {' | '.join(cells)} |")
    more = controls.apart(("real", "sft-known"), ("known-600", "sft-known"))
    of_controls = [f"| known, as it knows them |  | {told(more)} |"]
    of_controls += [f"| {name} | {learned(controls, arm)} |" for arm, name in OTHERS.items()]
    nearer = close.apart(("name", "sft"), ("name-close", "sft"))
    of_close = [f"| {name} | {learned(close, arm)} |" for arm, name in CLOSE.items()]
    return {
        "keys": of_keys,
        "values": of_values,
        "dose": of_dose,
        "controls": of_controls,
        "close": [*of_close, f"| the second more than the first |  | {told(nearer)} |"],
        "bits": [
            *(f"| {name} | {learned(bits, arm)} |" for arm, name in BITS.items()),
            f"| the second more than the first |  | {told(bits.apart(('name', 'sft'), ('name-number-184', 'sft')))} |",
        ],
        "drift": drift(trace.read(STUDIES / "why-drift.json")),
        "items": items(
            read_json(STUDIES / "why-overlap.json")["rows"], trace.read(STUDIES / "why-drift.json")["correlations"]
        ),
        "availability": availability(available.read(STUDIES / "why-availability.json")),
    }


def drift(found: Mapping[str, Any]) -> list[str]:
    """Of each run's result: cosine distance of four groups at half depth, x 100, and CKA of two."""
    last = {point["run"]: point for point in found["points"]}
    rows, at = [], found["layer"]
    for point in last.values():
        cells = [NAMES[point["entry"]]]
        for group in (Split.HELD, Split.KNOWN, Split.UNKNOWN, trace.CONTROL):
            of = point["of"][group]
            cells.append(f"{100 * of['cosine'][at]:.2f} ({100 * of['low'][at]:.2f} to {100 * of['high'][at]:.2f})")
        cells += [f"{point['of'][group]['cka'][at]:.3f}" for group in (Split.HELD, Split.UNKNOWN)]
        rows.append(f"| {' | '.join(cells)} |")
    return rows


def items(overlap: Sequence[Mapping[str, Any]], drifted: Sequence[Mapping[str, Any]]) -> list[str]:
    """Rank correlation with a fact's being lost: of drift, and of what it has in common with the new facts."""

    def cell(rows: Sequence[Mapping[str, Any]], entry: str, what: str, new: str | None = None) -> str:
        row = next((r for r in rows if r["entry"] == entry and r["what"] == what and r.get("new facts") == new), None)
        if row is None or row["rho"] is None:
            return ""
        return f"{row['rho']:+.2f} ({row['low']:+.2f} to {row['high']:+.2f})".replace("-", "−")

    found = [
        f"| {what} | {cell(drifted, 'sft', what)} | | | {cell(drifted, 'self-distill', what)} |"
        for what in (trace.DRIFT, trace.APART)
    ]
    for what, name in OVERLAPS.items():
        cells = [cell(overlap, "sft", what, new) for new in ("real towns", "name-1000", "name-100")]
        found.append(f"| {name} | {' | '.join([*cells, cell(overlap, 'self-distill', what, 'real towns')])} |")
    return found


def availability(found: Mapping[str, Any]) -> list[str]:
    """Counts of each way, a column a run."""
    told = [available.summary(run) for run in found["runs"]]
    rows = [
        f"| {what} | {' | '.join(str(one[what]) for one in told)} |"
        for what in told[0]
        if what not in {"right before", "lost"}
    ]
    for when, name in (("before", "before"), ("after", "after")):
        middle = [median(fact[when][0] for fact in run["facts"]) for run in found["runs"]]
        rows.append(f"| probability of the right answer {name}, median | {' | '.join(f'{p:.2f}' for p in middle)} |")
    return rows


if __name__ == "__main__":
    for name, rows in tables().items():
        sys.stdout.write(f"{name}\n{chr(10).join(rows)}\n\n")
