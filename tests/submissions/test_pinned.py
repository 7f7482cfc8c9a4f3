"""The checkpoint behind a submission: pinned to the byte, read by its headers, compared with the base."""

import json
import math
import struct
from pathlib import Path
from typing import Any

import pytest

from builders import card_of, tiny_release
from fthall.errors import FthallError
from fthall.knowledge import splits
from fthall.paths import data_dir
from fthall.schema import parse
from fthall.submissions import pinned
from fthall.submissions.card import Card
from fthall.submissions.pinned import Header, Pinned

BASE = Header(
    "LlamaForCausalLM",
    {
        "model.embed_tokens.weight": (10, 4),
        "model.layers.0.self_attn.q_proj.weight": (4, 4),
        "model.layers.0.mlp.up_proj.weight": (8, 4),
        "model.norm.weight": (4,),
    },
)
SHA = "0" * 64


def safetensors(path: Path, tensors: dict[str, tuple[int, ...]], **header: Any) -> Path:
    """A file with such tensors of float32 zeros; ``header`` replaces what it says of them."""
    told, at = {}, 0
    for name, shape in tensors.items():
        size = 4 * math.prod(shape)
        told[name] = {"dtype": "F32", "shape": list(shape), "data_offsets": [at, at + size]}
        at += size
    text = json.dumps({"__metadata__": {"format": "pt"}, **told, **header}).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(struct.pack("<Q", len(text)) + text + bytes(at))
    return path


def full(folder: Path, tensors: dict[str, tuple[int, ...]] | None = None) -> Path:
    safetensors(folder / "model.safetensors", dict(tensors or BASE.tensors))
    (folder / "config.json").write_text(json.dumps({"architectures": ["LlamaForCausalLM"]}))
    (folder / "tokenizer.json").write_text("{}")
    return folder


def adapter(folder: Path, tensors: dict[str, tuple[int, ...]] | None = None) -> Path:
    name = "base_model.model.model.layers.0.self_attn.q_proj"
    own = {f"{name}.lora_A.weight": (2, 4), f"{name}.lora_B.weight": (4, 2)}
    safetensors(folder / "adapter_model.safetensors", tensors or own)
    (folder / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": "base"}))
    return folder


def pin(folder: Path, **changes: Any) -> Pinned:
    said = pinned.pin(folder, BASE, repository="ada/model", revision="a" * 40)
    return Pinned.model_validate({**said, **changes})


def test_a_checkpoint_is_pinned_by_its_files_and_counts(tmp_path: Path) -> None:
    said = pin(full(tmp_path / "c"))
    assert (said.kind, said.repository, said.revision) == ("full", "ada/model", "a" * 40)
    assert [file.name for file in said.files] == ["config.json", "model.safetensors", "tokenizer.json"]
    assert (said.parameters, said.vocabulary, said.architecture) == (40 + 16 + 32 + 4, 10, "LlamaForCausalLM")
    pinned.check(said, BASE, "card")
    pinned.check_files(said, tmp_path / "c", BASE)


def test_an_adapter_and_a_delta_go_into_their_base(tmp_path: Path) -> None:
    said = pin(adapter(tmp_path / "a"))
    assert (said.kind, said.parameters, said.vocabulary, said.architecture) == ("adapter", 16, 10, "LlamaForCausalLM")
    pinned.check_files(said, tmp_path / "a", BASE)
    safetensors(tmp_path / "d" / "model.safetensors", {"model.norm.weight": (4,)})
    (tmp_path / "d" / "delta.json").write_text("{}")
    said = pin(tmp_path / "d")
    assert (said.kind, said.parameters) == ("delta", 4)
    pinned.check_files(said, tmp_path / "d", BASE)


def refused(call: Any, *arguments: Any) -> str:
    with pytest.raises(FthallError) as caught:
        call(*arguments)
    assert str(caught.value).isprintable()
    return str(caught.value)


@pytest.mark.parametrize(
    "name", ["model.bin", "model.pt", "x.pkl", "training_args.bin", "modeling_x.py", "a.so", "w.pth"]
)
def test_code_and_pickles_are_refused(tmp_path: Path, name: str) -> None:
    (full(tmp_path) / name).write_bytes(b"")
    assert "is code, or a format that can bring some" in refused(pinned.read_header, tmp_path)


@pytest.mark.parametrize("file", ["config.json", "tokenizer_config.json"])
@pytest.mark.parametrize("key", ["auto_map", "trust_remote_code"])
def test_remote_code_is_refused(tmp_path: Path, file: str, key: str) -> None:
    full(tmp_path)
    (tmp_path / file).write_text(json.dumps({"architectures": ["A"], key: {"AutoModel": "evil.Model"}}))
    assert f"has {key}: it asks for code of its own" in refused(pinned.read_header, tmp_path)


def weights(path: Path, content: bytes) -> None:
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda p: p.write_bytes(b""), "its header would be 0 bytes long"),
        (lambda p: p.write_bytes(b"\xff" * 40), "its header would be"),
        (lambda p: p.write_bytes(struct.pack("<Q", 30) + b"{" * 30), "is no safetensors file"),
        (lambda p: p.write_bytes(struct.pack("<Q", 2) + b"[]"), "is no safetensors file"),
        (lambda p: p.write_bytes(p.read_bytes() + b"x"), "its tensors do not fill it"),
        (lambda p: p.write_bytes(p.read_bytes()[:-4]), "its tensors do not fill it"),
        (
            lambda p: safetensors(p, {"a": (2,)}, a={"dtype": "F32", "shape": [3], "data_offsets": [0, 8]}),
            "8 bytes, not",
        ),
        (lambda p: safetensors(p, {"a": (2,)}, a={"dtype": "F9", "shape": [2], "data_offsets": [0, 8]}), "F9"),
        (lambda p: safetensors(p, {"a": (2,)}, a={"dtype": "F32", "shape": [-2], "data_offsets": [0, 8]}), "no count"),
        (lambda p: safetensors(p, {"a": (2,)}, a={"dtype": "F32", "shape": [2.0], "data_offsets": [0, 8]}), "no count"),
        (lambda p: safetensors(p, {"a": (2,)}, a={"dtype": "F32", "shape": [2]}), "data_offsets"),
        (lambda p: safetensors(p, {"a": (2,)}, a=5), "is no safetensors file"),
        (
            lambda p: safetensors(p, {"a": (2,), "b": (2,)}, b={"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}),
            "fill",
        ),
        (lambda p: p.write_bytes(struct.pack("<Q", 40_000) + b"[" * 40_000), "is no safetensors file"),
    ],
)
def test_damaged_weights(tmp_path: Path, damage: Any, says: str) -> None:
    damage(full(tmp_path) / "model.safetensors")
    message = refused(pinned.read_header, tmp_path)
    assert "model.safetensors" in message
    assert says in message


def test_a_tensor_twice_and_none_at_all(tmp_path: Path) -> None:
    safetensors(full(tmp_path) / "more.safetensors", {"model.norm.weight": (4,)})
    assert "model.norm.weight is in another file, too" in refused(pinned.read_header, tmp_path)
    for file in tmp_path.glob("*.safetensors"):
        file.unlink()
    assert "holds no .safetensors weights" in refused(pinned.read_header, tmp_path)


@pytest.mark.parametrize("named", [None, [], ["A", "B"], "A", ["a b"]])
def test_a_config_names_one_architecture(tmp_path: Path, named: Any) -> None:
    full(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"architectures": named}))
    assert "must name one of architectures" in refused(pinned.read_header, tmp_path)


@pytest.mark.parametrize(
    ("tensors", "says"),
    [
        ({"model.norm.weight": (5,)}, "model.norm.weight has shape [5], in the base it is [4]"),
        ({"model.layers.0.mlp.up_proj.weight": (4, 8)}, "has shape [4, 8], in the base it is [8, 4]"),
        ({"model.layers.7.mlp.up_proj.weight": (8, 4)}, "in the base there is none"),
        ({"model.embed_tokens.weight": (9, 4)}, "model.embed_tokens.weight has shape [9, 4]"),
        ({"lm_head.weight": (10, 5)}, "lm_head.weight has shape [10, 5], in the base it is [10, 4]"),
    ],
)
def test_weights_of_another_base(tmp_path: Path, tensors: dict[str, tuple[int, ...]], says: str) -> None:
    folder = full(tmp_path, {**BASE.tensors, **tensors})
    assert says in refused(pinned.fits, pinned.read_header(folder), BASE, "full", "here")


def test_weights_that_are_not_all_there(tmp_path: Path) -> None:
    folder = full(tmp_path, {k: v for k, v in BASE.tensors.items() if "norm" not in k})
    assert "lacks model.norm.weight" in refused(pinned.fits, pinned.read_header(folder), BASE, "full", "here")


def test_added_tokens_and_an_untied_head_are_no_other_base(tmp_path: Path) -> None:
    folder = full(tmp_path, {**BASE.tensors, "model.embed_tokens.weight": (12, 4), "lm_head.weight": (12, 4)})
    said = pin(folder)
    assert said.parameters == 92 + 8 + 48
    pinned.check(said, BASE, "card")
    pinned.check_files(said, folder, BASE)


@pytest.mark.parametrize(
    ("name", "shape", "says"),
    [
        ("q_proj.lora_A.weight", (2, 5), "has shape [2, 5], its weight in the base it is [4, 4]"),
        ("q_proj.lora_B.weight", (5, 2), "has shape [5, 2]"),
        ("z_proj.lora_A.weight", (2, 4), "goes into no weight of the base"),
        ("q_proj.prompt_embeddings", (2, 4), "goes into no weight of the base"),
    ],
)
def test_an_adapter_of_another_base(tmp_path: Path, name: str, shape: tuple[int, ...], says: str) -> None:
    folder = adapter(tmp_path, {f"base_model.model.model.layers.0.self_attn.{name}": shape})
    assert says in refused(pinned.fits, pinned.read_header(folder), BASE, "adapter", "here")


def test_every_file_is_the_one_that_was_pinned(tmp_path: Path) -> None:
    said = pin(full(tmp_path))
    (tmp_path / "more.json").write_text("{}")
    assert "holds more.json, which loading would read and the card does not pin" in refused(
        pinned.check_files, said, tmp_path, BASE
    )
    (tmp_path / "more.json").unlink()
    content = (tmp_path / "model.safetensors").read_bytes()
    (tmp_path / "model.safetensors").write_bytes(content[:-1] + b"\x01")
    assert "has another sha256 than the card says" in refused(pinned.check_files, said, tmp_path, BASE)
    (tmp_path / "model.safetensors").write_bytes(content + b"\x01")
    assert "bytes, the card says" in refused(pinned.check_files, said, tmp_path, BASE)
    (tmp_path / "model.safetensors").unlink()
    assert "lacks model.safetensors, which the card pins" in refused(pinned.check_files, said, tmp_path, BASE)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"parameters": 91}, "its headers give parameters 92, the card says 91"),
        ({"vocabulary": 11}, "its headers give vocabulary 10, the card says 11"),
        ({"architecture": "Other"}, "its headers give architecture LlamaForCausalLM, the card says Other"),
    ],
)
def test_what_a_card_says_of_headers_is_read_again(tmp_path: Path, changes: dict[str, Any], says: str) -> None:
    assert says in refused(pinned.check_files, pin(full(tmp_path), **changes), tmp_path, BASE)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        (
            {"architecture": "GPT2LMHeadModel"},
            "checkpoint.architecture is GPT2LMHeadModel, the base's LlamaForCausalLM",
        ),
        ({"vocabulary": 9}, "checkpoint.vocabulary is 9, the base's 10; tokens may be added"),
        ({"parameters": 93}, "checkpoint.parameters is 93, the base has 92"),
        ({"parameters": 92, "vocabulary": 12}, "and 8 more for the tokens that were added"),
    ],
)
def test_a_card_that_can_be_of_no_such_base(tmp_path: Path, changes: dict[str, Any], says: str) -> None:
    assert says in refused(pinned.check, pin(full(tmp_path), **changes), BASE, "card")


FILE = {"name": "model.safetensors", "bytes": 5, "sha256": SHA}
CONFIG = {"name": "config.json", "bytes": 5, "sha256": SHA}
GOOD = {
    **{"kind": "full", "repository": "ada/model", "revision": "a" * 40, "files": [CONFIG, FILE]},
    **{"architecture": "A", "parameters": 5, "vocabulary": 5},
}


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"revision": "main"}, "checkpoint.revision"),
        ({"revision": "a" * 39}, "checkpoint.revision"),
        ({"revision": None}, "give repository and revision"),
        ({"repository": None}, "give repository and revision"),
        ({"url": "https://x.org/m/"}, "give repository and revision"),
        ({"repository": "../x/y"}, "checkpoint.repository"),
        ({"repository": "a/b/c"}, "checkpoint.repository"),
        ({"repository": None, "revision": None, "url": "http://x.org/m/"}, "checkpoint.url"),
        ({"repository": None, "revision": None, "url": "https://x.org/m"}, "checkpoint.url"),
        ({"repository": None, "revision": None, "url": "file:///etc/"}, "checkpoint.url"),
        ({"kind": "pickle"}, "checkpoint.kind"),
        ({"kind": "adapter"}, "adapter_config.json is among the files of kind adapter and of no other"),
        ({"kind": "delta"}, "delta.json is among the files of kind delta"),
        ({"files": [CONFIG]}, "checkpoint.files"),
        ({"files": [CONFIG, {**CONFIG, "name": "a.json"}]}, "in order of their names"),
        ({"files": [CONFIG, CONFIG]}, "in order of their names, each once"),
        ({"files": [FILE, {**FILE, "name": "z.safetensors"}]}, "config.json is among the files of kind full"),
        ({"files": [{**FILE, "name": "a/../b.safetensors"}, CONFIG]}, "checkpoint.files.0.name"),
        ({"files": [{**FILE, "name": ".hidden.json"}, CONFIG]}, "checkpoint.files.0.name"),
        ({"files": [CONFIG, {**FILE, "name": "model.bin"}]}, "model.bin is no file that is loaded"),
        ({"files": [CONFIG, {**FILE, "name": "run.py"}]}, "run.py is no file that is loaded"),
        ({"files": [CONFIG, {**FILE, "sha256": "abc"}]}, "checkpoint.files.1.sha256"),
        ({"files": [CONFIG, {**FILE, "bytes": -1}]}, "checkpoint.files.1.bytes"),
        ({"files": [CONFIG, {**FILE, "extra": 1}]}, "checkpoint.files.1.extra"),
        ({"architecture": "A B"}, "checkpoint.architecture"),
        ({"parameters": 0}, "checkpoint.parameters"),
        ({"auto_map": {}}, "checkpoint.auto_map"),
        ({"trust_remote_code": True}, "checkpoint.trust_remote_code"),
    ],
)
def test_a_card_that_pins_nothing_to_be_fetched(tmp_path: Path, changes: dict[str, Any], says: str) -> None:
    card = card_of(tiny_release(tmp_path), entry="sft", seed=0, trained_on=["known"])
    parse(Card, {**card, "checkpoint": GOOD}, Path("card"))
    assert says in refused(parse, Card, {**card, "checkpoint": {**GOOD, **changes}}, Path("card"))


def test_every_shipped_track_has_the_header_of_its_base() -> None:
    tracks = splits.tracks()
    assert tracks
    for track in tracks:
        header = pinned.base_header(splits.manifest(track)["base"]["weights_sha256"])
        assert header is not None, track
        assert header.vocabulary
    for path in (data_dir("tasks") / "bases").glob("*.json"):
        found = json.loads(path.read_text())
        assert sum(math.prod(shape) for shape in found["tensors"].values()) == found["parameters"], path
