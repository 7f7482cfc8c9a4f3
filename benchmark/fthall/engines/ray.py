"""Many workers on Ray (Moritz et al. 2018, arXiv 1712.05889): one GPU each, on one machine or on many.

The chunks are those of a build on one worker, so on like hardware the labels are the same; they may come in any order.
A worker that dies is started again and its chunk asked again. An extra: ``pip install fthall[ray]``.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from fthall.engines import Call, Engine
from fthall.errors import FthallError, one_line

RESTARTS = 5
"""Of each worker. One that dies as often has a reason."""
IN_FLIGHT = 2
"""Chunks a worker: one being answered, one waiting, so that none is idle."""


class _Worker:
    """What runs on each worker."""

    def __init__(self, make: Callable[[], Engine]) -> None:
        self.engine = make()

    def call(self, method: str, arguments: tuple[Any, ...], options: dict[str, Any]) -> list[Any]:
        found: list[Any] = getattr(self.engine, method)(*arguments, **options)
        return found


class RayWorkers:
    """Engines on the workers of a Ray cluster.

    Args:
        make: makes one worker's engine, there.
        workers: how many.
        address: of a running cluster (``auto`` to find it); none starts one on this machine.
        gpus: a worker; a fraction shares one.
        cpus: a worker.

    Raises:
        FthallError: Ray is not installed, or the workers do not fit on this machine.
    """

    def __init__(
        self,
        make: Callable[[], Engine],
        *,
        workers: int,
        address: str | None = None,
        gpus: float = 0,
        cpus: float = 1,
    ) -> None:
        try:
            import ray
        except ImportError:
            raise FthallError("the engine ray needs Ray; type: pip install 'fthall[ray]'") from None
        self._ray = ray
        if not ray.is_initialized():
            ray.init(address=address, include_dashboard=False, log_to_driver=False, logging_level="warning")
        there = ray.cluster_resources()  # what does not fit would wait for ever; a remote cluster may grow
        if address is None and (workers * cpus > there.get("CPU", 0) or workers * gpus > there.get("GPU", 0)):
            raise FthallError(
                f"{workers} workers of {cpus:g} CPUs and {gpus:g} GPUs do not fit in {there.get('CPU', 0):g} CPUs and "
                f"{there.get('GPU', 0):g} GPUs; ask for fewer workers, or less for each"
            )
        # Restarted when they die, and what they were asked is asked again: an answer has no side effects.
        remote: Any = ray.remote(num_gpus=gpus, num_cpus=cpus, max_restarts=RESTARTS, max_task_retries=-1)(_Worker)
        self.workers = [remote.remote(make) for _ in range(workers)]

    def each(self, calls: Iterable[Call]) -> Iterator[tuple[Any, list[Any]]]:
        """(key, result) of each call, as they come. See :class:`fthall.engines.Workers`."""
        waiting: dict[Any, tuple[Any, Any]] = {}  # reference of a result: key, worker
        free = [worker for worker in self.workers for _ in range(IN_FLIGHT)]
        for call in calls:
            if not free:
                yield self._next(waiting, free)
            worker = free.pop()
            reference = worker.call.remote(call.method, call.arguments, dict(call.options))
            waiting[reference] = call.key, worker
        while waiting:
            yield self._next(waiting, free)

    def _next(self, waiting: dict[Any, tuple[Any, Any]], free: list[Any]) -> tuple[Any, list[Any]]:
        (done,), _ = self._ray.wait(list(waiting), num_returns=1)
        key, worker = waiting.pop(done)
        free.insert(0, worker)
        try:
            return key, self._ray.get(done)
        except self._ray.exceptions.RayTaskError as error:
            raise error.cause if isinstance(error.cause, FthallError) else error from None
        except self._ray.exceptions.RayActorError as error:
            raise FthallError(f"a worker could not start: {one_line(error, last=True)}") from None
