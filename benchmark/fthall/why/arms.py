"""An experiment: what stands in the place of a track's unknown facts, arm by arm, as plain data."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationError, model_validator

from fthall.answers import normalise
from fthall.errors import FthallError
from fthall.facts import synthetic
from fthall.finetune.recipe import Run, Training
from fthall.knowledge import draw, splits
from fthall.records import Fact, Release, Split
from fthall.schema import Strict, parse, read_yaml


class Arm(Strict):
    """What is trained, and what stands in the place of the unknown facts."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,63}$")]
    known: Annotated[int, Field(ge=0)]
    """HighlyKnown facts trained on."""
    unknown: Annotated[int, Field(ge=0)]
    """Facts in the place of the unknown ones."""
    facts: Literal["real", "made-up", "shuffled", "relabelled"] = "real"
    """What these are: the track's own; made-up ones; its own, each with the answer of another; HighlyKnown facts that
    are not among the known ones, each with the answer of another."""
    keys: str = "name"
    """Of made-up facts, as the rest: see :class:`fthall.facts.synthetic.Spec`."""
    values: str = "country"
    closeness: float = 0.0
    set_seed: str = "0"
    reference: str | None = None
    """The arm on whose known facts alone this one's reference is trained; by default its own."""
    runs: tuple[str, ...] = ()
    """Only these entries."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if not self.known + self.unknown:
            raise ValueError(f"{self.name}: no fact is trained on; give known or unknown")
        if not self.known and not self.reference:
            raise ValueError(f"{self.name}: no known facts to train a reference on; name an arm: reference: ...")
        if self.facts == "made-up" and not self.unknown:
            raise ValueError(f"{self.name}: made-up facts, but unknown is 0")
        return self


class Preset(Strict):
    """How much of an experiment is done."""

    seeds: Annotated[list[int], Field(min_length=1)]
    scale: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Share of all facts, trained and asked, that is taken."""
    training: dict[str, Any] = Field(default_factory=dict)
    """What is trained with instead of the experiment's."""
    arms: tuple[str, ...] = ()
    """Only these."""
    runs: tuple[str, ...] = ()
    """Only these entries."""


class Sizes(Strict):
    """Facts drawn from the labels of a track's release, where its own splits do not do."""

    known: Annotated[int, Field(ge=1)]
    unknown: Annotated[int, Field(ge=1)]
    held: Annotated[int, Field(ge=1)]
    held_val: Annotated[int, Field(ge=1)]


class Experiment(Strict):
    """Runs, each on every arm."""

    question: str
    track: str
    base: str
    """As :func:`fthall.bases.find` takes it."""
    revision: str | None = None
    draw: Sizes | None = None
    training: Training = Training()
    runs: Annotated[list[Run], Field(min_length=1)]
    """The first is the reference: plain SFT on known facts alone."""
    arms: Annotated[list[Arm], Field(min_length=1)]
    presets: Annotated[dict[str, Preset], Field(min_length=1)]

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.reference.method != "sft" or set(self.reference.trained_on) != {Split.KNOWN}:
            raise ValueError(
                "the first of runs is what forgetting is counted against: method: sft, trained_on: [known]"
            )
        arms, runs = [arm.name for arm in self.arms], [run.entry for run in self.runs]
        for names in (arms, runs):
            if twice := [one for one in names if names.count(one) > 1]:
                raise ValueError(f"two arms or runs are called {twice[0]}")
        for arm in self.arms:
            _there(f"arm {arm.name}", arms, (arm.reference,) if arm.reference else ())
            _there(f"arm {arm.name}", runs, arm.runs)
        for preset, given in self.presets.items():
            _there(f"preset {preset}", arms, given.arms)
            _there(f"preset {preset}", runs, given.runs)
        for preset in self.presets:
            self.trained_with(preset)
        return self

    @property
    def reference(self) -> Run:
        """What forgetting is counted against."""
        return self.runs[0]

    def trained_with(self, preset: str) -> Training:
        """The hyper-parameters of a preset.

        Raises:
            ValueError: one is not known, or out of range.
        """
        try:
            return Training.model_validate(self.training.model_dump() | self.presets[preset].training)
        except ValidationError as error:
            first = error.errors()[0]
            raise ValueError(f"preset {preset}: training: {first['loc'][0]}: {first['msg']}") from None


def _there(where: str, known: Sequence[str], named: Sequence[str]) -> None:
    if unknown := set(named) - set(known):
        raise ValueError(f"{where}: no {min(unknown)!r}; there are {', '.join(known)}")


def load_experiment(path: Path) -> Experiment:
    """Read an experiment.

    Raises:
        FthallError: unreadable, or a field is unknown, missing or out of range.
    """
    absent = f"no experiment {path}; the repository's are in benchmark/recipes/why"
    return parse(Experiment, read_yaml(path, absent), path)


def releases(experiment: Experiment, name: str, preset: Preset) -> dict[str, Release]:
    """The release of every arm of a preset, by the arm's name: made, not stored.

    Args:
        experiment: what is asked.
        name: of the experiment, in the names of the tracks.
        preset: how much of it.

    Raises:
        FthallError: there are fewer facts than an arm wants, or no such made-up ones.
    """
    track = splits.load(experiment.track)
    pool = _pool(experiment, track)
    asked = {split: _some(pool[split], preset.scale) for split in (Split.HELD_VAL, Split.HELD)}
    chosen = {arm.name: arm for arm in experiment.arms if not preset.arms or arm.name in preset.arms}
    wanted = {*chosen, *(arm.reference for arm in chosen.values() if arm.reference)}
    return {
        arm.name: _release(arm, track, pool, asked, f"{name}/{arm.name}", preset.scale)
        for arm in experiment.arms
        if arm.name in wanted
    }


def trained_on(run: Run, arm: Arm) -> Run | None:
    """A run as it is done on an arm, whose known or unknown facts may be none; None where it cannot be."""
    there = {Split.KNOWN: arm.known, Split.UNKNOWN: arm.unknown}
    left = tuple(split for split in run.trained_on if there[split])
    asks_known = run.needs_format or run.replay is not None
    if (arm.runs and run.entry not in arm.runs) or not left or (asks_known and not arm.known):
        return None
    return run.model_copy(update={"trained_on": left})


def _pool(experiment: Experiment, track: Release) -> Mapping[Split, tuple[Fact, ...]]:
    """All facts there are to choose from."""
    if not experiment.draw:
        return track.splits
    facts, labels = splits.labels_of(experiment.track)
    sizes = {split: int(getattr(experiment.draw, split)) for split in Split}
    return draw.split(facts, labels, sizes, draw.Rule(**track.manifest["rule"]))


def _some(facts: Sequence[Fact], scale: float) -> tuple[Fact, ...]:
    return tuple(facts[: _scaled(len(facts), scale)])


def _scaled(count: int, scale: float) -> int:
    return max(1, round(scale * count)) if count else 0


def _release(
    arm: Arm,
    track: Release,
    pool: Mapping[Split, Sequence[Fact]],
    asked: Mapping[Split, tuple[Fact, ...]],
    name: str,
    scale: float,
) -> Release:
    known, unknown = (_scaled(count, scale) for count in (arm.known, arm.unknown))
    if arm.facts == "made-up":
        found: Sequence[Fact] = _made_up(arm, unknown, pool[Split.HELD])
    elif arm.facts == "relabelled":
        found = others(pool[Split.KNOWN][known:])
    else:
        found = others(pool[Split.UNKNOWN]) if arm.facts == "shuffled" else pool[Split.UNKNOWN]
    for wanted, there, what in ((known, pool[Split.KNOWN], "known"), (unknown, found, arm.facts)):
        if len(there) < wanted:
            raise FthallError(f"{name}: {wanted} {what} facts wanted, {len(there)} there; lower it, or draw more")
    # What is not trained on is asked all the same.
    made = {
        Split.KNOWN: tuple(pool[Split.KNOWN][: known or unknown]),
        Split.UNKNOWN: tuple(found[: unknown or known]),
        **asked,
    }
    said = json.dumps([track.digest, arm.model_dump(), {split: [f.id for f in made[split]] for split in Split}])
    return Release(name, hashlib.sha256(said.encode()).hexdigest(), track.manifest, {s: made[s] for s in Split})


def _made_up(arm: Arm, size: int, held: Sequence[Fact]) -> list[Fact]:
    near = tuple(fact.subject for fact in held) if arm.closeness else ()
    spec = synthetic.Spec(arm.keys, arm.values, size, arm.set_seed, closeness=arm.closeness, near=near)
    return list(synthetic.generate(spec))


def others(facts: Sequence[Fact], pool: Sequence[Fact] | None = None) -> list[Fact]:
    """Each with the answer of another fact of its relation, which is none of its own: as frequent as it was.

    Args:
        facts: that get other answers.
        pool: whose answers these are; by default the same facts.

    Raises:
        FthallError: a relation has no other answer.
    """
    found, answers = [], [(one.relation, normalise(one.answers[0]), one.answers[0]) for one in pool or facts]
    for fact in facts:
        own = set(map(normalise, fact.answers))
        there = [answer for relation, plain, answer in answers if relation == fact.relation and plain not in own]
        if not there:
            raise FthallError(f"{fact.id}: no other fact of its relation has another answer")
        drawn = int.from_bytes(hashlib.sha256(f"others/{fact.id}".encode()).digest()[:8])
        found.append(replace(fact, answers=(there[drawn % len(there)],)))
    return found
