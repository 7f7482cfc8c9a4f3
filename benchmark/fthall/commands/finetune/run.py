"""``fthall run``: train and evaluate the runs of a recipe; one submission folder each."""

import argparse
from pathlib import Path

from fthall.commands.finetune.runs import run_all
from fthall.commands.options import run_options, seeds, submissions_option
from fthall.commands.progress import quiet, say
from fthall.errors import FthallError

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
        evaluated=options.evaluate == "now",
    )
    if options.evaluate == "later":
        say(f"trained, not evaluated: {options.work}; take it along, and type the same without --evaluate later")
    else:
        say(f"submissions: {options.submissions / release.track}")
