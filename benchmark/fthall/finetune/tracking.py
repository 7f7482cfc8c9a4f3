"""MLflow tracking: on by default in a local SQLite store, any tracking URI, or off."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fthall.finetune.train import Log


def local_store(folder: Path) -> str:
    """The tracking URI of a SQLite store in a folder; open it with ``mlflow ui --backend-store-uri <this>``."""
    return f"sqlite:///{folder.resolve()}/mlflow.db"


@contextmanager
def track(uri: str | None, experiment: str, name: str, parameters: Mapping[str, Any]) -> Iterator[Log | None]:
    """A run in MLflow: yields what takes its metrics, or None where tracking is off (``uri`` None)."""
    if uri is None:
        yield None
        return
    import logging

    import mlflow

    for noisy in ("alembic", "mlflow"):  # creating the store logs every database migration
        logging.getLogger(noisy).setLevel(logging.WARNING)
    mlflow.set_tracking_uri(uri)
    mlflow.set_experiment(experiment)
    with mlflow.start_run(run_name=name):
        mlflow.log_params(dict(parameters))

        def log(values: Mapping[str, float], step: int) -> None:
            mlflow.log_metrics(dict(values), step=step)

        yield log
