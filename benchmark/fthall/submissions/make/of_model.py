"""A checkpoint, or the folder of a finished run, in; a valid submission folder out. Answers are lm-eval's."""

import datetime
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from fthall import bases
from fthall.engines import lm_eval_answers
from fthall.errors import FthallError
from fthall.finetune import Run, Training, read_answers, read_outcomes, read_run, read_trajectory
from fthall.measure import metrics
from fthall.records import Release, Split
from fthall.submissions import pinned
from fthall.submissions.card import SCHEMA, Submission
from fthall.submissions.check import MAX_UNLIKE, validate
from fthall.submissions.make.write import VERSIONED, card_of, local_paths_left_out, versions, write_submission

_PUBLISHED = re.compile(r"(?P<repository>[^/@\s]+/[^/@\s]+)@(?P<revision>[0-9a-f]{40})|(?P<url>https://\S+/)")


@dataclass(frozen=True, slots=True)
class Given:
    """What a submitter gives beside the thing itself."""

    card: Mapping[str, Any]
    """Their part of the card (:data:`fthall.submissions.make.write.ASKED`)."""
    release: Release
    """Of the card's track."""
    out: Path
    """The folder of all submissions."""
    published: str | None = None
    """Where the weights lie for everybody: ``owner/name@<40 hex digits>``, or ``https://…/``."""
    trained: Sequence[str] = ()
    """Hashes of the questions it was trained on."""

    def folder(self) -> Path:
        """Where the submission goes.

        Raises:
            FthallError: the card does not name it, or it is there already.
        """
        if lacking := [name for name in ("entry", "seed") if name not in self.card]:
            raise FthallError(f"the card lacks {' and '.join(lacking)}; submissions/README.md shows one")
        folder = self.out / self.release.track / f"{self.card['entry']}-seed{self.card['seed']}"
        if folder.exists():
            raise FthallError(f"{folder} exists; delete it or give the card another entry or seed")
        return folder

    def pin(self, checkpoint: Path | None) -> dict[str, Any] | None:
        """What pins the weights in a folder; None where they are not published.

        Raises:
            FthallError: published is no address that cannot move, the folder is missing or not safe to load.
        """
        if self.published is None:
            return None
        if not (where := _PUBLISHED.fullmatch(self.published)):
            raise FthallError(
                f"--published {self.published}: give owner/name@COMMIT with all 40 hex digits (branches and tags "
                "move), or https://… of a folder, with its last slash"
            )
        if checkpoint is None:
            raise FthallError("the published weights are not here to be hashed; give their folder with --checkpoint")
        base = pinned.base_header(self.release.manifest["base"]["weights_sha256"])
        found = pinned.pin(checkpoint, base, **where.groupdict())
        if base is not None:
            pinned.fits(pinned.read_header(checkpoint), base, found["kind"], str(checkpoint))
        return found


def from_run(
    place: Path,
    release: Release,
    *,
    track_argument: str,
    out: Path,
    authors: Sequence[str],
    contact: str,
    command: str,
    given: Given | None = None,
) -> Submission:
    """Evaluate the checkpoint of a finished run with lm-eval and write ``<out>/<track>/<entry>-seed<n>``.

    Args:
        place: the run's folder (:mod:`fthall.finetune.folder`).
        release: it was trained on.
        track_argument: what lm-eval's tasks get: the track's name, or a release's folder.
        out: the folder of all submissions. One that is there already is checked and returned.
        authors: for the card.
        contact: for the card.
        command: what was typed.
        given: what a submitter adds: where the weights are published, what they were trained on.

    Raises:
        FthallError: the run is of another release, or not finished, or lm-eval's answers are others than its own.
    """
    folder = out / release.track / place.name
    if (folder / "submission.yaml").exists():
        return validate(folder, release)
    info = read_run(place)
    if info["release"] != release.digest:
        raise FthallError(
            f"{place} is a run on another release than {release.track} has now; delete it and run it again"
        )
    run, training = Run(**info["run"]), Training(**info["training"])
    answers, _ = lm_eval_answers(bases.Checkpoint(str(place / "checkpoint")), track_argument, quiet=True)
    bases.free_memory()
    during = read_answers(place / "answers.jsonl")
    compared = [({a.fact_id: a.outcome for a in during[s]}, {a.fact_id: a.outcome for a in answers[s]}) for s in Split]
    differing = sorted(fact_id for one, other in compared for fact_id in metrics.differing(one, other))
    asked = sum(len(one) for one, _ in compared)
    if len(differing) > MAX_UNLIKE * asked:
        example = next(a for rows in answers.values() for a in rows if a.fact_id == differing[0])
        raise FthallError(
            f"lm-eval finds {len(differing)} of {asked} answers of {place} right or wrong unlike training did (to "
            f"{example.fact_id} it reads {example.prediction[:40]!r}): this is not the model that was trained, or its "
            "tokenizer ends a text with another token; nothing is written"
        )
    card = {
        "schema": SCHEMA,
        "track": release.track,
        "release": release.digest,
        "entry": run.entry,
        "title": run.title,
        "method": run.method,
        "description": run.description,
        "seed": info["seed"],
        "trained_on": [str(split) for split in run.trained_on],
        "hyperparameters": {
            **training.settings(),
            **run.settings(),
            "trained_parameters": info["trained_parameters"],
        },
        "base_weights_sha256": release.manifest["base"]["weights_sha256"],
        "authors": list(authors),
        "contact": contact,
        "hardware": info["hardware"],  # it was trained on; it may be evaluated elsewhere
        "command": local_paths_left_out(command),
        "versions": versions(*VERSIONED, "datasets"),
        "created": datetime.date.today(),
    }
    if given and (pin := given.pin(place / "checkpoint")):
        card["checkpoint"] = pin
    trajectory, outcomes = read_trajectory(place), read_outcomes(place)
    if [row["epoch"] for row in outcomes] != [point.epoch for point in trajectory]:
        outcomes = []  # begun by a version that wrote none: there is no evidence for the whole of it
    return write_submission(
        folder,
        card=card,
        answers=answers,
        trajectory=trajectory,
        agreement={"compared": asked, "differing": differing},
        train_seconds=info["seconds"],
        release=release,
        outcomes=outcomes,
        trained=given.trained if given else (),
    )


def of_finished_run(place: Path, given: Given, track_argument: str) -> Path:
    """The same, for somebody who hands a run in: entry, settings and hardware are the run's, the rest the card's.

    Raises:
        FthallError: as :func:`from_run`; the card lacks authors or contact; or the submission is there already.
    """
    info = read_run(place)
    card = {"entry": info["run"]["entry"], "seed": info["seed"], **given.card}
    if (card["entry"], card["seed"]) != (info["run"]["entry"], info["seed"]):
        own = f"seed {info['seed']} of {info['run']['entry']!r}"
        raise FthallError(f"{place} is {own}; leave entry and seed out of the card")
    if lacking := [name for name in ("authors", "contact", "command") if name not in card]:
        raise FthallError(f"the card lacks {', '.join(lacking)}; write them into a file and type --card FILE")
    folder = given.out / given.release.track / place.name
    if folder.exists():
        raise FthallError(f"{folder} exists; delete it first")
    from_run(
        place,
        given.release,
        track_argument=track_argument,
        out=given.out,
        authors=card["authors"],
        contact=card["contact"],
        command=card["command"],
        given=given,
    )
    return folder


def from_checkpoint(
    model: str,
    given: Given,
    *,
    track_argument: str | None = None,
    weights: Path | None = None,
    revision: str | None = None,
    adapter_base: str | None = None,
) -> Path:
    """Evaluate with lm-eval and write ``<out>/<track>/<entry>-seed<n>``.

    Schema, release digest, base hash, versions, date and what pins the weights are filled in here.

    Args:
        model: folder or Hugging Face id; at a full commit it is published by being there.
        given: the rest.
        track_argument: what lm-eval's tasks get: the track's name, or a release's folder.
        weights: the folder that is published, where it is another: a delta of which ``model`` is the sum.
        revision: of a Hugging Face id.
        adapter_base: of an adapter, where its base is, if not where its configuration says.

    Raises:
        FthallError: the card is not whole, a checkpoint cannot be loaded, is not safe to or is of another base, or the
            folder exists.
    """
    folder, release = given.folder(), given.release
    card_of(given.card, release)  # before the long part
    if given.published and not Path(model).expanduser().is_dir():
        raise FthallError("--published is for a folder here; an id with --revision COMMIT is published already")
    named = bases.find(model, revision, adapter_base=adapter_base)
    checkpoint = bases.for_track(named, release.manifest["base"], release.track)
    here = weights or Path(checkpoint.adapter or checkpoint.location)
    if not given.published and (commit := re.fullmatch(r"[0-9a-f]{40}", revision or "")):
        given, here = replace(given, published=f"{model}@{commit[0]}"), _fetched(model, commit[0], here)
    pin = given.pin(here)
    bases.load(checkpoint, device="cpu")  # one clear line if it cannot be, or its vocabulary does not fit
    answers, _ = lm_eval_answers(checkpoint, track_argument or release.track)
    card = card_of(given.card, release, checkpoint=pin)
    write_submission(folder, card=card, answers=answers, release=release, trained=given.trained)
    return folder


def _fetched(model: str, commit: str, here: Path) -> Path:
    """The folder of a repository's files."""
    if here.is_dir():
        return here
    from huggingface_hub import snapshot_download

    return Path(snapshot_download(model, revision=commit, allow_patterns=[f"*{end}" for end in pinned.LOADED]))
