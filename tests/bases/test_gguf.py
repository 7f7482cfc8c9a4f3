"""GGUF files: converted once, with the tokenizer they say they have."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from fthall import bases
from fthall.errors import FthallError
from shapes import base, written


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FTHALL_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def refused(work: Callable[[], object]) -> str:
    with pytest.raises(FthallError) as caught:
        work()
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("head", [None, np.float32, np.float16])
def test_it_holds_the_same_model(tiny_base: Path, tmp_path: Path, cache: Path, head: type | None) -> None:
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


def test_a_head_of_its_own_stays(tmp_path: Path) -> None:
    found = bases.find(str(written(base("llama", tmp_path / "base"), tmp_path / "model.gguf")))
    model, _ = bases.load(found)
    expected, _ = bases.load(bases.find(str(tmp_path / "base")))
    assert not model.config.tie_word_embeddings
    assert torch.equal(model.lm_head.weight, expected.lm_head.weight)


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
