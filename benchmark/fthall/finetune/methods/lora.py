"""LoRA: what training adds to a matrix has a low rank; optionally it keeps off the matrix's main directions.

1. Freeze the model; beside each chosen matrix W put ``B A α / r`` with A [r, in] random, B [out, r] zero.
2. Train A and B alone.
3. OPLoRA: after every step take out of A and B what lies along the k first singular directions of W, so that what W
   does to these directions stays as it was.
4. At the end add ``B A α / r`` to W: the result is an ordinary checkpoint.

Source: Hu et al. 2021, arXiv 2106.09685, through the peft library; OPLoRA: arXiv 2510.13003. Sensible: rank 4 to 64,
α twice the rank, a learning rate of 1e-4 to 1e-3 (ten times that of full fine-tuning); k 8 to 128.
"""

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from fthall.errors import FthallError
from fthall.finetune.methods import Part, Settings

if TYPE_CHECKING:
    import torch

    from fthall.finetune.job import Job
    from fthall.finetune.loop.trainer import FactTrainer


class LoRA(Settings):
    """``lora:`` of a run."""

    rank: Annotated[int, Field(ge=1)] = 16
    alpha: Annotated[int, Field(ge=1)] | None = None
    """None: twice the rank."""
    targets: tuple[str, ...] = ("all-linear",)
    """Names of the modules beside which adapters are put, as peft takes them; ``all-linear``: all but the output's."""
    orthogonal: Annotated[int, Field(ge=0)] = 0
    """k of OPLoRA; 0 for plain LoRA."""

    @property
    def scale(self) -> int:
        """α."""
        return 2 * self.rank if self.alpha is None else self.alpha

    def said(self) -> dict[str, Any]:
        """See :class:`fthall.finetune.methods.Settings`."""
        return {**super().said(), "alpha": self.scale}

    def part(self, job: "Job") -> "Adapting":
        """See :class:`fthall.finetune.methods.Settings`."""
        return Adapting(self, job)


class Adapting(Part):
    """The adapters of one training."""

    def __init__(self, settings: LoRA, job: "Job") -> None:
        self._how, self._job = settings, job
        self._tuner: Any = None
        self._main: dict[str, tuple[torch.Tensor, torch.Tensor]] = {}
        self._trainer: FactTrainer | None = None

    def begin(self, epochs_done: int) -> None:
        """Put them in; nothing else is trained from now on.

        Raises:
            FthallError: the model has no modules of these names.
        """
        import torch
        from peft import LoraConfig, LoraModel

        model, how = self._job.model, self._how
        chosen = how.targets[0] if how.targets == ("all-linear",) else list(how.targets)
        config = LoraConfig(r=how.rank, lora_alpha=how.scale, target_modules=chosen, lora_dropout=0.0, bias="none")
        # GPT-2's "Conv1D" are linear layers that keep their matrices the other way round.
        config.fan_in_fan_out = any(type(module).__name__ == "Conv1D" for module in model.modules())
        with torch.random.fork_rng():
            torch.manual_seed(self._job.seed)
            try:
                self._tuner = LoraModel(model, config, "default")
            except ValueError:
                linear = {name.split(".")[-1] for name, m in model.named_modules() if isinstance(m, torch.nn.Linear)}
                raise FthallError(
                    f"lora: targets: {type(model).__name__} has no modules {', '.join(how.targets)}; "
                    f"it has {', '.join(sorted(linear))}"
                ) from None
        if how.orthogonal:
            self._main = self._directions(model)

    def _directions(self, model: Any) -> "dict[str, tuple[torch.Tensor, torch.Tensor]]":
        """First singular vectors of each matrix, [out, k] and [k, in]. Kept: found again they may differ in a bit."""
        import torch
        from safetensors.torch import load_file, save_file

        kept, found = self._job.folder / "directions.safetensors", {}
        if kept.exists():
            found = load_file(kept, device=str(model.device))
        else:
            for name, module in model.named_modules():
                if hasattr(module, "lora_A"):
                    weight = module.get_base_layer().weight.detach()
                    if getattr(module, "fan_in_fan_out", False):
                        weight = weight.T
                    if self._how.orthogonal >= min(weight.shape):
                        raise FthallError(
                            f"lora: orthogonal: {self._how.orthogonal} directions are all that {name} has "
                            f"({' x '.join(map(str, weight.shape))}); lower it"
                        )
                    # In float64: where the numbers lie in memory changes last bits, and the rounding takes these off.
                    left, _, right = torch.linalg.svd(weight.double(), full_matrices=False)
                    found[f"{name}.left"] = left[:, : self._how.orthogonal].to(weight.dtype).contiguous()
                    found[f"{name}.right"] = right[: self._how.orthogonal].to(weight.dtype).contiguous()
            save_file(found, kept)
        names = [name.removesuffix(".left") for name in found if name.endswith(".left")]
        return {name: (found[f"{name}.left"], found[f"{name}.right"]) for name in names}

    def attach(self, trainer: "FactTrainer") -> None:
        """Its weights are projected, from the first step on."""
        self._trainer = trainer
        self.after_step(0.0)

    def after_step(self, rate: float) -> None:
        """Take the main directions out."""
        if not self._main or self._trainer is None:
            return
        weights = self._trainer.weights()
        for name, (left, right) in self._main.items():
            a, b = weights[f"{name}.lora_A.default.weight"], weights[f"{name}.lora_B.default.weight"]
            a.sub_((a @ right.T) @ right)
            b.sub_(left @ (left.T @ b))
        self._trainer.refresh()

    def finish(self) -> None:
        """Add them to the matrices."""
        self._tuner.merge_and_unload()


def merged(model: Any) -> "dict[str, torch.Tensor]":
    """The weights with what the adapters add to them, by the names they have without adapters; the model stays."""
    found = {
        name.replace(".base_layer.", "."): value for name, value in model.state_dict().items() if ".lora_" not in name
    }
    for name, module in model.named_modules():
        if hasattr(module, "get_delta_weight"):
            found[f"{name}.weight"] = found[f"{name}.weight"] + module.get_delta_weight("default")
    return found
