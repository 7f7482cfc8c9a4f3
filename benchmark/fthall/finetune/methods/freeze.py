"""Training a group of parameters only; all others are frozen.

1. Choose parameters by what transformers calls the submodules of a decoder layer, and layers by number.
2. Those get gradients; embeddings, norms and everything else stay as they are, to the bit.
3. Train as usual.

Source: arXiv 2604.15574, table 1 (attention only, feed-forward only); arXiv 2510.08564 (gate and up projections only
learn 30.5 and forget 2.1 points on other tasks). Sensible: the learning rate of SFT and up to ten times that, for a
small group moves little.
"""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from fthall.errors import FthallError

if TYPE_CHECKING:
    import torch

GROUPS: dict[str, tuple[str, ...]] = {
    "all": ("",),
    "attention": (".self_attn.", ".attn.", ".attention."),
    "ffn": (".mlp.", ".feed_forward.", ".ffn."),
    "gate-up": (".gate_proj.", ".up_proj.", ".gate_up_proj.", ".w1.", ".w3.", ".mlp.c_fc.", ".dense_h_to_4h.", ".fc1."),
    "down": (".down_proj.", ".w2.", ".mlp.c_proj.", ".dense_4h_to_h.", ".fc2."),
    "embeddings": (".embed_tokens.", ".wte.", ".wpe.", ".embed_in.", ".lm_head.", ".embed_out."),
}
"""Group: parts of parameter names. ``embeddings`` are those of input and output."""
_LAYER = re.compile(r"\.(?:layers|h|blocks)\.(\d+)\.")


def choose_parameters(model: "torch.nn.Module", groups: Sequence[str], layers: tuple[int, int] | None = None) -> int:
    """Let gradients into some groups of parameters only; return how many numbers that trains.

    Args:
        model: any decoder.
        groups: names of :data:`GROUPS`.
        layers: first and last layer, from 0; what stands in no layer is then frozen.

    Raises:
        FthallError: unknown group, or the model has no such parameters.
    """
    if unknown := sorted(set(groups) - GROUPS.keys()):
        raise FthallError(f"unknown parameter group {unknown[0]!r}; known groups: {', '.join(GROUPS)}")
    trained = 0
    parts = [part for group in groups for part in GROUPS[group]]
    found, deepest = set(), -1
    for path, parameter in model.named_parameters():
        name = f".{path}"
        found |= {group for group, its in GROUPS.items() if any(part in name for part in its)}
        place = _LAYER.search(name)
        number = int(place.group(1)) if place else None
        deepest = max(deepest, -1 if number is None else number)
        within = layers is None or (number is not None and layers[0] <= number <= layers[1])
        chosen = within and any(part in name for part in parts)
        parameter.requires_grad_(chosen)
        trained += parameter.numel() if chosen else 0
    if not trained or (set(groups) - {"all"} - found):
        where = "" if layers is None else f" in layers {layers[0]} to {layers[1]} of 0 to {deepest}"
        raise FthallError(
            f"{type(model).__name__} has no parameters of the group {', '.join(groups)!r}{where} under a name fthall "
            f"knows; found: {', '.join(sorted(found)) or 'none'}"
        )
    return trained
