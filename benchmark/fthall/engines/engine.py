"""The one shape of all engines: what they are asked, with its defaults, and what follows from answers alone."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from fthall.answers import judge
from fthall.errors import FthallError
from fthall.prompts import STOP
from fthall.records import Outcome

OnBatch = Callable[[int], None]
"""Called with the number of answers just given, for progress."""


@dataclass(frozen=True, slots=True)
class Sampling:
    """How answers are drawn."""

    samples: int
    """A prompt."""
    temperature: float
    top_k: int
    """Likeliest tokens that are drawn from."""
    seed: int


class Engine(ABC):
    """What SLiCK and evaluation ask of a model. Results are in the order of the prompts.

    An engine says answers (:meth:`_say`). One that knows a shorter way to a verdict, or a chance, says so, too.
    """

    def greedy(
        self,
        prompts: Sequence[str],
        *,
        drafts: Sequence[str] | None = None,
        max_new_tokens: int = 16,
        on_batch: OnBatch | None = None,
    ) -> list[str]:
        """One answer a prompt: the text up to the first line break or end of sequence, stripped.

        With ``drafts``, an answer a prompt that it may well give: an engine that can checks them in one pass and
        decodes only from where it departs. What it says is the same.
        """
        if drafts is not None:
            return self._drafted(prompts, drafts, max_new_tokens, on_batch)
        return [said[0] for said in self._say(prompts, None, max_new_tokens, on_batch)]

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
        return self._say(prompts, Sampling(samples, temperature, top_k, seed), max_new_tokens, on_batch)

    def right(
        self,
        prompts: Sequence[str],
        accepted: Sequence[Sequence[str]],
        *,
        max_new_tokens: int = 16,
        on_batch: OnBatch | None = None,
    ) -> list[bool]:
        """Whether :meth:`greedy` would answer each prompt with one of its accepted answers, by the scorer."""
        verdicts = self._verify(prompts, accepted, max_new_tokens, on_batch)
        open_ = [i for i, verdict in enumerate(verdicts) if verdict is None]
        said = self.greedy([prompts[i] for i in open_], max_new_tokens=max_new_tokens, on_batch=on_batch)
        for i, verdict in zip(open_, judged(said, [accepted[i] for i in open_]), strict=True):
            verdicts[i] = verdict
        return [bool(verdict) for verdict in verdicts]

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
        return self._chance(prompts, accepted, temperature, top_k, max_new_tokens)

    @abstractmethod
    def _say(
        self, prompts: Sequence[str], sampling: Sampling | None, max_new_tokens: int, on_batch: OnBatch | None
    ) -> list[list[str]]:
        """Answers to each prompt: as many as are to be drawn; without sampling the greedy one."""

    def _drafted(
        self, prompts: Sequence[str], drafts: Sequence[str], max_new_tokens: int, on_batch: OnBatch | None
    ) -> list[str]:
        """Greedy answers, with drafts of them."""
        return self.greedy(prompts, max_new_tokens=max_new_tokens, on_batch=on_batch)

    def _verify(
        self,
        prompts: Sequence[str],
        accepted: Sequence[Sequence[str]],
        max_new_tokens: int,
        on_batch: OnBatch | None,
    ) -> list[bool | None]:
        """Verdicts that can be had without decoding; None where they cannot."""
        return [None] * len(prompts)

    def _chance(
        self,
        prompts: Sequence[str],
        accepted: Sequence[Sequence[str]],
        temperature: float,
        top_k: int,
        max_new_tokens: int,
    ) -> list[float]:
        raise FthallError("this engine cannot compute chances; use --engine hf, or count samples instead")


def judged(said: Sequence[str], accepted: Sequence[Sequence[str]]) -> list[bool]:
    """Generate, then score: what any other way to a verdict must agree with."""
    return [judge(text, answers) is Outcome.CORRECT for text, answers in zip(said, accepted, strict=True)]


def cut(text: str) -> str:
    """An answer as it is scored: what stands before the first line break, stripped."""
    return text.split(STOP, 1)[0].strip()


def ending(model: Any, tokenizer: Any) -> set[int]:
    """Tokens that end a sequence: the tokenizer's, and those the model itself is configured with."""
    configured = model.generation_config.eos_token_id if model.generation_config else None
    named = [tokenizer.eos_token_id, *(configured if isinstance(configured, list) else [configured])]
    return {token for token in named if token is not None}


@lru_cache(maxsize=4)  # 0.7 s for 49,152 tokens, and a run asks nine times
def breaking(tokenizer: Any) -> tuple[int, ...]:
    """Tokens whose text has a line break, which ends an answer.

    Raises:
        FthallError: there are none.
    """
    pieces = tokenizer.batch_decode([[token] for token in range(len(tokenizer))])
    found = tuple(token for token, piece in enumerate(pieces) if STOP in piece)
    if not found:
        raise FthallError("this tokenizer has no line breaks, so the model cannot be shown exemplars line by line")
    return found
