"""One Trainer for every method: cross-entropy on the answers, and a distillation term where a teacher is set."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from transformers import PreTrainedModel, Trainer

from fthall.engines.shared import head, scaled
from fthall.errors import FthallError
from fthall.finetune.data import IGNORED, Example, collate
from fthall.finetune.losses import cross_entropy, distillation


@torch.no_grad()
def check_head(model: PreTrainedModel, example: Example) -> None:
    """Make sure :func:`head` is what the model itself does with its hidden states.

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
    if not torch.allclose(expected, found, rtol=1e-3, atol=1e-3):
        raise FthallError(
            f"{type(model).__name__} transforms its logits in a way fthall does not know; it cannot be trained"
        )


class Teacher:
    """A frozen snapshot of the student on the fixed training examples.

    The examples never change, so the snapshot's final hidden states are computed once, not once an epoch; with its
    output embeddings they give its logits exactly, at 1/85 of the memory of the logits themselves (for a vocabulary
    of 49,152 and a width of 576).
    """

    def __init__(self, states: dict[str, torch.Tensor]) -> None:
        self.states = states

    @classmethod
    @torch.no_grad()
    def snapshot(cls, model: PreTrainedModel, examples: Sequence[Example], batch_size: int) -> "Teacher":
        """Run the model over the examples as it is now."""
        was_training = model.training
        model.eval()
        states = {"head": model.get_output_embeddings().weight.detach().clone()}
        for start in range(0, len(examples), batch_size):
            batch = examples[start : start + batch_size]
            inputs = {k: v.to(model.device) for k, v in collate(batch).items()}
            hidden = model.base_model(
                input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"]
            ).last_hidden_state
            for example, row in zip(batch, hidden, strict=True):
                states[str(example.index)] = row[: len(example.input_ids)].clone()
        model.train(was_training)
        return cls(states)

    def logits(self, model: PreTrainedModel, index: Sequence[int]) -> torch.Tensor:
        """Teacher logits of all positions of the examples, one after the other: [positions, vocabulary]."""
        hidden = torch.cat([self.states[str(i)] for i in index])
        return scaled(model, torch.nn.functional.linear(hidden, self.states["head"]))

    def save(self, path: Path) -> None:
        """Keep the snapshot for a resumed run."""
        save_file(self.states, path)

    @classmethod
    def load(cls, path: Path, device: torch.device) -> "Teacher":
        """The counterpart of :meth:`save`."""
        return cls(load_file(path, device=str(device)))


class FactTrainer(Trainer):
    """transformers' Trainer with logits only where a loss needs them, and an optional teacher.

    Args:
        sampler: order of the examples.
        distill_weight: λ of the distillation term.
        distill_temperature: τ of the distillation term.
    """

    # compute_loss divides by the counts of the whole optimiser step: accumulation must not divide again.
    loss_is_scaled_for_ga = True

    def __init__(
        self, *, sampler: Any, distill_weight: float = 0.0, distill_temperature: float = 1.0, **options: Any
    ) -> None:
        super().__init__(data_collator=collate, **options)
        self.model_accepts_loss_kwargs = True  # so that num_items_in_batch is counted
        self.teacher: Teacher | None = None
        self._sampler = sampler
        self._weight = distill_weight
        self._temperature = distill_temperature
        self._positions = 0
        self._losses: list[torch.Tensor] = []

    def take_losses(self) -> list[float]:
        """The losses of the batches since the last call."""
        losses, self._losses = [float(loss) for loss in self._losses], []
        return losses

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        return self._sampler

    def get_batch_samples(
        self, epoch_iterator: Iterator[Any], num_batches: int, device: torch.device
    ) -> tuple[list[Any], torch.Tensor | int | None]:
        """Also count the non-padded positions of the step, over which the distillation term is a mean."""
        samples, count = super().get_batch_samples(epoch_iterator, num_batches, device)
        self._positions = sum(int(batch["attention_mask"].sum()) for batch in samples)
        return samples, count

    def compute_loss(
        self,
        model: Any,
        inputs: dict[str, torch.Tensor],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> Any:
        """``CE + λ τ² KL``; the second term only once there is a teacher."""
        # The Trainer leaves autocast to the model's forward, as accelerate has wrapped it; this takes the model apart.
        with self.accelerator.autocast():
            loss = self._loss(self.accelerator.unwrap_model(model), inputs, num_items_in_batch)
        self._losses.append(loss.detach())
        return (loss, {}) if return_outputs else loss

    def _loss(
        self, core: Any, inputs: dict[str, torch.Tensor], num_items_in_batch: torch.Tensor | int | None
    ) -> torch.Tensor:
        mask = inputs["attention_mask"]
        hidden = core.base_model(input_ids=inputs["input_ids"], attention_mask=mask).last_hidden_state
        following = torch.full_like(inputs["labels"], IGNORED)
        following[:, :-1] = inputs["labels"][:, 1:]  # position t predicts token t + 1
        learned = following != IGNORED
        count = num_items_in_batch if num_items_in_batch is not None else learned.sum()
        if self.teacher is None or self._weight == 0:
            return cross_entropy(head(core, hidden[learned]), following[learned], count)
        real = mask.bool()
        logits = head(core, hidden[real])
        loss = cross_entropy(logits[learned[real]], following[learned], count)
        with torch.no_grad():
            taught = self.teacher.logits(core, inputs["index"].tolist())
        positions = self._positions or int(mask.sum())
        return loss + self._weight * distillation(logits, taught, self._temperature, positions)
