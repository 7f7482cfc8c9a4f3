"""The shared-prefix engine against plain generation."""

import pytest
import torch
from transformers import AutoModelForCausalLM

from builders import PROMPTS
from fthall.engines import shared
from fthall.engines.hf import HfEngine


def plainly(model, tokenizer, prompt: str, max_new_tokens: int) -> str:
    """One full prompt, one argmax at a time, no cache: nothing to get wrong."""
    ids = tokenizer(prompt, return_tensors="pt").input_ids
    new = []
    with torch.inference_mode():
        for _ in range(max_new_tokens):
            token = int(model(input_ids=ids).logits[0, -1].argmax())
            if token == tokenizer.eos_token_id or "\n" in tokenizer.decode([token]):
                break
            new.append(token)
            ids = torch.cat([ids, torch.tensor([[token]])], 1)
    return tokenizer.decode(new, skip_special_tokens=True).strip()


def test_answers_are_those_of_plain_decoding(model, tokenizer):
    expected = [plainly(model, tokenizer, prompt, 12) for prompt in PROMPTS]
    assert len(set(expected)) > 1, "the random model answers all prompts alike: the test could not fail"
    assert HfEngine(model, tokenizer, batch_size=4).greedy(PROMPTS, max_new_tokens=12) == expected


@pytest.mark.parametrize("batch_size", [1, 2, 5, 100])
def test_answers_depend_on_neither_batch_size_nor_order(model, tokenizer, batch_size: int):
    expected = HfEngine(model, tokenizer, batch_size=3).greedy(PROMPTS, max_new_tokens=8)
    turned = HfEngine(model, tokenizer, batch_size=batch_size).greedy(PROMPTS[::-1], max_new_tokens=8)
    assert turned[::-1] == expected


def test_prompts_without_anything_in_common_and_one_alone(model, tokenizer):
    odd = ["Q: one?\nA:", "Who?", PROMPTS[0]]
    expected = [plainly(model, tokenizer, prompt, 6) for prompt in odd]
    assert HfEngine(model, tokenizer).greedy(odd, max_new_tokens=6) == expected
    assert HfEngine(model, tokenizer).greedy([odd[1]], max_new_tokens=6) == expected[1:2]
    assert HfEngine(model, tokenizer).greedy([]) == []


def test_a_prompt_that_begins_another(model, tokenizer):
    nested = [PROMPTS[0], PROMPTS[0] + " Norway\n\nQ: And Rome?\nA:"]
    assert HfEngine(model, tokenizer).greedy(nested, max_new_tokens=6) == [
        plainly(model, tokenizer, prompt, 6) for prompt in nested
    ]


def test_progress_counts_every_prompt_and_training_mode_is_restored(model, tokenizer):
    model.train()
    seen: list[int] = []
    HfEngine(model, tokenizer, batch_size=4).greedy(PROMPTS, max_new_tokens=2, on_batch=seen.append)
    assert seen == [4, 4, 3]
    assert model.training
    model.eval()


SAMPLING = {"samples": 6, "temperature": 0.8, "top_k": 5, "max_new_tokens": 6}


def test_samples_are_the_same_for_the_same_seed_whatever_the_batch(model, tokenizer):
    found = [
        HfEngine(model, tokenizer, batch_size=size).sample(PROMPTS, seed=seed, **SAMPLING)
        for size, seed in ((3, 1), (100, 1), (3, 2))
    ]
    assert found[0] == found[1] != found[2]
    assert [len(said) for said in found[0]] == [6] * len(PROMPTS)
    assert len({text for said in found[0] for text in said}) > len(PROMPTS)
    turned = HfEngine(model, tokenizer).sample(PROMPTS[::-1], seed=1, **SAMPLING)
    assert turned[::-1] == found[0]
    assert not HfEngine(model, tokenizer).sample([], seed=1, **SAMPLING)


def test_samples_have_the_models_probabilities(model, tokenizer):
    prompt, draws, top_k, temperature = PROMPTS[0], 4000, 4, 0.7
    said = HfEngine(model, tokenizer, batch_size=500).sample(
        [prompt], samples=draws, temperature=temperature, top_k=top_k, seed=0, max_new_tokens=1
    )[0]
    with torch.inference_mode():
        logits = model(input_ids=tokenizer(prompt, return_tensors="pt").input_ids).logits[0, -1]
    best, tokens = logits.topk(top_k)
    expected: dict[str, float] = {}
    for token, share in zip(tokens.tolist(), torch.softmax(best / temperature, 0).tolist(), strict=True):
        text = tokenizer.decode([token], skip_special_tokens=True).split("\n")[0].strip()
        expected[text] = expected.get(text, 0) + share
    assert set(said) <= set(expected)
    for text, share in expected.items():
        assert said.count(text) / draws == pytest.approx(share, abs=4 * (share * (1 - share) / draws) ** 0.5 + 1e-9)


def test_sampling_from_one_token_is_greedy(model, tokenizer):
    engine = HfEngine(model, tokenizer)
    greedy = engine.greedy(PROMPTS, max_new_tokens=5)
    assert engine.sample(PROMPTS, samples=2, temperature=0.5, top_k=1, seed=0, max_new_tokens=5) == [
        [text, text] for text in greedy
    ]


def test_frozen_weights_answer_alike(tiny_base, tokenizer):
    frozen = AutoModelForCausalLM.from_pretrained(tiny_base).requires_grad_(False)
    free = AutoModelForCausalLM.from_pretrained(tiny_base)
    assert HfEngine(frozen, tokenizer).greedy(PROMPTS) == HfEngine(free, tokenizer).greedy(PROMPTS)


@pytest.mark.parametrize("batch_size", [3, 64])
def test_drafts_change_no_answer(model, tokenizer, batch_size: int) -> None:
    engine = HfEngine(model, tokenizer, batch_size=batch_size)
    plain = engine.greedy(PROMPTS, max_new_tokens=6)
    assert any(plain)
    cut, other = [text[: len(text) // 2] for text in plain], [*plain[1:], plain[0]]
    for drafts in (
        plain,
        cut,
        other,
        [f"{text} and more" for text in plain],
        [""] * len(plain),
        ["Latvia"] * len(plain),
    ):
        told: list[int] = []
        assert engine.greedy(PROMPTS, drafts=drafts, max_new_tokens=6, on_batch=told.append) == plain
        assert sum(told) == len(PROMPTS)


def test_drafts_where_attention_cannot_be_shared(model, tokenizer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared, "usable", lambda *_: False)
    engine = HfEngine(model, tokenizer)
    plain = engine.greedy(PROMPTS, max_new_tokens=6)
    assert engine.greedy(PROMPTS, drafts=plain, max_new_tokens=6) == plain
