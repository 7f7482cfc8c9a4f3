"""``fthall run``: trained in one place and evaluated in another; a tracking server that is gone."""

import logging
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from builders import tiny_release
from fthall import bases, cli, submissions
from fthall.finetune.tracking import track
from fthall.knowledge import splits

ABSENT = ("lm_eval", "mlflow", "datasets", "pandera")


@pytest.fixture
def command(tiny_base: Path, tmp_path: Path) -> list[str]:
    """``fthall run`` of a recipe of two runs on a tiny release."""
    tiny_release(tmp_path, base_sha=bases.weights_sha256(bases.find(str(tiny_base))))
    recipe = {
        "track": str(tmp_path / "release"),
        "base": str(tiny_base),
        "seeds": [0],
        "training": {"epochs": 1, "batch_size": 4, "learning_rate": 1e-3},
        "runs": [
            {"entry": "sft", "title": "SFT", "method": "sft"},
            {"entry": "wise", "title": "W", "method": "wise-ft", "interpolate": {"of": "sft", "weight": 0.5}},
        ],
    }
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    places = ["--work", str(tmp_path / "runs"), "--submissions", str(tmp_path / "submissions")]
    return ["run", str(tmp_path / "recipe.yaml"), *places]


def test_train_here_evaluate_there(command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    there = (
        "import sys\n"
        f"sys.modules.update(dict.fromkeys({ABSENT}))\n"  # importing them fails, as where they are not installed
        "from fthall.cli import main\n"
        f"sys.exit(main({[*command, '--evaluate', 'later', '--no-tracking']!r}))\n"
    )
    done = subprocess.run([sys.executable, "-c", there], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "trained, not evaluated" in done.stdout + done.stderr
    assert not (tmp_path / "submissions").exists()
    trained = (tmp_path / "runs/geonames/tiny/sft-seed0/run.json").stat().st_mtime_ns
    assert cli.main([*command, "--no-tracking", "--discard-checkpoints"]) == 0
    assert (tmp_path / "runs/geonames/tiny/sft-seed0/run.json").stat().st_mtime_ns == trained, "it is not trained again"
    made = sorted(path.name for path in (tmp_path / "submissions/geonames/tiny").iterdir())
    assert made == ["sft-seed0", "wise-seed0"]
    release = splits.load(str(tmp_path / "release"))
    for name in made:
        assert submissions.validate(tmp_path / "submissions/geonames/tiny" / name, release).evidenced

    recipe = Path(command[1])  # changed since: what is there is not what the recipe says any more
    recipe.write_text(recipe.read_text().replace("0.001", "0.01"))
    assert cli.main([*command, "--no-tracking"]) == 2
    said = capsys.readouterr().err
    assert "sft-seed0 is there already, made with learning_rate 0.001, and the recipe has 0.01; remove it" in said


def test_a_trajectory_without_all_of_its_outcomes_is_handed_in_without_any(command: list[str], tmp_path: Path) -> None:
    assert cli.main([*command, "--only", "sft", "--evaluate", "later", "--no-tracking"]) == 0
    outcomes = tmp_path / "runs/geonames/tiny/sft-seed0/outcomes.jsonl"
    outcomes.write_text(outcomes.read_text().splitlines(keepends=True)[1])  # begun by a version that wrote none
    assert cli.main([*command, "--only", "sft", "--no-tracking"]) == 0
    folder = tmp_path / "submissions/geonames/tiny/sft-seed0"
    assert not (folder / "outcomes.jsonl").exists()
    assert not submissions.validate(folder, splits.load(str(tmp_path / "release"))).evidenced


def test_checkpoints_that_are_needed_are_not_discarded(command: list[str], tmp_path: Path, capsys) -> None:
    assert cli.main([*command, "--evaluate", "later", "--discard-checkpoints"]) == 2
    assert "leave one out" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()
    assert cli.main([*command, "--no-tracking", "--discard-checkpoints"]) == 0
    assert not list((tmp_path / "runs").rglob("checkpoint"))
    assert (tmp_path / "submissions/geonames/tiny/wise-seed0").is_dir(), "it needed the checkpoint of sft"


def test_a_tracking_server_that_is_gone_ends_no_training(caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    with caplog.at_level(logging.WARNING), track("http://127.0.0.1:9", "t", "sft-seed0", {"a": 1}) as log:
        assert log is None
    assert "going on untracked" in caplog.text
    assert len(caplog.records) == 1


def test_a_tracking_store_that_breaks_on_the_way_is_said_once(caplog, tmp_path: Path, monkeypatch) -> None:
    import mlflow

    def fail(*_, **__):
        raise OSError("no space left")

    with track(f"sqlite:///{tmp_path}/mlflow.db", "t", "sft-seed0", {"a": 1}) as log:
        assert log is not None
        log({"held": 1.0}, 1)
        monkeypatch.setattr(mlflow, "log_metrics", fail)
        with caplog.at_level(logging.WARNING):
            log({"held": 2.0}, 2)
            log({"held": 3.0}, 3)
    assert caplog.text.count("no space left") == 1
    assert mlflow.active_run() is None, "or the next run would go untracked"
