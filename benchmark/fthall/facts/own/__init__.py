"""Anyone's own fine-tuning data, and the facts in it.

Which of my fine-tuning examples does this model not know? Gekhman et al. 2024 (arXiv 2405.05904, section 5) recommend
to leave those out, or to stop early: they are learned late, and learning them makes the model wrong about others.

In: a file or dataset, in any format (:mod:`~fthall.facts.own.formats`) and convention
(:mod:`~fthall.facts.own.conventions`). Out: what is in it, its facts, and the fact of each of its rows.
"""

from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

import numpy as np

from fthall.errors import FthallError
from fthall.facts.own.conventions import Example, convention, example, needed
from fthall.facts.own.formats import FORMATS, Row, check_format, rows, write
from fthall.facts.source import identifier
from fthall.records import Fact

__all__ = ["FORMATS", "Own", "Survey", "beside", "check_format", "exemplars", "write"]
RELATION = "all"
"""Of facts that say none: they are one group."""
_DEV = {"dev", "validation", "valid", "val", "test", "held"}


@dataclass(frozen=True, slots=True)
class Survey:
    """What is in a file."""

    convention: str
    rows: int
    long: int
    """Rows whose answer is a text and no fact; they are not judged."""
    questions: int
    """Different ones with a short answer."""
    several: int
    """Of these, with answers in one row that are none in another."""
    examples: int
    """Different questions with their answers."""


@dataclass(frozen=True, slots=True)
class Own:
    """A file or dataset, and how it is read. Every call reads it anew, row by row."""

    source: str
    split: str = "train"
    """Of a dataset."""
    turn: str | None = None
    """Of a conversation, which is judged: ``first`` or ``last``."""
    several: str = "merge"
    """Of questions with several answers: ``merge`` them into a fact that accepts all, ``apart``, a fact each, or
    ``leave-out``."""

    def survey(self, on_rows: Callable[[int], None] | None = None) -> Survey:
        """Read all of it and check it. Memory: 16 bytes a row.

        Args:
            on_rows: called with a number of rows just read, for progress.

        Raises:
            FthallError: unreadable, empty, or a row without question or answer, or of another convention than the rest.
        """
        asked, said = array("Q"), array("Q")
        count = long = 0
        kind = ""
        for row, found, own in self._examples():
            count, kind, short = count + 1, own, found.short
            long += not short
            if short:
                key = _key(row, found)
                asked.append(_number(key))
                said.append(_number((*key, *short)))
            if on_rows and count % 1000 == 0:
                on_rows(1000)
        if on_rows:
            on_rows(count % 1000)
        if not count:
            raise FthallError(f"{self.source} has no rows; it needs {needed()}")
        both = np.unique(np.frombuffer(said, dtype=np.uint64), return_index=True)[1]
        times = np.unique(np.frombuffer(asked, dtype=np.uint64)[both], return_counts=True)[1]
        return Survey(kind, count, long, len(times), int((times > 1).sum()), len(both))

    def facts(self) -> tuple[Fact, ...]:
        """The facts of all rows with a short answer, each once, in the order they come.

        Raises:
            FthallError: as :meth:`survey`; or there are none.
        """
        answers: dict[str, dict[str, None]] = {}
        first: dict[str, Fact] = {}
        given: dict[str, tuple[str, ...]] = {}
        mixed: set[str] = set()
        for row, found, _ in self._examples():
            if not found.short:
                continue
            fact = self._fact(row, found)
            first.setdefault(fact.id, fact)
            if given.setdefault(fact.id, fact.answers) != fact.answers:
                mixed.add(fact.id)
            answers.setdefault(fact.id, {}).update(dict.fromkeys(fact.answers))
        if self.several == "leave-out":
            first = {key: fact for key, fact in first.items() if key not in mixed}
        if not first:
            raise FthallError(f"{self.source} has no fact to ask about: no row has a short answer")
        return tuple(
            Fact(fact.id, fact.relation, fact.subject, fact.question, tuple(answers[key]), fact.origin)
            for key, fact in first.items()
        )

    def rows(self) -> Iterator[tuple[Row, str | None]]:
        """Every row as it is, with the id of its fact; None where its answer is no short one.

        Raises:
            FthallError: as :meth:`survey`.
        """
        for row, found, _ in self._examples():
            yield row, self._fact(row, found).id if found.short else None

    def _examples(self) -> Iterator[tuple[Row, Example, str]]:
        """(row, what it asks and answers, convention of all rows)."""
        kind = None
        for number, row in enumerate(rows(self.source, self.split), 1):
            where = f"{self.source}, row {number}"
            own = convention(row)
            if kind is None:
                kind = own
            if own is None or kind is None:
                raise FthallError(
                    f"{where} has no question with an answer; needed: {needed()}; found: {', '.join(row)}"
                )
            if own != kind:
                raise FthallError(f"{where} has {own}, the rows before it {kind}; make files of one convention each")
            yield row, example(row, kind, self.turn, where), kind

    def _fact(self, row: Row, found: Example) -> Fact:
        relation, question = _key(row, found)
        key = (question, *found.short) if self.several == "apart" else (question,)
        return Fact(
            id=identifier("own", relation, "\n".join(key)),
            relation=relation,
            subject=_text(row, "subject") or question,
            question=question,
            answers=found.short,
            origin="dev" if _text(row, "split").casefold() in _DEV else "train",
        )


def exemplars(facts: tuple[Fact, ...], shots: int) -> list[Fact]:
    """What to show beside questions: of each relation what is not for training, or all where that is too little."""
    chosen: list[Fact] = []
    for relation in dict.fromkeys(fact.relation for fact in facts):
        alike = [fact for fact in facts if fact.relation == relation]
        dev = [fact for fact in alike if fact.origin == "dev"]
        chosen += dev if len(dev) > shots else alike
    return chosen


def beside(out: Path, what: str) -> Path:
    """A file beside another: ``mine.jsonl`` to ``mine.kept.jsonl``."""
    return out.with_name(f"{out.stem}.{what}{out.suffix}")


def _key(row: Row, found: Example) -> tuple[str, str]:
    """Relation and question: what makes a fact."""
    return _text(row, "relation") or RELATION, found.question


def _text(row: Row, name: str) -> str:
    value = row.get(name)
    return value.strip() if isinstance(value, str) else ""


def _number(parts: tuple[str, ...]) -> int:
    return int.from_bytes(blake2b("\0".join(parts).encode(), digest_size=8).digest(), "big")
