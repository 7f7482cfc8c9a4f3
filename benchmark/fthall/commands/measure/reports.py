"""What ``fthall report`` and ``fthall compare`` share: their options, and how they tell what they found."""

import argparse
from collections.abc import Callable
from typing import Any

from fthall.commands.options import release_option
from fthall.commands.progress import say
from fthall.records import Split


def report_options(parser: argparse.ArgumentParser) -> None:
    """How to tell it, and on which release."""
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    parser.add_argument("--items", choices=[*Split], help="list the facts of this split whose outcome differs")
    release_option(parser)


def tell(options: argparse.Namespace, made: Any, differing: list[Any], text: Callable[[Any], str]) -> None:
    """A report or a comparison on standard output, as text or as JSON."""
    if options.json:
        import json
        from dataclasses import asdict

        found = asdict(made) | ({"items": [asdict(item) for item in differing]} if options.items else {})
        say(json.dumps(found, ensure_ascii=False, indent=1, allow_nan=False))
        return
    from fthall.measure.terminal import items_text

    say(text(made))
    if options.items:
        say(f"\n{items_text(differing)}" if differing else "\nno item differs")
