"""The obvious engine: full prompts, padded on the left, ``generate``. Slow, and what the others are tested against."""

import copy
from collections.abc import Sequence

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from fthall.engines.engine import Engine, OnBatch, Sampling, breaking, cut, ending


class GenerateEngine(Engine):
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
        self._ends = [*ending(model, tokenizer), *(breaking(tokenizer) if stop else [])]

    def _say(
        self, prompts: Sequence[str], sampling: Sampling | None, max_new_tokens: int, on_batch: OnBatch | None
    ) -> list[list[str]]:
        """What is drawn depends on the batch."""
        if sampling is None:
            return [[said] for said in self._generate(prompts, max_new_tokens, on_batch, do_sample=False)]
        repeated = [prompt for prompt in prompts for _ in range(sampling.samples)]
        how = {"do_sample": True, "temperature": sampling.temperature, "top_k": sampling.top_k}
        with torch.random.fork_rng():
            torch.manual_seed(sampling.seed)
            said = self._generate(repeated, max_new_tokens, on_batch, **how)
        return [said[start : start + sampling.samples] for start in range(0, len(said), sampling.samples)]

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
            said += [cut(text) for text in new]
            if on_batch:
                on_batch(len(few))
        return said
