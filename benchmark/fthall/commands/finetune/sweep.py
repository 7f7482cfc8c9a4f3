"""``fthall sweep``: the same number of trials for every family; a recipe of the best settings."""

import argparse
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fthall.bases import processes
from fthall.commands.finetune import beside
from fthall.commands.options import tracking_options, training_options
from fthall.commands.progress import display, quiet, say
from fthall.errors import FthallError

if TYPE_CHECKING:
    from fthall.finetune import Recipe, Run
    from fthall.finetune.tuning import Family, Sweep, Trial
    from fthall.records import Release

NAME = "sweep"
HELP = "tune every family with the same budget; writes a recipe of the best settings"


def configure(parser: argparse.ArgumentParser) -> None:
    """Its options."""
    parser.set_defaults(run=run)
    parser.add_argument("sweep", type=Path, help="which settings are tried, a YAML file")
    parser.add_argument("--only", help="families, separated by commas")
    parser.add_argument(
        "--out",
        type=Path,
        help="the recipe (default: beside the sweep, with -tuned in its name); of each family that is done",
    )
    parser.add_argument(
        "--trials",
        type=Path,
        help="what came of every trial, from which a sweep goes on (default: beside the recipe, JSON)",
    )
    parser.add_argument("--work", type=Path, default=Path("runs"), help="trajectories, by which a sweep goes on")
    tracking_options(parser)
    training_options(parser)


def run(options: argparse.Namespace) -> None:
    """Do it."""
    from fthall.files import write_json, write_text
    from fthall.finetune import Recipe
    from fthall.finetune.tracking import KEPT, begin_parent, local_store
    from fthall.finetune.tuning import complete, load_sweep, load_trials, publish, tried, tuned_recipe
    from fthall.knowledge import splits

    quiet()
    if processes() > 1:
        raise FthallError("a sweep is one process; type it without accelerate launch, --jobs for several trials")
    command = f"fthall sweep {options.sweep.as_posix()}"
    sweep = load_sweep(options.sweep)
    release = splits.load(sweep.track)
    named = {family.entry: family for family in sweep.families}
    chosen = options.only.split(",") if options.only else list(named)
    if unknown := set(chosen) - named.keys():
        raise FthallError(f"unknown family {min(unknown)!r}; {options.sweep} has {', '.join(named)}")
    out = options.out or options.sweep.with_name(f"{options.sweep.stem}-tuned.yaml")
    file = options.trials or out.with_suffix(".trials.json")
    work = options.work / options.sweep.stem
    tasks = [(family, trial) for family in sweep.families for trial in family.trials()]
    recipe = Recipe(
        track=sweep.track,
        base=sweep.base,
        revision=sweep.revision,
        seeds=[sweep.seed],
        training=sweep.training,
        runs=[trial for _, trial in tasks],
    )
    earlier = {one.run.entry: one for one in load_trials(file, sweep, release.digest)}
    left = [(family, trial) for family, trial in tasks if family.entry in chosen and trial.entry not in earlier]
    uri = None if options.no_tracking else options.tracking_uri or local_store(options.work)
    told = {"trials": sweep.trials, "seed": sweep.seed, "families": ", ".join(named), **sweep.training.settings()}
    parent = begin_parent(uri, release.track, options.sweep.stem, told, work / KEPT) if uri and left else None
    todo = [Try(recipe, family, trial, release, work, not options.not_resumable, uri, parent) for family, trial in left]
    say(f"{len(todo)} trials, {len(earlier)} are in {file}; {sweep.trials} of each of {len(named)} families; {work}")

    def kept() -> "list[Trial]":
        """All trials that are made, written down: who loses the work folder loses none of them."""
        found = [
            earlier.get(trial.entry) or read_trial(recipe, family, trial, release, work) for family, trial in tasks
        ]
        done = [one for one in found if one]
        write_json(file, publish(sweep, release.digest, command, done))
        return done

    errors = []
    with display() as progress:
        bar = progress.add_task("trials", total=len(todo), rate="")
        for one, result in beside.each(try_one, todo, options.jobs):
            progress.advance(bar)
            if isinstance(result, FthallError):
                errors.append(FthallError(f"{one.trial.entry}: {result}"))
                continue
            progress.console.print(_line(result, tried(sweep, result)), highlight=False)
            kept()
    done = kept()
    if whole := complete(sweep, done):
        write_text(out, f"# The best settings of each family, by {command}; do not edit.\n{tuned_recipe(sweep, done)}")
    _say_edges(sweep, whole)
    for error in errors:
        raise error
    if missing := [name for name in named if name not in whole]:
        say(f"not tried yet: {', '.join(missing)}; type the same without --only to go on")
    say(f"all trials: {file}" + (f"; the best of each family: {out}; next: fthall run {out}" if whole else ""))


@dataclass(frozen=True, slots=True)
class Try:
    """A setting to be tried; plain data, so that it can travel to another process."""

    recipe: "Recipe"
    family: "Family"
    trial: "Run"
    release: "Release"
    work: Path
    resumable: bool
    tracking_uri: str | None
    parent: str | None
    """The MLflow run of the sweep."""


def try_one(task: Try) -> "Trial":
    """Train with one setting, unless that is done."""
    from fthall.files import write_json
    from fthall.finetune.experiment import run_one
    from fthall.finetune.folder import describe

    recipe, family, trial, release, work = task.recipe, task.family, task.trial, task.release, task.work
    seed, place = recipe.seeds[0], work / f"{trial.entry}-seed{recipe.seeds[0]}"
    done = read_trial(recipe, family, trial, release, work)
    if done is None:
        try:
            run_one(
                recipe,
                trial,
                seed,
                release,
                work=work,
                tracking_uri=task.tracking_uri,
                parent=task.parent,
                resumable=task.resumable,
            )
        except FthallError as error:
            if "loss is" not in str(error):
                raise
            what = describe(release, trial, recipe.training, seed)
            write_json(place / "failed.json", {**what, "error": str(error)})
        done = read_trial(recipe, family, trial, release, work)
        assert done is not None
    shutil.rmtree(place / "checkpoint", ignore_errors=True)  # only what it answered is looked at
    return done


def read_trial(recipe: "Recipe", family: "Family", trial: "Run", release: "Release", work: Path) -> "Trial | None":
    """What came of a trial, if it is done."""
    from fthall.files import read_json
    from fthall.finetune import read_run, read_trajectory
    from fthall.finetune.folder import describe, is_finished
    from fthall.finetune.tuning import Trial

    place = work / f"{trial.entry}-seed{recipe.seeds[0]}"
    what = describe(release, trial, recipe.training, recipe.seeds[0])
    if is_finished(place, what):
        last = read_trajectory(place)[-1]
        made = read_run(place)
        return Trial(family.entry, trial, last.unknown, last.held_val, last.held, made["seconds"], made["hardware"])
    failed = read_json(place / "failed.json") if (place / "failed.json").exists() else {}
    if failed and {key: failed.get(key) for key in what} == what:
        return Trial(family.entry, trial, None, None, None, None, None, failed["error"])
    return None


def _say_edges(sweep: "Sweep", whole: "dict[str, list[Trial]]") -> None:
    """Of which families the best lies at the edge of the grid."""
    from fthall.finetune.tuning import best

    for family in sweep.families:
        edges = family.at_edge(best(whole[family.entry]).run) if family.entry in whole else {}
        for setting, value in edges.items():
            say(f"{family.entry}: the best has {setting} {value:g}, at the edge of what was tried; move its grid")


def _line(result: "Trial", settings: dict[str, Any]) -> str:
    """A trial for the user."""
    told = ", ".join(f"{name} {value}" for name, value in settings.items())
    if result.failed:
        return f"  {result.run.entry} ({told}) failed: {result.failed}"
    return (
        f"  {result.run.entry} ({told}): new facts {result.unknown:.1f}, old facts set aside {result.held_val:.1f}, "
        f"score {result.score:.1f}"
    )
