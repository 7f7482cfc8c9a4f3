"""What a run leaves behind, read. No torch here.

``run.json``, ``trajectory.jsonl``, ``outcomes.jsonl`` and ``answers.jsonl``; ``checkpoint/``, the model itself, lies
beside them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from fthall.answers import OUTCOMES, letters
from fthall.bases import adapter
from fthall.errors import FthallError
from fthall.files import read_json, read_jsonl, write_jsonl
from fthall.finetune.recipe import Run, Training
from fthall.records import Answer, EpochPoint, Outcome, Release, Split


def describe(release: Release, run: Run, training: Training, seed: int) -> dict[str, Any]:
    """What is run, as ``run.json`` says it."""
    return {
        "release": release.digest,
        "run": run.model_dump(mode="json"),
        "training": training.model_dump(mode="json"),
        "seed": seed,
    }


def is_finished(folder: Path, what: Mapping[str, Any]) -> bool:
    """Whether a folder holds this run, finished.

    Raises:
        FthallError: it holds another one.
    """
    if not (folder / "run.json").exists():
        return False
    found = read_run(folder)
    if {key: found.get(key) for key in what} != what:
        raise FthallError(f"{folder} holds a finished run with other settings; delete it or choose another folder")
    return True


def read_run(folder: Path) -> dict[str, Any]:
    """What was run: ``release`` (digest), ``run``, ``training``, ``seed``, and what came of it.

    Raises:
        FthallError: the run is not finished, or its file is unreadable.
    """
    found: dict[str, Any] = read_json(folder / "run.json")
    return found


def checkpoints(folder: Path) -> list[tuple[int | None, Path]]:
    """The checkpoints of a run with the epochs they are of, the result last; of a bare checkpoint, that alone.

    Raises:
        FthallError: neither, an unfinished run, or one whose checkpoint was not kept.
    """
    if any((folder / name).is_file() for name in ("config.json", adapter.CONFIG)):
        return [(None, folder)]
    if not (folder / "run.json").exists():
        begun = (folder / "begun.json").exists()
        raise FthallError(
            f"{folder} is {'a run that is not finished' if begun else 'no run and no checkpoint'}; give the folder of "
            "a finished fthall run, such as runs/geonames/smollm2-135m/sft-seed0, or one written by save_pretrained"
        )
    result = folder / "checkpoint"
    if not (result / "config.json").is_file():
        raise FthallError(f"{folder} has no checkpoint any more; run it again without --discard-checkpoints")
    last = int(read_trajectory(folder)[-1].epoch)
    kept = [(int(path.name), path) for path in (folder / "epochs").glob("[0-9]*")]
    return [*sorted(one for one in kept if one[0] != last), (last, result)]


def read_trajectory(folder: Path) -> list[EpochPoint]:
    """The trajectory a run has written so far."""
    path = folder / "trajectory.jsonl"
    return [EpochPoint(**row) for row in read_jsonl(path)] if path.exists() else []


def read_outcomes(folder: Path) -> list[dict[str, Any]]:
    """What became of every question, epoch by epoch: ``epoch``, and ``outcomes``, split to a letter an item."""
    path = folder / OUTCOMES
    return read_jsonl(path) if path.exists() else []


def add_outcomes(folder: Path, epoch: int, answers: Mapping[Split, Sequence[Answer]]) -> None:
    """Write down an epoch's; those of later epochs, if there are any, are dropped."""
    earlier = [row for row in read_outcomes(folder) if row["epoch"] < epoch]
    now = {"epoch": epoch, "outcomes": {str(split): letters(rows) for split, rows in answers.items()}}
    write_jsonl(folder / OUTCOMES, [*earlier, now])


def read_answers(path: Path) -> dict[Split, tuple[Answer, ...]]:
    """Answers to a release, as :func:`write_answers` wrote them."""
    answers: dict[Split, list[Answer]] = {split: [] for split in Split}
    for row in read_jsonl(path):
        split = Split(row["split"])
        answers[split].append(Answer(row["fact_id"], split, row["prediction"], Outcome(row["outcome"])))
    return {split: tuple(rows) for split, rows in answers.items()}


def write_answers(path: Path, answers: Mapping[Split, tuple[Answer, ...]]) -> None:
    """One answer a line."""
    write_jsonl(path, (asdict(answer) for rows in answers.values() for answer in rows))
