"""Many runs of a recipe, trained and evaluated: one after the other, or some beside each other."""

import argparse
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from fthall.bases import process, processes
from fthall.commands.finetune import beside
from fthall.commands.progress import display, say
from fthall.errors import FthallError
from fthall.records import Split

if TYPE_CHECKING:
    from fthall.finetune import Recipe, Run
    from fthall.finetune.recipe import Training
    from fthall.records import EpochPoint, Release
    from fthall.submissions.card import Submission


@dataclass(frozen=True, slots=True)
class Task:
    """A run to be made, and all that is needed for it; plain data, so that it can travel to another process."""

    recipe: "Recipe"
    run: "Run"
    seed: int
    release: "Release"
    track_argument: str
    """What lm-eval's tasks get: the track's name, or a release's folder."""
    work: Path
    """Of this track: two tracks may have entries of the same name."""
    submissions: Path
    tracking_uri: str | None
    resumable: bool
    keep_epochs: bool
    evaluated: bool
    discarded: bool
    """Whether the checkpoint goes when it has been evaluated."""
    authors: tuple[str, ...]
    contact: str
    command: str

    @property
    def name(self) -> str:
        """Of its folder."""
        return f"{self.run.entry}-seed{self.seed}"


def make(
    task: Task,
    on_examples: Callable[[int], None] | None = None,
    on_answers: Callable[[int], None] | None = None,
    on_epoch: "Callable[[EpochPoint], None] | None" = None,
) -> "tuple[Submission | None, float]":
    """Train, evaluate, write the submission: what is not done yet. Gives the seconds evaluation took, too."""
    from fthall.finetune import read_run
    from fthall.finetune.experiment import run_one

    place, evaluation = task.work / task.name, 0.0
    card = task.submissions / task.release.track / task.name / "submission.yaml"
    if card.exists():
        check_settings(card, task.run, task.recipe.training)
    else:
        run_one(
            task.recipe,
            task.run,
            task.seed,
            task.release,
            work=task.work,
            tracking_uri=task.tracking_uri,
            resumable=task.resumable,
            keep_epochs=task.keep_epochs,
            on_examples=on_examples,
            on_answers=on_answers,
            on_epoch=on_epoch,
        )
        evaluation = 0.0 if process() else read_run(place).get("evaluation_seconds", 0.0)
    if process():  # of many processes one asks, writes and throws away
        return None, evaluation
    if not task.evaluated:
        if task.discarded:
            shutil.rmtree(place / "checkpoint", ignore_errors=True)
        return None, evaluation
    from fthall.finetune.tracking import KEPT, attach
    from fthall.submissions.make import from_run  # with lm-eval and all that checks a submission

    began = time.monotonic()
    submission = from_run(
        place,
        task.release,
        track_argument=task.track_argument,
        out=task.submissions,
        authors=task.authors,
        contact=task.contact,
        command=task.command,
    )
    if task.tracking_uri:
        attach(place / KEPT, submission.run.trajectory, task.submissions / task.release.track / task.name)
    if task.discarded:
        shutil.rmtree(place / "checkpoint", ignore_errors=True)
    return submission, evaluation + time.monotonic() - began


def check_settings(card: Path, run: "Run", training: "Training") -> None:
    """A submission that is there already is of these settings, as far as its card names them.

    Raises:
        FthallError: it is of others.
    """
    from fthall.schema import read_yaml

    told = read_yaml(card, f"no card {card}").get("hyperparameters", {})
    for name, value in {**training.settings(), **run.settings()}.items():
        if name in told and told[name] != value:
            raise FthallError(
                f"{card.parent} is there already, made with {name} {told[name]}, and the recipe has {value}; "
                "remove it, or let --submissions be another folder"
            )


def run_all(
    recipe: "Recipe",
    release: "Release",
    *,
    track_argument: str,
    runs: "Sequence[tuple[Run, int]]",
    work: Path,
    submissions: Path,
    options: argparse.Namespace,
    command: str,
    evaluated: bool = True,
) -> float:
    """Every run of a recipe, under one progress bar; gives the seconds evaluation took of it.

    Raises:
        FthallError: a run failed; beside others, when these are done.
    """
    from fthall.finetune.tracking import local_store

    if not evaluated and options.discard_checkpoints:
        raise FthallError(
            "--evaluate later needs the checkpoints that --discard-checkpoints throws away; leave one out"
        )
    if options.jobs > 1 and processes() > 1:
        raise FthallError("--jobs is for many runs on one GPU, accelerate launch for one run on many; leave one out")
    uri = None if options.no_tracking or process() else options.tracking_uri or local_store(work)
    of_track = work / release.track
    tasks = [
        Task(
            recipe,
            run,
            seed,
            release,
            track_argument,
            of_track,
            submissions,
            uri,
            resumable=not options.not_resumable,
            keep_epochs=options.keep_epochs,
            evaluated=evaluated,
            discarded=options.discard_checkpoints,
            authors=tuple(options.author or ["fthall"]),
            contact=options.contact,
            command=command,
        )
        for run, seed in runs
    ]
    evaluation = make_all(tasks, options.jobs)
    if uri:
        say(f"MLflow: mlflow ui --backend-store-uri {uri}")
    return evaluation


def make_all(tasks: Sequence[Task], jobs: int) -> float:
    """Every run, under one progress bar; gives the seconds evaluation took of it.

    A checkpoint to be discarded that another run starts from is kept until all are done.

    Raises:
        FthallError: a run failed; beside others, when these are done.
    """
    sources = {task.work / f"{task.run.interpolate.of}-seed{task.seed}" for task in tasks if task.run.interpolate}
    kept = [task for task in tasks if task.discarded and task.work / task.name in sources]
    tasks = [replace(task, discarded=False) if task in kept else task for task in tasks]
    if jobs == 1:
        evaluation = _in_turn(tasks)
    else:
        from fthall.finetune.tracking import prepare

        for uri, track in dict.fromkeys((task.tracking_uri, task.release.track) for task in tasks):
            if uri:
                prepare(uri, track)
        evaluation = _beside(tasks, jobs)
    if not process():
        for task in kept:
            shutil.rmtree(task.work / task.name / "checkpoint", ignore_errors=True)
    return evaluation


def units(task: Task) -> int:
    """How long a run takes: one unit is one question answered; a trained example costs about five."""
    run, release, training = task.run, task.release, task.recipe.training
    questions = sum(len(facts) for facts in release.splits.values())
    if run.interpolate and run.interpolate.of:
        return 4 * questions
    examples = training.epochs * run.examples(release)
    examples += run.format_epochs * len(release.splits[Split.KNOWN]) * run.needs_format
    # One before training; lm-eval's counts for two.
    return 5 * examples + (-(-training.epochs // training.evaluate_every) + 3) * questions


def _in_turn(tasks: Sequence[Task]) -> float:
    """One after the other, with a bar that knows of each question."""
    sizes, evaluation, done = [units(task) for task in tasks], 0.0, 0
    with display() as progress:
        bar = progress.add_task("training and evaluation", total=sum(sizes), rate="")
        for number, (task, size) in enumerate(zip(tasks, sizes, strict=True), 1):
            progress.update(bar, description=f"{number}/{len(tasks)} {task.run.entry} seed {task.seed}", completed=done)

            def on_epoch(point: "EpochPoint", task: Task = task) -> None:
                known = "" if point.known is None else f"known {point.known:5.1f}  "
                progress.console.print(
                    f"  {task.run.entry:18} epoch {point.epoch:g}: {known}"
                    f"new facts {point.unknown:5.1f}  old facts {point.held:5.1f}",
                    highlight=False,
                )

            submission, seconds = make(
                task,
                on_examples=lambda count: progress.advance(bar, 5 * count),
                on_answers=lambda count: progress.advance(bar, count),
                on_epoch=on_epoch,
            )
            evaluation += seconds
            done += size
            if submission:
                progress.update(bar, completed=done)
                progress.console.print(_line(submission), highlight=False)
    return evaluation


def _beside(tasks: Sequence[Task], jobs: int) -> float:
    """Some at a time; those that take another run's checkpoint come when all others are done."""
    first = [task for task in tasks if not (task.run.interpolate and task.run.interpolate.of)]
    evaluation, errors = 0.0, []
    with display() as progress:
        bar = progress.add_task("runs", total=len(tasks), rate="")
        for wave in (first, [task for task in tasks if task not in first]):
            for task, result in beside.each(make, wave, jobs):
                progress.advance(bar)
                if isinstance(result, FthallError):
                    errors.append(result)
                    progress.console.print(f"{task.name} failed: {result}", highlight=False)
                    continue
                submission, seconds = result
                evaluation += seconds
                told = _line(submission) if submission else f"{task.name} is trained"
                progress.console.print(told, highlight=False)
    for error in errors:
        raise error
    return evaluation


def _line(submission: "Submission") -> str:
    agreement = submission.results.agreement
    differing = len(agreement.differing) if agreement else 0
    return (
        f"{submission.card.title} (seed {submission.card.seed}), by lm-eval: "
        f"known {submission.accuracy(Split.KNOWN):.1f}, new facts {submission.accuracy(Split.UNKNOWN):.1f}, "
        f"old facts {submission.accuracy(Split.HELD):.1f}; "
        f"{differing} of {agreement.compared if agreement else 0} answers differ from those during training"
    )
