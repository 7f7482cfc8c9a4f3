"""``fthall sweep`` and ``fthall run --jobs``: the same budget for all, a recipe out, and several runs at a time."""

import json
import shutil
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from builders import tiny_release
from fthall import bases, cli
from fthall.commands.finetune import beside
from fthall.files import write_json
from fthall.finetune import load_recipe
from fthall.finetune.tracking import curve
from fthall.finetune.tuning import Family, Trial, best, load_sweep, publish
from fthall.knowledge import splits
from fthall.records import EpochPoint

SFT = {"entry": "sft", "title": "SFT", "method": "sft", "grid": {"learning_rate": [1e-3, 1e-2]}}
LORA = {"entry": "lora", "title": "LoRA", "method": "lora", "grid": {"learning_rate": [1e-3, 1e-2], "lora.rank": [2]}}


@pytest.fixture
def sweep(tiny_base: Path, tmp_path: Path) -> dict[str, Any]:
    """Two families of two trials on a tiny release."""
    tiny_release(tmp_path, base_sha=bases.weights_sha256(bases.find(str(tiny_base))))
    return {
        "track": str(tmp_path / "release"),
        "base": str(tiny_base),
        "trials": 2,
        "seeds": [0, 1],
        "training": {"epochs": 1, "batch_size": 4},
        "families": [SFT, LORA],
    }


def written(sweep: dict[str, Any], tmp_path: Path) -> Path:
    path = tmp_path / "sweep.yaml"
    path.write_text(json.dumps(sweep))
    return path


def test_a_sweep_gives_a_recipe_that_runs_and_says_its_budget(
    sweep: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(sweep, tmp_path)
    work = ["--work", str(tmp_path / "runs")]
    assert cli.main(["sweep", str(path), "--only", "sft", *work]) == 0
    assert "not tried yet: lora" in capsys.readouterr().out
    assert [run.entry for run in load_recipe(tmp_path / "sweep-tuned.yaml").runs] == ["sft"]

    shutil.rmtree(tmp_path / "runs")  # another machine goes on by the file of the trials alone
    assert cli.main(["sweep", str(path), *work]) == 0
    assert sorted(path.name for path in (tmp_path / "runs/sweep").glob("*-seed100")) == [
        "lora-1-seed100",
        "lora-2-seed100",
    ]
    assert not list((tmp_path / "runs").rglob("checkpoint"))
    told = json.loads((tmp_path / "sweep-tuned.trials.json").read_text())
    assert [row["trial"] for row in told["trials"]] == ["sft-1", "sft-2", "lora-1", "lora-2"]
    assert told["trials"][3]["tried"] == {"learning_rate": 1e-2, "lora.rank": 2}

    recipe = load_recipe(tmp_path / "sweep-tuned.yaml")
    assert [run.entry for run in recipe.runs] == ["sft", "lora"]
    assert recipe.seeds == [0, 1]
    settings = recipe.runs[1].settings()
    assert settings["tuned_trials"] == 2
    assert settings["tuned_grid"] == "learning_rate: 0.001, 0.01; lora.rank: 2"
    assert settings["learning_rate"] == {"lora-1": 1e-3, "lora-2": 1e-2}[told["chosen"]["lora"]]
    assert (settings["lora_rank"], settings["lora_alpha"]) == (2, 4), "α is twice the rank"

    places = [*work, "--submissions", str(tmp_path / "submissions"), "--no-tracking", "--not-resumable"]
    assert cli.main(["run", str(tmp_path / "sweep-tuned.yaml"), "--jobs", "2", "--discard-checkpoints", *places]) == 0
    made = sorted(path.name for path in (tmp_path / "submissions/geonames/tiny").iterdir())
    assert made == ["lora-seed0", "lora-seed1", "sft-seed0", "sft-seed1"]
    card = yaml.safe_load((tmp_path / "submissions/geonames/tiny/lora-seed0/submission.yaml").read_text())
    assert card["hyperparameters"]["tuned_on"] == "held_val and unknown, harmonic mean"
    assert not list((tmp_path / "runs").rglob("checkpoint"))


def test_a_trial_that_is_made_is_written_down_before_the_next_ends(
    sweep: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cut(work: Any, todo: list[Any], jobs: int) -> Iterator[Any]:
        yield todo[0], work(todo[0])
        raise KeyboardInterrupt

    monkeypatch.setattr(beside, "each", cut)
    path = written(sweep, tmp_path)
    assert cli.main(["sweep", str(path), "--work", str(tmp_path / "runs"), "--no-tracking"]) != 0
    told = json.loads((tmp_path / "sweep-tuned.trials.json").read_text())
    assert [row["trial"] for row in told["trials"]] == ["sft-1"]
    assert not (tmp_path / "sweep-tuned.yaml").exists()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"release": "0" * 64}, "of another release, seed or training"),
        ({"seed": 7}, "of another release, seed or training"),
        ({"trial": "sft-9"}, "the sweep has no trial 'sft-9'"),
        ({"settings": {"learning_rate": 1.0}}, "sft-1 was tried with other settings"),
        ({"unknown": "many"}, "trials.0.unknown"),
    ],
)
def test_trials_of_something_else_are_not_gone_on_from(
    sweep: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str], change: dict[str, Any], said: str
) -> None:
    path, digest = written(sweep, tmp_path), splits.load(sweep["track"]).digest
    run = Family.model_validate(SFT).trials()[0]
    known = publish(load_sweep(path), digest, "fthall sweep", [Trial("sft", run, 50.0, 50.0, 50.0, 1.0, "a laptop")])
    (name, value), row = *change.items(), known["trials"][0]
    (known if name in ("release", "seed") else row)[name] = value
    (tmp_path / "sweep-tuned.trials.json").write_text(json.dumps(known))
    assert cli.main(["sweep", str(path), "--work", str(tmp_path / "runs")]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert not (tmp_path / "runs").exists()


def trial(number: int, unknown: float | None, held_val: float | None, held: float) -> Trial:
    run = Family.model_validate(SFT).trials()[0].model_copy(update={"entry": f"sft-{number}"})
    return Trial("sft", run, unknown, held_val, held, 1.0, "a laptop")


def test_what_is_chosen_is_the_harmonic_mean_and_never_held() -> None:
    learned, kept, both = trial(1, 100.0, 50.0, 99.0), trial(2, 50.0, 100.0, 99.0), trial(3, 75.0, 74.0, 1.0)
    assert learned.score == pytest.approx(200 / 3)
    assert best([learned, kept, both]) is both
    assert best([trial(1, None, None, 99.0), kept]) is kept, "a training that failed scores nothing"
    nothing = trial(4, 0.0, 90.0, 0.0)
    assert best([trial(5, 0.0, 80.0, 99.0), nothing]) is nothing, "of equal scores what keeps more"


def test_a_best_at_the_edge_of_what_was_tried_is_told(
    sweep: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    family = Family.model_validate({**LORA, "grid": {"learning_rate": [1e-3, 1e-4, 1e-2], "lora.rank": [2, 4]}})
    edges = {run.entry: family.at_edge(run) for run in family.trials()}
    assert edges["lora-1"] == edges["lora-2"] == {}, "of two values both are at an edge, which tells nothing"
    assert edges["lora-3"] == {"learning_rate": 1e-4}
    assert edges["lora-5"] == {"learning_rate": 1e-2}
    path = written(
        {**sweep, "trials": 3, "families": [{**SFT, "grid": {"learning_rate": [1e-4, 1e-3, 1e-2]}}]}, tmp_path
    )
    planned, release = load_sweep(path), splits.load(str(tmp_path / "release"))
    made = [
        Trial("sft", run, 50.0, 10.0 * number, 0.0, 1.0, "a laptop")
        for number, run in enumerate(planned.families[0].trials())
    ]
    write_json(tmp_path / "sweep-tuned.trials.json", publish(planned, release.digest, "fthall sweep", made))
    assert cli.main(["sweep", str(path), "--work", str(tmp_path / "runs")]) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "sft: the best has learning_rate 0.01, at the edge of what was tried; move its grid" in told


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"trials": 3}, "sft: its grid has 2 trials; every family gets 3"),
        ({"seed": 1}, "seed 1 is one of seeds"),
        ({"families": [SFT, SFT]}, "two families are called sft"),
        ({"families": [{**LORA, "grid": {"lora.rank": [1, 2]}}]}, "must try learning rates"),
        ({"families": [{**LORA, "grid": {"learning_rate": [1e-3], "lora.rank": [1, 2]}}]}, "must try learning rates"),
        (
            {
                "families": [{**SFT, "method": "early-stop", "early_stop": {}}],
                "training": {"epochs": 3, "average_epochs": 2},
            },
            "sft-1: early_stop keeps the weights of one epoch; leave out average_epochs",
        ),
        (
            {"families": [{**SFT, "method": "oplora", "grid": {"learning_rate": [1e-3, 1e-2], "lora.rank": [2]}}]},
            "oplora needs lora: {orthogonal: k}",
        ),
        ({"families": [{**LORA, "grid": {"learning_rate": [1e-3, 1e-2], "lora.rnak": [2]}}]}, "lora.rnak"),
        ({"families": [{**SFT, "grid": {"learning_rate": [-1.0, 1e-3]}}]}, "learning_rate"),
        ({"families": [{**SFT, "grid": {"learning_rate": []}}]}, "learning_rate"),
        ({"tirals": 3}, "no such field; known are"),
    ],
)
def test_an_unfair_sweep_is_refused(
    sweep: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str], change: dict[str, Any], said: str
) -> None:
    path = written(sweep | change, tmp_path)
    assert cli.main(["sweep", str(path), "--work", str(tmp_path / "runs")]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert not (tmp_path / "runs").exists()


def test_a_training_that_fails_is_a_trial_that_failed(
    sweep: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wild = {**SFT, "grid": {"learning_rate": [1e-3, 1e30]}}
    path = written(sweep | {"families": [wild], "training": {"epochs": 2, "batch_size": 4, "warmup": 0}}, tmp_path)
    assert cli.main(["sweep", str(path), "--work", str(tmp_path / "runs")]) == 0
    told = json.loads((tmp_path / "sweep-tuned.trials.json").read_text())
    assert told["chosen"] == {"sft": "sft-1"}
    assert "the loss is nan" in told["trials"][1]["failed"]
    before = (tmp_path / "runs/sweep/sft-2-seed100/failed.json").stat().st_mtime_ns
    assert cli.main(["sweep", str(path), "--work", str(tmp_path / "runs")]) == 0
    assert (tmp_path / "runs/sweep/sft-2-seed100/failed.json").stat().st_mtime_ns == before

    # The rate is put right: what failed was another.
    (tmp_path / "sweep-tuned.trials.json").unlink()
    mended = {**wild, "grid": {"learning_rate": [1e-3, 1e-2]}}
    written(sweep | {"families": [mended], "training": {"epochs": 2, "batch_size": 4, "warmup": 0}}, tmp_path)
    assert cli.main(["sweep", str(path), "--work", str(tmp_path / "runs")]) == 0
    told = json.loads((tmp_path / "sweep-tuned.trials.json").read_text())
    assert told["trials"][1]["failed"] is None


def test_one_run_that_fails_beside_others_does_not_end_them(
    sweep: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = [
        {"entry": "sft", "title": "SFT", "method": "sft", "learning_rate": 1e-3},
        {"entry": "wild", "title": "W", "method": "sft", "learning_rate": 1e30},
    ]
    recipe = {"track": sweep["track"], "base": sweep["base"], "seeds": [0], "runs": runs}
    recipe["training"] = {"epochs": 2, "batch_size": 4, "warmup": 0}
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    places = ["--work", str(tmp_path / "runs"), "--submissions", str(tmp_path / "submissions"), "--no-tracking"]
    assert cli.main(["run", str(tmp_path / "recipe.yaml"), "--jobs", "2", *places]) == 2
    assert "the loss is nan" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "submissions/geonames/tiny").iterdir()] == ["sft-seed0"]


def test_the_sweeps_that_ship_are_fair() -> None:
    sweeps = [load_sweep(path) for path in (Path(__file__).parents[2] / "benchmark/recipes").glob("*-sweep.yaml")]
    assert sum(len(sweep.families) for sweep in sweeps) >= 8
    assert len({(sweep.track, sweep.trials, sweep.seed, sweep.training) for sweep in sweeps}) == 1, "one budget for all"


def test_a_sweep_is_one_run_in_mlflow_with_its_trials_nested(sweep: dict[str, Any], tmp_path: Path) -> None:
    path, uri = written(sweep | {"families": [SFT], "seeds": [0]}, tmp_path), f"sqlite:///{tmp_path}/mlflow.db"
    tracked = ["--work", str(tmp_path / "runs"), "--tracking-uri", uri]
    assert cli.main(["sweep", str(path), *tracked]) == 0
    assert cli.main(["sweep", str(path), *tracked]) == 0, "once more: no second parent"
    submissions = ["--submissions", str(tmp_path / "submissions"), "--discard-checkpoints"]
    assert cli.main(["run", str(tmp_path / "sweep-tuned.yaml"), *tracked, *submissions]) == 0

    import mlflow

    client = mlflow.MlflowClient(tracking_uri=uri)
    (experiment,) = [one for one in client.search_experiments() if one.name == "geonames/tiny"]
    runs = {run.info.run_name: run for run in client.search_runs([experiment.experiment_id])}
    assert sorted(runs) == ["sft-1-seed100", "sft-2-seed100", "sft-seed0", "sweep"]
    for trial in ("sft-1-seed100", "sft-2-seed100"):
        assert runs[trial].data.tags["mlflow.parentRunId"] == runs["sweep"].info.run_id
    assert runs["sweep"].data.params["trials"] == "2"
    assert [metric.step for metric in client.get_metric_history(runs["sft-seed0"].info.run_id, "held")] == [0, 2]
    files = {file.path for file in client.list_artifacts(runs["sft-seed0"].info.run_id)}
    assert files == {"curve.svg", "submission"}


def test_the_curve_is_a_picture_of_what_was_learned_and_kept() -> None:
    def point(epoch: float, unknown: float, held: float) -> EpochPoint:
        return EpochPoint(epoch=epoch, known=None, unknown=unknown, held=held, held_val=None, train_loss=None)

    picture = ElementTree.fromstring(curve([point(0, 0, 100), point(2, 100, 50)]))
    lines = [line.get("points", "").split() for line in picture.iter("{http://www.w3.org/2000/svg}polyline")]
    heights = [[float(at.split(",")[1]) for at in line] for line in lines]
    assert heights == [[208.0, 16.0], [16.0, 112.0]], "0 % at the bottom, 100 % at the top"
    assert "new facts 100" in "".join(picture.itertext())
    ElementTree.fromstring(curve([]))
