"""``fthall tracks``: list the tracks that ship with fthall."""

import argparse

from fthall.commands.progress import say
from fthall.records import Split

NAME = "tracks"
HELP = "list the tracks that ship with fthall"


def configure(parser: argparse.ArgumentParser) -> None:
    """Its options."""
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Do it."""
    from fthall.knowledge import splits
    from fthall.measure import stats

    changing = 0.1  # share of held-out facts that only one of two runs has right; about what SFT shows
    for name in splits.tracks():
        manifest = splits.verify(name)
        sizes = splits.sizes(manifest)
        say(f"{name}  {', '.join(f'{n} {split}' for split, n in sizes.items())}  (release {manifest['digest'][:12]})")
        if lacking := splits.absent(name):
            say(f"  its facts: {lacking}")
        for split in (Split.HELD, Split.HELD_VAL):
            least = stats.minimum_detectable_effect(sizes[split], changing)
            say(f"  {split}: shows differences of {least:.1f} points and more between two checkpoints")
    say(f"(80 % power, if {changing:.0%} of the facts change; whether methods differ also takes seeds, three or more)")
