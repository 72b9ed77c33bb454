"""Both servers: do they answer, in the right version, to our login, at the same time of day?"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from flows import brief_http, stack
from flows.brief_http import Answer, Asked
from flows.doctor.finding import Finding, bad, ok, unknown, warn
from flows.settings import LOOPBACK, Settings
from gan.errors import ServiceError
from gan.paths import Layout

if TYPE_CHECKING:
    from flows.stack import Server

_UP = "ganmill up"
_AGAIN = "ganmill down; ganmill up"
_OK, _REFUSED = 200, frozenset({401, 403})
_APART, _FAR_APART = timedelta(seconds=10), timedelta(seconds=60)


@dataclass(frozen=True)
class _Kind:
    """One of the two: how it is asked for its version, and for what needs login and database."""

    asked: Asked
    package: str
    version: str
    private: str
    body: Any = None


def servers(layout: Layout, settings: Settings) -> list[Finding]:
    """Look at the Prefect and the MLflow server."""
    found = stack.status(layout, settings)
    prefect = _Kind(brief_http.prefect(settings), "prefect", "/admin/version", "/flows/count", {})
    searched = "/api/2.0/mlflow/experiments/search?max_results=1"
    mlflow = _Kind(brief_http.mlflow(settings), "mlflow", "/version", searched)
    return [
        line
        for server, kind in ((found.prefect, prefect), (found.mlflow, mlflow))
        for line in _looked_at(server, kind, settings)
    ]


def _looked_at(server: "Server", kind: _Kind, settings: Settings) -> list[Finding]:
    name = kind.asked.name
    if server.state == "down":
        return [_down(name, server)]
    try:
        answer = kind.asked.answer(kind.private, kind.body)
        told = kind.asked.answer(kind.version)
        stranger = None
        if settings.login:
            stranger = kind.asked.answer(kind.private, kind.body, as_nobody=True)
    except ServiceError as error:
        mend = _UP if server.state == "up" else f"{_variable(name)}=...   (is it the right one?)"
        return [bad(name, str(error), mend)]
    now = datetime.now(UTC)
    lines = [_login(name, answer, stranger, settings) or _version(kind, server, told)]
    return [*lines, *_clock(name, told, now)]


def _down(name: str, server: "Server") -> Finding:
    if server.pid is None:
        return warn(name, "is not running", _UP)
    return bad(name, f"its process {server.pid} lives and does not answer", f"tail {server.log}")


def _login(
    name: str, answer: Answer, stranger: Answer | None, settings: Settings
) -> Finding | None:
    """Look at whether we are let in, and nobody else."""
    if answer.status in _REFUSED:
        says = "refuses our login" if settings.login else "wants a login, and GANMILL_LOGIN is none"
        return bad(name, says, "export GANMILL_LOGIN=user:password   (as the server has it)")
    if answer.status != _OK:
        says = f"answers {answer.status} to what it should know; does its database answer?"
        return bad(name, says, _AGAIN)
    if stranger and stranger.status == _OK:
        says = "lets in who says no login, though GANMILL_LOGIN is set"
        return (warn if settings.host in LOOPBACK else bad)(name, says, _AGAIN)
    return None


def _version(kind: _Kind, server: "Server", told: Answer) -> Finding:
    """Look at whether the server is of the version of our client."""
    name, found = kind.asked.name, str(told.value).strip()
    says = f"{found} at {server.url}, in {told.seconds * 1000:.0f} ms"
    try:
        ours = version(kind.package)
    except PackageNotFoundError:
        return unknown(name, f"{says}; {kind.package} is not installed here")
    if told.status != _OK or not found[:1].isdigit():
        return unknown(name, f"answers at {server.url}, and does not tell its version")
    if found.split(".")[:2] != ours.split(".")[:2]:
        mend = f"pip install '{kind.package}=={found}', or give the server {ours}"
        return bad(name, f"{says}; what speaks to it here is {ours}", mend)
    if found != ours:
        mend = _AGAIN if server.state == "up" else f"give the server {ours}"
        return warn(name, f"{says}; what speaks to it here is {ours}", mend)
    return ok(name, says)


def _clock(name: str, told: Answer, now: datetime) -> list[Finding]:
    """Look at the time that the server gave with its answer, to the second."""
    title = f"{name} clock"
    if told.clock is None:
        return [unknown(title, "it does not tell the time")]
    apart = told.clock - (now - timedelta(seconds=told.seconds / 2))
    if abs(apart) < _APART:
        return [ok(title, "the same as here")]
    which = "ahead" if apart > timedelta(0) else "behind"
    says = f"{abs(apart.total_seconds()):.0f} s {which} of this machine's"
    mend = "timedatectl set-ntp true   (on both machines)"
    return [(bad if abs(apart) > _FAR_APART else warn)(title, says, mend)]


def _variable(name: str) -> str:
    return "PREFECT_API_URL" if name == "Prefect" else "MLFLOW_TRACKING_URI"
