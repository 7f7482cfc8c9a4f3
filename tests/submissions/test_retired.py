"""A track with a second release: the first is retired, and what was submitted of it is kept, checked and not ranked."""

import shutil
from pathlib import Path

import pytest

from builders import TRACK, tiny_facts, tiny_release, write_submission_folder
from fthall import cli, submissions
from fthall.errors import FthallError
from fthall.knowledge import draw, releases, splits
from fthall.leaderboard import render, table
from fthall.records import Release, Split

RIGHT = {Split.KNOWN: 3, Split.UNKNOWN: 1, Split.HELD: 2, Split.HELD_VAL: 1}
RULE = draw.Rule(held_from="all")


@pytest.fixture
def retired(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of the retired release; both have a submission in ``submissions``."""
    monkeypatch.setattr(splits.sources, "load", lambda source, relations=None: tiny_facts())
    shipped = tmp_path / "shipped"
    monkeypatch.setattr(splits, "releases_dir", lambda: shipped)
    old = tiny_release(tmp_path)
    name = splits.retired_name(TRACK, old.digest)
    (shipped / TRACK).parent.mkdir(parents=True)
    (tmp_path / "release").rename(shipped / name)
    new = releases.renew(name, shipped / TRACK, sizes=(3, 3, 6, 3), rule=RULE)
    for place, release in ((name, old), (TRACK, new)):
        made = submit(tmp_path / "made", release)
        (tmp_path / "submissions" / place).mkdir(parents=True)
        made.rename(tmp_path / "submissions" / place / made.name)
    return name


def submit(root: Path, release: Release) -> Path:
    return write_submission_folder(
        root, release, "sft-known-seed0", entry="sft-known", seed=0, trained_on=["known"], right=RIGHT
    )


def test_a_release_is_drawn_again_from_the_labels_of_another(retired: str) -> None:
    old, new = splits.load(retired), splits.load(TRACK)
    assert old.track == new.track == TRACK
    assert old.digest != new.digest
    assert (len(new.splits[Split.HELD]), len(new.splits[Split.HELD_VAL])) == (6, 3)
    for split in (Split.KNOWN, Split.UNKNOWN):
        assert new.splits[split] == old.splits[split], "no need to train a checkpoint again"
    assert new.manifest["rule"] == {"min_highly_known": 0.3, "seed": 0, "held_from": "all"}
    assert new.manifest["source"] == old.manifest["source"]
    assert splits.ledger(TRACK).equals(splits.ledger(retired))
    assert splits.rebuilt(old, retired)
    assert splits.rebuilt(new, TRACK)


def test_both_are_checked_and_one_is_ranked(retired: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = tmp_path / "submissions"
    assert (splits.tracks(), splits.retired()) == ([TRACK], [retired])
    assert cli.main(["release", "check"]) == 0
    assert [line.split(":")[0] for line in capsys.readouterr().out.splitlines()] == [TRACK, retired]
    assert cli.main(["validate", "--submissions", str(root)]) == 0
    assert capsys.readouterr().out.count(": valid") == 2
    [(release, ranked)] = submissions.read(root)
    assert release.digest == splits.load(TRACK).digest
    assert [one.card.release for one in ranked] == [release.digest]
    assert submissions.retired(root) == {retired: 1}
    assert table(root).count("Sft-known") == 1
    page = render(root, tmp_path / "site").read_text()
    assert f"1 submissions of the retired release {retired} are kept in the repository" in page


def test_one_of_the_retired_release_that_arrives_now_is_refused(retired: str, tmp_path: Path) -> None:
    late = submit(tmp_path / "late", splits.load(retired))
    with pytest.raises(FthallError) as caught:
        submissions.validate(late)
    assert "which is retired; " in str(caught.value)
    assert f"keep the submission under {retired}/" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_place_of_another_digest_does_not_help(retired: str, tmp_path: Path) -> None:
    made = tmp_path / "submissions" / retired / "sft-known-seed0"
    elsewhere = tmp_path / "submissions" / f"{TRACK}@{'0' * 12}" / "sft-known-seed0"
    elsewhere.parent.mkdir()
    shutil.copytree(made, elsewhere)
    with pytest.raises(FthallError, match="which is retired"):
        submissions.validate(elsewhere)
    new = tmp_path / "submissions" / TRACK / "sft-known-seed0"
    shutil.rmtree(elsewhere)
    shutil.copytree(new, elsewhere)
    with pytest.raises(FthallError, match=r"must lie in a folder …/geonames/tiny/<slug>"):
        submissions.validate(elsewhere)


def test_labels_or_a_track_not_both(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sizes = ["--known", "3", "--unknown", "3", "--held", "6", "--held-val", "3", "--out", str(tmp_path / "out")]
    for given in ([], ["labels.parquet", "--again", TRACK]):
        assert cli.main(["release", "build", *given, *sizes]) == 2
        assert "give labels files, or --again with a track" in capsys.readouterr().err
    for more in (["--source", "own"], ["--base", "other"]):
        assert cli.main(["release", "build", "--again", TRACK, *more, *sizes]) == 2
        assert "leave out --source and --base" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
