"""Whether Prefect and MLflow answer, after how long, and which version MLflow calls challenger."""

from dataclasses import replace

from flows import brief_http, mlflow_view
from flows.monitor.snapshot import Server
from flows.settings import Settings
from gan.errors import ServiceError

_SECONDS = 5.0
_CHALLENGER = "challenger"
_SERVER_ERROR = 500


def look(settings: Settings) -> tuple[Server, ...]:
    """Return how both servers answer; a database that is no server is left out."""
    found = []
    for name, asked, given in (
        ("prefect", brief_http.prefect(settings), settings.prefect_api_url),
        ("mlflow", brief_http.mlflow(settings), settings.mlflow_tracking_uri),
    ):
        if asked.base.startswith(("http://", "https://")):
            answered = _answer_seconds(replace(asked, seconds=_SECONDS))
            url = asked.base.removesuffix("/api")
            found.append(Server(name, url, answered, is_ours=given is None))
    return tuple(found)


def challenger(settings: Settings, recipe: str) -> int:
    """Return the number of a recipe's challenger; 0: there is none.

    Raises:
        ServiceError: MLflow did not say.
    """
    asked = brief_http.mlflow(settings)
    try:
        return mlflow_view.aliases(asked, recipe).get(_CHALLENGER, 0)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ServiceError(f"MLflow says what it never said ({error!r}).") from error


def _answer_seconds(asked: brief_http.Asked) -> float | None:
    """Return how long an answer took; one that is no failure of the server's own is an answer."""
    try:
        found = asked.answer("/health")
    except ServiceError:
        return None
    return found.seconds if found.status < _SERVER_ERROR else None
