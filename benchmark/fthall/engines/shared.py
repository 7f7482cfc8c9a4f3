"""What prompts have in common, computed once: which begin alike, the keys and values of that prefix, attention to it.

A batch of questions behind the same exemplars attends to the same keys and values. The usual cache repeats them once a
row (and once more a group of heads); here the queries of all rows meet them in one matrix product.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from transformers import AttentionInterface, DynamicCache, PreTrainedModel

NAME = "fthall_shared_prefix"
Layers = Sequence[tuple[torch.Tensor, torch.Tensor]]
"""Keys and values of a prefix, one pair a layer, each [1, heads, prefix, head size]."""
ALIKE = {torch.float32: 0.99999, torch.bfloat16: 0.9995, torch.float16: 0.9999}
"""Cosine similarity of final hidden states from which two ways of computing them are the same but for rounding.

Of the token in the middle: rounding to bfloat16 takes one in a few hundred below 0.99, another way of attending all."""


def group(rows: Sequence[list[int]]) -> list[tuple[int, list[int]]]:
    """Rows that begin alike, together: (leading tokens shared, numbers of the rows), the largest groups first.

    Each row keeps at least one token of its own. A few rows with other exemplars do not spoil the prefix of the rest:
    rows are taken together with the one in the middle of their sorted order, as far as it saves most tokens.
    """
    groups = []
    left = sorted(range(len(rows)), key=lambda i: rows[i])
    while left:
        middle = rows[left[len(left) // 2]]
        alike = [_alike(rows[i], middle) for i in left]
        # With all rows that share at least n tokens, n tokens are saved for each but one.
        by_length = sorted(alike, reverse=True)
        shared = max(enumerate(by_length), key=lambda pair: pair[0] * pair[1])[1]
        groups.append((shared, [i for i, n in zip(left, alike, strict=True) if n >= shared]))
        left = [i for i, n in zip(left, alike, strict=True) if n < shared]
    return groups


def _alike(row: list[int], other: list[int]) -> int:
    """How many leading tokens two rows share, the last of either not counted."""
    limit = min(len(row), len(other)) - 1
    if row[:limit] == other[:limit]:
        return limit
    return next(n for n in range(limit) if row[n] != other[n])


def prefix(model: PreTrainedModel, tokens: Sequence[int]) -> Layers:
    """Keys and values of some tokens; nothing for none."""
    if not tokens:
        return []
    cache = DynamicCache()
    model.base_model(input_ids=torch.tensor([list(tokens)], device=model.device), past_key_values=cache)
    return [(layer.keys, layer.values) for layer in cache.layers]


def attend(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    *,
    shared_prefix: Layers,
    scaling: float | None = None,
    softcap: float | None = None,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """Causal attention to the prefix and to the row's own tokens; an attention function of transformers.

    Args:
        module: the attention layer; its ``layer_idx`` says which pair of the prefix is meant.
        query: [rows, heads, tokens, size].
        key: [rows, key heads, tokens, size]; heads of a group share one.
        value: as ``key``.
        attention_mask: not needed: rows are padded on the right, and causality hides that.
        shared_prefix: of all layers.
        scaling: of the scores.
        softcap: of the scores (Gemma 2).

    Returns:
        [rows, tokens, heads, size], and no weights.
    """
    rows, heads, tokens, size = query.shape
    groups = key.shape[1]
    each = heads // groups
    # [groups, rows, heads of the group and tokens, size]: one product with the prefix for all rows
    asked = query.reshape(rows, groups, each * tokens, size).transpose(0, 1)
    keys, values = key.transpose(0, 1), value.transpose(0, 1)
    scores = asked @ keys.transpose(-1, -2)
    length = 0
    if shared_prefix:
        layer: Any = module.layer_idx
        before_keys, before_values = (part[0] for part in shared_prefix[layer])
        length = before_keys.shape[1]
        flat = asked.reshape(groups, rows * each * tokens, size)
        before = (flat @ before_keys.transpose(-1, -2)).view(groups, rows, each * tokens, length)
        scores = torch.cat([before, scores], -1)
    scores = scores.float() * (size**-0.5 if scaling is None else scaling)
    if softcap is not None:
        scores = torch.tanh(scores / softcap) * softcap
    later = torch.ones(tokens, tokens, dtype=torch.bool, device=query.device).triu(1).repeat(each, 1)
    scores[..., length:].masked_fill_(later, float("-inf"))
    weights = torch.softmax(scores, -1).to(query.dtype)
    mixed = weights[..., length:] @ values
    if shared_prefix:
        flat = weights[..., :length].reshape(groups, rows * each * tokens, length)
        mixed = mixed + (flat @ before_values).view_as(mixed)
    # [groups, rows, each, tokens, size] to [rows, tokens, heads, size]
    out = mixed.view(groups, rows, each, tokens, size).permute(1, 3, 0, 2, 4).reshape(rows, tokens, heads, size)
    return out, None


@contextmanager
def attention(model: PreTrainedModel) -> Iterator[None]:
    """The model attends by :func:`attend` meanwhile."""
    AttentionInterface.register(NAME, attend)
    before = model.config._attn_implementation
    model.set_attn_implementation(NAME)
    try:
        yield
    finally:
        model.set_attn_implementation(before)


def forward(model: PreTrainedModel, rows: Sequence[Sequence[int]], layers: Layers) -> torch.Tensor:
    """Final hidden states of some rows of tokens behind a prefix: [rows, tokens, width], padded on the right.

    Within :func:`attention` only.
    """
    width = max(map(len, rows))
    ids = torch.tensor([[*row, *[0] * (width - len(row))] for row in rows], device=model.device)
    length = layers[0][0].shape[2] if layers else 0
    positions = torch.arange(length, length + width, device=model.device)[None]
    found = model.base_model(input_ids=ids, position_ids=positions, use_cache=False, shared_prefix=layers)
    hidden: torch.Tensor = found.last_hidden_state
    return hidden


def within_window(model: PreTrainedModel, tokens: int) -> bool:
    """Whether every layer attends to all of a text of that many tokens (sliding windows: Gemma, Mistral, Phi)."""
    window = getattr(model.config, "sliding_window", None)
    return not window or tokens <= window


def usable(model: PreTrainedModel, row: Sequence[int], layers: Layers) -> bool:
    """Whether this model computes the same this way: asked about one row, not assumed of an architecture.

    Of texts :func:`within_window`; in longer ones a token attends to fewer than is done here.
    """
    length = layers[0][0].shape[2] if layers else 0
    if not model._can_set_attn_implementation() or not within_window(model, length + len(row)):
        return False
    cache = DynamicCache()
    for number, (keys, values) in enumerate(layers):
        cache.update(keys, values, number)
    usual = model.base_model(input_ids=torch.tensor([list(row)], device=model.device), past_key_values=cache)
    try:
        with attention(model):
            ours = forward(model, [row], layers)
    except (TypeError, AttributeError, RuntimeError):  # it does not hand down what it does not know
        return False
    alike = torch.nn.functional.cosine_similarity(usual.last_hidden_state.float(), ours.float(), dim=-1)
    return bool(alike.median() > ALIKE.get(model.dtype, ALIKE[torch.float32]))


def head(model: PreTrainedModel, hidden: torch.Tensor) -> torch.Tensor:
    """Logits of final hidden states, [rows, width], as [rows, vocabulary].

    Instead of the model's own forward, which computes them for every position, and which, given a [batch, 1, width]
    slice and frozen embeddings, makes torch copy the embeddings once for every row (20 times as slow on a CPU).
    """
    return scaled(model, model.get_output_embeddings()(hidden))


def leads(logits: torch.Tensor) -> list[float]:
    """How far the highest logit of each row, [rows, vocabulary], is ahead of the second."""
    best = logits.float().topk(2, -1).values
    found: list[float] = (best[:, 0] - best[:, 1]).tolist()
    return found


def scaled(model: PreTrainedModel, logits: torch.Tensor) -> torch.Tensor:
    """What some architectures do to their logits last: scale them (Cohere, Granite) or cap them (Gemma 2)."""
    config = model.config
    if scale := getattr(config, "logit_scale", None):
        logits = logits * scale
    if divisor := getattr(config, "logits_scaling", None):
        logits = logits / divisor
    if cap := getattr(config, "final_logit_softcapping", None):
        logits = torch.tanh(logits / cap) * cap
    return logits
