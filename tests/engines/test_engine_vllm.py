"""vLLM: what we ask of it, with a stand-in everywhere; the real one where it is installed (``make test-vllm``)."""

import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from transformers import AutoTokenizer

from fthall import bases
from fthall.engines.start import Spec, start
from fthall.engines.vllm import VllmEngine
from fthall.errors import FthallError


class Params:
    def __init__(self, **options: object) -> None:
        self.options = options


class Llm:
    """Says the last word of a prompt, and more behind a line break."""

    made: dict[str, object]
    read: Callable[[list[list[int]]], list[str]]

    def __init__(self, **options: object) -> None:
        Llm.made = options

    def generate(self, given: list[dict[str, list[int]]], params: Params, *, use_tqdm: bool) -> list[SimpleNamespace]:
        prompts = [Llm.read([prompt["prompt_token_ids"]])[0] for prompt in given]
        assert params.options["stop"] == ["\n"]
        assert not use_tqdm
        self.params = params.options
        count = int(params.options.get("n", 1))  # type: ignore[call-overload]
        text = [SimpleNamespace(text=f" {prompt.split()[-1]}\nQ: more") for prompt in prompts]
        return [SimpleNamespace(outputs=[one] * count) for one in text]


@pytest.fixture
def engine(tiny_base: Path, monkeypatch: pytest.MonkeyPatch) -> VllmEngine:
    monkeypatch.setitem(sys.modules, "vllm", SimpleNamespace(LLM=Llm, SamplingParams=Params))
    Llm.read = AutoTokenizer.from_pretrained(tiny_base).batch_decode
    found = start(Spec("vllm", str(tiny_base), "abc", "bfloat16", tensor_parallel=2))
    assert isinstance(found, VllmEngine)
    return found


def test_what_vllm_is_asked(engine: VllmEngine, tiny_base: Path) -> None:
    assert Llm.made["model"] == str(tiny_base)
    assert Llm.made["max_model_len"] == 512  # all this model takes
    assert Llm.made["revision"] == "abc"
    assert Llm.made["tensor_parallel_size"] == 2
    assert Llm.made["enable_prefix_caching"] is True
    assert Llm.made["trust_remote_code"] is False
    seen: list[int] = []
    assert engine.greedy(["a b", "c d"], max_new_tokens=5, on_batch=seen.append) == ["b", "d"]
    assert engine._llm.params == {"stop": ["\n"], "temperature": 0.0, "max_tokens": 5}
    assert seen == [2]
    assert engine.right(["a b", "c d"], [("The B.",), ("x",)]) == [True, False]
    assert engine.sample(["a b"], samples=2, temperature=0.5, top_k=40, seed=3) == [["b", "b"]]
    expected = {"stop": ["\n"], "temperature": 0.5, "top_k": 40, "seed": 3, "n": 2, "max_tokens": 16}
    assert engine._llm.params == expected
    with pytest.raises(FthallError, match="cannot compute chances"):
        engine.chance(["a"], [("b",)], temperature=1.0, top_k=4)


@pytest.mark.timeout(900)
def test_the_real_one_answers_as_ours() -> None:
    pytest.importorskip("vllm", reason="vLLM is not installed; make test-vllm installs it in an environment of its own")
    spec = {"location": bases.find(bases.EMBEDDED).location, "revision": None, "dtype": "float32"}
    prompts = [
        f"Q: In which country is the city of Riga?\nA: Latvia\n\nQ: In which country is the city of {name}?\nA:"
        for name in ("Oslo", "Rome", "San José", "Xyzzy", "Lagos", "Timbuktu")
    ]
    accepted = [(country,) for country in ("Norway", "Italy", "Costa Rica", "Nowhere", "Atlantis", "Mali")]
    real, ours = start(Spec("vllm", **spec)), start(Spec("hf", **spec))  # type: ignore[arg-type]
    said = ours.greedy(prompts)
    assert real.greedy(prompts) == said
    assert real.right(prompts, accepted) == ours.right(prompts, accepted)
    how = {"samples": 3, "temperature": 0.5, "top_k": 4, "seed": 0, "max_new_tokens": 4}
    drawn = real.sample(prompts, **how)  # type: ignore[arg-type]
    assert [len(texts) for texts in drawn] == [3] * len(prompts)
    assert drawn == real.sample(prompts, **how)  # type: ignore[arg-type]
