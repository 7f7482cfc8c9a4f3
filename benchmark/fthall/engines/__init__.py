"""Engines answer prompts, behind one interface: our own on Hugging Face models, vLLM, and many workers on Ray."""

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

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
