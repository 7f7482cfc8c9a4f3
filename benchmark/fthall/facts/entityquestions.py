"""EntityQuestions (Sciavolino et al. 2021, arXiv 2109.08535, MIT): the paper's facts, fetched by the user, not shipped.

What ships is ``entityquestions.json``: the commit, the sha256 of every train and dev file, and the question template of
each of the 24 relations, from which subjects are recovered. The files are found in ``$FTHALL_ENTITYQUESTIONS`` or, once
:func:`fetch` has been run, in the cache; either way every file is checked before it is believed.
"""

import hashlib
import json
import os
import shutil
import tarfile
import tempfile
import urllib.request
import zipfile
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from fthall.errors import FthallError
from fthall.facts.source import Source, identifier
from fthall.paths import cache_dir
from fthall.records import Fact

FOLDER_VARIABLE = "FTHALL_ENTITYQUESTIONS"
_PINNED: Mapping[str, Any] = json.loads(Path(__file__).with_suffix(".json").read_text(encoding="utf-8"))
COMMIT: str = _PINNED["commit"]
TEMPLATES: Mapping[str, str] = _PINNED["templates"]
"""Relation: question, with ``[X]`` for the subject."""
SHA256: Mapping[str, str] = _PINNED["sha256"]
"""File, relative to the dataset's root: its sha256."""
URL = f"https://codeload.github.com/princeton-nlp/EntityQuestions/tar.gz/{COMMIT}"
ABOUT = Source(
    license="MIT",
    attribution="EntityQuestions, Sciavolino et al. 2021, arXiv 2109.08535",
    url="https://github.com/princeton-nlp/EntityQuestions",
    commit=COMMIT,
    shipped=False,
)
_HOW = (
    f"type: fthall fetch entityquestions, or set {FOLDER_VARIABLE} to a folder with dataset/train and dataset/dev in it"
)


@dataclass(frozen=True, slots=True)
class Removed:
    """What the rules of :func:`read` took out of one relation."""

    repeated: int = 0
    """Copies of a question with the same answers: one is kept."""
    ambiguous: int = 0
    """Questions, all copies of them, whose copies have other answers: a name that two subjects share is no fact."""
    overlapping: int = 0
    """Questions in both train and dev: they stay in dev alone."""
    several_answers: int = 0
    """Questions with more than one answer, if these are dropped."""


@dataclass(frozen=True, slots=True)
class Questions:
    """The facts, and what was taken out."""

    facts: list[Fact] = field(default_factory=list)
    removed: dict[str, Removed] = field(default_factory=dict)


def folder() -> Path:
    """Where the files are.

    Raises:
        FthallError: nowhere yet.
    """
    if given := os.environ.get(FOLDER_VARIABLE):
        found = Path(given)
        if not (found / "dataset").is_dir():
            raise FthallError(f"{FOLDER_VARIABLE} is {given}, which has no folder dataset; {_HOW}")
        return found
    found = _cached()
    if not found.is_dir():
        raise FthallError(f"EntityQuestions is not here; {_HOW}")
    return found


def load(relations: Collection[str] | None = None) -> list[Fact]:
    """All facts, or those of some relations: relations in order of number, train before dev, in the files' order.

    Raises:
        FthallError: files missing, altered or unreadable.
    """
    return read(folder(), relations=relations).facts


def read(root: Path, *, drop_several: bool = False, relations: Collection[str] | None = None) -> Questions:
    """Read, check and clean the files.

    Args:
        root: folder with ``dataset/train/P17.train.json`` and the like.
        drop_several: leave out questions with several answers (Gekhman et al. 2024 do).
        relations: only these, if given.

    Raises:
        FthallError: a file is missing or altered, or a question does not follow its relation's template.
    """
    questions = Questions()
    for relation in TEMPLATES:
        if relations is not None and relation not in relations:
            continue
        rows = {origin: _rows(root, relation, origin) for origin in ("train", "dev")}
        kept, removed = _clean(relation, rows, drop_several)
        questions.facts.extend(kept)
        questions.removed[relation] = removed
    return questions


def _rows(root: Path, relation: str, origin: str) -> list[tuple[str, tuple[str, ...]]]:
    """(question, answers) of one file."""
    name = f"dataset/{origin}/{relation}.{origin}.json"
    try:
        content = (root / name).read_bytes()
    except OSError:
        raise FthallError(f"{root / name} is missing; {_HOW}") from None
    if hashlib.sha256(content).hexdigest() != SHA256[name]:
        raise FthallError(f"{root / name} is not the published file (its sha256 must be {SHA256[name]}); {_HOW}")
    return [(row["question"], tuple(row["answers"])) for row in json.loads(content)]


def _clean(
    relation: str, rows: Mapping[str, list[tuple[str, tuple[str, ...]]]], drop_several: bool
) -> tuple[list[Fact], Removed]:
    """The facts of one relation, each question once, and what was taken out."""
    before, after = TEMPLATES[relation].split("[X]")
    answers: dict[str, set[tuple[str, ...]]] = {}
    for question, given in (row for found in rows.values() for row in found):
        answers.setdefault(question, set()).add(given)
    in_dev = {question for question, _ in rows["dev"]}
    counts: Counter[str] = Counter()
    facts: dict[str, Fact] = {}
    for origin, found in rows.items():
        for question, given in found:
            if not (question.startswith(before) and question.endswith(after)):
                raise FthallError(f"{relation}: the question {question!r} does not follow {TEMPLATES[relation]!r}")
            if len(answers[question]) > 1:
                counts["ambiguous"] += 1
            elif origin == "train" and question in in_dev:
                counts["overlapping"] += 1
            elif question in facts:
                counts["repeated"] += 1
            elif drop_several and len(given) > 1:
                counts["several_answers"] += 1
            else:
                subject = question[len(before) : len(question) - len(after)]
                facts[question] = Fact(
                    identifier("entityquestions", relation, question), relation, subject, question, given, origin
                )
    return list(facts.values()), Removed(**counts)


def _cached() -> Path:
    return cache_dir() / f"entityquestions-{COMMIT[:12]}"


def fetch(archive: Path | str | None = None) -> Path:
    """Put the files into the cache, checked, whole or not at all; return their folder.

    Args:
        archive: a .tar.gz or .zip of the repository or of its dataset folder, instead of downloading one.

    Raises:
        FthallError: no network, no such archive, or a file in it is missing or altered.
    """
    target = _cached()
    if target.is_dir():
        return target
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".entityquestions.", dir=target.parent) as temporary:
            packed = Path(archive) if archive else Path(temporary) / "archive.tar.gz"
            if not archive:
                with urllib.request.urlopen(URL, timeout=60) as found, packed.open("wb") as out:
                    shutil.copyfileobj(found, out)
            unpacked = Path(temporary) / "files"
            for name, content in _members(packed):
                if hashlib.sha256(content).hexdigest() != SHA256[name]:
                    raise FthallError(f"{packed}: {name} is not the published file of commit {COMMIT[:12]}")
                (unpacked / name).parent.mkdir(parents=True, exist_ok=True)
                (unpacked / name).write_bytes(content)
            if missing := [name for name in SHA256 if not (unpacked / name).is_file()]:
                raise FthallError(f"{packed} lacks {missing[0]} and {len(missing) - 1} more files of EntityQuestions")
            unpacked.replace(target)
    except (OSError, EOFError, tarfile.TarError, zipfile.BadZipFile) as error:
        raise FthallError(f"cannot fetch EntityQuestions from {archive or URL}: {error}; {_HOW}") from None
    return target


def _members(packed: Path) -> Iterator[tuple[str, bytes]]:
    """The pinned files in an archive, under whatever folder they lie; nothing else is read."""
    if zipfile.is_zipfile(packed):
        with zipfile.ZipFile(packed) as zipped:
            names = zipped.namelist()
            yield from _wanted(names, zipped.read)
        return
    with tarfile.open(packed) as tar:
        files = {member.name: member for member in tar.getmembers() if member.isfile()}

        def content(name: str) -> bytes:
            found = tar.extractfile(files[name])
            return found.read() if found else b""

        yield from _wanted(list(files), content)


def _wanted(names: list[str], content: Any) -> Iterator[tuple[str, bytes]]:
    for name in names:
        parts = PurePosixPath(name).parts
        pinned = next((p for p in ("/".join(parts[-3:]), "/".join(("dataset", *parts[-2:]))) if p in SHA256), None)
        if pinned:
            yield pinned, content(name)
