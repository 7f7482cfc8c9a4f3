"""A track whose facts are not ours to ship, on a machine that lacks them: said, not hidden, and nothing else fails."""

import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest

from builders import tiny_facts, tiny_release, write_submission_folder
from fthall import cli
from fthall.errors import FthallError
from fthall.knowledge import splits
from fthall.leaderboard import site
from fthall.records import Fact, Split

TRACKS = ("elsewhere/tiny", "geonames/tiny")
WHY = "it is not here; type: fthall fetch it"
RIGHT = {Split.KNOWN: 3, Split.UNKNOWN: 1, Split.HELD: 2, Split.HELD_VAL: 1}


@pytest.fixture
def submissions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two shipped tracks with a submission each; the facts of one are gone."""
    here = True

    def load(source: str, relations: Sequence[str] | None = None) -> list[Fact]:
        if not here:
            raise FthallError(WHY)
        return tiny_facts()

    monkeypatch.setattr(splits.sources, "load", load)
    monkeypatch.setattr(splits, "releases_dir", lambda: tmp_path / "shipped")
    for track in TRACKS:
        release = tiny_release(tmp_path, track=track, texts=track == "geonames/tiny")
        options = {"entry": "sft-known", "seed": 0, "trained_on": ["known"], "right": RIGHT}
        write_submission_folder(tmp_path / "submissions", release, "sft-known-seed0", **options)  # type: ignore[arg-type]
        shutil.move(tmp_path / "release", tmp_path / "shipped" / track)
    here = False
    return tmp_path / "submissions"


def test_the_site_says_what_it_leaves_out(submissions: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    page = site.render(submissions, tmp_path / "site").read_text()
    assert "elsewhere/tiny is left out: its facts were not at hand" in page
    assert 'id="geonames-tiny"' in page
    assert 'id="elsewhere-tiny"' not in page
    assert f"elsewhere/tiny is left out: {WHY}" in caplog.text


def test_all_submissions_are_checked_but_those_and_one_that_is_named_must_be(
    submissions: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["validate", "--submissions", str(submissions)]) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first == f"{submissions / 'elsewhere/tiny'}: not checked: {WHY}"
    assert second.startswith(f"{submissions / 'geonames/tiny/sft-known-seed0'}: valid")
    assert cli.main(["validate", str(submissions / "elsewhere/tiny/sft-known-seed0")]) == 2
    assert capsys.readouterr().err == f"fthall: {WHY}\n"


def test_tracks_and_releases_are_listed_all_the_same(submissions: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["tracks"]) == 0
    assert f"its facts: {WHY}" in capsys.readouterr().out
    assert cli.main(["release", "check", "elsewhere/tiny"]) == 0
    assert f"hashes verified; not drawn again: {WHY}" in capsys.readouterr().out
