"""The connection to MLflow that `tracking.py` and `registry.py` share. Private to these two.

MLflow's own defaults keep a caller waiting for minutes when the server is away; here it is seconds,
and what fails is one line of ours.
"""

import os
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from http.client import HTTPException
from typing import TYPE_CHECKING

from flows.settings import QUIET
from gan.errors import ServiceError

if TYPE_CHECKING:
    from mlflow import MlflowClient

_TRIES, _TRY_SECONDS = 2, 5.0
_ENVIRONMENT = {
    **{name: value for name, value in QUIET.items() if name.startswith("MLFLOW_")},
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
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


@lru_cache(maxsize=4)
def _client(url: str) -> "MlflowClient":
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)  # read by MLflow at each request
    from mlflow import MlflowClient

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
