"""The numbers of the pages as data, unrounded: a track's table with a row an entry, and all about an entry."""

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from fthall.leaderboard.board import Entry, SeedRow
from fthall.leaderboard.entries import EntryPage
from fthall.records import Release, Split


def rows(release: Release, entries: Sequence[Entry]) -> list[dict[str, Any]]:
    """Plain data, an entry each, in the order of the table; percent and points, None where there is no number."""
    found = []
    for entry in entries:
        low, high = entry.interval or (None, None)
        least, most = entry.learned_interval or (None, None)
        found.append(
            {
                "track": release.track,
                "release": release.digest,
                "entry": entry.slug,
                "title": entry.title,
                "method": entry.method,
                "trained_on": " ".join(entry.trained_on),
                "reference": entry.is_reference,
                "tier": str(entry.tier),
                "rank": entry.rank,
                "among": entry.among,
                "score": entry.score,
                "seeds": len(entry.seeds),
                "created": entry.created.isoformat(),
                **{str(split): entry.accuracy[split].mean for split in Split},
                "unknown_low": least,
                "unknown_high": most,
                "wrong": entry.wrong.mean,
                "abstained": entry.abstained.mean,
                "forgetting": entry.forgetting.mean if entry.forgetting else None,
                "forgetting_low": low,
                "forgetting_high": high,
                "p": entry.p,
                "evidenced": entry.evidenced,
                **{f"held_at_{level}": at.mean if at else None for level, at in entry.at.items()},
                "area": entry.area.mean if entry.area else None,
            }
        )
    return found


def as_csv(found: Sequence[dict[str, Any]]) -> str:
    """With a header; a text that a spreadsheet would take for a formula gets a quote before it."""
    out = io.StringIO()
    writer = csv.DictWriter(out, list(found[0]) if found else [], lineterminator="\n")
    writer.writeheader()
    for row in found:
        writer.writerow({name: _harmless(value) for name, value in row.items()})
    return out.getvalue()


def as_json(found: Sequence[dict[str, Any]]) -> str:
    """A list of objects."""
    return json.dumps(list(found), ensure_ascii=False, indent=1, allow_nan=False) + "\n"


def as_parquet(found: Sequence[dict[str, Any]]) -> bytes:
    """The columns of the CSV, typed."""
    if not found:
        return b""
    columns = {name: pa.array([row[name] for row in found]) for name in found[0]}
    out = io.BytesIO()
    pq.write_table(pa.table(columns), out)
    return out.getvalue()


def entry(row: dict[str, Any], page: EntryPage) -> str:
    """An entry's row and its whole report (:class:`fthall.measure.report.Report`), as JSON."""
    seeds = [{"seed": seed.seed, "tier": str(seed.tier), **_seed(seed)} for seed in page.entry.seeds]
    return as_json([{**row, "runs": seeds, "report": asdict(page.report)}])


def _seed(row: SeedRow) -> dict[str, Any]:
    accuracies = {str(split): row.accuracy[split] for split in Split}
    return {**accuracies, "wrong": row.wrong, "abstained": row.abstained, "forgetting": row.forgetting}


def _harmless(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and value.startswith(("=", "+", "-", "@")) else value
