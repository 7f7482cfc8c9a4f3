"""``fthall compare``: how two runs, or two entries, differ on the same facts."""

import argparse
from pathlib import Path

from fthall.commands.measure.reports import report_options, tell
from fthall.commands.options import given_release
from fthall.records import Split

NAME = "compare"
HELP = "how two runs, or two entries, differ on the same facts"


def configure(parser: argparse.ArgumentParser) -> None:
    """Its options."""
    parser.set_defaults(run=run)
    parser.add_argument("first", type=Path, help="as for report")
    parser.add_argument("second", type=Path)
    report_options(parser)


def run(options: argparse.Namespace) -> None:
    """Do it."""
    from fthall.knowledge import splits
    from fthall.measure import report, runs, terminal
    from fthall.submissions import find_runs

    release = given_release(options)
    first, second = (find_runs(place, release) for place in (options.first, options.second))
    on = runs.ground(release or splits.load(first[0].track))
    made = report.compare(first, second, on)
    differing = report.items(first, second, Split(options.items), on) if options.items else []
    tell(options, made, differing, terminal.comparison_text)
