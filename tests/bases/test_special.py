"""What a base is asked with is decided once: the same tokens wherever it is trained, asked or evaluated."""

import json
import logging
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tokenizers import normalizers
from transformers import AutoTokenizer

from builders import tiny_facts, tiny_release
from fthall import bases
from fthall.bases.special import added, left_out, settle
from fthall.cli import main
from fthall.engines import Spec, lm_eval_answers, start
from fthall.engines.vllm import VllmEngine
from fthall.errors import FthallError
from fthall.finetune.loop.data import completions, encode
from fthall.prompts import ask, continuation, target
from fthall.records import Split
from shapes import TOKENIZERS, base, tokenizer


def said(caught: pytest.ExceptionInfo[FthallError]) -> str:
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("kind", TOKENIZERS)
def test_nothing_comes_behind_a_text_and_what_was_decided_before_it(kind: str, tmp_path: Path) -> None:
    begins, bos = "begins" in kind, tokenizer(kind).bos_token_id
    for add_bos, before in ((None, [bos] * begins), (True, [bos]), (False, [])):
        settled = settle(tokenizer(kind), add_bos=add_bos, name="it")
        bare = settled("Q: Łódź?\nA:", add_special_tokens=False).input_ids
        assert settled("Q: Łódź?\nA:").input_ids == before + bare
        assert settled("").input_ids == before
        assert added(settled) == ["<bos>"] * len(before)
        assert left_out(settled) == (None if before else "<bos>")
        settled.save_pretrained(tmp_path / str(add_bos))
        assert AutoTokenizer.from_pretrained(tmp_path / str(add_bos))("Q: Łódź?\nA:").input_ids == before + bare


@pytest.mark.parametrize("kind", TOKENIZERS)
def test_an_answer_has_the_tokens_it_has_behind_its_question(kind: str) -> None:
    settled = settle(tokenizer(kind), add_bos=None, name="it")
    for example, fact in zip(encode(completions(tiny_facts(), "known"), settled), tiny_facts(), strict=True):
        prompt = settled(ask(fact.question)).input_ids
        assert list(example.input_ids[: example.prompt]) == prompt
        whole = settled(ask(fact.question) + target(fact)).input_ids
        assert list(example.input_ids) == [*whole, settled.eos_token_id]
        assert continuation(settled, target(fact)) == whole[len(prompt) :]


class Llm:
    """In vLLM's place: keeps what it is asked."""

    asked: list[Any]

    def __init__(self, **options: object) -> None: ...

    def generate(self, prompts: list[Any], params: object, *, use_tqdm: bool) -> list[SimpleNamespace]:
        Llm.asked = [prompt["prompt_token_ids"] for prompt in prompts]
        return [SimpleNamespace(outputs=[SimpleNamespace(text=" x")]) for _ in prompts]


@pytest.mark.parametrize("add_bos", [None, True, False])
@pytest.mark.parametrize("shape", ["llama", "qwen2", "gemma2", "phi3"])
def test_all_ask_with_the_same_tokens(
    shape: str, add_bos: bool | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lm_eval.models.huggingface import HFLM

    from fthall.engines import shared

    release = tiny_release(tmp_path / "release")
    facts = [fact for split in Split for fact in release.splits[split]]
    prompts = [ask(fact.question) for fact in facts]
    checkpoint = replace(bases.find(str(base(shape, tmp_path / "base"))), add_bos=add_bos)
    trained = encode(completions(facts, "known"), bases.load_tokenizer(checkpoint))
    expected = [list(example.input_ids[: example.prompt]) for example in trained]

    spec = Spec("hf", checkpoint.location, None, "float32", add_bos=add_bos)
    ours: list[list[int]] = []
    group = shared.group
    monkeypatch.setattr(shared, "group", lambda rows: ours.extend(rows) or group(rows))
    start.start(spec).greedy(prompts, max_new_tokens=1)
    assert ours == expected
    ours.clear()
    start.start(spec).right(prompts, [fact.answers for fact in facts], max_new_tokens=1)
    assert ours[: len(prompts)] == expected

    engine = start.start(replace(spec, engine="generate"))
    plain: list[list[int]] = []
    generate = engine.model.generate

    def watched(input_ids: Any, attention_mask: Any, **options: Any) -> Any:
        rows = zip(input_ids.tolist(), attention_mask.tolist(), strict=True)
        plain.extend([token for token, there in zip(*row, strict=True) if there] for row in rows)
        return generate(input_ids=input_ids, attention_mask=attention_mask, **options)

    monkeypatch.setattr(engine.model, "generate", watched)
    engine.greedy(prompts, max_new_tokens=1)
    assert plain == expected

    monkeypatch.setitem(sys.modules, "vllm", SimpleNamespace(LLM=Llm, SamplingParams=dict))
    vllm = start.start(replace(spec, engine="vllm"))
    assert isinstance(vllm, VllmEngine)
    vllm.greedy(prompts)
    assert Llm.asked == expected

    theirs: list[list[int]] = []
    encode_batch = HFLM.tok_batch_encode

    def encoded(self: Any, strings: list[str], *args: Any, **options: Any) -> Any:
        ids, mask = encode_batch(self, strings, *args, **options)
        rows = zip(ids.tolist(), mask.tolist(), strict=True)
        theirs.extend([token for token, there in zip(*row, strict=True) if there] for row in rows)
        return ids, mask

    monkeypatch.setattr(HFLM, "tok_batch_encode", encoded)
    lm_eval_answers(checkpoint, str(next(tmp_path.rglob("release.yaml")).parent))
    assert sorted(theirs) == sorted(expected)


def test_a_track_is_asked_as_its_release_says(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    checkpoint = bases.find(str(base("qwen2", tmp_path / "base")))
    own = {"name": "tiny", "weights_sha256": bases.weights_sha256(checkpoint)}
    assert bases.for_track(checkpoint, own, "a/track") == checkpoint  # releases of old say nothing
    assert bases.for_track(checkpoint, {**own, "special_tokens": ""}, "a/track") == checkpoint
    assert not caplog.records
    with caplog.at_level(logging.WARNING):
        found = bases.for_track(checkpoint, {**own, "special_tokens": "<bos>"}, "a/track")
    assert "begins texts with no special token; it is asked with <bos>, as all of a/track is" in caplog.text
    assert bases.special_tokens(bases.load_tokenizer(found)) == ["<bos>"]
    with pytest.raises(FthallError) as caught:
        bases.for_track(checkpoint, {**own, "special_tokens": "<s>"}, "a/track")
    assert "a/track asks with <s>; save the tokenizer of tiny beside it" in said(caught)


def test_what_cannot_be_settled_is_told_in_a_line() -> None:
    bare = tokenizer("byte-level")
    bare.bos_token = None
    with pytest.raises(FthallError) as caught:
        settle(bare, add_bos=True, name="it")
    assert "no beginning-of-sequence token; leave out --add-bos" in said(caught)
    deaf = tokenizer("byte-level")
    deaf.backend_tokenizer.normalizer = normalizers.Replace("\n", " ")
    with pytest.raises(FthallError) as caught:
        settle(deaf, add_bos=None, name="it")
    assert "so answers cannot be read" in said(caught)


def test_labels_and_release_say_what_was_asked_with(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from fthall.knowledge import slick

    place, mine = base("qwen2", tmp_path / "base"), tmp_path / "mine.jsonl"
    rows = [{"question": fact.question, "answer": fact.answers[0]} for fact in tiny_facts()]
    mine.write_text("".join(json.dumps(row) + "\n" for row in rows))
    how = ["--base", str(place), "--runs", "2", "--dtype", "float32"]
    assert main(["slick", "--facts", str(mine), *how, "--out", str(tmp_path / "a.jsonl")]) == 0
    assert "has <bos> and does not add it; if its model wants it, type --add-bos" in capsys.readouterr().out
    assert main(["slick", "--facts", str(mine), *how, "--add-bos", "--out", str(tmp_path / "b.jsonl")]) == 0
    assert "--add-bos" not in capsys.readouterr().out
    made = [slick.made_with(tmp_path / f"{name}.jsonl.labels.parquet")["special_tokens"] for name in "ab"]
    assert made == ["", "<bos>"]
