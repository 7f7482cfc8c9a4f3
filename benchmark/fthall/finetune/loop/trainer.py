"""One Trainer for every method: cross-entropy on the answers, and a distillation term where there is a teacher."""

import math
from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from torch.distributed.tensor import DTensor
from torch.utils.data import DataLoader
from transformers import Trainer

from fthall.engines.shared import head
from fthall.errors import FthallError
from fthall.finetune.loop.data import Collate, EvenBatches
from fthall.finetune.loop.losses import cross_entropy, taught
from fthall.finetune.loop.optimiser import Copies, CopiesAdamW
from fthall.finetune.loop.passes import Graphs, states
from fthall.finetune.loop.teacher import Teacher


class FactTrainer(Trainer):
    """transformers' Trainer with logits only where a loss needs them, and an optional teacher.

    Args:
        batches: which examples go together.
        collate: how.
        distill_weight: λ of the distillation term.
        distill_temperature: τ of the distillation term.
        copies: bfloat16 copies of the model that the passes read; None for autocast from float32.
        graphed: whether passes are recorded as CUDA graphs.
    """

    # compute_loss divides by the counts of the whole optimiser step: accumulation must not divide again.
    loss_is_scaled_for_ga = True

    def __init__(
        self,
        *,
        batches: EvenBatches,
        collate: Collate,
        distill_weight: float = 0.0,
        distill_temperature: float = 1.0,
        copies: Copies | None = None,
        graphed: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(data_collator=collate, **options)
        self.model_accepts_loss_kwargs = True  # so that num_items_in_batch is counted
        self.teacher: Teacher | None = None
        self.batches = batches
        self._weight = distill_weight
        self._temperature = distill_temperature
        self.copies = copies
        self._graphs = Graphs(self.accelerator.unwrap_model(self.model)) if graphed else None
        self._positions = 0
        self._losses: list[float] = []

    def take_loss(self) -> float | None:
        """The mean loss of the steps since the last call, of all processes together; None if there were none."""
        losses, self._losses = self._losses, []
        if not losses:
            return None
        # A batch's loss is its part of the loss of a step: see compute_loss.
        steps = len(losses) / self.args.gradient_accumulation_steps
        mean: float = self._over_processes(sum(losses)).item() / steps
        return mean

    def _over_processes(self, value: float) -> torch.Tensor:
        """The sum of what each process has."""
        mine = torch.tensor([value], dtype=torch.float64, device=self.accelerator.device)
        found: torch.Tensor = self.accelerator.gather(mine)
        return found.sum()

    def weights(self, *, trained: bool = False) -> dict[str, torch.Tensor]:
        """The float32 weights by parameter name, or of what is trained only; :meth:`refresh` after changing them."""
        found = self.copies.weights if self.copies else {}
        named = self.accelerator.unwrap_model(self.model).named_parameters()
        return {name: found.get(p, p.data) for name, p in named if p.requires_grad or not trained}

    def refresh(self) -> None:
        """What the passes read follows the weights."""
        if self.copies:
            self.copies.refresh()

    def get_train_dataloader(self) -> DataLoader[Any]:
        """Batches as they are given."""
        loader = DataLoader(
            self.train_dataset,
            batch_sampler=self.batches,
            collate_fn=self.data_collator,
            pin_memory=self.args.dataloader_pin_memory,
        )
        prepared: DataLoader[Any] = self.accelerator.prepare(loader)
        return prepared

    def create_optimizer(self, model: Any = None) -> Any:
        """AdamW on the weights behind the copies, where there are copies; else what the arguments name."""
        if self.copies is None:
            return super().create_optimizer(model)
        decayed = set(self.get_decay_parameter_names(self.model))
        trained = [(name, p) for name, p in self.model.named_parameters() if p.requires_grad]
        groups = [
            {"params": [p for name, p in trained if name in decayed], "weight_decay": self.args.weight_decay},
            {"params": [p for name, p in trained if name not in decayed], "weight_decay": 0.0},
        ]
        self.optimizer: Any = CopiesAdamW(
            [group for group in groups if group["params"]],
            self.copies,
            lr=self.args.learning_rate,
            betas=(self.args.adam_beta1, self.args.adam_beta2),
            eps=self.args.adam_epsilon,
        )
        return self.optimizer

    def _clip_grad_norm(self, model: Any) -> Any:
        inner = getattr(self.optimizer, "optimizer", self.optimizer)
        if isinstance(inner, CopiesAdamW):
            return inner.clip(self.args.max_grad_norm)
        norm = super()._clip_grad_norm(model)
        return norm.full_tensor() if isinstance(norm, DTensor) else norm

    def floating_point_ops(self, inputs: dict[str, torch.Tensor]) -> int:
        """Not counted: nobody asks, and it takes a walk through all parameters every step."""
        return 0

    def get_batch_samples(
        self, epoch_iterator: Iterator[Any], num_batches: int, device: torch.device
    ) -> tuple[list[Any], torch.Tensor | int | None]:
        """Count what the losses of the step are means over: labels, which are not shifted here, and positions.

        Those of all batches of the step, on all processes.
        """
        samples, _ = super().get_batch_samples(epoch_iterator, num_batches, device)
        positions = sum(int(batch["weight"].sum()) for batch in samples)
        labels = sum(int((batch["labels"] >= 0).sum()) for batch in samples)
        if self.accelerator.num_processes > 1:
            positions, labels = int(self._over_processes(positions)), int(self._over_processes(labels))
        self._positions = positions
        return samples, max(1, labels)

    def compute_loss(
        self,
        model: Any,
        inputs: dict[str, torch.Tensor],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> Any:
        """``CE + λ τ² KL``; the second term only once there is a teacher.

        Raises:
            FthallError: the loss is no number any more.
        """
        core, processes = self.accelerator.unwrap_model(model), self.accelerator.num_processes
        if processes == 1:
            loss = self._cast_loss(core, inputs, num_items_in_batch)
        else:
            # What spreads a model over processes does its part when the model is called: the loss is what it gives.
            own = core.forward
            core.forward = partial(self._cast_loss, core)
            try:
                loss = model(inputs, num_items_in_batch)
            finally:
                core.forward = own
        self._losses.append(float(loss.detach()))
        if not math.isfinite(self._losses[-1]):
            raise FthallError(
                f"the loss is {self._losses[-1]} at step {self.state.global_step + 1} of {self.state.max_steps} "
                f"(learning rate {self._get_learning_rate():.2g}); what was saved last is kept in "
                f"{self.args.output_dir}; lower learning_rate and run it again"
            )
        loss = loss * processes  # gradients are averaged over processes, and this is a part of a sum
        return (loss, {}) if return_outputs else loss

    def _cast_loss(
        self, core: Any, inputs: dict[str, torch.Tensor], num_items_in_batch: torch.Tensor | int | None
    ) -> torch.Tensor:
        # The Trainer leaves autocast to the model's forward, as accelerate has wrapped it; this takes the model apart.
        with self.accelerator.autocast():
            return self._loss(core, inputs, num_items_in_batch)

    def _loss(
        self, core: Any, inputs: dict[str, torch.Tensor], num_items_in_batch: torch.Tensor | int | None
    ) -> torch.Tensor:
        hidden = self._graphs.states(core, inputs) if self._graphs else states(core, inputs)
        predicting, labels = inputs["predicting"], inputs["labels"]
        count = num_items_in_batch if num_items_in_batch is not None else (labels >= 0).sum().clamp(min=1)
        teacher = self.teacher if self._weight else None
        positions = self._positions or int(inputs["weight"].sum())
        if teacher is None or not positions:
            return cross_entropy(head(core, hidden.index_select(0, predicting)), labels, count)
        nodes = inputs["compared"]
        place = torch.full((len(hidden),), -1, device=nodes.device)
        place[nodes] = torch.arange(len(nodes), device=nodes.device)
        rows = place[predicting]
        weight = inputs["weight"]
        if not bool((rows >= 0).all()):  # what predicts an answer may not be compared
            nodes, weight = torch.cat([nodes, predicting]), torch.cat([weight, torch.zeros_like(labels)])
            rows = torch.arange(len(nodes) - len(labels), len(nodes), device=nodes.device)
        with torch.no_grad():
            teaching = teacher.logits(core, inputs, nodes)
        return taught(
            head(core, hidden.index_select(0, nodes)),
            teaching,
            weight,
            rows,
            labels,
            count=count,
            positions=positions,
            distill_weight=self._weight,
            temperature=self._temperature,
        )
