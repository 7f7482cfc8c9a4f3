"""What differs between two commits, and the bytes of it, read from git's objects: no checkout, no filter, no hook."""

import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from fthall.errors import FthallError
from fthall.schema import shown

_REF = re.compile(r"[0-9a-f]{40}|HEAD(\^1)?|[A-Za-z0-9][A-Za-z0-9._/-]*")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_SECONDS = 120
NO_BLOB = "0" * 40
FILE = "100644"
"""The only kind of entry that a submission may hold: a plain file that is not executable."""
KINDS = {"120000": "a symbolic link", "160000": "a submodule", "100755": "an executable file"}


@dataclass(frozen=True, slots=True)
class Change:
    """One path that differs."""

    path: bytes
    """As git has it, from the repository's root; of any bytes but NUL."""
    mode: str
    """What it is afterwards, e.g. :data:`FILE`; ``000000`` if it is gone."""
    blob: str
    """Its content afterwards, 40 hex digits; :data:`NO_BLOB` if it is gone."""
    status: str
    """``A`` added, ``D`` deleted, ``M`` or ``T`` altered. A rename is a deletion and an addition."""


def commit_of(repository: Path, ref: str) -> str:
    """The commit a name stands for, as 40 hex digits.

    Raises:
        FthallError: it could be read as something else than a name (an option, a range), or names no commit.
    """
    if not _REF.fullmatch(ref) or ".." in ref:
        raise FthallError(f"{shown(ref)[:100]!r} names no commit; give 40 hex digits, HEAD, HEAD^1 or a branch")
    try:
        found = _git(repository, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{ref}^{{commit}}")
    except FthallError:
        raise FthallError(
            f"{repository} has no commit {ref!r}; give a git repository that was fetched with both commits, "
            "and their names by --since and --until"
        ) from None
    name = found.decode("ascii", "replace").strip()
    if not _COMMIT.fullmatch(name):
        raise FthallError(f"{repository}: {ref!r} is {shown(name)[:100]}, no commit of 40 hex digits")
    return name


def changes(repository: Path, since: str, until: str) -> list[Change]:
    """Every path that differs between two commits, in git's order.

    Args:
        repository: a git repository.
        since: the commit before, as :func:`commit_of` gives it.
        until: the commit after.

    Raises:
        FthallError: git cannot read them.
    """
    # A .gitmodules of the pull request could ask for its submodules to be passed over: hence the second last option.
    options = ("-r", "-z", "--raw", "--no-abbrev", "--no-renames", "--no-textconv", "--no-ext-diff")
    said = _git(repository, "diff-tree", *options, "--ignore-submodules=none", since, until, "--")
    fields = said.split(b"\0")
    found = []
    for head, path in zip(fields[:-1:2], fields[1::2], strict=True):
        _, mode, _, blob, status = head.decode("ascii").removeprefix(":").split(" ")
        found.append(Change(path, mode, blob, status))
    return found


def listed(repository: Path, commit: str, folder: str) -> list[Change]:
    """Every file under a folder at a commit, as if it were added; none where there is no folder.

    Raises:
        FthallError: git cannot read the commit.
    """
    found = []
    for line in _git(repository, "ls-tree", "-r", "-z", "--full-tree", commit, "--", folder).split(b"\0")[:-1]:
        head, path = line.split(b"\t", 1)
        mode, _, blob = head.decode("ascii").split(" ")
        found.append(Change(path, mode, blob, "A"))
    return found


def size(repository: Path, blob: str) -> int:
    """How many bytes a file has, without reading it.

    Raises:
        FthallError: git does not have it.
    """
    return int(_git(repository, "cat-file", "-s", blob))


def content(repository: Path, blob: str) -> bytes:
    """A file's bytes as they were committed.

    Raises:
        FthallError: git does not have it.
    """
    return _git(repository, "cat-file", "blob", blob)


def _git(repository: Path, *arguments: str) -> bytes:
    """What git says, without anything that could make it do something else than read.

    Raises:
        FthallError: git is not installed, does not answer in time, or fails.
    """
    # GIT_DIR and the like, set where a hook runs, would turn it to another repository; replacements, to other blobs.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    environment |= {"GIT_NO_LAZY_FETCH": "1", "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}
    command = ["git", "--no-replace-objects", "--no-pager", "--literal-pathspecs", "-C", str(repository), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, env=environment, timeout=_SECONDS, check=False)  # noqa: S603
    except FileNotFoundError:
        raise FthallError("git is not installed; install it and type the same again") from None
    except subprocess.TimeoutExpired:
        raise FthallError(f"git {arguments[0]} took more than {_SECONDS} seconds in {repository}") from None
    if done.returncode:
        why = shown(" ".join(done.stderr.decode("utf-8", "replace").split()))[:200]
        raise FthallError(f"git {arguments[0]} failed in {repository}: {why}")
    return done.stdout
