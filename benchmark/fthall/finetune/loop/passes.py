"""Passes over a batch of examples, packed or not, and the checks that this model may be passed that way."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from transformers import PreTrainedModel

from fthall.engines.shared import head, within_window
from fthall.errors import FthallError
from fthall.finetune.loop.data import Collate, Example

_LOG = logging.getLogger(__name__)
CLOSE = 1e-3
"""What two ways of computing the same may differ by, in float32."""
_TRIED = 4
"""Examples packing is tried on."""


def states(model: PreTrainedModel, inputs: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """Final hidden states of all nodes of a batch (:class:`fthall.finetune.loop.data.Collate`): [nodes, width]."""
    return _pass(model.base_model, *_given(model, inputs)).flatten(0, 1)


def all_states(model: PreTrainedModel, inputs: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """As :func:`states`, of the embeddings and of every layer, the last behind the final norm: [layers + 1, ...]."""
    ids, positions, mask = _given(model, inputs)
    found = model.base_model(
        input_ids=ids, position_ids=positions, attention_mask=mask, use_cache=False, output_hidden_states=True
    )
    return torch.stack(found.hidden_states).flatten(1, 2)


def _given(model: PreTrainedModel, inputs: Mapping[str, torch.Tensor]) -> tuple[torch.Tensor, ...]:
    """Tokens, positions, and the attention mask as the layers take it."""
    mask = inputs["attention_mask"]
    if mask.ndim == 4:
        device = mask.device.type
        dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else model.dtype
        mask = torch.zeros(mask.shape, dtype=dtype, device=mask.device).masked_fill_(~mask, torch.finfo(dtype).min)
    return inputs["input_ids"], inputs["position_ids"], mask


def _pass(core: Any, ids: torch.Tensor, positions: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    hidden: torch.Tensor = core(
        input_ids=ids, position_ids=positions, attention_mask=mask, use_cache=False
    ).last_hidden_state
    return hidden


class _Pass(torch.nn.Module):
    """The pass as a module of its own, with the model's parameters."""

    def __init__(self, core: torch.nn.Module) -> None:
        super().__init__()
        self.core = core

    def forward(self, ids: torch.Tensor, positions: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """See :func:`_pass`."""
        return _pass(self.core, ids, positions, mask)


class Graphs:
    """:func:`states`, and the way back, as CUDA graphs: one a shape, recorded when the shape is first met.

    A step of a small model on a GPU is bound by starting its thousands of kernels; a graph starts them all at once.
    Gradients lie in the same memory at every step, so they must not be added up over several batches.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        self._model: PreTrainedModel | None = model
        self._recorded: dict[torch.Size, Any] = {}

    def states(self, model: PreTrainedModel, inputs: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """See :func:`states`."""
        if self._model is not model:
            return states(model, inputs)
        given = _given(model, inputs)
        shape = given[0].shape
        if shape not in self._recorded:
            try:
                self._recorded[shape] = self._record(given)
            except RuntimeError as error:
                _LOG.warning("no CUDA graph of this model, going on without: %s", str(error).split("\n", 1)[0])
                self._model, self._recorded = None, {}
                return states(model, inputs)
        found: torch.Tensor = self._recorded[shape](*given)
        return found.flatten(0, 1)

    def _record(self, given: tuple[torch.Tensor, ...]) -> Any:
        assert self._model is not None
        device = given[0].device.type
        with torch.autocast(
            device, torch.get_autocast_dtype(device), torch.is_autocast_enabled(device), cache_enabled=False
        ):
            return torch.cuda.make_graphed_callables(_Pass(self._model.base_model), given)


@torch.no_grad()
def can_pack(model: PreTrainedModel, examples: Sequence[Example]) -> bool:
    """Whether packed examples get the states they get apart: asked of this model, not assumed of an architecture.

    Dropout would drop the same for all examples that share a node, so it forbids packing; so do examples longer than a
    sliding window, which packed nodes do not know.

    Args:
        model: that reads them.
        examples: all; the first of them are tried.
    """
    if not within_window(model, max(len(example.input_ids) for example in examples)):
        return False
    examples = examples[:_TRIED]
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
