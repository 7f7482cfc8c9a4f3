"""Who a student is held to: a frozen model on the fixed training examples, or its own moving average."""

import copy
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import torch
from safetensors.torch import load_file, save_file
from transformers import PreTrainedModel

from fthall.engines.shared import head, scaled
from fthall.finetune.loop.data import Collate, Example
from fthall.finetune.loop.passes import states


class Teacher(Protocol):
    """Gives the logits a student is compared with."""

    def logits(self, model: PreTrainedModel, inputs: Mapping[str, torch.Tensor], nodes: torch.Tensor) -> torch.Tensor:
        """Logits at some nodes of a batch: [nodes, vocabulary]. ``model`` is the student."""
        ...

    def update(self, weights: Iterable[torch.Tensor]) -> None:
        """After a step: the student's float32 weights, in the order of its parameters."""
        ...

    def save(self, path: Path) -> None:
        """Keep it for a resumed run (safetensors)."""
        ...


class Frozen:
    """A model as it was once, on the training examples.

    The examples never change, so its final hidden states are computed once, not once an epoch; with its output
    embeddings they give its logits exactly, at 1/85 of the memory of the logits themselves (for a vocabulary of 49,152
    and a width of 576).
    """

    def __init__(self, saved: Mapping[str, torch.Tensor]) -> None:
        """Take ``head`` [width, vocabulary], ``hidden`` [tokens of all examples, width] and ``starts`` [examples]."""
        self._saved = dict(saved)

    @classmethod
    @torch.no_grad()
    def of(
        cls,
        model: PreTrainedModel,
        examples: Sequence[Example],
        collate: Collate,
        *,
        contexts: Sequence[Sequence[int]] | None = None,
        special: int = 0,
        batch_size: int = 16,
    ) -> "Frozen":
        """Run a model over the examples as it is now.

        Args:
            model: the teacher.
            examples: all training examples, in order of their index.
            collate: how to batch them.
            contexts: tokens to put before each example, for a model that must be shown the format.
            special: tokens that begin a text and so come before its context.
            batch_size: examples together.
        """
        was_training = model.training
        model.eval()
        # The other way round than the model has it: a processor turns it anew in every product otherwise.
        vocabulary = model.get_output_embeddings().weight.detach().t().contiguous()
        lengths = [len(example.input_ids) for example in examples]
        starts = torch.tensor([0, *lengths]).cumsum(0)[:-1]
        hidden = vocabulary.new_empty(sum(lengths), len(vocabulary))
        before = contexts or [()] * len(examples)
        behind = [(*e.input_ids[:special], *before[e.index], *e.input_ids[special:]) for e in examples]
        order = sorted(range(len(examples)), key=lambda i: behind[i])  # what begins alike, together
        for first in range(0, len(order), batch_size):
            chosen = order[first : first + batch_size]
            batch = [Example(number, behind[i], len(behind[i])) for number, i in enumerate(chosen)]
            inputs = {name: value.to(model.device) for name, value in collate(batch).items()}
            found = states(model, inputs)
            for number, i in enumerate(chosen):
                nodes = inputs["rows"][number, : len(behind[i])]
                row = torch.cat([nodes[:special], nodes[len(behind[i]) - lengths[i] + special :]])
                hidden[starts[i] : starts[i] + lengths[i]] = found[row].to(hidden.dtype)
        model.train(was_training)
        return cls({"head": vocabulary, "hidden": hidden, "starts": starts.to(hidden.device)})

    def logits(self, model: PreTrainedModel, inputs: Mapping[str, torch.Tensor], nodes: torch.Tensor) -> torch.Tensor:
        """See :class:`Teacher`."""
        place = self._saved["starts"][inputs["owner"][nodes]] + inputs["offset"][nodes]
        return scaled(model, self._saved["hidden"][place] @ self._saved["head"])

    def update(self, weights: Iterable[torch.Tensor]) -> None:
        """It stays as it is."""

    def save(self, path: Path) -> None:
        """See :class:`Teacher`."""
        save_file(self._saved, path)

    @classmethod
    def load(cls, path: Path, device: torch.device) -> "Frozen":
        """The counterpart of :meth:`save`."""
        return cls(load_file(path, device=str(device)))


class Average:
    """A moving average of the student's weights (Tarvainen & Valpola 2017, arXiv 1703.01780), float32."""

    def __init__(self, model: PreTrainedModel, decay: float) -> None:
        """Begin with the model as it is."""
        self._model = copy.deepcopy(model).requires_grad_(False).eval()
        self._decay = decay

    @torch.no_grad()
    def logits(self, model: PreTrainedModel, inputs: Mapping[str, torch.Tensor], nodes: torch.Tensor) -> torch.Tensor:
        """See :class:`Teacher`."""
        return head(self._model, states(self._model, inputs)[nodes])

    @torch.no_grad()
    def update(self, weights: Iterable[torch.Tensor]) -> None:
        """See :class:`Teacher`."""
        for own, weight in zip(self._model.parameters(), weights, strict=True):
            own.lerp_(weight, 1 - self._decay)

    def save(self, path: Path) -> None:
        """See :class:`Teacher`."""
        save_file({name: value.contiguous() for name, value in self._model.named_parameters()}, path)

    def restore(self, path: Path) -> None:
        """The counterpart of :meth:`save`."""
        self._model.load_state_dict(load_file(path), strict=False)  # tied weights are saved once
