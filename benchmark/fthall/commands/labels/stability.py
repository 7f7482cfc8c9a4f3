"""``fthall stability``: how sure labels are: halves of the runs, and fewer of them."""

import argparse
from pathlib import Path

from fthall.commands.progress import say

NAME = "stability"
HELP = "how sure labels are: halves of the runs, and fewer of them"


def configure(parser: argparse.ArgumentParser) -> None:
    """Its options."""
    parser.set_defaults(run=run)
    parser.add_argument("labels", type=Path, nargs="+", help="from fthall slick, without --adaptive")
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")


def run(options: argparse.Namespace) -> None:
    """Do it."""
    from fthall.knowledge import releases, stability
    from fthall.measure.terminal import stability_text

    read = releases.read_alike(options.labels)
    made = stability.stability([list(bits) for rows, _ in read for bits in rows["right"]])
    if options.json:
        import json
        from dataclasses import asdict

        say(json.dumps(asdict(made), indent=1))
    else:
        say(stability_text(made))
