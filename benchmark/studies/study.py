"""What the studies share: their command lines, and what becomes of their results."""

import argparse
import json
from pathlib import Path
from typing import Any

from fthall.files import write_json
from fthall.leaderboard.board import number
from fthall.measure.runs import Paired


def parser(description: str) -> argparse.ArgumentParser:
    """With ``--out``; described by the first line of a docstring."""
    made = argparse.ArgumentParser(description=description.splitlines()[0])
    made.add_argument("--out", type=Path, help="write the result here, too (JSON)")
    return made


def tell(result: Any, out: Path | None) -> None:
    """Print a result, and write it where asked."""
    if out:
        write_json(out, result)
    print(json.dumps(result, ensure_ascii=False, indent=1))  # noqa: T201


def told(found: Paired) -> str:
    """A difference and its interval, over facts and seeds where there are several."""
    span = found.judged
    return f"{number(found.difference)} ({number(span.low)} to {number(span.high)})"
