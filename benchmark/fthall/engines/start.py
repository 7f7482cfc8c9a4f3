"""An engine by its name: one here, or many on the workers of a Ray cluster (Moritz et al. 2018, arXiv 1712.05889).

Workers have one GPU each, on one machine or on many. The chunks they are asked are those of a build on one engine, so
on like hardware the labels are the same; they may come in any order. A worker that dies is started again and its chunk
asked again. Ray is an extra: ``pip install fthall[ray]``.
"""

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Protocol, runtime_checkable

from fthall import bases
from fthall.engines.engine import Engine
from fthall.errors import FthallError, one_line

ENGINES = ("hf", "vllm", "generate")
RESTARTS = 5
"""Of each worker. One that dies as often has a reason."""
IN_FLIGHT = 2
"""Chunks a worker: one being answered, one waiting, so that none is idle."""


@dataclass(frozen=True, slots=True)
class Spec:
    """What an engine is made of; plain data, so that it can travel to a worker."""

    engine: str
    location: str
    revision: str | None
    dtype: str
    batch_size: int = 96
    tensor_parallel: int = 1
    adapter: str | None = None
    add_bos: bool | None = None


def start(spec: Spec) -> Engine:
    """Load the model and make the engine, here.

    Raises:
        FthallError: the model cannot be loaded, or the engine is not installed.
    """
    if spec.engine == "vllm" and spec.adapter:
        raise FthallError(
            f"the engine vllm is not given adapters here; take --engine hf, or merge {spec.adapter} into its base "
            "(peft: merge_and_unload) and name the merged folder"
        )
    found = bases.find(spec.location, spec.revision)
    checkpoint = replace(found, adapter=spec.adapter, add_bos=spec.add_bos)
    if spec.engine == "vllm":
        from fthall.engines.vllm import VllmEngine

        return VllmEngine(
            spec.location,
            bases.load_tokenizer(checkpoint),
            dtype=spec.dtype,
            revision=spec.revision,
            tensor_parallel=spec.tensor_parallel,
        )
    model, tokenizer = bases.load(checkpoint, dtype=spec.dtype)
    if spec.engine == "generate":
        from fthall.engines.plain import GenerateEngine

        return GenerateEngine(model, tokenizer, batch_size=spec.batch_size)
    from fthall.engines.hf import HfEngine

    return HfEngine(model, tokenizer, batch_size=spec.batch_size)


@dataclass(frozen=True, slots=True)
class Call:
    """A call of an engine's method, by a name that its result will carry."""

    key: Hashable
    method: str
    arguments: tuple[Any, ...]
    options: Mapping[str, Any]


@runtime_checkable
class Workers(Protocol):
    """Many engines, on as many workers."""

    def each(self, calls: Iterable[Call]) -> Iterator[tuple[Any, list[Any]]]:
        """(key, result) of each call, in any order."""
        ...


def each(engine: Engine | Workers, calls: Iterable[Call]) -> Iterator[tuple[Any, list[Any]]]:
    """(key, result) of each call: by one engine, one after the other; by many as they come."""
    if isinstance(engine, Workers):
        yield from engine.each(calls)
        return
    for call in calls:
        yield call.key, getattr(engine, call.method)(*call.arguments, **call.options)


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


def start_workers(spec: Spec, workers: int, *, address: str | None, gpus: float, cpus: float) -> Workers:
    """The same on the workers of a Ray cluster.

    Raises:
        FthallError: Ray is not installed.
    """
    return RayWorkers(partial(start, spec), workers=workers, address=address, gpus=gpus, cpus=cpus)
