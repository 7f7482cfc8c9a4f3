"""``fthall fetch``: download the facts of a source that is not shipped, and check them."""

import argparse
from pathlib import Path

from fthall.commands.progress import say

NAME = "fetch"
HELP = "download the facts of a source that is not shipped, and check them"


def configure(parser: argparse.ArgumentParser) -> None:
    """Its options."""
    parser.set_defaults(run=run)
    parser.add_argument("source", choices=["entityquestions"])
    parser.add_argument("--archive", type=Path, help="a .tar.gz or .zip of it, instead of downloading one")


def run(options: argparse.Namespace) -> None:
    """Do it."""
    from fthall.facts import entityquestions

    say(f"EntityQuestions: {entityquestions.fetch(options.archive)}")
