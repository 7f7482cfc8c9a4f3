"""Where submissions lie: all under a folder, the seeds of an entry, the reference beside it."""

import itertools
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from fthall.errors import FthallError
from fthall.knowledge import splits
from fthall.measure.metrics import reference_of
from fthall.records import Release
from fthall.submissions.card import Submission
from fthall.submissions.check import Judged, validate

if TYPE_CHECKING:
    from fthall.measure.runs import EvaluatedRun

_LOG = logging.getLogger(__name__)


def find(root: Path) -> list[Path]:
    """All submission folders under a root, sorted."""
    return sorted(file.parent for file in root.glob("*/*/*/submission.yaml"))


def lacking(root: Path) -> dict[str, str]:
    """Tracks with submissions whose facts are not here, and how to get them: without facts no answer can be judged."""
    shipped = [*splits.tracks(), *splits.retired()]
    found = {
        track: splits.absent(track) for track in sorted({_track(folder) for folder in find(root)}.intersection(shipped))
    }
    return {track: why for track, why in found.items() if why}


def retired(root: Path) -> dict[str, int]:
    """How many submissions there are of each retired release: kept, checked, not ranked."""
    return dict(Counter(track for folder in find(root) if splits.RETIRED in (track := _track(folder))))


def each(folders: Iterable[Path], release: Release | None = None) -> Iterator[Submission]:
    """Submissions, checked one after the other; what they are checked against is read once a track.

    Args:
        folders: of submissions.
        release: check all of them against this one.

    Raises:
        FthallError: as :func:`fthall.submissions.check.validate`.
    """
    shipped = [] if release else [*splits.tracks(), *splits.retired()]
    for track, group in itertools.groupby(folders, _track):
        against, judged = splits.load(track) if track in shipped else release, Judged()
        for folder in group:
            yield validate(folder, against, judged=judged)


def _track(folder: Path) -> str:
    """The track, or retired release, a submission's folder lies under."""
    parts = folder.parts if len(folder.parts) > 2 and ".." not in folder.parts else folder.resolve().parts
    return "/".join(parts[-3:-1])


def checked(folder: Path, release: Release, judged: Judged) -> Submission:
    """A submission, checked (:func:`fthall.submissions.check.validate`)."""
    return validate(folder, release, judged=judged)


def read(
    root: Path, release: Release | None = None, check: Callable[[Path, Release, Judged], Submission] = checked
) -> list[tuple[Release, list[Submission]]]:
    """Every submission under a folder, valid, by track; but for tracks that are :func:`lacking`.

    Submissions of retired releases are not among them.

    Args:
        root: the folder.
        release: check all of them against this one.
        check: gives a submission of a folder, a release, and what others of the track answer.

    Raises:
        FthallError: an invalid or misplaced submission, or the seeds of an entry disagree on what it is.
    """
    if not root.is_dir():
        raise FthallError(f"no folder {root}; give the folder that holds <source>/<base>/<submission>/")
    folders = find(root)
    found = set(folders)
    for card in sorted(root.rglob("submission.yaml")):
        hidden = any(part.startswith(".") for part in card.relative_to(root).parts)
        if not hidden and card.parent not in found:
            raise FthallError(f"{card} is not at <source>/<base>/<submission>/ under {root}; give the folder above")
    left_out = {} if release else lacking(root)
    for track, why in left_out.items():
        _LOG.warning("%s is left out: %s", track, why)
    ranked = [folder for folder in folders if (at := _track(folder)) not in left_out and splits.RETIRED not in at]
    read = []
    for track, group in itertools.groupby(ranked, _track):
        against, judged = release or splits.load(track), Judged()
        rows = [check(folder, against, judged) for folder in group]
        agree(rows)
        read.append((against, rows))
    return read


def agree(submissions: Iterable[Submission]) -> None:
    """That the seeds of an entry say the same of what it is and whose.

    Args:
        submissions: of one track.

    Raises:
        FthallError: they differ.
    """
    first: dict[str, Submission] = {}
    for one in submissions:
        other = first.setdefault(one.card.entry, one)
        for field in ("title", "method", "trained_on", "authors"):
            said = [str(getattr(card, field)) for card in (other.card, one.card)]
            if said[0] != said[1]:
                raise FthallError(
                    f"{one.card.track}: the seeds of {one.card.entry!r} differ in {field}: {' and '.join(said)}"
                )


def find_runs(place: Path, release: Release | None = None) -> "list[EvaluatedRun]":
    """The runs a path means: a submission's folder, or ``…/<track>/<entry>`` for all seeds of an entry.

    Args:
        place: the path.
        release: check against this one instead of the shipped one of the track.

    Raises:
        FthallError: there is none, or one is invalid.
    """
    if (place / "submission.yaml").is_file():
        return [validate(place, release).run]
    folders = sorted(file.parent for file in place.parent.glob("*/submission.yaml"))
    release = release or (splits.load("/".join(place.resolve().parts[-3:-1])) if folders else None)
    runs = [run for folder in folders if (run := validate(folder, release).run).entry == place.name]
    if not runs:
        raise FthallError(
            f"no submission {place}; give a submission's folder, or <track's folder>/<entry> for all its seeds"
        )
    return sorted(runs, key=lambda run: run.seed)


def find_reference(place: Path, release: Release) -> "list[EvaluatedRun]":
    """The Only-Known runs beside a submission: all seeds of the entry ``sft-known``, or of the first such entry."""
    return reference_of([validate(file.parent, release).run for file in sorted(place.parent.glob("*/submission.yaml"))])
