"""What earlier builds found: the same bytes with it as without, whatever was changed, and whatever became of it."""

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from builders import tiny_release, write_submission_folder
from fthall.answers import Later
from fthall.errors import FthallError
from fthall.files import write_json, write_text
from fthall.leaderboard.entries import Findings, findings
from fthall.leaderboard.site import build, cache
from fthall.leaderboard.site.cache import Cache
from fthall.measure.runs import EvaluatedRun, Ground
from fthall.records import Outcome, Release, Split
from fthall.submissions import check, read, validate
from fthall.submissions.check import Judged

ALL = {Split.KNOWN: 3, Split.UNKNOWN: 3, Split.HELD: 4, Split.HELD_VAL: 2}


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Release:
    return tiny_release(tmp_path_factory.mktemp("release"))


def write(root: Path, release: Release, entry: str, seed: int = 0, held: int = 4) -> Path:
    bound = entry == "sft-known"
    return write_submission_folder(
        root,
        release,
        f"{entry}-seed{seed}",
        entry=entry,
        seed=seed,
        trained_on=["known"] if bound else ["known", "unknown"],
        right={**ALL, Split.UNKNOWN: 0 if bound else 3, Split.HELD: held},
        trajectory=[
            {"epoch": epoch, "known": 100.0, "unknown": unknown, "held": 25.0 * held, "held_val": 100.0}
            for epoch, unknown in enumerate((0.0, 0.0 if bound else 100.0))
        ],
    )


@pytest.fixture
def root(tmp_path: Path, release: Release) -> Path:
    folder = tmp_path / "submissions"
    for seed in (0, 1):
        write(folder, release, "sft-known", seed)
        write(folder, release, "sft", seed, held=2 + seed)
    write(folder, release, "other", held=3)
    return folder


@pytest.fixture
def kept(tmp_path: Path) -> Cache:
    return cache.opened(tmp_path / "kept")


def built(root: Path, release: Release, out: Path, kept: Cache | None = None) -> dict[str, bytes]:
    build.render(root, out, release=release, cache=kept)
    return {path.name: path.read_bytes() for path in out.iterdir()}


def test_the_same_bytes_whatever_was_changed(root: Path, release: Release, kept: Cache, tmp_path: Path) -> None:
    def same() -> None:
        fresh = built(root, release, tmp_path / "fresh")
        assert built(root, release, tmp_path / "site", kept) == fresh
        assert built(root, release, tmp_path / "site", kept) == fresh

    same()
    write(root, release, "new", held=1)
    same()
    write(root, release, "sft", 2, held=1)  # of an entry that is there
    same()
    shutil.rmtree(write(root, release, "sft", 1))  # and away again
    same()
    shutil.rmtree(root / release.track / "sft-known-seed0")  # what all others are compared with
    same()
    write(root, release, "other", held=1)  # another one of the same name
    same()


def test_nothing_is_checked_or_counted_twice(
    root: Path, release: Release, kept: Cache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = built(root, release, tmp_path / "site", kept)
    new = write(root, release, "new", held=1)
    checked: list[str] = []

    def seen(folder: Path, against: Release, *, judged: Judged) -> object:
        checked.append(folder.name)
        return validate(folder, against, judged=judged)

    def looked(found: Sequence[EvaluatedRun], reference: Sequence[EvaluatedRun], on: Ground) -> Findings:
        checked.append(found[0].entry)
        return findings(found, reference, on)

    monkeypatch.setattr(cache, "validate", seen)
    monkeypatch.setattr(build, "findings", looked)
    assert built(root, release, tmp_path / "site", kept).keys() > first.keys()
    assert checked == ["new-seed0", "new"]
    shutil.rmtree(new)
    monkeypatch.setattr(Later, "__getitem__", lambda _, split: pytest.fail(f"the answers of {split} were made"))
    assert built(root, release, tmp_path / "site", kept) == first
    assert checked == ["new-seed0", "new"]


def test_a_submission_that_was_altered_is_checked_again(
    root: Path, release: Release, kept: Cache, tmp_path: Path
) -> None:
    built(root, release, tmp_path / "site", kept)
    path = root / release.track / "sft-seed0" / "samples" / "held.jsonl"
    honest = path.read_text()
    write_text(path, honest.replace("Atlantis", release.splits[Split.HELD][2].answers[0], 1))
    with pytest.raises(FthallError, match=r"held claims 2 correct .* give 3 correct"):
        built(root, release, tmp_path / "site", kept)
    write_text(path, honest)
    moved = root / release.track / "sft-seed7"
    shutil.copytree(root / release.track / "sft-seed1", moved)  # the same bytes elsewhere
    with pytest.raises(FthallError, match="must be sft-seed1"):
        built(root, release, tmp_path / "site", kept)


@pytest.mark.parametrize("damage", ["cut", "altered", "exchanged", "empty", "text", "folder"])
def test_what_is_broken_is_made_anew(root: Path, release: Release, kept: Cache, tmp_path: Path, damage: str) -> None:
    fresh = built(root, release, tmp_path / "site", kept)
    files = sorted(kept.folder.iterdir())
    assert {path.name.split("-")[0] for path in files} >= {"submission", "findings", "files", "odd", "docs"}
    contents = [path.read_bytes() for path in files]
    for path, content, another in zip(files, contents, [*contents[1:], contents[0]], strict=True):
        path.unlink()
        if damage == "folder":
            path.mkdir()
            continue
        at = len(content) // 2
        altered = content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]
        written = {"cut": content[:at], "altered": altered, "exchanged": another, "empty": b"", "text": b"x\ny"}
        path.write_bytes(written[damage])
    assert built(root, release, tmp_path / "site", kept) == fresh
    if damage != "folder":  # and what was made is kept
        assert [path.read_bytes() for path in files] == contents


def test_whole_but_of_no_use(root: Path, release: Release, kept: Cache, tmp_path: Path) -> None:
    """Somebody wrote it who knows how it is sealed."""
    fresh = built(root, release, tmp_path / "site", kept)
    for path in kept.folder.iterdir():
        if path.name.startswith(("submission", "findings")):
            for content in (b"", b"[]", b"{}", b"\xff", b'{"card": 1}\n{}'):
                path.write_bytes(cache._seal(path.name, content) + b"\n" + content)
                assert built(root, release, tmp_path / "site", kept) == fresh


def test_another_fthall_finds_nothing(
    root: Path, release: Release, kept: Cache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    built(root, release, tmp_path / "site", kept)
    assert cache.opened(kept.folder) == kept
    monkeypatch.setattr(cache, "_version", lambda package: "another")
    other = cache.opened(kept.folder)
    assert other.made_by != kept.made_by
    count = len(list(kept.folder.iterdir()))
    built(root, release, tmp_path / "site", other)
    assert len(list(kept.folder.iterdir())) == 2 * count


def test_what_was_verified_shows_at_once(
    root: Path, release: Release, kept: Cache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "verified_dir", lambda: tmp_path / "verified")
    monkeypatch.setattr("fthall.submissions.tiers.verified_dir", lambda: tmp_path / "verified")
    before = built(root, release, tmp_path / "site", kept)
    one = validate(root / release.track / "sft-seed0", release)
    asked = {"items": 4, "asked": 4, "flips": ["tiny/h1"], "false_at_most": 0.5, "p": 0.01}
    found = {
        **{"schema": 1, "submission": one.digest, "tier": "refuted", "seed": "a beacon", "asked": {"held": asked}},
        **{"flip_rate": 0.01, "weights_sha256": "ab" * 32, "hardware": "a laptop", "versions": {"fthall": "0.1.0"}},
        "on": "2026-02-03",
    }
    write_json(tmp_path / "verified" / release.track / "sft-seed0.json", found)
    after = built(root, release, tmp_path / "site", kept)
    assert after == built(root, release, tmp_path / "fresh")
    name = f"{release.track.replace('/', '-')}--sft.html"
    tag = b'<span class="tag refuted">'
    assert tag in after[name]
    assert tag not in before[name]


def test_a_banner_is_on_every_page(root: Path, release: Release, kept: Cache, tmp_path: Path) -> None:
    built(root, release, tmp_path / "site", kept)
    build.render(root, tmp_path / "site", release=release, note="A banner.", cache=kept)
    pages = list((tmp_path / "site").glob("*.html"))
    assert len(pages) > 5
    assert all("A banner." in path.read_text() for path in pages)


def test_without_a_place_to_keep_it(root: Path, release: Release, tmp_path: Path) -> None:
    write_text(tmp_path / "file", "no folder")
    nowhere = cache.opened(tmp_path / "file" / "below")
    assert built(root, release, tmp_path / "site", nowhere) == built(root, release, tmp_path / "fresh")


def test_what_is_unused_for_longest_goes_first(kept: Cache) -> None:
    for number in range(4):
        kept.kept("part", [str(number)], lambda: b"x" * 1000)
    first = kept.kept("part", ["0"], lambda: pytest.fail("it was there"))
    assert first == b"x" * 1000
    kept.prune(limit=2 * 1100)
    assert len(list(kept.folder.iterdir())) == 2
    kept.kept("part", ["0"], lambda: pytest.fail("the latest used went"))
    kept.kept("part", ["3"], lambda: pytest.fail("the latest made went"))
    replace(kept, folder=kept.folder / "none").prune()


def test_kept_answers_are_made_when_asked_for(root: Path, release: Release, kept: Cache) -> None:
    folder = root / release.track / "sft-seed0"
    first = kept.submission(folder, release, {})
    again = kept.submission(folder, release, {})
    assert isinstance(again.answers, Later)
    assert dict(again.answers) == dict(first.answers) == dict(validate(folder, release).answers)
    assert again.answers.outcomes[Split.HELD] == "ccww"
    assert [row.outcome for row in again.answers[Split.HELD]] == [Outcome.CORRECT] * 2 + [Outcome.WRONG] * 2
    assert len(again.answers) == len(Split)
    assert again.model_dump(exclude={"answers"}) == first.model_dump(exclude={"answers"})
    assert read(root, release, kept.submission)[0][0] == release
    assert check.digest_of(folder) == again.digest
