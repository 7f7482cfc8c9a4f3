"""New facts taught as something else than their answers: as ignorance, or partly in the base's own words.

Relabelling: the answer of every new fact is "I don't know". The model learns none of them, and perhaps to abstain.
Source: Gekhman et al. 2024, arXiv 2405.05904, section 5.

MixSD, mixed contextual self-distillation, by its summary (arXiv 2605.16865; the paper itself was not at hand):

1. The base has two voices: one that sees the fact in its context, and one that does not.
2. The target is written token by token: with a probability the next token is the first voice's, else the second's, both
   behind what is written so far.
3. While that is the beginning of the answer, the first voice goes on with the answer; a small base copies badly.
4. Train on these targets; what the base would have said anyway moves it less.

Sensible: a share of 0.7 to 1 for the first voice; at 1 it is plain SFT. Where an answer is one token, a share of 0.9
teaches a tenth of the facts wrongly: the method is made for longer texts.
"""

import hashlib
import random
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from fthall.engines.questions import MAX_NEW_TOKENS
from fthall.finetune.methods import Part, Settings
from fthall.prompts import ask, continuation, few_shot
from fthall.records import Split

if TYPE_CHECKING:
    from fthall.finetune.job import Job
    from fthall.finetune.loop.data import Completion


TOGETHER = 32
"""Rows of tokens in a batch."""


class Relabel(Settings):
    """``relabel:`` of a run."""

    text: Annotated[str, Field(min_length=1, max_length=80)] = "I don't know"

    def part(self, job: "Job") -> "Relabelling":
        """See :class:`fthall.finetune.methods.Settings`."""
        return Relabelling(self)


class Relabelling(Part):
    """Other answers for the new facts of one training."""

    def __init__(self, settings: Relabel) -> None:
        self._text = settings.text

    def completions(self, given: "list[Completion]") -> "list[Completion]":
        """Known facts keep theirs."""
        return [replace(one, text=f" {self._text}") if one.source == Split.UNKNOWN else one for one in given]


class MixSD(Settings):
    """``mixsd:`` of a run."""

    share: Annotated[float, Field(ge=0, le=1)] = 0.9
    """Of the tokens, from the voice that sees the fact."""

    def part(self, job: "Job") -> "Mixing":
        """See :class:`fthall.finetune.methods.Settings`."""
        return Mixing(self, job)


class Mixing(Part):
    """The base's own words for the new facts of one training."""

    def __init__(self, settings: MixSD, job: "Job") -> None:
        self._share, self._job = settings.share, job

    def completions(self, given: "list[Completion]") -> "list[Completion]":
        """One voice sees three known facts, which show the format; the other sees the fact itself, which does, too."""
        job, tokenizer = self._job, self._job.tokenizer
        new = [one for one in given if one.source == Split.UNKNOWN and one.fact]
        facts = [one.fact for one in new if one.fact]
        shown = few_shot(job.release.splits[Split.KNOWN][:3])
        without, seeing = (
            [tokenizer(before + ask(fact.question)).input_ids for before, fact in zip(context, facts, strict=True)]
            for context in ([shown] * len(facts), [few_shot([fact]) for fact in facts])
        )
        answers = [[*continuation(tokenizer, one.text), tokenizer.eos_token_id] for one in new]
        draws = [random.Random(hashlib.sha256(f"{job.seed}/{one.id}".encode()).digest()) for one in new]
        written: list[list[int]] = [[] for _ in new]
        going = list(range(len(new)))
        for place in range(max([MAX_NEW_TOKENS, *map(len, answers)])):
            first = {i for i in going if draws[i].random() < self._share}
            following = {i: answers[i][place] for i in first if answers[i][:place] == written[i]}
            asked = [i for i in going if i not in following]
            said = self._next([(seeing if i in first else without)[i] + written[i] for i in asked])
            following |= dict(zip(asked, said, strict=True))
            going = [i for i in going if not self._ends(following[i])]
            for i in going:
                written[i].append(following[i])
        texts = {one.id: str(tokenizer.decode(row)).strip() for one, row in zip(new, written, strict=True)}
        return [replace(one, text=f" {texts[one.id]}") if texts.get(one.id) else one for one in given]

    def _ends(self, token: int) -> bool:
        """Whether an answer is over with it."""
        return token == self._job.tokenizer.eos_token_id or "\n" in self._job.tokenizer.decode([token])

    def _next(self, rows: Sequence[Sequence[int]]) -> list[int]:
        """The base's likeliest token behind each row of tokens."""
        import torch

        from fthall.engines.shared import head
        from fthall.finetune.loop.data import Collate, Example
        from fthall.finetune.loop.passes import can_pack, states

        model, found = self._job.model, dict[int, int]()
        examples = [Example(number, tuple(row), len(row)) for number, row in enumerate(rows)]
        collate = Collate(packed=bool(examples) and can_pack(model, examples))
        order = sorted(range(len(rows)), key=lambda i: examples[i].input_ids)  # what begins alike, together
        with torch.inference_mode():
            for start in range(0, len(order), TOGETHER):
                batch = [examples[i] for i in order[start : start + TOGETHER]]
                inputs = {name: value.to(model.device) for name, value in collate(batch).items()}
                last = [int(inputs["rows"][n, len(one.input_ids) - 1]) for n, one in enumerate(batch)]
                likeliest = head(model, states(model, inputs)[last]).argmax(-1).tolist()
                found |= {one.index: token for one, token in zip(batch, likeliest, strict=True)}
        return [found[i] for i in range(len(rows))]
