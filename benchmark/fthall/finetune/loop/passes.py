"""Passes over a batch of examples, packed or not, and the checks that this model may be passed that way."""

from collections.abc import Mapping, Sequence

import torch
from transformers import PreTrainedModel

from fthall.engines.shared import head
from fthall.errors import FthallError
from fthall.finetune.loop.data import Collate, Example

CLOSE = 1e-3
"""What two ways of computing the same may differ by, in float32."""


def states(model: PreTrainedModel, inputs: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """Final hidden states of all nodes of a batch (:class:`fthall.finetune.loop.data.Collate`): [nodes, width]."""
    mask = inputs["attention_mask"]
    if mask.ndim == 4:
        device = mask.device.type
        dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else model.dtype
        mask = torch.zeros(mask.shape, dtype=dtype, device=mask.device).masked_fill_(~mask, torch.finfo(dtype).min)
    found = model.base_model(
        input_ids=inputs["input_ids"], position_ids=inputs["position_ids"], attention_mask=mask, use_cache=False
    )
    hidden: torch.Tensor = found.last_hidden_state
    return hidden.flatten(0, 1)


@torch.no_grad()
def can_pack(model: PreTrainedModel, examples: Sequence[Example]) -> bool:
    """Whether packed examples get the states they get apart: asked of this model, not assumed of an architecture.

    Dropout would drop the same for all examples that share a node, so it forbids packing.
    """
    if any(isinstance(module, torch.nn.Dropout) and module.p > 0 for module in model.modules()):
        return False
    if any(value for name, value in model.config.to_dict().items() if "dropout" in name and isinstance(value, float)):
        return False
    was_training = model.training
    model.eval()
    try:
        found = []
        for way in (True, False):
            inputs = {name: value.to(model.device) for name, value in Collate(way)(examples).items()}
            hidden = states(model, inputs)
            rows = zip(inputs["rows"], examples, strict=True)
            found.append(torch.cat([hidden[row[: len(example.input_ids)]] for row, example in rows]).float())
        packed, apart = found
        return torch.allclose(packed, apart, rtol=CLOSE, atol=CLOSE * float(apart.abs().max()))
    except (TypeError, ValueError, RuntimeError):  # it does not take such a mask
        return False
    finally:
        model.train(was_training)


@torch.no_grad()
def check_head(model: PreTrainedModel, example: Example) -> None:
    """Make sure :func:`fthall.engines.shared.head` is what the model itself does with its hidden states.

    Logits are computed only where they are needed, which takes the model apart; an architecture that does more to its
    logits than that must not be trained with a wrong loss.

    Raises:
        FthallError: the two differ.
    """
    was_training = model.training
    model.eval()
    ids = torch.tensor([example.input_ids], device=model.device)
    expected = model(input_ids=ids).logits
    found = head(model, model.base_model(input_ids=ids).last_hidden_state)
    model.train(was_training)
    if not torch.allclose(expected, found, rtol=CLOSE, atol=CLOSE):
        raise FthallError(
            f"{type(model).__name__} transforms its logits in a way fthall does not know; it cannot be trained"
        )
