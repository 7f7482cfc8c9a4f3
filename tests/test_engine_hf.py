"""The shared-prefix engine against plain generation."""

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from fthall.engines.hf import HfEngine

CONTEXT = "Q: In which country is the city of Riga?\nA: Latvia\n\n"
PROMPTS = [
    CONTEXT + f"Q: In which country is the city of {name}?\nA:"
    for name in ("Oslo", "Bo", "Ulaanbaatar the Great", "Zürich", "Minsk", "X")
]


@pytest.fixture(scope="module")
def model(tiny_base: Path):
    return AutoModelForCausalLM.from_pretrained(tiny_base).eval()


@pytest.fixture(scope="module")
def tokenizer(tiny_base: Path):
    return AutoTokenizer.from_pretrained(tiny_base)


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
    assert seen == [4, 2]
    assert model.training
    model.eval()
