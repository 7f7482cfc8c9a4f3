"""The rules of a pull request that hands in results: it adds the seeds of one entry, and touches nothing else."""

import re
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from fthall.errors import FthallError
from fthall.knowledge import splits
from fthall.records import Release
from fthall.submissions import odd
from fthall.submissions.card import Submission
from fthall.submissions.check import MAX_FILE_BYTES, validate
from fthall.submissions.find import agree
from fthall.submissions.pull import changes as git
from fthall.submissions.pull.changes import Change
from fthall.submissions.pull.report import MAX_FOLDERS, MAX_ODD, SCHEMA, Report, Reviewed, lines

ROOT = "submissions"
MAX_FILES = 10 * MAX_FOLDERS
SHAPE = f"{ROOT}/<source>/<base>/<entry>-seed<n>/"

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_FOLDER = re.compile(r"([a-z0-9][a-z0-9-]{0,63})-seed(0|[1-9][0-9]{0,8})")
_NAMES = "names are of A-Z, a-z, 0-9, dot, - and _"
_NEVER = (
    "a submission that is there never changes; to correct one, a maintainer removes it in a pull request of their own, "
    "then hand it in again"
)


@dataclass(frozen=True, slots=True)
class _File:
    """A new file at a place where a submission's files may be."""

    folder: str
    """``submissions/<source>/<base>/<entry>-seed<n>``."""
    name: str
    """Its path within that folder."""
    blob: str

    @property
    def track(self) -> str:
        """``<source>/<base>``."""
        return self.folder.split("/", maxsplit=1)[1].rsplit("/", maxsplit=1)[0]

    @property
    def entry(self) -> str:
        """What the folder's name says it is a seed of."""
        return self.folder.rsplit("/", maxsplit=1)[1].rsplit("-seed", maxsplit=1)[0]


def review(repository: Path, since: str, until: str, release: Release | None = None) -> Report:
    """Judge what a pull request brings: first what it touches, then, if that is in order, each submission.

    Args:
        repository: a git repository that has both commits; its working tree is not looked at.
        since: the commit before: 40 hex digits, ``HEAD``, ``HEAD^1``, or a branch's or tag's name.
        until: the commit after, e.g. the merge that would be made.
        release: check against this one; by default against the shipped one of the track, which a pull request cannot
            bring along.

    Raises:
        FthallError: no git repository, or no such commits. Whatever is wrong with the pull request is in the report.
    """
    before, after = git.commit_of(repository, since), git.commit_of(repository, until)
    earlier = git.listed(repository, before, ROOT)
    there = [change.path.decode("utf-8", "replace") for change in earlier]
    files, refused = _sort(git.changes(repository, before, after), there)
    brought = sorted({(file.track, file.entry) for file in files})
    folders = list(dict.fromkeys(file.folder for file in files))
    if len(brought) > 1:
        named = ", ".join(f"{entry} on {track}" for track, entry in brought[:5])
        refused.append(
            f"brings {len(brought)} entries ({named}); hand in one entry a pull request, all its seeds in it"
        )
    if len(folders) > MAX_FOLDERS or len(files) > MAX_FILES:
        refused.append(
            f"brings {len(files)} files in {len(folders)} folders; allowed are {MAX_FILES} in {MAX_FOLDERS} at a time"
        )
    passed: list[Reviewed] = []
    if not refused:
        found, refused = _validated(repository, files, release)
        if found:
            beside = _earlier(repository, earlier, brought[0][0], release)
            passed = [_reviewed(one, looks) for one, looks in _odd(found, beside, brought[0][0], release)]
            try:
                agree([*beside, *found])
            except FthallError as error:
                refused.append(f"{error}; seeds of an entry are made by the same people in the same way")
    track, entry = brought[0] if len(brought) == 1 else (None, None)
    return Report(
        schema=SCHEMA,
        accepted=not refused,
        track=track,
        entry=entry,
        submissions=passed,
        refused=lines(refused),
        notes=lines(_notes(brought, there)),
    )


def _sort(found: Sequence[Change], there: Sequence[str]) -> tuple[list[_File], list[str]]:
    """The new files of submissions, and a line for every path that is none."""
    if not found:
        return [], ["nothing is changed; add a folder that fthall submit wrote"]
    names: dict[str, str] = {}
    """Folders that are there, by their names in lower case: some systems cannot tell ``Sft`` from ``sft``."""
    for path in there:
        for prefix in _prefixes(path):
            names.setdefault(prefix.casefold(), prefix)
    submissions = {"/".join(path.split("/")[:4]) for path in there}
    files, refused = [], []
    for change in found:
        try:
            files.append(_new(change, names, submissions))
        except FthallError as error:
            refused.append(str(error))
        else:
            for prefix in _prefixes(change.path.decode()):
                names.setdefault(prefix.casefold(), prefix)
    alike = Counter(f"{file.folder}/{file.name}".casefold() for file in files)
    refused += [f"{path} is there twice, in upper and lower case; keep one" for path, n in alike.items() if n > 1]
    return files, refused


def _new(change: Change, names: Mapping[str, str], submissions: set[str]) -> _File:
    """What a change adds to a new submission.

    Raises:
        FthallError: it does something else; the line says what, and what is allowed.
    """
    try:
        whole = change.path.decode()
    except UnicodeDecodeError:
        raise FthallError(f"{str(change.path[:200])[1:]} is no UTF-8; {_NAMES}") from None
    parts, path = whole.split("/"), whole if len(whole) <= 200 else f"{whole[:200]}…"
    if not whole.isprintable():
        raise FthallError(f"{path!r} has characters that cannot be seen; {_NAMES}")
    if parts[0] != ROOT:
        raise FthallError(
            f"{path} is outside {ROOT}/; hand in results alone, and anything else in another pull request"
        )
    if change.status != "A":
        raise FthallError(f"{path} is {'deleted' if change.status == 'D' else 'altered'}, but {_NEVER}")
    if change.mode != git.FILE:
        kind = git.KINDS.get(change.mode, f"an entry of mode {change.mode}")
        raise FthallError(f"{path} is {kind}; submissions hold plain files only")
    if hidden := [part for part in parts if part.startswith(".")]:
        raise FthallError(f"{path}: {hidden[0]} is hidden; submissions hold what fthall submit writes, nothing else")
    if len(parts) < 5 or not all(map(_NAME.fullmatch, parts)) or not _FOLDER.fullmatch(parts[3]):
        raise FthallError(f"{path} is not in a folder {SHAPE}, where the entry is of a-z, 0-9 and -; {_NAMES}")
    file = _File("/".join(parts[:4]), "/".join(parts[4:]), change.blob)
    if file.folder in submissions:
        raise FthallError(f"{path} is added to {file.folder}, but {_NEVER}")
    for prefix in _prefixes(whole):
        if (other := names.get(prefix.casefold(), prefix)) != prefix:
            raise FthallError(f"{path}: {prefix} and {other} differ in upper and lower case alone; take the latter")
    return file


def _prefixes(path: str) -> list[str]:
    """The source's, the base's and the submission's folder of a path."""
    parts = path.split("/")
    return ["/".join(parts[:depth]) for depth in (2, 3, 4) if len(parts) > depth]


def _notes(brought: Sequence[tuple[str, str]], there: Sequence[str]) -> list[str]:
    """What is allowed and ought to be known."""
    notes = []
    for track, entry in brought:
        folder = re.compile(rf"{re.escape(f'{ROOT}/{track}/{entry}')}-seed[0-9]+(?=/)")
        if before := sorted({found[0] for path in there if (found := folder.match(path))}):
            notes.append(
                f"{entry} is on {track} already, {len(before)} times ({', '.join(before[:3])}): these are more seeds "
                "of it, so they must be made by the same people in the same way"
            )
    return notes


def _validated(repository: Path, files: Sequence[_File], release: Release | None) -> tuple[list[Submission], list[str]]:
    """Each submission, written out as plain data and checked: those that pass, and a line for each other."""
    passed, refused = [], []
    for folder in dict.fromkeys(file.folder for file in files):
        with tempfile.TemporaryDirectory(prefix="fthall-review-") as temporary:
            root = Path(temporary).resolve()
            try:
                for file in files:
                    if file.folder == folder:
                        _write(repository, file, root)
                passed.append(validate(root / folder, release))
            except FthallError as error:
                refused.append(str(error).replace(f"{root}/", ""))  # where it was unpacked is of no use to anyone
            except OSError as error:  # a folder and a file of one name, which git's objects can hold and no disk can
                refused.append(f"{folder} cannot be written out: {error.strerror}")
    return passed, refused


def _earlier(repository: Path, earlier: Sequence[Change], track: str, release: Release | None) -> list[Submission]:
    """The track's submissions that are there already; what is not valid any more is passed over."""
    place = f"{ROOT}/{track}/".encode()
    files = []
    for change in earlier:
        parts = change.path.decode("utf-8", "replace").split("/")
        if change.path.startswith(place) and len(parts) > 4:
            files.append(_File("/".join(parts[:4]), "/".join(parts[4:]), change.blob))
    return _validated(repository, files, release or (splits.load(track) if track in splits.tracks() else None))[0]


def _odd(
    found: Sequence[Submission], beside: Sequence[Submission], track: str, release: Release | None
) -> list[tuple[Submission, tuple[str, ...]]]:
    """The new submissions, each with what looks odd about it beside those of the track."""
    looks = odd.look(release or splits.load(track), [*beside, *found])
    return [(one, looks[one.slug]) for one in found]


def _reviewed(one: Submission, looks: Sequence[str]) -> Reviewed:
    return Reviewed(
        folder=f"{ROOT}/{one.card.track}/{one.slug}",
        accuracy={split: one.accuracy(split) for split in one.answers},
        evidenced=one.evidenced,
        odd=lines(list(looks), MAX_ODD),
    )


def _write(repository: Path, file: _File, root: Path) -> None:
    """Write a file's bytes as they were committed.

    Raises:
        FthallError: it is too large; it is not read then.
    """
    if (found := git.size(repository, file.blob)) > MAX_FILE_BYTES:
        raise FthallError(
            f"{file.folder}/{file.name} has {found} bytes; allowed are {MAX_FILE_BYTES}, {MAX_FILE_BYTES // 2**20} MiB"
        )
    path = root / file.folder / file.name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(git.content(repository, file.blob))
