"""``fthall experiment``: the runs of an experiment on each of its arms, and what came of them, as one file."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from fthall.commands.options import keep_epochs_option, tracking_options, training_options
from fthall.commands.progress import quiet, say
from fthall.errors import FthallError

if TYPE_CHECKING:
    from fthall.commands.finetune.runs import Task
    from fthall.why.arms import Experiment
    from fthall.why.results import Results

NAME = "experiment"
HELP = "why does it forget? train on facts that differ in one thing, and compare"


def configure(parser: argparse.ArgumentParser) -> None:
    """Its options."""
    parser.set_defaults(run=run)
    parser.add_argument(
        "experiment",
        type=Path,
        help="a YAML file, those of the repository are in benchmark/recipes/why; or a file of results, to read it",
    )
    parser.add_argument("--preset", default="small", help="how much of it (default: small, minutes on 2 cores)")
    parser.add_argument("--track", help="name of a track, or a release's folder, instead of the experiment's")
    parser.add_argument("--base", help="that track's base, instead of the experiment's: folder or Hugging Face id")
    parser.add_argument("--revision", help="commit, tag or branch of --base")
    parser.add_argument("--work", type=Path, default=Path("runs"), help="trajectories, by which an experiment goes on")
    parser.add_argument("--out", type=Path, help="the results, JSON (default: in the work folder)")
    parser.add_argument(
        "--keep-checkpoints", action="store_true", help="else what is kept of a run is what it answered"
    )
    keep_epochs_option(parser)
    tracking_options(parser)
    training_options(parser)


def run(options: argparse.Namespace) -> None:
    """Do it."""
    from fthall.commands.finetune.runs import make_all, units
    from fthall.files import write_json
    from fthall.knowledge import splits
    from fthall.records import Split
    from fthall.why import arms, results

    quiet()
    if options.experiment.suffix == ".json":
        _tell(results.read(options.experiment))
        return
    instead = {name: value for name in ("track", "base", "revision") if (value := getattr(options, name))}
    asked = arms.load_experiment(options.experiment).model_copy(
        update=instead | ({"revision": options.revision} if options.base else {})
    )
    name = options.experiment.stem
    if options.preset not in asked.presets:
        raise FthallError(f"no preset {options.preset!r}; {options.experiment} has {', '.join(asked.presets)}")
    tasks, reference_of = _tasks(asked, name, options)
    say(f"{asked.question}\n{len(tasks)} runs on {len(reference_of)} arms, preset {options.preset}")
    # The longest first, so that none is waited for at the end.
    make_all(
        sorted(tasks.values(), key=units, reverse=True) if options.jobs > 1 else list(tasks.values()), options.jobs
    )
    manifest = splits.manifest(asked.track)
    out = options.out or options.work / f"{name}-{options.preset}.json"
    held = next(iter(tasks.values())).release.splits[Split.HELD]
    rows = [results.record(one.work / one.name, one.release, arm) for (arm, _, _), one in tasks.items()]
    write_json(
        out,
        {
            "schema": results.SCHEMA,
            "experiment": name,
            "question": asked.question,
            "preset": options.preset,
            "command": " ".join(
                ["fthall experiment", options.experiment.as_posix(), "--preset", options.preset]
                + [f"--{key} {value}" for key, value in instead.items()]
            ),
            "track": asked.track,
            "release": str(manifest["digest"]),
            "weights_sha256": manifest["base"]["weights_sha256"],
            "training": asked.trained_with(options.preset).settings(),
            "runs": {run.entry: run.settings() | {"method": run.method} for run in asked.runs},
            "arms": {arm.name: arm.model_dump(exclude={"name"}) for arm in asked.arms if arm.name in reference_of},
            "reference": asked.reference.entry,
            "reference_of": reference_of,
            "held": [fact.id for fact in held],
            "subjects": [fact.subject for fact in held],
            "results": rows,
        },
    )
    _tell(results.read(out))
    say(f"results: {out}")


def _tasks(
    asked: "Experiment", name: str, options: argparse.Namespace
) -> "tuple[dict[tuple[str, str, int], Task], dict[str, str]]":
    """(arm, entry, seed) to what is made; and the arm on which each arm's reference is run.

    What is trained on known facts alone comes out the same on all arms with the same ones, and is run on the first.
    """
    from fthall.commands.finetune.runs import Task
    from fthall.finetune import Recipe
    from fthall.finetune.tracking import local_store
    from fthall.records import Split
    from fthall.why import arms

    preset = asked.presets[options.preset]
    uri = None if options.no_tracking else options.tracking_uri or local_store(options.work)
    recipe = Recipe(
        track=asked.track,
        base=asked.base,
        revision=asked.revision,
        seeds=preset.seeds,
        training=asked.trained_with(options.preset),
        runs=asked.runs,
    )
    reference, named = asked.reference, {arm.name: arm for arm in asked.arms}
    releases = arms.releases(asked, name, preset)
    first: dict[tuple[str, ...], str] = {}
    same = {
        arm: first.setdefault(tuple(fact.id for fact in release.splits[Split.KNOWN]), arm)
        for arm, release in releases.items()
        if named[arm].known
    }
    reference_of = {arm: same[named[arm].reference or arm] for arm in releases}
    tasks: dict[tuple[str, str, int], Task] = {}
    for arm, release in releases.items():
        for run in asked.runs:
            alone = run.entry == reference.entry
            if arm not in reference_of.values() if alone else not named[arm].unknown:
                continue
            done = run if alone else arms.trained_on(run, named[arm])
            if done is None or not (alone or not preset.runs or run.entry in preset.runs):
                continue
            for seed in preset.seeds:
                tasks[arm, run.entry, seed] = Task(
                    recipe,
                    done,
                    seed,
                    release,
                    track_argument="",
                    work=options.work / f"{name}-{options.preset}" / arm,
                    submissions=options.work,
                    tracking_uri=uri,
                    resumable=not options.not_resumable,
                    keep_epochs=options.keep_epochs,
                    evaluated=False,
                    discarded=not options.keep_checkpoints,
                    authors=(),
                    contact="",
                    command="",
                )
    return tasks, reference_of


def _tell(found: "Results") -> None:
    """A line an arm and method."""
    width = max(len(f"{arm} {entry}") for arm, entry in found.runs)
    for arm, entry in found.runs:
        learned = found.mean(arm, entry, "unknown")
        line = (
            f"  {f'{arm} {entry}':{width}}  new facts {learned:5.1f}  old facts {found.mean(arm, entry, 'held'):5.1f}"
        )
        if entry != found.found["reference"]:
            lost = found.forgotten(arm, entry)
            span = lost.judged
            line += f"  forgotten {lost.difference:5.1f} ({span.low:.1f} to {span.high:.1f})"
        say(line)
