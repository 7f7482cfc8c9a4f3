"""The obvious engine: full prompts, padded on the left, ``generate``. Slow, and what the others are tested against."""

from collections.abc import Callable, Sequence

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from fthall.answers import judge
from fthall.errors import FthallError
from fthall.prompts import STOP
from fthall.records import Outcome


def judged(said: Sequence[str], accepted: Sequence[Sequence[str]]) -> list[bool]:
    """Generate, then score: what any other way to a verdict must agree with."""
    return [judge(text, answers) is Outcome.CORRECT for text, answers in zip(said, accepted, strict=True)]


class GenerateEngine:
    """transformers' ``generate``, as its documentation shows it.

    Args:
        model: any decoder-only model of transformers.
        tokenizer: its tokenizer; its padding is changed.
        batch_size: prompts together.
        stop: end answers at a line break, instead of cutting them there afterwards.
    """

    def __init__(
        self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, *, batch_size: int = 64, stop: bool = True
    ) -> None:
        self.model, self.tokenizer, self.batch_size = model, tokenizer, batch_size
        tokenizer.padding_side = "left"
        tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
        breaks = [i for i in range(len(tokenizer)) if STOP in tokenizer.decode([i])] if stop else []
        self._ends = [tokenizer.eos_token_id, *breaks]

    def greedy(
        self, prompts: Sequence[str], *, max_new_tokens: int = 16, on_batch: Callable[[int], None] | None = None
    ) -> list[str]:
        """See :class:`fthall.engines.Engine`."""
        return self._generate(prompts, max_new_tokens, on_batch, do_sample=False)

    def right(
        self,
        prompts: Sequence[str],
        accepted: Sequence[Sequence[str]],
        *,
        max_new_tokens: int = 16,
        on_batch: Callable[[int], None] | None = None,
    ) -> list[bool]:
        """See :class:`fthall.engines.Engine`."""
        return judged(self.greedy(prompts, max_new_tokens=max_new_tokens, on_batch=on_batch), accepted)

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
        """See :class:`fthall.engines.Engine`. What is drawn depends on the batch."""
        repeated = [prompt for prompt in prompts for _ in range(samples)]
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            said = self._generate(
                repeated, max_new_tokens, on_batch, do_sample=True, temperature=temperature, top_k=top_k
            )
        return [said[start : start + samples] for start in range(0, len(said), samples)]

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

    @torch.inference_mode()
    def _generate(
        self, prompts: Sequence[str], max_new_tokens: int, on_batch: Callable[[int], None] | None, **how: bool | float
    ) -> list[str]:
        said = []
        for start in range(0, len(prompts), self.batch_size):
            few = list(prompts[start : start + self.batch_size])
            batch = self.tokenizer(few, padding=True, return_tensors="pt").to(self.model.device)
            out = self.model.generate(
                **batch,
                max_new_tokens=max_new_tokens,
                eos_token_id=self._ends,
                pad_token_id=self.tokenizer.pad_token_id,
                **how,
            )
            new = self.tokenizer.batch_decode(out[:, batch.input_ids.shape[1] :], skip_special_tokens=True)
            said += [text.split(STOP, 1)[0].strip() for text in new]
            if on_batch:
                on_batch(len(few))
        return said
