"""AdamW for passes in bfloat16 on a processor: float32 weights apart from the bfloat16 copies the passes read.

Autocast makes those copies anew in every step, and its gradients are cast back to float32 before the optimiser reads
them. On a processor that traffic is a large part of a step of short examples. Here the passes read copies that last
(mixed precision with master weights: Micikevicius et al. 2018, arXiv 1710.03740), and AdamW goes through weights,
moments, gradients and copies once.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from transformers import PreTrainedModel

from fthall.finetune.loop.quick import Quick


class Copies:
    """Which parameters of a model the passes read in bfloat16, and the float32 weights behind them."""

    def __init__(self, model: PreTrainedModel, sample: Mapping[str, torch.Tensor] | None = None) -> None:
        """Take over the matrices of linear layers and embeddings; all other parameters stay as they are.

        What embeddings give stays float32, as under autocast.

        Args:
            model: on a processor.
            sample: a batch to try quicker attention and norms on (:class:`fthall.finetune.loop.quick.Quick`); without
                one the model keeps its own.
        """
        self._quick = None if sample is None else Quick(model, sample)
        self.weights: dict[torch.Tensor, torch.Tensor] = {}
        self._hooks = []
        self._copies: dict[torch.Tensor, torch.Tensor] = {}
        self._embeddings: list[torch.nn.Embedding] = []
        self._read: dict[torch.Tensor, list[tuple[torch.Tensor, torch.Tensor]]] = {}
        for module in model.modules():
            if isinstance(module, torch.nn.Linear | torch.nn.Embedding) and module.weight not in self.weights:
                self.weights[module.weight] = module.weight.data.contiguous()
                module.weight.data = self.weights[module.weight].bfloat16()
            if type(module) is torch.nn.Embedding:
                module.forward = partial(self._look_up, module)  # type: ignore[method-assign]
                self._embeddings.append(module)
            elif isinstance(module, torch.nn.Embedding):  # it does more than look up
                self._hooks.append(module.register_forward_hook(lambda module, inputs, rows: rows.float()))

    @contextmanager
    def whole(self) -> Iterator[None]:
        """The model has its float32 weights, and its own attention and norms, meanwhile."""
        self._copies = {parameter: parameter.data for parameter in self.weights}
        self.restore()
        try:
            yield
        finally:
            _use(self._copies)
            if self._quick:
                self._quick.on()

    @contextmanager
    def rounded(self) -> Iterator[None]:
        """Within :meth:`whole`: the model computes in bfloat16 meanwhile, with the copies."""
        _use(self._copies)
        try:
            with torch.autocast("cpu", torch.bfloat16):
                yield
        finally:
            _use(self.weights)

    def refresh(self) -> None:
        """The float32 weights have been changed from outside: round them anew."""
        for parameter, weight in self.weights.items():
            if parameter.requires_grad:
                parameter.data.copy_(weight)

    def restore(self) -> None:
        """Give the model its float32 weights, and its own attention and norms."""
        if self._quick:
            self._quick.off()
        _use(self.weights)

    def close(self) -> None:
        """Give the model its float32 weights, for good."""
        self.restore()
        for module in self._embeddings:
            module.__dict__.pop("forward", None)
        for hook in self._hooks:
            hook.remove()

    def _look_up(self, module: torch.nn.Embedding, ids: torch.Tensor) -> torch.Tensor:
        rows: torch.Tensor = _Rows.apply(module.weight, ids, self._read.setdefault(module.weight, []))
        return rows

    def add_rows(self) -> None:
        """After a backward pass: add the gradients of the rows that were read to those of the matrices."""
        for parameter, read in self._read.items():
            if not read:
                continue
            whole = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
            for ids, gradient in read:
                parameter.grad = whole.index_add_(0, ids, gradient.to(parameter.dtype))
            read.clear()


def _use(values: Mapping[torch.Tensor, torch.Tensor]) -> None:
    """Let parameters hold these values."""
    for parameter, value in values.items():
        parameter.data = value


class _Rows(torch.autograd.Function):
    """Rows of a matrix as float32. Their gradient is kept apart: as large as the matrix it would be mostly zeros."""

    @staticmethod
    def forward(ctx: Any, weight: torch.Tensor, ids: torch.Tensor, read: list[Any]) -> torch.Tensor:
        ctx.read = read
        ctx.save_for_backward(ids)
        return weight[ids].float()

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[None, None, None]:
        (ids,) = ctx.saved_tensors
        ctx.read.append((ids.flatten(), gradient.flatten(0, -2)))
        return None, None, None


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
        from fthall.finetune.loop import kernels  # on a GPU nothing here is needed

        super().__init__(groups, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay})
        self.copies = copies
        self._kernels = kernels
        self._scale = 1.0
        self._stored: dict[torch.nn.Parameter, tuple[Any, ...]] = {}

    def clip(self, longest: float) -> torch.Tensor:
        """Scale the next update's gradient to a norm of at most ``longest``; return the norm it has."""
        self.copies.add_rows()
        squares = 0.0
        for _, parameter, gradient in self._trained():
            if parameter in self.copies.weights:
                squares += self._kernels.sum_of_squares(self._kernels.stored(gradient))
            else:
                squares += float(gradient.square().sum())
        self._scale = min(1.0, longest / (squares**0.5 + 1e-6))
        return torch.tensor(squares**0.5)

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Update the weights and their copies."""
        self.copies.add_rows()
        for group, parameter, gradient in self._trained():
            state = self.state[parameter]
            if not state:
                weight = self._weight(parameter)
                state |= {"step": 0, "weight": weight}
                state |= {name: torch.zeros_like(weight) for name in ("exp_avg", "exp_avg_sq")}
            state["step"] += 1
            beta1, beta2 = group["betas"]
            if parameter not in self.copies.weights:
                torch._fused_adamw_(
                    [state["weight"]],
                    [gradient * self._scale],
                    [state["exp_avg"]],
                    [state["exp_avg_sq"]],
                    [],
                    [torch.tensor(float(state["step"]))],
                    amsgrad=False,
                    lr=group["lr"],
                    beta1=beta1,
                    beta2=beta2,
                    weight_decay=group["weight_decay"],
                    eps=group["eps"],
                    maximize=False,
                )
                continue
            numbers = (
                self._scale,
                beta1,
                beta2,
                1 - group["lr"] * group["weight_decay"],
                group["lr"] / (1 - beta1 ** state["step"]),
                (1 - beta2 ** state["step"]) ** -0.5,
                group["eps"],
            )
            if parameter not in self._stored:
                flat = (state[name].view(-1).numpy() for name in ("weight", "exp_avg", "exp_avg_sq"))
                self._stored[parameter] = (*flat, self._kernels.stored(parameter.data))
            weight, mean, square, copy = self._stored[parameter]
            self._kernels.adamw(
                weight, mean, square, self._kernels.stored(gradient), copy, *map(self._kernels.number, numbers)
            )
        self._scale = 1.0

    def _weight(self, parameter: torch.nn.Parameter) -> torch.Tensor:
        return self.copies.weights.get(parameter, parameter.data)

    def _trained(self) -> Iterator[tuple[dict[str, Any], torch.nn.Parameter, torch.Tensor]]:
        """(group, parameter, gradient) of all parameters that have one."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    yield group, parameter, parameter.grad

    def load_state_dict(self, state_dict: Any) -> None:
        """The weights come back, too: float32, as they were saved."""
        super().load_state_dict(state_dict)
        self._stored.clear()
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
