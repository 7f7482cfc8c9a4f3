"""A run of a recipe: its base found and checked, fine-tuned, and tracked with MLflow.

Tracking is on by default, in a local SQLite store; at any tracking URI; or off.
"""

import logging
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fthall import bases
from fthall.errors import FthallError
from fthall.finetune.folder import describe, is_finished
from fthall.finetune.recipe import Recipe, Run
from fthall.finetune.train import Log, train
from fthall.records import EpochPoint, Release

_LOG = logging.getLogger(__name__)


def run_one(
    recipe: Recipe,
    run: Run,
    seed: int,
    release: Release,
    *,
    work: Path,
    tracking_uri: str | None,
    resumable: bool = True,
    on_examples: Callable[[int], None] | None = None,
    on_answers: Callable[[int], None] | None = None,
    on_epoch: Callable[[EpochPoint], None] | None = None,
) -> Path:
    """Train one run of a recipe, unless that is done, and return its folder: ``<work>/<entry>-seed<n>``.

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
    model, tokenizer = bases.load(checkpoint, for_training=True)
    parameters = {**recipe.training.model_dump(), **run.model_dump(mode="json"), "seed": seed}
    try:
        with track(tracking_uri, release.track, slug, parameters) as log:
            train(
                release,
                model,
                tokenizer,
                run,
                recipe.training,
                seed,
                folder,
                resumable=resumable,
                base_answers=work / f"base-{release.digest[:12]}.jsonl",
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


def local_store(folder: Path) -> str:
    """The tracking URI of a SQLite store in a folder; open it with ``mlflow ui --backend-store-uri <this>``."""
    return f"sqlite:///{folder.resolve()}/mlflow.db"


def prepare(uri: str, experiment: str) -> None:
    """Make the store and the experiment, before many processes would do it at once."""

    def make() -> bool:
        _connect(uri, experiment)
        return True

    _kept_on(make, uri)


@contextmanager
def track(uri: str | None, experiment: str, name: str, parameters: Mapping[str, Any]) -> Iterator[Log | None]:
    """A run in MLflow: yields what takes its metrics, or None where tracking is off (``uri`` None) or cannot begin.

    No training ends because a tracking server has gone: that is said once, and the run goes on untracked.
    """
    begun = None if uri is None else _kept_on(lambda: _begin(uri, experiment, name, parameters), uri)
    if begun is None:
        yield None
        return
    gone: list[int] = []

    def log(values: Mapping[str, float], step: int) -> None:
        if not gone and _kept_on(lambda: begun.log_metrics(dict(values), step=step) or True, uri) is None:
            gone.append(step)

    try:
        yield log
    except BaseException:
        if not gone:
            _kept_on(lambda: begun.end_run("FAILED"), uri)
        raise
    if not gone:
        _kept_on(begun.end_run, uri)


def _begin(uri: str, experiment: str, name: str, parameters: Mapping[str, Any]) -> Any:
    """MLflow, with a run begun."""
    mlflow = _connect(uri, experiment)
    mlflow.start_run(run_name=name)
    mlflow.log_params(dict(parameters))
    return mlflow


def _connect(uri: str, experiment: str) -> Any:
    """MLflow, with a store and an experiment."""
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")  # its own seven take minutes
    import mlflow

    # Creating the store logs every database migration, and a server that is gone every attempt to reach it.
    for noisy, level in (("alembic", logging.WARNING), ("mlflow", logging.WARNING), ("urllib3", logging.ERROR)):
        logging.getLogger(noisy).setLevel(level)
    mlflow.set_tracking_uri(uri)
    mlflow.set_experiment(experiment)
    return mlflow


def _kept_on(do: Callable[[], Any], uri: str | None) -> Any:
    """What it gives; None, and a line in the log, if tracking fails."""
    try:
        return do()
    except Exception as error:  # MLflow, its stores and its HTTP client raise many kinds
        _LOG.warning("MLflow at %s fails, going on untracked: %s", uri, " ".join(str(error).split())[:200])
        return None
