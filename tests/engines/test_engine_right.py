"""Verdicts by verified drafts against generate-then-score, and the shared attention against the usual one."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import (
    Gemma2Config,
    Gemma2ForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    OPTConfig,
    OPTForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
)

from builders import PROMPTS
from fthall.answers import can_become_correct, judge
from fthall.engines import shared
from fthall.engines.hf import HfEngine
from fthall.engines.shared import group
from fthall.errors import FthallError
from fthall.records import Outcome


def accepted_answers(said: list[str]) -> list[tuple[str, ...]]:
    """For each answer something the verdict has to be careful about."""
    wrong = "Atlantis"
    return [
        (
            (text or "x",),  # exactly it
            (wrong, text.upper() or "x"),  # an alias, in other letters
            (f"The {text}", wrong),
            (text[: len(text) // 2] or "x",),  # the model says more
            (f"{text} and more",),  # the model says less
            (f"{text}.", wrong),
            (wrong,),
        )[place % 7]
        for place, text in enumerate(said)
    ]


@pytest.mark.parametrize("most", [1, 2, 5, 12])
@pytest.mark.parametrize("batch_size", [2, 64])
def test_verdicts_are_those_of_generate_then_score(model, tokenizer, most: int, batch_size: int):
    engine = HfEngine(model, tokenizer, batch_size=batch_size)
    said = engine.greedy(PROMPTS, max_new_tokens=most)
    for turn in range(7):
        accepted = accepted_answers(said[turn:] + said[:turn])
        accepted = accepted[len(said) - turn :] + accepted[: len(said) - turn]
        expected = [judge(text, answers) is Outcome.CORRECT for text, answers in zip(said, accepted, strict=True)]
        seen: list[int] = []
        assert engine.right(PROMPTS, accepted, max_new_tokens=most, on_batch=seen.append) == expected
        assert sum(seen) == len(PROMPTS)
        assert any(expected)
        assert not all(expected)
    assert engine.right([], []) == []


def test_a_model_whose_attention_cannot_be_shared_is_asked_the_usual_way(
    model, tokenizer, monkeypatch: pytest.MonkeyPatch
):
    engine = HfEngine(model, tokenizer)
    said = engine.greedy(PROMPTS, max_new_tokens=4)
    monkeypatch.setattr(shared, "usable", lambda *_: False)
    monkeypatch.setattr(shared, "forward", None)
    assert engine.right(PROMPTS, [(text or "x",) for text in said], max_new_tokens=4) == [bool(text) for text in said]


def test_out_of_memory_halves_the_batch_and_says_so(
    model, tokenizer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    engine = HfEngine(model, tokenizer, batch_size=11)
    said = engine.greedy(PROMPTS, max_new_tokens=4)
    accepted = [(text or "x",) for text in said]
    expected = engine.right(PROMPTS, accepted, max_new_tokens=4)
    forward, limit, seen = shared.forward, 3, []

    def tight(model, rows, layers):
        if len(rows) > limit:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate")
        return forward(model, rows, layers)

    monkeypatch.setattr(shared, "forward", tight)
    assert engine.right(PROMPTS, accepted, max_new_tokens=4, on_batch=seen.append) == expected
    assert engine.batch_size <= 3
    assert sum(seen) == len(PROMPTS)
    assert "going on with batches of 2" in caplog.text
    limit = 0
    with pytest.raises(FthallError, match="out of memory with a single prompt"):
        engine.right(PROMPTS, accepted, max_new_tokens=4)
    monkeypatch.setattr(shared, "forward", lambda *_: (_ for _ in ()).throw(RuntimeError("another")))
    with pytest.raises(RuntimeError, match="another"):
        engine.right(PROMPTS, accepted, max_new_tokens=4)


SMALL = {"vocab_size": 50, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
GATED = {**SMALL, "intermediate_size": 64, "num_key_value_heads": 2, "initializer_range": 0.3}


@pytest.mark.parametrize(
    "make",
    [
        lambda: LlamaForCausalLM(LlamaConfig(**GATED)),
        lambda: Qwen2ForCausalLM(Qwen2Config(**GATED)),
        lambda: Gemma2ForCausalLM(
            Gemma2Config(  # eager: torch's own attention has no cap
                **GATED, head_dim=8, attn_logit_softcapping=2.0, sliding_window=64, attn_implementation="eager"
            )
        ),
        lambda: GPT2LMHeadModel(GPT2Config(vocab_size=50, n_embd=32, n_layer=2, n_head=4, initializer_range=0.3)),
    ],
    ids=["llama", "qwen2", "gemma2", "gpt2"],
)
def test_shared_attention_is_the_usual_one(make):
    torch.manual_seed(0)
    model = make().eval()
    common, tails = [7, 3, 9, 4, 4, 8], [[5, 6, 7], [1], [2, 2, 2, 9, 1]]
    with torch.inference_mode():
        layers = shared.prefix(model, common)
        assert shared.usable(model, tails[0], layers)
        before = model.config._attn_implementation
        with shared.attention(model):
            found = shared.forward(model, tails, layers)
        assert model.config._attn_implementation == before
        for row, tail in enumerate(tails):
            whole = model.base_model(input_ids=torch.tensor([common + tail])).last_hidden_state[0, len(common) :]
            torch.testing.assert_close(found[row, : len(tail)], whole, rtol=1e-4, atol=1e-4)
        with shared.attention(model):
            alone = shared.forward(model, tails[:1], [])
        whole = model.base_model(input_ids=torch.tensor([tails[0]])).last_hidden_state
        torch.testing.assert_close(alone, whole, rtol=1e-4, atol=1e-4)


def test_a_window_shorter_than_the_text_is_not_shared():
    model = Gemma2ForCausalLM(Gemma2Config(**GATED, head_dim=8, sliding_window=4)).eval()
    with torch.inference_mode():
        assert not shared.usable(model, [5, 6, 7], shared.prefix(model, [1, 2, 3]))


@pytest.mark.parametrize(
    ("dtype", "off", "tokens", "shared_by"),
    [
        (torch.bfloat16, 0.25, 1, True),  # rounding turns a token now and then
        (torch.bfloat16, 0.25, 5, False),
        (torch.float32, 0.01, 5, False),  # which rounding does not do: a score capped, or scaled otherwise
        (torch.float32, 1e-4, 5, True),
    ],
)
def test_how_far_off_a_shared_attention_may_be(dtype, off, tokens, shared_by, monkeypatch: pytest.MonkeyPatch):
    torch.manual_seed(0)
    model, forward = LlamaForCausalLM(LlamaConfig(**GATED)).to(dtype).eval(), shared.forward

    def turned(*given):
        states = forward(*given)
        aside = states.roll(1, -1) * torch.tensor([1.0, -1.0]).repeat(16)  # orthogonal but for little
        states[:, :tokens] += off * aside[:, :tokens].to(dtype)
        return states

    monkeypatch.setattr(shared, "forward", turned)
    with torch.inference_mode():
        assert shared.usable(model, [5, 6, 7, 3, 1], shared.prefix(model, [1, 2, 3])) is shared_by


def test_positions_that_are_not_handed_down_are_noticed():
    torch.manual_seed(0)
    config = OPTConfig(
        **SMALL, ffn_dim=64, max_position_embeddings=64, word_embed_proj_dim=32, init_std=0.3, do_layer_norm_before=True
    )
    model = OPTForCausalLM(config).eval()
    common, tail = [7, 3, 9, 4], [5, 6, 7]
    with torch.inference_mode():
        layers = shared.prefix(model, common)
        if shared.usable(model, tail, layers):  # then it must be right
            with shared.attention(model):
                found = shared.forward(model, [tail], layers)
            whole = model.base_model(input_ids=torch.tensor([common + tail])).last_hidden_state[0, len(common) :]
            torch.testing.assert_close(found[0], whole, rtol=1e-3, atol=1e-3)


def test_rows_that_begin_alike_are_found_together():
    rows = [[1, 2, 3, 4, 9], [1, 2, 3, 4, 8, 8], [7, 7, 7], [1, 2, 3, 4, 5, 6], [7, 7, 8]]
    groups = group(rows)
    assert [(length, sorted(members)) for length, members in groups] == [(4, [0, 1, 3]), (2, [2, 4])]
    assert group([[1, 2, 3]]) == [(2, [0])] or group([[1, 2, 3]]) == [(0, [0])]
    assert group([[1], [1]])[0][0] == 0  # a row keeps a token of its own


@given(st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=6), min_size=1, max_size=12))
def test_every_row_is_in_one_group_and_shares_its_prefix(rows: list[list[int]]):
    groups = group(rows)
    assert sorted(i for _, members in groups for i in members) == list(range(len(rows)))
    for length, members in groups:
        assert len({tuple(rows[i][:length]) for i in members}) == 1
        assert all(len(rows[i]) > length for i in members)


PIECES = st.sampled_from(
    [
        "the ",
        "a",
        "an ",
        " ",
        "St. ",
        "Louis",
        "é",
        "e\u0301",
        "'",
        "-",
        "€",
        "´",
        "Ł",
        "ﬁ",
        "A",
        "th",
        "x",
        ",",
        "…",
        "\u00a0",
    ]
)
TEXTS = st.lists(PIECES, max_size=6).map("".join)


@given(begun=TEXTS, rest=TEXTS, answer=TEXTS)
def test_what_can_still_become_right_is_never_given_up(begun: str, rest: str, answer: str):
    # the whole text is an accepted answer for sure, and often another is
    for answers in ((begun + rest,), (answer,), (answer, rest + begun)):
        if judge(begun + rest, answers) is Outcome.CORRECT:
            assert can_become_correct(begun, answers)


@pytest.mark.parametrize(
    ("begun", "answers", "can"),
    [
        ("", ("Paris",), True),
        ("Pa", ("Paris",), True),
        ("the Par", ("Paris",), True),
        ("Paris,", ("Paris",), True),
        ("Paris t", ("Paris",), True),  # "Paris the"
        ("Paris F", ("Paris",), False),
        ("London", ("Paris",), False),
        ("United K", ("United States", "USA"), False),
        ("United S", ("United States", "USA"), True),
        ("St", ("St. Louis",), True),
        ("Saint", ("St. Louis",), False),
        ("\ufffd", ("Łódź",), True),
        ("A", ("A",), True),
        ("An", ("A",), True),
        ("B", ("A",), False),
    ],
)
def test_giving_up_by_hand(begun: str, answers: tuple[str, ...], can: bool):
    assert can_become_correct(begun, answers) is can
