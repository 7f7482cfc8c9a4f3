"""``fthall validate``: check submission folders; their counts are recomputed."""

import argparse
from pathlib import Path

from fthall.commands.options import given_release, release_option, submissions_option
from fthall.commands.progress import say
from fthall.errors import FthallError

NAME = "validate"
HELP = "check submission folders; their counts are recomputed"


def configure(parser: argparse.ArgumentParser) -> None:
    """Its options."""
    parser.set_defaults(run=run)
    parser.add_argument("folder", type=Path, nargs="*", help="default: every one under --submissions")
    submissions_option(parser)
    release_option(parser)


def run(options: argparse.Namespace) -> None:
    """Do it."""
    from fthall import submissions

    release = given_release(options)
    folders = options.folder or submissions.find(options.submissions)
    if not folders:
        raise FthallError(f"no submissions under {options.submissions}; give a folder …/<source>/<base>/<slug>")
    if not (options.folder or release):
        for track, why in submissions.lacking(options.submissions).items():
            say(f"{options.submissions / track}: not checked: {why}")
            folders = [folder for folder in folders if folder.parent != options.submissions / track]
    for folder in folders:
        found = submissions.validate(folder, release)
        numbers = ", ".join(f"{split} {found.accuracy(split):.1f}" for split in found.answers)
        say(f"{folder}: valid ({numbers})")
