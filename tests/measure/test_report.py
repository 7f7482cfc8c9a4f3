"""Reports and comparisons of made-up submissions, by hand."""

import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from builders import tiny_release, write_submission_folder
from fthall.cli import main
from fthall.errors import FthallError
from fthall.measure import report, runs
from fthall.records import Release, Split
from fthall.submissions import find_reference, find_runs
from fthall.submissions.check import validate

ALL = {Split.KNOWN: 3, Split.UNKNOWN: 0, Split.HELD: 4, Split.HELD_VAL: 2}


@pytest.fixture
def release(tmp_path: Path) -> Release:
    return tiny_release(tmp_path)


def write(
    tmp_path: Path,
    release: Release,
    entry: str,
    seed: int = 0,
    *,
    held: int = 4,
    unknown: int = 3,
    abstained: int = 0,
    trajectory: tuple[Mapping[str, float], ...] = (),
) -> Path:
    bound = entry.startswith("sft-known")
    return write_submission_folder(
        tmp_path / "submissions",
        release,
        f"{entry}-seed{seed}",
        entry=entry,
        seed=seed,
        trained_on=["known"] if bound else ["known", "unknown"],
        right={**ALL, Split.HELD: held, Split.UNKNOWN: 0 if bound else unknown},
        abstained={Split.HELD: abstained},
        trajectory=trajectory,
    )


def made(tmp_path: Path, release: Release, entry: str) -> report.Report:
    place = tmp_path / "submissions" / release.track / entry
    found, reference = find_runs(place, release), find_reference(place, release)
    return report.report(found, reference, runs.ground(release))


THIRD = 100 / 3
"""One of the three new facts."""


def points(*rows: tuple[float, float]) -> tuple[dict[str, float], ...]:
    return tuple(
        {"epoch": n, "known": 100.0, "unknown": unknown, "held": held, "held_val": 50.0}
        for n, (unknown, held) in enumerate(rows)
    )


def test_a_report_by_hand(tmp_path: Path, release: Release) -> None:
    for seed in (0, 1):
        write(tmp_path, release, "sft-known", seed, held=4)
    write(tmp_path, release, "sft", 0, held=2, abstained=1, trajectory=points((0, 0), (THIRD, 100), (100, 50)))
    write(tmp_path, release, "sft", 1, held=3, trajectory=points((0, 0), (0, 100), (THIRD, 75)))
    found = made(tmp_path, release, "sft")
    assert (found.entry, found.seeds, found.reference) == ("sft", (0, 1), "sft-known")
    held = found.accuracy["held"]
    assert (held.items, held.correct, held.wrong, held.abstained) == (4, 62.5, 25.0, 12.5)
    assert held.seed_sd == pytest.approx(17.678, abs=1e-3)  # of 50 and 75
    assert found.forgetting is not None
    assert (found.forgetting.difference, found.forgetting.lost, found.forgetting.gained) == (37.5, 1.5, 0.0)
    assert found.forgetting.p == pytest.approx(2 * (1 / 4))  # two subjects changed, both for the worse: 2/4
    assert found.retention == 62.5
    assert found.score == pytest.approx(2 * 62.5 * 100 / 162.5)
    assert found.transitions == {
        "correct": {"correct": 2.5, "wrong": 1.0, "abstained": 0.5},
        "wrong": {"correct": 0.0, "wrong": 0.0, "abstained": 0.0},
        "abstained": {"correct": 0.0, "wrong": 0.0, "abstained": 0.0},
    }
    at_50, at_90 = found.reached
    assert (at_50.seeds, at_50.held, at_50.epochs) == (1, pytest.approx(100 - 50 / 4), pytest.approx(1 + 1 / 4))
    assert (at_90.seeds, at_90.held) == (1, pytest.approx(50 + 50 * 0.15))
    assert found.fall_from_peak == 37.5
    assert found.leakage == 0  # nobody was ever taught Atlantis
    assert any("2 seeds: a lead" in sentence for sentence in found.words)
    parts = found.bins["relation"]
    assert [(one.label, one.items, one.forgetting) for one in parts] == [("country_of_city", 4, 37.5)]
    assert all(sum(one.items for one in bins) == 4 for bins in found.bins.values())
    json.dumps(asdict(found), allow_nan=False)


def test_the_reference_as_an_entry_forgets_exactly_nothing(tmp_path: Path, release: Release) -> None:
    write(tmp_path, release, "sft-known", held=3)
    write(tmp_path, release, "sft-known-again", held=3)
    own, again = made(tmp_path, release, "sft-known"), made(tmp_path, release, "sft-known-again")
    assert own.forgetting is not None
    assert (own.forgetting.difference, own.forgetting.low, own.forgetting.high, own.forgetting.p) == (0, 0, 0, 1)
    assert "0 by definition" in own.words[0]
    assert again.forgetting is not None
    assert (again.forgetting.difference, again.forgetting.p) == (0, 1)
    assert again.forgetting.low < 0 < again.forgetting.high


def test_never_reached_and_one_seed_are_said(tmp_path: Path, release: Release) -> None:
    write(tmp_path, release, "sft-known")
    write(tmp_path, release, "slow", unknown=1, trajectory=points((0, 0), (0, 100), (THIRD, 100)))
    found = made(tmp_path, release, "slow")
    assert [(one.level, one.seeds, one.held, one.epochs) for one in found.reached] == [
        (50, 0, None, None),
        (90, 0, None, None),
    ]
    assert found.forgetting is not None
    assert found.forgetting.seed_sd is None
    assert any(sentence.startswith("One seed") for sentence in found.words)
    assert found.leakage is None


def test_without_a_reference_nothing_is_made_up(tmp_path: Path, release: Release) -> None:
    write(tmp_path, release, "sft")
    found = made(tmp_path, release, "sft")
    assert (found.forgetting, found.retention, found.score, found.transitions) == (None, None, None, None)
    assert "no Only-Known reference" in found.words[0]


def test_compare_by_hand(tmp_path: Path, release: Release) -> None:
    write(tmp_path, release, "one", held=4, unknown=3)
    write(tmp_path, release, "other", held=1, unknown=3)
    on = runs.ground(release)
    root = tmp_path / "submissions" / release.track
    first, second = find_runs(root / "one-seed0", release), find_runs(root / "other", release)
    found = report.compare(first, second, on)
    held = found.splits["held"]
    assert (held.difference, held.lost, held.gained, held.p) == (75.0, 3.0, 0.0, 0.25)
    assert found.adjusted["held"] == 1.0  # four splits
    assert "old facts, held out: not told apart (+75.0 points" in found.words[2]
    assert found.words[1] == "new facts: no answer differs."
    listed = report.items(first, second, Split.HELD, on)
    assert [one.fact_id for one in listed] == [fact.id for fact in release.splits[Split.HELD][1:]]
    assert {(one.first_outcome, one.second_outcome) for one in listed} == {("correct", "wrong")}
    assert report.compare(second, first, on).splits["held"].difference == -75.0


def test_a_seed_the_reference_lacks_is_said(tmp_path: Path, release: Release) -> None:
    write(tmp_path, release, "sft-known", 0, held=4)
    write(tmp_path, release, "sft", 5, held=3)
    found = made(tmp_path, release, "sft")
    assert found.forgetting is not None
    assert not found.forgetting.same_seeds
    assert found.forgetting.difference == 25.0
    assert any("twin of the same seed" in sentence for sentence in found.words)


def test_other_releases_are_not_compared(tmp_path: Path, release: Release) -> None:
    run = validate(write(tmp_path, release, "sft"), release).run
    other = replace(run, release="0" * 64)
    with pytest.raises(FthallError, match="only runs of the same release"):
        report.compare([run], [other], runs.ground(release))


def test_the_commands(tmp_path: Path, release: Release, capsys: pytest.CaptureFixture[str]) -> None:
    for seed in (0, 1, 2):
        write(tmp_path, release, "sft-known", seed)
        write(tmp_path, release, "sft", seed, held=2, trajectory=points((0, 0), (THIRD, 100)))
    root = tmp_path / "submissions" / release.track
    options = ["--release", str(tmp_path / "release")]
    assert main(["report", str(root / "sft"), *options, "--items", "held"]) == 0
    shown = capsys.readouterr().out
    assert "forgetting, points" in shown
    assert "not reached" in shown
    assert "Atlantis" in shown
    assert main(["report", str(root / "sft"), *options, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["forgetting"]["difference"] == 50.0
    assert main(["compare", str(root / "sft-known"), str(root / "sft-seed1"), *options]) == 0
    assert "sft-known minus sft-seed1" in capsys.readouterr().out
    assert main(["compare", str(root / "sft"), str(root / "sft"), *options, "--json", "--items", "held"]) == 0
    assert json.loads(capsys.readouterr().out)["items"] == []


def test_bad_input_is_one_line(tmp_path: Path, release: Release, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write(tmp_path, release, "sft")
    root, options = folder.parent, ["--release", str(tmp_path / "release")]
    assert main(["report", str(root / "nobody"), *options]) == 2
    assert "give a submission's folder, or <track's folder>/<entry>" in capsys.readouterr().err
    samples = folder / "samples" / "held.jsonl"
    rows = samples.read_text().splitlines()
    for bad, says in ((rows[1:], "1 facts of the release missing"), ([rows[0], *rows], "fact_id")):
        samples.write_text("\n".join(bad) + "\n")
        assert main(["report", str(folder), *options]) == 2
        error = capsys.readouterr().err
        assert says in error
        assert error.count("\n") == 1
