"""Weights pulled back to where they were: all alike (L2-SP), or each by how much known facts hang on it (EWC).

1. Remember the weights w₀ of the base, or of where training starts.
2. EWC: of each weight, the mean squared gradient F of the answers to known facts there (the diagonal of the empirical
   Fisher matrix), scaled to a mean of 1; L2-SP: F = 1.
3. Train as usual, by the cross-entropy.
4. After every step at learning rate η: ``w ← w₀ + (w - w₀) / (1 + η λ F)``.

Step 4 is the penalty ``λ/2 Σ F (w - w₀)²`` apart from AdamW's moments, as its weight decay is (Loshchilov and Hutter
2017, arXiv 1711.05101), taken implicitly, so that no λ makes it swing. Source: L2-SP, Li et al. 2018, arXiv
1802.01483; EWC, Kirkpatrick et al. 2016, arXiv 1612.00796. Sensible: λ from 10 (η λ of 0.0005 a step at 5e-5) to
1,000; of EWC up to 100 times as much, for most weights have an F far below the mean.
"""

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from fthall.finetune.methods import Part, Settings
from fthall.records import Split

if TYPE_CHECKING:
    import torch

    from fthall.finetune.job import Job
    from fthall.finetune.loop.trainer import FactTrainer


class L2SP(Settings):
    """``l2sp:`` of a run."""

    weight: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 1000.0
    """λ."""
    to: Literal["base", "start"] = "start"
    """Where the weights are pulled to."""

    def part(self, job: "Job") -> "Pulling":
        """See :class:`fthall.finetune.methods.Settings`."""
        return Pulling(self.weight, self.to, job, by_fisher=False)


class EWC(Settings):
    """``ewc:`` of a run."""

    weight: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 1000.0
    """λ, of a Fisher diagonal with a mean of 1."""
    to: Literal["base", "start"] = "start"
    """Where the weights are pulled to, and where the Fisher diagonal is of."""

    def part(self, job: "Job") -> "Pulling":
        """See :class:`fthall.finetune.methods.Settings`."""
        return Pulling(self.weight, self.to, job, by_fisher=True)


class Pulling(Part):
    """The pull of one training."""

    def __init__(self, weight: float, to: str, job: "Job", *, by_fisher: bool) -> None:
        self._weight, self._job, self._by_fisher = weight, job, by_fisher
        self._to_base = to == "base" or job.run.start == "base"
        self._trainer: FactTrainer | None = None
        self._place: dict[str, torch.Tensor] = {}
        self._fisher: dict[str, torch.Tensor] = {}

    def before(self, epochs_done: int) -> None:
        """Remember the base."""
        if self._to_base:
            self._remember()

    def begin(self, epochs_done: int) -> None:
        """Remember where training starts; a resumed run reads it."""
        from safetensors.torch import load_file, save_file

        if self._to_base:
            return
        kept = {what: self._job.folder / f"pull-{what}.safetensors" for what in ("place", "fisher")}
        if epochs_done:
            device = str(self._job.model.device)
            self._place = load_file(kept["place"], device=device)
            self._fisher = load_file(kept["fisher"], device=device) if self._by_fisher else {}
            return
        self._remember()
        save_file(self._place, kept["place"])
        if self._by_fisher:
            save_file(self._fisher, kept["fisher"])

    def attach(self, trainer: "FactTrainer") -> None:
        """Its weights are pulled."""
        self._trainer = trainer

    def after_step(self, rate: float) -> None:
        """One step back."""
        if not self._weight or self._trainer is None:
            return
        for name, weight in self._trainer.weights(trained=True).items():
            pull = rate * self._weight
            if name in self._fisher:
                each = self._fisher[name] * pull
                weight.lerp_(self._place[name], each.div_(1 + each))
            else:
                weight.lerp_(self._place[name], pull / (1 + pull))
        self._trainer.refresh()

    def _remember(self) -> None:
        named = list(self._job.model.named_parameters())
        self._place = {name: parameter.detach().clone() for name, parameter in named}
        if self._by_fisher:
            self._fisher = self._diagonal()

    def _diagonal(self) -> "dict[str, torch.Tensor]":
        """Mean squared gradients of the log-likelihood of the answers to known facts, one fact at a time; mean 1."""
        from fthall.engines.shared import head
        from fthall.finetune.loop.data import completions, encode
        from fthall.finetune.loop.losses import cross_entropy
        from fthall.finetune.loop.passes import states

        job, model = self._job, self._job.model
        examples = encode(completions(job.release.splits[Split.KNOWN], str(Split.KNOWN)), job.tokenizer)
        found = {name: parameter.new_zeros(parameter.shape) for name, parameter in model.named_parameters()}
        for example in examples:
            inputs = {name: value.to(model.device) for name, value in job.collate([example]).items()}
            model.zero_grad()
            logits = head(model, states(model, inputs).index_select(0, inputs["predicting"]))
            cross_entropy(logits, inputs["labels"], 1).backward()
            for name, parameter in model.named_parameters():
                if parameter.grad is not None:
                    found[name].addcmul_(parameter.grad, parameter.grad)
        model.zero_grad()
        total = sum(float(values.sum()) for values in found.values()) / sum(v.numel() for v in found.values())
        return {name: values.div_(total) for name, values in found.items()}
