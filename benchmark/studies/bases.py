"""The tables of the page that sets three bases side by side, from the committed releases and submissions.

    python benchmark/studies/bases.py

Seconds; nothing is trained. EntityQuestions must be at hand (``fthall fetch entityquestions``).
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fthall.knowledge import splits
from fthall.leaderboard import board
from fthall.leaderboard.board import number
from fthall.measure import report, runs
from fthall.records import Category, Release, Split
from fthall.submissions import Submission, find_runs, read
from study import told

SUBMISSIONS = Path(__file__).resolve().parents[2] / "submissions"
BASES = {"smollm2-135m": "SmolLM2-135M", "gemma-3-270m": "Gemma-3-270M", "qwen2.5-coder-1.5b": "Qwen2.5-Coder-1.5B"}
TRACKS = (
    "entityquestions/smollm2-135m",
    "entityquestions/gemma-3-270m",
    "entityquestions/qwen2.5-coder-1.5b",
    "geonames/smollm2-135m",
    "geonames/gemma-3-270m",
)
SOURCES = {"entityquestions": "EntityQuestions", "geonames": "GeoNames"}
ENTRIES = ("sft-known", "sft", "lora", "self-distill")


def tables() -> dict[str, list[str]]:
    """The rows of each table, as Markdown."""
    found = {release.track: (release, rows) for release, rows in read(SUBMISSIONS)}
    shares = {track: splits.manifest(track)["relations"] for track in TRACKS}
    return {
        "known": [_known(relation, shares, TRACKS[:3]) for relation in ("P17", "P407", "P495")]
        + [_known(relation, shares, TRACKS[3:]) for relation in shares[TRACKS[3]]],
        "forgotten": [row for track in TRACKS for row in _forgotten(*found[track])],
        "short": [_short(*found[track]) for track in TRACKS],
        "apart": [_apart(track, "self-distill") for track in TRACKS]
        + [_apart(track, "lora") for track in TRACKS if (SUBMISSIONS / track / "lora-seed0").exists()],
    }


def _known(relation: str, shares: dict[str, dict[str, Any]], tracks: tuple[str, ...]) -> str:
    """A relation: of each base the facts asked, and the shares HighlyKnown (not given away) and Unknown."""
    cells = []
    for track in tracks:
        row = shares[track][relation]
        unknown = 100 * row[Category.UNKNOWN] / row["asked"]
        shown = f"{100 * row['highly_known_share']:.1f}{' *' * row['kept']}"
        cells += [f"{row['asked']:,}", shown, f"{unknown:.1f}"]
    return f"| `{relation}` | {' | '.join(cells)} |"


def _forgotten(release: Release, submissions: Sequence[Submission]) -> list[str]:
    """The reference, and what each way of fine-tuning learned and cost."""
    source, base = release.track.split("/")
    trained = f"{len(release.splits[Split.KNOWN]):,} + {len(release.splits[Split.UNKNOWN]):,}"
    of_track = f"{SOURCES[source]} | {BASES[base]} | {trained} | {len(release.splits[Split.HELD]):,}"
    entries = {entry.slug: entry for entry in board.board(release, submissions).entries}
    rows = []
    for entry in (entries[slug] for slug in ENTRIES if slug in entries):
        low, high = entry.interval or (0.0, 0.0)
        within = "" if entry.is_reference else f" ({number(low)} to {number(high)})"
        shares = " | ".join(f"{entry.accuracy[split].mean:.1f}" for split in (Split.UNKNOWN, Split.HELD))
        lost = f"{number(board.forgotten(entry))}{within}"
        rows.append(f"| {of_track} | {entry.title} | {len(entry.seeds)} | {shares} | {lost} |")
    return rows


def _short(release: Release, submissions: Sequence[Submission]) -> str:
    """A track in a row: what the reference keeps, and what SFT and self-distillation learn and forget."""
    source, base = release.track.split("/")
    entries = {entry.slug: entry for entry in board.board(release, submissions).entries}
    cells = [f"{entries['sft-known'].accuracy[Split.HELD].mean:.1f}"]
    for entry in (entries["sft"], entries["self-distill"]):
        low, high = entry.interval or (0.0, 0.0)
        cells.append(f"{entry.accuracy[Split.UNKNOWN].mean:.1f}")
        cells.append(f"{number(board.forgotten(entry))} ({number(low)} to {number(high)})")
    return f"| {SOURCES[source]} | {BASES[base]} | {' | '.join(cells)} |"


def _apart(track: str, entry: str) -> str:
    """How much more of the old facts a way keeps than SFT, on the same facts."""
    source, base = track.split("/")
    first, second = (find_runs(SUBMISSIONS / track / name) for name in (entry, "sft"))
    made = report.compare(first, second, runs.ground(splits.load(track)))
    held = made.splits[Split.HELD]
    return f"| {SOURCES[source]} | {BASES[base]} | {first[0].title} | {len(first)}, {len(second)} | {told(held)} |"


if __name__ == "__main__":
    for name, rows in tables().items():
        sys.stdout.write(f"{name}\n" + "\n".join(rows) + "\n\n")
