"""From a recipe to submissions: train, evaluate with lm-eval, write the submission folder; one run after the other."""

import datetime
import importlib.metadata
import os
import platform
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import yaml

from fthall import metrics, models, submission
from fthall.errors import FthallError
from fthall.evaluate import lm_eval_answers
from fthall.files import read_json, write_json, write_jsonl, write_text
from fthall.finetune.methods import Recipe, Run
from fthall.finetune.train import read_answers, read_trajectory, train
from fthall.records import Answer, EpochPoint, Release, Split
from fthall.tracking import track

_VERSIONED = ("fthall", "torch", "transformers", "lm_eval", "datasets")


def hardware() -> str:
    """What this runs on, for the card: the GPU's name, or the processor and its cores."""
    import torch

    if torch.cuda.is_available():
        return f"{torch.cuda.device_count()} x {torch.cuda.get_device_name(0)}"
    return f"{os.cpu_count()} CPU cores, {platform.machine()}"


def write_submission(
    folder: Path,
    *,
    card: Mapping[str, Any],
    answers: Mapping[Split, tuple[Answer, ...]],
    trajectory: list[EpochPoint],
    agreement: Mapping[str, Any] | None,
    train_seconds: float | None,
    release: Release,
) -> submission.Submission:
    """Write a submission folder, whole or not at all, and return it validated."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as temporary:
        # The folder's own place matters to the check: .../<source>/<base>/<slug>
        new = Path(temporary) / card["track"] / folder.name
        write_text(new / "submission.yaml", yaml.safe_dump(dict(card), sort_keys=False, allow_unicode=True, width=120))
        for split, rows in answers.items():
            write_jsonl(
                new / "samples" / f"{split}.jsonl",
                ({"fact_id": a.fact_id, "prediction": a.prediction[: submission.MAX_PREDICTION]} for a in rows),
            )
        results = {
            "schema": submission.SCHEMA,
            "counts": {str(s): {str(k): v for k, v in metrics.counts(rows).items()} for s, rows in answers.items()},
            "trajectory": [asdict(point) for point in trajectory],
            "agreement": agreement,
            "train_seconds": train_seconds,
        }
        write_json(new / "results.json", results)
        submission.validate(new, release)
        if folder.exists():
            shutil.rmtree(folder)
        new.rename(folder)
    return submission.validate(folder, release)


def run_one(
    recipe: Recipe,
    run: Run,
    seed: int,
    release: Release,
    *,
    track_argument: str,
    work: Path,
    submissions: Path,
    authors: list[str],
    contact: str,
    command: str,
    tracking_uri: str | None,
    resumable: bool = True,
    keep_checkpoint: bool = True,
    on_examples: Callable[[int], None] | None = None,
    on_answers: Callable[[int], None] | None = None,
    on_epoch: Callable[[EpochPoint], None] | None = None,
) -> submission.Submission:
    """Train one run of a recipe, evaluate its checkpoint with lm-eval, and write it as a submission.

    Finished parts are not repeated. ``track_argument`` is what lm-eval's tasks get: the track's name or a folder.

    Raises:
        FthallError: the recipe's base is not the release's, or any stage fails.
    """
    slug = f"{run.entry}-seed{seed}"
    folder = submissions / release.track / slug
    if (folder / "submission.yaml").exists():
        return submission.validate(folder, release)
    place = work / slug
    base = release.manifest["base"]
    if not (place / "run.json").exists():
        checkpoint = models.find(recipe.base, recipe.revision)
        if models.weights_sha256(checkpoint) != base["weights_sha256"]:
            raise FthallError(f"{recipe.base} is not the base of {release.track}: its weights have another sha256")
        model, tokenizer = models.load(checkpoint, for_training=True)
        parameters = {**recipe.training.model_dump(), **run.model_dump(mode="json"), "seed": seed}
        with track(tracking_uri, release.track, slug, parameters) as log:
            train(
                release,
                model,
                tokenizer,
                run,
                recipe.training,
                seed,
                place,
                resumable=resumable,
                log=log,
                on_examples=on_examples,
                on_answers=on_answers,
                on_epoch=on_epoch,
            )
        del model
        models.free_memory()
    answers, _ = lm_eval_answers(place / "checkpoint", track_argument, quiet=True)
    models.free_memory()
    during = read_answers(place)
    compared = [({a.fact_id: a.outcome for a in during[s]}, {a.fact_id: a.outcome for a in answers[s]}) for s in Split]
    differing = sorted(fact_id for one, other in compared for fact_id in metrics.differing(one, other))
    info = read_json(place / "run.json")
    settings = {**recipe.training.model_dump(mode="json"), "trained": run.trained}
    if run.distill_weight:
        settings |= {
            "distill_weight": run.distill_weight,
            "distill_temperature": run.distill_temperature,
            "teacher_epoch": run.teacher_epoch,
        }
    card = {
        "schema": submission.SCHEMA,
        "track": release.track,
        "release": release.digest,
        "entry": run.entry,
        "title": run.title,
        "method": run.method,
        "description": run.description,
        "seed": seed,
        "trained_on": [str(split) for split in run.trained_on],
        "hyperparameters": {**settings, "trained_parameters": info["trained_parameters"]},
        "base_weights_sha256": base["weights_sha256"],
        "authors": authors,
        "contact": contact,
        "hardware": hardware(),
        "command": command,
        "versions": {name: importlib.metadata.version(name) for name in _VERSIONED},
        "created": datetime.date.today(),
    }
    done = write_submission(
        folder,
        card=card,
        answers=answers,
        trajectory=read_trajectory(place),
        agreement={"compared": sum(len(one) for one, _ in compared), "differing": differing},
        train_seconds=info["seconds"],
        release=release,
    )
    if not keep_checkpoint:
        shutil.rmtree(place / "checkpoint")
    return done
