"""An engine by its name, for a base that was found."""

from dataclasses import dataclass
from functools import partial

from fthall.engines import Engine, Workers

ENGINES = ("hf", "vllm", "generate")


@dataclass(frozen=True, slots=True)
class Spec:
    """What an engine is made of; plain data, so that it can travel to a worker."""

    engine: str
    location: str
    revision: str | None
    dtype: str
    batch_size: int = 96
    tensor_parallel: int = 1


def start(spec: Spec) -> Engine:
    """Load the model and make the engine, here.

    Raises:
        FthallError: the model cannot be loaded, or the engine is not installed.
    """
    if spec.engine == "vllm":
        from fthall.engines.vllm import VllmEngine

        return VllmEngine(spec.location, dtype=spec.dtype, revision=spec.revision, tensor_parallel=spec.tensor_parallel)
    from fthall import models

    model, tokenizer = models.load(models.find(spec.location, spec.revision), dtype=spec.dtype)
    if spec.engine == "generate":
        from fthall.engines.plain import GenerateEngine

        return GenerateEngine(model, tokenizer, batch_size=spec.batch_size)
    from fthall.engines.hf import HfEngine

    return HfEngine(model, tokenizer, batch_size=spec.batch_size)


def start_workers(spec: Spec, workers: int, *, address: str | None, gpus: float, cpus: float) -> Workers:
    """The same on the workers of a Ray cluster.

    Raises:
        FthallError: Ray is not installed.
    """
    from fthall.engines.ray import RayWorkers

    return RayWorkers(partial(start, spec), workers=workers, address=address, gpus=gpus, cpus=cpus)
