"""AdamW for passes in bfloat16 on a processor: float32 weights apart from the bfloat16 copies the passes read.

Autocast makes those copies anew in every step, and its gradients are cast back to float32 before the optimiser reads
them. On a processor that traffic is a large part of a step of short examples. Here the passes read copies that last
(mixed precision with master weights: Micikevicius et al. 2018, arXiv 1710.03740), and the update goes through the
weights a cache-sized piece at a time: gradient to float32, AdamW (Loshchilov & Hutter 2019, arXiv 1711.05101), copy.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

PIECE = 2**20
"""Numbers updated at a time; with gradient and moments they fit a processor's cache."""


class Copies:
    """Which parameters of a model the passes read in bfloat16, and the float32 weights behind them."""

    def __init__(self, model: torch.nn.Module) -> None:
        """Take over the matrices of linear layers and embeddings; all other parameters stay as they are.

        What embeddings give stays float32, as under autocast, and their gradients are of the rows that were read.
        """
        self.weights: dict[torch.Tensor, torch.Tensor] = {}
        self._hooks = []
        for module in model.modules():
            if isinstance(module, torch.nn.Linear | torch.nn.Embedding) and module.weight not in self.weights:
                self.weights[module.weight] = module.weight.data
                module.weight.data = module.weight.data.bfloat16()
            if isinstance(module, torch.nn.Embedding):
                self._hooks.append(module.register_forward_hook(lambda module, inputs, rows: rows.float()))
                module.sparse = True

    @contextmanager
    def whole(self) -> Iterator[None]:
        """The model has its float32 weights meanwhile."""
        copies = {parameter: parameter.data for parameter in self.weights}
        self.restore()
        try:
            yield
        finally:
            for parameter, copy in copies.items():
                parameter.data = copy

    def restore(self) -> None:
        """Give the model its float32 weights."""
        for parameter, weight in self.weights.items():
            parameter.data = weight

    def close(self) -> None:
        """Give the model its float32 weights, for good."""
        self.restore()
        for hook in self._hooks:
            hook.remove()


class CopiesAdamW(torch.optim.Optimizer):
    """AdamW on the float32 weights behind a model's bfloat16 copies, with clipping of the gradient's norm.

    Args:
        groups: parameters, as any optimiser takes them.
        copies: of the model.
        lr: learning rate.
        betas: of the moments.
        eps: added to the root of the second moment.
        weight_decay: decoupled.
    """

    def __init__(
        self,
        groups: Iterable[Any],
        copies: Copies,
        *,
        lr: float,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(groups, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay})
        self.copies = copies
        self._scale = 1.0
        self._piece = torch.empty(PIECE)

    def clip(self, longest: float) -> torch.Tensor:
        """Scale the next update's gradient to a norm of at most ``longest``; return the norm it has."""
        squares = torch.zeros(())
        for _, gradient, _ in self._pieces():
            squares += gradient.dot(gradient)
        norm = squares.sqrt()
        self._scale = min(1.0, longest / (float(norm) + 1e-6))
        return norm

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Update the weights and their copies."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None and not self.state[parameter]:
                    weight = self._weight(parameter)
                    self.state[parameter] = {
                        "step": 0,
                        "exp_avg": torch.zeros_like(weight),
                        "exp_avg_sq": torch.zeros_like(weight),
                        "weight": weight,
                    }
                if parameter.grad is not None:
                    self.state[parameter]["step"] += 1
        step = torch.zeros(())
        for (group, parameter), gradient, piece in self._pieces():
            state = self.state[parameter]
            step.fill_(state["step"])
            if self._scale < 1:
                gradient.mul_(self._scale)
            weight = state["weight"].view(-1)[piece]
            torch._fused_adamw_(
                [weight],
                [gradient],
                [state["exp_avg"].view(-1)[piece]],
                [state["exp_avg_sq"].view(-1)[piece]],
                [],
                [step],
                amsgrad=False,
                lr=group["lr"],
                beta1=group["betas"][0],
                beta2=group["betas"][1],
                weight_decay=group["weight_decay"],
                eps=group["eps"],
                maximize=False,
            )
            if parameter in self.copies.weights:
                parameter.data.view(-1)[piece] = weight
        self._scale = 1.0

    def _weight(self, parameter: torch.nn.Parameter) -> torch.Tensor:
        return self.copies.weights.get(parameter, parameter.data)

    def _pieces(self) -> Iterator[tuple[tuple[Any, torch.nn.Parameter], torch.Tensor, slice]]:
        """(group and parameter, gradient as float32, which part of the parameter), one piece after the other."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                dense = parameter.grad.to_dense() if parameter.grad.is_sparse else parameter.grad
                flat = dense.reshape(-1)
                for start in range(0, flat.numel(), PIECE):
                    piece = slice(start, min(start + PIECE, flat.numel()))
                    gradient = self._piece[: piece.stop - start]
                    gradient.copy_(flat[piece])
                    yield (group, parameter), gradient, piece

    def load_state_dict(self, state_dict: Any) -> None:
        """The weights come back, too: float32, as they were saved."""
        super().load_state_dict(state_dict)
        # torch gives what it loads the type of the parameter, which is that of the copy here.
        parameters = [parameter for group in self.param_groups for parameter in group["params"]]
        numbers = [number for group in state_dict["param_groups"] for number in group["params"]]
        for number, parameter in zip(numbers, parameters, strict=True):
            if number not in state_dict["state"]:
                continue
            saved = dict(state_dict["state"][number])
            weight = self._weight(parameter)
            weight.copy_(saved["weight"])
            self.state[parameter] = {**saved, "weight": weight}
            if parameter in self.copies.weights:
                parameter.data.copy_(weight)
