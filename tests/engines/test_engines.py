"""Plain generate as the reference of the engines, exact chances, and many workers on Ray."""

import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from mortal import Mortal
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
)

from builders import PROMPTS, fact
from fthall.engines import Call, each
from fthall.engines.hf import HfEngine
from fthall.engines.plain import GenerateEngine
from fthall.engines.start import Spec, start, start_workers
from fthall.errors import FthallError
from fthall.knowledge.slick import SlickConfig, label


@pytest.mark.parametrize("stop", [True, False])
def test_our_engine_answers_as_plain_generate(model, tokenizer, stop: bool):
    plain = GenerateEngine(model, tokenizer, batch_size=4, stop=stop)
    ours = HfEngine(model, tokenizer, batch_size=3)
    seen: list[int] = []
    said = plain.greedy(PROMPTS, max_new_tokens=8, on_batch=seen.append)
    assert seen == [4, 4, 3]
    assert said == ours.greedy(PROMPTS, max_new_tokens=8)
    accepted = [(text or "x", "Latvia") if n % 2 else ("Atlantis",) for n, text in enumerate(said)]
    assert plain.right(PROMPTS, accepted, max_new_tokens=8) == ours.right(PROMPTS, accepted, max_new_tokens=8)


def test_plain_samples(model, tokenizer):
    engine = GenerateEngine(model, tokenizer)
    how = {"samples": 3, "temperature": 0.9, "top_k": 5, "seed": 1, "max_new_tokens": 4}
    found = engine.sample(PROMPTS, **how)
    assert [len(said) for said in found] == [3] * len(PROMPTS)
    assert engine.sample(PROMPTS, **how) == found
    with pytest.raises(FthallError, match="cannot compute chances"):
        engine.chance(PROMPTS, [("x",)] * len(PROMPTS), temperature=1.0, top_k=5)


def test_the_chance_of_a_right_sample_by_hand(model, tokenizer):
    engine = HfEngine(model, tokenizer, batch_size=4)
    temperature, top_k = 9.0, 250  # a random model says nothing on purpose
    ends = {i for i in range(len(tokenizer)) if "\n" in tokenizer.decode([i])} | {tokenizer.eos_token_id}
    accepted = [("t", "Q", "t"), ("ia", "no"), ("Lat",)] * 4
    found = engine.chance(PROMPTS, accepted[: len(PROMPTS)], temperature=temperature, top_k=top_k, max_new_tokens=16)
    for prompt, answers, chance in zip(PROMPTS, accepted, found, strict=False):
        expected = 0.0
        for answer in set(answers):
            before = tokenizer(prompt).input_ids
            after = tokenizer(f"{prompt} {answer}").input_ids
            assert after[: len(before)] == before
            with torch.inference_mode():
                logits = model(input_ids=torch.tensor([after])).logits[0, len(before) - 1 :]
            share = 1.0
            for step, token in enumerate([*after[len(before) :], None]):
                best, tokens = logits[step].topk(top_k)
                shares = dict(zip(tokens.tolist(), torch.softmax(best / temperature, 0).tolist(), strict=True))
                share *= sum(shares.get(end, 0.0) for end in ends) if token is None else shares.get(token, 0.0)
            expected += share
        assert chance == pytest.approx(expected, rel=1e-3, abs=1e-12)
    assert 0 <= min(found) < max(found) < 1
    assert engine.chance([], [], temperature=1.0, top_k=5) == []
    assert engine.chance(PROMPTS[:1], [("x" * 200,)], temperature=1.0, top_k=5) == [0.0]  # longer than may be said


def test_an_engine_by_its_name(tiny_base: Path, monkeypatch: pytest.MonkeyPatch):
    spec = Spec("hf", str(tiny_base), None, "float32", batch_size=7)
    assert isinstance(start(spec), HfEngine)
    assert isinstance(start(Spec("generate", str(tiny_base), None, "float32")), GenerateEngine)
    monkeypatch.setitem(sys.modules, "vllm", None)
    with pytest.raises(FthallError, match=r"needs vLLM .*pip install 'fthall\[vllm\]'"):
        start(Spec("vllm", str(tiny_base), None, "float32"))
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(FthallError, match=r"needs Ray; type: pip install 'fthall\[ray\]'"):
        start_workers(spec, 2, address=None, gpus=0, cpus=1)


def test_a_tokenizer_without_line_breaks_is_refused(model):
    words = Tokenizer(WordLevel({"who": 0, "?": 1, "[UNK]": 2}, unk_token="[UNK]"))
    words.pre_tokenizer = Whitespace()
    with pytest.raises(FthallError, match="no line breaks"):
        HfEngine(model, PreTrainedTokenizerFast(tokenizer_object=words, unk_token="[UNK]"))


SHAPE = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
LLAMA_31 = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}


@pytest.mark.parametrize(
    "make",
    [
        lambda size: Qwen2ForCausalLM(
            Qwen2Config(
                **SHAPE, vocab_size=size, num_key_value_heads=2, initializer_range=0.3, use_sliding_window=False
            )
        ),
        lambda size: LlamaForCausalLM(
            LlamaConfig(
                **SHAPE,
                vocab_size=size,
                num_key_value_heads=2,
                initializer_range=0.3,
                tie_word_embeddings=False,
                rope_parameters={**LLAMA_31, "rope_theta": 500000.0, "original_max_position_embeddings": 8192},
            )
        ),
    ],
    ids=["qwen2.5", "llama3.1"],
)
def test_labels_of_the_papers_architectures_are_those_of_plain_generate(
    make, tiny_base: Path, tmp_path: Path, tokenizer
):
    torch.manual_seed(1)
    folder = tmp_path / "model"
    make(len(tokenizer) + 8).save_pretrained(folder)  # a tokenizer loaded as that of Qwen has a token more
    tokenizer.save_pretrained(folder)
    said = start(Spec("generate", str(folder), None, "float32")).greedy(PROMPTS[:1], max_new_tokens=2)
    known = [replace(one, answers=(said[0] or "x", one.answers[0])) for one in facts()]
    tables = [
        label(known, start(Spec(engine, str(folder), None, "float32")), CONFIG, tmp_path / engine, identity=IDENTITY)
        for engine in ("hf", "generate")
    ]
    assert [list(bits) for bits in tables[0]["right"]] == [list(bits) for bits in tables[1]["right"]]
    assert len(tables[0]) == len(known)


CONFIG, IDENTITY = SlickConfig(runs=3, shots=2, max_new_tokens=2), {"base": "fake"}


def facts():
    return [
        *(fact(f"{kind}{n}", relation=r) for r in ("r1", "r2", "r3") for kind in "yn" for n in range(5)),
        *(fact(f"yd{n}", relation=r, origin="dev") for r in ("r1", "r2", "r3") for n in range(4)),
    ]


@pytest.mark.timeout(300)
def test_two_workers_on_ray_of_which_one_dies(tmp_path: Path):
    ray = pytest.importorskip("ray")
    from fthall.engines.start import RayWorkers

    config, identity = SlickConfig(runs=3, shots=2), {"base": "fake"}
    grave = tmp_path / "grave"
    grave.touch()
    label(facts(), Mortal(grave), config, tmp_path / "alone.parquet", identity=identity)
    grave.unlink()
    here = {"env_vars": {"PYTHONPATH": str(Path(__file__).parent)}}  # where the workers find the class above
    ray.init(num_cpus=3, include_dashboard=False, log_to_driver=False, logging_level="error", runtime_env=here)
    try:
        workers = RayWorkers(partial(Mortal, grave), workers=2)
        label(facts(), workers, config, tmp_path / "many.parquet", identity=identity)
        assert grave.exists()  # one did die
        assert (tmp_path / "many.parquet").read_bytes() == (tmp_path / "alone.parquet").read_bytes()
        with pytest.raises(Exception, match="no_such_method"):
            list(each(workers, [Call(0, "no_such_method", (), {})]))
        with pytest.raises(
            FthallError, match="9 workers of 1 CPUs and 0 GPUs do not fit in 3 CPUs and 0 GPUs; ask for"
        ):
            RayWorkers(partial(Mortal, grave), workers=9)
        broken = RayWorkers(partial(Mortal, "neither", "nor"), workers=1)
        with pytest.raises(FthallError, match=r"a worker could not start: TypeError: .*Mortal") as caught:
            list(each(broken, [Call(0, "right", ([], []), {})]))
        assert "\n" not in str(caught.value)
    finally:
        ray.shutdown()
