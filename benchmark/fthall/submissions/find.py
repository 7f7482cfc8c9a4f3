"""Where submissions lie: all under a folder, the seeds of an entry, the reference beside it."""

import logging
from collections import Counter
from pathlib import Path

from fthall.errors import FthallError
from fthall.knowledge import splits
from fthall.measure.runs import EvaluatedRun, reference_of
from fthall.records import Release
from fthall.submissions.card import Submission
from fthall.submissions.check import validate

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


def _track(folder: Path) -> str:
    """The track, or retired release, a submission's folder lies under."""
    return "/".join(folder.resolve().parts[-3:-1])


def read(root: Path, release: Release | None = None) -> list[tuple[Release, list[Submission]]]:
    """Every submission under a folder, valid and unique, by track; but for tracks that are :func:`lacking`.

    Submissions of retired releases are not among them.

    Raises:
        FthallError: an invalid, duplicate or misplaced submission.
    """
    if not root.is_dir():
        raise FthallError(f"no folder {root}; give the folder that holds <source>/<base>/<submission>/")
    folders = find(root)
    for card in sorted(root.rglob("submission.yaml")):
        hidden = any(part.startswith(".") for part in card.relative_to(root).parts)
        if not hidden and card.parent not in folders:
            raise FthallError(f"{card} is not at <source>/<base>/<submission>/ under {root}; give the folder above")
    found: dict[str, tuple[Release, list[Submission]]] = {}
    taken: dict[tuple[str, str, int], Path] = {}
    left_out = {} if release else lacking(root)
    for track, why in left_out.items():
        _LOG.warning("%s is left out: %s", track, why)
    for folder in folders:
        track = _track(folder)
        if track in left_out or splits.RETIRED in track:
            continue
        against = release or (found[track][0] if track in found else splits.load(track))
        one = validate(folder, against)
        if (other := taken.setdefault((track, one.card.entry, one.card.seed), folder)) is not folder:
            raise FthallError(f"{other} and {folder} are both seed {one.card.seed} of {one.card.entry!r}; remove one")
        found.setdefault(track, (against, []))[1].append(one)
    return [found[track] for track in sorted(found)]


def find_runs(place: Path, release: Release | None = None) -> list[EvaluatedRun]:
    """The runs a path means: a submission's folder, or ``…/<track>/<entry>`` for all seeds of an entry.

    Args:
        place: the path.
        release: check against this one instead of the shipped one of the track.

    Raises:
        FthallError: there is none, one is invalid, or two have the same seed.
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
    if len({run.seed for run in runs}) < len(runs):
        raise FthallError(f"{place}: two submissions of {place.name!r} have the same seed; remove one")
    return sorted(runs, key=lambda run: run.seed)


def find_reference(place: Path, release: Release) -> list[EvaluatedRun]:
    """The Only-Known runs beside a submission: all seeds of the entry ``sft-known``, or of the first such entry."""
    return reference_of([validate(file.parent, release).run for file in sorted(place.parent.glob("*/submission.yaml"))])
