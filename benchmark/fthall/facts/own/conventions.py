"""What a row of fine-tuning data asks and answers, in the conventions of TRL and of Hugging Face's datasets."""

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fthall.errors import FthallError
from fthall.facts.own.formats import Row

CONVENTIONS: Mapping[str, tuple[tuple[str, ...], ...]] = {
    "question/answers": (("question",), ("answers", "answer")),
    "prompt/completion": (("prompt",), ("completion",)),
    "instruction/output": (("instruction",), ("output",)),
    "messages": (("messages", "conversations"),),
}
"""Convention: what a row must have, one of each."""
WORDS, CHARACTERS = 8, 80
"""Of a short answer, at most: a name, a date, a number."""
_ASKS, _ANSWERS = {"user", "human"}, {"assistant", "gpt", "model", "bot"}
_WRAPPED = re.compile(r"^(?:q|question|user)\s*:\s*|\s*(?:a|answer|assistant)\s*:$", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Example:
    """A question and what is answered."""

    question: str
    answers: tuple[str, ...]
    """Accepted ones; the first is preferred."""

    @property
    def short(self) -> tuple[str, ...]:
        """Those that are short enough to be judged right or wrong."""
        return tuple(answer for answer in self.answers if is_short(answer))


def is_short(answer: str) -> bool:
    """Whether an answer is a fact's and not a text: one line of a few words."""
    return "\n" not in answer and len(answer) <= CHARACTERS and len(answer.split()) <= WORDS


def convention(row: Row) -> str | None:
    """The name of the convention a row follows; None for none."""
    for name, wanted in CONVENTIONS.items():
        if all(any(_there(row.get(column)) for column in columns) for columns in wanted):
            return name
    return None


def example(row: Row, how: str, turn: str | None, where: str) -> Example:
    """The question and the answers of a row.

    Args:
        row: of a file.
        how: its convention.
        turn: of a conversation, which is judged; None where there may be but one.
        where: the row's place, for messages.

    Raises:
        FthallError: no question, no answer, or a conversation of several turns and no word on which is meant.
    """
    if how == "messages":
        asked, said = _of_turn(_pick(row, "messages", "conversations"), turn, where)
        answers: Sequence[object] = [said]
    elif how == "prompt/completion":
        asked, answers = _last(row["prompt"], _ASKS), [_last(row["completion"], _ANSWERS)]
    elif how == "instruction/output":
        parts = (part for part in (row["instruction"], row.get("input")) if isinstance(part, str))
        asked, answers = " ".join(parts), [row["output"]]
    else:
        asked, answers = row["question"], _listed(_pick(row, "answers", "answer"))
    question = _bare(asked) if isinstance(asked, str) else ""
    if not question:
        raise FthallError(f"{where} has no question")
    given = tuple(answer.strip() for answer in answers if isinstance(answer, str) and answer.strip())
    if not given:
        raise FthallError(f"{where}: {question[:60]!r} has no answer; give at least one, as text")
    return Example(question, given)


def needed() -> str:
    """What rows must have, for messages."""
    parts = (" and ".join(" or ".join(columns) for columns in wanted) for wanted in CONVENTIONS.values())
    return "; ".join(parts)


def _there(value: Any) -> bool:
    """Whether a cell holds something: tables fill what a row lacks with nothing, or with no number."""
    return value is not None and not (isinstance(value, float) and math.isnan(value))


def _pick(row: Row, *names: str) -> Any:
    return next(row[name] for name in names if _there(row.get(name)))


def _bare(question: str) -> str:
    """A question in one line, without a frame of its own: it gets ours."""
    return " ".join(_WRAPPED.sub("", question.strip()).split())


def _listed(value: Any) -> Sequence[object]:
    if isinstance(value, str):
        if value.lstrip().startswith("["):
            try:
                listed = json.loads(value)
            except ValueError:
                return [value]
            return listed if isinstance(listed, list) else [value]
        return [value]
    if isinstance(value, int | float):
        return [str(value)]
    return list(value) if isinstance(value, list | tuple) else []


def _messages(value: Any) -> list[tuple[str, str]] | None:
    """(role, text) of each message; None where this is no conversation."""
    if isinstance(value, str) and value.lstrip().startswith("["):
        try:
            value = json.loads(value)
        except ValueError:
            return None
    if not isinstance(value, list):
        return None
    found = []
    for message in value:
        if not isinstance(message, dict):
            return None
        role, content = message.get("role", message.get("from")), message.get("content", message.get("value"))
        if isinstance(content, list):  # of parts, some of which are text
            texts = (part.get("text") for part in content if isinstance(part, dict))
            content = " ".join(text for text in texts if isinstance(text, str))
        found.append((str(role).casefold(), content if isinstance(content, str) else ""))
    return found


def _last(value: Any, roles: set[str]) -> Any:
    """A text as it is; of a conversation the last message of some roles."""
    if (messages := _messages(value)) is None:
        return value
    return next((text for role, text in reversed(messages) if role in roles), "")


def _of_turn(value: Any, turn: str | None, where: str) -> tuple[str, str]:
    """What was asked and answered in one turn of a conversation."""
    messages = _messages(value)
    if messages is None:
        raise FthallError(f"{where}: its messages are no list of objects with role and content")
    turns, asked = [], ""
    for role, text in messages:
        if role in _ASKS:
            asked = text
        elif role in _ANSWERS:
            turns.append((asked, text))
            asked = ""
    if not turns:
        raise FthallError(f"{where}: nothing in it is said by the assistant (roles: {_roles(messages)})")
    if len(turns) > 1 and turn is None:
        raise FthallError(f"{where}: a conversation of {len(turns)} turns; say which is judged: --turn first, or last")
    return turns[-1 if turn == "last" else 0]


def _roles(messages: Sequence[tuple[str, str]]) -> str:
    return ", ".join(dict.fromkeys(role for role, _ in messages)) or "none"
