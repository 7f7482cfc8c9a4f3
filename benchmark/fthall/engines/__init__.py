"""Engines answer prompts: greedily, and those that are :class:`Sampler` by sampling, too."""

from collections.abc import Callable, Sequence
from typing import Protocol


class Engine(Protocol):
    """Greedy answers to prompts, in the order of the prompts."""

    def greedy(
        self, prompts: Sequence[str], *, max_new_tokens: int = 16, on_batch: Callable[[int], None] | None = None
    ) -> list[str]:
        """One answer a prompt: the text up to the first line break or end of sequence, stripped.

        ``on_batch`` is called with the number of prompts just answered, for progress.
        """
        ...

    def right(
        self,
        prompts: Sequence[str],
        accepted: Sequence[Sequence[str]],
        *,
        max_new_tokens: int = 16,
        on_batch: Callable[[int], None] | None = None,
    ) -> list[bool]:
        """Whether :meth:`greedy` would answer each prompt with one of its accepted answers, by the scorer."""
        ...


class Sampler(Engine, Protocol):
    """An engine that samples as well."""

    def sample(
        self,
        prompts: Sequence[str],
        *,
        samples: int,
        temperature: float,
        top_k: int,
        seed: int,
        max_new_tokens: int = 16,
        on_batch: Callable[[int], None] | None = None,
    ) -> list[list[str]]:
        """``samples`` answers a prompt, each drawn at a temperature from the ``top_k`` likeliest tokens.

        The same seed gives the same answers. ``on_batch`` is called with the number of samples just drawn.
        """
        ...
