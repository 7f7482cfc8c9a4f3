"""The lm-eval tasks: every file loads and yields documents, and lm-eval gives the engine's answers."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from lm_eval import simple_evaluate
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager
from transformers import AutoModelForCausalLM, AutoTokenizer

from builders import tiny_release
from fthall import bases, lm_tasks
from fthall.engines.hf import HfEngine
from fthall.engines.questions import evaluate, lm_eval_answers
from fthall.errors import FthallError
from fthall.knowledge import splits
from fthall.paths import tasks_dir
from fthall.prompts import ask
from fthall.records import Split


@pytest.mark.parametrize("track", splits.tracks())
def test_every_task_of_every_shipped_track_loads_and_yields_documents(track: str):
    if lacking := splits.absent(track):
        pytest.skip(lacking)
    manager = TaskManager(
        include_path=str(tasks_dir()), include_defaults=False, metadata={"track": track, "pretrained": "x"}
    )
    names = manager.match_tasks(["fthall_*"])
    assert sorted(names) == sorted([*(f"fthall_{split}" for split in Split), "fthall_synth_name", "fthall_synth_uuid"])
    loaded = manager.load_task_or_group(names)
    release = splits.load(track)
    for split in Split:
        documents = list(loaded[f"fthall_{split}"].test_docs())
        assert [d["fact_id"] for d in documents] == [fact.id for fact in release.splits[split]]
        assert loaded[f"fthall_{split}"].doc_to_text(documents[0]) == ask(release.splits[split][0].question)


def test_exactly_one_of_the_three_metrics_is_one():
    doc = {"answers": ["St. Louis"]}
    assert lm_tasks.process_results(doc, [" st louis"]) == {"exact_match": 1.0, "wrong": 0.0, "abstained": 0.0}
    assert lm_tasks.process_results(doc, [" Louis"]) == {"exact_match": 0.0, "wrong": 1.0, "abstained": 0.0}
    assert lm_tasks.process_results(doc, [" I don't know."]) == {"exact_match": 0.0, "wrong": 0.0, "abstained": 1.0}


def test_unknown_tracks_are_named():
    with pytest.raises(FthallError, match="unknown track 'nowhere/nothing'"):
        lm_tasks.load_split("held", track="nowhere/nothing")


def test_lm_eval_answers_as_the_engine_does_item_by_item(tiny_base: Path, tmp_path: Path):
    release = tiny_release(tmp_path)
    folder = next(tmp_path.rglob("release.yaml")).parent
    found, table = lm_eval_answers(bases.find(str(tiny_base)), str(folder), batch_size=3)
    engine = HfEngine(AutoModelForCausalLM.from_pretrained(tiny_base), AutoTokenizer.from_pretrained(tiny_base))
    assert found == evaluate(engine, release)
    for split in Split:
        metrics = table[f"fthall_{split}"]
        assert sum(metrics[f"{name},none"] for name in ("exact_match", "wrong", "abstained")) == pytest.approx(1)


def test_the_command_line_of_lm_eval_with_include_path(tiny_base: Path, tmp_path: Path):
    tiny_release(tmp_path)
    folder = next(tmp_path.rglob("release.yaml")).parent
    command = [
        *(sys.executable, "-m", "lm_eval", "--model", "hf", "--model_args", f"pretrained={tiny_base}"),
        *("--include_path", str(tasks_dir()), "--tasks", "fthall_*", "--device", "cpu", "--batch_size", "4"),
        *("--metadata", json.dumps({"track": str(folder)}), "--output_path", str(tmp_path / "out")),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    for split in Split:
        assert f"fthall_{split}" in done.stdout


@pytest.mark.parametrize(
    ("switches", "said"),
    [
        ({}, None),
        ({"num_fewshot": 2}, "fthall_held is asked with 2 exemplars"),
        (
            {"apply_chat_template": True, "system_instruction": "Be brief."},
            "with a chat template, a system instruction",
        ),
    ],
)
def test_switches_of_lm_eval_leave_a_trace(
    switches: dict[str, Any], said: str | None, tiny_base: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    release = tiny_release(tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(tiny_base)
    tokenizer.chat_template = "{% for m in messages %}<{{ m.content }}>{% endfor %}"
    lm = HFLM(pretrained=AutoModelForCausalLM.from_pretrained(tiny_base), tokenizer=tokenizer, device="cpu")
    folder = next(tmp_path.rglob("release.yaml")).parent
    with caplog.at_level("WARNING", logger="fthall"):
        found = simple_evaluate(
            model=lm,
            tasks=["fthall_held", "fthall_synth_name"],
            task_manager=TaskManager(
                include_path=str(tasks_dir()), include_defaults=False, metadata={"track": str(folder), "synth_size": 4}
            ),
            bootstrap_iters=0,
            **switches,
        )
    metrics = found["results"]["fthall_held"]
    assert metrics.get("asked_otherwise,none") == (1.0 if said else None)
    assert ("asked_otherwise,none" in found["results"]["fthall_synth_name"]) == bool(said)
    assert (said in caplog.text) if said else not caplog.records
    prompt = found["samples"]["fthall_held"][0]["arguments"][0][0]
    asked = ask(found["samples"]["fthall_held"][0]["doc"]["question"])
    if "num_fewshot" in switches:
        shown = prompt.removesuffix(asked).strip().split("\n\n")
        answered = {f"{ask(fact.question)} {fact.answers[0]}" for fact in release.splits[Split.HELD_VAL]}
        assert set(shown) == answered, "as SLiCK shows them, and never of the split that is asked"
    else:
        assert prompt == (f"<Be brief.><{asked}>" if switches else asked)
