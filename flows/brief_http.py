"""Ask a server one thing, as JSON, and have its answer within seconds.

For pages that must come quickly whatever is away: the libraries of Prefect and MLflow take seconds
to import, and longer to give up.
"""

import base64
import json
import os
import ssl
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import lru_cache
from http.client import HTTPException, HTTPMessage
from typing import IO, TYPE_CHECKING, Any
from urllib.error import HTTPError, URLError
from urllib.parse import unquote, urlsplit, urlunsplit

from flows.page_style import without_login
from flows.settings import LOOPBACK, Settings
from gan.errors import ServiceError

if TYPE_CHECKING:
    from email.message import Message

_SECONDS = 3.0
_OK, _REFUSED, _BUSY = 200, frozenset({401, 403}), 503
_TRIES_AGAIN, _PAUSE_SECONDS = 2, 0.3


@dataclass(frozen=True)
class Answer:
    """What a server said.

    Attributes:
        status: Of HTTP; a refusal is an answer too.
        value: The JSON, or the text where it is none.
        clock: The server's own time, to the second, if it told it.
        seconds: How long the answer took.
    """

    status: int
    value: Any
    clock: datetime | None
    seconds: float


@dataclass(frozen=True)
class Asked:
    """A server that can be asked, and who asks.

    Attributes:
        name: Of the server, for messages.
        base: The address that paths are added to, without a login.
        login: The header that says who asks; a secret.
        certificates: PEM file of the authorities to trust; None for the machine's own.
        seconds: The longest that an answer may take.
    """

    name: str
    base: str
    login: Mapping[str, str] = field(default_factory=dict, repr=False)
    certificates: str | None = None
    seconds: float = _SECONDS

    def answer(self, path: str, body: Any = None, *, as_nobody: bool = False) -> Answer:
        """Return the answer to a GET, or to a POST where there is a body; both only ask.

        A server that is too busy, as one over SQLite is now and then, is asked again.

        Args:
            path: Below the base, beginning with a slash.
            body: JSON to send.
            as_nobody: Leave the login out.

        Raises:
            ServiceError: There is no answer.
        """
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json", **({} if as_nobody else self.login)}
        for _ in range(_TRIES_AGAIN):
            found = self._answer(path, data, headers)
            if found.status != _BUSY:
                return found
            time.sleep(_PAUSE_SECONDS)
        return self._answer(path, data, headers)

    def _answer(self, path: str, data: bytes | None, headers: Mapping[str, str]) -> Answer:
        try:
            request = urllib.request.Request(self.base + path, data, dict(headers))  # noqa: S310  # see _open
            began = time.monotonic()
            with self._open(request) as found:
                return _answer(found.status, found.read(), found.headers, began)
        except HTTPError as error:
            with error:
                return _answer(error.code, _rest(error), error.headers, began)
        except (OSError, HTTPException, ValueError) as error:
            raise ServiceError(f"{self.base} does not answer ({_reason(error)})") from error

    def read(self, path: str, body: Any = None) -> Any:
        """Return the JSON that the server answers with.

        Raises:
            ServiceError: There is no answer, or it is a refusal.
        """
        return self.told(self.answer(path, body))

    def told(self, found: Answer) -> Any:
        """Return the JSON of an answer.

        Raises:
            ServiceError: It is a refusal.
        """
        if found.status in _REFUSED:
            raise ServiceError(f"{self.base} refuses our login, or wants one (GANMILL_LOGIN)")
        if found.status != _OK:
            raise ServiceError(f"{self.base} answers {found.status}; is it {self.name}?")
        return found.value

    @contextmanager
    def understood(self) -> Iterator[None]:
        """Turn answers of another shape than this server's into one line.

        Raises:
            ServiceError: They were.
        """
        try:
            yield
        except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
            raise ServiceError(f"{self.base} does not answer as {self.name} does") from error

    def _open(self, request: urllib.request.Request) -> Any:  # an open answer
        parts = urlsplit(request.full_url)
        if parts.scheme not in {"http", "https"}:
            raise ValueError("its address must begin with http:// or https://")
        handlers: list[urllib.request.BaseHandler] = [_NoRedirect()]
        if parts.hostname in LOOPBACK:  # no proxy stands between, whatever http_proxy says
            handlers.append(urllib.request.ProxyHandler({}))
        if parts.scheme == "https":
            trusted = _trusted(self.certificates)
            handlers.append(urllib.request.HTTPSHandler(context=trusted))
        return urllib.request.build_opener(*handlers).open(request, timeout=self.seconds)


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Takes a redirection for the answer: our login is for this server alone."""

    def redirect_request(
        self,
        req: urllib.request.Request,  # noqa: ARG002  # the names are the library's
        fp: IO[bytes],  # noqa: ARG002
        code: int,  # noqa: ARG002
        msg: str,  # noqa: ARG002
        headers: HTTPMessage,  # noqa: ARG002
        newurl: str,  # noqa: ARG002
    ) -> None:
        """Return no further request."""
        return


def prefect(settings: Settings) -> Asked:
    """Return the Prefect server's API, with the login that its own clients use."""
    given = settings.login.get_secret_value() if settings.login else ""
    pair = given or os.environ.get("PREFECT_API_AUTH_STRING", "")
    token = "" if pair else os.environ.get("PREFECT_API_KEY", "")
    trusted = os.environ.get("PREFECT_API_SSL_CERT_FILE")
    return _asked("Prefect", f"{settings.prefect_url}/api", pair, token, trusted)


def mlflow(settings: Settings) -> Asked:
    """Return the MLflow server, with the login that its own clients use."""
    given = settings.login.get_secret_value() if settings.login else ""
    user = os.environ.get("MLFLOW_TRACKING_USERNAME", "")
    password = os.environ.get("MLFLOW_TRACKING_PASSWORD", "")
    pair = given or (f"{user}:{password}" if user else "")
    token = "" if pair else os.environ.get("MLFLOW_TRACKING_TOKEN", "")
    trusted = os.environ.get("MLFLOW_TRACKING_SERVER_CERT_PATH")
    return _asked("MLflow", settings.mlflow_url, pair, token, trusted)


def _asked(name: str, url: str, pair: str, token: str, trusted: str | None) -> Asked:
    """Return a server, with a login in its address made a header."""
    parts = urlsplit(url)
    if "@" in parts.netloc:
        given, _, host = parts.netloc.rpartition("@")
        pair, url = pair or unquote(given), urlunsplit(parts._replace(netloc=host))
    login = {}
    if pair:
        login = {"Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}
    elif token:
        login = {"Authorization": f"Bearer {token}"}
    return Asked(name, url, login, trusted)


@lru_cache(maxsize=4)
def _trusted(certificates: str | None) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=certificates)


def _rest(error: HTTPError) -> bytes:
    try:
        return error.read()
    except (OSError, HTTPException):  # the status alone tells enough
        return b""


def _answer(status: int, payload: bytes, headers: "Message[str, str]", began: float) -> Answer:
    seconds = time.monotonic() - began
    try:
        value = json.loads(payload)
    except ValueError:
        value = payload.decode(errors="replace")
    try:
        clock = parsedate_to_datetime(headers.get("Date", ""))
    except ValueError:
        clock = None
    return Answer(status, value, clock.astimezone(UTC) if clock else None, seconds)


def _reason(error: BaseException) -> str:
    reason = error.reason if isinstance(error, URLError) else error
    said = getattr(reason, "strerror", None) or str(reason) or type(reason).__name__
    return without_login(" ".join(str(said).split()))
