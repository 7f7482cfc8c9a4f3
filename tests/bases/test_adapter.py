"""Adapters as PEFT writes them: found, put into their base, told apart from what does not fit."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, PromptTuningConfig, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from builders import tiny_facts, tiny_release
from fthall import bases
from fthall.bases import adapter
from fthall.cli import main
from fthall.engines import Spec, evaluate, lm_eval_answers, start
from fthall.engines.hf import HfEngine
from fthall.errors import FthallError
from fthall.files import read_jsonl, write_jsonl
from fthall.finetune.folder import checkpoints
from shapes import written


def adapted(base: Path, folder: Path, *, seed: int = 0, tokens: int = 0, **options: Any) -> Any:
    """Save a LoRA adapter that says something; return the model it is in."""
    model, tokenizer = AutoModelForCausalLM.from_pretrained(base), AutoTokenizer.from_pretrained(base)
    if tokens:
        tokenizer.add_tokens([f"<new{number}>" for number in range(tokens)])
        model.resize_token_embeddings(len(tokenizer))
        tokenizer.save_pretrained(folder)
    torch.manual_seed(seed)
    options = {"r": 4, "target_modules": "all-linear", "init_lora_weights": False, **options}
    wrapped = get_peft_model(model, LoraConfig(task_type="CAUSAL_LM", **options))
    wrapped.save_pretrained(folder)
    return wrapped


@pytest.fixture
def folder(tiny_base: Path, tmp_path: Path) -> Path:
    adapted(tiny_base, tmp_path / "adapter")
    return tmp_path / "adapter"


def track_in(folder: Path) -> str:
    return str(next(folder.rglob("release.yaml")).parent)


def refused(work: Callable[[], object]) -> str:
    with pytest.raises(FthallError) as caught:
        work()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_it_answers_as_the_merged_model_does(tiny_base: Path, tmp_path: Path) -> None:
    wrapped = adapted(tiny_base, tmp_path / "adapter", target_modules=["q_proj", "v_proj", "down_proj"])
    release = tiny_release(tmp_path / "release")
    merged = wrapped.merge_and_unload()
    tokenizer = AutoTokenizer.from_pretrained(tiny_base)
    expected = evaluate(HfEngine(merged, tokenizer), release)
    checkpoint = bases.find(str(tmp_path / "adapter"))
    assert checkpoint.base == bases.find(str(tiny_base))
    model, tokenizer = bases.load(checkpoint)
    assert type(model) is type(merged)
    assert evaluate(HfEngine(model, tokenizer), release) == expected
    assert evaluate(HfEngine(*bases.load(checkpoint.base)), release) != expected  # it does say something
    assert lm_eval_answers(checkpoint, track_in(tmp_path / "release"))[0] == expected
    engine = start.start(Spec("hf", checkpoint.location, None, "float32", adapter=checkpoint.adapter))
    assert evaluate(engine, release) == expected


@pytest.mark.parametrize("trained", [{}, {"modules_to_save": ["embed_tokens"], "ensure_weight_tying": True}])
def test_an_adapter_may_bring_tokens_of_its_own(tiny_base: Path, tmp_path: Path, trained: dict[str, Any]) -> None:
    wrapped = adapted(tiny_base, tmp_path / "adapter", tokens=3, **trained)
    model, tokenizer = bases.load(bases.find(str(tmp_path / "adapter")))
    size = len(AutoTokenizer.from_pretrained(tiny_base))
    assert model.get_input_embeddings().weight.shape[0] == len(tokenizer) == size + 3
    ids = torch.tensor([[5, size, 7, size + 2]])
    with torch.no_grad():
        torch.testing.assert_close(model.eval()(ids).logits, wrapped.eval()(ids).logits)


def test_its_digest_is_of_both(tiny_base: Path, folder: Path, tmp_path: Path) -> None:
    adapted(tiny_base, tmp_path / "other", seed=1)
    adapted(tiny_base, tmp_path / "again")
    one, other, again = (
        bases.weights_sha256(bases.find(str(place))) for place in (folder, tmp_path / "other", tmp_path / "again")
    )
    assert one == again
    assert len({one, other, bases.weights_sha256(bases.find(str(tiny_base)))}) == 3


def test_one_from_the_hub_is_fetched(tiny_base: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr("transformers.utils.peft_utils.find_adapter_config_file", lambda *a, **k: "adapter_config.json")
    monkeypatch.setattr(
        "huggingface_hub.snapshot_download", lambda *a, **k: asked.append((*a, k["revision"])) or folder
    )
    found = bases.find("owner/adapter", "v1")
    assert asked == [("owner/adapter", "v1")]
    assert found == bases.Checkpoint(str(tiny_base.resolve()), None, str(folder.resolve()))


def test_its_folder_is_a_bare_checkpoint_to_what_compares_runs(folder: Path) -> None:
    assert checkpoints(folder) == [(None, folder)]


def test_a_merged_folder_is_a_model_though_its_adapter_lies_there(tiny_base: Path, folder: Path) -> None:
    shutil.copytree(tiny_base, folder, dirs_exist_ok=True)
    assert bases.find(str(folder)).adapter is None


def test_what_is_no_adapter_of_this_base(tiny_base: Path, folder: Path, tmp_path: Path) -> None:
    release = tiny_release(tmp_path / "release")  # of another base
    checkpoint = bases.find(str(folder))
    said = refused(lambda: bases.for_track(checkpoint, release.manifest["base"], release.track))
    assert "an adapter of" in said
    assert release.track in said
    bases.for_track(checkpoint.base, release.manifest["base"], release.track)  # of models there is no telling
    own = {"name": "tiny", "weights_sha256": bases.weights_sha256(bases.find(str(tiny_base)))}
    bases.for_track(checkpoint, own, release.track)


def test_evaluate_refuses_an_adapter_of_another_base(folder: Path, tmp_path: Path, capsys) -> None:
    tiny_release(tmp_path / "release")
    assert main(["evaluate", str(folder), "--track", track_in(tmp_path)]) == 2
    assert "is an adapter of" in capsys.readouterr().err


def rewritten(folder: Path, **fields: Any) -> None:
    config = json.loads((folder / adapter.CONFIG).read_text())
    (folder / adapter.CONFIG).write_text(json.dumps(config | fields))


def test_a_base_that_is_not_there_or_not_named(folder: Path) -> None:
    rewritten(folder, base_model_name_or_path="/nowhere/at/all")
    assert "the base of the adapter" in refused(lambda: bases.find(str(folder)))
    rewritten(folder, base_model_name_or_path=None)
    assert "names no base_model_name_or_path" in refused(lambda: bases.find(str(folder)))


def test_only_safetensors_are_loaded(folder: Path) -> None:
    torch.save(load_file(folder / adapter.WEIGHTS), folder / "adapter_model.bin")
    (folder / adapter.WEIGHTS).unlink()
    assert "the only format" in refused(lambda: bases.find(str(folder)))


def test_weights_that_do_not_fit(folder: Path) -> None:
    whole = load_file(folder / adapter.WEIGHTS)
    first = min(whole)

    def saying() -> str:
        return refused(lambda: bases.load(bases.find(str(folder))))

    save_file({name: value for name, value in whole.items() if name != first}, folder / adapter.WEIGHTS)
    assert "1 of its weights are missing, 0 too many" in saying()
    save_file({**whole, first.replace("layers.0", "layers.7"): whole[first].clone()}, folder / adapter.WEIGHTS)
    assert "0 of its weights are missing, 1 too many" in saying()
    save_file({**whole, first: torch.zeros(4, 5)}, folder / adapter.WEIGHTS)
    assert "does not fit" in saying()
    rewritten(folder, target_modules=["no_such_layer"])
    assert "does not fit" in saying()


def test_one_that_changes_prompts_is_refused(tiny_base: Path, tmp_path: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(tiny_base)
    prompts = PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=2)
    get_peft_model(model, prompts).save_pretrained(tmp_path / "prompts")
    assert "PROMPT_TUNING" in refused(lambda: bases.load(bases.find(str(tmp_path / "prompts"))))


def test_vllm_is_not_given_adapters(folder: Path) -> None:
    said = refused(lambda: start.start(Spec("vllm", "base", None, "bfloat16", adapter=str(folder))))
    assert "--engine hf" in said


def test_its_base_may_be_elsewhere(tiny_base: Path, folder: Path) -> None:
    rewritten(folder, base_model_name_or_path="/nowhere/at/all")
    assert "type --adapter-base BASE" in refused(lambda: bases.find(str(folder)))
    found = bases.find(str(folder), adapter_base=str(tiny_base))
    assert found == bases.Checkpoint(str(tiny_base.resolve()), adapter=str(folder.resolve()))
    for whole in (str(tiny_base), bases.EMBEDDED, "model.gguf"):
        assert "is no adapter" in refused(lambda name=whole: bases.find(name, adapter_base=str(tiny_base)))


def test_an_adapter_a_gguf_base_and_a_chat_file_in_one_sitting(
    tiny_base: Path, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What people bring: no file is edited, and each command says what the next needs."""
    monkeypatch.setenv("FTHALL_CACHE", str(tmp_path / "cache"))
    gguf = str(written(tiny_base, tmp_path / "base.gguf"))
    rewritten(folder, base_model_name_or_path="/home/somebody/base")
    chats = [
        [{"role": "user", "content": one.question}, {"role": "assistant", "content": one.answers[0]}]
        for one in tiny_facts()
    ]
    chats.append(
        [{"role": "user", "content": "Tell me of Riga."}, {"role": "assistant", "content": "It is a city. " * 9}]
    )
    write_jsonl(tmp_path / "chat.jsonl", [{"messages": chat} for chat in chats])
    how = ["--base", gguf, "--runs", "2", "--dtype", "float32"]
    out = ["--out", str(tmp_path / "out.jsonl"), "--keep", "unknown,unjudged"]
    assert main(["slick", "--facts", str(tmp_path / "chat.jsonl"), *how, *out]) == 0
    said = capsys.readouterr().out
    assert "17 rows of messages, 16 facts to ask about\n  1 rows (5.9 %) answer at length" in said
    assert read_jsonl(tmp_path / "out.kept.jsonl") == read_jsonl(tmp_path / "chat.jsonl"), "ready to train on"
    assert read_jsonl(tmp_path / "out.jsonl")[-1]["category"] is None
    assert main(["forecast", str(tmp_path / "out.jsonl")]) == 0
    assert "points of old facts forgotten" in capsys.readouterr().out
    tiny_release(tmp_path / "release", base_sha=bases.weights_sha256(bases.find(gguf)))
    assert main(["evaluate", str(folder), "--adapter-base", gguf, "--track", track_in(tmp_path / "release")]) == 0
    assert "held " in capsys.readouterr().out
