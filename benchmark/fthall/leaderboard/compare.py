"""Two or three entries beside each other: all that the page needs, whichever a reader chooses, in one file."""

import base64
import itertools
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from markupsafe import Markup

from fthall.leaderboard.board import Board, Entry, plain
from fthall.leaderboard.pairs import SPLITS, Pairs
from fthall.measure import report, runs
from fthall.measure.stats import ALPHA, Floats
from fthall.records import Fact, Split

NAMED = 3
"""Entries not told apart from one that its row names; the rest are counted, or 200 rows would name 40,000."""
_FINEST = 10_000
"""Parts of 1 a p-value is told in; below one of them it is ``below 0.0001``."""
_ESCAPES = str.maketrans({c: f"\\u{ord(c):04x}" for c in "<>&\u2028\u2029"})
"""What could end a script element or start a comment in one, as JSON writes it otherwise."""


@dataclass(frozen=True, slots=True)
class Difference:
    """Held accuracy of an entry minus another's, points, between methods."""

    points: float
    low: float
    high: float
    """Of the 95 % interval."""
    p: float
    """After Holm's correction over all pairs of the track."""


@dataclass(frozen=True, slots=True)
class Row:
    """An entry, and what can be said of it and others without choosing."""

    entry: Entry
    against: Difference | None
    """Plain fine-tuning; None for itself, and where there is none."""
    alike: tuple[Entry, ...]
    """The first entries in the order of the table whose held accuracy is not told apart from its own."""
    more: int
    """How many such there are besides."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """The page of a track."""

    name: str
    """Of its file, without ``.html``."""
    rows: tuple[Row, ...]
    """In the order of the table."""
    sft: Entry | None
    """Plain fine-tuning, which others are compared with."""
    pairs: int
    """All pairs of the track: what p-values are corrected over, on each split."""
    several: bool
    """Whether any entry has a second seed, so that intervals are over seeds, too."""
    shown: bool
    """Whether questions and answers may be shown; else facts are named by their ids."""
    data: Markup
    """JSON that can stand in a script element, for compare.js."""


def comparison(board: Board, track_id: str) -> Comparison:
    """All that the page of a track shows.

    Args:
        board: of the track, with one entry or more.
        track_id: of its pages.
    """
    sft, held = plain(board.entries), board.pairs[Split.HELD]
    place = next((at for at, entry in enumerate(board.entries) if sft and entry.slug == sft.slug), None)
    count = len(board.entries)
    ours = {split: f"{split}.jsonl" in board.release.manifest["files"] for split in SPLITS}
    return Comparison(
        name=f"compare-{track_id}",
        rows=tuple(_row(board.entries, at, place, held) for at in range(count)),
        sft=sft,
        pairs=count * (count - 1) // 2,
        several=any(entry.several for entry in board.entries),
        shown=all(ours.values()),
        data=_in_script(
            {
                "floor": report.floor(board.release.track),
                "start": [entry.slug for entry in _start(board, sft)],
                "entries": [_entry(entry) for entry in board.entries],
                "pairs": {split: _packed(found) for split, found in board.pairs.items()},
                "facts": {split: _facts(board.release.splits[split], ours[split]) for split in SPLITS},
            }
        ),
    )


def _start(board: Board, sft: Entry | None) -> list[Entry]:
    """What is compared before anybody chooses: plain fine-tuning, or the reference, and the best of the others."""
    first = sft or board.reference
    others = [entry for entry in board.entries if not entry.is_reference and entry is not first]
    return [*([first] if first else []), *others, *([board.reference] if board.reference else [])][:2]


def _row(entries: Sequence[Entry], at: int, sft: int | None, held: Pairs) -> Row:
    alike = [other for to, other in enumerate(entries) if to != at and held.adjusted[at, to] >= ALPHA]
    against = None
    if sft is not None and sft != at:
        found = (held.difference, held.low, held.high, held.adjusted)
        against = Difference(*(float(matrix[at, sft]) for matrix in found))
    return Row(entries[at], against, tuple(alike[:NAMED]), max(0, len(alike) - NAMED))


def _entry(entry: Entry) -> dict[str, Any]:
    """Which facts each seed has right, a bit each in the release's order."""
    found = [row.submission.run for row in entry.seeds]
    return {
        "slug": entry.slug,
        "title": entry.title,
        "method": entry.method,
        "reference": entry.is_reference,
        "seeds": [row.seed for row in entry.seeds],
        **{split: [_base64(np.packbits(bits)) for bits in runs.right(found, split)] for split in SPLITS},
    }


def _packed(pairs: Pairs) -> dict[str, Any]:
    """Half an interval and a p-value a pair, the upper triangle row by row, in four bytes.

    200 entries are 19,900 pairs on two splits: as numbers in JSON they would be most of the page. The difference
    itself is not there, the bits of the answers have it; and the interval lies around it evenly. Its half is told in
    65535ths of the greatest, far finer than the tenth of a point that is shown. A p-value is told in ten-thousandths as
    the page shows it, but never rounded across what decides: 0 is for one below the first of them, and one below alpha
    stays below.
    """
    upper = np.triu_indices(len(pairs.p), 1)
    half = (pairs.high[upper] - pairs.low[upper]) / 2
    unit = float(half.max(initial=0.0)) / 65535 or 1.0
    return {
        "unit": unit,
        "half": _base64(np.rint(half / unit).astype("<u2")),
        "p": _base64(_told(pairs.adjusted[upper])),
    }


def _told(p: Floats) -> npt.NDArray[np.uint16]:
    """p-values in ten-thousandths, on the right side of alpha."""
    limit = round(ALPHA * _FINEST)
    rounded = np.where(p < 1 / _FINEST, 0, np.maximum(1, np.rint(p * _FINEST)))
    return np.where(p < ALPHA, np.minimum(rounded, limit - 1), np.maximum(rounded, limit)).astype("<u2")


def _facts(facts: Sequence[Fact], ours: bool) -> dict[str, Any]:
    """What names each fact, in the release's order: question and answer, or where they are not ours to show, its id.

    How the names of a relation begin is written once: as ``In which country is the city of``, half of all text.
    """
    relations = sorted({fact.relation for fact in facts})
    number = {relation: at for at, relation in enumerate(relations)}
    names = [fact.question if ours else fact.id for fact in facts]
    begin = [
        _begin([name for name, fact in zip(names, facts, strict=True) if fact.relation == relation])
        for relation in relations
    ]
    numbers = [number[fact.relation] for fact in facts]
    return {
        "relations": relations,
        "relation": numbers,
        "begin": begin,
        "name": [name.removeprefix(begin[at]) for name, at in zip(names, numbers, strict=True)],
        "gold": [fact.answers[0] for fact in facts] if ours else None,
    }


def _begin(names: Sequence[str]) -> str:
    """What all of them begin with."""
    both = zip(min(names), max(names), strict=False)  # what these two share, all in between do
    return "".join(letter for letter, _ in itertools.takewhile(lambda pair: pair[0] == pair[1], both))


def _base64(values: npt.NDArray[Any]) -> str:
    return base64.b64encode(values.tobytes()).decode()


def _in_script(data: Any) -> Markup:
    """JSON with nothing in it that HTML would take for the end of a script."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return Markup(text.translate(_ESCAPES))  # noqa: S704
