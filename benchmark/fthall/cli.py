"""The command line: one thin command a stage, every heavy import inside the command that needs it."""

import argparse
import math
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fthall import __version__
from fthall.errors import FthallError
from fthall.records import Category, Split

if TYPE_CHECKING:
    from rich.progress import Progress

    from fthall.finetune.methods import Recipe, Run
    from fthall.records import EpochPoint, Fact, Release
    from fthall.submission import Submission


LINE_EVERY = 60.0
"""Seconds between lines of progress where there is no terminal."""


def say(text: object, end: str = "\n") -> None:
    """A line for the user on standard output."""
    sys.stdout.write(f"{text}{end}")
    sys.stdout.flush()


@contextmanager
def _progress() -> "Iterator[Progress]":
    """A progress bar with rate and ETA on standard error."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeElapsedColumn(),
        TextColumn("eta"),
        TimeRemainingColumn(elapsed_when_finished=True),
    )
    with Progress(*columns, console=Console(stderr=True), speed_estimate_period=120) as progress:
        yield progress


def _bar(progress: "Progress", description: str, total: int) -> Callable[[int], None]:
    """A task of a progress display, as the callback the stages take; where there is no terminal, a line a minute."""
    task = progress.add_task(description, total=total, rate="")
    told = time.monotonic()

    def advance(count: int) -> None:
        nonlocal told
        progress.advance(task, count)
        now = progress.tasks[progress.task_ids.index(task)]
        rate = f"{now.speed:.0f}/s" if now.speed else ""
        progress.update(task, rate=rate)
        if not progress.console.is_terminal and time.monotonic() - told >= LINE_EVERY:
            told = time.monotonic()
            left = f"{now.time_remaining / 60:.0f} min" if now.time_remaining is not None else "unknown"
            how_far = f"{now.completed:.0f}/{total}{', ' if rate else ''}{rate}"
            progress.console.print(f"{description} {how_far}, eta {left}", highlight=False)

    return advance


def _quiet() -> None:
    """No progress bars and warnings of libraries between ours."""
    import os
    import warnings

    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    warnings.filterwarnings("ignore")
    from transformers.utils import logging

    logging.disable_progress_bar()
    logging.set_verbosity_error()


def _tasks_dir(options: argparse.Namespace) -> None:
    from fthall.paths import data_dir

    say(data_dir("tasks") / "fthall")


def _tracks(options: argparse.Namespace) -> None:
    from fthall import splits, stats

    changing = 0.1  # share of held-out facts that only one of two runs has right; about what SFT shows
    for name in splits.tracks():
        manifest = splits.verify(name)
        sizes = splits.sizes(manifest)
        say(f"{name}  {', '.join(f'{n} {split}' for split, n in sizes.items())}  (release {manifest['digest'][:12]})")
        if lacking := splits.absent(name):
            say(f"  its facts: {lacking}")
        for split in (Split.HELD, Split.HELD_VAL):
            least = stats.minimum_detectable_effect(sizes[split], changing)
            say(f"  {split}: shows differences of {least:.1f} points and more between two checkpoints")
    say(f"(80 % power, if {changing:.0%} of the facts change; whether methods differ also takes seeds, three or more)")


def _fetch(options: argparse.Namespace) -> None:
    from fthall.facts import entityquestions

    say(f"EntityQuestions: {entityquestions.fetch(options.archive)}")


def _slick(options: argparse.Namespace) -> None:
    from dataclasses import replace

    from fthall import facts, models, slick
    from fthall.engines import start
    from fthall.facts import own

    _quiet()
    if options.facts and (options.relations or options.single_answer or options.shard):
        raise FthallError(
            "--relations, --single-answer and --shard choose from a source; with --facts leave rows out of the file"
        )
    mine = own.read(options.facts) if options.facts else None
    every = list(mine.facts) if mine else facts.load(options.source)
    asked = _chosen(every, options.relations)
    if options.single_answer:
        asked = [fact for fact in asked if len(fact.answers) == 1]
    if options.shard:
        number, count = options.shard
        asked = asked[number - 1 :: count]
    config = replace(
        slick.PRESETS[options.preset],
        seed=options.seed,
        adaptive=options.adaptive,
        exact=options.exact,
        **{name: getattr(options, name) for name in ("runs", "shots", "samples") if getattr(options, name) is not None},
    )
    if options.exact and not config.samples:
        raise FthallError("--exact is about samples, and this preset draws none; add --samples 16, or gekhman2024")
    out, labels = options.out, options.out
    if mine:  # the file itself with a column more, and the labels beside it
        own.check_format(out)
        labels = out.with_name(f"{out.name}.labels.parquet")
    if out.exists():
        raise FthallError(f"{out} exists; delete it or choose another file")
    checkpoint = models.find(options.base, options.revision)
    identity = {"base": options.base, "dtype": options.dtype, "weights_sha256": models.weights_sha256(checkpoint)}
    spec = start.Spec(
        options.engine,
        checkpoint.location,
        checkpoint.revision,
        options.dtype,
        options.batch_size,
        options.tensor_parallel,
    )
    if options.workers:
        ray = {"address": options.ray, "gpus": options.gpus_per_worker, "cpus": options.cpus_per_worker}
        engine: Any = start.start_workers(spec, options.workers, **ray)
    else:
        engine = start.start(spec)
    with _progress() as progress:
        table = slick.label(
            asked,
            engine,
            config,
            labels,
            identity={**identity, "engine": options.engine},
            exemplars=mine.exemplars(config.shots) if mine else [fact for fact in every if fact.origin == "dev"],
            keep_answers=options.answers,
            on_answers=_bar(progress, "SLiCK", len(asked) * config.runs),
        )
    for category, count in table["category"].value_counts().items():
        say(f"{category:>12}  {count:6d}  {100 * count / len(table):5.1f} %")
    if config.adaptive:
        questions = sum(slick.tally(bits)[1] for bits in table["right"])
        say(f"asked {questions} of {len(table) * config.runs} questions; the others no longer decided anything")
    if mine:
        counts = own.annotate(mine, table, out)
        share = 100 * counts[Category.UNKNOWN] / sum(counts.values())
        say(f"{share:.1f} % of the {sum(counts.values())} rows are Unknown to {options.base}: {out}, column category")
    say(f"labels: {labels}")


def _chosen(facts: "Sequence[Fact]", relations: str | None) -> "list[Fact]":
    """The facts of some relations, separated by commas; of all for none."""
    if not relations:
        return list(facts)
    wanted, known = set(relations.split(",")), {fact.relation for fact in facts}
    if unknown := wanted - known:
        raise FthallError(f"unknown relation {sorted(unknown)[0]!r}; known: {', '.join(sorted(known))}")
    return [fact for fact in facts if fact.relation in wanted]


def _stability(options: argparse.Namespace) -> None:
    from fthall import releases, stability
    from fthall.terminal import stability_text

    read = releases.read_alike(options.labels)
    made = stability.stability([list(bits) for rows, _ in read for bits in rows["right"]])
    if options.json:
        import json
        from dataclasses import asdict

        say(json.dumps(asdict(made), indent=1))
    else:
        say(stability_text(made))


def _release_build(options: argparse.Namespace) -> None:
    from fthall import releases, splits

    release = releases.build_from_labels(
        options.labels,
        options.out,
        source=options.source,
        base=options.base,
        sizes=(options.known, options.unknown, options.held, options.held_val),
        rule=splits.Rule(
            options.min_highly_known, options.seed, options.held_from, given_away=not options.without_given_away
        ),
    )
    say(f"{release.track}: {', '.join(f'{len(f)} {s}' for s, f in release.splits.items())}")
    say(f"release {release.digest[:12]} in {options.out}")


def _release_check(options: argparse.Namespace) -> None:
    from fthall import splits

    for name in options.track or splits.tracks():
        manifest = splits.verify(name)
        if lacking := splits.absent(name):
            say(f"{name}: release {manifest['digest'][:12]}: hashes verified; not drawn again: {lacking}")
            continue
        release = splits.load(name)
        if not splits.rebuilt(release, name):
            raise FthallError(f"{name}: the labels do not give the splits of the release; it was not made by this code")
        say(f"{name}: release {release.digest[:12]} verified, and drawn again from {manifest['source']['name']}")


def _run_all(
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
) -> None:
    """Every run of a recipe, one after the other, under one progress bar."""
    from fthall import experiment
    from fthall.tracking import local_store

    uri = None if options.no_tracking else options.tracking_uri or local_store(work)
    questions = sum(len(facts) for facts in release.splits.values())
    epochs = recipe.training.epochs
    # One unit is one trained example; a question answered costs about a fifth of one.
    units = {
        run.entry: 5 * epochs * sum(len(release.splits[s]) for s in run.trained_on) + (epochs + 3) * questions
        for run, _ in runs
    }
    with _progress() as progress:
        task = progress.add_task("training and evaluation", total=sum(units[run.entry] for run, _ in runs), rate="")
        done = 0
        for number, (run, seed) in enumerate(runs, 1):
            progress.update(task, description=f"{number}/{len(runs)} {run.entry} seed {seed}", completed=done)

            def on_epoch(point: "EpochPoint", run: "Run" = run) -> None:
                progress.console.print(
                    f"  {run.entry:18} epoch {point.epoch:g}: known {point.known:5.1f}  "
                    f"new facts {point.unknown:5.1f}  old facts {point.held:5.1f}",
                    highlight=False,
                )

            submission = experiment.run_one(
                recipe,
                run,
                seed,
                release,
                track_argument=track_argument,
                work=work,
                submissions=submissions,
                authors=options.author or ["fthall"],
                contact=options.contact,
                command=command,
                tracking_uri=uri,
                resumable=resumable,
                keep_checkpoint=not options.discard_checkpoints,
                on_examples=lambda count: progress.advance(task, 5 * count),
                on_answers=lambda count: progress.advance(task, count),
                on_epoch=on_epoch,
            )
            done += units[run.entry]
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


def _run(options: argparse.Namespace) -> None:
    from fthall import splits
    from fthall.finetune.methods import load_recipe

    _quiet()
    instead = {name: value for name in ("track", "base", "revision") if (value := getattr(options, name))}
    # Another base has revisions of its own.
    recipe = load_recipe(options.recipe).model_copy(
        update=instead | ({"revision": options.revision} if options.base else {})
    )
    release = splits.load(recipe.track)
    seeds = options.seeds or recipe.seeds
    entries = {run.entry for run in recipe.runs}
    chosen = set(options.only.split(",")) if options.only else entries
    if unknown := chosen - entries:
        raise FthallError(f"unknown entry {sorted(unknown)[0]!r}; {options.recipe} has {', '.join(sorted(entries))}")
    runs = [(run, seed) for seed in seeds for run in recipe.runs if run.entry in chosen]
    _run_all(
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
    )
    say(f"submissions: {options.submissions / release.track}")


def _evaluate(options: argparse.Namespace) -> None:
    from fthall import metrics, models, splits
    from fthall.engines.hf import HfEngine
    from fthall.evaluate import evaluate
    from fthall.files import write_jsonl
    from fthall.records import Outcome

    _quiet()
    release = splits.load(options.track)
    model, tokenizer = models.load(models.find(options.model, options.revision), dtype=options.dtype)
    with _progress() as progress:
        advance = _bar(progress, options.track, sum(len(facts) for facts in release.splits.values()))
        answers = evaluate(HfEngine(model, tokenizer, batch_size=options.batch_size), release, on_answers=advance)
    say(f"{'split':10} {'facts':>6} {'correct':>8} {'wrong':>8} {'abstained':>10}")
    for split, rows in answers.items():
        found = metrics.counts(rows)
        shares = {outcome: 100 * found[outcome] / len(rows) for outcome in Outcome}
        say(
            f"{split:10} {len(rows):6d} {shares[Outcome.CORRECT]:7.1f}% {shares[Outcome.WRONG]:7.1f}% "
            f"{shares[Outcome.ABSTAINED]:9.1f}%"
        )
    if options.out:
        rows_out = ({"fact_id": a.fact_id, "prediction": a.prediction} for rows in answers.values() for a in rows)
        write_jsonl(options.out, rows_out)
        say(f"answers: {options.out}")


def _submit(options: argparse.Namespace) -> None:
    from fthall import submit

    _quiet()
    made = submit.from_checkpoint(options.model, options.card, options.out, revision=options.revision)
    say(f"{made}: valid; commit it and open a pull request")


def _validate(options: argparse.Namespace) -> None:
    from fthall import board, splits, submission

    release = splits.load(str(options.release)) if options.release else None
    folders = options.folder or submission.find(options.submissions)
    if not folders:
        raise FthallError(f"no submissions under {options.submissions}; give a folder …/<source>/<base>/<slug>")
    if not (options.folder or release):
        for track, why in board.lacking(options.submissions).items():
            say(f"{options.submissions / track}: not checked: {why}")
            folders = [folder for folder in folders if folder.parent != options.submissions / track]
    for folder in folders:
        found = submission.validate(folder, release)
        numbers = ", ".join(f"{split} {found.accuracy(split):.1f}" for split in found.answers)
        say(f"{folder}: valid ({numbers})")


def _site(options: argparse.Namespace) -> None:
    from fthall import site, splits

    release = splits.load(str(options.release)) if options.release else None
    say(f"page: {site.render(options.submissions, options.out, release=release)}")


def _report(options: argparse.Namespace) -> None:
    from fthall import report, splits, terminal

    release = splits.load(str(options.release)) if options.release else None
    runs = report.find_runs(options.place, release)
    release = release or splits.load(runs[0].card.track)
    reference = report.find_reference(options.place, release)
    on = report.ground(release)
    made = report.report(runs, reference, on)
    _tell(
        options,
        made,
        report.items(reference, runs, Split(options.items), on) if options.items and reference else [],
        terminal.report_text,
    )


def _compare(options: argparse.Namespace) -> None:
    from fthall import report, splits, terminal

    release = splits.load(str(options.release)) if options.release else None
    first, second = (report.find_runs(place, release) for place in (options.first, options.second))
    on = report.ground(release or splits.load(first[0].card.track))
    made = report.compare(first, second, on)
    differing = report.items(first, second, Split(options.items), on) if options.items else []
    _tell(options, made, differing, terminal.comparison_text)


def _control(options: argparse.Namespace) -> None:
    import json

    from fthall import controls, splits
    from fthall.files import write_json

    release = splits.load(options.track)
    if options.control == "reference":
        from fthall import report

        root = options.submissions / release.track
        found = controls.reference(report.find_reference(root / "any", release), report.ground(release))
    else:
        from fthall.experiment import hardware

        found = _model_control(options, release) | {"hardware": hardware()}
    say(json.dumps(found, ensure_ascii=False, indent=1))
    if options.out:
        write_json(options.out, found)
    if not found.get("passed", True):
        raise FthallError(f"the control {options.control!r} did not pass on this machine; what it found is above")


def _model_control(options: argparse.Namespace, release: "Release") -> dict[str, Any]:
    """The controls that ask a model."""
    from fthall import controls, models

    _quiet()
    checkpoint = models.find(getattr(options, "model", None) or options.base, options.revision)
    if options.control == "noop":
        return controls.noop(release, lambda: models.load(checkpoint, for_training=True))
    if options.control == "batching":
        from fthall.evaluate import lm_eval_answers

        model, tokenizer = models.load(checkpoint, dtype=options.dtype)
        return controls.batching(
            release,
            model,
            tokenizer,
            lm_eval=lambda: lm_eval_answers(checkpoint.location, options.track, dtype=options.dtype, quiet=True)[0],
        )
    from fthall.engines.hf import HfEngine

    pair = _with_reference(options.submission, release) if options.submission else None
    model, tokenizer = models.load(checkpoint, dtype=release.manifest["slick"]["dtype"])
    asked = options.model or options.base
    # The last two parts of a folder's path name a checkpoint; where it lies on this machine is nobody's business.
    name = "/".join(Path(asked).resolve().parts[-2:]) if Path(asked).is_dir() else asked
    identity = {"base": name, "weights_sha256": models.weights_sha256(checkpoint)}
    runs = options.runs or int(release.manifest["slick"]["runs"])
    with _progress() as progress:
        advance = _bar(progress, "null", runs * len(release.splits[Split.HELD]))
        found = controls.null(
            release,
            HfEngine(model, tokenizer, batch_size=96),
            options.labels,
            identity={**identity, "dtype": release.manifest["slick"]["dtype"]},
            seed=options.seed,
            runs=runs,
            samples=options.samples,
            on_answers=advance,
        )
    return found | ({"run": pair[1].slug, "forgotten_facts_are_now": controls.lost(found, *pair)} if pair else {})


def _with_reference(place: Path, release: "Release") -> "tuple[Submission, Submission]":
    """A submission, and the run of the reference it is compared with."""
    from fthall import report

    runs, reference = report.find_runs(place, release), report.find_reference(place, release)
    if not reference or len(runs) != 1:
        raise FthallError(f"{place}: give the folder of one submission, with the Only-Known reference beside it")
    return report.twins(reference, runs)[0]


def _tell(options: argparse.Namespace, made: Any, differing: list[Any], text: Callable[[Any], str]) -> None:
    """A report or a comparison on standard output, as text or as JSON."""
    if options.json:
        import json
        from dataclasses import asdict

        found = asdict(made) | ({"items": [asdict(item) for item in differing]} if options.items else {})
        say(json.dumps(found, ensure_ascii=False, indent=1, allow_nan=False))
        return
    from fthall.terminal import items_text

    say(text(made))
    if options.items:
        say(f"\n{items_text(differing)}" if differing else "\nno item differs")


def _table(options: argparse.Namespace) -> None:
    from fthall import board

    say(board.table(options.submissions), end="")


def _demo(options: argparse.Namespace) -> None:
    from fthall import demo, models
    from fthall.finetune.methods import load_recipe
    from fthall.paths import data_dir

    started = time.monotonic()
    _quiet()
    say("fthall demo: fine-tune a real 135M model on facts it does not know, and ask what it forgot.")
    out: Path = options.out.resolve()
    tiny = options.smallest
    size = demo.DemoSize(known=8, unknown=8, held=8, held_val=4, spot_check=2) if tiny else demo.DemoSize()
    release = demo.demo_release(out / "release" / demo.DEMO_TRACK, size)
    say(f"1 release: {', '.join(f'{len(facts)} {split}' for split, facts in release.splits.items())}")
    report_file = out / "slick-spot-check.json"
    if not report_file.exists():
        say("2 SLiCK: asking the base model again about some of these facts, in 20 contexts each")
        engine, identity = demo.label_engine()
        with _progress() as progress:
            advance = _bar(progress, "SLiCK", 2 * size.spot_check * int(release.manifest["slick"]["runs"]))
            demo.spot_check(release, engine, report_file, size, identity=identity, on_answers=advance)
        del engine
        models.free_memory()
    from fthall.files import read_json

    report = read_json(report_file)
    say(f"2 SLiCK: {report['agree']} of {report['asked']} labels came out as shipped")
    recipe = load_recipe(data_dir("benchmark/recipes") / "demo.yaml")
    if tiny:
        recipe = recipe.model_copy(
            update={"training": recipe.training.model_copy(update={"epochs": 1}), "runs": recipe.runs[:2]}
        )
    say(f"3 baselines: {len(recipe.runs)} runs of {recipe.training.epochs} epochs, then lm-eval on each")
    submissions = out / "submissions"
    _run_all(
        recipe,
        release,
        track_argument=str(out / "release" / demo.DEMO_TRACK),
        runs=[(run, recipe.seeds[0]) for run in recipe.runs],
        work=out / "runs",
        submissions=submissions,
        options=options,
        command="make demo",
        resumable=False,
    )
    from fthall import site

    note = (
        "This is the demo: a shortened benchmark with one seed, few facts and few epochs. "
        "Its numbers show the picture; they are no leaderboard results."
    )
    page = site.render(submissions, out / "site", release=release, note=note)
    say(f"4 page, after {(time.monotonic() - started) / 60:.1f} minutes: {page.as_uri()}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="fthall", description="What did this fine-tuning make the model forget? A benchmark of factual forgetting."
    )
    parser.add_argument("--version", action="version", version=f"fthall {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    def command(name: str, run: Callable[[argparse.Namespace], None], help: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=help, description=help)
        added.set_defaults(run=run)
        return added

    def base_options(added: argparse.ArgumentParser, name: str, dtype: str) -> None:
        added.add_argument("--revision", help=f"commit, tag or branch of {name}, if it is a Hugging Face id")
        added.add_argument("--dtype", default=dtype, choices=["bfloat16", "float16", "float32"])
        added.add_argument("--batch-size", type=_positive, default=96, help="questions answered together")

    def run_options(added: argparse.ArgumentParser) -> None:
        added.add_argument("--no-tracking", action="store_true", help="do not track with MLflow")
        added.add_argument("--tracking-uri", help="MLflow tracking URI (default: a SQLite store in the work folder)")
        added.add_argument("--author", action="append", help="for the submission's card; may be given several times")
        added.add_argument("--contact", default="the fthall maintainers", help="for the card")
        added.add_argument("--discard-checkpoints", action="store_true", help="keep results only, to save disk space")

    demo = command("demo", _demo, "the whole benchmark, small: release, SLiCK, baselines, lm-eval, page")
    demo.add_argument("--out", type=Path, default=Path("demo-output"), help="folder for all it makes")
    demo.add_argument("--smallest", action="store_true", help="a handful of facts and two runs, to test the machinery")
    run_options(demo)

    command("tasks-dir", _tasks_dir, "print the folder of the lm-eval tasks, for --include_path")
    command("tracks", _tracks, "list the tracks that ship with fthall")

    fetch = command("fetch", _fetch, "download the facts of a source that is not shipped, and check them")
    fetch.add_argument("source", choices=["entityquestions"])
    fetch.add_argument("--archive", type=Path, help="a .tar.gz or .zip of it, instead of downloading one")

    slick = command("slick", _slick, "label what a base model knows (SLiCK)")
    slick.add_argument("--source", default="geonames", help="where the facts come from")
    slick.add_argument(
        "--facts", type=Path, help="your own, instead: JSON lines, CSV or Parquet with question, answers"
    )
    slick.add_argument("--base", default="smollm2-135m", help="folder, Hugging Face id, or the embedded smollm2-135m")
    slick.add_argument("--relations", help="only these, separated by commas")
    slick.add_argument("--preset", default="kaplan2026", choices=["kaplan2026", "gekhman2024"])
    slick.add_argument("--runs", type=_positive, help="contexts a question is asked in (default: the preset's)")
    slick.add_argument("--shots", type=_positive, help="exemplars a context (default: the preset's)")
    slick.add_argument("--samples", type=_count, help="sampled answers a context where no greedy one is right")
    slick.add_argument("--exact", action="store_true", help="compute the chance of a right sample, draw none")
    slick.add_argument(
        "--adaptive", action="store_true", help="ask no more once a category is settled; same categories"
    )
    slick.add_argument("--engine", default="hf", choices=["hf", "vllm", "generate"], help="what answers")
    slick.add_argument("--tensor-parallel", type=_positive, default=1, help="GPUs that share the model (vllm)")
    slick.add_argument("--workers", type=_positive, help="answer on this many workers of a Ray cluster")
    slick.add_argument("--ray", metavar="ADDRESS", help="of a running cluster, or auto (default: one on this machine)")
    slick.add_argument("--gpus-per-worker", type=_share, default=0)
    slick.add_argument("--cpus-per-worker", type=_share, default=1)
    slick.add_argument("--answers", action="store_true", help="keep the text of every answer (slower)")
    slick.add_argument("--single-answer", action="store_true", help="leave out questions with several answers")
    slick.add_argument(
        "--shard", type=_shard, metavar="I/N", help="every N-th fact from the I-th on; then build from all"
    )
    slick.add_argument("--seed", type=int, default=0)
    slick.add_argument(
        "--out", type=Path, required=True, help="labels, a Parquet file; with --facts your rows with a category each"
    )
    base_options(slick, "--base", "bfloat16")

    stability = command("stability", _stability, "how sure labels are: halves of the runs, and fewer of them")
    stability.add_argument("labels", type=Path, nargs="+", help="from fthall slick, without --adaptive")
    stability.add_argument("--json", action="store_true", help="print JSON instead of tables")

    release = commands.add_parser("release", help="build or check the frozen splits of a track")
    actions = release.add_subparsers(required=True, metavar="ACTION")
    build = actions.add_parser("build", help="draw the splits from labels")
    build.set_defaults(run=_release_build)
    build.add_argument("labels", type=Path, nargs="+", help="labels files, of different facts")
    build.add_argument("--source", default="geonames")
    build.add_argument("--base", help="what the base is called in the name of the track (default: from the labels)")
    build.add_argument("--out", type=Path, required=True)
    for name in ("known", "unknown", "held", "held-val"):
        build.add_argument(f"--{name}", type=_positive, required=True, help="facts in this split")
    build.add_argument("--min-highly-known", type=float, default=0.30, help="share a relation must have to be kept")
    build.add_argument("--held-from", default="dev", choices=["dev", "all"], help="all: what is left of train, too")
    build.add_argument(
        "--without-given-away", action="store_true", help="leave out facts whose answer stands in the subject's name"
    )
    build.add_argument("--seed", type=int, default=0)
    check = actions.add_parser("check", help="verify every hash of a release")
    check.set_defaults(run=_release_check)
    check.add_argument("track", nargs="*", help="name or folder (default: all that ship)")

    run = command("run", _run, "train and evaluate the runs of a recipe; one submission folder each")
    run.add_argument("recipe", type=Path)
    run.add_argument("--only", help="entries, separated by commas")
    run.add_argument("--track", help="name of a track, or a release's folder, instead of the recipe's")
    run.add_argument("--base", help="that track's base, instead of the recipe's: folder or Hugging Face id")
    run.add_argument("--revision", help="commit, tag or branch of --base")
    run.add_argument("--seeds", type=_seeds, help="instead of the recipe's, separated by commas")
    run.add_argument("--work", type=Path, default=Path("runs"), help="checkpoints and trajectories")
    run.add_argument("--submissions", type=Path, default=Path("submissions"))
    run_options(run)

    evaluate = command("evaluate", _evaluate, "ask a checkpoint the questions of a track (fast; lm-eval is the judge)")
    evaluate.add_argument("model", help="folder or Hugging Face id")
    evaluate.add_argument("--track", default="geonames/smollm2-135m")
    evaluate.add_argument("--out", type=Path, help="write every answer here (JSON lines)")
    base_options(evaluate, "the model", "float32")

    submit = command("submit", _submit, "evaluate a checkpoint with lm-eval and write its submission folder")
    submit.add_argument("model", help="folder or Hugging Face id")
    submit.add_argument("--card", type=Path, required=True, help="YAML: see leaderboard/pages/submit.md")
    submit.add_argument("--out", type=Path, default=Path("submissions"))
    submit.add_argument("--revision")

    validate = command("validate", _validate, "check submission folders; their counts are recomputed")
    validate.add_argument("folder", type=Path, nargs="*", help="default: every one under --submissions")
    validate.add_argument("--submissions", type=Path, default=Path("submissions"))
    validate.add_argument("--release", type=Path, help="a release's folder instead of the shipped one")

    def report_options(added: argparse.ArgumentParser) -> None:
        added.add_argument("--json", action="store_true", help="print JSON instead of tables")
        added.add_argument("--items", choices=[*Split], help="list the facts of this split whose outcome differs")
        added.add_argument("--release", type=Path, help="a release's folder instead of the shipped one")

    report = command("report", _report, "what a run forgot, with intervals, transitions and bins")
    report.add_argument(
        "place", metavar="run", type=Path, help="a submission's folder, or <track's folder>/<entry> for all its seeds"
    )
    report_options(report)

    compare = command("compare", _compare, "how two runs, or two entries, differ on the same facts")
    compare.add_argument("first", type=Path, help="as for report")
    compare.add_argument("second", type=Path)
    report_options(compare)

    control = commands.add_parser("control", help="what the measure says where the true answer is known")
    kinds = control.add_subparsers(required=True, metavar="CONTROL", dest="control")

    def kind(name: str, help: str) -> argparse.ArgumentParser:
        added = kinds.add_parser(name, help=help, description=help)
        added.set_defaults(run=_control)
        added.add_argument("--track", default="geonames/smollm2-135m", help="name of a track, or a release's folder")
        added.add_argument("--out", type=Path, help="write the result here, too (JSON)")
        added.add_argument("--base", default="smollm2-135m", help="the track's base: folder, Hugging Face id, embedded")
        added.add_argument("--revision")
        return added

    of_reference = kind("reference", "the reference handed in as an entry: must forget exactly nothing")
    of_reference.add_argument("--submissions", type=Path, default=Path("submissions"))
    of_null = kind("null", "the base asked again in fresh contexts: what choosing 'always right' facts costs")
    of_null.add_argument("model", nargs="?", help="a fine-tuned checkpoint instead: what is lost, what out of reach")
    of_null.add_argument(
        "--samples", type=_count, default=0, help="sampled answers a context where no greedy one is right"
    )
    of_null.add_argument("--submission", type=Path, help="the checkpoint's: what are the facts now that it forgot?")
    of_null.add_argument("--seed", type=int, default=1, help="of the contexts")
    of_null.add_argument("--runs", type=_positive, help="contexts a fact (default: as many as the labels have)")
    of_null.add_argument("--labels", type=Path, default=Path("null.parquet"), help="every answer; resumed if begun")
    kind("noop", "training with learning rate 0: must change no answer")
    of_batching = kind("batching", "a checkpoint asked in other batches and orders, and by lm-eval: the noise floor")
    of_batching.add_argument("model", nargs="?", help="checkpoint (default: the base)")
    of_batching.add_argument("--dtype", default="float32", choices=["bfloat16", "float16", "float32"])

    table = command("table", _table, "print the leaderboard's table as Markdown")
    table.add_argument("--submissions", type=Path, default=Path("submissions"))

    site = command("site", _site, "render the leaderboard")
    site.add_argument("--submissions", type=Path, default=Path("submissions"))
    site.add_argument("--out", type=Path, default=Path("site"))
    site.add_argument("--release", type=Path, help="a release's folder instead of the shipped ones")
    return parser


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not at least 1")
    return value


def _count(text: str) -> int:
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"{text} is less than 0")
    return value


def _share(text: str) -> float:
    value = float(text)
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"{text} is no number from 0 on")
    return value


def _shard(text: str) -> tuple[int, int]:
    number, _, count = text.partition("/")
    if not (number.isdecimal() and count.isdecimal() and 1 <= int(number) <= int(count)):
        raise argparse.ArgumentTypeError(f"{text!r} is no shard such as 1/4, the first of four")
    return int(number), int(count)


def _seeds(text: str) -> list[int]:
    if not all(part.strip().isdecimal() for part in text.split(",")):
        raise argparse.ArgumentTypeError(f"{text!r} is no list of seeds such as 0,1,2")
    return [int(part) for part in text.split(",")]


def main(arguments: list[str] | None = None) -> int:
    """Run a command. 0: done; 2: bad input, told in one line; 130: interrupted."""
    options: Any = _parser().parse_args(arguments)
    try:
        options.run(options)
    except FthallError as error:
        sys.stderr.write(f"fthall: {error}\n")
        return 2
    except OSError as error:
        sys.stderr.write(f"fthall: {error.filename or ''}: {error.strerror or error}\n")
        return 2
    except Exception as error:  # only to tell a full disk, which safetensors and SQLite report in their own ways
        if not any(sign in str(error) for sign in ("No space left", "os error 28", "disk is full")):
            raise
        sys.stderr.write("fthall: the disk is full; free space and type the same command again to go on\n")
        return 2
    except KeyboardInterrupt:
        sys.stderr.write("\nfthall: interrupted; type the same command again to go on\n")
        return 130
    return 0
