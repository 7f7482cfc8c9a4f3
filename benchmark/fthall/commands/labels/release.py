"""``fthall release build`` and ``fthall release check``: the frozen splits of a track."""

import argparse
from pathlib import Path

from fthall.commands.options import positive
from fthall.commands.progress import say
from fthall.errors import FthallError

NAME = "release"
HELP = "build or check the frozen splits of a track"


def configure(parser: argparse.ArgumentParser) -> None:
    """Its actions, and their options."""
    actions = parser.add_subparsers(required=True, metavar="ACTION")
    building = actions.add_parser("build", help="draw the splits from labels")
    building.set_defaults(run=_build)
    building.add_argument("labels", type=Path, nargs="*", help="labels files, of different facts")
    building.add_argument(
        "--again", metavar="TRACK", help="draw from the labels of a track's release instead, with its source and base"
    )
    building.add_argument("--source", help="where the facts are from (default: geonames)")
    building.add_argument("--base", help="what the base is called in the name of the track (default: from the labels)")
    building.add_argument("--out", type=Path, required=True)
    for name in ("known", "unknown", "held", "held-val"):
        building.add_argument(f"--{name}", type=positive, required=True, help="facts in this split")
    building.add_argument("--min-highly-known", type=float, default=0.30, help="share a relation must have to be kept")
    building.add_argument("--held-from", default="dev", choices=["dev", "all"], help="all: what is left of train, too")
    building.add_argument(
        "--without-given-away", action="store_true", help="leave out facts whose answer stands in the subject's name"
    )
    building.add_argument("--seed", type=int, default=0)
    checking = actions.add_parser("check", help="verify every hash of a release")
    checking.set_defaults(run=_check)
    checking.add_argument("track", nargs="*", help="name or folder (default: all that ship)")


def _build(options: argparse.Namespace) -> None:
    from fthall.knowledge import draw, releases

    if bool(options.labels) == bool(options.again):
        raise FthallError("give labels files, or --again with a track whose labels are to be drawn from, not both")
    if options.again and (options.source or options.base):
        raise FthallError(f"--again {options.again} has its source and base already; leave out --source and --base")
    sizes = (options.known, options.unknown, options.held, options.held_val)
    rule = draw.Rule(
        options.min_highly_known, options.seed, options.held_from, given_away=not options.without_given_away
    )
    if options.again:
        release = releases.renew(options.again, options.out, sizes=sizes, rule=rule)
    else:
        release = releases.build_from_labels(
            options.labels, options.out, source=options.source or "geonames", base=options.base, sizes=sizes, rule=rule
        )
    say(f"{release.track}: {', '.join(f'{len(f)} {s}' for s, f in release.splits.items())}")
    say(f"release {release.digest[:12]} in {options.out}")


def _check(options: argparse.Namespace) -> None:
    from fthall.knowledge import splits

    for name in options.track or [*splits.tracks(), *splits.retired()]:
        manifest = splits.verify(name)
        if lacking := splits.absent(name):
            say(f"{name}: release {manifest['digest'][:12]}: hashes verified; not drawn again: {lacking}")
            continue
        release = splits.load(name)
        if not splits.rebuilt(release, name):
            raise FthallError(f"{name}: the labels do not give the splits of the release; it was not made by this code")
        say(f"{name}: release {release.digest[:12]} verified, and drawn again from {manifest['source']['name']}")
