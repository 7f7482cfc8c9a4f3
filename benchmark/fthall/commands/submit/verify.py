"""``fthall verify``: ask a submission's own weights again (for maintainers)."""

import argparse
from pathlib import Path

from fthall.commands.options import positive
from fthall.commands.progress import bar, display, quiet, say
from fthall.errors import FthallError

NAME = "verify"
HELP = "ask a random part of a submission's questions of the weights it pins (for maintainers)"


def configure(parser: argparse.ArgumentParser) -> None:
    """Its options."""
    parser.set_defaults(run=run)
    parser.add_argument("submission", type=Path, help="its folder")
    parser.add_argument("--checkpoint", type=Path, help="folder of the pinned files (default: they are fetched)")
    parser.add_argument("--base", help="of an adapter or a delta: the track's base, a folder, id or the embedded one")
    parser.add_argument(
        "--seed",
        help="what the draw hangs on; unknown when the weights were pinned, such as a later round of a public beacon "
        "(default: drawn here)",
    )
    parser.add_argument("--items", default="299", help="of each split, or all (default: 299)")
    parser.add_argument("--out", type=Path, help="folder of the maintainers' files (default: leaderboard/verified)")
    parser.add_argument("--release", type=Path, help="a release's folder instead of the shipped one")
    parser.add_argument("--batch-size", type=positive, default=96)
    parser.add_argument("--memory", type=positive, default=16, help="GiB the asking process may take (default: 16)")
    parser.add_argument("--minutes", type=positive, default=60, help="it may take (default: 60)")


def run(options: argparse.Namespace) -> None:
    """Do it."""
    from fthall.submissions import verify
    from fthall.submissions.tiers import Tier, verified_dir

    quiet()
    if options.items != "all" and not (options.items.isdecimal() and int(options.items)):
        raise FthallError(f"--items {options.items}: give a number from 1 on, or all")
    items = 10**9 if options.items == "all" else int(options.items)
    with display() as progress:
        advance = bar(progress, options.submission.name, None)
        found = verify.verify(
            options.submission,
            track_argument=str(options.release) if options.release else None,
            checkpoint=options.checkpoint,
            base=options.base,
            seed=options.seed,
            items=items,
            limits=verify.Limits(options.memory * 2**30, 60.0 * options.minutes),
            batch_size=options.batch_size,
            on_answers=advance,
        )
    say(f"{'split':10} {'asked':>13} {'otherwise':>10} {'false at most':>14} {'p':>8}   would be seen (95 %)")
    for split, of in found.asked.items():
        part = "0.0" if of.asked == of.items else f"{100 * verify.seen_with(of.asked):.1f}"
        counted = f"{of.asked:5d} of {of.items:4d} {len(of.flips):10d} {100 * of.false_at_most:12.2f} % {of.p:8.2g}"
        say(f"{split:10} {counted}   more than {part} % false")
    say(f"seed {found.record['seed']}, flip rate at most {100 * found.record['flip_rate']:.2f} %")
    if found.tier is None:
        raise FthallError(f"{options.submission}: too little was asked to tell; type --items all")
    say(f"{found.tier}: {verify.write(found, options.out or verified_dir())}")
    if found.tier is Tier.REFUTED:
        raise FthallError(f"{options.submission} is refuted: its own weights give other answers than it claims")
