"""Early stopping: the weights of the epoch that is best on held-out facts set aside for choosing.

1. After each evaluation look at the accuracy on ``held_val``, never on ``held``; or at its harmonic mean with that on
   the new facts, by which sweeps choose: old facts alone are best kept by who has learned nothing.
2. Keep the weights while it rises; stop when it has not for some epochs.
3. The result is what was kept; later epochs are not reported.

Sensible: a patience of 1 to 3; as many as there are epochs takes the best of all. Where it stops early the learning
rate has not come to rest; give the run fewer epochs instead if it should.
"""

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from fthall.finetune.methods import Part, Settings, harmonic
from fthall.records import EpochPoint

if TYPE_CHECKING:
    from fthall.finetune.job import Job
    from fthall.finetune.loop.trainer import FactTrainer


class EarlyStop(Settings):
    """``early_stop:`` of a run."""

    patience: Annotated[int, Field(ge=1)] = 1
    """Evaluations without a rise after which training stops."""
    by: Literal["held_val", "both"] = "held_val"
    """What has to rise: old facts kept, or their harmonic mean with the new facts learned."""

    def part(self, job: "Job") -> "Stopping":
        """See :class:`fthall.finetune.methods.Settings`."""
        return Stopping(self, job)


class Stopping(Part):
    """What has been best so far, in one training."""

    def __init__(self, settings: EarlyStop, job: "Job") -> None:
        self._how, self._job = settings, job
        self._kept = job.folder / "best.safetensors"
        self._trainer: FactTrainer | None = None

    def attach(self, trainer: "FactTrainer") -> None:
        """Its weights are kept."""
        self._trainer = trainer

    def evaluated(self, point: EpochPoint) -> None:
        """The best weights so far are kept."""
        from safetensors.torch import save_file

        if self._best()[0] == point.epoch and self._trainer is not None:
            save_file({name: value.contiguous() for name, value in self._trainer.weights().items()}, self._kept)

    def stops(self) -> bool:
        """When there has been no rise for long enough."""
        return self._best()[1] >= self._how.patience

    def finish(self) -> int | None:
        """The weights that were kept are the result."""
        from safetensors.torch import load_file

        if not self._kept.exists():
            return None
        best = load_file(self._kept, device=str(self._job.model.device))
        for name, parameter in self._job.model.named_parameters():
            parameter.data.copy_(best[name])
        return self._best()[0]

    def _best(self) -> tuple[int, int]:
        """(epoch that was best, the first of equals; evaluations since then)."""
        from fthall.finetune.folder import read_trajectory

        points = [p for p in read_trajectory(self._job.folder) if p.epoch > 0 and p.held_val is not None]
        if not points:
            return 0, 0
        best = max(range(len(points)), key=lambda i: (self._reached(points[i]), -i))
        return round(points[best].epoch), len(points) - 1 - best

    def _reached(self, point: EpochPoint) -> float:
        kept = point.held_val or 0.0
        return kept if self._how.by == "held_val" else harmonic(point.unknown or 0.0, kept)
