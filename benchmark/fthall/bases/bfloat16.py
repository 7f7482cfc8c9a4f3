"""Products of bfloat16 matrices on processors without instructions for them: most laptops.

torch's own take twenty times as long there as those of float32. These go through float32 and round once at the end,
which is what the instructions do, too: they add up in float32. So a run in bfloat16 means the same on every machine.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

_PRODUCTS = {getattr(torch.ops.aten, name).default for name in ("mm", "bmm", "addmm", "baddbmm", "linear", "matmul")}


class ThroughFloat32(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Meanwhile products of bfloat16 matrices on a processor are computed in float32, and rounded once."""

    def __torch_dispatch__(
        self, func: Any, types: Sequence[Any], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if func in _PRODUCTS and args[0].dtype is torch.bfloat16 and args[0].device.type == "cpu":
            wide = (value.float() if isinstance(value, torch.Tensor) else value for value in args)
            return func(*wide, **(kwargs or {})).bfloat16()
        return func(*args, **(kwargs or {}))


@cache
def is_quick() -> bool:
    """Whether this processor multiplies bfloat16 matrices faster than by way of float32: measured, once, in 0.1 s."""
    a, b = torch.ones(64, 512, dtype=torch.bfloat16), torch.ones(512, 512, dtype=torch.bfloat16)

    def through_float32() -> torch.Tensor:
        return (a.float() @ b.float()).bfloat16()

    return _seconds(lambda: a @ b) < _seconds(through_float32)


def products(device: torch.device) -> AbstractContextManager[Any]:
    """A context in which bfloat16 products are quick: what torch has, or :class:`ThroughFloat32` where that is slow."""
    if device.type == "cpu" and not is_quick():
        return ThroughFloat32()  # type: ignore[no-untyped-call]
    return nullcontext()


def _seconds(work: Callable[[], Any]) -> float:
    """The shortest of a few times."""
    took = []
    for _ in range(4):
        began = time.perf_counter()
        work()
        took.append(time.perf_counter() - began)
    return min(took)
