"""Fair tuning: every family gets as many trials as any other, the learning rate always among what is tried.

A sweep says of each family which settings are tried (a grid). Each is trained once, with a seed that no published run
has; the best is what has the highest harmonic mean of accuracy on ``held_val``, old facts set aside for choosing, and
on ``unknown``, the new facts that were to be learned. ``held`` is never looked at. What comes out is a recipe: the
chosen settings, each with the budget it was chosen with.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Self

import yaml
from pydantic import Field, ValidationError, model_validator

from fthall.finetune.recipe import Run, Training, Tuned
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
    def _every_trial_is_a_run(self) -> Self:
        if "learning_rate" not in self.grid:
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
    def score(self) -> float:
        """Harmonic mean of what was learned and what was kept; 0 if training failed."""
        if not self.unknown or not self.held_val:
            return 0.0
        return 2 * self.unknown * self.held_val / (self.unknown + self.held_val)


def best(trials: Sequence[Trial]) -> Trial:
    """The highest score; of equal ones what keeps more of the old facts, then the first."""
    return max(trials, key=lambda trial: (trial.score, trial.held_val or 0.0))


def tuned_recipe(sweep: Sweep, trials: Sequence[Trial]) -> str:
    """A recipe of the best of each family, as YAML."""
    runs = []
    for family in sweep.families:
        of_family = [trial for trial in trials if trial.family == family.entry]
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
