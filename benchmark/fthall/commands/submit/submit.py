"""``fthall submit``: evaluate a checkpoint with lm-eval and write its submission folder."""

import argparse
from pathlib import Path

from fthall.commands.options import adapter_option
from fthall.commands.progress import quiet, say

NAME = "submit"
HELP = "evaluate a checkpoint with lm-eval and write its submission folder"


def configure(parser: argparse.ArgumentParser) -> None:
    """Its options."""
    parser.set_defaults(run=run)
    parser.add_argument("model", help="folder or Hugging Face id")
    parser.add_argument("--card", type=Path, required=True, help="YAML: see leaderboard/pages/submit.md")
    parser.add_argument("--out", type=Path, default=Path("submissions"))
    parser.add_argument("--revision")
    adapter_option(parser, "MODEL")


def run(options: argparse.Namespace) -> None:
    """Do it."""
    from fthall.submissions.make import from_checkpoint

    quiet()
    made = from_checkpoint(
        options.model, options.card, options.out, revision=options.revision, adapter_base=options.adapter_base
    )
    say(f"{made}: valid; commit it and open a pull request")
