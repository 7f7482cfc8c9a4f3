"""Anyone's own facts: JSON lines, CSV or Parquet with a question and its answers, and what a base knows of them.

Which of my fine-tuning examples does this model not know? Gekhman et al. 2024 (arXiv 2405.05904, section 5) recommend
to leave those out, or to stop early: they are learned late, and learning them makes the model wrong about others.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from fthall.errors import FthallError
from fthall.facts.source import identifier
from fthall.files import atomic, read_jsonl
from fthall.records import Fact

FORMATS = (".jsonl", ".csv", ".parquet")
RELATION = "all"
"""Of facts that say none: they are one group."""
_DEV = {"dev", "validation", "valid", "val", "test", "held"}


@dataclass(frozen=True, slots=True)
class Own:
    """A file of facts as it is, and the facts in it."""

    rows: Any
    """A pandas table."""
    ids: tuple[str, ...]
    """Of each row's fact. Rows that ask the same are one fact."""
    facts: tuple[Fact, ...]

    def exemplars(self, shots: int) -> list[Fact]:
        """What to show beside questions: of each relation what is not for training, or all where that is too little."""
        chosen: list[Fact] = []
        for relation in dict.fromkeys(fact.relation for fact in self.facts):
            alike = [fact for fact in self.facts if fact.relation == relation]
            dev = [fact for fact in alike if fact.origin == "dev"]
            chosen += dev if len(dev) > shots else alike
        return chosen


def read(path: Path) -> Own:
    """Read facts.

    A row has ``question`` and ``answers`` (a list; in CSV a JSON list or one answer) or ``answer``; and may have
    ``relation``, ``subject`` and ``split``. Rows with the same relation and question are one fact, and must agree on
    its answers.

    Raises:
        FthallError: no such file, another format, or a row without question or answers, or at odds with another.
    """
    rows = _table(path)
    answers = "answers" if "answers" in rows else "answer"
    if missing := [name for name in ("question", answers) if name not in rows]:
        wanted = "answers (or answer)" if missing[0] == "answer" else missing[0]
        raise FthallError(f"{path} has no {wanted}; each row needs question and answers, found: {', '.join(rows)}")
    facts: dict[str, Fact] = {}
    ids = []
    for number, row in enumerate(rows.to_dict("records"), 1):
        fact = _fact(row, row[answers], f"{path}, row {number}")
        if (known := facts.setdefault(fact.id, fact)).answers != fact.answers:
            raise FthallError(
                f"{path}, row {number}: {fact.question!r} is answered {' / '.join(fact.answers)} here and "
                f"{' / '.join(known.answers)} before; make them one row, or tell them apart by relation"
            )
        ids.append(fact.id)
    if not facts:
        raise FthallError(f"{path} has no rows")
    return Own(rows, tuple(ids), tuple(facts.values()))


def write(rows: Any, path: Path) -> None:
    """Write rows, in the format of the file's suffix, whole or not at all.

    Raises:
        FthallError: another format, or the file cannot be written.
    """
    check_format(path)
    with atomic(path) as temporary:
        if path.suffix == ".jsonl":
            rows.to_json(temporary, orient="records", lines=True, force_ascii=False)
        elif path.suffix == ".csv":
            rows.to_csv(temporary, index=False, lineterminator="\n")
        else:
            rows.to_parquet(temporary, index=False)


def check_format(path: Path) -> None:
    """Refuse a file that is neither JSON lines nor CSV nor Parquet.

    Raises:
        FthallError: it is neither.
    """
    if path.suffix not in FORMATS:
        raise FthallError(f"{path}: facts are read and written as {', '.join(FORMATS)}, not {path.suffix or 'this'!r}")


def _fact(row: Mapping[Any, Any], answers: Any, where: str) -> Fact:
    def text(name: str) -> str:
        value = row.get(name)
        return value.strip() if isinstance(value, str) else ""

    if not text("question"):
        raise FthallError(f"{where} has no question")
    given = tuple(answer.strip() for answer in _answers(answers) if isinstance(answer, str) and answer.strip())
    if not given:
        raise FthallError(f"{where}: {text('question')!r} has no answer; give at least one, as text")
    relation = text("relation") or RELATION
    return Fact(
        id=identifier("own", relation, text("question")),
        relation=relation,
        subject=text("subject") or text("question"),
        question=text("question"),
        answers=given,
        origin="dev" if text("split").casefold() in _DEV else "train",
    )


def _answers(value: Any) -> Sequence[object]:
    if isinstance(value, str):
        if value.lstrip().startswith("["):
            try:
                listed = json.loads(value)
            except ValueError:
                return [value]
            return listed if isinstance(listed, list) else [value]
        return [value]
    if isinstance(value, int | float) and not pd.isna(value):
        return [str(value)]
    try:
        return list(value)  # a list, or Parquet's array
    except TypeError:
        return []


def _table(path: Path) -> Any:
    check_format(path)
    if not path.is_file():
        raise FthallError(f"no file {path}")
    if path.suffix == ".jsonl":
        return pd.DataFrame(read_jsonl(path), dtype=object)
    try:
        if path.suffix == ".csv":
            return pd.read_csv(path, dtype=str, keep_default_na=False)
        return pd.read_parquet(path)
    except (OSError, ValueError) as error:  # pandas' and Arrow's own errors are ValueErrors
        raise FthallError(
            f"{path} is not readable as {path.suffix[1:]}: {' '.join(str(error).split())[:120]}"
        ) from None
