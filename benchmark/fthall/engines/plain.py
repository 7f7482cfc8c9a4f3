"""The obvious engine: full prompts, padded on the left, ``generate``. Slow, and what the others are tested against."""

import copy
from collections.abc import Sequence

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from fthall.engines import ByAnswers, OnBatch, breaking
from fthall.prompts import STOP


class GenerateEngine(ByAnswers):
    """transformers' ``generate``, as its documentation shows it.

    Args:
        model: any decoder-only model of transformers.
        tokenizer: its tokenizer.
        batch_size: prompts together.
        stop: end answers at a line break, instead of cutting them there afterwards.
    """

    def __init__(
        self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, *, batch_size: int = 64, stop: bool = True
    ) -> None:
        self.model, self.batch_size = model, batch_size
        self.tokenizer = copy.deepcopy(tokenizer)  # its padding is ours alone
        self.tokenizer.padding_side = "left"
        self.tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
        self._ends = [tokenizer.eos_token_id, *(breaking(tokenizer) if stop else [])]

    def greedy(self, prompts: Sequence[str], *, max_new_tokens: int = 16, on_batch: OnBatch | None = None) -> list[str]:
        """See :class:`fthall.engines.Engine`."""
        return self._generate(prompts, max_new_tokens, on_batch, do_sample=False)

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
        """See :class:`fthall.engines.Engine`. What is drawn depends on the batch."""
        repeated = [prompt for prompt in prompts for _ in range(samples)]
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            said = self._generate(
                repeated, max_new_tokens, on_batch, do_sample=True, temperature=temperature, top_k=top_k
            )
        return [said[start : start + samples] for start in range(0, len(said), samples)]

    @torch.inference_mode()
    def _generate(
        self, prompts: Sequence[str], max_new_tokens: int, on_batch: OnBatch | None, **how: bool | float
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
