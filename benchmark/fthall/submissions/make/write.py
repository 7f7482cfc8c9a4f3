"""A card and answers in, a submission folder out, validated and whole; or nothing."""

import datetime
import importlib.metadata
import re
import shutil
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import yaml

from fthall.answers import OUTCOMES, counts
from fthall.errors import FthallError
from fthall.facts.own import Own
from fthall.files import write_json, write_jsonl, write_text
from fthall.records import Answer, EpochPoint, Release, Split
from fthall.schema import parse, read_yaml
from fthall.submissions.card import SCHEMA, Card, Submission
from fthall.submissions.check import MAX_PREDICTION, TRAINED, question_hash, validate

VERSIONED = ("fthall", "torch", "transformers", "lm_eval")
ASKED = ("track", "entry", "title", "method", "seed", "trained_on", "authors", "contact", "hardware", "command")
"""What a card must say and nothing but its author knows; ``hyperparameters`` may be empty."""
_PART = r"[^\s/\\,=\"']+[/\\]"
_PLACE = re.compile(rf"(?<![\w.:/-])(?:~[/\\](?:{_PART})*|(?:[A-Za-z]:)?[/\\](?:{_PART})+)")
"""Of a path on some machine, all but its last part."""


def local_paths_left_out(value: Any) -> Any:
    """Plain data without places on the machine it was made on: of an absolute path in a text, the last part stays."""
    if isinstance(value, str):
        return _PLACE.sub("", value)
    if isinstance(value, Mapping):
        return {key: local_paths_left_out(inner) for key, inner in value.items()}
    return [local_paths_left_out(inner) for inner in value] if isinstance(value, list | tuple) else value


def read_card(file: Path | None) -> dict[str, Any]:
    """What a card file says, unchecked; nothing of none.

    Raises:
        FthallError: it is no YAML, or no mapping.
    """
    if file is None:
        return {}
    card = read_yaml(file, f"no card {file}; submissions/README.md shows one")
    if not isinstance(card, dict):
        raise FthallError(f"{file} is no card: it must be names and values; submissions/README.md shows one")
    return card


def card_of(
    said: Mapping[str, Any],
    release: Release,
    *,
    checkpoint: Mapping[str, Any] | None = None,
    asked_by: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """A whole card: what its author says, and what is known here.

    Args:
        said: the author's part; :data:`ASKED` must be there.
        release: that was trained and evaluated on.
        checkpoint: what pins the weights (:func:`fthall.submissions.pinned.pin`).
        asked_by: versions of what asked, where that was elsewhere; by default those here.

    Raises:
        FthallError: something is missing or out of range.
    """
    if lacking := [name for name in ASKED if name not in said]:
        raise FthallError(
            f"the card lacks {', '.join(lacking)}; write them into a file and type --card FILE "
            "(submissions/README.md shows one), or answer on a terminal"
        )
    card = {
        "schema": SCHEMA,
        "hyperparameters": {},
        **local_paths_left_out(dict(said)),
        "release": release.digest,
        "base_weights_sha256": release.manifest["base"]["weights_sha256"],
        **({"checkpoint": dict(checkpoint)} if checkpoint else {}),
        "versions": dict(asked_by or versions(*VERSIONED)),
        "created": datetime.date.today(),
    }
    parse(Card, card, Path("card"))
    return card


def trained_hashes(source: str) -> list[str]:
    """Hashes of the questions in a file of training data, in any format ``fthall slick --facts`` reads; sorted.

    Raises:
        FthallError: it cannot be read.
    """
    return sorted({question_hash(fact.question) for fact in Own(source).facts()})


def versions(*packages: str) -> dict[str, str]:
    """Of packages that are installed here."""
    return {name: importlib.metadata.version(name) for name in packages}


def write_submission(
    folder: Path,
    *,
    card: Mapping[str, Any],
    answers: Mapping[Split, tuple[Answer, ...]],
    trajectory: Sequence[EpochPoint] = (),
    agreement: Mapping[str, Any] | None = None,
    train_seconds: float | None = None,
    release: Release,
    outcomes: Sequence[Mapping[str, Any]] = (),
    trained: Iterable[str] = (),
) -> Submission:
    """Write a submission folder, whole or not at all, and return it validated.

    Args:
        folder: ``…/<source>/<base>/<entry>-seed<n>``.
        card: all of it (:func:`card_of`).
        answers: of every split.
        trajectory: by epoch, where there is one.
        agreement: of lm-eval's answers with those of the training.
        train_seconds: of the training alone.
        release: to validate against.
        outcomes: the trajectory's evidence.
        trained: hashes of the questions it was trained on.

    Raises:
        FthallError: it would not be valid.
    """
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
        if lines := sorted(trained):
            write_text(new / TRAINED, "".join(f"{line}\n" for line in lines))
        validate(new, release)
        if folder.exists():
            shutil.rmtree(folder)
        new.rename(folder)
    return validate(folder, release)
