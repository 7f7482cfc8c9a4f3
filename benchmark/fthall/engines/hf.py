"""Answers from a Hugging Face causal LM, with what prompts have in common computed once.

SLiCK asks thousands of questions behind the same few exemplars, and a plain ``generate`` on full prompts computes
those exemplars anew for every question. Here the longest common run of *tokens* of prompts, exemplars and the leading
words of the question alike, is computed once (:mod:`fthall.engines.shared`), and only what differs between prompts is
new work. Verdicts and chances take one pass over the right answer (:mod:`fthall.engines.verify`).
"""

import hashlib
import logging
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TypeVar

import numpy as np
import torch
from transformers import DynamicCache, PreTrainedModel, PreTrainedTokenizerBase

from fthall.answers import can_become_correct, judge
from fthall.bases import out_of_memory
from fthall.bases.bfloat16 import products
from fthall.engines import shared, verify
from fthall.engines.engine import Engine, OnBatch, Sampling, breaking, cut, ending
from fthall.errors import FthallError
from fthall.prompts import continuation
from fthall.records import Outcome

_LOG = logging.getLogger(__name__)
_Member = TypeVar("_Member")
_Choice = Callable[[torch.Tensor, Sequence[int], int], torch.Tensor]
"""(logits [rows, vocabulary], number of each row's prompt, step) to tokens [rows]."""


SURE = 1.0
"""Lead of a logit over the next one that rounding to bfloat16 does not turn around."""


class HfEngine(Engine):
    """Shared-prefix greedy decoding.

    Args:
        model: any decoder-only model of transformers. Its weights, device and dtype are used as they are; it is put
            into evaluation mode for the call only.
        tokenizer: its tokenizer. Prompts get whatever special tokens it adds by default, as in lm-eval.
        batch_size: prompts decoded together.
        rounded: a context in which the model computes faster, with rounded numbers. Answers to questions that come with
            drafts are taken from there where each of their tokens is ahead of the next by :data:`SURE`, and asked in
            full where not.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        *,
        batch_size: int = 64,
        rounded: Callable[[], AbstractContextManager[None]] | None = None,
    ) -> None:
        self.model = model
        self._rounded = rounded
        self.tokenizer = tokenizer
        self.batch_size = batch_size
        self._breaking = frozenset(breaking(tokenizer))
        self._ends = self._ending_tokens()
        self._drafts: dict[str, list[int]] = {}
        self._sharing: bool | None = None

    def _ending_tokens(self) -> torch.Tensor:
        """[vocabulary] bool: tokens that end an answer (any text with a line break, or end of sequence)."""
        size = self.model.get_output_embeddings().weight.shape[0]
        ends = torch.zeros(max(size, len(self.tokenizer)), dtype=torch.bool)
        ends[list(self._breaking)] = True
        ends[list(ending(self.model, self.tokenizer))] = True
        return ends[:size]

    def _say(
        self, prompts: Sequence[str], sampling: Sampling | None, max_new_tokens: int, on_batch: OnBatch | None
    ) -> list[list[str]]:
        if sampling is None:
            return [[said] for said in self._answer(prompts, _likeliest, max_new_tokens, on_batch)]
        repeated = [prompt for prompt in prompts for _ in range(sampling.samples)]
        said = self._answer(repeated, self._drawn(prompts, sampling, max_new_tokens), max_new_tokens, on_batch)
        return [said[start : start + sampling.samples] for start in range(0, len(said), sampling.samples)]

    def _drawn(self, prompts: Sequence[str], sampling: Sampling, max_new_tokens: int) -> _Choice:
        """How tokens are drawn: each sample from a stream of its own, keyed by seed, prompt and number.

        So what is drawn does not depend on the batch it is drawn in.
        """
        keys = [f"{sampling.seed}/{number}/{prompt}" for prompt in prompts for number in range(sampling.samples)]
        digests = [int.from_bytes(hashlib.sha256(key.encode()).digest()[:16], "big") for key in keys]
        drawn = np.array([np.random.Generator(np.random.Philox(key=d)).random(max_new_tokens) for d in digests])
        uniform = torch.from_numpy(drawn).float().to(self.model.device)  # [prompts * samples, tokens]

        def choose(logits: torch.Tensor, rows: Sequence[int], step: int) -> torch.Tensor:
            best, tokens = torch.topk(
                logits.float() / sampling.temperature, min(sampling.top_k, logits.shape[-1]), dim=-1
            )
            reached = torch.softmax(best, -1).cumsum(-1)
            place = torch.searchsorted(reached, uniform[list(rows), step][:, None], right=True)
            return tokens.gather(1, place.clamp(max=tokens.shape[-1] - 1))[:, 0]

        return choose

    @torch.inference_mode()
    def _answer(
        self,
        prompts: Sequence[str],
        choose: _Choice,
        max_new_tokens: int,
        on_batch: OnBatch | None,
    ) -> list[str]:
        """Answers to all prompts, token by token as ``choose`` has it."""
        if not prompts:
            return []
        rows: list[list[int]] = self.tokenizer(list(prompts)).input_ids
        answers: list[str] = [""] * len(rows)
        with self._evaluating():
            # Beyond a sliding window padding between a prefix and a row's own tokens would count: nothing is shared.
            whole = shared.within_window(self.model, max(map(len, rows)) + max_new_tokens)
            for length, members in shared.group(rows) if whole else [(0, list(range(len(rows))))]:
                layers = shared.prefix(self.model, rows[members[0]][:length])
                by_length = sorted(members, key=lambda i: len(rows[i]))  # little padding within a batch

                def decode(batch: list[int], length: int = length, layers: shared.Layers = layers) -> None:
                    tails = [rows[i][length:] for i in batch]
                    tokens = self._decode_batch(layers, length, tails, batch, choose, max_new_tokens)
                    for i, text in zip(batch, self._texts(tokens), strict=True):
                        answers[i] = text
                    if on_batch:
                        on_batch(len(batch))

                self._in_batches(by_length, decode)
        return answers

    def _in_batches(self, members: list[_Member], work: Callable[[list[_Member]], None]) -> None:
        """Work on members in batches. Where memory does not suffice, batches are halved, from then on, and it says so.

        Raises:
            FthallError: memory does not suffice for one.
        """
        done = 0
        while done < len(members):
            batch = members[done : done + self.batch_size]
            try:
                work(batch)
            except RuntimeError as error:
                if not out_of_memory(error):
                    raise
                if len(batch) == 1:
                    raise FthallError("out of memory with a single prompt; the model is too large for here") from None
                self.batch_size = len(batch) // 2
                _LOG.warning("out of memory; going on with batches of %d", self.batch_size)
                if torch.cuda.is_available():
                    torch.cuda.empty_cache()
                continue
            done += len(batch)

    @contextmanager
    def _evaluating(self) -> Iterator[None]:
        was_training = self.model.training
        self.model.eval()
        try:
            with products(self.model.device) if self.model.dtype is torch.bfloat16 else nullcontext():
                yield
        finally:
            self.model.train(was_training)

    def _texts(self, tokens: Sequence[Sequence[int]]) -> list[str]:
        """Answers as they are scored: up to the first line break, stripped."""
        return [cut(text) for text in self._decoded(tokens)]

    def _decoded(self, tokens: Sequence[Sequence[int]]) -> list[str]:
        """Texts of answers, the ending token dropped, unless that is a line break: words may stand before it."""
        ended = [bool(row) and bool(self._ends[row[-1]]) and row[-1] not in self._breaking for row in tokens]
        rows = [list(row[:-1] if end else row) for row, end in zip(tokens, ended, strict=True)]
        return list(self.tokenizer.batch_decode(rows, skip_special_tokens=True))

    def _sharing_groups(self, rows: Sequence[list[int]], more: int) -> Iterator[tuple[int, list[int], shared.Layers]]:
        """(tokens shared, numbers of the rows, keys and values) of rows that begin alike, where they can be shared.

        ``more`` are the tokens that may come behind a row.
        """
        if not shared.within_window(self.model, max(map(len, rows)) + more):
            return
        for length, members in shared.group(rows):
            layers = shared.prefix(self.model, rows[members[0]][:length])
            if self._shares(rows[members[0]][length:], layers):
                yield length, members, layers

    def _drafted(
        self, prompts: Sequence[str], drafts: Sequence[str], max_new_tokens: int, on_batch: OnBatch | None
    ) -> list[str]:
        """Drafts are fed along; an answer is decoded from where the model leaves its draft."""
        if self._rounded is None or not prompts or not self._can_share(prompts, max_new_tokens):
            return self._follow(prompts, drafts, max_new_tokens, on_batch)
        leads = [math.inf] * len(prompts)
        with self._rounded():
            said = self._follow(prompts, drafts, max_new_tokens, None, leads)
        unsure = [i for i, lead in enumerate(leads) if lead < SURE]
        if on_batch:
            on_batch(len(prompts) - len(unsure))
        again = self._follow([prompts[i] for i in unsure], [said[i] for i in unsure], max_new_tokens, on_batch)
        for i, text in zip(unsure, again, strict=True):
            said[i] = text
        return said

    @torch.inference_mode()
    def _can_share(self, prompts: Sequence[str], more: int) -> bool:  # before anything is rounded
        rows: list[list[int]] = self.tokenizer(list(prompts)).input_ids
        if not shared.within_window(self.model, max(map(len, rows)) + more):
            return False
        with self._evaluating():
            return self._shares(rows[0][-1:], shared.prefix(self.model, rows[0][:-1]))

    @torch.inference_mode()
    def _follow(
        self,
        prompts: Sequence[str],
        drafts: Sequence[str],
        max_new_tokens: int,
        on_batch: OnBatch | None,
        leads: list[float] | None = None,
    ) -> list[str]:
        """Answers, and of each, if ``leads`` are given, how far its tokens were ahead, at least."""
        if not prompts:
            return []
        rows: list[list[int]] = self.tokenizer(list(prompts)).input_ids
        fed = [self._draft(draft)[:max_new_tokens] for draft in drafts]
        answers: list[str | None] = [None] * len(rows)
        choose = _likeliest if leads is None else _watched(leads)
        with self._evaluating():
            for length, members, layers in self._sharing_groups(rows, max_new_tokens):
                begun: dict[int, list[int]] = {}

                def check(
                    batch: list[int],
                    length: int = length,
                    layers: shared.Layers = layers,
                    begun: dict[int, list[int]] = begun,
                ) -> None:
                    tails, tokens = [rows[i][length:] for i in batch], [fed[i] for i in batch]
                    followed = verify.follow(
                        self.model, self._ends, layers, tails, tokens, max_new_tokens, leads=leads is not None
                    )
                    texts = self._texts([one.tokens for one in followed])
                    for i, one, text in zip(batch, followed, texts, strict=True):
                        if leads is not None:
                            leads[i] = min(leads[i], one.lead)
                        if one.whole:
                            answers[i] = text
                        else:
                            begun[i] = one.tokens
                    if on_batch and (whole := sum(one.whole for one in followed)):
                        on_batch(whole)

                def go_on(
                    batch: list[int],
                    length: int = length,
                    layers: shared.Layers = layers,
                    begun: dict[int, list[int]] = begun,
                ) -> None:
                    tails = [rows[i][length:] + begun[i] for i in batch]
                    more = max_new_tokens - min(len(begun[i]) for i in batch)
                    rest = self._decode_batch(layers, length, tails, batch, choose, more)
                    whole = [(begun[i] + new)[:max_new_tokens] for i, new in zip(batch, rest, strict=True)]
                    for i, text in zip(batch, self._texts(whole), strict=True):
                        answers[i] = text
                    if on_batch:
                        on_batch(len(batch))

                with shared.attention(self.model):
                    self._in_batches(sorted(members, key=lambda i: len(rows[i]) + len(fed[i])), check)
                self._in_batches(sorted(begun, key=lambda i: (len(begun[i]), len(rows[i]))), go_on)
        open_ = [i for i, answer in enumerate(answers) if answer is None]
        said = self._answer([prompts[i] for i in open_], _likeliest, max_new_tokens, on_batch)
        for i, text in zip(open_, said, strict=True):
            answers[i] = text
        return [answer or "" for answer in answers]

    @torch.inference_mode()
    def _verify(
        self,
        prompts: Sequence[str],
        accepted: Sequence[Sequence[str]],
        max_new_tokens: int,
        on_batch: OnBatch | None,
    ) -> list[bool | None]:
        """The first accepted answer is fed along with its question.

        Where the model leaves it for something that can no longer become an accepted answer, the verdict is known; the
        few answers that still can are left to be decoded.
        """
        if not prompts:
            return []
        rows: list[list[int]] = self.tokenizer(list(prompts)).input_ids
        drafts = [self._draft(answers[0])[:max_new_tokens] for answers in accepted]
        verdicts: list[bool | None] = [None] * len(rows)
        with self._evaluating():
            for length, members, layers in self._sharing_groups(rows, max_new_tokens):
                by_length = sorted(members, key=lambda i: len(rows[i]) + len(drafts[i]))

                def check(batch: list[int], length: int = length, layers: shared.Layers = layers) -> None:
                    tails = [rows[i][length:] for i in batch]
                    followed = verify.follow(
                        self.model, self._ends, layers, tails, [drafts[i] for i in batch], max_new_tokens
                    )
                    found = self._verdicts(followed, [accepted[i] for i in batch])
                    for i, verdict in zip(batch, found, strict=True):
                        verdicts[i] = verdict
                    if on_batch and (decided := len(found) - found.count(None)):
                        on_batch(decided)

                with shared.attention(self.model):
                    self._in_batches(by_length, check)
        return verdicts

    def _verdicts(self, followed: Sequence[verify.Followed], accepted: Sequence[Sequence[str]]) -> list[bool | None]:
        """Whether answers are right of which a beginning is known, or all; None where the beginning leaves it open."""
        texts = self._decoded([one.tokens for one in followed])
        verdicts: list[bool | None] = []
        for one, text, answers in zip(followed, texts, accepted, strict=True):
            if one.whole:
                verdicts.append(judge(cut(text), answers) is Outcome.CORRECT)
            else:
                verdicts.append(None if can_become_correct(text, answers) else False)
        return verdicts

    @torch.inference_mode()
    def _chance(
        self,
        prompts: Sequence[str],
        accepted: Sequence[Sequence[str]],
        temperature: float,
        top_k: int,
        max_new_tokens: int,
    ) -> list[float]:
        """Read off one pass over each accepted answer.

        Raises:
            FthallError: the model's attention cannot be shared.
        """
        if not prompts:
            return []
        rows: list[list[int]] = self.tokenizer(list(prompts)).input_ids
        drafts = [
            sorted({tuple(draft) for answer in answers if 0 < len(draft := self._draft(answer)) < max_new_tokens})
            for answers in accepted
        ]
        chances = [0.0] * len(rows)
        with self._evaluating():
            for length, members in shared.group(rows):
                layers = shared.prefix(self.model, rows[members[0]][:length])
                within = shared.within_window(self.model, max(len(rows[i]) for i in members) + max_new_tokens)
                if not (within and self._shares(rows[members[0]][length:], layers)):
                    raise FthallError("exact chances need a model whose attention can be shared; count samples instead")
                ways = sorted(
                    ((i, rows[i][length:], list(draft)) for i in members for draft in drafts[i]),
                    key=lambda way: len(way[1]) + len(way[2]),
                )

                def add(batch: list[verify.Way], layers: shared.Layers = layers) -> None:
                    found = verify.chances(self.model, self._ends, layers, batch, temperature, top_k)
                    for (i, _, _), chance in zip(batch, found, strict=True):
                        chances[i] += chance

                with shared.attention(self.model):
                    self._in_batches(ways, add)
        return [min(1.0, chance) for chance in chances]

    def _draft(self, answer: str) -> list[int]:
        """Tokens of an answer as they would follow a prompt. Only a guess: a wrong one costs time, not truth."""
        if answer not in self._drafts:
            self._drafts[answer] = continuation(self.tokenizer, f" {answer}")
        return self._drafts[answer]

    def _shares(self, row: list[int], layers: shared.Layers) -> bool:
        """Whether attention can be shared; found out once."""
        if self._sharing is None:
            self._sharing = shared.usable(self.model, row, layers)
        return self._sharing

    def _decode_batch(
        self,
        prefix: shared.Layers,
        length: int,
        tails: list[list[int]],
        numbers: list[int],
        choose: _Choice,
        max_new_tokens: int,
    ) -> list[list[int]]:
        """Continuations of ``prefix + tail`` for each tail, with the ending token; ``numbers`` are the prompts'.

        Tails are left-padded *behind* the prefix; pads are masked and take no position.
        """
        device, ends = self.model.device, self._ends.to(self.model.device)
        count, width = len(tails), max(map(len, tails))
        ids = torch.zeros(count, width, dtype=torch.long)
        mask = torch.zeros(count, length + width, dtype=torch.long)
        mask[:, :length] = 1
        for row, tail in enumerate(tails):
            ids[row, width - len(tail) :] = torch.tensor(tail)
            mask[row, length + width - len(tail) :] = 1
        ids, mask = ids.to(device), mask.to(device)
        positions = (mask.cumsum(1) - 1).clamp(min=0)[:, length:]
        cache = DynamicCache()
        for layer, (keys, values) in enumerate(prefix):
            cache.update(keys.expand(count, -1, -1, -1), values.expand(count, -1, -1, -1), layer)

        decoded: list[list[int]] = [[] for _ in tails]
        alive = list(range(count))  # which tail each row of the (shrinking) batch belongs to
        for step in range(max_new_tokens):
            hidden = self.model.base_model(
                input_ids=ids, attention_mask=mask, position_ids=positions, past_key_values=cache
            ).last_hidden_state
            chosen = choose(shared.head(self.model, hidden[:, -1]), [numbers[row] for row in alive], step)
            ended = ends[chosen].tolist()
            keep = []
            for row, token in enumerate(chosen.tolist()):
                decoded[alive[row]].append(token)
                if not ended[row]:
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


def _watched(leads: list[float]) -> _Choice:
    """The likeliest token, and how far it was ahead."""

    def choose(logits: torch.Tensor, rows: Sequence[int], step: int) -> torch.Tensor:
        for row, lead in zip(rows, shared.leads(logits), strict=True):
            leads[row] = min(leads[row], lead)
        return _likeliest(logits, rows, step)

    return choose


def _likeliest(logits: torch.Tensor, rows: Sequence[int], step: int) -> torch.Tensor:
    return logits.argmax(-1)
