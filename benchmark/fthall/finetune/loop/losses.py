"""Losses as pure functions of logits."""

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
