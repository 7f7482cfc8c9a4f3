"""A model whose weights are spread over processes: each keeps its part, and a layer's are gathered while it computes.

That is FSDP (Zhao et al. 2023, arXiv 2304.11277), in torch's second version, which leaves the model as it is. It is
done here and not by accelerate, which does it on GPUs only, so that what is tested on a processor is what runs on them.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_TOLD = "ACCELERATE_USE_FSDP"


@contextmanager
def taken_over() -> Iterator[None]:
    """Meanwhile accelerate and transformers do not spread weights, though ``accelerate launch`` was told to."""
    before = os.environ.get(_TOLD)
    if before is not None:
        os.environ[_TOLD] = "false"
    try:
        yield
    finally:
        if before is not None:
            os.environ[_TOLD] = before


def spread(model: Any) -> None:
    """Spread the weights of a model over all processes, those of the first process; each must call it.

    Args:
        model: any causal LM of transformers, on this process's device; changed in place.
    """
    import torch
    import torch.distributed
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    # Told to spread weights, transformers may have loaded them on the first process alone.
    for value in (*model.parameters(), *model.buffers()):
        torch.distributed.broadcast(value.data, 0)
    mesh = init_device_mesh(model.device.type, (torch.distributed.get_world_size(),))
    layers = set(model._no_split_modules or ())
    for module in [part for part in model.modules() if type(part).__name__ in layers]:
        fully_shard(module, mesh=mesh)
    fully_shard(model, mesh=mesh)
    with torch.no_grad():  # what is called first must be the whole model, not a layer
        model(input_ids=torch.zeros(1, 1, dtype=torch.long, device=model.device))
    for part in _parts(model):
        part.reshard()
    model._is_accelerate_prepared = True


def is_spread(model: Any) -> bool:
    """Whether its weights are."""
    return bool(_parts(model))


@contextmanager
def gathering(model: Any) -> Iterator[None]:
    """Meanwhile every process has all weights, if they are spread; all must come here. For asking, not for training."""
    parts = _parts(model)
    for part in parts:
        part.set_reshard_after_forward(False, recurse=False)
        part.unshard()
    try:
        yield
    finally:
        for part in parts:
            part.set_reshard_after_forward(part is not model, recurse=False)
            part.reshard()


def gathered(model: Any) -> dict[str, Any] | None:
    """All weights by name, if they are spread; None if they are not. All processes must come here."""
    if not is_spread(model):
        return None
    return {
        name: value.full_tensor() if hasattr(value, "full_tensor") else value
        for name, value in model.state_dict().items()
    }


def _parts(model: Any) -> list[Any]:
    """The modules that are gathered as one; none in a process that is alone."""
    import torch.distributed

    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return []
    from torch.distributed.fsdp import FSDPModule

    return [part for part in model.modules() if isinstance(part, FSDPModule)]
