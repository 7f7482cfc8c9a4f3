"""A track's table as data: the numbers of the page, unrounded, a row an entry."""

import csv
import io
import json
from collections.abc import Sequence
from typing import Any

from fthall.leaderboard.board import Entry
from fthall.records import Release, Split


def rows(release: Release, entries: Sequence[Entry]) -> list[dict[str, Any]]:
    """Plain data, an entry each, in the order of the table; percent and points, None where there is no number."""
    found = []
    for entry in entries:
        low, high = entry.interval or (None, None)
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
                **{str(split): entry.accuracy[split].mean for split in Split},
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


def _harmless(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and value.startswith(("=", "+", "-", "@")) else value
