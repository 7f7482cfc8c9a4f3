"""GGUF files: converted once, with the tokenizer they say they have."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gguf import GGUFWriter
from transformers import AutoModelForCausalLM, AutoTokenizer

from fthall import bases
from fthall.errors import FthallError

NAMES = {
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}


def written(base: Path, file: Path, *, architecture: str = "llama", head: bool = False, **said: Any) -> Path:
    """A checkpoint of the tests as llama.cpp's converter would write it."""
    model, tokenizer = AutoModelForCausalLM.from_pretrained(base), AutoTokenizer.from_pretrained(base)
    config, backend = model.config, tokenizer.backend_tokenizer
    writer = GGUFWriter(file, architecture)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_vocab_size(config.vocab_size)
    ordered = sorted(backend.get_vocab().items(), key=lambda pair: pair[1])
    merges = json.loads(backend.to_str())["model"]["merges"]
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list([token for token, _ in ordered])
    writer.add_token_types([3 if token.startswith("<") and len(token) > 1 else 1 for token, _ in ordered])
    writer.add_token_merges([" ".join(merge) for merge in merges])
    writer.add_eos_token_id(tokenizer.eos_token_id)
    writer.add_bos_token_id(tokenizer.eos_token_id)
    for name, value in said.items():
        getattr(writer, name)(value)
    for name, tensor in model.state_dict().items():
        if name == "lm_head.weight":
            continue
        values = tensor.float().numpy()
        for kind, heads in (("q_proj", config.num_attention_heads), ("k_proj", config.num_key_value_heads)):
            if kind in name:  # llama.cpp turns the halves of a head into pairs
                values = values.reshape(heads, 2, -1, values.shape[1]).swapaxes(1, 2).reshape(values.shape)
        where, _, kind = name.removesuffix(".weight").removeprefix("model.").removeprefix("layers.").partition(".")
        wanted = {"embed_tokens": "token_embd", "norm": "output_norm"}.get(where) or f"blk.{where}.{NAMES[kind]}"
        writer.add_tensor(f"{wanted}.weight", np.ascontiguousarray(values))
        if head and wanted == "token_embd":
            writer.add_tensor("output.weight", np.ascontiguousarray(values))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return file


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FTHALL_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def refused(work: Callable[[], object]) -> str:
    with pytest.raises(FthallError) as caught:
        work()
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("head", [False, True])
def test_it_holds_the_same_model(tiny_base: Path, tmp_path: Path, cache: Path, head: bool) -> None:
    file = written(tiny_base, tmp_path / "model.gguf", head=head)
    found = bases.find(str(file))
    model, tokenizer = bases.load(found)
    expected, own = bases.load(bases.find(str(tiny_base)))
    for name, tensor in expected.state_dict().items():
        assert torch.equal(model.state_dict()[name], tensor), name
    assert model.config.tie_word_embeddings, "also where the file stores the head twice"
    assert tokenizer("Q: Łódź?\nA:").input_ids == own("Q: Łódź?\nA:").input_ids
    assert tokenizer.eos_token_id == own.eos_token_id
    stamp = (Path(found.location) / "config.json").stat().st_mtime_ns
    assert bases.find(str(file)) == found, "converted once"
    assert (Path(found.location) / "config.json").stat().st_mtime_ns == stamp
    assert [place.name for place in cache.iterdir()] == [Path(found.location).name]


@pytest.mark.parametrize(("says", "adds"), [(True, True), (False, False), (None, False)])
def test_the_token_that_begins_a_text_is_what_the_file_says(
    tiny_base: Path, tmp_path: Path, says: bool | None, adds: bool
) -> None:
    said = {} if says is None else {"add_add_bos_token": says}
    tokenizer = bases.load_tokenizer(bases.find(str(written(tiny_base, tmp_path / "model.gguf", **said))))
    assert tokenizer("Q").input_ids[:-1] == [tokenizer.bos_token_id] * adds
    assert bases.special_tokens(tokenizer) == [tokenizer.bos_token] * adds


def test_what_is_none_is_told_in_a_line(tiny_base: Path, tmp_path: Path, cache: Path) -> None:
    file = written(tiny_base, tmp_path / "model.gguf")
    assert "no file ./absent.gguf; give a GGUF file" in refused(lambda: bases.find("./absent.gguf"))
    assert "on the hub as owner/name/absent.gguf" in refused(lambda: bases.find("absent.gguf"))
    page = tmp_path / "page.gguf"
    page.write_text("<html>")
    assert "does not begin with GGUF" in refused(lambda: bases.find(str(page)))
    short = tmp_path / "short.gguf"
    short.write_bytes(file.read_bytes()[:200])
    assert "fetch it again" in refused(lambda: bases.find(str(short)))
    unknown = written(tiny_base, tmp_path / "unknown.gguf", architecture="abacus")
    assert "(architecture abacus)" in refused(lambda: bases.find(str(unknown)))
    adapter = written(tiny_base, tmp_path / "adapter.gguf", add_type="adapter")
    assert "a adapter, not a model" in refused(lambda: bases.find(str(adapter)))
    assert not cache.exists() or not list(cache.iterdir()), "nothing half converted is left"


def test_one_on_the_hub(monkeypatch: pytest.MonkeyPatch, tiny_base: Path, tmp_path: Path) -> None:
    import huggingface_hub

    file = written(tiny_base, tmp_path / "model.gguf")
    asked = []

    def download(repo: str, name: str, *, revision: str | None) -> str:
        asked.append((repo, name, revision))
        return str(file)

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    found = bases.find("owner/name-GGUF/folder/model-q4.gguf", "abc")
    assert asked == [("owner/name-GGUF", "folder/model-q4.gguf", "abc")]
    assert found == bases.find(str(file))
