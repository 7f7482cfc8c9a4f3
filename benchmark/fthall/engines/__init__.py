"""Engines answer prompts, behind one interface: our own on Hugging Face models, vLLM, and many workers on Ray."""

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from fthall.answers import judge
from fthall.errors import FthallError
from fthall.prompts import STOP
from fthall.records import Outcome

OnBatch = Callable[[int], None]
"""Called with the number of answers just given, for progress."""


class Engine(Protocol):
    """What SLiCK and evaluation ask of a model. Results are in the order of the prompts."""

    def greedy(self, prompts: Sequence[str], *, max_new_tokens: int = 16, on_batch: OnBatch | None = None) -> list[str]:
        """One answer a prompt: the text up to the first line break or end of sequence, stripped."""
        ...

    def right(
        self,
        prompts: Sequence[str],
        accepted: Sequence[Sequence[str]],
        *,
        max_new_tokens: int = 16,
        on_batch: OnBatch | None = None,
    ) -> list[bool]:
        """Whether :meth:`greedy` would answer each prompt with one of its accepted answers, by the scorer."""
        ...

    def sample(
        self,
        prompts: Sequence[str],
        *,
        samples: int,
        temperature: float,
        top_k: int,
        seed: int,
        max_new_tokens: int = 16,
        on_batch: OnBatch | None = None,
    ) -> list[list[str]]:
        """``samples`` answers a prompt, each drawn at a temperature from the ``top_k`` likeliest tokens.

        The same seed gives the same answers.
        """
        ...

    def chance(
        self,
        prompts: Sequence[str],
        accepted: Sequence[Sequence[str]],
        *,
        temperature: float,
        top_k: int,
        max_new_tokens: int = 16,
    ) -> list[float]:
        """The probability that one sample, drawn as by :meth:`sample`, is an accepted answer, for each prompt.

        Of the accepted answers as they are written and tokenised; other ways to write them add a little that is not
        counted.

        Raises:
            FthallError: the engine cannot tell.
        """
        ...


def judged(said: Sequence[str], accepted: Sequence[Sequence[str]]) -> list[bool]:
    """Generate, then score: what any other way to a verdict must agree with."""
    return [judge(text, answers) is Outcome.CORRECT for text, answers in zip(said, accepted, strict=True)]


def breaking(tokenizer: Any) -> list[int]:
    """Tokens whose text has a line break, which ends an answer.

    Raises:
        FthallError: there are none.
    """
    pieces = tokenizer.batch_decode([[token] for token in range(len(tokenizer))])
    found = [token for token, piece in enumerate(pieces) if STOP in piece]
    if not found:
        raise FthallError("this tokenizer has no line breaks, so the model cannot be shown exemplars line by line")
    return found


class ByAnswers:
    """Of an engine that only says answers: they are scored, and of chances it knows nothing."""

    def greedy(self, prompts: Sequence[str], *, max_new_tokens: int = 16, on_batch: OnBatch | None = None) -> list[str]:
        """See :class:`Engine`."""
        raise NotImplementedError

    def right(
        self,
        prompts: Sequence[str],
        accepted: Sequence[Sequence[str]],
        *,
        max_new_tokens: int = 16,
        on_batch: OnBatch | None = None,
    ) -> list[bool]:
        """See :class:`Engine`."""
        return judged(self.greedy(prompts, max_new_tokens=max_new_tokens, on_batch=on_batch), accepted)

    def chance(
        self,
        prompts: Sequence[str],
        accepted: Sequence[Sequence[str]],
        *,
        temperature: float,
        top_k: int,
        max_new_tokens: int = 16,
    ) -> list[float]:
        """Not known here.

        Raises:
            FthallError: always.
        """
        raise FthallError("this engine cannot compute chances; use --engine hf, or count samples instead")


@dataclass(frozen=True, slots=True)
class Call:
    """A call of an engine's method, by a name that its result will carry."""

    key: Hashable
    method: str
    arguments: tuple[Any, ...]
    options: Mapping[str, Any]


@runtime_checkable
class Workers(Protocol):
    """Many engines, on as many workers."""

    def each(self, calls: Iterable[Call]) -> Iterator[tuple[Any, list[Any]]]:
        """(key, result) of each call, in any order."""
        ...


def each(engine: Engine | Workers, calls: Iterable[Call]) -> Iterator[tuple[Any, list[Any]]]:
    """(key, result) of each call: by one engine, one after the other; by many as they come."""
    if isinstance(engine, Workers):
        yield from engine.each(calls)
        return
    for call in calls:
        yield call.key, getattr(engine, call.method)(*call.arguments, **call.options)
