"""Engines answer prompts. An engine is anything with the ``greedy`` of :class:`Engine`."""

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
