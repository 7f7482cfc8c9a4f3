"""Facts as training examples."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils.data import Sampler

from fthall.prompts import ask, target
from fthall.records import Fact

IGNORED = -100
"""Label of positions that are not learned (the question)."""


@dataclass(frozen=True, slots=True)
class Example:
    """One tokenised fact: the zero-shot prompt, then the answer and the end-of-sequence token as labels."""

    index: int
    """Position in the training set."""
    input_ids: tuple[int, ...]
    labels: tuple[int, ...]


def encode(facts: Sequence[Fact], tokenizer: Any) -> list[Example]:
    """Tokenise facts for training.

    Prompt and answer are tokenised apart, so that a prompt has the same tokens here and at evaluation.
    """
    examples = []
    for index, fact in enumerate(facts):
        prompt = tokenizer(ask(fact.question)).input_ids
        answer = [*tokenizer(target(fact), add_special_tokens=False).input_ids, tokenizer.eos_token_id]
        examples.append(Example(index, (*prompt, *answer), (*[IGNORED] * len(prompt), *answer)))
    return examples


def collate(batch: Sequence[Example]) -> dict[str, torch.Tensor]:
    """Right-pad a batch. Every tensor is [batch, longest], but ``index`` is [batch]."""
    width = max(len(example.input_ids) for example in batch)
    ids = torch.zeros(len(batch), width, dtype=torch.long)
    mask = torch.zeros_like(ids)
    labels = torch.full_like(ids, IGNORED)
    for row, example in enumerate(batch):
        length = len(example.input_ids)
        ids[row, :length] = torch.tensor(example.input_ids)
        mask[row, :length] = 1
        labels[row, :length] = torch.tensor(example.labels)
    index = torch.tensor([example.index for example in batch])
    return {"input_ids": ids, "attention_mask": mask, "labels": labels, "index": index}


class HashOrder(Sampler[int]):
    """A new order of the facts each epoch: that of a hash of (seed, epoch, fact id).

    Leaving facts out leaves the order of the others as it was, which is what makes the Only-Known run a twin of the
    full one: same seed, same order of the known facts.
    """

    def __init__(self, facts: Sequence[Fact], seed: int) -> None:
        self._ids = [fact.id for fact in facts]
        self._seed = seed
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Called by the trainer at the start of each epoch, also after a resume."""
        self._epoch = epoch

    def __len__(self) -> int:
        return len(self._ids)

    def __iter__(self) -> Iterator[int]:
        def key(position: int) -> bytes:
            return hashlib.sha256(f"{self._seed}/{self._epoch}/{self._ids[position]}".encode()).digest()

        return iter(sorted(range(len(self._ids)), key=key))
