"""What came out, part one: training runs in MLflow. Every call names its run; none is global.

Metrics carry the number of images shown (`nimg`) as their step, so that runs of unlike batch sizes
share one axis.
"""

import json
import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from flows._mlflow import TrackedRun, connected
from flows.settings import Settings
from gan.durable import read_json
from gan.errors import ServiceError
from gan.paths import Layout

__all__ = [
    "TRAINING_KEY",
    "StatsTail",
    "TrackedRun",
    "close_run",
    "describe_run",
    "flat",
    "log_dataset",
    "log_picture",
    "log_report",
    "log_stats",
    "open_run",
    "tag_run",
]
TRAINING_KEY = "training_key"
Row = Mapping[str, Any]
_BATCH = 1000  # MLflow's own limit for one call
_POLL_SECONDS = 0.5
_RETRY_SECONDS = 5.0
_GENERAL = {"kimg", "images_per_second"}
_SKIPPED = {"nimg", "seconds", "eta_seconds"}
_log = logging.getLogger(__name__)


def open_run(  # noqa: PLR0913  # the parts of a run
    layout: Layout,
    settings: Settings,
    recipe: str,
    name: str,
    tags: Mapping[str, str],
    params: Mapping[str, Any],
) -> TrackedRun:
    """Open a run in the recipe's experiment, or return the open one of the same training.

    Args:
        layout: The workspace; its folder is written into the run.
        settings: Where MLflow is.
        recipe: Names the experiment.
        name: What the list of runs shows, say `stickers #3 from v1`.
        tags: `training_key` in it makes a killed training find its run again.
        params: May be nested; keys are joined by dots.

    Raises:
        ServiceError: MLflow does not answer.
    """
    from mlflow.entities import Param

    url = settings.mlflow_url
    with connected(url, f"opening the run {name!r}") as client:
        experiment_id = _experiment(client, recipe)
        run = _open_one(client, experiment_id, tags.get(TRAINING_KEY))
        if run is None:
            all_tags = {"recipe": recipe, "workspace": str(layout.root), **tags}
            run = client.create_run(experiment_id, run_name=name, tags=all_tags)
        fresh = [Param(k, str(v)) for k, v in flat(params).items() if k not in run.data.params]
        if fresh:
            client.log_batch(run.info.run_id, params=fresh)
    page = f"{url}/#/experiments/{experiment_id}/runs/{run.info.run_id}"
    return TrackedRun(run.info.run_id, experiment_id, page, url, int(run.info.start_time))


def close_run(run: TrackedRun, status: Literal["FINISHED", "FAILED", "KILLED"]) -> None:
    """End a run; a run that was preempted is left open instead, to be found again."""
    with connected(run.tracking_url, "closing the run") as client:
        client.set_terminated(run.run_id, status)


def tag_run(run: TrackedRun, tags: Mapping[str, str]) -> None:
    """Set tags of a run."""
    from mlflow.entities import RunTag

    with connected(run.tracking_url, "tagging the run") as client:
        client.log_batch(run.run_id, tags=[RunTag(key, value) for key, value in tags.items()])


def describe_run(run: TrackedRun, markdown: str) -> None:
    """Set the description that the run's page shows."""
    tag_run(run, {"mlflow.note.content": markdown})


def log_stats(run: TrackedRun, rows: Iterable[Row]) -> None:
    """Send rows of `stats.jsonl`; sending the same row again changes nothing.

    A row's time is the run's start plus its `seconds`, so that a repeated row is the same point.
    """
    from mlflow.entities import Metric

    points = [
        Metric(
            key, value, run.start_ms + int(1000 * float(row.get("seconds", 0))), int(row["nimg"])
        )
        for row in rows
        for key, value in _metrics(row)
    ]
    with connected(run.tracking_url, "sending training metrics") as client:
        for first in range(0, len(points), _BATCH):
            client.log_batch(run.run_id, metrics=points[first : first + _BATCH])


def log_report(
    run: TrackedRun, report: Path, pictures: Sequence[Path], *, nimg: int = 0
) -> dict[str, float]:
    """Send an evaluation: `fd_domain`, `fd_domain_low`, ... at step `nimg`, the file, the pictures.

    Returns:
        The metrics as sent.
    """
    from mlflow.entities import Metric

    document, now = read_json(report), int(time.time() * 1000)
    values = dict(_report_metrics(document.get("metrics", {})))
    with connected(run.tracking_url, "sending the evaluation") as client:
        points = [Metric(key, value, now, nimg) for key, value in values.items()]
        client.log_batch(run.run_id, metrics=points)
        client.log_artifact(run.run_id, str(report), "evaluation")
        for picture in pictures:
            client.log_artifact(run.run_id, str(picture), "evaluation")
    for picture in pictures:
        log_picture(run, picture, key=picture.stem, nimg=nimg)
    return values


def log_picture(run: TrackedRun, picture: Path, *, key: str, nimg: int) -> None:
    """Send a PNG as the picture `key` at step `nimg`; the run's page shows a slider over steps."""
    from PIL import Image

    with Image.open(picture) as image, connected(run.tracking_url, "sending a picture") as client:
        image.load()
        client.log_image(run.run_id, image, key=key, step=nimg, synchronous=True)


def log_dataset(
    run: TrackedRun, name: str, digest: str, source: Mapping[str, str], profile: Mapping[str, Any]
) -> None:
    """Say what a run was trained on: the page shows it under its datasets.

    Args:
        run: The run.
        name: What the page shows, say the recipe.
        digest: SHA-256 of the data; MLflow keeps its first 36 characters.
        source: Where DVC has it: `path`, `rev` (git), `md5`.
        profile: Counts, say {"images": 6000, "classes": 9}.
    """
    from mlflow.entities import Dataset, DatasetInput, InputTag

    dataset = Dataset(name, digest[:36], "dvc", json.dumps(dict(source)), None, json.dumps(profile))
    given = DatasetInput(dataset, [InputTag("mlflow.data.context", "training")])
    with connected(run.tracking_url, "sending the data set") as client:
        client.log_inputs(run.run_id, [given])


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested values with their keys joined by dots."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        inner = value if isinstance(value, Mapping) else None
        found |= flat(inner, f"{prefix}{key}.") if inner is not None else {f"{prefix}{key}": value}
    return found


class StatsTail(threading.Thread):
    """Follows `runs/<recipe>/stats.jsonl` into MLflow and calls `on_row` for each row, in order.

    MLflow being away stops nothing: it is said once, rows wait, and go when it is back. Pictures
    `samples-<nimg>.png` in the same folder are sent as they appear. Use as a context manager, or
    `start` and then `finish`.
    """

    def __init__(
        self, run: TrackedRun | None, path: Path, on_row: Callable[[Row], None] | None = None
    ) -> None:
        """Follow `path`, which may not exist yet; without a run, rows only go to `on_row`."""
        super().__init__(name=f"tail {path}", daemon=True)
        self._run_info, self._path, self._on_row = run, path, on_row
        self._offset = 0
        self._waiting: list[Row] = []
        self._pictures: set[str] = set()
        self._over = threading.Event()
        self._away_since = 0.0
        self._failure: BaseException | None = None

    def __enter__(self) -> "StatsTail":
        """Start following."""
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Send what is left."""
        self.finish()

    def run(self) -> None:
        """Follow until `finish`; an error of `on_row` is raised there."""
        while not self._over.wait(_POLL_SECONDS):
            self._step()

    def finish(self) -> bool:
        """Read to the end, send what waits, and tell whether everything arrived.

        Raises:
            Exception: What `on_row` raised.
        """
        self._over.set()
        if self.is_alive():
            self.join()
        self._away_since = 0.0
        self._step()
        if self._failure:
            raise self._failure
        if self._waiting:
            _log.warning(
                "%d rows did not reach MLflow; %s has them.", len(self._waiting), self._path
            )
        return not self._waiting

    def _step(self) -> None:
        rows = self._read()
        self._waiting += rows if self._run_info else []
        for row in rows if self._on_row and not self._failure else ():
            try:
                self._on_row(row)  # type: ignore[misc]  # checked in the line above
            except Exception as error:  # noqa: BLE001  # raised by `finish`, in the caller's thread
                self._failure = error
                break
        if self._run_info and time.monotonic() - self._away_since > _RETRY_SECONDS:
            self._send(self._run_info)

    def _send(self, run: TrackedRun) -> None:
        try:
            if self._waiting:
                log_stats(run, self._waiting)
                self._waiting = []
            for picture in sorted(self._path.parent.glob("samples-*.png")):
                if picture.name not in self._pictures:
                    nimg = int(picture.stem.removeprefix("samples-"))
                    log_picture(run, picture, key="samples", nimg=nimg)
                    self._pictures.add(picture.name)
        except ServiceError as error:
            if not self._away_since:
                _log.warning("%s Training goes on; its rows wait in %s.", error, self._path)
            self._away_since = time.monotonic()
        else:
            self._away_since = 0.0

    def _read(self) -> list[Row]:
        """Return the whole lines that were added since the last look."""
        if not self._path.exists():
            return []
        if self._path.stat().st_size < self._offset:  # begun anew; repeated rows change nothing
            self._offset = 0
        with self._path.open("rb") as file:
            file.seek(self._offset)
            whole, _, _ = file.read().rpartition(b"\n")
        if not whole:
            return []
        self._offset += len(whole) + 1
        rows = []
        for line in whole.split(b"\n"):
            try:
                row = json.loads(line)
                rows.append({**row, "nimg": int(row["nimg"])})
            except (ValueError, TypeError, KeyError):
                _log.warning("%s: a line is no row of statistics, left out.", self._path)
        return rows


def _metrics(row: Row) -> list[tuple[str, float]]:
    numbers = {k: v for k, v in row.items() if isinstance(v, int | float) and k not in _SKIPPED}
    return [(k if k in _GENERAL else f"train/{k}", float(v)) for k, v in numbers.items()]


def _report_metrics(metrics: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, float]]:
    return [
        (name if part == "value" else f"{name}_{part}", float(number))
        for name, metric in metrics.items()
        for part, number in metric.items()
        if isinstance(number, int | float)
    ]


def _experiment(client: Any, recipe: str) -> str:  # noqa: ANN401  # MlflowClient
    from mlflow.exceptions import MlflowException

    known = client.get_experiment_by_name(recipe)
    if known is None:
        # The kind opens the page for model training, not the one for language models.
        tags = {
            "mlflow.experimentKind": "custom_model_development",
            "mlflow.note.content": f"Trainings of the recipe `{recipe}`.",
        }
        try:
            return str(client.create_experiment(recipe, tags=tags))
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
            known = client.get_experiment_by_name(recipe)
    return str(known.experiment_id)


def _open_one(client: Any, experiment_id: str, key: str | None) -> Any:  # noqa: ANN401
    if key is None:
        return None
    same = f"attributes.status = 'RUNNING' and tags.{TRAINING_KEY} = '{key}'"
    runs = client.search_runs([experiment_id], same, max_results=1)
    return runs[0] if runs else None
