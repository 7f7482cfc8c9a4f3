"""What a user sees while a command works: lines, and progress bars with rate and ETA."""

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from fthall.bases import process

if TYPE_CHECKING:
    from rich.progress import Progress

LINE_EVERY = 60.0
"""Seconds between lines of progress where there is no terminal."""


def say(text: object, end: str = "\n") -> None:
    """A line for the user on standard output; of many processes (``accelerate launch``) the first speaks."""
    if process():
        return
    sys.stdout.write(f"{text}{end}")
    sys.stdout.flush()


@contextmanager
def display() -> "Iterator[Progress]":
    """A progress bar with rate and ETA on standard error."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeElapsedColumn(),
        TextColumn("eta"),
        TimeRemainingColumn(elapsed_when_finished=True),
    )
    with Progress(*columns, console=Console(stderr=True, quiet=process() > 0), speed_estimate_period=120) as progress:
        yield progress


def bar(progress: "Progress", description: str, total: int | None) -> Callable[[int], None]:
    """A task of a progress display, as the callback the stages take; where there is no terminal, a line a minute."""
    task = progress.add_task(description, total=total, rate="")
    told = time.monotonic()

    def advance(count: int) -> None:
        nonlocal told
        progress.advance(task, count)
        now = progress.tasks[progress.task_ids.index(task)]
        rate = f"{now.speed:.0f}/s" if now.speed else ""
        progress.update(task, rate=rate)
        if not progress.console.is_terminal and time.monotonic() - told >= LINE_EVERY:
            told = time.monotonic()
            left = f"{now.time_remaining / 60:.0f} min" if now.time_remaining is not None else "unknown"
            whole = "" if total is None else f"/{total}"
            how_far = f"{now.completed:.0f}{whole}{', ' if rate else ''}{rate}"
            progress.console.print(f"{description} {how_far}, eta {left}", highlight=False)

    return advance


def quiet() -> None:
    """No progress bars and warnings of libraries between ours."""
    import warnings

    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    warnings.filterwarnings("ignore")
    from transformers.utils import logging

    logging.disable_progress_bar()
    logging.set_verbosity_error()
