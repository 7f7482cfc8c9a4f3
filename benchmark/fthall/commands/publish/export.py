"""``fthall export``: write the leaderboard's submissions in the format of Every Eval Ever."""

import argparse
from pathlib import Path

from fthall.commands.options import given_release, release_option, submissions_option
from fthall.commands.progress import say

NAME = "export"
HELP = "write all submissions, scores and answers, in the format of Every Eval Ever"


def configure(parser: argparse.ArgumentParser) -> None:
    """Its options."""
    parser.set_defaults(run=run)
    submissions_option(parser)
    parser.add_argument("--out", type=Path, default=Path("build/export"), help="the folder that gets data/fthall")
    release_option(parser, "ones")


def run(options: argparse.Namespace) -> None:
    """Do it."""
    from fthall.leaderboard.export import export

    files = export(options.submissions, options.out, release=given_release(options))
    say(f"{len(files) // 2} submissions: {options.out / 'data'}")
