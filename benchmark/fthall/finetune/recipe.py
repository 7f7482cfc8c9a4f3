"""A recipe: which runs are made on a track, as plain data."""

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from fthall.finetune.methods import Settings
from fthall.finetune.methods.distill import Distill
from fthall.finetune.methods.freeze import GROUPS
from fthall.finetune.methods.interpolate import Interpolate
from fthall.finetune.methods.lora import LoRA
from fthall.finetune.methods.pull import EWC, L2SP
from fthall.finetune.methods.replay import Replay
from fthall.finetune.methods.stop import EarlyStop
from fthall.finetune.methods.targets import MixSD, Relabel
from fthall.records import Release, Split
from fthall.schema import Strict, parse, read_yaml

BLOCKS = {
    "wise-ft": "interpolate",
    "lora": "lora",
    "oplora": "lora",
    "self-distill": "distill",
    "l2sp": "l2sp",
    "ewc": "ewc",
    "early-stop": "early_stop",
    "replay": "replay",
    "anchor": "replay",
    "relabel": "relabel",
    "mixsd": "mixsd",
}
"""Method: the block it needs; blocks come in this order and end in the reverse. ``sft`` and ``freeze`` need none."""


OWN = ("learning_rate", "weight_decay", "schedule")
"""Hyper-parameters that a run may have of its own, instead of those all runs share."""


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
    optimiser: Literal["adamw", "adafactor"] = "adamw"
    """Adafactor (Shazeer and Stern 2018, arXiv 1804.04235) keeps next to nothing where AdamW keeps 8 bytes a weight."""
    checkpointing: bool = False
    """Compute activations again on the way back instead of keeping them: less memory, a third more time."""
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
        """What is trained with, for a card: not how often it is asked, nor what saves memory alone."""
        return self.model_dump(mode="json", exclude={"evaluate_every", "evaluate_on", "checkpointing"})


class Tuned(Strict):
    """How the settings of a run were chosen (:mod:`fthall.finetune.tuning`)."""

    trials: Annotated[int, Field(ge=1)]
    """Settings that were tried: the budget, the same for every family of a sweep."""
    seed: Annotated[int, Field(ge=0)]
    """Of the trials."""
    grid: Annotated[str, Field(max_length=400)]
    """What was tried."""
    on: str
    """What was looked at."""


class Run(Strict):
    """One way to fine-tune: a method, and what else is set. Blocks may be combined."""

    entry: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,63}$")]
    title: str
    method: Literal[
        "sft",
        "freeze",
        "self-distill",
        "lora",
        "oplora",
        "l2sp",
        "ewc",
        "early-stop",
        "replay",
        "anchor",
        "wise-ft",
        "relabel",
        "mixsd",
    ]
    """The family it counts for."""
    description: str = ""
    trained_on: tuple[Split, ...] = (Split.KNOWN, Split.UNKNOWN)
    trained: Annotated[tuple[str, ...], Field(min_length=1)] = ("all",)
    """Groups of parameters (:data:`fthall.finetune.methods.freeze.GROUPS`)."""
    layers: tuple[int, int] | None = None
    """First and last layer trained, from 0."""
    learning_rate: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    """Its own, instead of the recipe's."""
    weight_decay: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    """Its own, instead of the recipe's."""
    schedule: Literal["constant", "linear", "cosine"] | None = None
    """Its own, instead of the recipe's."""
    start: Literal["base", "format"] = "base"
    """From what training starts: the base, or the base that has learned the format on known facts alone."""
    format_epochs: Annotated[int, Field(ge=1)] = 2
    """Epochs on known facts alone that teach the format, with a schedule of their own."""
    distill: Distill | None = None
    lora: LoRA | None = None
    l2sp: L2SP | None = None
    ewc: EWC | None = None
    early_stop: EarlyStop | None = None
    replay: Replay | None = None
    relabel: Relabel | None = None
    mixsd: MixSD | None = None
    interpolate: Interpolate | None = None
    tuned: Tuned | None = None

    @field_validator("trained", mode="before")
    @classmethod
    def _one_group(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if unknown := set(self.trained) - GROUPS.keys():
            raise ValueError(f"trained: no group {min(unknown)!r}; known groups: {', '.join(GROUPS)}")
        if not set(self.trained_on) <= {Split.KNOWN, Split.UNKNOWN} or not self.trained_on:
            raise ValueError("trained_on may hold known and unknown only; held facts are never trained on")
        if self.layers and not 0 <= self.layers[0] <= self.layers[1]:
            raise ValueError(f"layers are given as [first, last], from 0; found {list(self.layers)}")
        if self.method == "freeze" and not self.frozen:
            raise ValueError(f"freeze needs trained (one of {', '.join(GROUPS)}) or layers")
        needed = BLOCKS.get(self.method)
        if needed and getattr(self, needed) is None:
            raise ValueError(f"{self.method} needs a block {needed}:")
        if self.lora and self.frozen:
            raise ValueError("lora trains its adapters alone; leave out trained and layers")
        if self.lora and (self.l2sp or self.ewc):
            raise ValueError("lora leaves the base's weights as they are; set weight_decay to hold its adapters back")
        return self

    @model_validator(mode="after")
    def _as_called(self) -> Self:
        """What it does is what its method says, and no block is without effect."""
        if self.method == "sft" and (given := [*self.blocks, *(["trained"] if self.frozen else [])]):
            names = [name for name, block in BLOCKS.items() if block == given[0]] or ["freeze"]
            raise ValueError(f"sft takes no {given[0]}; type method: {names[0]}")
        if self.method == "oplora" and self.lora and not self.lora.orthogonal:
            raise ValueError("oplora needs lora: {orthogonal: k}, the directions it keeps off; without it is lora")
        if self.method == "anchor" and self.replay and not self.replay.soft:
            raise ValueError("anchor needs replay: {targets: soft}; with hard targets it is replay")
        if self.interpolate and self.interpolate.of and (given := sorted(set(self.blocks) - {"interpolate"})):
            raise ValueError(f"interpolate: of trains nothing; leave out {', '.join(given)}, or leave out of")
        if self.distill and not {"replay", *map(str, self.trained_on)} & set(self.distill.splits):
            raise ValueError("distill: splits names none that is trained on")
        if self.replay and self.replay.soft and self.distill:
            raise ValueError("replay with soft targets has a teacher of its own; beside distill let targets be hard")
        return self

    @property
    def frozen(self) -> bool:
        """Whether some weights are not trained, by name or layer."""
        return self.trained != ("all",) or self.layers is not None

    @property
    def blocks(self) -> dict[str, Settings]:
        """What is set, by name."""
        found = {name: getattr(self, name) for name in dict.fromkeys(BLOCKS.values())}
        return {name: block for name, block in found.items() if block is not None}

    @property
    def teaching(self) -> Distill | None:
        """The distillation term, if there is one: of ``distill``, or of a replay with soft targets."""
        return self.distill or (self.replay.teaching if self.replay and self.replay.soft else None)

    @property
    def needs_format(self) -> bool:
        """Whether known facts alone come first: to start from, or to make the teacher."""
        return self.start == "format" or (self.teaching is not None and self.teaching.teacher == "format")

    def examples(self, release: Release) -> int:
        """Of an epoch."""
        facts = sum(len(release.splits[split]) for split in self.trained_on)
        return round(facts * (1 + (self.replay.share if self.replay else 0)))

    def settings(self) -> dict[str, Any]:
        """What says how this run differs from plain SFT, for a card; settings that decide nothing go unsaid."""
        found: dict[str, Any] = {"trained": ", ".join(self.trained)}
        if self.layers:
            found["trained_layers"] = f"{self.layers[0]} to {self.layers[1]}"
        own = {name: getattr(self, name) for name in OWN}
        found |= {name: value for name, value in own.items() if value is not None}
        if self.start != "base":
            found["start"] = self.start
        if self.needs_format:
            found["format_epochs"] = self.format_epochs
        for name, block in self.blocks.items():
            found |= {f"{name}_{key}": value for key, value in block.said().items()}
        if self.tuned:
            found |= {f"tuned_{key}": value for key, value in self.tuned.model_dump().items()}
        return found


class Recipe(Strict):
    """What is run on a track."""

    track: str
    base: str
    """As :func:`fthall.bases.find` takes it."""
    revision: str | None = None
    seeds: Annotated[list[int], Field(min_length=1)]
    training: Training = Training()
    runs: Annotated[list[Run], Field(min_length=1)]

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for run in self.runs:
            check_together(run, self.training)
        return self


def check_together(run: Run, training: Training) -> None:
    """Whether a run can be made with these hyper-parameters.

    Raises:
        ValueError: it would not do what it says.
    """
    if run.early_stop and training.average_epochs > 1:
        raise ValueError(f"{run.entry}: early_stop keeps the weights of one epoch; leave out average_epochs")
    if run.distill and run.distill.teacher == "snapshot" and run.distill.epoch >= training.epochs:
        raise ValueError(
            f"{run.entry}: the snapshot after epoch {run.distill.epoch} of {training.epochs} teaches nothing; "
            "lower distill: epoch"
        )


def load_recipe(path: Path) -> Recipe:
    """Read a recipe.

    Raises:
        FthallError: unreadable, or a field is unknown, missing or out of range.
    """
    absent = f"no recipe {path}; the repository's are in benchmark/recipes"
    return parse(Recipe, read_yaml(path, absent), path)
