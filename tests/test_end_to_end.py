"""The whole pipeline: on the two-layer model, and the real demo at its smallest on the real base."""

import json
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch

from builders import tiny_facts, tiny_release
from fthall import bases, submissions
from fthall.cli import main
from fthall.engines.hf import HfEngine
from fthall.errors import FthallError
from fthall.finetune import experiment
from fthall.finetune.experiment import run_one
from fthall.finetune.recipe import Recipe, Run, Training
from fthall.knowledge import slick, splits
from fthall.leaderboard import render
from fthall.records import Category, Split
from fthall.submissions.make import from_run

RUNS = [
    Run(entry="sft-known", title="Only-Known SFT", method="sft", trained_on=[Split.KNOWN]),
    Run(entry="sft", title="SFT", method="sft"),
    Run(entry="self-distill", title="SD", method="self-distill", distill={}),
]


def test_from_labels_to_page_on_a_two_layer_model(tiny_base: Path, tmp_path: Path):
    facts = tiny_facts()
    checkpoint = bases.find(str(tiny_base))
    model, tokenizer = bases.load(checkpoint)
    labels_file = tmp_path / "labels.parquet"
    config = slick.SlickConfig(runs=2, shots=1, max_new_tokens=4)
    digest = bases.weights_sha256(checkpoint)
    table = slick.label(facts, HfEngine(model, tokenizer), config, labels_file, identity={"weights_sha256": digest})
    assert len(table) == len(facts)
    # A random model knows nothing: half of its labels are set by hand so that there is something to forget.
    assert set(table["category"]) == {Category.UNKNOWN}
    origin = {fact.id: fact.origin for fact in facts}
    known = [origin[fact_id] == "dev" or index % 2 == 0 for index, fact_id in enumerate(table["fact_id"])]
    table["category"] = [str(Category.HIGHLY_KNOWN if k else Category.UNKNOWN) for k in known]
    release = splits.build(
        tmp_path / "releases" / "tiny" / "base",
        track="tiny/base",
        facts=facts,
        labels=table,
        sizes={Split.KNOWN: 3, Split.UNKNOWN: 3, Split.HELD: 3, Split.HELD_VAL: 2},
        source={"name": "tiny"},
        base={"name": "tiny", "weights_sha256": digest},
        slick={"runs": 2, "shots": 1},
    )
    recipe = Recipe(
        track="tiny/base",
        base=str(tiny_base),
        seeds=[0],
        training=Training(epochs=2, batch_size=2, learning_rate=1e-3),
        runs=RUNS,
    )
    track = str(tmp_path / "releases" / "tiny" / "base")
    for run in recipe.runs:
        place = run_one(recipe, run, 0, release, work=tmp_path / "runs", tracking_uri=f"sqlite:///{tmp_path}/mlflow.db")
        made = from_run(
            place,
            release,
            track_argument=track,
            out=tmp_path / "submissions",
            authors=["a"],
            contact="c",
            command="pytest",
        )
        assert made.results.agreement is not None
        assert made.results.agreement.compared == 11
        assert len(made.results.trajectory) == 3
    assert len(submissions.find(tmp_path / "submissions")) == len(RUNS)
    # Handed in by somebody else: the run says what it was, the card who made it.
    card = tmp_path / "card.yaml"
    card.write_text("authors: [Ada]\ncontact: ada@example.org\ncommand: fthall run /home/ada/mine.yaml\n")
    handed = ["submit", str(place), "--release", track, "--out", str(tmp_path / "handed")]
    where = ["--published", f"ada/mine@{'c' * 40}"]
    assert main([*handed, "--card", str(card), *where]) == 0
    mine = submissions.validate(tmp_path / "handed" / "tiny" / "base" / place.name, release)
    assert mine.evidenced
    assert mine.run.trajectory == made.run.trajectory
    assert mine.card.command == "fthall run mine.yaml"
    assert mine.card.checkpoint is not None
    assert mine.card.checkpoint.kind == "full"
    assert mine.answers == made.answers
    assert main([*handed, "--card", str(card)]) == 2  # it is there
    card.write_text("authors: [Ada]\nseed: 7\n")
    assert main([*handed[:-1], str(tmp_path / "other"), "--card", str(card)]) == 2
    assert not (tmp_path / "other").exists()
    told = (place / "answers.jsonl").read_text()
    (place / "answers.jsonl").write_text(told.replace('"wrong"', '"correct"').replace('"abstained"', '"correct"'))
    with pytest.raises(FthallError, match=r"lm-eval finds \d+ of 11 answers .* nothing is written"):
        from_run(place, release, track_argument=track, out=tmp_path / "o", authors=["a"], contact="c", command="pytest")
    assert not list((tmp_path / "o").rglob("*.yaml"))
    page = render(tmp_path / "submissions", tmp_path / "site", release=release)
    assert "Only-Known SFT" in page.read_text()

    import mlflow

    mlflow.set_tracking_uri(f"sqlite:///{tmp_path}/mlflow.db")
    tracked = mlflow.search_runs(search_all_experiments=True)
    assert isinstance(tracked, pd.DataFrame)
    assert sorted(tracked["tags.mlflow.runName"]) == sorted(f"{run.entry}-seed0" for run in RUNS)
    assert {"metrics.held", "metrics.unknown", "params.learning_rate"} <= set(tracked.columns)


def test_a_recipe_of_another_base_is_refused(tiny_base: Path, tmp_path: Path):
    release = tiny_release(tmp_path)
    recipe = Recipe(track=release.track, base=str(tiny_base), seeds=[0], runs=RUNS[:1])
    with pytest.raises(FthallError, match="is not the base of"):
        run_one(recipe, RUNS[0], 0, release, work=tmp_path / "runs", tracking_uri=None)
    assert not (tmp_path / "runs").exists()


def test_memory_that_does_not_suffice_is_told(tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fill(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    release = tiny_release(tmp_path, base_sha=bases.weights_sha256(bases.find(str(tiny_base))))
    recipe = Recipe(track=release.track, base=str(tiny_base), seeds=[0], runs=RUNS[:1])
    monkeypatch.setattr(experiment, "train", fill)
    with pytest.raises(FthallError, match=f"{RUNS[0].entry}-seed0: out of memory; lower batch_size"):
        experiment.run_one(recipe, RUNS[0], 0, release, work=tmp_path / "runs", tracking_uri=None)


@pytest.mark.real
def test_the_real_demo_at_its_smallest(tmp_path: Path):
    command = [sys.executable, "-m", "fthall", "demo", "--smallest", "--out", str(tmp_path), "--discard-checkpoints"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    report = json.loads((tmp_path / "slick-spot-check.json").read_text())
    assert report["asked"] == 4
    assert report["agree"] >= 3, report
    assert "<svg" in (tmp_path / "site" / "index.html").read_text()
    made = submissions.find(tmp_path / "submissions")
    release = splits.load(str(tmp_path / "release" / "geonames-demo" / "smollm2-135m"))
    answered = {folder.name: submissions.validate(folder, release) for folder in made}
    assert sorted(answered) == ["sft-known-seed0", "sft-seed0"]
    # One epoch teaches the format to a model that knows these facts.
    assert answered["sft-known-seed0"].results.trajectory[0].held < 50
    # Started again, it finds everything done.
    again = subprocess.run(command, capture_output=True, text=True, check=False)
    assert again.returncode == 0
    assert "epoch" not in again.stdout.split("page")[0].replace("of 1 epochs", "")
