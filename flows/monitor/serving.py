"""The monitor's own small server: `/metrics` for Prometheus, `/` for people, `/health` for probes.

It listens on loopback, or where GANMILL_HOST says; then it asks for GANMILL_LOGIN, as the other
servers do. What is given is the last round, so that no question costs more than its answer.
"""

import base64
import hmac
import socket
from typing import TYPE_CHECKING

from flows.monitor.exposition import CONTENT_TYPE
from flows.monitor.monitor import Monitor
from flows.monitor.page import page_of
from flows.servers.guard import App, Guard, Receive, Scope, Send, public_names
from flows.settings import Settings
from gan.errors import UsageError

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

_HEALTH = "/health"
_RENEW_SECONDS = "15"
_HEADERS = {"Cache-Control": "no-store"}
_END_SECONDS = 1


def serve(monitor: Monitor, settings: Settings) -> None:
    """Serve until a signal ends the process.

    Raises:
        UsageError: The port is taken.
    """
    import uvicorn

    with _listening(settings) as listener:
        monitor.start()
        config = uvicorn.Config(
            app_of(monitor, settings),
            log_level="error",
            lifespan="off",
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=_END_SECONDS,
        )
        uvicorn.Server(config).run(sockets=[listener])


def app_of(monitor: Monitor, settings: Settings) -> App:
    """Return the application: only who may ask is answered, but for whether it lives."""
    from starlette.applications import Starlette
    from starlette.responses import PlainTextResponse, Response
    from starlette.routing import Route

    def health(_request: "Request") -> "Response":
        if not monitor.is_looking:
            return PlainTextResponse("it has not looked for long\n", 503, headers=_HEADERS)
        return PlainTextResponse("ok\n", headers=_HEADERS)

    def metrics(request: "Request") -> "Response":
        if refusal := _refusal(request, settings):
            return refusal
        if monitor.last is None:
            return PlainTextResponse("the first look is not over\n", 503, headers=_HEADERS)
        return Response(monitor.last.metrics, headers={**_HEADERS, "Content-Type": CONTENT_TYPE})

    def page(request: "Request") -> "Response":
        if refusal := _refusal(request, settings):
            return refusal
        seen = monitor.last
        content = page_of(seen, settings) if seen else "The first look is not over."
        headers = {**_HEADERS, "Refresh": _RENEW_SECONDS, "Content-Type": "text/html"}
        return Response(content, headers=headers)

    routes = [Route(_HEALTH, health), Route("/metrics", metrics), Route("/", page)]
    inner = Starlette(routes=routes)
    guarded = Guard(inner, public_names(settings), settings.metrics_port)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        is_probe = scope["type"] == "http" and scope["path"] == _HEALTH
        await (inner if is_probe else guarded)(scope, receive, send)

    return app


def _refusal(request: "Request", settings: Settings) -> "Response | None":
    """Return what is answered to one without the login, where there is one."""
    from starlette.responses import PlainTextResponse

    if settings.login is None:
        return None
    word = base64.b64encode(settings.login.get_secret_value().encode()).decode()
    said = request.headers.get("authorization", "")
    if hmac.compare_digest(said.encode(), f"Basic {word}".encode()):
        return None
    asks = {**_HEADERS, "WWW-Authenticate": 'Basic realm="ganmill"'}
    return PlainTextResponse("this needs the login of GANMILL_LOGIN\n", 401, headers=asks)


def _listening(settings: Settings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((settings.host, settings.metrics_port))
        listener.listen()
    except OSError as error:
        listener.close()
        raise UsageError(
            f"port {settings.metrics_port} for the monitor cannot be listened on "
            f"({error.strerror}). Set GANMILL_METRICS_PORT to a free port, or stop that program."
        ) from error
    return listener
