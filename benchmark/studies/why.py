"""The tables of the page that asks why it forgets, from the committed results of the experiments.

    python benchmark/studies/why.py

Seconds; nothing is trained.
"""

import sys
from pathlib import Path

from fthall.leaderboard.board import number
from fthall.measure.runs import Paired
from fthall.why.results import Results, read

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
SHARES = (10, 25, 50, 65, 75, 100)
DOSES = ((200, "sft"), (400, "sft"), (400, "self-distill"), (800, "sft"))


def told(found: Paired) -> str:
    """A difference and its interval, over facts and seeds where there are several."""
    span = found.judged
    return f"{number(found.difference)} ({number(span.low)} to {number(span.high)})"


def learned(found: Results, arm: str, entry: str = "sft") -> str:
    """Two cells: new facts learned, and what it cost."""
    return f"{found.mean(arm, entry, 'unknown'):.1f} | {told(found.forgotten(arm, entry))}"


def tables() -> dict[str, list[str]]:
    """The rows of each table, as Markdown."""
    keys, large, dose, controls = (
        read(STUDIES / f"why-{name}.json") for name in ("keys-gpu", "keys-gpu-large", "dose-gpu", "controls-gpu")
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
    return {"keys": of_keys, "values": of_values, "dose": of_dose, "controls": of_controls}


if __name__ == "__main__":
    for name, rows in tables().items():
        sys.stdout.write(f"{name}\n{chr(10).join(rows)}\n\n")
