"""Ways to fine-tune, as data: a recipe's runs, and which parameters each of them trains."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import Field, model_validator

from fthall.errors import FthallError
from fthall.records import Split
from fthall.schema import Strict, parse, read_yaml

if TYPE_CHECKING:
    import torch

# Parameter names of the groups, by the names transformers gives the submodules of its decoder layers.
GROUPS: dict[str, tuple[str, ...]] = {
    "all": ("",),
    "attention": (".self_attn.", ".attn.", ".attention."),
    "ffn": (".mlp.", ".feed_forward.", ".ffn."),
}
"""Group: parts of parameter names. Freezing is training one group only; embeddings and norms are then frozen too."""


class Training(Strict):
    """Hyper-parameters every run of a recipe shares."""

    learning_rate: Annotated[float, Field(ge=0)] = 5e-5
    """AdamW, constant."""
    epochs: Annotated[int, Field(ge=1)] = 6
    batch_size: Annotated[int, Field(ge=1)] = 16
    """Examples an optimiser step on one device."""
    accumulation: Annotated[int, Field(ge=1)] = 1
    """Batches an optimiser step."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    precision: Literal["bf16", "fp32"] = "bf16"
    """Of forward and backward passes; weights and optimiser state are always float32."""


class Run(Strict):
    """One way to fine-tune."""

    entry: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,63}$")]
    title: str
    method: Literal["sft", "freeze", "self-distill"]
    description: str = ""
    trained_on: tuple[Split, ...] = (Split.KNOWN, Split.UNKNOWN)
    trained: Literal["all", "attention", "ffn"] = "all"
    distill_weight: Annotated[float, Field(ge=0)] = 0.0
    """λ of the distillation term."""
    distill_temperature: Annotated[float, Field(gt=0)] = 0.5
    """τ of the distillation term."""
    teacher_epoch: Annotated[int, Field(ge=1)] = 1
    """The teacher is a snapshot after this many epochs; plain SFT until then."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.method == "freeze" and self.trained == "all":
            raise ValueError("freeze needs trained: attention or ffn")
        if self.method == "self-distill" and self.distill_weight == 0:
            raise ValueError("self-distill needs a distill_weight above 0")
        if not set(self.trained_on) <= {Split.KNOWN, Split.UNKNOWN} or not self.trained_on:
            raise ValueError("trained_on may hold known and unknown only; held facts are never trained on")
        return self


class Recipe(Strict):
    """What is run on a track."""

    track: str
    base: str
    """As :func:`fthall.bases.find` takes it."""
    revision: str | None = None
    seeds: Annotated[list[int], Field(min_length=1)]
    training: Training = Training()
    runs: Annotated[list[Run], Field(min_length=1)]


def load_recipe(path: Path) -> Recipe:
    """Read a recipe.

    Raises:
        FthallError: unreadable, or a field is unknown, missing or out of range.
    """
    absent = f"no recipe {path}; the repository's are in benchmark/recipes"
    return parse(Recipe, read_yaml(path, absent), path)


def choose_parameters(model: "torch.nn.Module", group: str) -> int:
    """Let gradients into one group of parameters only; return how many numbers that trains.

    Raises:
        FthallError: unknown group, or the model has no such parameters.
    """
    if group not in GROUPS:
        raise FthallError(f"unknown parameter group {group!r}; known groups: {', '.join(GROUPS)}")
    trained = 0
    for name, parameter in model.named_parameters():
        chosen = any(part in f".{name}" for part in GROUPS[group])
        parameter.requires_grad_(chosen)
        trained += parameter.numel() if chosen else 0
    if not trained:
        raise FthallError(f"{type(model).__name__} has no parameters of the group {group!r} under a name fthall knows")
    return trained
