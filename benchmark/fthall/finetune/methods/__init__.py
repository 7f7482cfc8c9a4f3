"""Ways to fine-tune, one file a family: what a recipe may set (:class:`Settings`), and what that does (:class:`Part`).

A run may have several parts: replay beside self-distillation, self-distillation with a pull to where it starts. Each
does its own at the moments a :class:`Part` names and knows nothing of the others. No torch is imported here: a recipe
is read without it.
"""

from typing import TYPE_CHECKING, Any

from fthall.records import EpochPoint
from fthall.schema import Strict

if TYPE_CHECKING:
    from fthall.finetune.job import Job
    from fthall.finetune.loop.data import Completion
    from fthall.finetune.loop.trainer import FactTrainer

__all__ = ["Part", "Settings", "harmonic"]


def harmonic(learned: float, kept: float) -> float:
    """What settings are chosen by: the harmonic mean of two accuracies, 0 if either is."""
    return 2 * learned * kept / (learned + kept) if learned and kept else 0.0


class Settings(Strict):
    """What a recipe says of a family."""

    def part(self, job: "Job") -> "Part":
        """What does it in one training."""
        raise NotImplementedError

    def said(self) -> dict[str, Any]:
        """The settings that decide something, for a card; lists as text."""
        found = self.model_dump(mode="json", exclude_none=True)
        return {name: ", ".join(map(str, v)) if isinstance(v, list) else v for name, v in found.items()}


class Part:
    """What a family does in one training. Each method is one moment; by default nothing happens."""

    def completions(self, given: "list[Completion]") -> "list[Completion]":
        """Before anything else, the model untouched: what is trained on."""
        return given

    def before(self, epochs_done: int) -> None:
        """The model is the base. After a kill ``epochs_done`` epochs lie behind, and it gets its weights back later."""

    def begin(self, epochs_done: int) -> None:
        """The model is what training starts from; it may be given other modules, and other parameters to train."""

    def attach(self, trainer: "FactTrainer") -> None:
        """The trainer is there, with its optimiser to come."""

    def after_step(self, rate: float) -> None:
        """The weights have moved, at this learning rate."""

    def after_epoch(self, epoch: int) -> None:
        """An epoch is over and not yet evaluated."""

    def evaluated(self, point: EpochPoint) -> None:
        """There is another point of the trajectory."""

    def stops(self) -> bool:
        """Whether training stops, by the trajectory so far."""
        return False

    def finish(self) -> int | None:
        """Training is over, weights are float32: make the result. The epoch it is of, if not the last."""
        return None
