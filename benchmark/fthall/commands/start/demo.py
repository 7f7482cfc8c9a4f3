"""``fthall demo``: the whole benchmark, small. What ``make demo`` runs.

A release cut down from the shipped one, a spot check of its labels, every reference baseline with its bounds, lm-eval
on each checkpoint, a submission folder a run, and the page.
"""

import argparse
import time
from pathlib import Path

from fthall.commands.finetune.runs import run_all
from fthall.commands.options import run_options
from fthall.commands.progress import bar, display, quiet, say

NAME = "demo"
HELP = "the whole benchmark, small: release, SLiCK, baselines, lm-eval, page"


def configure(parser: argparse.ArgumentParser) -> None:
    """Its options."""
    parser.set_defaults(run=run)
    parser.add_argument("--out", type=Path, default=Path("demo-output"), help="folder for all it makes")
    parser.add_argument("--smallest", action="store_true", help="a handful of facts and two runs: tests the machinery")
    run_options(parser)
    parser.set_defaults(not_resumable=True)  # a run takes minutes


def run(options: argparse.Namespace) -> None:
    """Do it."""
    from fthall import bases
    from fthall.commands.start import stages
    from fthall.files import read_json
    from fthall.finetune import load_recipe
    from fthall.leaderboard import render
    from fthall.paths import data_dir

    started = time.monotonic()
    quiet()
    say("fthall demo: fine-tune a real 135M model on facts it does not know, and ask what it forgot.")
    out: Path = options.out.resolve()
    tiny = options.smallest
    size = stages.DemoSize(known=8, unknown=8, held=8, held_val=4, spot_check=2) if tiny else stages.DemoSize()
    release = stages.demo_release(out / "release" / stages.DEMO_TRACK, size)
    say(f"1 release: {', '.join(f'{len(facts)} {split}' for split, facts in release.splits.items())}")
    report_file = out / "slick-spot-check.json"
    if not report_file.exists():
        say("2 SLiCK: asking the base model again about some of these facts, in 20 contexts each")
        engine, identity = stages.label_engine()
        with display() as progress:
            advance = bar(progress, "SLiCK", 2 * size.spot_check * int(release.manifest["slick"]["runs"]))
            stages.spot_check(release, engine, report_file, size, identity=identity, on_answers=advance)
        del engine
        bases.free_memory()
    report = read_json(report_file)
    say(f"2 SLiCK: {report['agree']} of {report['asked']} labels came out as shipped")
    recipe = load_recipe(data_dir("benchmark/recipes") / "demo.yaml")
    if tiny:
        recipe = recipe.model_copy(
            update={"training": recipe.training.model_copy(update={"epochs": 1}), "runs": recipe.runs[:2]}
        )
    say(f"3 baselines: {len(recipe.runs)} runs of {recipe.training.epochs} epochs, then lm-eval on each")
    submissions = out / "submissions"
    evaluation = run_all(
        recipe,
        release,
        track_argument=str(out / "release" / stages.DEMO_TRACK),
        runs=[(run, recipe.seeds[0]) for run in recipe.runs],
        work=out / "runs",
        submissions=submissions,
        options=options,
        command="make demo",
    )
    note = (
        "This is the demo: a shortened benchmark with one seed, few facts and few epochs. "
        "Its numbers show the picture; they are no leaderboard results."
    )
    page = render(submissions, out / "site", release=release, note=note)
    minutes = (time.monotonic() - started) / 60
    say(f"4 page, after {minutes:.1f} minutes, {evaluation / 60:.1f} of them evaluation: {page.as_uri()}")
