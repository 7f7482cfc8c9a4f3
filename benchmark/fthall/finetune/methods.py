"""Ways to fine-tune, as data: a recipe's runs, and which parameters each of them trains."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

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

    learning_rate: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 5e-5
    """Of AdamW, at its highest."""
    schedule: Literal["constant", "linear", "cosine"] = "linear"
    """What becomes of the learning rate after the warm-up: it stays, or goes to zero by the last step."""
    warmup: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """Share of the steps in which the learning rate rises from zero."""
    epochs: Annotated[int, Field(ge=1)] = 6
    batch_size: Annotated[int, Field(ge=1)] = 16
    """Most examples a batch on one device; an epoch's batches are as equal as can be."""
    accumulation: Annotated[int, Field(ge=1)] = 1
    """Batches an optimiser step."""
    weight_decay: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    average_epochs: Annotated[int, Field(ge=1)] = 1
    """The result is the mean of the weights after so many last epochs; 1: the weights after the last."""
    precision: Literal["bf16", "fp32"] = "bf16"
    """Of forward and backward passes; weights and optimiser state are always float32."""
    evaluate_every: Annotated[int, Field(ge=1)] = 1
    """Epochs between evaluations; there is always one before the first epoch and one after the last."""
    evaluate_on: tuple[Split, ...] = tuple(Split)
    """What is asked between the first evaluation and the last, which ask everything: at least unknown and held."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if not {Split.UNKNOWN, Split.HELD} <= set(self.evaluate_on):
            raise ValueError("evaluate_on needs unknown and held: what is learned and what is forgotten")
        if self.average_epochs > self.epochs:
            raise ValueError(f"average_epochs is {self.average_epochs}, but there are only {self.epochs} epochs")
        return self

    def settings(self) -> dict[str, Any]:
        """What is trained with, for a card: not how often it is asked."""
        return self.model_dump(mode="json", exclude={"evaluate_every", "evaluate_on"})


class Run(Strict):
    """One way to fine-tune."""

    entry: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,63}$")]
    title: str
    method: Literal["sft", "freeze", "self-distill"]
    description: str = ""
    trained_on: tuple[Split, ...] = (Split.KNOWN, Split.UNKNOWN)
    trained: Literal["all", "attention", "ffn"] = "all"
    learning_rate: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    """Its own, instead of the recipe's."""
    start: Literal["base", "format"] = "base"
    """From what training starts: the base, or the base that has learned the format on known facts alone."""
    format_epochs: Annotated[int, Field(ge=1)] = 2
    """Epochs on known facts alone that teach the format, with a schedule of their own."""
    distill_weight: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    """λ of the distillation term."""
    distill_temperature: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 0.5
    """τ of the distillation term."""
    teacher: Literal["snapshot", "format", "few-shot", "ema"] = "snapshot"
    """Who teaches: the student as it was after ``teacher_epoch`` (the paper's); the base that has learned the format on
    known facts alone; the base behind few-shot exemplars; a moving average of the student."""
    teacher_epoch: Annotated[int, Field(ge=1)] = 1
    """The snapshot is taken after this many epochs; plain SFT until then."""
    teacher_shots: Annotated[int, Field(ge=1)] = 3
    """Exemplars of the few-shot teacher, known facts of the same relation."""
    teacher_decay: Annotated[float, Field(ge=0, lt=1)] = 0.99
    """What the moving average keeps of itself each step."""
    distill_positions: Literal["all", "prompt", "answer"] = "all"
    """Where teacher and student are compared: at every token that is predicted, or at those of one part."""
    distill_on: tuple[Split, ...] = (Split.KNOWN, Split.UNKNOWN)
    """On which of the trained splits."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.method == "freeze" and self.trained == "all":
            raise ValueError("freeze needs trained: attention or ffn")
        if self.method == "self-distill" and self.distill_weight == 0:
            raise ValueError("self-distill needs a distill_weight above 0")
        for name in ("trained_on", "distill_on"):
            if not set(found := getattr(self, name)) <= {Split.KNOWN, Split.UNKNOWN} or not found:
                raise ValueError(f"{name} may hold known and unknown only; held facts are never trained on")
        if not set(self.distill_on) & set(self.trained_on):
            raise ValueError("distill_on names no split that is trained on")
        return self

    @property
    def needs_format(self) -> bool:
        """Whether known facts alone come first: to start from, or to make the teacher."""
        return self.start == "format" or (self.distill_weight > 0 and self.teacher == "format")

    def settings(self) -> dict[str, Any]:
        """What says how this run differs from plain SFT, for a card; settings that decide nothing go unsaid."""
        names = ["trained"]
        names += ["learning_rate"] if self.learning_rate is not None else []
        names += ["start"] if self.start != "base" else []
        names += ["format_epochs"] if self.needs_format else []
        if self.distill_weight:
            names += ["distill_weight", "distill_temperature", "teacher", "distill_positions", "distill_on"]
            own = {"snapshot": "teacher_epoch", "few-shot": "teacher_shots", "ema": "teacher_decay"}
            names += [own[self.teacher]] if self.teacher in own else []
        said = self.model_dump(mode="json")
        return {name: ", ".join(said[name]) if isinstance(said[name], list) else said[name] for name in names}


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
