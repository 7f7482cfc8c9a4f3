"""Losses as pure functions of logits."""

from typing import Any

import torch
from torch.nn import functional


def cross_entropy(logits: torch.Tensor, labels: torch.Tensor, count: torch.Tensor | int) -> torch.Tensor:
    """Sum of the token cross-entropies divided by ``count``.

    Args:
        logits: [tokens, vocabulary].
        labels: [tokens]; those of -100 count nothing.
        count: label tokens of the whole optimiser step, so that accumulated batches add up to one large batch.
    """
    return functional.cross_entropy(logits.float(), labels, reduction="sum") / count


def distillation(
    student: torch.Tensor,
    teacher: torch.Tensor,
    temperature: float,
    count: torch.Tensor | int,
    weight: torch.Tensor | None = None,
) -> torch.Tensor:
    """``τ² KL(teacher ‖ student)``, both softmaxes at τ, summed over positions and divided by ``count``.

    The self-distillation term of arXiv 2604.15574; τ² keeps its gradient's size when τ changes (Hinton et al. 2015,
    arXiv 1503.02531, section 2).

    Args:
        student: logits, [positions, vocabulary].
        teacher: logits, [positions, vocabulary]; no gradient flows into them.
        temperature: τ > 0.
        count: positions of the whole optimiser step.
        weight: [positions], how often each counts; by default once.
    """
    log_student = functional.log_softmax(student.float() / temperature, -1)
    log_teacher = functional.log_softmax(teacher.detach().float() / temperature, -1)
    if weight is None:
        divergence = functional.kl_div(log_student, log_teacher, reduction="sum", log_target=True)
    else:
        each = functional.kl_div(log_student, log_teacher, reduction="none", log_target=True).sum(-1)
        divergence = each @ weight.to(each.dtype)
    return temperature**2 * divergence / count


def taught(
    student: torch.Tensor,
    teacher: torch.Tensor,
    weight: torch.Tensor,
    predicting: torch.Tensor,
    labels: torch.Tensor,
    *,
    count: torch.Tensor | int,
    positions: torch.Tensor | int,
    distill_weight: float,
    temperature: float,
) -> torch.Tensor:
    """:func:`cross_entropy` plus λ :func:`distillation` of the same logits.

    A vocabulary is wide: out of torch's operators the sum goes through [positions, vocabulary] of float32 some twenty
    times, which on a processor is the largest part of what distillation costs. Logits in bfloat16 on a processor go
    through one kernel instead, which leaves nothing but their gradient.

    Args:
        student: logits, [positions, vocabulary].
        teacher: logits, [positions, vocabulary]; no gradient flows into them.
        weight: [positions], how often each counts for the distillation term.
        predicting: [labels], row of the logits that predict each label.
        labels: [labels]; those of -100 count nothing.
        count: label tokens of the whole optimiser step.
        positions: positions of the whole optimiser step.
        distill_weight: λ.
        temperature: τ > 0.
    """
    if student.device.type != "cpu" or {student.dtype, teacher.dtype} != {torch.bfloat16}:
        compared = distillation(student, teacher, temperature, positions, weight)
        return cross_entropy(student[predicting], labels, count) + distill_weight * compared
    there = labels >= 0
    scale = distill_weight * weight.float() / positions
    loss: torch.Tensor = _Taught.apply(
        student, teacher, scale, predicting[there], labels[there], 1 / float(count), temperature
    )
    return loss


class _Taught(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        student: torch.Tensor,
        teacher: torch.Tensor,
        scale: torch.Tensor,
        rows: torch.Tensor,
        labels: torch.Tensor,
        share: float,
        temperature: float,
    ) -> torch.Tensor:
        from fthall.finetune.loop import kernels  # on a GPU nothing here is needed

        gradient = torch.empty_like(student)
        loss = torch.empty(len(student))
        kernels.taught(
            *(kernels.stored(values).reshape(values.shape) for values in (student, teacher)),
            *(values.numpy() for values in (scale, rows, labels)),
            *map(kernels.number, (share, temperature)),
            kernels.stored(gradient).reshape(gradient.shape),
            loss.numpy(),
        )
        ctx.save_for_backward(gradient)
        return loss.sum()

    @staticmethod
    def backward(ctx: Any, by: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        (gradient,) = ctx.saved_tensors
        return gradient if by == 1 else gradient * by, None, None, None, None, None, None
