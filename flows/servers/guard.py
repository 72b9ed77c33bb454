"""What stands before both servers: only their own names, only their own pages.

A page of another site can make a browser ask loopback, and a name of that site can be made to lead
there (DNS rebinding). So a request must name a host that is ours, and where a page sent it, that
page must be ours as well. Prefect itself asks neither; MLflow asks some of it.
"""

import logging
from collections.abc import Awaitable, Callable, Collection, Iterable, MutableMapping
from typing import Any
from urllib.parse import urlsplit

from flows.settings import LOOPBACK, Settings

_log = logging.getLogger(__name__)

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

GOODBYE_SECONDS = 5  # after which those who stay connected are left
_LINE, _LINES = 300, 100  # a page that asks and asks does not fill the disk
_FRAMES = frozenset({"iframe", "frame", "embed", "object"})
_HEADERS = [(b"x-frame-options", b"SAMEORIGIN"), (b"x-content-type-options", b"nosniff")]
# A page asks the server that it came from and nobody else: Prefect's asks for the configuration of
# its analytics, also where these are off. Pictures may be the other server's.
_POLICY = "default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:; img-src 'self' data: blob:"


def public_names(settings: Settings) -> frozenset[str]:
    """Return the names besides loopback by which our servers may be asked."""
    addresses = (settings.public_prefect_url, settings.public_mlflow_url)
    named = [urlsplit(each).hostname for each in addresses if each]
    given = [_name(each.strip()) for each in settings.public_hosts.split(",")]
    listens = [] if settings.host in {"0.0.0.0", "::"} else [settings.host]  # noqa: S104  # compared
    return frozenset(each.lower() for each in (*named, *given, *listens) if each) - LOOPBACK


class Guard:
    """An ASGI application that lets through to `app` what may ask it; the rest gets a 403."""

    def __init__(
        self,
        app: App,
        names: Collection[str],
        port: int,
        probes: Collection[str] = (),
        closed: Collection[str] = (),
    ) -> None:
        """Let pass who asks for loopback or `names`; a page of loopback must be of this `port`.

        What only asks for one of `probes` may do so by any name: Kubernetes has a pod's address.
        Nobody gets what lies below a path of `closed`.
        """
        self._app = app
        self._public = frozenset(names)
        self._port = port
        self._probes = frozenset(probes)
        self._shut = tuple(closed)
        self._told: set[str] = set()
        pictures = [f"{name}:*" for name in ("127.0.0.1", "localhost", *sorted(names))]
        pictures = [each for each in pictures if each.count(":") == 1]  # no policy can name IPv6
        policy = (b"content-security-policy", " ".join([_POLICY, *pictures]).encode())
        self._headers = [*_HEADERS, policy]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or take one websocket."""
        if scope["type"] not in {"http", "websocket"}:
            await self._app(scope, receive, send)
        elif reason := self._refusal(scope):
            self._tell(scope, reason)
            await _refuse(scope, reason, send)
        else:
            await self._app(scope, receive, _closed(send, self._headers))

    def _refusal(self, scope: Scope) -> str:
        """Return why a request may not go on, or nothing."""
        if scope["type"] == "http" and scope["path"] in self._probes and scope["method"] == "GET":
            return ""
        if scope["path"].startswith(self._shut):
            return "the mill has no use for this part of the server"
        hosts = _values(scope, b"host")
        asked = _place(hosts[0]) if len(hosts) == 1 else None
        if asked is None or asked[0] not in LOOPBACK | self._public:
            return "by this name nobody may ask here; GANMILL_PUBLIC_HOSTS lists more names"
        origins = _values(scope, b"origin")
        if any(not self._is_ours(origin, hosts[0]) for origin in origins):
            return "a page of another site asks"
        if _values(scope, b"sec-fetch-site") == ["cross-site"]:
            visits = _values(scope, b"sec-fetch-mode") == ["navigate"]
            if not visits or _FRAMES & set(_values(scope, b"sec-fetch-dest")):
                return "a page of another site asks"
        return ""

    def _tell(self, scope: Scope, reason: str) -> None:
        """Say in the log whom we refused, each once: a proxy may have been set up wrongly."""
        asked = {name.decode(): _values(scope, name)[:1] for name in (b"host", b"origin")}
        line = ascii(f"refused a request of {asked}: {reason}")[1:-1][:_LINE]
        if line not in self._told and len(self._told) < _LINES:
            self._told.add(line)
            _log.warning(line)

    def _is_ours(self, origin: str, host: str) -> bool:
        """Tell whether a page is one of ours: of the very place that is asked, or of our names."""
        scheme, _, rest = origin.partition("://")
        place = _place(rest) if scheme in {"http", "https"} else None
        if place is None:
            return False
        if rest.lower() == host.lower() or place[0] in self._public:
            return True
        return place[0] in LOOPBACK and place[1] == self._port


def _values(scope: Scope, name: bytes) -> list[str]:
    headers: Iterable[tuple[bytes, bytes]] = scope["headers"]
    return [value.decode("latin-1").strip() for key, value in headers if key.lower() == name]


def _place(netloc: str) -> tuple[str, int | None] | None:
    """Return name and port of `name:port`, or None for what is no such thing."""
    if any(sign in netloc for sign in "/\\?#@,%") or not netloc.isprintable() or " " in netloc:
        return None
    try:
        parts = urlsplit(f"//{netloc}")
        name, port = parts.hostname, parts.port
    except ValueError:
        return None
    return (name.removesuffix("."), port) if name else None


def _name(entry: str) -> str:
    """Return the name of an entry, which may have a port and may be a bare IPv6 address."""
    name, colon, port = entry.partition(":")
    return name if colon and ":" not in port else entry


def _closed(send: Send, headers: list[tuple[bytes, bytes]]) -> Send:
    """Return a sender that forbids frames of other sites, and that our pages ask other sites."""

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            names = {name for name, _ in headers}
            kept = [pair for pair in message.get("headers", []) if pair[0].lower() not in names]
            message["headers"] = [*kept, *headers]
        await send(message)

    return sending


async def _refuse(scope: Scope, reason: str, send: Send) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008})  # before it was accepted: a 403
        return
    words = f"refused: {reason}\n".encode()
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": 403, "headers": headers})
    await send({"type": "http.response.body", "body": words})
