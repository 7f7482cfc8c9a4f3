"""Attention and RMS norm with fewer passes over memory, for short batches in bfloat16 on a processor.

There a step is bound by memory and by how many operators it takes, not by arithmetic. Both functions compute what the
model's own do; a model whose own do more (caps, sinks, windows) keeps its own.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.masking_utils import eager_mask

from fthall.finetune.loop.passes import CLOSE, states

NAME = "fthall_quick"


class Attention(torch.autograd.Function):
    """``softmax(scaling Q Kᵀ + mask) V``; heads that share keys meet them in one product (grouped queries)."""

    @staticmethod
    def forward(
        ctx: Any, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: torch.Tensor, scaling: float
    ) -> torch.Tensor:
        """Of [rows, heads, tokens, size], [rows, key heads, tokens, size] twice; gives [rows, tokens, heads, size]."""
        rows, heads, tokens, size = query.shape
        groups = rows * key.shape[1]
        # Rotary embeddings make queries and keys float32 again.
        asked = (query * scaling).to(value.dtype).reshape(groups, -1, size)
        keys, values = key.to(value.dtype).reshape(groups, tokens, size), value.reshape(groups, tokens, size)
        scores = asked @ keys.transpose(1, 2)
        scores.view(rows, heads, tokens, tokens).add_(mask)
        weights = torch.softmax(scores, -1)
        ctx.save_for_backward(asked, keys, values, weights)
        ctx.scaling, ctx.shapes = scaling, (query.shape, key.shape)
        return (weights @ values).view(rows, heads, tokens, size).transpose(1, 2).contiguous()

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        """Towards query, key and value."""
        asked, keys, values, weights = ctx.saved_tensors
        of_query, of_key = ctx.shapes
        given = gradient.transpose(1, 2).reshape(asked.shape)
        of_scores = torch.ops.aten._softmax_backward_data(given @ values.transpose(1, 2), weights, -1, weights.dtype)
        return (
            (of_scores @ keys).mul_(ctx.scaling).view(of_query),
            (of_scores.transpose(1, 2) @ asked).view(of_key),
            (weights.transpose(1, 2) @ given).view(of_key),
            None,
            None,
        )


class RMSNorm(torch.autograd.Function):
    """``weight x / √(mean(x²) + eps)`` over the last dimension, given as ``dtype``."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, weight: torch.Tensor, eps: float, dtype: torch.dtype) -> torch.Tensor:
        """Of [..., width] and [width]."""
        norm = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
        scale = torch.rsqrt((norm.square() / x.shape[-1]).add_(eps))
        normal = x * scale
        ctx.save_for_backward(normal, scale, weight)
        return (normal * weight).to(dtype)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        """Towards x and weight."""
        normal, scale, weight = ctx.saved_tensors
        gradient = gradient.to(normal.dtype)
        width = normal.shape[-1]
        flat = (gradient * normal).view(-1, width)
        along = torch.mv(flat, weight).view(scale.shape).div_(-width)
        return torch.addcmul(gradient * weight, normal, along).mul_(scale), flat.sum(0), None, None


def attend(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor,
    *,
    scaling: float | None = None,
    dropout: float = 0.0,
    softcap: float | None = None,
    s_aux: torch.Tensor | None = None,
    position_bias: torch.Tensor | None = None,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """An attention function of transformers (see :class:`Attention`); the mask is added to the scores.

    Raises:
        ValueError: the model wants more of its attention than that.
    """
    if dropout or softcap or s_aux is not None or position_bias is not None:
        raise ValueError("no dropout, caps, sinks or biases here")
    scaling = query.shape[-1] ** -0.5 if scaling is None else scaling
    return Attention.apply(query, key, value, attention_mask, scaling), None


class Quick:
    """A model's attention and norms exchanged for those above, each where that changes nothing but rounding."""

    def __init__(self, model: PreTrainedModel, sample: Mapping[str, torch.Tensor]) -> None:
        """Try them; leave them on.

        Args:
            model: float32 as yet.
            sample: a batch to try them on.
        """
        AttentionInterface.register(NAME, attend)
        AttentionMaskInterface.register(NAME, eager_mask)
        self._model, self._usual = model, model.config._attn_implementation
        self._attends = False
        self._norms: dict[torch.nn.Module, float] = {}
        usual = self._states(sample)
        self._attends = model._can_set_attn_implementation()
        self._attends = self._attends and self._alike(usual, sample)
        self._norms = {module: eps for module in model.modules() if (eps := _eps(module)) is not None}
        if not self._alike(usual, sample):
            self._norms = {}
        self.on()

    @torch.no_grad()
    def _states(self, sample: Mapping[str, torch.Tensor]) -> torch.Tensor:
        return states(self._model, sample)

    def _alike(self, usual: torch.Tensor, sample: Mapping[str, torch.Tensor]) -> bool:
        self.on()
        try:
            found = self._states(sample)
        except (TypeError, ValueError, AttributeError, RuntimeError):  # it does not hand down what it should
            return False
        finally:
            self.off()
        return torch.allclose(usual, found, rtol=CLOSE, atol=CLOSE * float(usual.abs().max()))

    def on(self) -> None:
        """Use them."""
        if self._attends:
            self._model.set_attn_implementation(NAME)
        for module, eps in self._norms.items():
            module.forward = partial(_to_unit_length, module.weight, eps)

    def off(self) -> None:
        """Use the model's own."""
        if self._attends:
            self._model.set_attn_implementation(self._usual)
        for module in self._norms:
            module.__dict__.pop("forward", None)


def _to_unit_length(weight: Any, eps: float, x: torch.Tensor) -> torch.Tensor:
    # Under autocast what reads it casts it anyway.
    dtype = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else x.dtype
    normal: torch.Tensor = RMSNorm.apply(x, weight, eps, dtype)
    return normal


def _eps(module: torch.nn.Module) -> float | None:
    """The eps of an RMS norm that is one by what it does, not by what it is called; None of any other module."""
    eps = getattr(module, "variance_epsilon", getattr(module, "eps", None))
    weight = getattr(module, "weight", None)
    if not isinstance(eps, float) or weight is None or weight.ndim != 1 or getattr(module, "bias", None) is not None:
        return None
    x = torch.linspace(-1, 1, 4 * len(weight), device=weight.device).view(4, -1) ** 3
    with torch.no_grad():
        same = torch.allclose(module(x), RMSNorm.apply(x, weight, eps, x.dtype), rtol=1e-4, atol=1e-6)
    return eps if same else None
