"""Tiers on the board: who is ranked beside whom, and what a trajectory without evidence may say."""

import json
from pathlib import Path

import pytest
from test_site import REFERENCE, TRACK, about, build_release, page, submit

from fthall.files import write_json, write_jsonl
from fthall.leaderboard import board
from fthall.leaderboard.board import Board
from fthall.records import Release
from fthall.submissions import Submission, read
from fthall.submissions.tiers import Tier


@pytest.fixture
def release(tmp_path: Path) -> Release:
    return build_release(tmp_path / "release")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "submissions"


def verified(one: Submission, folder: Path, tier: str = "verified") -> None:
    """What a maintainer writes of a submission."""
    asked = {
        str(split): {"items": len(rows), "asked": len(rows), "flips": [], "false_at_most": 0.0, "p": 1.0}
        for split, rows in one.answers.items()
    }
    record = {
        **{"schema": 1, "submission": one.digest, "tier": tier, "seed": "x", "asked": asked, "flip_rate": 0.001},
        **{"weights_sha256": "0" * 64, "hardware": "h", "versions": {}, "on": "2026-01-02"},
    }
    write_json(folder / TRACK / f"{one.slug}.json", record)


def boarded(root: Path, release: Release, folder: Path) -> Board:
    ((_, rows),) = read(root, release)
    return board.board(release, rows, folder)


def entry(made: Board, slug: str) -> board.Entry:
    return next(one for one in made.entries if one.slug == slug)


def evidence(folder: Path, release: Release) -> Path:
    """Outcomes that give the trajectory of a submission, as far as they can: a curve of whole numbers of facts."""
    points = json.loads((folder / "results.json").read_text())["trajectory"]
    rows = []
    for point in points:
        letters = {}
        for split, facts in release.splits.items():
            right = round(point[split] * len(facts) / 100)
            letters[str(split)] = "c" * right + "w" * (len(facts) - right)
        rows.append({"epoch": point["epoch"], "outcomes": letters})
    write_jsonl(folder / "outcomes.jsonl", rows)
    return folder


CURVE = [(0, 5), (40, 95), (90, 70)]


def test_a_trajectory_without_evidence_is_grey_and_sorts_nothing(root: Path, release: Release, tmp_path: Path) -> None:
    submit(root, release, right=(4, 0, 19), **REFERENCE)  # type: ignore[arg-type]
    submit(root, release, right=(4, 9, 14), curve=CURVE)
    proven = submit(root, release, right=(4, 9, 14), curve=CURVE, entry="proven", title="Proven")
    evidence(proven, release)
    made = boarded(root, release, tmp_path / "verified")
    found = {one.slug: (one.tier, one.evidenced) for one in made.entries}
    assert found == {
        "sft-known": (Tier.RECOMPUTED, True),  # shows nothing but its answers
        "sft": (Tier.SELF_REPORTED, False),
        "proven": (Tier.RECOMPUTED, True),
    }
    html = page(root, tmp_path / "site", release)
    assert html.count('<td class="unchecked">') == 1
    training = (tmp_path / "site" / "training-geonames-tiny.html").read_text()
    assert training.count('class="panel unchecked"') == 1
    assert training.count("no evidence item by item</small>") == 1
    row = next(line for line in board.table(root, release=release).splitlines() if line.startswith("| SFT |"))
    assert row.endswith("| (70.0) |")
    row = next(line for line in board.table(root, release=release).splitlines() if line.startswith("| Proven |"))
    assert row.endswith("| 70.0 |")


def test_an_entry_is_of_the_least_tier_of_its_seeds(root: Path, release: Release, tmp_path: Path) -> None:
    submit(root, release, right=(4, 0, 19), **REFERENCE)  # type: ignore[arg-type]
    for seed in (0, 1):
        submit(root, release, right=(4, 9, 14), seed=seed)
    rows = {one.slug: one for one in read(root, release)[0][1]}
    for slug, expected in (("sft-seed0", Tier.RECOMPUTED), ("sft-seed1", Tier.VERIFIED)):
        verified(rows[slug], tmp_path / "verified")
        assert entry(boarded(root, release, tmp_path / "verified"), "sft").tier is expected


def test_what_was_not_checked_as_hard_pushes_nothing_down(root: Path, release: Release, tmp_path: Path) -> None:
    """A forged best entry takes a verified one's rank away from nobody; refuted, it has none itself."""
    folder = tmp_path / "verified"
    submit(root, release, right=(4, 0, 19), **REFERENCE)  # type: ignore[arg-type]
    submit(root, release, right=(4, 9, 14), entry="honest", title="Honest")
    submit(root, release, right=(4, 2, 1), entry="weak", title="Weak")
    submit(root, release, right=(4, 10, 20), entry="forged", title="Forged")
    rows = {one.slug: one for one in read(root, release)[0][1]}

    def ranks() -> dict[str, int | None]:
        return {one.slug: one.rank for one in boarded(root, release, folder).entries}

    before = ranks()
    assert before["forged"] == 1
    assert before["weak"] is not None and before["weak"] > 1
    for slug in ("honest-seed0", "weak-seed0"):
        verified(rows[slug], folder)
    among = ranks()
    assert among["honest"] == 1
    assert among["weak"] == 2  # behind the other verified one, and no more
    assert among["forged"] == 1
    verified(rows["forged-seed0"], folder, "refuted")
    after = ranks()
    assert after == {**among, "forged": None, "sft-known": 2}  # it no longer stands before anybody
    assert entry(boarded(root, release, folder), "forged").tier is Tier.REFUTED


def test_what_looks_odd_is_said_beside_the_entry(root: Path, release: Release, tmp_path: Path) -> None:
    submit(root, release, right=(4, 0, 19), **REFERENCE)  # type: ignore[arg-type]
    submit(root, release, right=(4, 9, 14))
    submit(root, release, right=(4, 9, 14), entry="copy", title="Copy")
    made = boarded(root, release, tmp_path / "verified")
    assert entry(made, "copy").seeds[0].odd == ("gives all of the 30 answers of sft-seed0",)
    html = page(root, tmp_path / "site", release)
    assert html.count('<span class="tag">looks odd</span>') == 2
    assert "seed 0 gives all of the 30 answers of sft-seed0" in about(tmp_path / "site", "copy")
    assert "Looks odd" not in about(tmp_path / "site", "sft-known")
    assert entry(made, "sft-known").seeds[0].odd == ()


def test_verified_entries_say_what_was_asked(
    root: Path, release: Release, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fthall.submissions import tiers

    monkeypatch.setattr(tiers, "verified_dir", lambda: tmp_path / "verified")
    submit(root, release, right=(4, 0, 19), **REFERENCE)  # type: ignore[arg-type]
    verified(read(root, release)[0][1][0], tmp_path / "verified")
    html = page(root, tmp_path / "site", release)
    assert '<span class="tag verified">verified</span>' in html
    mine = about(tmp_path / "site", "sft-known")
    assert "<td>held</td><td>20 of 20</td><td>0</td><td>0.0</td>" in mine
