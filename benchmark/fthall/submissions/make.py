"""A checkpoint, or the folder of a finished run, in; a valid submission folder out. Answers are lm-eval's."""

import datetime
import importlib.metadata
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import yaml

from fthall import bases
from fthall.answers import OUTCOMES, counts
from fthall.engines import lm_eval_answers
from fthall.errors import FthallError
from fthall.files import write_json, write_jsonl, write_text
from fthall.finetune import Run, Training, read_answers, read_outcomes, read_run, read_trajectory
from fthall.knowledge import splits
from fthall.measure import metrics
from fthall.records import Answer, EpochPoint, Release, Split
from fthall.schema import parse, read_yaml
from fthall.submissions.card import SCHEMA, Card, Submission
from fthall.submissions.check import MAX_PREDICTION, MAX_UNLIKE, validate

_VERSIONED = ("fthall", "torch", "transformers", "lm_eval")


def write_submission(
    folder: Path,
    *,
    card: Mapping[str, Any],
    answers: Mapping[Split, tuple[Answer, ...]],
    trajectory: Sequence[EpochPoint],
    agreement: Mapping[str, Any] | None,
    train_seconds: float | None,
    release: Release,
    outcomes: Sequence[Mapping[str, Any]] = (),
) -> Submission:
    """Write a submission folder, whole or not at all, and return it validated."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as temporary:
        # The folder's own place matters to the check: .../<source>/<base>/<slug>
        new = Path(temporary) / card["track"] / folder.name
        write_text(new / "submission.yaml", yaml.safe_dump(dict(card), sort_keys=False, allow_unicode=True, width=120))
        for split, rows in answers.items():
            write_jsonl(
                new / "samples" / f"{split}.jsonl",
                ({"fact_id": a.fact_id, "prediction": a.prediction[:MAX_PREDICTION]} for a in rows),
            )
        results = {
            "schema": SCHEMA,
            "counts": {str(s): {str(k): v for k, v in counts(rows).items()} for s, rows in answers.items()},
            "trajectory": [asdict(point) for point in trajectory],
            "agreement": agreement,
            "train_seconds": train_seconds,
        }
        write_json(new / "results.json", results)
        if outcomes:
            write_jsonl(new / OUTCOMES, map(dict, outcomes))
        validate(new, release)
        if folder.exists():
            shutil.rmtree(folder)
        new.rename(folder)
    return validate(folder, release)


def from_run(
    place: Path,
    release: Release,
    *,
    track_argument: str,
    out: Path,
    authors: Sequence[str],
    contact: str,
    command: str,
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
        "command": command,
        "versions": _versions(*_VERSIONED, "datasets"),
        "created": datetime.date.today(),
    }
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
    )


def from_checkpoint(
    model: str, card_file: Path, out: Path, *, revision: str | None = None, adapter_base: str | None = None
) -> Path:
    """Evaluate with lm-eval and write ``<out>/<track>/<entry>-seed<n>``.

    The card file holds what only the submitter knows; schema, release digest, base hash, versions and date are filled
    in here.

    Raises:
        FthallError: unreadable card, unknown track, a checkpoint that cannot be loaded, or a folder that exists.
    """
    card = read_yaml(card_file, f"no card {card_file}; leaderboard/pages/submit.md shows one")
    if not isinstance(card, dict) or not {"track", "entry", "seed"} <= card.keys():
        raise FthallError(
            f"{card_file} must give at least track, entry and seed; leaderboard/pages/submit.md shows one"
        )
    release = splits.load(str(card["track"]))
    card = {
        "schema": SCHEMA,
        **card,
        "release": release.digest,
        "base_weights_sha256": release.manifest["base"]["weights_sha256"],
        "versions": _versions(*_VERSIONED),
        "created": datetime.date.today(),
    }
    parse(Card, card, card_file)  # before the long part
    folder = out / release.track / f"{card['entry']}-seed{card['seed']}"
    if folder.exists():
        raise FthallError(f"{folder} exists; delete it or give the card another entry or seed")
    named = bases.find(model, revision, adapter_base=adapter_base)
    checkpoint = bases.for_track(named, release.manifest["base"], release.track)
    bases.load(checkpoint, device="cpu")  # one clear line if it cannot be, or its vocabulary does not fit
    answers, _ = lm_eval_answers(checkpoint, release.track)
    write_submission(
        folder, card=card, answers=answers, trajectory=[], agreement=None, train_seconds=None, release=release
    )
    return folder


def _versions(*packages: str) -> dict[str, str]:
    return {name: importlib.metadata.version(name) for name in packages}
