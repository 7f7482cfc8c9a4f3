"""The command line: bad input is exit code 2 and one line, and asking for help costs nothing."""

import argparse
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from builders import tiny_facts, tiny_release, write_submission_folder
from fthall import __version__, cli
from fthall.commands import progress
from fthall.commands.finetune import run as run_command
from fthall.errors import FthallError
from fthall.knowledge import splits
from fthall.records import Split

RIGHT = {Split.KNOWN: 3, Split.UNKNOWN: 1, Split.HELD: 2, Split.HELD_VAL: 1}
BUILD = ["--known", "3", "--unknown", "3", "--held", "4", "--held-val", "2"]
COMMANDS = [
    [],
    ["demo"],
    ["fetch"],
    ["report"],
    ["compare"],
    ["control"],
    ["control", "reference"],
    ["control", "null"],
    ["control", "noop"],
    ["control", "batching"],
    ["canary"],
    ["canary", "new"],
    ["canary", "reveal"],
    ["canary", "ask"],
    ["table"],
    ["tasks-dir"],
    ["tracks"],
    ["slick"],
    ["stability"],
    ["synthetic"],
    ["release"],
    ["release", "build"],
    ["release", "check"],
    ["run"],
    ["sweep"],
    ["estimate"],
    ["experiment"],
    ["forecast"],
    ["drift"],
    ["availability"],
    ["evaluate"],
    ["submit"],
    ["validate"],
    ["review"],
    ["verify"],
    ["site"],
    ["site", "build"],
    ["site", "serve"],
    ["export"],
]


def parsers(
    parser: argparse.ArgumentParser, name: tuple[str, ...] = ()
) -> dict[tuple[str, ...], argparse.ArgumentParser]:
    found = {name: parser}
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for sub, below in action.choices.items():
                found |= parsers(below, (*name, sub))
    return found


def fails(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """The one line a command fails with."""
    assert cli.main([str(a) for a in arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("fthall: ")
    assert err.endswith("\n")
    assert err.count("\n") == 1
    assert "Traceback" not in err
    return err


def test_every_command_is_tested() -> None:
    assert sorted(parsers(cli._parser())) == sorted(map(tuple, COMMANDS))


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_help(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main([*command, "--help"])
    assert caught.value.code == 0
    assert capsys.readouterr().out.startswith(f"usage: {' '.join(['fthall', *command])}")


def test_a_line_of_progress_a_minute_where_there_is_no_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "LINE_EVERY", 0.0)
    with progress.display() as shown:
        advance = progress.bar(shown, "SLiCK", 30)
        advance(10)
        advance(5)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("SLiCK 10/30")
    assert lines[1].startswith("SLiCK 15/30")
    assert all(" eta " in line for line in lines[:2])


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(["--version"])
    assert caught.value.code == 0
    assert capsys.readouterr().out == f"fthall {__version__}\n"


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["nonsense"],
        ["release"],
        ["release", "build", "x.parquet", "--out", "x"],
        ["release", "build", "x.parquet", "--out", "x", *BUILD[:-1], "0"],
        ["release", "build", "x.parquet", "--out", "x", *BUILD[:-1], "many"],
        ["slick", "--out", "x", "--batch-size", "0"],
        ["slick", "--out", "x", "--dtype", "float8"],
        ["slick", "--out", "x", "--samples", "-1"],
        ["slick", "--out", "x", "--shard", "0/4"],
        ["slick", "--out", "x", "--shard", "5/4"],
        ["slick", "--out", "x", "--shard", "half"],
        ["slick", "--out", "x", "--gpus-per-worker", "nan"],
        ["evaluate"],
    ],
)
def test_wrong_usage_is_exit_code_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(arguments)
    assert caught.value.code == 2
    assert "fthall" in capsys.readouterr().err


def test_unknown_track(capsys: pytest.CaptureFixture[str]) -> None:
    assert "unknown track 'no/track'; known tracks: " in fails(capsys, "release", "check", "no/track")


def test_bad_release_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny_release(tmp_path)
    assert "made of others" in fails(capsys, "release", "check", tmp_path / "release")  # geonames has no such facts
    monkeypatch.setattr(splits.sources, "load", lambda source, relations=None: tiny_facts())
    assert cli.main(["release", "check", str(tmp_path / "release")]) == 0
    assert "verified, and drawn again" in capsys.readouterr().out
    with (tmp_path / "release" / "held.jsonl").open("a") as file:
        file.write("\n")
    assert "held.jsonl was altered" in fails(capsys, "release", "check", tmp_path / "release")
    assert "held.jsonl was altered" in fails(capsys, "validate", tmp_path, "--release", tmp_path / "release")


def test_release_of_missing_or_other_labels(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert "no labels file" in fails(capsys, "release", "build", tmp_path / "none", "--out", out, *BUILD)
    (tmp_path / "text").write_text("no parquet")
    assert "is no labels file of fthall" in fails(capsys, "release", "build", tmp_path / "text", "--out", out, *BUILD)
    import pandas as pd

    pd.DataFrame({"fact_id": ["x"]}).to_parquet(tmp_path / "other.parquet")
    assert "is no labels file" in fails(capsys, "release", "build", tmp_path / "other.parquet", "--out", out, *BUILD)
    assert not out.exists()


def test_no_submissions(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "no submissions under" in fails(capsys, "validate", "--submissions", tmp_path)
    assert "is no folder" in fails(capsys, "validate", tmp_path / "none")


def test_validate(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    release = tiny_release(tmp_path)
    options = {"entry": "sft", "trained_on": ["known"], "right": RIGHT}
    root = tmp_path / "submissions"
    folders = [write_submission_folder(root, release, f"sft-seed{n}", seed=n, **options) for n in (0, 1)]  # type: ignore[arg-type]
    arguments = ["validate", "--submissions", str(root), "--release", str(tmp_path / "release")]
    assert cli.main(arguments) == 0
    valid = "valid (known 100.0, unknown 33.3, held 50.0, held_val 50.0; recomputed)"
    assert capsys.readouterr().out.splitlines() == [f"{folder}: {valid}" for folder in folders]
    (folders[1] / "model.pkl").write_text("x")
    assert cli.main(arguments) == 2
    assert "unexpected file" in capsys.readouterr().err


def test_a_recipe_on_another_track_and_base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny_release(tmp_path)
    recipe = tmp_path / "recipe.yaml"
    run = "{entry: sft, title: SFT, method: sft}"
    recipe.write_text(f"track: a/b\nbase: mine\nrevision: abc\nseeds: [0]\nruns: [{run}]\n")
    asked = {}
    monkeypatch.setattr(run_command, "run_all", lambda recipe, release, **options: asked.update(options, recipe=recipe))
    track = str(tmp_path / "release")
    assert cli.main(["run", str(recipe), "--track", track, "--base", "owner/name"]) == 0
    assert (asked["recipe"].track, asked["recipe"].base) == (track, "owner/name")
    assert asked["recipe"].revision is None, "a revision of the recipe's own base"
    assert asked["command"] == f"fthall run {recipe.as_posix()} --track {track} --base owner/name"
    assert asked["track_argument"] == track
    assert cli.main(["run", str(recipe), "--track", track]) == 0
    assert (asked["recipe"].base, asked["recipe"].revision) == ("mine", "abc")


def test_tasks_dir_holds_the_tasks(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["tasks-dir"]) == 0
    folder = Path(capsys.readouterr().out.strip())
    assert {f"fthall_{split}.yaml" for split in Split} <= {path.name for path in folder.iterdir()}


def test_tracks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    release = tiny_release(tmp_path)
    shutil.copytree(tmp_path / "release", tmp_path / "shipped" / release.track)
    monkeypatch.setattr(splits, "releases_dir", lambda: tmp_path / "shipped")
    assert cli.main(["tracks"]) == 0
    sizes = "3 known, 3 unknown, 2 held_val, 4 held"
    line = capsys.readouterr().out
    assert line.startswith("geonames/tiny  ")
    assert sorted(line.split("  ")[1].split(", ")) == sorted(sizes.split(", "))
    assert f"(release {release.digest[:12]})" in line


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (FthallError("what, and what next"), 2, "fthall: what, and what next\n"),
        (OSError(28, "No space left on device", "/data/x"), 2, "fthall: /data/x: No space left on device\n"),
        (KeyboardInterrupt(), 130, "\nfthall: interrupted; type the same command again to go on\n"),
    ],
)
def test_exit_codes(
    error: BaseException, code: int, line: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stop() -> list[str]:
        raise error

    monkeypatch.setattr(splits, "tracks", stop)
    assert cli.main(["tracks"]) == code
    assert capsys.readouterr().err == line


def test_help_imports_nothing_heavy() -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "fthall", "--help"], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("usage: fthall")
    imported = {line.rsplit("|", 1)[1].strip().split(".")[0] for line in done.stderr.splitlines() if "|" in line}
    assert "argparse" in imported
    heavy = {"torch", "transformers", "pandas", "numpy", "pydantic", "yaml", "rich", "mlflow", "lm_eval", "datasets"}
    assert not imported & heavy


def test_module_exit_code() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "fthall", "release", "check", "no/track"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("fthall: unknown track 'no/track'")
