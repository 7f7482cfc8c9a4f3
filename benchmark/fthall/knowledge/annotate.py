"""Anyone's own facts, with what a base knows of them: a column more in their file."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from fthall.facts import own
from fthall.knowledge.slick import tally

ADDED = ("category", "right", "asked")
"""Columns that :func:`annotate` adds."""


def annotate(mine: own.Own, labels: pd.DataFrame, out: Path) -> Mapping[str, int]:
    """Write the rows back with their category, how often the answer was right and how often it was asked.

    Args:
        mine: from :func:`fthall.facts.own.read`.
        labels: of its facts, from :func:`fthall.knowledge.slick.label`.
        out: in a format of its suffix.

    Returns:
        How many rows fell in each category.

    Raises:
        FthallError: another format, or the file cannot be written.
    """
    by_id: dict[str, Any] = {row.fact_id: row for row in labels.itertuples()}  # type: ignore[misc]
    found = [by_id[fact_id] for fact_id in mine.ids]
    rows = mine.rows.copy()
    rows["category"] = [row.category for row in found]
    rows["right"], rows["asked"] = zip(*(tally(row.right) for row in found), strict=True)
    own.write(rows, out)
    return Counter(rows["category"])
