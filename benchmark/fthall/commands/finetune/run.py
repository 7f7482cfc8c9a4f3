"""``fthall run``: train and evaluate the runs of a recipe; one submission folder each."""

import argparse
import time
from pathlib import Path
from typing import TYPE_CHECKING

from fthall.commands.options import run_options, seeds, submissions_option
from fthall.commands.progress import display, quiet, say
from fthall.errors import FthallError
from fthall.records import Split

if TYPE_CHECKING:
    from fthall.finetune import Recipe, Run
    from fthall.records import EpochPoint, Release

NAME = "run"
HELP = "train and evaluate the runs of a recipe; one submission folder each"


def configure(parser: argparse.ArgumentParser) -> None:
    """Its options."""
    parser.set_defaults(run=run)
    parser.add_argument("recipe", type=Path)
    parser.add_argument("--only", help="entries, separated by commas")
    parser.add_argument("--track", help="name of a track, or a release's folder, instead of the recipe's")
    parser.add_argument("--base", help="that track's base, instead of the recipe's: folder or Hugging Face id")
    parser.add_argument("--revision", help="commit, tag or branch of --base")
    parser.add_argument("--seeds", type=seeds, help="instead of the recipe's, separated by commas")
    parser.add_argument("--work", type=Path, default=Path("runs"), help="checkpoints and trajectories")
    submissions_option(parser)
    run_options(parser)
    parser.add_argument(
        "--evaluate",
        choices=("now", "later"),
        default="now",
        help="later: train only, where there is no lm-eval; the same command without it finishes the job elsewhere",
    )


def run(options: argparse.Namespace) -> None:
    """Do it."""
    from fthall.finetune import load_recipe
    from fthall.knowledge import splits

    quiet()
    instead = {name: value for name in ("track", "base", "revision") if (value := getattr(options, name))}
    # Another base has revisions of its own.
    recipe = load_recipe(options.recipe).model_copy(
        update=instead | ({"revision": options.revision} if options.base else {})
    )
    release = splits.load(recipe.track)
    chosen_seeds = options.seeds or recipe.seeds
    entries = {run.entry for run in recipe.runs}
    chosen = set(options.only.split(",")) if options.only else entries
    if unknown := chosen - entries:
        raise FthallError(f"unknown entry {sorted(unknown)[0]!r}; {options.recipe} has {', '.join(sorted(entries))}")
    runs = [(run, seed) for seed in chosen_seeds for run in recipe.runs if run.entry in chosen]
    run_all(
        recipe,
        release,
        track_argument=recipe.track,
        runs=runs,
        work=options.work,
        submissions=options.submissions,
        options=options,
        command=" ".join(
            ["fthall run", options.recipe.as_posix(), *(f"--{name} {value}" for name, value in instead.items())]
        ),
        resumable=True,
        evaluated=options.evaluate == "now",
    )
    if options.evaluate == "later":
        say(f"trained, not evaluated: {options.work}; take it along, and type the same without --evaluate later")
    else:
        say(f"submissions: {options.submissions / release.track}")


def run_all(
    recipe: "Recipe",
    release: "Release",
    *,
    track_argument: str,
    runs: "list[tuple[Run, int]]",
    work: Path,
    submissions: Path,
    options: argparse.Namespace,
    command: str,
    resumable: bool,
    evaluated: bool = True,
) -> float:
    """Every run of a recipe, one after the other, under one progress bar; gives the seconds evaluation took of it."""
    import shutil

    from fthall.finetune import read_run
    from fthall.finetune.experiment import local_store, run_one

    if not evaluated and options.discard_checkpoints:
        raise FthallError(
            "--evaluate later needs the checkpoints that --discard-checkpoints throws away; leave one out"
        )
    uri = None if options.no_tracking else options.tracking_uri or local_store(work)
    questions = sum(len(facts) for facts in release.splits.values())
    epochs, known = recipe.training.epochs, len(release.splits[Split.KNOWN])
    # One before training; lm-eval's counts for two.
    evaluations = -(-epochs // recipe.training.evaluate_every) + 3
    # One unit is one question answered; a trained example costs about five.
    units = {}
    for run, _ in runs:
        facts = sum(len(release.splits[split]) for split in run.trained_on)
        examples = epochs * round(facts * (1 + (run.replay.share if run.replay else 0)))
        examples += run.format_epochs * known * run.needs_format
        units[run.entry] = 4 * questions if run.interpolate else 5 * examples + evaluations * questions
    with display() as progress:
        task = progress.add_task("training and evaluation", total=sum(units[run.entry] for run, _ in runs), rate="")
        done, evaluation = 0, 0.0
        for number, (run, seed) in enumerate(runs, 1):
            progress.update(task, description=f"{number}/{len(runs)} {run.entry} seed {seed}", completed=done)

            def on_epoch(point: "EpochPoint", run: "Run" = run) -> None:
                known = "" if point.known is None else f"known {point.known:5.1f}  "
                progress.console.print(
                    f"  {run.entry:18} epoch {point.epoch:g}: {known}"
                    f"new facts {point.unknown:5.1f}  old facts {point.held:5.1f}",
                    highlight=False,
                )

            folder = submissions / release.track / f"{run.entry}-seed{seed}"
            if not (folder / "submission.yaml").exists():
                run_one(
                    recipe,
                    run,
                    seed,
                    release,
                    work=work,
                    tracking_uri=uri,
                    resumable=resumable,
                    on_examples=lambda count: progress.advance(task, 5 * count),
                    on_answers=lambda count: progress.advance(task, count),
                    on_epoch=on_epoch,
                )
                evaluation += read_run(work / folder.name).get("evaluation_seconds", 0.0)
            done += units[run.entry]
            if not evaluated:
                continue
            from fthall.submissions.make import from_run  # with lm-eval and all that checks a submission

            began = time.monotonic()
            submission = from_run(
                work / folder.name,
                release,
                track_argument=track_argument,
                out=submissions,
                authors=options.author or ["fthall"],
                contact=options.contact,
                command=command,
            )
            if options.discard_checkpoints:
                needed = {f"{other.interpolate.of}-seed{at}" for other, at in runs[number:] if other.interpolate}
                for name in {f"{other.entry}-seed{at}" for other, at in runs[:number]} - needed:
                    shutil.rmtree(work / name / "checkpoint", ignore_errors=True)
            evaluation += time.monotonic() - began
            progress.update(task, completed=done)
            agreement = submission.results.agreement
            differing = len(agreement.differing) if agreement else 0
            progress.console.print(
                f"{run.title} (seed {seed}), by lm-eval: known {submission.accuracy(Split.KNOWN):.1f}, "
                f"new facts {submission.accuracy(Split.UNKNOWN):.1f}, old facts {submission.accuracy(Split.HELD):.1f}; "
                f"{differing} of {agreement.compared if agreement else 0} answers differ from those during training",
                highlight=False,
            )
    if uri:
        say(f"MLflow: mlflow ui --backend-store-uri {uri}")
    return evaluation
