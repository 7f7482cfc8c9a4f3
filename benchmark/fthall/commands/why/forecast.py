"""``fthall forecast``: what fine-tuning on labelled facts will make a model forget."""

import argparse
from pathlib import Path

from fthall.commands.progress import say
from fthall.errors import FthallError

NAME = "forecast"
HELP = "how many old facts will a fine-tuning on these cost? From the share the model does not know"
POINTS = 5.0


def configure(parser: argparse.ArgumentParser) -> None:
    """Its options."""
    parser.set_defaults(run=run)
    parser.add_argument("labels", type=Path, help="what fthall slick --facts mine.jsonl --out labels.parquet wrote")
    parser.add_argument("--entry", default="sft", help="how it will be trained: sft, or self-distill (default: sft)")
    parser.add_argument("--results", type=Path, help="of an experiment like dose.yaml on your own base")


def run(options: argparse.Namespace) -> None:
    """Do it."""
    from fthall.knowledge import releases
    from fthall.paths import data_dir
    from fthall.records import Category
    from fthall.why import forecast, results

    # Beside one's own rows with their categories (fthall slick --facts … --out mine.csv) lie the labels they came from.
    beside = options.labels.with_name(f"{options.labels.name}.labels.parquet")
    table, made = releases.read_labels(beside if beside.exists() else options.labels)
    if table.empty:
        raise FthallError(f"{options.labels} holds no facts; label some with fthall slick --facts")
    found = results.read(options.results or data_dir("leaderboard") / "studies" / "why-dose-gpu.json")
    curve = forecast.fit(found, options.entry)
    counts = table["category"].value_counts()
    unknown = int(counts.get(str(Category.UNKNOWN), 0))
    share = unknown / len(table)
    rest = ", ".join(f"{counts[str(one)]} {one}" for one in Category if str(one) in counts)
    say(f"{unknown} of {len(table)} facts are unknown to {made['base']}, {100 * share:.1f} % ({rest})")
    there, low, high = curve.at(share)
    say(f"forecast for {options.entry}: {there:.1f} points of old facts forgotten ({low:.1f} to {high:.1f})")
    most = curve.carries(POINTS)
    if most is not None:
        say(f"{POINTS:g} points are reached at {100 * most:.0f} % unknown facts")
    training = found.found["training"]
    say(
        f"fitted on {found.found['track']}, {training['epochs']} epochs at {training['learning_rate']:g}: {curve.arms} "
        f"trainings of {curve.seeds} seeds, {curve.shape}; one that is left out is missed by {curve.missed:.1f} points"
    )
    if not made["weights_sha256"].startswith(str(found.found.get("weights_sha256", "-"))):
        say("another base than the curve's, or one it does not name: take the order, not the number; see --results")
