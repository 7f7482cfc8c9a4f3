"""Products of bfloat16 matrices through float32: the same numbers, on every way a model takes them."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from fthall.bases import bfloat16
from fthall.bases.bfloat16 import ThroughFloat32


class Products(TorchDispatchMode):
    """The types products are taken in."""

    def __init__(self) -> None:
        super().__init__()
        self.types: set[torch.dtype] = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if any(kind in str(func) for kind in ("mm", "matmul", "linear", "attention")):
            self.types.add(args[0].dtype)
        return func(*args, **(kwargs or {}))


def test_a_product_is_the_exact_one_rounded_once():
    torch.manual_seed(0)
    a, b = torch.randn(7, 300).bfloat16(), torch.randn(300, 5).bfloat16()
    exact = a.double() @ b.double()
    with ThroughFloat32():
        found = a @ b
    assert found.dtype is torch.bfloat16
    # Half the distance to the next bfloat16 (8 bits of it are significant), and a little for adding up in float32.
    assert ((found.double() - exact).abs() <= exact.abs() * 2**-8 + 1e-4).all()


@pytest.mark.parametrize("inference", [True, False])
def test_every_product_of_a_model_goes_that_way_and_gradients_too(inference):
    torch.manual_seed(0)
    layer, x = torch.nn.Linear(8, 6), torch.randn(2, 3, 8)
    heads = torch.randn(4, 3, 8)
    with Products() as seen, ThroughFloat32(), torch.autocast("cpu", torch.bfloat16):
        if inference:
            with torch.inference_mode():
                said = layer(x), torch.bmm(heads, heads.transpose(1, 2)), heads[:, None] @ heads.transpose(1, 2)
        else:
            said = layer(x), torch.bmm(heads, heads.transpose(1, 2)), heads[:, None] @ heads.transpose(1, 2)
            said[0].float().sum().backward()
            assert layer.weight.grad is not None
    assert {value.dtype for value in said} == {torch.bfloat16}
    assert seen.types == {torch.float32}


def test_what_is_not_bfloat16_is_left_alone():
    a = torch.randn(3, 4, dtype=torch.float64)
    with ThroughFloat32():
        assert torch.equal(a @ a.T, torch.mm(a, a.T))
        assert (a @ a.T).dtype is torch.float64


@pytest.mark.parametrize("quick", [True, False])
def test_it_is_used_where_the_processor_is_slow_only(monkeypatch, quick):
    monkeypatch.setattr(bfloat16, "is_quick", lambda: quick)
    assert isinstance(bfloat16.products(torch.device("cpu")), ThroughFloat32) is not quick
    assert not isinstance(bfloat16.products(torch.device("cuda")), ThroughFloat32)


def test_quick_is_what_the_clock_says(monkeypatch):
    for native, ours, expected in ((1.0, 2.0, True), (2.0, 1.0, False)):
        took = iter([native, ours])
        monkeypatch.setattr(bfloat16, "_seconds", lambda work, took=took: next(took))
        bfloat16.is_quick.cache_clear()
        assert bfloat16.is_quick() is expected
    bfloat16.is_quick.cache_clear()
