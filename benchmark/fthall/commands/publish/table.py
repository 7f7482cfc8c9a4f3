"""``fthall table``: print the leaderboard's table as Markdown."""

import argparse

from fthall.commands.options import submissions_option
from fthall.commands.progress import say

NAME = "table"
HELP = "print the leaderboard's table as Markdown"


def configure(parser: argparse.ArgumentParser) -> None:
    """Its options."""
    parser.set_defaults(run=run)
    submissions_option(parser)


def run(options: argparse.Namespace) -> None:
    """Do it."""
    from fthall.leaderboard import table

    say(table(options.submissions), end="")
