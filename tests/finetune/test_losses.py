"""Losses against numbers worked by hand."""

import math

import pytest
import torch

from fthall.finetune.loop.losses import cross_entropy, distillation


def test_cross_entropy_of_two_tokens():
    # softmax of (0, ln 3) is (1/4, 3/4): -ln(3/4) for label 1, -ln(1/4) for label 0
    logits = torch.tensor([[0.0, math.log(3)], [0.0, math.log(3)]])
    loss = cross_entropy(logits, torch.tensor([1, 0]), 2)
    assert loss.item() == pytest.approx((math.log(4 / 3) + math.log(4)) / 2, rel=1e-6)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_distillation_is_tau_squared_kl_of_teacher_to_student(temperature: float):
    # at temperature τ the teacher is (3/4, 1/4), the student (1/2, 1/2)
    teacher = torch.tensor([[temperature * math.log(3), 0.0]])
    student = torch.tensor([[0.0, 0.0]])
    kl = 0.75 * math.log(0.75 / 0.5) + 0.25 * math.log(0.25 / 0.5)
    assert distillation(student, teacher, temperature, 1).item() == pytest.approx(temperature**2 * kl, rel=1e-5)


def test_distillation_of_equals_is_zero_and_not_symmetric():
    one, other = torch.tensor([[2.0, 0.0, -1.0]]), torch.tensor([[0.0, 1.0, 0.0]])
    assert distillation(one, one, 0.5, 1).item() == pytest.approx(0, abs=1e-6)
    assert distillation(one, other, 1.0, 1).item() != pytest.approx(distillation(other, one, 1.0, 1).item(), rel=1e-3)


def test_no_gradient_into_the_teacher():
    student, teacher = torch.randn(3, 5, requires_grad=True), torch.randn(3, 5, requires_grad=True)
    distillation(student, teacher, 0.5, 3).backward()
    assert student.grad is not None
    assert teacher.grad is None
