"""Runs in MLflow: parameters, a metric an epoch, and when all is done the curve and the submission.

On by default, in a local SQLite store; at any tracking URI; or off. A server that is gone ends no training.
"""

import logging
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from fthall.files import read_json, write_json
from fthall.records import EpochPoint

Log = Callable[[Mapping[str, float], int], None]
"""Takes metrics and their step, e.g. to a tracker."""

_LOG = logging.getLogger(__name__)
KEPT = "mlflow.json"
"""In a run's folder: where it is tracked, so that what is made of it later can be put beside it."""


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
def track(
    uri: str | None,
    experiment: str,
    name: str,
    parameters: Mapping[str, Any],
    *,
    parent: str | None = None,
    kept: Path | None = None,
) -> Iterator[Log | None]:
    """A run in MLflow: yields what takes its metrics, or None where tracking is off (``uri`` None) or cannot begin.

    No training ends because a tracking server has gone: that is said once, and the run goes on untracked.

    Args:
        uri: of the tracking server or store.
        experiment: what the run belongs to, a track.
        name: of the run.
        parameters: of the run.
        parent: id of the run it is nested in.
        kept: file for where it is tracked, for :func:`attach`.
    """
    begun = None if uri is None else _kept_on(lambda: _begin(uri, experiment, name, parameters, parent), uri)
    if begun is None:
        yield None
        return
    if kept:
        write_json(kept, {"uri": uri, "run_id": begun.active_run().info.run_id})
    gone: list[int] = []

    def log(values: Mapping[str, float], step: int) -> None:
        if not gone and _kept_on(lambda: begun.log_metrics(dict(values), step=step) or True, uri) is None:
            gone.append(step)

    def end(status: str) -> None:
        """Also after a hiccup: a run that is not ended would be taken for the next one."""
        if gone:  # that was said
            with suppress(Exception):
                begun.end_run(status)
        else:
            _kept_on(lambda: begun.end_run(status), uri)

    try:
        yield log
    except BaseException:
        end("FAILED")
        raise
    end("FINISHED")


def begin_parent(uri: str, experiment: str, name: str, parameters: Mapping[str, Any], kept: Path) -> str | None:
    """The id of a run that others are nested in: the one that is kept in a file, or a new one; None if MLflow fails."""

    def begin() -> str:
        mlflow = _begin(uri, experiment, name, parameters, None)
        found = str(mlflow.active_run().info.run_id)
        mlflow.end_run()
        write_json(kept, {"uri": uri, "run_id": found})
        return found

    if kept.exists() and read_json(kept)["uri"] == uri:
        return str(read_json(kept)["run_id"])
    found: str | None = _kept_on(begin, uri)
    return found


def attach(kept: Path, trajectory: Sequence[EpochPoint], submission: Path) -> None:
    """Put the curve and the submission folder beside a run, wherever it was tracked; nothing where it was not."""
    if not kept.exists():
        return
    where = read_json(kept)

    def put() -> bool:
        mlflow = _quiet()
        client = mlflow.MlflowClient(tracking_uri=where["uri"])
        client.log_artifacts(where["run_id"], str(submission), "submission")
        with tempfile.TemporaryDirectory() as folder:
            picture = Path(folder) / "curve.svg"
            picture.write_text(curve(trajectory), encoding="utf-8")
            client.log_artifact(where["run_id"], str(picture))
        return True

    _kept_on(put, where["uri"])


def curve(points: Sequence[EpochPoint]) -> str:
    """New facts learned (rising) and old facts kept, percent by epoch, as an SVG picture."""
    width, height, left, top = 480, 240, 40, 16
    last = max((point.epoch for point in points), default=1.0) or 1.0

    def line(values: Sequence[tuple[float, float]], colour: str, name: str) -> str:
        at = [(left + (width - 120) * x / last, top + (height - 48) * (1 - y / 100)) for x, y in values]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in at)
        (x, y), (_, value) = at[-1], values[-1]
        return (
            f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>'
            f'<text x="{x + 6:.1f}" y="{y + 4:.1f}" fill="{colour}">{name} {value:.0f}</text>'
        )

    grid = "".join(f'<text x="4" y="{top + (height - 48) * (1 - y / 100) + 4:.1f}">{y}</text>' for y in (0, 50, 100))
    lines = (
        [
            line([(p.epoch, p.unknown) for p in points], "#b3541e", "new facts"),
            line([(p.epoch, p.held) for p in points], "#1e5fb3", "old facts"),
        ]
        if points
        else []
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" font-family="sans-serif" '
        f'font-size="12">{grid}{"".join(lines)}'
        f'<text x="{left}" y="{height - 6}">epochs 0 to {last:g}</text></svg>\n'
    )


def _begin(uri: str, experiment: str, name: str, parameters: Mapping[str, Any], parent: str | None) -> Any:
    """MLflow, with a run begun."""
    mlflow = _connect(uri, experiment)
    mlflow.start_run(run_name=name, tags={"mlflow.parentRunId": parent} if parent else None)
    try:
        mlflow.log_params(dict(parameters))
    except Exception:
        mlflow.end_run("FAILED")
        raise
    return mlflow


def _connect(uri: str, experiment: str) -> Any:
    """MLflow, with a store and an experiment."""
    mlflow = _quiet()
    mlflow.set_tracking_uri(uri)
    mlflow.set_experiment(experiment)
    return mlflow


def _quiet() -> Any:
    """MLflow, saying no more than it must."""
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")  # its own seven take minutes
    import mlflow

    # Creating the store logs every database migration, and a server that is gone every attempt to reach it.
    for noisy, level in (("alembic", logging.WARNING), ("mlflow", logging.WARNING), ("urllib3", logging.ERROR)):
        logging.getLogger(noisy).setLevel(level)
    return mlflow


def _kept_on(do: Callable[[], Any], uri: str | None) -> Any:
    """What it gives; None, and a line in the log, if tracking fails."""
    try:
        return do()
    except Exception as error:  # MLflow, its stores and its HTTP client raise many kinds
        _LOG.warning("MLflow at %s fails, going on untracked: %s", uri, " ".join(str(error).split())[:200])
        return None
