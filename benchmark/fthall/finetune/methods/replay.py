"""Replay: besides the facts to be learned, what the model should keep saying. No held-out fact is ever among it.

1. Take what is replayed: the known facts of the track once more; the base's own answers to fresh questions; or texts
   the base writes by itself, sampled without any context. The last two need no gold answers.
2. Own answers come behind a few known facts, which show the format; only questions whose answer stays the same behind
   other known facts are kept (``agree``).
3. Add as many as ``share`` says to each epoch, shuffled among the others or after them all.
4. Hard targets are learned as the others are. Soft ones are compared with the base's own distribution instead: ``λ τ²
   KL(base ‖ student)`` on the replayed examples alone. That is an anchor.

Source: known facts last, arXiv 2511.02626 (KnownPatch: 5 to 20 %); texts without context, arXiv 2505.13811;
self-generated replay with nearly no forgetting, arXiv 2605.26097. Sensible: a share of 0.1 to 2.
"""

import hashlib
import json
import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from fthall.errors import FthallError
from fthall.files import read_jsonl, write_jsonl
from fthall.finetune.methods import Part, Settings
from fthall.finetune.methods.distill import Distill
from fthall.prompts import ask, few_shot
from fthall.records import Fact, Split

if TYPE_CHECKING:
    from fthall.finetune.job import Job
    from fthall.finetune.loop.data import Completion

LONGEST = 64
"""Tokens of a text without context."""
ROUNDS = 10
"""Rounds without any text after which a base is taken to write none."""


class Replay(Settings):
    """``replay:`` of a run."""

    what: Literal["known", "answers", "text"] = "answers"
    share: Annotated[float, Field(gt=0, le=100, allow_inf_nan=False)] = 0.5
    """Of the number of facts trained on."""
    shots: Annotated[int, Field(ge=1)] = 3
    """Known facts that show the base the format."""
    agree: Annotated[int, Field(ge=1)] = 3
    """Contexts behind which an own answer must be the same."""
    targets: Literal["hard", "soft"] = "hard"
    weight: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 1.0
    """λ of soft targets."""
    temperature: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1.0
    """τ of soft targets."""
    when: Literal["shuffled", "last"] = "shuffled"
    questions: Literal["any", "near", "popular"] = "any"
    """Which fresh questions are answered first: any; those whose subjects are spelled most like the new facts'; or
    those whose subjects are known most widely (arXiv 2609.08067: popular anchors protect most)."""

    def part(self, job: "Job") -> "Replaying":
        """See :class:`fthall.finetune.methods.Settings`."""
        return Replaying(self, job)

    @property
    def soft(self) -> bool:
        """Whether the base's distribution is the target."""
        return self.targets == "soft"

    @property
    def teaching(self) -> Distill:
        """What soft targets are compared with: the base, behind known facts where it answers questions."""
        return Distill(
            weight=self.weight,
            temperature=self.temperature,
            teacher="base" if self.what == "text" else "few-shot",
            shots=self.shots,
            positions="answer",
            splits=("replay",),
        )

    def said(self) -> dict[str, Any]:
        """See :class:`fthall.finetune.methods.Settings`."""
        silent = {"agree", "shots", "questions"} if self.what != "answers" else set()
        silent |= {"weight", "temperature"} if not self.soft else set()
        return {name: value for name, value in super().said().items() if name not in silent}


class Replaying(Part):
    """What is replayed in one training. It is kept in the run's folder (``replay.jsonl``): a resumed run reads it."""

    def __init__(self, settings: Replay, job: "Job") -> None:
        self._how, self._job = settings, job

    def completions(self, given: "list[Completion]") -> "list[Completion]":
        """What is given, and the replayed."""
        from fthall.finetune.loop.data import Completion

        kept = self._job.folder / "replay.jsonl"
        wanted = max(1, round(self._how.share * len(given)))
        if not kept.exists():
            makers = {"known": self._known, "answers": self._answers, "text": self._texts}
            write_jsonl(kept, makers[self._how.what](wanted))
        added = []
        for number, row in enumerate(read_jsonl(kept)):
            fact = Fact(**{**row["fact"], "answers": tuple(row["fact"]["answers"])}) if row["fact"] else None
            added.append(
                Completion(
                    f"replay/{number}",
                    row["prompt"],
                    row["text"],
                    "replay",
                    fact,
                    learned=not self._how.soft,
                    last=self._how.when == "last",
                    ends=row.get("ends", True),
                )
            )
        return [*given, *added]

    def _known(self, wanted: int) -> Iterator[dict[str, Any]]:
        """The known facts of the track, each as often as any other."""
        facts = self._shuffled(self._job.release.splits[Split.KNOWN])
        return (_row(facts[number % len(facts)]) for number in range(wanted))

    def _answers(self, wanted: int) -> list[dict[str, Any]]:
        """What the base itself says to questions that are in no split.

        Raises:
            FthallError: it is sure of too few.
        """
        from fthall.answers import normalise
        from fthall.engines.hf import HfEngine

        job = self._job
        engine = HfEngine(job.model, job.tokenizer, batch_size=job.together)
        shown = [few_shot(self._exemplars(number)) for number in range(self._how.agree)]
        fresh, rows = self._in_order(fresh_facts(job.release)), list[dict[str, Any]]()
        kept = self._shared_answers()
        done = list(read_jsonl(kept)) if kept and kept.exists() else []
        for number, start in enumerate(range(0, len(fresh), job.together)):  # until there are enough
            if number == len(done):
                asked = fresh[start : start + job.together]
                said = [engine.greedy([before + ask(fact.question) for fact in asked]) for before in shown]
                sure = [
                    _row(replace(fact, answers=(answers[0],)))
                    for fact, *answers in zip(asked, *said, strict=True)
                    if answers[0] and len({normalise(answer) for answer in answers}) == 1
                ]
                done.append({"asked": len(asked), "sure": sure})
                if kept:
                    write_jsonl(kept, done)
            rows += done[number]["sure"]
            if len(rows) >= wanted:
                return rows[:wanted]
        raise FthallError(
            f"replay: the base is sure of its answer to {len(rows)} of {len(fresh)} fresh questions, {wanted} are "
            "wanted; lower share or agree"
        )

    def _shared_answers(self) -> Path | None:
        """Where runs that ask the same questions in the same way keep the answers, of which each takes the first."""
        job, how = self._job, self._how
        asked = [job.release.digest, job.seed, how.shots, how.agree, how.questions, job.together]
        name = f"own-{hashlib.sha256(json.dumps(asked).encode()).hexdigest()[:12]}.jsonl"
        return job.shared / name if job.shared else None

    def _texts(self, wanted: int) -> list[dict[str, Any]]:
        """Texts sampled from nothing, at temperature 1; those that are cut off are not taught to end there.

        Raises:
            FthallError: the base ends every text at once.
        """
        import torch

        model, tokenizer = self._job.model, self._job.tokenizer
        first = tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.eos_token_id
        rows: list[dict[str, Any]] = []
        empty = 0
        with torch.random.fork_rng(), torch.inference_mode():
            torch.manual_seed(self._job.seed)
            while len(rows) < wanted:
                begun = torch.full((min(self._job.together, wanted - len(rows)), 1), first, device=model.device)
                found = model.generate(
                    begun,
                    attention_mask=torch.ones_like(begun),
                    do_sample=True,
                    temperature=1.0,
                    top_k=0,
                    top_p=1.0,
                    repetition_penalty=1.0,  # as a base's own settings for chats may have it
                    max_new_tokens=LONGEST,
                    pad_token_id=tokenizer.eos_token_id,
                )
                texts = tokenizer.batch_decode(found, skip_special_tokens=True)
                ends = (found[:, 1:] == tokenizer.eos_token_id).any(1).tolist()
                made = [
                    {"prompt": "", "text": text, "fact": None, "ends": ended}
                    for text, ended in zip(texts, ends, strict=True)
                    if text.strip()
                ]
                rows, empty = [*rows, *made], 0 if made else empty + 1
                if empty == ROUNDS:
                    raise FthallError("replay: the base writes nothing by itself; replay what: answers or known")
        return rows

    def _exemplars(self, number: int) -> list[Fact]:
        known = sorted(self._job.release.splits[Split.KNOWN], key=lambda fact: fact.id)
        digest = hashlib.sha256(f"{self._job.seed}/replay/{number}".encode()).digest()
        return random.Random(digest).sample(known, min(self._how.shots, len(known)))

    def _in_order(self, facts: list[Fact]) -> list[Fact]:
        """As they are to be asked; alike ones in the order of a hash."""
        from fthall.facts import popularity
        from fthall.names import nearest, trigrams

        shuffled = self._shuffled(facts)
        if self._how.questions == "any":
            return shuffled
        if self._how.questions == "popular":
            known = popularity(str(self._job.release.manifest["source"]["name"]))
            return sorted(shuffled, key=lambda fact: -known[fact.id])
        new = [trigrams(fact.subject) for fact in self._job.release.splits[Split.UNKNOWN]]
        alike = nearest([trigrams(fact.subject) for fact in shuffled], new)
        return [shuffled[place] for place in (-alike).argsort(kind="stable")]

    def _shuffled(self, facts: Any) -> list[Fact]:
        return sorted(facts, key=lambda fact: hashlib.sha256(f"{self._job.seed}/replay/{fact.id}".encode()).digest())


def fresh_facts(release: Any) -> list[Fact]:
    """Facts of a release's source and relations of whose subjects none is in a split: nothing held, nothing learned.

    Raises:
        FthallError: the source is not here.
    """
    from fthall import facts as sources
    from fthall.answers import normalise

    used = {normalise(fact.subject) for split in Split for fact in release.splits[split]}
    found = sources.load(str(release.manifest["source"]["name"]), list(release.manifest["relations"]))
    return [fact for fact in found if normalise(fact.subject) not in used]


def _row(fact: Fact) -> dict[str, Any]:
    from dataclasses import asdict

    return {"prompt": ask(fact.question), "text": f" {fact.answers[0]}", "fact": asdict(fact)}
