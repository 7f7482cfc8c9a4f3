"""Greedy answers from a Hugging Face causal LM, with the prompts' common prefix computed once.

SLiCK asks thousands of questions behind the same few exemplars, and a plain ``generate`` on full prompts computes
those exemplars anew for every question. Here the longest common run of *tokens* of all prompts in a call is computed
once, its keys and values are shared across every batch, and only what differs between prompts is new work.
"""

import hashlib
from collections.abc import Callable, Sequence

import numpy as np
import torch
from transformers import DynamicCache, PreTrainedModel, PreTrainedTokenizerBase

from fthall.prompts import STOP

_Choice = Callable[[torch.Tensor, Sequence[int], int], torch.Tensor]
"""(logits [rows, vocabulary], number of each row's prompt, step) to tokens [rows]."""


def head(model: PreTrainedModel, hidden: torch.Tensor) -> torch.Tensor:
    """Logits of final hidden states, [rows, width], as [rows, vocabulary].

    Instead of the model's own forward, which computes them for every position, and which, given a [batch, 1, width]
    slice and frozen embeddings, makes torch copy the embeddings once for every row (20 times as slow on a CPU).
    """
    return scaled(model, model.get_output_embeddings()(hidden))


def scaled(model: PreTrainedModel, logits: torch.Tensor) -> torch.Tensor:
    """What some architectures do to their logits last: scale them (Cohere, Granite) or cap them (Gemma 2)."""
    config = model.config
    if scale := getattr(config, "logit_scale", None):
        logits = logits * scale
    if divisor := getattr(config, "logits_scaling", None):
        logits = logits / divisor
    if cap := getattr(config, "final_logit_softcapping", None):
        logits = torch.tanh(logits / cap) * cap
    return logits


def _common_prefix(rows: Sequence[list[int]]) -> int:
    """How many leading tokens all rows share, leaving each row at least one token of its own."""
    first, last = min(rows), max(rows)  # the common prefix of all is that of the lexicographic extremes
    limit = min(len(row) for row in rows) - 1
    shared = 0
    while shared < limit and first[shared] == last[shared]:
        shared += 1
    return shared


class HfEngine:
    """Shared-prefix greedy decoding.

    Args:
        model: any decoder-only model of transformers. Its weights, device and dtype are used as they are; it is put
            into evaluation mode for the call only.
        tokenizer: its tokenizer. Prompts get whatever special tokens it adds by default, as in lm-eval.
        batch_size: prompts decoded together.
    """

    def __init__(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, *, batch_size: int = 64) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.batch_size = batch_size
        self._ends = self._ending_tokens()

    def _ending_tokens(self) -> torch.Tensor:
        """[vocabulary] bool: tokens that end an answer (any text with a line break, or end of sequence)."""
        size = self.model.get_output_embeddings().weight.shape[0]
        pieces = self.tokenizer.batch_decode([[i] for i in range(min(size, len(self.tokenizer)))])
        ends = torch.zeros(size, dtype=torch.bool)
        ends[: len(pieces)] = torch.tensor([STOP in piece for piece in pieces])
        configured = self.model.generation_config.eos_token_id if self.model.generation_config else None
        for eos in (self.tokenizer.eos_token_id, configured):
            for token in eos if isinstance(eos, list) else [eos]:
                if token is not None:
                    ends[token] = True
        return ends

    def greedy(
        self, prompts: Sequence[str], *, max_new_tokens: int = 16, on_batch: Callable[[int], None] | None = None
    ) -> list[str]:
        """See :class:`fthall.engines.Engine`."""

        def choose(logits: torch.Tensor, rows: Sequence[int], step: int) -> torch.Tensor:
            return logits.argmax(-1)

        return self._answer(prompts, choose, max_new_tokens, on_batch)

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
        """See :class:`fthall.engines.Sampler`.

        Each sample draws from a stream of its own, keyed by seed, prompt and number: what is drawn does not depend on
        the batch it is drawn in.
        """
        repeated = [prompt for prompt in prompts for _ in range(samples)]
        keys = [f"{seed}/{number}/{prompt}" for prompt in prompts for number in range(samples)]
        digests = [int.from_bytes(hashlib.sha256(key.encode()).digest()[:16], "big") for key in keys]
        drawn = np.array([np.random.Generator(np.random.Philox(key=d)).random(max_new_tokens) for d in digests])
        uniform = torch.from_numpy(drawn).float().to(self.model.device)  # [prompts * samples, tokens]

        def choose(logits: torch.Tensor, rows: Sequence[int], step: int) -> torch.Tensor:
            best, tokens = torch.topk(logits.float() / temperature, min(top_k, logits.shape[-1]), dim=-1)
            reached = torch.softmax(best, -1).cumsum(-1)
            place = torch.searchsorted(reached, uniform[list(rows), step][:, None], right=True)
            return tokens.gather(1, place.clamp(max=tokens.shape[-1] - 1))[:, 0]

        said = self._answer(repeated, choose, max_new_tokens, on_batch)
        return [said[start : start + samples] for start in range(0, len(said), samples)]

    @torch.inference_mode()
    def _answer(
        self,
        prompts: Sequence[str],
        choose: "_Choice",
        max_new_tokens: int,
        on_batch: Callable[[int], None] | None,
    ) -> list[str]:
        """Answers to all prompts, token by token as ``choose`` has it."""
        if not prompts:
            return []
        was_training = self.model.training
        self.model.eval()
        try:
            rows: list[list[int]] = self.tokenizer(list(prompts)).input_ids
            shared = _common_prefix(rows)
            layers = self._prefix(rows[0][:shared])
            answers: list[str] = [""] * len(rows)
            by_length = sorted(range(len(rows)), key=lambda i: len(rows[i]))  # little padding within a batch
            for start in range(0, len(rows), self.batch_size):
                batch = by_length[start : start + self.batch_size]
                tails = [rows[i][shared:] for i in batch]
                tokens = self._decode_batch(layers, shared, tails, batch, choose, max_new_tokens)
                for i, text in zip(batch, self.tokenizer.batch_decode(tokens, skip_special_tokens=True), strict=True):
                    answers[i] = text.split(STOP, 1)[0].strip()
                if on_batch:
                    on_batch(len(batch))
            return answers
        finally:
            self.model.train(was_training)

    def _prefix(self, tokens: list[int]) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """Keys and values of the shared prefix, one pair a layer, each [1, heads, prefix, head size]."""
        if not tokens:
            return []
        cache = DynamicCache()
        self.model.base_model(input_ids=torch.tensor([tokens], device=self.model.device), past_key_values=cache)
        return [(layer.keys, layer.values) for layer in cache.layers]

    def _decode_batch(
        self,
        prefix: list[tuple[torch.Tensor, torch.Tensor]],
        shared: int,
        tails: list[list[int]],
        numbers: list[int],
        choose: "_Choice",
        max_new_tokens: int,
    ) -> list[list[int]]:
        """Continuations of ``prefix + tail`` for each tail, ending token excluded; ``numbers`` are the prompts'.

        Tails are left-padded *behind* the prefix; pads are masked and take no position.
        """
        device, ends = self.model.device, self._ends.to(self.model.device)
        count, width = len(tails), max(map(len, tails))
        ids = torch.zeros(count, width, dtype=torch.long)
        mask = torch.zeros(count, shared + width, dtype=torch.long)
        mask[:, :shared] = 1
        for row, tail in enumerate(tails):
            ids[row, width - len(tail) :] = torch.tensor(tail)
            mask[row, shared + width - len(tail) :] = 1
        ids, mask = ids.to(device), mask.to(device)
        positions = (mask.cumsum(1) - 1).clamp(min=0)[:, shared:]
        cache = DynamicCache()
        for layer, (keys, values) in enumerate(prefix):
            cache.update(keys.expand(count, -1, -1, -1), values.expand(count, -1, -1, -1), layer)

        decoded: list[list[int]] = [[] for _ in tails]
        alive = list(range(count))  # which tail each row of the (shrinking) batch belongs to
        for step in range(max_new_tokens):
            hidden = self.model.base_model(
                input_ids=ids, attention_mask=mask, position_ids=positions, past_key_values=cache
            ).last_hidden_state
            chosen = choose(head(self.model, hidden[:, -1]), [numbers[row] for row in alive], step)
            ended = ends[chosen].tolist()
            keep = []
            for row, token in enumerate(chosen.tolist()):
                if not ended[row]:
                    decoded[alive[row]].append(token)
                    keep.append(row)
            if not keep or step + 1 == max_new_tokens:
                break
            if len(keep) < len(alive):  # finished rows cost as much as live ones: drop them
                index = torch.tensor(keep, device=device)
                cache.batch_select_indices(index)
                chosen, mask, positions = chosen[index], mask[index], positions[index]
                alive = [alive[row] for row in keep]
            ids = chosen[:, None]
            positions = positions[:, -1:] + 1
            mask = torch.cat([mask, mask.new_ones(len(alive), 1)], 1)
        return decoded
