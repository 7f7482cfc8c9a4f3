"""What a training will take, from two shallow models of the same shape."""

import json
from pathlib import Path

import pytest
from transformers import AutoConfig, AutoModelForCausalLM

from builders import tiny_release
from fthall import bases, cli
from fthall.finetune import estimate
from fthall.finetune.estimate import Took
from fthall.finetune.recipe import Run, Training

SFT = Run(entry="sft", title="SFT", method="sft")


def test_a_step_grows_by_the_same_with_every_layer(tiny_base: Path, tokenizer, tmp_path: Path, monkeypatch) -> None:
    asked = []

    def measure(config: object, layers: int, *_: object) -> Took:
        asked.append(layers)
        return Took(seconds=1.0 + 0.5 * layers, peak=2.0 + 0.25 * layers, parameters=1000 + 100 * layers)

    monkeypatch.setattr(estimate, "measure", measure)
    config = AutoConfig.from_pretrained(tiny_base)
    config.num_hidden_layers = 12
    found, of = estimate.estimate(config, tiny_release(tmp_path), tokenizer, SFT, Training(), "cpu")
    assert (found.seconds, found.peak, found.parameters) == (7.0, 5.0, 2200)
    assert asked == [1, 7] == list(of), "half of the layers, where they are small"
    monkeypatch.setattr(estimate, "APART", 1)
    estimate.estimate(config, tiny_release(tmp_path / "2"), tokenizer, SFT, Training(), "cpu")
    assert asked[2:] == [1, 2], "one more, where they are large"
    assert config.num_hidden_layers == 12


def test_steps_are_those_of_the_schedule(tmp_path: Path) -> None:
    release = tiny_release(tmp_path)  # 3 known, 3 unknown
    assert estimate.steps(release, SFT, Training(epochs=5, batch_size=4)) == 10
    distilled = SFT.model_copy(update={"start": "format", "format_epochs": 3})
    assert estimate.steps(release, distilled, Training(epochs=5, batch_size=2)) == 15 + 6


def test_fthall_estimate_measures_without_reading_weights(
    tiny_base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny_release(tmp_path)
    weightless = tmp_path / "base"
    weightless.mkdir()
    for file in tiny_base.iterdir():
        (weightless / file.name).write_bytes(b"" if file.suffix == ".safetensors" else file.read_bytes())
    recipe = {"track": str(tmp_path / "release"), "base": str(weightless), "seeds": [0]}
    recipe |= {"training": {"batch_size": 3}, "runs": [{"entry": "sft", "title": "SFT", "method": "sft"}]}
    (tmp_path / "recipe.yaml").write_text(json.dumps(recipe))
    assert cli.main(["estimate", str(tmp_path / "recipe.yaml"), "--only", "lora"]) == 2
    assert "unknown entry 'lora'" in capsys.readouterr().err
    assert cli.main(["estimate", str(tmp_path / "recipe.yaml"), "--device", "cpu"]) == 0
    said = capsys.readouterr().out
    parameters = sum(p.numel() for p in AutoModelForCausalLM.from_pretrained(tiny_base).parameters())
    assert f"{parameters:,} parameters" in said
    assert "12 steps" in said
    assert bases.find(str(weightless)).location in said or str(weightless) in said
