"""``fthall report``: what a run forgot, with intervals, transitions and bins."""

import argparse
from pathlib import Path

from fthall.commands.measure.reports import report_options, tell
from fthall.commands.options import given_release
from fthall.records import Split

NAME = "report"
HELP = "what a run forgot, with intervals, transitions and bins"


def configure(parser: argparse.ArgumentParser) -> None:
    """Its options."""
    parser.set_defaults(run=run)
    parser.add_argument(
        "place", metavar="run", type=Path, help="a submission's folder, or <track's folder>/<entry> for all its seeds"
    )
    report_options(parser)


def run(options: argparse.Namespace) -> None:
    """Do it."""
    from fthall.knowledge import splits
    from fthall.measure import report, runs, terminal
    from fthall.submissions import find_reference, find_runs

    release = given_release(options)
    found = find_runs(options.place, release)
    release = release or splits.load(found[0].track)
    reference = find_reference(options.place, release)
    on = runs.ground(release)
    made = report.report(found, reference, on)
    differing = report.items(reference, found, Split(options.items), on) if options.items and reference else []
    tell(options, made, differing, terminal.report_text)
