"""The door for strangers: a pull request that adds one entry passes; whatever else it does is refused in one line.

The pull requests are real commits, made by git's plumbing: what no checkout would write can be handed in all the same.
"""

import hashlib
import json
import os
import re
import shutil
import subprocess
import zlib
from pathlib import Path
from typing import Any

import pytest

from builders import TRACK, tiny_release, write_submission_folder
from fthall import cli
from fthall.errors import FthallError
from fthall.records import Release, Split
from fthall.submissions import pull
from fthall.submissions.check import MAX_FILE_BYTES
from fthall.submissions.pull.report import MAX_FOLDERS, MAX_LINE

RIGHT = {Split.KNOWN: 3, Split.UNKNOWN: 1, Split.HELD: 2, Split.HELD_VAL: 1}
FILE, LINK, SUBMODULE, EXECUTABLE = "100644", "120000", "160000", "100755"
PLACE = f"submissions/{TRACK}"
NEW = f"{PLACE}/sft-seed0"
THERE = f"{PLACE}/old-seed0"
Files = dict[str | bytes, bytes]


class Repository:
    """A git repository without a working tree: its commits are made of bytes and modes."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def git(self, *arguments: str, said: bytes = b"") -> str:
        identity = ("-c", "user.name=Ada", "-c", "user.email=ada@example.org", "-c", "commit.gpgSign=false")
        environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
        environment |= {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
        command = ["git", *identity, *arguments]
        done = subprocess.run(command, input=said, capture_output=True, check=True, cwd=self.path, env=environment)
        return done.stdout.decode().strip()

    def blob(self, content: bytes) -> str:
        """Store a file's bytes, as git does; a process for each would take most of the tests' time."""
        whole = b"blob %d\0" % len(content) + content
        name = hashlib.sha1(whole).hexdigest()
        path = self.path / "objects" / name[:2] / name[2:]
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(zlib.compress(whole, 1))
        return name

    def stage(self, entries: dict[str | bytes, str], mode: str = FILE) -> None:
        named = {os.fsencode(path): sha for path, sha in entries.items()}
        said = b"".join(f"{mode} {sha}\t".encode() + path + b"\0" for path, sha in named.items())
        self.git("update-index", "-z", "--index-info", said=said)

    def add(self, files: Files, mode: str = FILE) -> None:
        self.stage({path: self.blob(content) for path, content in files.items()}, mode)

    def remove(self, files: Files) -> None:
        self.stage(dict.fromkeys(files, "0" * 40), "0")

    def commit(self, tree: str | None = None) -> str:
        parents = [
            part
            for sha in self.git("for-each-ref", "--format=%(objectname)", "refs/heads").split()
            for part in ("-p", sha)
        ]
        sha = self.git("commit-tree", tree or self.git("write-tree"), *parents, said=b"x")
        self.git("update-ref", self.git("symbolic-ref", "HEAD"), sha)
        return sha

    def review(self, release: Release | None = None) -> pull.Report:
        """Commit what is staged, and review it."""
        self.commit()
        return pull.review(self.path, "HEAD^1", "HEAD", release)


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Release:
    return tiny_release(tmp_path_factory.mktemp("release"))


def files_of(root: Path, release: Release, entry: str = "sft", seed: int = 0, **options: Any) -> Files:
    """A valid submission as paths from the repository's root and bytes."""
    defaults = {"card": {"versions": {"fthall": "0.1.0", "lm_eval": "0.4.13"}}, "right": RIGHT}
    folder = write_submission_folder(
        root / "submissions",
        release,
        slug=f"{entry}-seed{seed}",
        entry=entry,
        seed=seed,
        trained_on=["known", "unknown"],
        **{**defaults, **options},
    )
    return {file.relative_to(root).as_posix(): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory, release: Release) -> Files:
    return files_of(tmp_path_factory.mktemp("good"), release)


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory, release: Release) -> Files:
    return files_of(tmp_path_factory.mktemp("old"), release, "old")


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory, old: Files) -> Path:
    made = Repository(tmp_path_factory.mktemp("begun"))
    made.git("init", "--quiet", "--bare", "--template=")
    made.add({**old, "README.md": b"# x\n", ".github/workflows/ci.yml": b"on: push\n"})
    made.commit()
    return made.path


@pytest.fixture
def repository(tmp_path: Path, begun: Path) -> Repository:
    """Some code and a submission that is there."""
    return Repository(shutil.copytree(begun, tmp_path / "repository"))


def refusals(repository: Repository, release: Release | None) -> list[str]:
    """The reasons a pull request is refused for."""
    report = repository.review(release)
    assert not report.accepted
    assert report.refused
    for line in report.refused:
        assert line.isprintable()
        assert len(line) <= MAX_LINE
    return report.refused


def refusal(repository: Repository, release: Release | None) -> str:
    """The one reason."""
    (line,) = refusals(repository, release)
    return line


def test_a_good_one(repository: Repository, release: Release, good: Files) -> None:
    repository.add(good)
    report = repository.review(release)
    assert (report.accepted, report.track, report.entry, report.refused) == (True, TRACK, "sft", [])
    (one,) = report.submissions
    assert one.folder == NEW
    assert one.accuracy == {
        Split.KNOWN: 100,
        Split.UNKNOWN: pytest.approx(100 / 3),
        Split.HELD: 50,
        Split.HELD_VAL: 50,
    }
    assert (one.evidenced, report.notes) == (False, [])


def test_seeds_of_an_entry_that_is_there_are_noted(repository: Repository, release: Release, tmp_path: Path) -> None:
    for seed in (1, 2):
        repository.add(files_of(tmp_path, release, "old", seed))
    report = repository.review(release)
    assert report.accepted
    assert [one.folder for one in report.submissions] == [f"{PLACE}/old-seed1", f"{PLACE}/old-seed2"]
    (note,) = report.notes
    assert f"old is on {TRACK} already, 1 times ({THERE})" in note


def test_only_what_ships_is_checked_against(repository: Repository, good: Files) -> None:
    repository.add(good)
    assert f"{NEW}: unknown track '{TRACK}'" in refusal(repository, None)


# What it touches


def test_nothing(repository: Repository, release: Release) -> None:
    assert "nothing is changed" in refusal(repository, release)


@pytest.mark.parametrize(
    "path", [".github/workflows/ci.yml", "README.md", "new.py", ".gitmodules", "Submissions/geonames/tiny/a-seed0/x"]
)
def test_outside(repository: Repository, release: Release, good: Files, path: str) -> None:
    repository.add({**good, path: b"changed\n"})
    assert refusal(repository, release).startswith(f"{path} is outside submissions/")


def test_an_existing_one_altered(repository: Repository, release: Release) -> None:
    repository.add({f"{THERE}/results.json": b"{}"})
    assert f"{THERE}/results.json is altered, but a submission that is there never changes" in refusal(
        repository, release
    )


def test_an_existing_one_deleted(repository: Repository, release: Release, good: Files, old: Files) -> None:
    repository.add(good)
    repository.remove(old)
    found = refusals(repository, release)
    assert len(found) == len(old)
    assert all("is deleted, but a submission that is there never changes" in line for line in found)
    assert all(
        "a maintainer removes it in a pull request of their own, then hand it in again" in line for line in found
    )


def test_an_existing_one_renamed(repository: Repository, release: Release, old: Files) -> None:
    repository.remove(old)
    repository.add({str(path).replace("old-seed0", "new-seed0"): content for path, content in old.items()})
    assert any(f"{THERE}/submission.yaml is deleted" in line for line in refusals(repository, release))


def test_an_existing_one_added_to(repository: Repository, release: Release) -> None:
    repository.add({f"{THERE}/outcomes.jsonl": b""})
    assert f"outcomes.jsonl is added to {THERE}, but a submission that is there never" in refusal(repository, release)


def test_an_existing_file_becomes_a_link(repository: Repository, release: Release) -> None:
    repository.add({f"{THERE}/results.json": b"/etc/passwd"}, LINK)
    assert "is altered, but" in refusal(repository, release)


def test_a_symbolic_link(repository: Repository, release: Release, good: Files) -> None:
    repository.add({**good, f"{NEW}/results.json": b"../../../../../../etc/passwd"})
    repository.add({f"{NEW}/results.json": b"../../../../../../etc/passwd"}, LINK)
    assert f"{NEW}/results.json is a symbolic link; submissions hold plain files only" in refusal(repository, release)


def test_a_link_instead_of_the_folder(repository: Repository, release: Release) -> None:
    repository.add({NEW: THERE.encode()}, LINK)
    assert f"{NEW} is a symbolic link" in refusal(repository, release)


def test_a_submodule(repository: Repository, release: Release, good: Files) -> None:
    repository.add(good)
    repository.stage({f"{PLACE}/more-seed0": "1" * 40}, SUBMODULE)
    assert f"{PLACE}/more-seed0 is a submodule" in refusal(repository, release)


def test_a_submodule_that_asks_to_be_passed_over(
    repository: Repository, release: Release, good: Files, tmp_path: Path
) -> None:
    path = f"{PLACE}/more-seed0"
    modules = f'[submodule "x"]\n\tpath = {path}\n\turl = https://example.org/x\n\tignore = all\n'
    repository.add({**good, ".gitmodules": modules.encode()})
    repository.stage({path: "1" * 40}, SUBMODULE)
    repository.commit()
    # Where the pull request is checked out, git would ask its .gitmodules.
    work = Repository(tmp_path / "work")
    shutil.copytree(repository.path, work.path / ".git")
    work.git("config", "core.bare", "false")
    (work.path / ".gitmodules").write_text(modules)
    report = pull.review(work.path, "HEAD^1", "HEAD", release)
    assert any(f"{path} is a submodule" in line for line in report.refused)


def test_an_executable(repository: Repository, release: Release, good: Files) -> None:
    repository.add(good)
    repository.add({f"{NEW}/results.json": good[f"{NEW}/results.json"]}, EXECUTABLE)
    assert f"{NEW}/results.json is an executable file" in refusal(repository, release)


def test_two_entries(repository: Repository, release: Release, good: Files, tmp_path: Path) -> None:
    repository.add({**good, **files_of(tmp_path, release, "other")})
    assert f"brings 2 entries (other on {TRACK}, sft on {TRACK})" in refusal(repository, release)


def test_one_entry_on_two_tracks(repository: Repository, release: Release, good: Files) -> None:
    repository.add({**good, **{str(path).replace("/tiny/", "/other/"): content for path, content in good.items()}})
    assert f"brings 2 entries (sft on geonames/other, sft on {TRACK})" in refusal(repository, release)


@pytest.mark.parametrize(
    "path",
    [
        "submissions/x",
        "submissions/geonames/x",
        f"{PLACE}/x",
        f"{PLACE}/x-seed0",
        f"{PLACE}/sft/submission.yaml",
        f"{PLACE}/sft-seed/submission.yaml",
        f"{PLACE}/sft-seed00/submission.yaml",
        f"{PLACE}/sft-seed-1/submission.yaml",
        f"{PLACE}/Sft-seed0/submission.yaml",
        f"{PLACE}/-seed0/submission.yaml",
        f"{PLACE}/--output=x-seed0/submission.yaml",
        f"{PLACE}/{'x' * 65}-seed0/submission.yaml",
        f"{PLACE}@0123456789ab/sft-seed0/submission.yaml",
        f"{NEW}/a b",
        f"{NEW}/a\\b",
        f"{NEW}/é",
        f"{NEW}/samples/{'x' * 101}",
        f"{NEW}/{'/'.join(['x' * 99] * 20)} ",
    ],
)
def test_wrong_place(repository: Repository, release: Release, path: str) -> None:
    repository.add({path: b"x"})
    assert "is not in a folder submissions/<source>/<base>/<entry>-seed<n>/" in refusal(repository, release)


@pytest.mark.parametrize("path", [f"{NEW}/.gitattributes", "submissions/.gitattributes", f"{PLACE}/.x-seed0/a"])
def test_hidden(repository: Repository, release: Release, good: Files, path: str) -> None:
    repository.add({**good, path: b"* filter=evil\n"})
    assert re.search(r": \.\S+ is hidden", refusal(repository, release))


def test_a_path_that_climbs_out(repository: Repository, release: Release) -> None:
    tree = repository.git("mktree", said=f"100644 blob {repository.blob(b'x')}\tsubmission.yaml\n".encode())
    for name in ("..", "sft-seed0", "..", "geonames", "submissions"):
        tree = repository.git("mktree", said=f"040000 tree {tree}\t{name}\n".encode())
    repository.commit(tree)
    report = pull.review(repository.path, "HEAD^1", "HEAD", release)
    path = "submissions/geonames/../sft-seed0/../submission.yaml"
    assert f"{path}: .. is hidden" in "\n".join(report.refused)


def test_a_file_and_a_folder_of_one_name(repository: Repository, release: Release) -> None:
    blob = repository.blob(b"x")
    inner = repository.git("mktree", said=f"100644 blob {blob}\tknown.jsonl\n".encode())
    tree = repository.git("mktree", said=f"100644 blob {blob}\tsamples\n040000 tree {inner}\tsamples\n".encode())
    for name in ("sft-seed0", "tiny", "geonames", "submissions"):
        tree = repository.git("mktree", said=f"040000 tree {tree}\t{name}\n".encode())
    since = repository.commit(repository.git("mktree"))
    repository.commit(tree)
    (line,) = pull.review(repository.path, since, "HEAD", release).refused
    assert f"{NEW} cannot be written out" in line


@pytest.mark.parametrize("name", ["a\nb", "a\x1b[2Jb", "a\u202eb", "a\u200bb", "a\u2028b", "\ufeff", "a\tb"])
def test_a_name_that_cannot_be_seen(repository: Repository, release: Release, name: str) -> None:
    repository.add({f"{NEW}/{name}": b"x"})
    assert "has characters that cannot be seen" in refusal(repository, release)


@pytest.mark.parametrize("name", [b"\xff", b"a\xc3", b"\xed\xa0\x80"])
def test_a_name_that_is_no_utf8(repository: Repository, release: Release, name: bytes) -> None:
    repository.add({f"{NEW}/".encode() + name: b"x"})
    assert "is no UTF-8; names are of" in refusal(repository, release)


@pytest.mark.parametrize(("theirs", "ours"), [("Geonames/tiny", "geonames"), ("geonames/Tiny", TRACK)])
def test_upper_case(repository: Repository, release: Release, theirs: str, ours: str) -> None:
    repository.add({f"submissions/{theirs}/sft-seed0/submission.yaml": b"x"})
    found = (
        f"submissions/{'Geonames' if ours == 'geonames' else theirs} and submissions/{ours} differ in upper and lower"
    )
    assert found in refusal(repository, release)


def test_upper_and_lower_case_within(repository: Repository, release: Release, good: Files) -> None:
    repository.add({**good, f"{NEW}/samples/Held.jsonl": b"x"})
    assert f"{NEW}/samples/held.jsonl is there twice, in upper and lower case" in refusal(repository, release)


def test_too_many_files_and_folders(repository: Repository, release: Release) -> None:
    repository.add({f"{PLACE}/sft-seed{seed}/submission.yaml": b"x" for seed in range(MAX_FOLDERS + 1)})
    assert f"allowed are 200 in {MAX_FOLDERS} at a time" in refusal(repository, release)


def test_very_much_that_is_wrong_is_told_in_brief(repository: Repository, release: Release) -> None:
    repository.add({f"file{n}": b"x" for n in range(30)})
    found = refusals(repository, release)
    assert (len(found), found[-1]) == (20, "and 11 more")


# What is in it


def test_a_blob_that_is_too_large_is_not_read(
    repository: Repository, release: Release, good: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository.add({**good, f"{NEW}/results.json": b" " * (MAX_FILE_BYTES + 1)})
    read: list[str] = []
    content = pull.changes.content
    monkeypatch.setattr(pull.changes, "content", lambda place, blob: read.append(blob) or content(place, blob))
    assert f"{NEW}/results.json has {MAX_FILE_BYTES + 1} bytes" in refusal(repository, release)
    assert repository.blob(b" " * (MAX_FILE_BYTES + 1)) not in read


@pytest.mark.parametrize("name", ["setup.py", "model.pkl", "samples/more.jsonl", "samples/more/x"])
def test_a_file_that_is_not_expected(repository: Repository, release: Release, good: Files, name: str) -> None:
    repository.add({**good, f"{NEW}/{name}": b"x"})
    line = refusal(repository, release)
    assert re.match(rf"unexpected (file|folder) {NEW}/{name.removesuffix('/x')}; allowed: ", line)


def test_counts_that_the_answers_do_not_give(repository: Repository, release: Release, good: Files) -> None:
    claimed = json.loads(good[f"{NEW}/results.json"])
    claimed["counts"]["held"] = {"correct": 4, "wrong": 0, "abstained": 0}
    repository.add({**good, f"{NEW}/results.json": json.dumps(claimed).encode()})
    assert f"{NEW}/results.json: held claims 4 correct" in refusal(repository, release)


def test_bytes_arrive_as_they_were_committed(repository: Repository, release: Release, good: Files) -> None:
    attributes = b"* text eol=crlf ident filter=evil\n"
    (repository.path / "info").mkdir(exist_ok=True)
    (repository.path / "info" / "attributes").write_bytes(attributes)
    repository.git("config", "filter.evil.smudge", "touch pwned; cat")
    repository.add(good)
    assert repository.review(release).accepted
    assert not list(repository.path.rglob("pwned"))


def test_one_bad_seed_refuses_all(repository: Repository, release: Release, good: Files, tmp_path: Path) -> None:
    bad = files_of(tmp_path, release, seed=1)
    bad[f"{PLACE}/sft-seed1/results.json"] = b"{}"
    repository.add({**good, **bad})
    report = repository.review(release)
    assert (report.accepted, [one.folder for one in report.submissions]) == (False, [NEW])
    assert report.refused[0].startswith(f"{PLACE}/sft-seed1/results.json: ")


# How it is asked


@pytest.mark.parametrize(
    "ref",
    [
        "--output=x",
        "-O",
        "main..main",
        "main..",
        "HEAD..HEAD^1",
        "HEAD^2",
        "HEAD^{tree}",
        "HEAD:x",
        "a b",
        "a;b",
        "$(touch x)",
        "",
        "@{-1}",
        "HEAD\n",
    ],
)
@pytest.mark.parametrize("which", ["since", "until"])
def test_a_ref_that_is_more_than_a_name(repository: Repository, tmp_path: Path, ref: str, which: str) -> None:
    with pytest.raises(FthallError, match="names no commit; give 40 hex digits") as caught:
        pull.review(repository.path, **{"since": "HEAD", "until": "HEAD", which: ref})
    assert str(caught.value).isprintable()
    assert not list(tmp_path.rglob("x"))


@pytest.mark.parametrize("ref", ["nowhere", "0" * 40, "HEAD^1"])
def test_a_commit_that_is_not_there(repository: Repository, ref: str) -> None:
    with pytest.raises(FthallError, match="has no commit"):
        pull.review(repository.path, ref, "HEAD")


def test_no_repository(tmp_path: Path) -> None:
    with pytest.raises(FthallError, match="has no commit 'HEAD'; give a git repository"):
        pull.review(tmp_path, "HEAD", "HEAD")


def test_variables_do_not_turn_git_to_another_repository(
    repository: Repository, release: Release, good: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository.add(good)
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "other"))
    assert repository.review(release).accepted


def test_replaced_objects_are_not_taken(repository: Repository, release: Release, good: Files) -> None:
    repository.add(good)
    name = f"{NEW}/results.json"
    repository.git("replace", repository.blob(good[name]), repository.blob(b"{}"))
    repository.commit()
    assert pull.review(repository.path, "HEAD^1", "HEAD", release).accepted


# The command


def test_the_command(
    repository: Repository, release: Release, good: Files, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = tiny_release(tmp_path / "again") and tmp_path / "again" / "release"
    repository.add(good)
    repository.commit()
    out = tmp_path / "report.json"
    asked = ["review", str(repository.path), "--release", str(place), "--out", str(out)]
    assert cli.main(asked) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"{NEW}: valid (known 100.0, unknown 33.3, held 50.0, held_val 50.0)",
        f"accepted: sft on {TRACK}, 1 new",
    ]
    assert pull.read_report(out).accepted

    repository.add({"a": b"x", "b": b"x"})
    repository.commit()
    assert cli.main(asked) == 2
    said = capsys.readouterr()
    assert [line[:28] for line in said.out.splitlines()] == [
        "refused: a is outside submis",
        "refused: b is outside submis",
    ]
    assert said.err.startswith("fthall: refused: a is outside submissions/;")
    assert said.err.endswith("(and 1 more)\n")
    assert not pull.read_report(out).accepted

    assert cli.main(["review", "--comment", str(out)]) == 0
    assert capsys.readouterr().out == pull.comment(pull.read_report(out))
