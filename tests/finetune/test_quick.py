"""What is computed another way on a processor, against the usual way: attention, norms, kernels, rows of embeddings."""

from contextlib import contextmanager

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM, Gemma2Config, Gemma2ForCausalLM, LlamaConfig, LlamaForCausalLM
from transformers.models.llama.modeling_llama import LlamaRMSNorm

from builders import tiny_release
from fthall.engines import hf, shared
from fthall.finetune.loop import kernels
from fthall.finetune.loop.data import Collate, completions, encode
from fthall.finetune.loop.losses import cross_entropy, distillation, taught
from fthall.finetune.loop.optimiser import Copies
from fthall.finetune.loop.passes import states
from fthall.finetune.loop.quick import NAME, Attention, Quick, RMSNorm
from fthall.prompts import ask
from fthall.records import Split

SHAPE = {"vocab_size": 300, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2}
HEADS = {"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8}


def doubles(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64, requires_grad=True)


def llama(**settings) -> LlamaForCausalLM:
    torch.manual_seed(0)
    return LlamaForCausalLM(LlamaConfig(**SHAPE, **HEADS, **settings))


@pytest.fixture(scope="module")
def batch(tokenizer, tmp_path_factory):
    release = tiny_release(tmp_path_factory.mktemp("release"))
    return Collate()(encode(completions(release.splits[Split.KNOWN][:4], "known"), tokenizer))


def step(model, batch) -> torch.Tensor:
    """Logits of all nodes, after a backward pass of a loss of them."""
    with torch.autocast("cpu", torch.bfloat16):
        logits = model.lm_head(states(model, batch))
    logits.float().log_softmax(-1)[:, 5].mean().backward()
    return logits.detach().float()


def cosine(one: torch.Tensor, other: torch.Tensor) -> float:
    return float(torch.nn.functional.cosine_similarity(one.flatten().float(), other.flatten().float(), dim=0))


def test_attention_and_its_gradient():
    query, key, value = doubles(2, 4, 5, 3), doubles(2, 2, 5, 3), doubles(2, 2, 5, 3)
    mask = torch.zeros(2, 1, 5, 5, dtype=torch.float64).masked_fill(torch.ones(5, 5).triu(1).bool(), float("-inf"))
    found = Attention.apply(query, key, value, mask, 0.7)
    expected = torch.nn.functional.scaled_dot_product_attention(
        query, key, value, attn_mask=mask, scale=0.7, enable_gqa=True
    )
    torch.testing.assert_close(found, expected.transpose(1, 2))
    assert torch.autograd.gradcheck(lambda q, k, v: Attention.apply(q, k, v, mask, 0.7), (query, key, value))


def test_rms_norm_and_its_gradient():
    usual = LlamaRMSNorm(6, eps=1e-3).double()
    x, weight = doubles(2, 4, 6), doubles(6)
    usual.weight.data = weight.data
    # the usual one goes by way of float32
    torch.testing.assert_close(RMSNorm.apply(x, weight, 1e-3, x.dtype), usual(x), rtol=1e-5, atol=1e-6)
    assert torch.autograd.gradcheck(lambda a, b: RMSNorm.apply(a, b, 1e-3, a.dtype), (x, weight))


def test_a_step_with_the_quicker_ones_is_the_step_without(batch):
    model = llama()
    usual = step(model, batch)
    gradients = {name: p.grad.clone() for name, p in model.named_parameters()}
    model.zero_grad()

    quick = Quick(model, batch)
    assert model.config._attn_implementation == NAME
    assert cosine(step(model, batch), usual) > 0.999
    assert all(cosine(p.grad, gradients[name]) > 0.98 for name, p in model.named_parameters())
    quick.off()
    assert torch.equal(step(model, batch), usual)


def test_a_model_that_wants_more_keeps_its_own(batch):
    torch.manual_seed(0)
    model = Gemma2ForCausalLM(Gemma2Config(**SHAPE, **HEADS, attn_logit_softcapping=50.0))  # and norms of 1 + weight
    model.set_attn_implementation("eager")
    usual = step(model, batch)

    Quick(model, batch)
    assert model.config._attn_implementation == "eager"
    assert torch.equal(step(model, batch), usual)


@pytest.mark.parametrize("tied", [True, False])
def test_rows_of_embeddings_get_the_gradient_they_get_usually(batch, tied):
    model = llama(tie_word_embeddings=tied)
    usual = step(model, batch)
    expected = model.get_input_embeddings().weight.grad.clone()
    model.zero_grad()
    copies = Copies(model)
    assert cosine(step(model, batch), usual) > 0.999
    copies.add_rows()
    weight = model.get_input_embeddings().weight
    assert cosine(weight.grad, expected) > 0.999
    copies.add_rows()
    assert cosine(weight.grad, expected) > 0.999, "added once"
    copies.close()


def test_embeddings_that_do_more_than_look_up_go_on_doing_it(batch):
    class Doubled(torch.nn.Embedding):
        def forward(self, ids):
            return 2 * super().forward(ids)

    model = llama()
    plain = model.get_input_embeddings()
    doubled = Doubled(*plain.weight.shape)
    doubled.weight = plain.weight
    model.set_input_embeddings(doubled)
    copies = Copies(model)
    ids = torch.tensor([[1, 2, 3]])
    assert torch.equal(model.get_input_embeddings()(ids), 2 * doubled.weight[ids].float())
    copies.close()
    assert model.get_input_embeddings()(ids).dtype == torch.float32


def test_while_asked_a_model_has_its_own_attention_and_norms(batch, tiny_base):
    model = AutoModelForCausalLM.from_pretrained(tiny_base)
    before = model(torch.tensor([[1, 2, 3]])).logits
    own = model.config._attn_implementation
    copies = Copies(model, batch)
    assert model.config._attn_implementation == NAME
    with copies.whole():
        assert model.config._attn_implementation == own
        assert torch.equal(model(torch.tensor([[1, 2, 3]])).logits, before)
    assert model.config._attn_implementation == NAME
    copies.close()
    assert torch.equal(model(torch.tensor([[1, 2, 3]])).logits, before)


@given(
    st.integers(1, 9),
    st.integers(2, 200),
    st.floats(0.1, 3.0),
    st.floats(0.0, 30.0),
    st.integers(0, 2**31),
)
@settings(deadline=None, max_examples=40)
def test_losses_of_one_kernel_are_the_losses_one_by_one(rows, width, temperature, spread, seed):
    torch.manual_seed(seed)
    student = (spread * torch.randn(rows, width)).bfloat16().requires_grad_()
    teacher = (spread * torch.randn(rows, width)).bfloat16()
    weight = torch.randint(0, 3, (rows,))
    predicting, labels = torch.randint(0, rows, (6,)), torch.randint(0, width, (6,))
    labels[0] = -100
    how = {"count": 5, "positions": 7, "distill_weight": 0.7, "temperature": temperature}
    loss = taught(student, teacher, weight, predicting, labels, **how)
    loss.backward()
    found = student.grad.float()
    apart = student.detach().float().requires_grad_()
    expected = cross_entropy(apart[predicting], labels, 5)
    expected = expected + 0.7 * distillation(apart, teacher, temperature, 7, weight)
    expected.backward()
    torch.testing.assert_close(loss, expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(found, apart.grad, rtol=2e-2, atol=4e-3 * float(apart.grad.abs().max()) + 1e-7)


def test_a_logit_that_is_no_number_makes_a_loss_that_is_none():
    student, teacher = torch.zeros(2, 40).bfloat16(), torch.zeros(2, 40).bfloat16()
    how = {"count": 1, "positions": 2, "distill_weight": 1.0, "temperature": 0.5}
    label = torch.tensor([0]), torch.tensor([1])
    assert taught(student, teacher, torch.ones(2), *label, **how).item() == pytest.approx(np.log(40), rel=1e-6)
    student[1, 7] = float("nan")
    assert taught(student, teacher, torch.ones(2), *label, **how).isnan()


def test_bfloat16_is_rounded_as_torch_rounds():
    bits = torch.randint(-(2**31), 2**31 - 1, (5000,), dtype=torch.int32)
    values = bits.view(torch.float32)
    values = values[values.isfinite()]
    still = torch.zeros_like(values)
    copy = torch.empty_like(values, dtype=torch.bfloat16)
    numbers = map(kernels.number, (1, 0.9, 0.999, 1, 0, 1, 1e-8))
    gradient = kernels.stored(torch.zeros_like(copy))
    weight = values.clone()
    kernels.adamw(weight.numpy(), still.numpy(), still.clone().numpy(), gradient, kernels.stored(copy), *numbers)
    assert torch.equal(copy, values.bfloat16())


@pytest.mark.parametrize("sure", [0.0, 1.0, float("inf")])
def test_answers_of_a_model_in_bfloat16_that_are_not_sure_are_asked_in_float32(
    tiny_base, tokenizer, tmp_path, monkeypatch, sure
):
    monkeypatch.setattr(hf, "SURE", sure)
    facts = tiny_release(tmp_path).splits[Split.HELD]
    prompts = [ask(fact.question) for fact in facts]
    model = AutoModelForCausalLM.from_pretrained(tiny_base)
    copies, counted = Copies(model), []
    with copies.whole():
        exact = hf.HfEngine(model, tokenizer).greedy(prompts)
        engine = hf.HfEngine(model, tokenizer, rounded=copies.rounded)
        said = engine.greedy(prompts, drafts=["no", *exact[1:]], on_batch=counted.append)
        assert model.lm_head.weight.dtype == torch.float32
    assert model.lm_head.weight.dtype == torch.bfloat16
    copies.close()
    assert said == exact or sure == 0
    assert sum(counted) == len(prompts)


@pytest.mark.parametrize(("ahead", "expected"), [(2.0, "x" * 5), (0.5, None)])
def test_an_answer_is_taken_from_the_rounded_model_only_if_it_is_ahead(
    tiny_base, tokenizer, monkeypatch, ahead, expected
):
    model = AutoModelForCausalLM.from_pretrained(tiny_base)
    (token,) = tokenizer("x").input_ids

    @contextmanager
    def rounded():
        with monkeypatch.context() as patch:
            patch.setattr(shared, "head", lambda model, hidden: ahead * torch.eye(300)[token].expand(len(hidden), -1))
            yield

    engine = hf.HfEngine(model, tokenizer, rounded=rounded)
    exact = hf.HfEngine(model, tokenizer).greedy(["Q: x?\nA:"], max_new_tokens=5)
    assert engine.greedy(["Q: x?\nA:"], drafts=["y"], max_new_tokens=5) == ([expected] if expected else exact)
    assert engine.greedy(["Q: x?\nA:"], max_new_tokens=5) == exact, "without drafts nothing is rounded"
