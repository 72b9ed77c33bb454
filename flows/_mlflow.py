"""What `tracking.py`, `tail.py` and `registry.py` share of MLflow. Private to these three.

MLflow's own defaults keep a caller waiting for minutes when the server is away; here it is seconds,
and what fails is one line of ours.
"""

import logging
import os
import urllib.request
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from http.client import HTTPException
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows.settings import QUIET
from gan.errors import ServiceError

if TYPE_CHECKING:
    from mlflow import MlflowClient

Row = Mapping[str, Any]
# MLflow's pages open in their view for language models; this asks for the one of trained models.
VIEW = "?workflowType=machine_learning"
_BATCH = 1000  # MLflow's own limit for one call
_TAG_LENGTH = 5000
_GENERAL = {"kimg", "images_per_second"}
# Sections of MLflow's pages; what is in none of them is `train`.
_SECTIONS = {
    "tuning": {"lr", "gamma", "augment", "boost", "attempt"},
    "measured": {
        "fd", "diversity", "worst_diversity", "coverage", "worst_coverage",
        "class_accuracy", "rank",
    },
    "system": {
        "memory_mb", "processor_share", "gpu_memory_mb", "gpu_watts", "gpu_utilisation",
    },
}  # fmt: skip
_SKIPPED = {"nimg", "seconds", "eta_seconds", "share", "samples"}
_TRIES, _TRY_SECONDS = 2, 5.0
_ENVIRONMENT = {
    **{name: value for name, value in QUIET.items() if name.startswith("MLFLOW_")},
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
}


@dataclass(frozen=True)
class TrackedRun:
    """An MLflow run: where it is, and when it began (milliseconds since 1970)."""

    run_id: str
    experiment_id: str
    url: str
    tracking_url: str
    start_ms: int


@contextmanager
def connected(url: str, doing: str) -> Iterator["MlflowClient"]:
    """Yield a client of the server at `url`; every failure of MLflow becomes a ServiceError.

    Raises:
        ServiceError: The server does not answer (within about 20 s), or refuses what was asked.
    """
    _check_health(url, doing)
    client = _client(url)
    from mlflow.exceptions import MlflowException
    from requests.exceptions import RequestException

    try:
        yield client
    except (MlflowException, RequestException) as error:
        _check_health(url, doing)
        reason = str(error).split("\n", 1)[0]
        raise ServiceError(f"MLflow at {url}: {doing} failed: {reason}") from error


def log_stats(run: TrackedRun, rows: Iterable[Row]) -> None:
    """Send rows of `stats.jsonl`; sending the same row again changes nothing.

    A row's time is the run's start plus its `seconds`, so that a repeated row is the same point. An
    event, say a roll-back, becomes a tag.
    """
    from mlflow.entities import Metric, RunTag

    rows = list(rows)
    tags = [
        RunTag(f"event.{int(row['nimg']):012d}.{row['event']}", str(row["message"])[:_TAG_LENGTH])
        for row in rows
        if "event" in row
    ]
    points = [
        Metric(
            key, value, run.start_ms + int(1000 * float(row.get("seconds", 0))), int(row["nimg"])
        )
        for row in rows
        if "event" not in row
        for key, value in _metrics(row)
    ]
    with connected(run.tracking_url, "sending training metrics") as client:
        for first in range(0, len(points), _BATCH):
            client.log_batch(run.run_id, metrics=points[first : first + _BATCH])
        if tags:
            client.log_batch(run.run_id, tags=tags)


def log_picture(run: TrackedRun, picture: Path, *, key: str, nimg: int) -> None:
    """Send a PNG as the picture `key` at step `nimg`; the run's page shows a slider over steps.

    A picture that the run has at this step already is not sent again: MLflow would show both.
    """
    from PIL import Image

    with Image.open(picture) as image, connected(run.tracking_url, "sending a picture") as client:
        sent = client.list_artifacts(run.run_id, "images")
        if any(f"/{key}+step+{nimg}+" in artifact.path for artifact in sent):
            return
        image.load()
        client.log_image(run.run_id, image, key=key, step=nimg, synchronous=True)


@lru_cache(maxsize=4)
def _client(url: str) -> "MlflowClient":
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)  # read by MLflow at each request
    from mlflow import MlflowClient

    logging.getLogger("mlflow").setLevel(logging.WARNING)
    return MlflowClient(tracking_uri=url, registry_uri=url)


def _check_health(url: str, doing: str) -> None:
    """Ask the server whether it is there, before MLflow's own patience begins."""
    if not url.startswith(("http://", "https://")):
        return
    local = url.startswith(("http://127.0.0.1", "http://localhost"))
    direct = [urllib.request.ProxyHandler({})] if local else []
    opener = urllib.request.build_opener(*direct)
    problem: Exception | None = None
    for _ in range(_TRIES):
        try:
            with opener.open(f"{url}/health", timeout=_TRY_SECONDS):
                return
        except (OSError, HTTPException) as error:
            problem = error
    reason = getattr(problem, "reason", problem)
    raise ServiceError(
        f"MLflow at {url} does not answer ({reason}); {doing} was not done. "
        f"Start it with: ganmill up. Then run the same again; nothing is lost."
    ) from problem


def _metrics(row: Row) -> list[tuple[str, float]]:
    numbers = {k: v for k, v in row.items() if isinstance(v, int | float) and k not in _SKIPPED}
    return [(_named(key), float(value)) for key, value in numbers.items()]


def _named(key: str) -> str:
    """Return a metric's name; MLflow's pages make a section of what stands before the slash."""
    if key in _GENERAL:
        return key
    section = next((name for name, keys in _SECTIONS.items() if key in keys), "train")
    return f"{section}/{key}"
