"""Anyone's own rows, with what a base knows of them: columns more in their file, and a file ready to train on."""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from fthall.facts import own
from fthall.facts.own.formats import Row
from fthall.knowledge.slick import tally
from fthall.records import Category

ADDED = ("category", "right", "asked")
"""Columns that :func:`annotate` adds."""
UNJUDGED = "unjudged"
"""Rows whose answer is a text, or whose question was left out."""
KEEP: Mapping[str, str] = {
    "known": Category.HIGHLY_KNOWN,
    "maybe": Category.MAYBE_KNOWN,
    "weakly": Category.WEAKLY_KNOWN,
    "unknown": Category.UNKNOWN,
    UNJUDGED: UNJUDGED,
}
"""What may be kept, by a short name."""


def annotate(mine: own.Own, labels: pd.DataFrame, out: Path) -> Counter[str]:
    """Write the rows back with their category, how often the answer was right and how often it was asked.

    Args:
        mine: whose facts were labelled.
        labels: of its facts, from :func:`fthall.knowledge.slick.label`.
        out: in a format of its suffix. Of rows that were not judged the new columns are empty.

    Returns:
        How many rows fell in each category, or were :data:`UNJUDGED`.

    Raises:
        FthallError: another format, or the file cannot be written.
    """
    by_id: dict[str, Any] = {row.fact_id: row for row in labels.itertuples()}  # type: ignore[misc]
    counts: Counter[str] = Counter()

    def annotated() -> Iterator[Row]:
        for row, fact_id in mine.rows():
            label = by_id.get(fact_id) if fact_id else None
            counts[label.category if label else UNJUDGED] += 1
            values = (label.category, *tally(label.right)) if label else (None, None, None)
            yield {**row, **dict(zip(ADDED, values, strict=True))}

    own.write(annotated(), out, mine.source)
    return counts


def keep(mine: own.Own, labels: pd.DataFrame, out: Path, kept: Collection[str]) -> int:
    """Write the rows of some categories, as they are, ready to train on; return how many.

    Args:
        mine: whose facts were labelled.
        labels: of its facts.
        out: in a format of its suffix.
        kept: names of :data:`KEEP`.

    Raises:
        FthallError: none is left, another format, or the file cannot be written.
    """
    category: dict[str, str] = dict(zip(labels["fact_id"], labels["category"], strict=True))
    wanted, count = {str(KEEP[name]) for name in kept}, 0

    def chosen() -> Iterator[Row]:
        nonlocal count
        for row, fact_id in mine.rows():
            if str(category.get(fact_id or "", UNJUDGED)) in wanted:
                count += 1
                yield row

    own.write(chosen(), out, mine.source)
    return count
