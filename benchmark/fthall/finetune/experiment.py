"""A run of a recipe: its base found and checked, fine-tuned, and tracked."""

from collections.abc import Callable
from pathlib import Path

from fthall import bases
from fthall.errors import FthallError
from fthall.finetune.folder import describe, is_finished
from fthall.finetune.recipe import OWN, Recipe, Run
from fthall.finetune.tracking import KEPT, track
from fthall.finetune.train import train
from fthall.records import EpochPoint, Release


def run_one(
    recipe: Recipe,
    run: Run,
    seed: int,
    release: Release,
    *,
    work: Path,
    tracking_uri: str | None,
    parent: str | None = None,
    resumable: bool = True,
    keep_epochs: bool = False,
    on_examples: Callable[[int], None] | None = None,
    on_answers: Callable[[int], None] | None = None,
    on_epoch: Callable[[EpochPoint], None] | None = None,
) -> Path:
    """Train one run of a recipe, unless that is done, and return its folder: ``<work>/<entry>-seed<n>``.

    ``parent`` is the MLflow run it is nested in.

    Raises:
        FthallError: the folder holds another run, the recipe's base is not the release's, the training fails, or memory
            does not suffice for it.
    """
    slug = f"{run.entry}-seed{seed}"
    folder = work / slug
    if is_finished(folder, describe(release, run, recipe.training, seed)):
        return folder
    checkpoint = bases.find(recipe.base, recipe.revision)
    if bases.weights_sha256(checkpoint) != release.manifest["base"]["weights_sha256"]:
        raise FthallError(f"{recipe.base} is not the base of {release.track}: its weights have another sha256")
    checkpoint = bases.for_track(checkpoint, release.manifest["base"], release.track)
    model, tokenizer = bases.load(checkpoint, for_training=True)
    own = {name: value for name, value in run.model_dump(mode="json").items() if name not in OWN or value is not None}
    parameters = {**recipe.training.model_dump(), **own, "seed": seed}
    try:
        with track(tracking_uri, release.track, slug, parameters, parent=parent, kept=folder / KEPT) as log:
            train(
                release,
                model,
                tokenizer,
                run,
                recipe.training,
                seed,
                folder,
                resumable=resumable,
                keep_epochs=keep_epochs,
                shared=work,
                log=log,
                on_examples=on_examples,
                on_answers=on_answers,
                on_epoch=on_epoch,
            )
    except RuntimeError as error:
        if not bases.out_of_memory(error):
            raise
        raise FthallError(
            f"{slug}: out of memory; lower batch_size and raise accumulation, or run fewer beside each other (--jobs)"
        ) from None
    del model
    bases.free_memory()
    return folder
