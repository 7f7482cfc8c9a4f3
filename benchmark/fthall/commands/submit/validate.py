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
    parser.add_argument("--checkpoint", type=Path, help="of the one submission: compare its files and headers, too")
    parser.add_argument("--odd", action="store_true", help="say what looks odd, too, beside all others of the track")
    parser.add_argument(
        "--schema", type=Path, metavar="FOLDER", help="write the JSON Schemas of the files, and be done"
    )
    submissions_option(parser)
    release_option(parser)


def run(options: argparse.Namespace) -> None:
    """Do it."""
    from fthall import submissions

    if options.schema:
        for path in submissions.write_schemas(options.schema):
            say(str(path))
        return
    release = given_release(options)
    folders = options.folder or submissions.find(options.submissions)
    if not folders:
        raise FthallError(f"no submissions under {options.submissions}; give a folder …/<source>/<base>/<slug>")
    if options.checkpoint and len(folders) != 1:
        raise FthallError("--checkpoint is of one submission; give its folder, too")
    if not (options.folder or release):
        for track, why in submissions.lacking(options.submissions).items():
            say(f"{options.submissions / track}: not checked: {why}")
            folders = [folder for folder in folders if folder.parent != options.submissions / track]
    if options.checkpoint:
        submissions.validate(folders[0], release, checkpoint=options.checkpoint)
    rows = []
    for folder, one in zip(folders, submissions.each(folders, release), strict=True):
        numbers = ", ".join(f"{split} {one.accuracy(split):.1f}" for split in one.answers)
        say(f"{folder}: valid ({numbers}; {submissions.tier(one)})")
        rows.append((folder, one))
    for place in dict.fromkeys(folder.resolve().parent for folder in folders):
        submissions.agree(one for folder, one in rows if folder.resolve().parent == place)
    if options.odd:
        _say_odd([folder for folder, _ in rows])


def _say_odd(folders: list[Path]) -> None:
    """What shows of a submission only beside the others of its track."""
    from fthall import submissions
    from fthall.knowledge import splits

    for place in dict.fromkeys(folder.resolve().parent for folder in folders):
        beside = sorted(file.parent for file in place.glob("*/submission.yaml"))
        release = splits.load("/".join(place.parts[-2:]))
        looks = submissions.look(release, list(submissions.each(beside, release)))
        for folder in folders:
            for said in looks[folder.name] if folder.resolve().parent == place else ():
                say(f"{folder}: odd: {said}")
