"""WiSE-FT: between the base and what fine-tuning made of it.

1. Take a finished run (``of``) and the base it came from; without ``of``, fine-tune first.
2. Weights: ``(1 - α) base + α fine-tuned``, all of them, float32.
3. One run gives as many points as one asks, with nothing trained: α from 0, the base, to 1, the run itself.

Source: Wortsman et al. 2022, arXiv 2109.01903. Sensible: α 0.3 to 0.95; the base has not learned the format, so small
α answer in no format at all.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from fthall.errors import FthallError
from fthall.finetune.methods import Part, Settings

if TYPE_CHECKING:
    from fthall.finetune.job import Job


class Interpolate(Settings):
    """``interpolate:`` of a run."""

    of: str | None = None
    """The entry whose checkpoint is taken, of the same seed; None: what this run itself trains."""
    weight: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] = 0.8
    """α."""

    def part(self, job: "Job") -> "Interpolating":
        """See :class:`fthall.finetune.methods.Settings`."""
        return Interpolating(self.weight, job)


class Interpolating(Part):
    """What one training made, brought back part of the way."""

    def __init__(self, weight: float, job: "Job") -> None:
        self._weight, self._job = weight, job
        self._base: dict[str, Any] = {}

    def before(self, epochs_done: int) -> None:
        """Remember the base."""
        self._base = {name: value.detach().clone() for name, value in self._job.model.named_parameters()}

    def finish(self) -> None:
        """The result lies between the base and what was trained."""
        interpolate(self._job.model, self._base, 1 - self._weight)


def read_weights(checkpoint: Path) -> dict[str, Any]:
    """The tensors of a checkpoint, by name.

    Raises:
        FthallError: there is no such checkpoint.
    """
    from safetensors.torch import load_file

    files = sorted(checkpoint.glob("*.safetensors"))
    if not files:
        raise FthallError(
            f"no checkpoint {checkpoint} to interpolate with; run {checkpoint.parent.name} first, "
            "without --discard-checkpoints"
        )
    return {name: value for file in files for name, value in load_file(file).items()}


def interpolate(model: Any, there: dict[str, Any], weight: float) -> None:
    """Move a model, in place, from its own weights towards others.

    Raises:
        FthallError: they are of another model.
    """
    for name, parameter in model.named_parameters():
        other = there.get(name)
        if other is None or other.shape != parameter.shape:
            raise FthallError(f"cannot interpolate with another model: {name} is missing or has another shape")
        parameter.data.lerp_(other.to(parameter), weight)
