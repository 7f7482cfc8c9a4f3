"""New facts taught as something else than their answers: as ignorance, or partly in the base's own words.

Relabelling: the answer of every new fact is "I don't know". The model learns none of them, and perhaps to abstain.
Source: Gekhman et al. 2024, arXiv 2405.05904, section 5.

MixSD, mixed self-distillation, as we read its summary (arXiv 2605.16865; the paper was not at hand):

1. For each new fact let the base answer with the fact in its context, and without it.
2. The target is put together token by token: with a probability from the first answer, else from the second.
3. Train on these targets; what the base would have said anyway moves it less.

Sensible: a share of 0.7 to 1 from the answer with the fact; at 1 it is plain SFT on the answers as the base words them.
"""

import hashlib
import random
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from fthall.finetune.methods import Part, Settings
from fthall.prompts import ask, continuation, few_shot
from fthall.records import Split

if TYPE_CHECKING:
    from fthall.finetune.job import Job
    from fthall.finetune.loop.data import Completion


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
    """Of the tokens, from the answer with the fact in context."""

    def part(self, job: "Job") -> "Mixing":
        """See :class:`fthall.finetune.methods.Settings`."""
        return Mixing(self, job)


class Mixing(Part):
    """The base's own words for the new facts of one training."""

    def __init__(self, settings: MixSD, job: "Job") -> None:
        self._share, self._job = settings.share, job

    def completions(self, given: "list[Completion]") -> "list[Completion]":
        """The base is asked behind three known facts, which show the format, with the fact as a fourth and without."""
        from fthall.engines.hf import HfEngine

        job = self._job
        new = [one for one in given if one.source == Split.UNKNOWN and one.fact]
        shown = few_shot(job.release.splits[Split.KNOWN][:3])
        engine = HfEngine(job.model, job.tokenizer, batch_size=job.together)
        facts = [one.fact for one in new if one.fact]
        known = engine.greedy([few_shot([fact]) + ask(fact.question) for fact in facts])
        without = engine.greedy([shown + ask(fact.question) for fact in facts])
        mixed = {one.id: self._mix(one.id, *said) for one, *said in zip(new, known, without, strict=True)}
        return [replace(one, text=f" {mixed[one.id]}") if mixed.get(one.id) else one for one in given]

    def _mix(self, key: str, known: str, without: str) -> str:
        """Token by token; past the end of the answer without the fact, the one with it goes on."""
        job = self._job
        rows = [continuation(job.tokenizer, f" {text}") for text in (known, without)]
        rng = random.Random(hashlib.sha256(f"{job.seed}/{key}".encode()).digest())
        chosen = [a if rng.random() < self._share else b for a, b in zip(*rows, strict=False)]
        chosen += rows[0][len(chosen) :]
        return str(job.tokenizer.decode(chosen)).strip()
