"""Answers from a Hugging Face causal LM, with what prompts have in common computed once.

SLiCK asks thousands of questions behind the same few exemplars, and a plain ``generate`` on full prompts computes
those exemplars anew for every question. Here the longest common run of *tokens* of prompts, exemplars and the leading
words of the question alike, is computed once, and only what differs between prompts is new work.

And SLiCK asks no more of a greedy answer than whether it is right. So the right answer is fed along as a draft: one
forward pass tells where the model would have gone another way (as in speculative decoding, Leviathan et al. 2023,
arXiv 2211.17192, with the answer key for a draft model).
"""

import hashlib
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

import numpy as np
import torch
from transformers import DynamicCache, PreTrainedModel, PreTrainedTokenizerBase

from fthall.answers import can_become_correct, judge
from fthall.engines import OnBatch, breaking, judged, shared
from fthall.errors import FthallError
from fthall.prompts import STOP
from fthall.records import Outcome

_LOG = logging.getLogger(__name__)
_Member = TypeVar("_Member")
_Way = tuple[int, list[int], list[int]]
"""Number of a prompt, its tokens behind the prefix, and those of one accepted answer."""
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


def group(rows: Sequence[list[int]]) -> list[tuple[int, list[int]]]:
    """Rows that begin alike, together: (leading tokens shared, numbers of the rows), the largest groups first.

    Each row keeps at least one token of its own. A few rows with other exemplars do not spoil the prefix of the rest:
    rows are taken together with the one in the middle of their sorted order, as far as it saves most tokens.
    """
    groups = []
    left = sorted(range(len(rows)), key=lambda i: rows[i])
    while left:
        middle = rows[left[len(left) // 2]]
        alike = [_alike(rows[i], middle) for i in left]
        # With all rows that share at least n tokens, n tokens are saved for each but one.
        by_length = sorted(alike, reverse=True)
        shared = max(enumerate(by_length), key=lambda pair: pair[0] * pair[1])[1]
        groups.append((shared, [i for i, n in zip(left, alike, strict=True) if n >= shared]))
        left = [i for i, n in zip(left, alike, strict=True) if n < shared]
    return groups


def _alike(row: list[int], other: list[int]) -> int:
    """How many leading tokens two rows share, the last of either not counted."""
    limit = min(len(row), len(other)) - 1
    if row[:limit] == other[:limit]:
        return limit
    return next(n for n in range(limit) if row[n] != other[n])


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
        self._drafts: dict[str, list[int]] = {}
        self._sharing: bool | None = None

    def _ending_tokens(self) -> torch.Tensor:
        """[vocabulary] bool: tokens that end an answer (any text with a line break, or end of sequence)."""
        size = self.model.get_output_embeddings().weight.shape[0]
        ends = torch.zeros(max(size, len(self.tokenizer)), dtype=torch.bool)
        ends[breaking(self.tokenizer)] = True
        configured = self.model.generation_config.eos_token_id if self.model.generation_config else None
        for eos in (self.tokenizer.eos_token_id, configured):
            for token in eos if isinstance(eos, list) else [eos]:
                if token is not None:
                    ends[token] = True
        return ends[:size]

    def greedy(self, prompts: Sequence[str], *, max_new_tokens: int = 16, on_batch: OnBatch | None = None) -> list[str]:
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
        on_batch: OnBatch | None = None,
    ) -> list[list[str]]:
        """See :class:`fthall.engines.Engine`.

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
        on_batch: OnBatch | None,
    ) -> list[str]:
        """Answers to all prompts, token by token as ``choose`` has it."""
        if not prompts:
            return []
        rows: list[list[int]] = self.tokenizer(list(prompts)).input_ids
        answers: list[str] = [""] * len(rows)
        with self._evaluating():
            for length, members in group(rows):
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
            except RuntimeError as error:  # torch.OutOfMemoryError is one; on a processor it is not even that
                if not any(sign in str(error) for sign in ("out of memory", "allocate memory")):
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
            yield
        finally:
            self.model.train(was_training)

    def _texts(self, tokens: Sequence[Sequence[int]]) -> list[str]:
        """Answers as they are scored: up to the first line break, stripped."""
        return [text.split(STOP, 1)[0].strip() for text in self._decoded(tokens)]

    def _decoded(self, tokens: Sequence[Sequence[int]]) -> list[str]:
        return self.tokenizer.batch_decode([list(row) for row in tokens], skip_special_tokens=True) if tokens else []

    @torch.inference_mode()
    def right(
        self,
        prompts: Sequence[str],
        accepted: Sequence[Sequence[str]],
        *,
        max_new_tokens: int = 16,
        on_batch: OnBatch | None = None,
    ) -> list[bool]:
        """See :class:`fthall.engines.Engine`.

        The first accepted answer is fed along with its question. Where the model leaves it for something that can
        no longer become an accepted answer, the verdict is known; the few answers that still can are decoded.
        """
        if not prompts:
            return []
        rows: list[list[int]] = self.tokenizer(list(prompts)).input_ids
        drafts = [self._draft(answers[0])[:max_new_tokens] for answers in accepted]
        verdicts: list[bool | None] = [None] * len(rows)
        with self._evaluating():
            for length, members in group(rows):
                layers = shared.prefix(self.model, rows[members[0]][:length])
                if not self._shares(rows[members[0]][length:], layers):
                    continue
                by_length = sorted(members, key=lambda i: len(rows[i]) + len(drafts[i]))

                def verify(batch: list[int], length: int = length, layers: shared.Layers = layers) -> None:
                    tails = [rows[i][length:] for i in batch]
                    found = self._verify(
                        layers, tails, [drafts[i] for i in batch], [accepted[i] for i in batch], max_new_tokens
                    )
                    for i, verdict in zip(batch, found, strict=True):
                        verdicts[i] = verdict
                    if on_batch and (decided := len(found) - found.count(None)):
                        on_batch(decided)

                with shared.attention(self.model):
                    self._in_batches(by_length, verify)
        open_ = [i for i, verdict in enumerate(verdicts) if verdict is None]
        said = self.greedy([prompts[i] for i in open_], max_new_tokens=max_new_tokens, on_batch=on_batch)
        for i, verdict in zip(open_, judged(said, [accepted[i] for i in open_]), strict=True):
            verdicts[i] = verdict
        return [bool(verdict) for verdict in verdicts]

    @torch.inference_mode()
    def chance(
        self,
        prompts: Sequence[str],
        accepted: Sequence[Sequence[str]],
        *,
        temperature: float,
        top_k: int,
        max_new_tokens: int = 16,
    ) -> list[float]:
        """See :class:`fthall.engines.Engine`. Read off one pass over each accepted answer.

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
            for length, members in group(rows):
                layers = shared.prefix(self.model, rows[members[0]][:length])
                if not self._shares(rows[members[0]][length:], layers):
                    raise FthallError("exact chances need a model whose attention can be shared; count samples instead")
                ways = sorted(
                    ((i, rows[i][length:], list(draft)) for i in members for draft in drafts[i]),
                    key=lambda way: len(way[1]) + len(way[2]),
                )

                def add(batch: list[_Way], layers: shared.Layers = layers) -> None:
                    for (i, _, _), chance in zip(batch, self._chances(layers, batch, temperature, top_k), strict=True):
                        chances[i] += chance

                with shared.attention(self.model):
                    self._in_batches(ways, add)
        return [min(1.0, chance) for chance in chances]

    def _chances(self, layers: shared.Layers, ways: Sequence[_Way], temperature: float, top_k: int) -> list[float]:
        """The probability of each draft behind its tail, and of ending there."""
        hidden = shared.forward(self.model, [tail + draft for _, tail, draft in ways], layers)
        ends = self._ends.to(hidden.device)
        logs = torch.zeros(len(ways), dtype=torch.float64)
        for step in range(max(len(draft) for _, _, draft in ways) + 1):
            rows = [row for row, (_, _, draft) in enumerate(ways) if step <= len(draft)]
            index = torch.tensor(rows, device=hidden.device)
            places = torch.tensor([len(ways[row][1]) - 1 + step for row in rows], device=hidden.device)
            logits = head(self.model, hidden[index, places]).float() / temperature
            best, tokens = torch.topk(logits, min(top_k, logits.shape[-1]), dim=-1)
            shares = torch.softmax(best, -1)
            wanted = torch.zeros_like(tokens, dtype=torch.bool)
            for place, row in enumerate(rows):
                draft = ways[row][2]
                wanted[place] = tokens[place] == draft[step] if step < len(draft) else ends[tokens[place]]
            logs[torch.tensor(rows)] += (shares * wanted).sum(-1).double().log().cpu()
        found: list[float] = logs.exp().tolist()
        return found

    def _draft(self, answer: str) -> list[int]:
        """Tokens of an answer as they would follow a prompt. Only a guess: a wrong one costs time, not truth."""
        if answer not in self._drafts:
            before, after = self.tokenizer(["A:", f"A: {answer}"]).input_ids
            self._drafts[answer] = after[len(before) :] if after[: len(before)] == before else []
        return self._drafts[answer]

    def _shares(self, row: list[int], layers: shared.Layers) -> bool:
        """Whether attention can be shared; found out once."""
        if self._sharing is None:
            self._sharing = shared.usable(self.model, row, layers)
        return self._sharing

    def _verify(
        self,
        layers: shared.Layers,
        tails: list[list[int]],
        drafts: list[list[int]],
        accepted: Sequence[Sequence[str]],
        max_new_tokens: int,
    ) -> list[bool | None]:
        """Whether the greedy answer behind each tail is right; None where one pass does not tell."""
        rows = [tail + draft for tail, draft in zip(tails, drafts, strict=True)]
        hidden = shared.forward(self.model, rows, layers)
        verdicts: list[bool | None] = [None] * len(rows)
        ended: list[tuple[int, list[int]]] = []  # rows whose whole answer is known, with its tokens
        begun: list[tuple[int, list[int]]] = []  # rows that left the draft, with the tokens up to there
        alive = list(range(len(rows)))
        for step in range(max_new_tokens):
            if not alive:
                break
            places = torch.tensor([len(tails[row]) - 1 + step for row in alive], device=hidden.device)
            states = hidden[torch.tensor(alive, device=hidden.device), places]
            chosen = head(self.model, states).argmax(-1)
            stops = self._ends.to(chosen.device)[chosen].tolist()
            still = []
            for row, token, stop in zip(alive, chosen.tolist(), stops, strict=True):
                if stop:
                    ended.append((row, drafts[row][:step]))
                elif step < len(drafts[row]) and token == drafts[row][step]:
                    still.append(row)
                else:
                    begun.append((row, [*drafts[row][:step], token]))
            alive = still
        # An answer ends where the model ends it, or at the longest allowed.
        ended += [(row, drafts[row]) for row in alive]
        ended += [(row, tokens) for row, tokens in begun if len(tokens) == max_new_tokens]
        for (row, _), text in zip(ended, self._texts([tokens for _, tokens in ended]), strict=True):
            verdicts[row] = judge(text, accepted[row]) is Outcome.CORRECT
        begun = [(row, tokens) for row, tokens in begun if len(tokens) < max_new_tokens]
        for (row, _), text in zip(begun, self._decoded([tokens for _, tokens in begun]), strict=True):
            verdicts[row] = None if can_become_correct(text, accepted[row]) else False
        return verdicts

    def _decode_batch(
        self,
        prefix: shared.Layers,
        length: int,
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
