"""What one build of the site found, kept for the next: a build after one more submission is one of what that changed.

Everything lies under a hash of all that it hangs on: the bytes of submissions, of releases, of fthall itself with its
templates, and what computes. So nothing is ever out of date; it is only not found. What is kept are texts and numbers,
never code or pickles, and it is believed only if it is whole: each file begins with a hash of what follows.
"""

import hashlib
import importlib.metadata
import json
import os
import platform
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydantic import TypeAdapter

from fthall.answers import Later, outcomes_of
from fthall.errors import FthallError
from fthall.files import atomic
from fthall.leaderboard.entries import Findings
from fthall.paths import data_dir
from fthall.records import Answer, Outcome, Release, Split
from fthall.submissions import Submission, validate
from fthall.submissions.card import Card, Results
from fthall.submissions.check import Judged, digest_of
from fthall.submissions.tiers import verified_dir

LIMIT = 512 * 2**20
"""Bytes that are kept, at most: those longest unused go first."""
_COMPUTES = ("jinja2", "markupsafe", "numpy", "pyarrow", "pydantic", "pyyaml", "scipy", "vl-convert-python")
"""Packages whose other versions might find something else."""
_FINDINGS = TypeAdapter(Findings)
_OUTCOMES = {outcome[0]: outcome for outcome in Outcome}


@dataclass(frozen=True, slots=True)
class Cache:
    """A folder of what was made before. Whatever is wrong with it, the site is built; at worst all of it anew."""

    folder: Path
    made_by: str
    """Hash of what makes everything: fthall's code and data, the packages that compute, the processor."""

    def kept(self, kind: str, of: Sequence[str], make: Callable[[], bytes]) -> bytes:
        """What was made of the same before, or is made now.

        Args:
            kind: what it is.
            of: hashes and names of all it hangs on but :attr:`made_by`.
            make: makes it.
        """
        if (found := self._get(kind, of)) is None:
            self._put(kind, of, found := make())
        return found

    def has(self, kind: str, of: Sequence[str]) -> bool:
        """Whether :meth:`kept` will likely not have to make it."""
        return self._path(kind, of).is_file()

    def files(self, of: Sequence[str], make: Callable[[], Mapping[str, bytes]]) -> dict[str, bytes]:
        """Files by name, as :meth:`kept`."""

        def joined() -> bytes:
            made = make()
            sizes = {name: len(content) for name, content in made.items()}
            return b"".join([json.dumps(sizes).encode(), b"\n", *made.values()])

        head, _, rest = self.kept("files", of, joined).partition(b"\n")
        ends = np.cumsum([0, *json.loads(head).values()]).tolist()
        return {name: rest[start:end] for name, start, end in zip(json.loads(head), ends[:-1], ends[1:], strict=True)}

    def submission(self, folder: Path, release: Release, judged: Judged) -> Submission:
        """A submission, checked now or before: what :func:`fthall.submissions.check.validate` gives.

        Raises:
            FthallError: as it.
        """
        digest = digest_of(folder)
        of = [digest, release.digest, *folder.resolve().parts[-3:]]
        content = self._get("submission", of)
        if content and (one := _submission(content, folder.resolve().name, digest, release, judged)):
            return one
        one = validate(folder, release, judged=judged)
        content = _content(one)
        again = _submission(content, one.slug, digest, release, judged)
        if again and _told(again) == _told(one):  # else it is not kept: a number JSON has no word for, say
            self._put("submission", of, content)
        return one

    def findings(self, of: Sequence[str], make: Callable[[], Findings]) -> Findings:
        """What an entry's page says of its runs, as :meth:`kept`."""
        if content := self._get("findings", of):
            try:
                return _FINDINGS.validate_json(content)
            except ValueError:
                pass
        made = make()
        content = _FINDINGS.dump_json(made)
        again = _FINDINGS.validate_json(content)
        if again == made and _FINDINGS.dump_json(again) == content:  # the second tells 5 from 5.0
            self._put("findings", of, content)
        return made

    def odd(self, of: Sequence[str], make: Callable[[], Mapping[str, Sequence[str]]]) -> Mapping[str, Sequence[str]]:
        """What looks odd about the submissions of a track (:func:`fthall.submissions.odd.look`), as :meth:`kept`."""
        found: Mapping[str, Sequence[str]] = json.loads(self.kept("odd", of, lambda: json.dumps(make()).encode()))
        return found

    def prune(self, limit: int = LIMIT) -> None:
        """Delete what was not used for longest, until the rest has so many bytes at most."""
        try:
            with os.scandir(self.folder) as listed:
                found = [(entry.stat(), entry.path) for entry in listed if entry.is_file(follow_symlinks=False)]
            left = sum(stat.st_size for stat, _ in found)
            for stat, path in sorted(found, key=lambda row: row[0].st_mtime_ns):
                if left <= limit:
                    break
                Path(path).unlink(missing_ok=True)
                left -= stat.st_size
        except OSError:
            return

    def _get(self, kind: str, of: Sequence[str]) -> bytes | None:
        path = self._path(kind, of)
        try:
            head, _, content = path.read_bytes().partition(b"\n")
            if head != _seal(path.name, content):
                return None
            os.utime(path)  # used now
        except OSError:
            return None
        return content

    def _put(self, kind: str, of: Sequence[str], content: bytes) -> None:
        path = self._path(kind, of)
        try:
            with atomic(path) as temporary:
                temporary.write_bytes(_seal(path.name, content) + b"\n" + content)
        except FthallError:  # no space, or not ours to write: the site does not need it
            return

    def _path(self, kind: str, of: Sequence[str]) -> Path:
        key = hashlib.sha256(json.dumps([self.made_by, kind, *of]).encode()).hexdigest()
        return self.folder / f"{kind}-{key}"


def opened(folder: Path) -> Cache:
    """The cache in a folder, which need not be there yet."""
    hashed = hashlib.sha256()
    versions = [f"{name} {_version(name)}" for name in _COMPUTES]
    processor = json.dumps(np.lib.introspect.opt_func_info("^add$"))  # others round the last digit otherwise
    hashed.update("\n".join([platform.python_version(), platform.machine(), processor, *versions]).encode())
    shown = data_dir("leaderboard")
    data = (shown / "templates", shown / "static", shown / "controls", data_dir("tasks") / "bases")
    for root in (Path(__file__).parents[2], *data):
        for path in sorted(root.rglob("*")):
            if path.is_file() and path.suffix not in {".pyc", ".pyo"} and "_data" not in path.parts:
                hashed.update(f"\n{path.relative_to(root)}\n".encode())
                hashed.update(hashlib.sha256(path.read_bytes()).digest())
    return Cache(folder, hashed.hexdigest())


def of_track(release: Release, submissions: Iterable[Submission]) -> list[str]:
    """Hashes of all that a track's pages hang on, besides fthall itself: facts, submissions, what was verified."""
    folder = verified_dir() / release.track
    asked_again = sorted(folder.glob("*.json")) if folder.is_dir() else []
    return [
        release.digest,
        *(part for one in submissions for part in (one.slug, one.digest)),
        *(part for path in asked_again for part in (path.name, hashlib.sha256(path.read_bytes()).hexdigest())),
    ]


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "none"


def _seal(name: str, content: bytes) -> bytes:
    """Of a whole file, and no other one's."""
    return hashlib.sha256(name.encode() + b"\n" + content).hexdigest().encode()


def _content(one: Submission) -> bytes:
    """A submission as two lines of JSON: all but its predictions, and these, in the release's order."""
    told = {
        "card": one.card.model_dump(mode="json", by_alias=True),
        "results": one.results.model_dump(mode="json", by_alias=True),
        "outcomes": {split: outcomes_of(one.answers, split) for split in Split},
        "trained": sorted(one.trained_questions),
        "evidenced": one.evidenced,
    }
    said = {split: [answer.prediction for answer in one.answers[split]] for split in Split}
    return b"\n".join(json.dumps(part, ensure_ascii=False, separators=(",", ":")).encode() for part in (told, said))


def _told(one: Submission) -> tuple[object, ...]:
    """All of a submission, to compare it; of numbers also whether they are whole."""
    texts = repr(one.card), repr(one.results)
    return one.slug, one.digest, *texts, dict(one.answers), one.trained_questions, one.evidenced


def _submission(content: bytes, slug: str, digest: str, release: Release, judged: Judged) -> Submission | None:
    """The submission of such lines; None if they are of another release."""
    first, _, second = content.partition(b"\n")
    predictions: dict[str, list[str]] = {}

    def said(split: Split) -> list[str]:
        if not predictions:
            predictions.update(json.loads(second))
        return predictions[split]

    def make(split: Split) -> tuple[Answer, ...]:
        answers, name = [], split.value
        for fact, letter, prediction in zip(release.splits[split], outcomes[split], said(split), strict=True):
            key = name, fact.id, prediction
            if (answer := judged.get(key)) is None:
                answer = judged[key] = Answer(fact.id, split, prediction, _OUTCOMES[letter])
            answers.append(answer)
        return tuple(answers)

    try:
        told = json.loads(first)
        outcomes = {split: str(told["outcomes"][split]) for split in Split}
        return Submission.model_construct(
            slug=slug,
            card=Card.model_validate(told["card"]),
            results=Results.model_validate(told["results"]),
            answers=Later(outcomes, said, make),
            digest=digest,
            trained_questions=frozenset(told["trained"]),
            evidenced=bool(told["evidenced"]),
        )
    except (ValueError, KeyError, TypeError):
        return None
