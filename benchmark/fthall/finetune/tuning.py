"""Fair tuning: every family gets as many trials as any other, the learning rate always among what is tried.

A sweep says of each family which settings are tried (a grid). Each is trained once, with a seed that no published run
has; the best is what has the highest harmonic mean of accuracy on ``held_val``, old facts set aside for choosing, and
on ``unknown``, the new facts that were to be learned. ``held`` is never looked at. What comes out is a recipe: the
chosen settings, each with the budget it was chosen with; and a file of all trials, from which a sweep can go on.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Self

import yaml
from pydantic import Field, ValidationError, model_validator

from fthall.errors import FthallError
from fthall.files import read_json
from fthall.finetune.methods import harmonic
from fthall.finetune.recipe import Run, Training, Tuned, check_together
from fthall.schema import Strict, parse, read_yaml

CHOSEN_ON = "held_val and unknown, harmonic mean"


class Family(Run):
    """A run, and which of its settings are tried."""

    grid: Annotated[dict[str, Annotated[list[Any], Field(min_length=1)]], Field(min_length=1)]
    """Setting, with a dot before what stands in a block (``lora.rank``), to its values; all combinations are tried."""

    @model_validator(mode="before")
    @classmethod
    def _blocks_of_the_grid(cls, given: Any) -> Any:
        """A block whose settings are tried need not be written besides."""
        if not isinstance(given, dict) or not isinstance(grid := given.get("grid"), dict):
            return given
        blocks = {str(setting).rpartition(".")[0] for setting in grid} - {""}
        return {**{block: {} for block in blocks}, **given}

    @model_validator(mode="after")
    def _as_called(self) -> Self:
        """Its trials are, each with what the grid gives it."""
        return self

    @model_validator(mode="after")
    def _every_trial_is_a_run(self) -> Self:
        if len(set(map(str, self.grid.get("learning_rate", [])))) < 2:
            raise ValueError(f"{self.entry}: the grid must try learning rates, too: learning_rate: [2.0e-5, 5.0e-5]")
        self.trials()
        return self

    def trials(self) -> list[Run]:
        """One run a combination, ``<entry>-1`` first; the last setting changes fastest.

        Raises:
            ValueError: a setting is not known, or out of range.
        """
        plain = self.model_dump(exclude={"grid"}, exclude_unset=True)
        runs = []
        for number, values in enumerate(itertools.product(*self.grid.values()), 1):
            given: dict[str, Any] = {**plain, "entry": f"{self.entry}-{number}"}
            for setting, value in zip(self.grid, values, strict=True):
                block, _, name = setting.rpartition(".")
                if block:
                    given[block] = {**given.get(block, {}), name: value}
                else:
                    given[name] = value
            try:
                runs.append(Run.model_validate(given))
            except ValidationError as error:
                first = error.errors()[0]
                where = ".".join(map(str, first["loc"]))
                raise ValueError(f"{self.entry}: grid: {where}: {first['msg']} (found {first['input']!r})") from None
        return runs

    def chosen(self, trial: Run, tuned: Tuned) -> Run:
        """The run with a trial's settings, under this family's name."""
        return trial.model_copy(update={"entry": self.entry, "tuned": tuned})

    def at_edge(self, trial: Run) -> dict[str, Any]:
        """Which settings of a trial are the lowest or the highest of at least three that were tried, and their values.

        Where the best of a family lies there, something better may lie beyond: its grid is to be moved.
        """
        place = int(trial.entry.removeprefix(f"{self.entry}-")) - 1
        values = list(itertools.product(*self.grid.values()))[place]
        found = {}
        for (setting, given), value in zip(self.grid.items(), values, strict=True):
            numbers = isinstance(value, (int, float)) and len(set(map(str, given))) >= 3
            if numbers and value in (min(given), max(given)):
                found[setting] = value
        return found

    @property
    def tried(self) -> str:
        """The grid as one line."""
        return "; ".join(
            f"{name}: {', '.join(f'{v:g}' if isinstance(v, float) else str(v) for v in values)}"
            for name, values in self.grid.items()
        )


class Sweep(Strict):
    """What is tried on a track, and the seeds of the recipe that comes of it."""

    track: str
    base: str
    """As :func:`fthall.bases.find` takes it."""
    revision: str | None = None
    trials: Annotated[int, Field(ge=2)]
    """Of every family."""
    seed: Annotated[int, Field(ge=0)] = 100
    """Of all trials; none of ``seeds``, so that luck in the choice does not come into the result."""
    seeds: Annotated[list[int], Field(min_length=1)]
    training: Training = Training()
    families: Annotated[list[Family], Field(min_length=1)]

    @model_validator(mode="after")
    def _fair(self) -> Self:
        if self.seed in self.seeds:
            raise ValueError(f"seed {self.seed} is one of seeds; trials need a seed of their own")
        if twice := [one for one, other in itertools.pairwise(sorted(f.entry for f in self.families)) if one == other]:
            raise ValueError(f"two families are called {twice[0]}")
        for family in self.families:
            if (count := len(family.trials())) != self.trials:
                raise ValueError(f"{family.entry}: its grid has {count} trials; every family gets {self.trials}")
            for run in family.trials():
                check_together(run, self.training)
        return self


def load_sweep(path: Path) -> Sweep:
    """Read a sweep.

    Raises:
        FthallError: unreadable, a field is unknown, missing or out of range, or a family has another budget.
    """
    return parse(Sweep, read_yaml(path, f"no sweep {path}; the repository's are in benchmark/recipes"), path)


@dataclass(frozen=True, slots=True)
class Trial:
    """One setting of a family, and what came of it; accuracies in percent, None where training failed."""

    family: str
    run: Run
    unknown: float | None
    held_val: float | None
    held: float | None
    """Not looked at for the choice; published with it."""
    seconds: float | None
    hardware: str | None
    failed: str | None = None

    @property
    def settings(self) -> dict[str, Any]:
        """What decides what comes of it, as plain data."""
        return self.run.model_dump(mode="json", exclude={"title", "description"}, exclude_defaults=True)

    @property
    def score(self) -> float:
        """Harmonic mean of what was learned and what was kept; 0 if training failed."""
        return harmonic(self.unknown or 0.0, self.held_val or 0.0)


def best(trials: Sequence[Trial]) -> Trial:
    """The highest score; of equal ones what keeps more of the old facts, then the first."""
    return max(trials, key=lambda trial: (trial.score, trial.held_val or 0.0))


class _Row(Strict):
    """A trial as it is published."""

    trial: str
    family: str
    settings: dict[str, Any]
    tried: dict[str, Any]
    unknown: float | None
    held_val: float | None
    held: float | None
    score: float
    seconds: float | None
    hardware: str | None
    failed: str | None = None


class Trials(Strict):
    """The file of a sweep's trials; accuracies in percent."""

    command: str
    track: str
    release: str
    """Digest of what was trained on."""
    seed: int
    training: dict[str, Any]
    chosen_on: str
    trials: list[_Row]
    chosen: dict[str, str]
    """Family to its best trial, where all have been tried."""


def publish(sweep: Sweep, release: str, command: str, trials: Sequence[Trial]) -> dict[str, Any]:
    """The file of a sweep's trials (:class:`Trials`); ``release`` is a digest."""
    return Trials(
        command=command,
        track=sweep.track,
        release=release,
        seed=sweep.seed,
        training=sweep.training.settings(),
        chosen_on=CHOSEN_ON,
        trials=[
            _Row(
                trial=one.run.entry,
                family=one.family,
                settings=one.settings,
                tried=tried(sweep, one),
                unknown=one.unknown,
                held_val=one.held_val,
                held=one.held,
                score=round(one.score, 2),
                seconds=one.seconds,
                hardware=one.hardware,
                failed=one.failed,
            )
            for one in trials
        ],
        chosen={name: best(of_family).run.entry for name, of_family in complete(sweep, trials).items()},
    ).model_dump(mode="json")


def load_trials(path: Path, sweep: Sweep, release: str) -> list[Trial]:
    """What has been tried of a sweep, by the file that says so; none, if there is no such file.

    Raises:
        FthallError: unreadable, or it is of other settings, of another release or of another seed.
    """
    if not path.exists():
        return []
    file = parse(Trials, read_json(path), path)
    planned = {run.entry: (family.entry, run) for family in sweep.families for run in family.trials()}
    found = []
    for row in file.trials:
        family, run = planned.get(row.trial, (None, None))
        if run is None:
            raise FthallError(f"{path}: the sweep has no trial {row.trial!r}; move the file away to begin anew")
        trial = Trial(str(family), run, row.unknown, row.held_val, row.held, row.seconds, row.hardware, row.failed)
        if trial.settings != row.settings:
            raise FthallError(f"{path}: {row.trial} was tried with other settings; move the file away to begin anew")
        found.append(trial)
    told = (file.release, file.seed, file.training)
    if found and told != (release, sweep.seed, sweep.training.settings()):
        raise FthallError(f"{path}: of another release, seed or training than the sweep; move it away to begin anew")
    return found


def tried(sweep: Sweep, trial: Trial) -> dict[str, Any]:
    """What a trial has of its family's grid."""
    grid = next(family.grid for family in sweep.families if family.entry == trial.family)
    settings = trial.run.settings()
    return {setting: settings.get(setting.replace(".", "_")) for setting in grid}


def complete(sweep: Sweep, trials: Sequence[Trial]) -> dict[str, list[Trial]]:
    """The trials of each family all of whose trials were made."""
    of = {family.entry: [one for one in trials if one.family == family.entry] for family in sweep.families}
    return {name: found for name, found in of.items() if len(found) == sweep.trials}


def tuned_recipe(sweep: Sweep, trials: Sequence[Trial]) -> str:
    """A recipe of the best of each family all of whose trials were made, as YAML."""
    runs, tuned_families = [], complete(sweep, trials)
    for family in sweep.families:
        if family.entry not in tuned_families:
            continue
        of_family = tuned_families[family.entry]
        tuned = Tuned(trials=len(of_family), seed=sweep.seed, grid=family.tried, on=CHOSEN_ON)
        runs.append(family.chosen(best(of_family).run, tuned).model_dump(mode="json", exclude_defaults=True))
    recipe = {
        "track": sweep.track,
        "base": sweep.base,
        **({"revision": sweep.revision} if sweep.revision else {}),
        "seeds": sweep.seeds,
        "training": sweep.training.model_dump(mode="json", exclude_defaults=True),
        "runs": runs,
    }
    return str(yaml.safe_dump(recipe, sort_keys=False, allow_unicode=True, width=120))
