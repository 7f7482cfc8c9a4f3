"""``fthall review``: judge a pull request that hands in results, and write the comment on it."""

import argparse
from pathlib import Path

from fthall.commands.options import given_release, release_option
from fthall.commands.progress import say
from fthall.errors import FthallError

NAME = "review"
HELP = "judge a pull request that hands in results"


def configure(parser: argparse.ArgumentParser) -> None:
    """Its options."""
    parser.set_defaults(run=run)
    parser.add_argument("repository", type=Path, nargs="?", default=Path(), help="a git repository (default: here)")
    parser.add_argument("--since", default="HEAD^1", help="the commit before (default: HEAD^1)")
    parser.add_argument("--until", default="HEAD", help="the commit after (default: HEAD)")
    parser.add_argument("--out", type=Path, help="write the report here, as JSON")
    parser.add_argument("--comment", type=Path, metavar="REPORT", help="print a report as Markdown, and do no more")
    release_option(parser)


def run(options: argparse.Namespace) -> None:
    """Do it."""
    from fthall.files import write_json
    from fthall.submissions import pull

    if options.comment:
        say(pull.comment(pull.read_report(options.comment)), end="")
        return
    report = pull.review(options.repository, options.since, options.until, given_release(options))
    if options.out:
        write_json(options.out, report.model_dump(mode="json", by_alias=True))
    for one in report.submissions:
        numbers = ", ".join(f"{split} {value:.1f}" for split, value in one.accuracy.items())
        say(f"{one.folder}: valid ({numbers})")
        for line in one.odd:
            say(f"{one.folder}: worth a look: {line}")
    for line in report.notes:
        say(f"note: {line}")
    if report.refused:
        for line in report.refused:
            say(f"refused: {line}")
        more = f" (and {len(report.refused) - 1} more)" if len(report.refused) > 1 else ""
        raise FthallError(f"refused: {report.refused[0]}{more}")
    say(f"accepted: {report.entry} on {report.track}, {len(report.submissions)} new")
