"""``fthall slick --facts``: anyone's own fine-tuning data in, the same with what a base knows of it out."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from fthall.commands.progress import bar, display, say
from fthall.errors import FthallError

if TYPE_CHECKING:
    import pandas as pd

    from fthall.facts.own import Own

_KEEP = "known, maybe, weakly, unknown, unjudged"


def own_options(parser: argparse.ArgumentParser) -> None:
    """How it is read, and what is written back."""
    parser.add_argument(
        "--facts",
        metavar="FILE_OR_DATASET",
        help="your own data, instead: JSON, CSV, Parquet, Arrow or a dataset of the hub, of questions and answers, "
        "prompts and completions, instructions and outputs, or messages",
    )
    parser.add_argument("--split", default="train", help="of a dataset")
    parser.add_argument("--turn", choices=["first", "last"], help="of a conversation, which is judged")
    parser.add_argument(
        "--several",
        default="merge",
        choices=["merge", "apart", "leave-out"],
        help="questions with several answers: one fact that accepts them all, a fact each, or none",
    )
    parser.add_argument("--keep", metavar="CATEGORIES", help=f"write these rows to a file to train on, too: {_KEEP}")
    parser.add_argument("--dry-run", action="store_true", help="read and check the data, ask nothing")


def survey(options: argparse.Namespace) -> "Own":
    """The data, read once, and what is in it said.

    Raises:
        FthallError: it cannot be used.
    """
    from fthall.facts.own import Own

    if options.relations or options.single_answer or options.shard:
        raise FthallError(
            "--relations, --single-answer and --shard choose from a source; with --facts leave rows out of the file"
        )
    _kept(options.keep)
    mine = Own(options.facts, options.split, options.turn, options.several)
    with display() as progress:
        found = mine.survey(bar(progress, "rows read", None))
    facts = {"merge": found.questions, "apart": found.examples, "leave-out": found.questions - found.several}
    say(f"{mine.source}: {found.rows:,} rows of {found.convention}, {facts[mine.several]:,} facts to ask about")
    if found.long:
        say(f"  {found.long:,} rows ({100 * found.long / found.rows:.1f} %) answer at length; those are not judged")
    if found.several:
        done = {"merge": "any of them is right", "apart": "each is a fact", "leave-out": "they are left out"}
        say(f"  {found.several:,} questions have several answers: {done[mine.several]} (--several {mine.several})")
    return mine


def write_back(mine: "Own", labels: "pd.DataFrame", options: argparse.Namespace, path: Path) -> None:
    """Your rows with a category each; those to train on; and what to do with them.

    Args:
        mine: the data.
        labels: of its facts.
        options: of the command.
        path: of the labels.
    """
    from fthall.facts.own import beside
    from fthall.knowledge.annotate import UNJUDGED, annotate, keep
    from fthall.records import Category

    counts = annotate(mine, labels, options.out)
    judged = counts.total() - counts[UNJUDGED]
    told = f"{100 * counts[Category.UNKNOWN] / judged:.1f} % of the {judged} rows are Unknown to {options.base}"
    if counts[UNJUDGED]:
        told += f", {counts[UNJUDGED]} more are not judged"
    say(f"{told}: {options.out}, column category")
    if chosen := _kept(options.keep):
        place = beside(options.out, "kept")
        say(f"kept {keep(mine, labels, place, chosen)} of {counts.total()} rows ({options.keep}): {place}")
    elif counts[Category.UNKNOWN]:
        say("to train on what it knows alone: the same command with --keep known,maybe (nothing is asked again)")
    say(f"what training on them will cost: fthall forecast {path}")


def _kept(given: str | None) -> list[str]:
    """Names of categories, separated by commas.

    Raises:
        FthallError: there is no such.
    """
    from fthall.knowledge.annotate import KEEP

    names = [name.strip() for name in given.split(",")] if given else []
    if unknown := [name for name in names if name not in KEEP]:
        raise FthallError(f"--keep has no {unknown[0]!r}; choose from {', '.join(KEEP)}, separated by commas")
    return names
