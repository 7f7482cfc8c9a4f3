"""Self-distillation: learn new facts, held to the answers of a teacher that still has the old ones.

1. Make a teacher: a model that knows the format and has lost nothing (or the paper's, the student after an epoch).
2. Keep its final hidden states on the training examples; they never change.
3. Loss: ``CE + λ τ² KL(teacher ‖ student)``, both softmaxes at τ, the KL a mean over the chosen positions.
4. With the teacher "snapshot" the first epochs are plain SFT; with "ema" the teacher follows the student.
5. λ = 0 is SFT, to the bit; a student held to itself has a KL of 0.

Source: arXiv 2604.15574 (λ = 1, τ = 0.5, all positions, teacher after epoch 1), as others' notes report it; its
ancestor is learning without forgetting (Li and Hoiem 2017, arXiv 1606.09282). Sensible: λ 0.3 to 3, τ 0.5 to 2.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from fthall.errors import FthallError
from fthall.finetune.methods import Part, Settings
from fthall.prompts import context_for, draw_contexts, few_shot
from fthall.records import Fact, Split

if TYPE_CHECKING:
    from fthall.finetune.job import Job
    from fthall.finetune.loop.data import Completion, Example
    from fthall.finetune.loop.teacher import Average, Frozen
    from fthall.finetune.loop.trainer import FactTrainer

TAUGHT_TOGETHER = 32
"""Examples in a batch when a teacher is asked once and for all."""


class Distill(Settings):
    """``distill:`` of a run."""

    weight: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 1.0
    """λ."""
    temperature: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 0.5
    """τ."""
    teacher: Literal["snapshot", "format", "base", "few-shot", "ema"] = "snapshot"
    """Who teaches: the student as it was after some epochs (the paper's); the base that has learned the format on known
    facts alone; the untouched base, as it is or behind few-shot exemplars; a moving average of the student."""
    epoch: Annotated[int, Field(ge=1)] = 1
    """The snapshot is taken after this many; plain SFT until then."""
    shots: Annotated[int, Field(ge=1)] = 3
    """Exemplars of the few-shot teacher, known facts of the same relation."""
    decay: Annotated[float, Field(ge=0, lt=1)] = 0.99
    """What the moving average keeps of itself each step."""
    positions: Literal["all", "prompt", "answer"] = "all"
    """Where teacher and student are compared: at every token that is predicted, or at those of one part."""
    splits: tuple[Literal["known", "unknown", "replay"], ...] = ("known", "unknown")
    """On which examples."""

    def part(self, job: "Job") -> "Distilling":
        """See :class:`fthall.finetune.methods.Settings`."""
        return Distilling(self, job)

    def said(self) -> dict[str, Any]:
        """See :class:`fthall.finetune.methods.Settings`."""
        own = {"snapshot": "epoch", "few-shot": "shots", "ema": "decay"}
        silent = {name for teacher, name in own.items() if teacher != self.teacher}
        return {name: value for name, value in super().said().items() if name not in silent}

    def counted(self, completions: "Sequence[Completion]") -> frozenset[int] | None:
        """Numbers of the examples the term is taken over; None for all."""
        chosen = frozenset(number for number, one in enumerate(completions) if one.source in self.splits)
        return None if len(chosen) == len(completions) else chosen


class Distilling(Part):
    """The teacher of one training."""

    def __init__(self, settings: Distill, job: "Job") -> None:
        self._how, self._job = settings, job
        self._kept = job.folder / "teacher.safetensors"
        self._teacher: Frozen | Average | None = None
        self._trainer: FactTrainer | None = None

    def before(self, epochs_done: int) -> None:
        """A teacher that is the base is asked now."""
        import torch

        job, contexts = self._job, None
        if self._how.teacher == "few-shot":
            job.examples, contexts = self._contexts()
        if epochs_done:
            return
        if self._how.teacher in ("few-shot", "base"):
            in_bf16 = job.training.precision == "bf16"
            with torch.autocast(job.model.device.type, torch.bfloat16, enabled=in_bf16):
                self._teacher = job.states(contexts)
            self._teacher.save(self._kept)

    def begin(self, epochs_done: int) -> None:
        """One that has learned the format has been asked by now; a moving average begins."""
        from fthall.finetune.loop.teacher import Average, Frozen

        job = self._job
        if self._how.teacher == "ema":
            self._teacher = Average(job.model, self._how.decay)
            if epochs_done:
                self._teacher.restore(job.of_epoch("teacher", epochs_done))
        elif epochs_done and self._kept.exists():
            self._teacher = Frozen.load(self._kept, job.model.device)
        elif self._how.teacher == "format" and not epochs_done:
            self._teacher = job.format_states
            if self._teacher is not None:
                self._teacher.save(self._kept)

    def attach(self, trainer: "FactTrainer") -> None:
        """It teaches."""
        self._trainer = trainer
        trainer.teacher = self._teacher

    def after_step(self, rate: float) -> None:
        """A moving average follows."""
        if self._trainer is not None and self._trainer.teacher is not None:
            self._trainer.teacher.update(self._trainer.weights().values())

    def after_epoch(self, epoch: int) -> None:
        """A snapshot is taken; a moving average is kept for a resumed run."""
        from fthall.finetune.loop.teacher import Average

        trainer = self._trainer
        if trainer is None:
            return
        if self._how.teacher == "snapshot" and epoch == self._how.epoch:
            with trainer.accelerator.autocast():
                trainer.teacher = self._job.states()
            trainer.teacher.save(self._kept)
        if isinstance(trainer.teacher, Average):
            trainer.teacher.save(self._job.of_epoch("teacher", epoch))

    def _contexts(self) -> "tuple[list[Example], list[list[int]]]":
        """The examples, by the exemplars they are shown behind, and the tokens of these: known facts of their relation.

        Raises:
            FthallError: there are too few.
        """
        job = self._job
        pool: dict[str, list[Fact]] = {one.fact.relation: [] for one in job.completions if one.fact}
        for fact in job.release.splits[Split.KNOWN]:
            if fact.relation in pool:
                pool[fact.relation].append(fact)
        try:
            drawn = draw_contexts(pool, 1, self._how.shots, job.seed)
        except ValueError as error:
            raise FthallError(f"the few-shot teacher lacks known facts: {error}; lower distill: shots") from None
        shown = [
            few_shot(context_for(one.fact, drawn[one.fact.relation][0])) if one.fact else "" for one in job.completions
        ]
        tokens = {text: job.tokenizer(text, add_special_tokens=False).input_ids for text in set(shown)}
        apart = [replace(example, family=text) for example, text in zip(job.examples, shown, strict=True)]
        return apart, [tokens[text] for text in shown]
