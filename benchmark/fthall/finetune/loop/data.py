"""Facts as training examples, and batches of them."""

import hashlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils.data import Sampler

from fthall.names import check_tokens
from fthall.prompts import ask, continuation, target
from fthall.records import Fact

IGNORED = -100
"""Label of what is not learned."""
MULTIPLE = 32
"""Sizes are padded to multiples of this: the kernels of matrix products are made anew for every new shape."""


@dataclass(frozen=True, slots=True)
class Completion:
    """What is trained on, as text: a prompt, and how it should go on."""

    id: str
    """Its own among all; the order of the examples hangs on it."""
    prompt: str
    """Not learned. Empty for a text that stands for itself."""
    text: str
    """Learned, with the end-of-sequence token after it where it ends."""
    source: str
    """``known`` or ``unknown``, or ``replay`` for what is shown besides."""
    fact: Fact | None = None
    """Where it is one."""
    learned: bool = True
    """Whether it is learned, or only compared with what a teacher says."""
    last: bool = False
    """Whether it comes after all others in an epoch."""
    ends: bool = True
    """Whether it ends with the text; one that was cut off does not."""


def completions(facts: Sequence[Fact], source: str) -> list[Completion]:
    """Facts as they are asked and answered."""
    return [Completion(fact.id, ask(fact.question), target(fact), source, fact) for fact in facts]


@dataclass(frozen=True, slots=True)
class Example:
    """One tokenised completion: the zero-shot prompt, then the answer and the end-of-sequence token."""

    index: int
    """Position in the training set."""
    input_ids: tuple[int, ...]
    prompt: int
    """Tokens of the prompt; those after it are learned."""
    family: str = ""
    """Examples of other families never share what they compute, though they begin alike."""
    learned: bool = True
    """Whether its tokens count for the cross-entropy."""


def encode(given: Sequence[Completion], tokenizer: Any) -> list[Example]:
    """Tokenise for training.

    Prompt and answer have tokens of their own, so that a prompt has the same here and at evaluation.

    Raises:
        FthallError: a text has a part the tokenizer has no token for.
    """
    examples = []
    for index, one in enumerate(given):
        prompt = tokenizer(one.prompt).input_ids
        answer = (
            continuation(tokenizer, one.text) if one.prompt else tokenizer(one.text, add_special_tokens=False).input_ids
        )
        check_tokens(tokenizer, one.prompt + one.text, [*prompt, *answer])
        answer = [*answer, tokenizer.eos_token_id] if one.ends else answer
        examples.append(Example(index, (*prompt, *answer), len(prompt), learned=one.learned))
    return examples


@dataclass(frozen=True, slots=True)
class Collate:
    """A batch as tensors, with what its examples have in common computed once.

    Packed, the examples are one row of *nodes*: a node is a token behind all tokens before it, and examples that begin
    alike share nodes. A node attends to itself and to what stands before it, to nothing else, so that states and
    gradients are those of the examples apart (no leakage), at half the tokens where questions follow a template.
    Without packing the examples are rows, padded on the right.
    """

    packed: bool = True
    positions: str = "all"
    """Which nodes count for a distillation term: those of the whole text, of its prompt, or of its answer."""
    counted: frozenset[int] | None = None
    """Examples that count for it; None: all."""
    multiple: int = MULTIPLE
    """Packed nodes are padded to a multiple of this."""
    ends: bool = True
    """Whether the end of a text counts for it, too: a teacher behind exemplars ends an answer with a line break."""

    def __call__(self, batch: Sequence[Example]) -> dict[str, torch.Tensor]:
        """Make the tensors.

        Returns:
            ``input_ids`` and ``position_ids``, [rows, tokens]; ``attention_mask``, [rows, tokens], or [1, 1, tokens,
            tokens] bool, whether a node attends to another, if packed. Flattened, rows x tokens are the nodes:
            ``predicting`` [labels] are the nodes whose next token is learned, ``labels`` [labels] those tokens (padded
            with -100). ``compared`` [places] are the nodes of a distillation term, ``weight`` [places] how many tokens
            each stands for (0 for padding). ``owner`` and ``offset`` [nodes] say of each node the number of an example
            and the place in it; ``rows`` [examples, longest] are the nodes of each example, padded with 0.
        """
        ids, position, parent, rows = self._nodes(batch)
        tokens = len(ids) if self.packed else max(len(example.input_ids) for example in batch)
        owner, offset, weight = [0] * len(ids), [0] * len(ids), [0] * len(ids)
        predicting: list[int] = []
        labels: list[int] = []
        for example, row in zip(batch, rows, strict=True):
            for place, node in enumerate(row):
                owner[node], offset[node] = example.index, place
                weight[node] += self._counts(example, place)
                if example.learned and example.prompt <= place + 1 < len(row):
                    predicting.append(node)
                    labels.append(example.input_ids[place + 1])
        compared = [node for node, count in enumerate(weight) if count]
        spare, more = -len(labels) % MULTIPLE, -len(compared) % MULTIPLE
        found = {
            "input_ids": torch.tensor(ids).view(-1, tokens),
            "position_ids": torch.tensor(position).view(-1, tokens),
            "predicting": torch.tensor(predicting + predicting[:1] * spare, dtype=torch.long),
            "labels": torch.tensor(labels + [IGNORED] * spare, dtype=torch.long),
            "owner": torch.tensor(owner),
            "offset": torch.tensor(offset),
            "compared": torch.tensor(compared + compared[:1] * more, dtype=torch.long),
            "weight": torch.tensor([weight[node] for node in compared] + [0] * more),
            "rows": torch.nn.utils.rnn.pad_sequence([torch.tensor(row) for row in rows], batch_first=True),
        }
        if self.packed:
            mask = torch.eye(tokens, dtype=torch.bool)
            for node, before in enumerate(parent):
                if before >= 0:
                    mask[node] |= mask[before]
            found["attention_mask"] = mask[None, None]
        else:
            mask = torch.zeros(len(batch), tokens, dtype=torch.long)
            for row, example in zip(mask, batch, strict=True):
                row[: len(example.input_ids)] = 1
            found["attention_mask"] = mask
        return found

    def _nodes(self, batch: Sequence[Example]) -> tuple[list[int], list[int], list[int], list[list[int]]]:
        """(token, position and parent of each node; the nodes of each example)."""
        ids: list[int] = []
        position: list[int] = []
        parent: list[int] = []
        rows: list[list[int]] = []
        width = max(len(example.input_ids) for example in batch)
        known: dict[tuple[str, int, int], int] = {}
        for example in batch:
            before, row = -1, []
            for place, token in enumerate(example.input_ids):
                key = example.family, before, token
                node = known.get(key) if self.packed else None
                if node is None:
                    node = known[key] = len(ids)
                    ids.append(token)
                    position.append(place)
                    parent.append(before)
                before = node
                row.append(node)
            rows.append(row)
            spare = 0 if self.packed else width - len(row)
            ids, position, parent = ids + [0] * spare, position + [0] * spare, parent + [-1] * spare
        spare = -len(ids) % self.multiple if self.packed else 0
        return ids + [0] * spare, position + [0] * spare, parent + [-1] * spare, rows

    def _counts(self, example: Example, place: int) -> bool:
        """Whether a token counts for a distillation term: the last of the prompt is where the answer is chosen."""
        if self.counted is not None and example.index not in self.counted:
            return False
        if not self.ends and place + 2 >= len(example.input_ids):
            return False
        of_answer = place + 1 >= example.prompt
        return self.positions == "all" or of_answer == (self.positions == "answer")


class EvenBatches(Sampler[list[int]]):
    """An epoch's batches, as equal in size as can be, in a new order of the examples each epoch.

    The order is that of a hash of (seed, epoch, id). Leaving facts out leaves the order of the others as it was,
    which is what makes the Only-Known run a twin of the full one: same seed, same order of the known facts. Equal
    batches: a last step of a few examples would move the weights as far as any other.
    """

    def __init__(
        self,
        ids: Sequence[str],
        seed: int,
        batch_size: int,
        accumulation: int = 1,
        last: frozenset[int] = frozenset(),
    ) -> None:
        """Of examples with these ids; those whose positions are in ``last`` come after all others."""
        self._ids, self._last = list(ids), last
        self._seed = seed
        self._epoch = 0
        steps = math.ceil(len(self._ids) / (batch_size * accumulation))
        self._count = min(steps * accumulation, len(self._ids))

    def set_epoch(self, epoch: int) -> None:
        """Called by the trainer at the start of each epoch, also after a resume."""
        self._epoch = epoch

    def order(self) -> list[int]:
        """Positions of the examples in this epoch's order."""

        def key(position: int) -> tuple[bool, bytes]:
            digest = hashlib.sha256(f"{self._seed}/{self._epoch}/{self._ids[position]}".encode()).digest()
            return position in self._last, digest

        return sorted(range(len(self._ids)), key=key)

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[list[int]]:
        order, total = self.order(), len(self._ids)
        ends = [total * (number + 1) // self._count for number in range(self._count)]
        for start, end in zip([0, *ends], ends, strict=False):
            yield order[start:end]
