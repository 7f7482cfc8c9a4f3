"""Training on several processes, with less memory: the same numbers as on one."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from builders import tiny_release
from fthall import bases
from fthall.errors import FthallError
from fthall.finetune.recipe import Run, Training
from fthall.finetune.train import train

SFT = Run(entry="sft", title="SFT", method="sft")


def launch(processes: int, command: list[object], *, spread: bool = False) -> "subprocess.CompletedProcess[str]":
    """What ``accelerate launch`` makes of a script, or of ``-m`` and a module."""
    # --multi_gpu starts as many processes; where the model is on the CPU they speak to each other by gloo.
    kind = ["--use_fsdp", "--fsdp_version=2"] if spread else ["--multi_gpu"]
    many = [*kind, f"--num_processes={processes}"] if processes > 1 else ["--cpu", "--num_processes=1"]
    plain = ["--num_machines=1", "--mixed_precision=no", "--dynamo_backend=no", "--main_process_port=0"]
    return subprocess.run(
        [sys.executable, "-m", "accelerate.commands.launch", *many, *plain, *map(str, command)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1]), "OMP_NUM_THREADS": "1"},
    )


def launched(
    processes: int, accumulation: int, method: str, tiny_base: Path, tmp_path: Path, *, spread: bool = False
) -> Path:
    """The folder of a run on so many processes."""
    out = tmp_path / f"run-{processes}"
    script = Path(__file__).parent / "many.py"
    command = [script, tiny_base, tmp_path / f"given-{processes}", out, accumulation, method]
    done = launch(processes, command, spread=spread)
    assert done.returncode == 0, done.stderr[-3000:]
    return out


@pytest.mark.parametrize(
    ("method", "spread"),
    [("sft", False), ("self-distill", False), ("sft", True), ("self-distill", True), ("freeze", True)],
)
def test_two_processes_train_as_one_does(method: str, spread: bool, tiny_base: Path, tmp_path: Path) -> None:
    one = launched(1, 2, method, tiny_base, tmp_path)
    two = launched(2, 1, method, tiny_base, tmp_path, spread=spread)
    losses = [[json.loads(line)["train_loss"] for line in (run / "trajectory.jsonl").open()][1:] for run in (one, two)]
    assert losses[1] == pytest.approx(losses[0], rel=1e-5)
    weights = [load_file(run / "checkpoint/model.safetensors") for run in (one, two)]
    base = load_file(tiny_base / "model.safetensors")
    for name, value in weights[0].items():
        moved = (value - base[name]).norm()
        assert (weights[1][name] - value).norm() <= 1e-3 * moved, name
    assert any((value != base[name]).any() for name, value in weights[0].items())
    assert {path.name for path in two.iterdir()} == {path.name for path in one.iterdir()}, "one process writes"


def test_checkpointed_activations_change_nothing(tiny_base: Path, tokenizer, tmp_path: Path) -> None:
    found = []
    for checkpointing in (False, True):
        training = Training(epochs=2, batch_size=4, learning_rate=1e-2, precision="fp32", checkpointing=checkpointing)
        model = AutoModelForCausalLM.from_pretrained(tiny_base)
        train(tiny_release(tmp_path), model, tokenizer, SFT, training, 0, tmp_path / f"{checkpointing}")
        found.append(model.state_dict())
        shutil.rmtree(tmp_path / "release")
    assert all(torch.equal(found[0][name], found[1][name]) for name in found[0])


LORA = Run(entry="lora", title="LoRA", method="lora", lora={"rank": 2})
FROZEN = Run(entry="ffn", title="FFN", method="freeze", trained="ffn", start="format")
DISTILL = Run(entry="sd", title="SD", method="self-distill", distill={"teacher": "snapshot"})


@pytest.mark.parametrize(
    ("name", "run", "training", "resumable", "said"),
    [
        ("DeepSpeed", SFT, {}, False, "told DeepSpeed; weights can be spread over processes by FSDP"),
        ("FSDP", SFT, {}, True, "sft: .* no going on after a kill .type --not-resumable. yet"),
        ("FSDP", SFT, {"optimiser": "adafactor"}, False, "no optimiser: adafactor yet"),
        ("FSDP", LORA, {}, False, "lora: .* no lora yet, but sft, freeze and self-distill"),
        ("FSDP", FROZEN, {}, False, "no freezing from a learned format yet"),
        ("FSDP", DISTILL, {}, False, "no teacher but format yet"),
    ],
)
def test_what_cannot_be_done_with_weights_spread_over_processes(
    name: str,
    run: Run,
    training: dict[str, str],
    resumable: bool,
    said: str,
    tiny_base: Path,
    tokenizer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(f"ACCELERATE_USE_{name.upper()}", "true")
    model = AutoModelForCausalLM.from_pretrained(tiny_base)
    given = (tiny_release(tmp_path), model, tokenizer, run, Training(**training), 0, tmp_path / "run")
    with pytest.raises(FthallError, match=said):
        train(*given, resumable=resumable)
    assert not (tmp_path / "run").exists()


def test_fthall_run_on_two_processes_writes_one_submission(tiny_base: Path, tmp_path: Path) -> None:
    tiny_release(tmp_path, base_sha=bases.weights_sha256(bases.find(str(tiny_base))))
    recipe = {
        "track": str(tmp_path / "release"),
        "base": str(tiny_base),
        "seeds": [0, 1],
        "training": {"epochs": 1, "batch_size": 2, "learning_rate": 1e-3},
        "runs": [{"entry": "sft", "title": "SFT", "method": "sft"}],
    }
    (tmp_path / "recipe.yaml").write_text(json.dumps(recipe))
    places = ["--work", tmp_path / "runs", "--submissions", tmp_path / "submissions"]
    done = launch(
        2, ["-m", "fthall", "run", tmp_path / "recipe.yaml", "--no-tracking", "--discard-checkpoints", *places]
    )
    assert done.returncode == 0, done.stderr[-3000:]
    made = sorted(path.name for path in (tmp_path / "submissions/geonames/tiny").iterdir())
    assert made == ["sft-seed0", "sft-seed1"]
    assert done.stdout.count("submissions: ") == 1, "one process speaks"
