"""What came of an experiment: one record a run, kept as JSON, and the differences between arms and methods."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fthall.errors import FthallError
from fthall.files import read_json
from fthall.finetune.folder import read_answers, read_run, read_trajectory
from fthall.measure import stats
from fthall.measure.runs import EvaluatedRun, Ground, Paired, paired
from fthall.records import Answer, EpochPoint, Outcome, Release, Split

SCHEMA = 1


def record(folder: Path, release: Release, arm: str) -> dict[str, Any]:
    """One finished run.

    Returns:
        ``arm, entry, seed``; ``known, unknown, held`` and ``held_val`` (percent right); ``trajectory`` (epoch, new
        facts, old facts); ``held_right`` (1 or 0 a held fact, in the release's order); ``seconds``, ``hardware``.

    Raises:
        FthallError: the run is not finished.
    """
    made, answers = read_run(folder), read_answers(folder / "answers.jsonl")
    trajectory = read_trajectory(folder)
    by_id = {answer.fact_id: answer.outcome is Outcome.CORRECT for answer in answers[Split.HELD]}
    return {
        "arm": arm,
        "entry": made["run"]["entry"],
        "seed": made["seed"],
        "trained": made["examples"],
        **{str(split): _rounded(getattr(trajectory[-1], split)) for split in Split},
        "trajectory": [[p.epoch, _rounded(p.unknown), _rounded(p.held)] for p in trajectory],
        "held_right": "".join("01"[by_id[fact.id]] for fact in release.splits[Split.HELD]),
        "seconds": made["seconds"],
        "hardware": made["hardware"],
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)


@dataclass(frozen=True, slots=True)
class Results:
    """An experiment's file, read."""

    found: Mapping[str, Any]
    on: Ground
    runs: Mapping[tuple[str, str], tuple[EvaluatedRun, ...]]
    """(arm, entry) to its seeds, in order; only held facts are there."""

    def reference(self, arm: str) -> tuple[EvaluatedRun, ...]:
        """The runs on the known facts of an arm alone."""
        runs = self.runs.get((self.found["reference_of"][arm], self.found["reference"]))
        if not runs:
            raise FthallError(f"{arm}: its reference, {self.found['reference']}, has not been run")
        return runs

    def forgotten(self, arm: str, entry: str) -> Paired:
        """What a method forgets on an arm, points against its reference."""
        return paired(self.reference(arm), self.runs[arm, entry], Split.HELD, self.on)

    def apart(self, first: tuple[str, str], second: tuple[str, str]) -> Paired:
        """How many points more the second of two (arm, entry) forgets; both on the same held facts."""
        return paired(self.runs[first], self.runs[second], Split.HELD, self.on)

    def mean(self, arm: str, entry: str, what: str) -> float:
        """A number of a record, mean over seeds."""
        values = [row[what] for row in self.found["results"] if (row["arm"], row["entry"]) == (arm, entry)]
        return float(sum(values) / len(values))


def read(path: Path) -> Results:
    """Read an experiment's results.

    Raises:
        FthallError: missing, or none of ours.
    """
    if not path.exists():
        raise FthallError(f"no results {path}; fthall experiment makes them")
    found = read_json(path)
    if not isinstance(found, dict) or found.get("schema") != SCHEMA:
        raise FthallError(f"{path} holds no results of an experiment of schema {SCHEMA}; make them anew")
    try:
        return _parsed(found)
    except (KeyError, TypeError, ValueError) as error:
        raise FthallError(f"{path} holds no results of an experiment ({error!r}); make them anew") from None


def _parsed(found: Mapping[str, Any]) -> Results:
    ids: Sequence[str] = found["held"]
    relations = [one.rpartition("/")[0] for one in ids]
    on = Ground(
        Release(found["track"], found["release"], {}, {}), {Split.HELD: stats.resample(found["subjects"], relations)}
    )
    runs: dict[tuple[str, str], list[EvaluatedRun]] = {}
    for row in sorted(found["results"], key=lambda row: int(row["seed"])):
        outcomes = [Outcome.CORRECT if mark == "1" else Outcome.WRONG for mark in row["held_right"]]
        answers = tuple(Answer(fact, Split.HELD, "", outcome) for fact, outcome in zip(ids, outcomes, strict=True))
        points = tuple(EpochPoint(epoch, None, unknown, held, None) for epoch, unknown, held in row["trajectory"])
        entry = f"{row['arm']}/{row['entry']}"
        runs.setdefault((row["arm"], row["entry"]), []).append(
            EvaluatedRun(
                f"{entry}-seed{row['seed']}",
                found["track"],
                found["release"],
                entry,
                entry,
                row["entry"],
                row["seed"],
                (),
                {Split.HELD: answers},
                points,
            )
        )
    return Results(found, on, {key: tuple(rows) for key, rows in runs.items()})
