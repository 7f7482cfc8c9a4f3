"""The command behind ``fthall submit``: a checkpoint and a card in, a valid submission folder out."""

import datetime
import importlib.metadata
from pathlib import Path

from fthall import models, splits, submission
from fthall.errors import FthallError
from fthall.evaluate import lm_eval_answers
from fthall.experiment import write_submission
from fthall.schema import parse, read_yaml


def from_checkpoint(model: str, card_file: Path, out: Path, *, revision: str | None = None) -> Path:
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
        "schema": submission.SCHEMA,
        **card,
        "release": release.digest,
        "base_weights_sha256": release.manifest["base"]["weights_sha256"],
        "versions": {n: importlib.metadata.version(n) for n in ("fthall", "torch", "transformers", "lm_eval")},
        "created": datetime.date.today(),
    }
    parse(submission.Card, card, card_file)  # before the long part
    folder = out / release.track / f"{card['entry']}-seed{card['seed']}"
    if folder.exists():
        raise FthallError(f"{folder} exists; delete it or give the card another entry or seed")
    checkpoint = models.find(model, revision)
    models.load(checkpoint, device="cpu")  # one clear line if it cannot be, or its vocabulary does not fit
    answers, _ = lm_eval_answers(checkpoint.location, release.track)
    write_submission(
        folder, card=card, answers=answers, trajectory=[], agreement=None, train_seconds=None, release=release
    )
    return folder
