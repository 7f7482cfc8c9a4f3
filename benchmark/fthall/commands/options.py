"""Options that several commands share, and what their values may be."""

import argparse
import math
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fthall.records import Release

TRACK = "geonames/smollm2-135m"
BASE = "smollm2-135m"
DTYPES = ("bfloat16", "float16", "float32")


def base_options(parser: argparse.ArgumentParser, name: str, dtype: str) -> None:
    """How a model is found, loaded and asked."""
    parser.add_argument("--revision", help=f"commit, tag or branch of {name}, if it is a Hugging Face id")
    adapter_option(parser, name)
    parser.add_argument("--dtype", default=dtype, choices=DTYPES)
    parser.add_argument("--batch-size", type=positive, default=96, help="questions answered together")


def adapter_option(parser: argparse.ArgumentParser, name: str) -> None:
    """Where the base of an adapter is."""
    parser.add_argument(
        "--adapter-base",
        metavar="BASE",
        help=f"what the adapter {name} belongs to, if not where its configuration says",
    )


def run_options(parser: argparse.ArgumentParser) -> None:
    """How runs are tracked, and whose submissions they become."""
    tracking_options(parser)
    parser.add_argument("--author", action="append", help="for the submission's card; may be given several times")
    parser.add_argument("--contact", default="the fthall maintainers", help="for the card")
    parser.add_argument("--discard-checkpoints", action="store_true", help="keep results only, to save disk space")
    keep_epochs_option(parser)
    training_options(parser)


def keep_epochs_option(parser: argparse.ArgumentParser) -> None:
    """Whether a run leaves its checkpoints along the way, too."""
    parser.add_argument(
        "--keep-epochs",
        action="store_true",
        help="keep the checkpoint of every epoch, too (4 bytes a parameter each), for fthall drift",
    )


def tracking_options(parser: argparse.ArgumentParser) -> None:
    """Whether runs are tracked, and where."""
    parser.add_argument("--no-tracking", action="store_true", help="do not track with MLflow")
    parser.add_argument("--tracking-uri", help="MLflow tracking URI (default: a SQLite store in the work folder)")


def training_options(parser: argparse.ArgumentParser) -> None:
    """How many runs at a time, and how much of them is kept on the way."""
    parser.add_argument("--jobs", type=positive, default=1, help="runs beside each other; some fit on one GPU")
    parser.add_argument(
        "--not-resumable",
        action="store_true",
        help="save nothing between epochs (12 bytes a parameter): where a run takes a minute, that is most of it",
    )


def submissions_option(parser: argparse.ArgumentParser) -> None:
    """Where all submissions are."""
    parser.add_argument("--submissions", type=Path, default=Path("submissions"))


def release_option(parser: argparse.ArgumentParser, shipped: str = "one") -> None:
    """A release that does not ship."""
    parser.add_argument("--release", type=Path, help=f"a release's folder instead of the shipped {shipped}")


def given_release(options: argparse.Namespace) -> "Release | None":
    """The release of :func:`release_option`, loaded; None where none was named."""
    from fthall.knowledge import splits

    return splits.load(str(options.release)) if options.release else None


def positive(text: str) -> int:
    """A whole number from 1 on."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not at least 1")
    return value


def count(text: str) -> int:
    """A whole number from 0 on."""
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"{text} is less than 0")
    return value


def share(text: str) -> float:
    """A number from 0 on."""
    value = float(text)
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"{text} is no number from 0 on")
    return value


def shard(text: str) -> tuple[int, int]:
    """``I/N``: the I-th of N."""
    number, _, count = text.partition("/")
    if not (number.isdecimal() and count.isdecimal() and 1 <= int(number) <= int(count)):
        raise argparse.ArgumentTypeError(f"{text!r} is no shard such as 1/4, the first of four")
    return int(number), int(count)


def seeds(text: str) -> list[int]:
    """Whole numbers, separated by commas."""
    if not all(part.strip().isdecimal() for part in text.split(",")):
        raise argparse.ArgumentTypeError(f"{text!r} is no list of seeds such as 0,1,2")
    return [int(part) for part in text.split(",")]
