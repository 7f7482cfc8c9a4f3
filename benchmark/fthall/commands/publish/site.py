"""``fthall site``: render the leaderboard."""

import argparse
from pathlib import Path

from fthall.commands.options import given_release, release_option, submissions_option
from fthall.commands.progress import say

NAME = "site"
HELP = "render the leaderboard"


def configure(parser: argparse.ArgumentParser) -> None:
    """Its options."""
    parser.set_defaults(run=run)
    submissions_option(parser)
    parser.add_argument("--out", type=Path, default=Path("site"))
    release_option(parser, "ones")


def run(options: argparse.Namespace) -> None:
    """Do it."""
    from fthall.leaderboard import render

    say(f"page: {render(options.submissions, options.out, release=given_release(options))}")
