"""What shows that a trajectory is what it claims: of every epoch, what became of every question.

``outcomes.jsonl`` has a line an epoch, a letter an item, in the release's order: ``c`` correct, ``w`` wrong, ``a``
abstained::

    {"epoch": 1, "outcomes": {"unknown": "wwca", "held": "cccw"}}

From it the points of the trajectory are counted again, and must be the same; the last line is the evaluated checkpoint,
but for the answers said to differ.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from pydantic import Field

from fthall.answers import LETTERS, OUTCOMES, letters
from fthall.errors import FthallError
from fthall.files import read_jsonl
from fthall.records import Answer, Outcome, Release, Split
from fthall.schema import Strict, parse
from fthall.submissions.card import Epoch, Results


class Asked(Strict):
    """A line."""

    epoch: Epoch
    """As in the trajectory; lines are in its order."""
    outcomes: dict[Split, str] = Field(min_length=1)
    """By split, a letter an item in the release's order: c (correct), w (wrong) or a (abstained)."""


def check(folder: Path, results: Results, answers: Mapping[Split, Sequence[Answer]], release: Release) -> None:
    """That the trajectory's points are those of the outcomes.

    Raises:
        FthallError: an epoch is missing or doubled, a split has other items than the release, or a count differs.
    """
    path = folder / OUTCOMES
    rows = [parse(Asked, row, path) for row in read_jsonl(path)]
    if not rows:
        raise FthallError(f"{path} is empty; it has a line an epoch, or leave it out")
    points = {point.epoch: point for point in results.trajectory}
    if [row.epoch for row in rows] != sorted(points):
        raise FthallError(
            f"{path}: has epochs {_epochs([row.epoch for row in rows])}, the trajectory in results.json "
            f"{_epochs(sorted(points))}; each has one line, in order"
        )
    for row in rows:
        for split in Split:
            _count(path, row, split, getattr(points[row.epoch], split), len(release.splits[split]))
    differing = set(results.agreement.differing) if results.agreement else set()
    for split, given in answers.items():
        last = rows[-1].outcomes.get(split)
        if last is None:
            raise FthallError(f"{path}: the last epoch lacks {split}; it has all splits")
        if not differing and last == letters(given):
            continue
        for answer, letter in zip(given, last, strict=True):
            if (letter != LETTERS[answer.outcome]) != (answer.fact_id in differing):
                raise FthallError(
                    f"{path}: the last epoch says {_word(letter)} of {answer.fact_id}, its answer in samples is "
                    f"{answer.outcome}, and agreement.differing "
                    + ("names it all the same" if answer.fact_id in differing else "does not name it")
                )


def _count(path: Path, row: Asked, split: Split, said: float | None, items: int) -> None:
    """That a point of a trajectory is what its outcomes give."""
    found = row.outcomes.get(split)
    where = f"{path}, epoch {row.epoch:g}, {split}"
    if found is None or said is None:
        if (found is None) != (said is None):
            raise FthallError(f"{where}: {'a point without outcomes' if found is None else 'outcomes without a point'}")
        return
    if len(found) != items or not set(found) <= set(LETTERS.values()):
        raise FthallError(
            f"{where}: {len(found)} letters, the release has {items} items; each is one of c (correct), w (wrong) and "
            "a (abstained), in the order of the release"
        )
    counted = 100 * found.count(LETTERS[Outcome.CORRECT]) / items
    if not math.isclose(counted, said, abs_tol=1e-6):
        raise FthallError(f"{where}: its outcomes give {counted:.2f} %, the trajectory says {said:.2f}")


def _word(letter: str) -> str:
    return next(str(outcome) for outcome, one in LETTERS.items() if one == letter)


def _epochs(epochs: Sequence[float]) -> str:
    told = [f"{epoch:g}" for epoch in epochs]
    return ", ".join(told if len(told) <= 10 else [*told[:10], "…"]) or "none"
