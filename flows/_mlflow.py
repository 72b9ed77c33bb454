"""What `tracking.py`, `tail.py` and `registry.py` share of MLflow. Private to these three.

MLflow's own defaults keep a caller waiting for minutes when the server is away; here no call waits
longer than `GANMILL_MLFLOW_SECONDS`, and what fails is one line of ours.
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

from flows.settings import QUIET, load_settings
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
# Shares of the longest wait: asking whether it is there, one silent request, asking once more.
_BEFORE, _REQUEST, _AFTER = 0.25, 0.6, 0.1
_ENVIRONMENT = {
    **{name: value for name, value in QUIET.items() if name.startswith("MLFLOW_")},
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    # A request is sent once: what hangs once hangs again, and what was done is not done twice.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
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

    A server that goes away, hangs or restarts at any moment keeps the caller waiting no longer than
    `GANMILL_MLFLOW_SECONDS`, 10 by default. Files of any size go through: only silence is timed.

    Raises:
        ServiceError: The server does not answer, or refuses what was asked.
    """
    seconds = load_settings().mlflow_seconds
    _require_answer(url, doing, _BEFORE * seconds)
    client = _client(url, max(1, int(_REQUEST * seconds)))
    from mlflow.exceptions import MlflowException
    from requests.exceptions import RequestException

    try:
        yield client
    except (MlflowException, RequestException) as error:
        if silence := _silence(error):
            raise _away(url, doing, silence) from error
        _require_answer(url, doing, _AFTER * seconds)  # a failed download does not tell its cause
        reason = str(error).split("\n", 1)[0]
        raise ServiceError(f"MLflow at {url}: {doing} failed: {reason}") from error


def pages(url: str) -> str:
    """Return where a person sees the pages of the server that we call at `url`."""
    return (load_settings().public_mlflow_url or url).removesuffix("/")


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


def _client(url: str, seconds: int) -> "MlflowClient":
    """Return a client whose requests wait for at most this long, those of other clients as well."""
    # MLflow reads them at each request.
    os.environ.update(_ENVIRONMENT, MLFLOW_HTTP_REQUEST_TIMEOUT=str(seconds))
    return _client_of(url)


@lru_cache(maxsize=4)
def _client_of(url: str) -> "MlflowClient":
    from mlflow import MlflowClient

    logging.getLogger("mlflow").setLevel(logging.WARNING)
    return MlflowClient(tracking_uri=url, registry_uri=url)


def _require_answer(url: str, doing: str, seconds: float) -> None:
    """Ask the server whether it is there, apart from what it may be busy with."""
    if not url.startswith(("http://", "https://")):
        return
    local = url.startswith(("http://127.0.0.1", "http://localhost"))
    direct = [urllib.request.ProxyHandler({})] if local else []
    opener = urllib.request.build_opener(*direct)
    try:
        with opener.open(f"{url}/health", timeout=seconds):
            return
    except (OSError, HTTPException) as error:
        raise _away(url, doing, getattr(error, "reason", error)) from error


def _silence(error: BaseException) -> BaseException | None:
    """Return what kept an answer from coming, or None where there was one, if only a refusal."""
    from requests.exceptions import RequestException

    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, RequestException):
            return cause if cause.response is None else None
        cause = cause.__cause__ or cause.__context__
    return None


def _away(url: str, doing: str, reason: object) -> ServiceError:
    said = " ".join(str(reason).split())
    return ServiceError(
        f"MLflow at {url} does not answer ({said}); {doing} did not complete. "
        "Start it with: ganmill up. Then run the same again; nothing is lost."
    )


def _metrics(row: Row) -> list[tuple[str, float]]:
    numbers = {k: v for k, v in row.items() if isinstance(v, int | float) and k not in _SKIPPED}
    return [(_named(key), float(value)) for key, value in numbers.items()]


def _named(key: str) -> str:
    """Return a metric's name; MLflow's pages make a section of what stands before the slash."""
    if key in _GENERAL:
        return key
    section = next((name for name, keys in _SECTIONS.items() if key in keys), "train")
    return f"{section}/{key}"
