"""The command line: the commands put together, and what becomes of their errors."""

import argparse
import sys
from typing import Any

from fthall import __version__
from fthall.commands import GROUPS
from fthall.errors import FthallError

ABOUT = "What did this fine-tuning make the model forget? A benchmark of factual forgetting."


def _parser() -> argparse.ArgumentParser:
    """All commands; the help lists them by group, in the order a user meets them, which argparse itself cannot."""
    width = max(len(command.NAME) for group in GROUPS for command in group.COMMANDS)
    listed = [
        line
        for group in GROUPS
        for line in (f"\n{group.TITLE}:", *(f"  {c.NAME:{width}}  {c.HELP}" for c in group.COMMANDS))
    ]
    parser = argparse.ArgumentParser(
        prog="fthall",
        usage="fthall [--version] [--help] COMMAND …",
        description=f"{ABOUT}\n{chr(10).join(listed)}\n\n`fthall COMMAND --help` says more of each.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"fthall {__version__}")
    commands = parser.add_subparsers(prog="fthall", required=True, metavar="COMMAND", help=argparse.SUPPRESS)
    for group in GROUPS:
        for command in group.COMMANDS:
            command.configure(commands.add_parser(command.NAME, description=command.HELP))
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Run a command. 0: done; 2: bad input, told in one line; 130: interrupted."""
    options: Any = _parser().parse_args(arguments)
    try:
        options.run(options)
    except FthallError as error:
        sys.stderr.write(f"fthall: {error}\n")
        return 2
    except OSError as error:
        sys.stderr.write(f"fthall: {error.filename or ''}: {error.strerror or error}\n")
        return 2
    except Exception as error:  # only to tell a full disk, which safetensors and SQLite report in their own ways
        if not any(sign in str(error) for sign in ("No space left", "os error 28", "disk is full")):
            raise
        sys.stderr.write("fthall: the disk is full; free space and type the same command again to go on\n")
        return 2
    except KeyboardInterrupt:
        sys.stderr.write("\nfthall: interrupted; type the same command again to go on\n")
        return 130
    return 0
