"""The callback that watches forgetting in anyone's training."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest
import torch
from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoTokenizer, Trainer, TrainingArguments

from builders import tiny_release
from fthall import bases
from fthall.errors import FthallError
from fthall.finetune.recipe import Run, Training
from fthall.finetune.train import train
from fthall.knowledge import splits
from fthall.measure.live import START, ForgettingCallback, subject_states
from fthall.records import Release, Split

EXAMPLES = Path(__file__).parents[2] / "benchmark/examples"
SIZES = {Split.KNOWN: 3, Split.UNKNOWN: 3, Split.HELD: 4}


@pytest.fixture(scope="module")
def track(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a release of 16 facts."""
    folder = tmp_path_factory.mktemp("track")
    tiny_release(folder)
    return folder / "release"


@pytest.fixture(scope="module")
def knowing(tiny_base: Path, track: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A two-layer model that knows facts by heart, so that it has something to forget."""
    release = splits.load(str(track))
    known = Release(
        release.track,
        release.digest,
        release.manifest,
        {**release.splits, Split.KNOWN: release.splits[Split.HELD], Split.HELD: release.splits[Split.KNOWN]},
    )
    out = tmp_path_factory.mktemp("knowing")
    model, tokenizer = AutoModelForCausalLM.from_pretrained(tiny_base), AutoTokenizer.from_pretrained(tiny_base)
    run = Run(entry="x", title="x", method="sft", trained_on=(Split.KNOWN,))
    settings = Training(epochs=60, batch_size=4, learning_rate=1e-2, precision="fp32")
    last = train(known, model, tokenizer, run, settings, 0, out, resumable=False)[-1]
    assert last.known == 100
    return out / "checkpoint"


def trainer_of(knowing: Path, out: Path, *, learning_rate: float, steps: int = 4, wrap=None, **options) -> Trainer:
    tokenizer = AutoTokenizer.from_pretrained(knowing)
    ids = tokenizer("Rivers run to the sea, and towns stay where they are.").input_ids[:24]
    model = AutoModelForCausalLM.from_pretrained(knowing)
    return Trainer(
        model=wrap(model) if wrap else model,
        args=TrainingArguments(
            output_dir=str(out),
            max_steps=steps,
            learning_rate=learning_rate,
            lr_scheduler_type="constant",
            per_device_train_batch_size=2,
            report_to=[],
            use_cpu=True,
            disable_tqdm=True,
            **{"save_strategy": "no", **options},
        ),
        train_dataset=Dataset.from_list([{"input_ids": ids, "labels": ids}] * 8),
        processing_class=tokenizer,
    )


def watch(track: Path, **options) -> ForgettingCallback:
    return ForgettingCallback(str(track), every_steps=2, sizes=SIZES, shots=0, **options)


def logged(trainer: Trainer) -> list[dict[str, float]]:
    return [row for row in trainer.state.log_history if "fthall/forgetting" in row]


def test_training_that_changes_nothing_forgets_nothing(knowing: Path, track: Path, tmp_path: Path) -> None:
    trainer = trainer_of(knowing, tmp_path, learning_rate=0.0)
    watch(track).attach(trainer)
    trainer.train()
    rows = logged(trainer)
    assert [row["step"] for row in rows] == [0, 2, 4]
    for row in rows:
        assert row["fthall/held"] == 100
        assert row["fthall/forgetting"] == 0
        assert row["fthall/drift"] == pytest.approx(0, abs=1e-4)
        assert row["fthall/forgetting_low"] < 0 < row["fthall/forgetting_high"]
        assert row["fthall/seconds"] > 0
    shares = [row["fthall/share_of_time"] for row in rows]
    assert shares[0] == pytest.approx(100, abs=5)  # nothing but the first evaluation so far
    assert all(0 < share < 100 for share in shares[1:])
    assert trainer.model.training  # as it was found


def test_forgetting_is_seen_and_can_stop_the_training(knowing: Path, track: Path, tmp_path: Path) -> None:
    trainer = trainer_of(knowing, tmp_path, learning_rate=0.05, steps=40)
    callback = watch(track, stop_at=30.0).attach(trainer)
    trainer.train()
    rows = logged(trainer)
    assert rows[-1]["fthall/forgetting"] > 30
    assert rows[-1]["fthall/forgetting"] == pytest.approx(100 - rows[-1]["fthall/held"])
    assert rows[-1]["fthall/drift"] > 1
    assert all(row["fthall/forgetting"] <= 30 for row in rows[:-1])
    assert callback.stopped
    assert trainer.state.global_step == rows[-1]["step"] < 40


def test_a_resumed_run_remembers_where_it_started(knowing: Path, track: Path, tmp_path: Path) -> None:
    options = {"save_strategy": "steps", "save_steps": 2, "learning_rate": 0.05}
    first = trainer_of(knowing, tmp_path, steps=2, **options)
    watch(track).attach(first)
    first.train()
    assert (tmp_path / START).exists()
    again = trainer_of(knowing, tmp_path, steps=4, **options)
    callback = watch(track).attach(again)
    again.train(resume_from_checkpoint=True)
    now = logged(again)[-1]
    assert now["step"] == 4
    assert now["fthall/forgetting"] == pytest.approx(100 - now["fthall/held"])  # it began at 100, not at step 2
    assert callback.sample == watch(track).sample


def test_adapters_are_seen(knowing: Path, track: Path, tmp_path: Path) -> None:
    peft = pytest.importorskip("peft")
    config = peft.LoraConfig(
        target_modules="all-linear", lora_alpha=512, init_lora_weights=False, task_type="CAUSAL_LM"
    )
    trainer = trainer_of(
        knowing, tmp_path, learning_rate=0.0, steps=2, wrap=lambda model: peft.get_peft_model(model, config)
    )
    watch(track).attach(trainer)
    trainer.train()
    # adapters that are random and not zero: the model behind them still knows everything, the adapted one does not
    assert logged(trainer)[0]["fthall/held"] < 100


def test_states_of_subjects_do_not_depend_on_the_batch(knowing: Path, track: Path) -> None:
    model, tokenizer = AutoModelForCausalLM.from_pretrained(knowing), AutoTokenizer.from_pretrained(knowing)
    facts = splits.load(str(track)).splits[Split.HELD]
    together, alone = (subject_states(model, tokenizer, facts, batch_size=size) for size in (4, 1))
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-4)
    asked = tokenizer(f"Q: In which country is the city of {facts[0].subject}").input_ids
    states = model(input_ids=torch.tensor([asked]), output_hidden_states=True).hidden_states
    torch.testing.assert_close(alone[0], states[1][0, -1], rtol=1e-4, atol=1e-4)  # layer 1 of 2


def test_misuse_is_one_clear_line(knowing: Path, track: Path, tmp_path: Path) -> None:
    trainer = trainer_of(knowing, tmp_path, learning_rate=0.0)
    trainer.add_callback(watch(track))
    with pytest.raises(FthallError, match=r"\.attach\(trainer\)"):
        trainer.train()
    with pytest.raises(FthallError, match="every_steps is 0"):
        ForgettingCallback(str(track), every_steps=0)
    with pytest.raises(FthallError, match="some held facts"):
        ForgettingCallback(str(track), sizes={Split.KNOWN: 2}, shots=0)
    with pytest.raises(FthallError, match="too few held_val facts for 3 exemplars"):
        ForgettingCallback(str(track))
    with pytest.raises(FthallError, match="nowhere/at-all"):
        ForgettingCallback("nowhere/at-all")


def example(name: str) -> ModuleType:
    """A script of the examples."""
    pytest.importorskip("trl")
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_example_with_trl(tiny_base: Path, track: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    rows = example("trl_sft").main(
        ["--model", str(tiny_base), "--track", str(track), "--steps", "3", "--every", "2", "--shots", "1"]
    )
    assert [row["step"] for row in rows] == [0, 2, 3]


@pytest.mark.filterwarnings("ignore:You are importing from 'trl.experimental'")
def test_the_example_of_sdft_gives_a_checkpoint(tiny_base: Path, track: Path, tmp_path: Path) -> None:
    given = ["--model", str(tiny_base), "--track", str(track), "--steps", "3", "--out", str(tmp_path)]
    model, _ = bases.load(bases.find(str(example("trl_sdft").main(given))))
    before, _ = bases.load(bases.find(str(tiny_base)))
    pairs = zip(model.parameters(), before.parameters(), strict=True)
    assert any(not torch.equal(one, other) for one, other in pairs)
