"""The machine a model runs on: what it is, and its memory."""

import ctypes
import gc
import os
import platform
import sys
from typing import Any


def process() -> int:
    """The number of this process among those of ``accelerate launch``; 0 is the one that writes and speaks."""
    return int(os.environ.get("RANK", "0"))


def processes() -> int:
    """How many there are."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def spreads_weights() -> str | None:
    """What ``accelerate launch`` was told to spread the weights of a model with, instead of a whole copy a process."""
    known = {"ACCELERATE_USE_FSDP": "FSDP", "ACCELERATE_USE_DEEPSPEED": "DeepSpeed"}
    told = (name for variable, name in known.items() if os.environ.get(variable, "").lower() == "true")
    return next(told, None)


def hardware() -> str:
    """What this runs on, for the card: the GPU's name, or the cores, and whether they multiply in bfloat16."""
    import torch

    from fthall.bases.bfloat16 import is_quick

    if torch.cuda.is_available():
        return f"{torch.cuda.device_count()} x {torch.cuda.get_device_name(0)}"
    return f"{os.cpu_count()} CPU cores, {platform.machine()}{'' if is_quick() else ', without bfloat16'}"


KEPT_UP_TO = 1_000_000_000
"""Parameters of a model up to which freed memory is kept."""


def keep_memory(parameters: int) -> None:
    """Tell glibc's malloc to keep freed memory instead of giving it back to the kernel, for a model of that size.

    Every large tensor would otherwise be mapped, zeroed and unmapped again; on a CPU that took up to 40 % of the time.
    What is kept gets holes, though, which for a model of 1.5B parameters made 16 GiB more than 21; such a one gives
    back. A no-op where the C library is another.
    """
    trim_threshold, mmap_threshold = -1, -3  # M_TRIM_THRESHOLD, M_MMAP_THRESHOLD of malloc.h
    if parameters <= KEPT_UP_TO and (mallopt := _glibc("mallopt")):
        mallopt(mmap_threshold, 2**30)
        mallopt(trim_threshold, 2**31 - 1)


def free_memory() -> None:
    """Give memory that is no longer used back to the kernel: call it once a model has been dropped."""
    gc.collect()
    trim_memory()


def trim_memory() -> None:
    """Give freed memory back to the kernel, and to others on the GPU, without looking for what could be freed."""
    if malloc_trim := _glibc("malloc_trim"):
        malloc_trim(0)
    torch = sys.modules.get("torch")
    if torch and torch.cuda.is_initialized():
        torch.cuda.empty_cache()


def out_of_memory(error: BaseException) -> bool:
    """Whether an error of torch says that memory did not suffice; on a processor it has no class of its own."""
    return isinstance(error, RuntimeError) and any(sign in str(error) for sign in ("out of memory", "allocate memory"))


def _glibc(name: str) -> Any:
    """A function of the C library, or None where it is another one."""
    return getattr(ctypes.CDLL(None), name, None) if sys.platform == "linux" else None
