"""Several runs beside each other on one machine: a small model leaves a GPU idle most of the time."""

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from typing import Any, TypeVar

from fthall.errors import FthallError

_Task = TypeVar("_Task")
_Result = TypeVar("_Result")


def each(
    work: Callable[[_Task], _Result], tasks: Sequence[_Task], jobs: int
) -> Iterator[tuple[_Task, _Result | FthallError]]:
    """(task, what came of it) as they come, each in one of ``jobs`` processes; an error ends its task alone.

    One job is done here, in turn.

    Raises:
        FthallError: a process died.
    """
    if jobs == 1:
        for task in tasks:
            try:
                yield task, work(task)
            except FthallError as error:
                yield task, error
        return
    # Spawned: a process that was forked cannot use a GPU its parent has looked at.
    context = multiprocessing.get_context("spawn")
    threads = max(1, (os.cpu_count() or 1) // jobs)
    pool = ProcessPoolExecutor(min(jobs, len(tasks) or 1), context, _begin, (threads,))
    try:
        futures: dict[Future[Any], _Task] = {pool.submit(work, task): task for task in tasks}
        for future in as_completed(futures):
            try:
                yield futures[future], future.result()
            except FthallError as error:
                yield futures[future], error
    except BrokenProcessPool:
        raise FthallError(
            "a process died, for want of memory perhaps; what is done is kept: type the same again, with fewer --jobs"
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)


def _begin(threads: int) -> None:
    """In each process, before its first task."""
    from fthall.commands.progress import quiet

    signal.signal(signal.SIGINT, signal.SIG_DFL)  # an interrupted command says so once, not once a process
    os.environ["OMP_NUM_THREADS"] = str(threads)
    os.environ["NUMBA_NUM_THREADS"] = str(threads)  # its idle threads spin, and take the time of the run beside
    quiet()
    import torch

    torch.set_num_threads(threads)
