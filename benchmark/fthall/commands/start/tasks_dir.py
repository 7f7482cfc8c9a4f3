"""``fthall tasks-dir``: print the folder of the lm-eval tasks, for --include_path."""

import argparse

from fthall.commands.progress import say
from fthall.paths import tasks_dir

NAME = "tasks-dir"
HELP = "print the folder of the lm-eval tasks, for --include_path"


def configure(parser: argparse.ArgumentParser) -> None:
    """Its options."""
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Do it."""
    say(tasks_dir())
