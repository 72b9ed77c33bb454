"""The guard before the servers: by our names, from our pages, or not at all."""

import asyncio
from typing import Any

import httpx
import pytest

from flows.servers.guard import Guard, Message, Receive, Scope, Send, public_names
from flows.settings import Settings

PUBLIC = frozenset({"mill.example.com", "10.0.0.5", "fd00::5"})
PROBES = {"/api/health", "/api/ready"}
OWN = {"host": "127.0.0.1:4200"}


async def _behind(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer every request, as the server behind the guard would."""
    headers = [(b"x-frame-options", b"ALLOWALL"), (b"content-type", b"text/plain")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"secrets of the mill"})


def _ask(path: str = "/api/flows/filter", method: str = "POST", **headers: str) -> httpx.Response:
    async def asking() -> httpx.Response:
        transport = httpx.ASGITransport(Guard(_behind, PUBLIC, 4200, PROBES, ["/agent"]))
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
            return await client.request(method, path, headers=named)

    return asyncio.run(asking())


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1:4200", "localhost:4200", "LOCALHOST", "[::1]:4200", "127.0.0.1:9999", "localhost.",
     "mill.example.com", "Mill.Example.com:443", "10.0.0.5:4200", "[fd00::5]:4200"],
)  # fmt: skip
def test_our_names_are_answered(host: str) -> None:
    """Loopback at any port (a tunnel has its own), and the public names, get an answer."""
    assert _ask(host=host).text == "secrets of the mill"


@pytest.mark.parametrize(
    "host",
    ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example", "evil.example:4200", "",
     "localhost@evil.example", "evil.example#localhost", "10.0.0.6", "127.1", "2130706433",
     "localhost:4200:1", "localhost:x", "mill.example.com.evil.example", "notmill.example.com",
     "[::1", "local host", "localhost,evil.example", "%6cocalhost"],
)  # fmt: skip
def test_a_foreign_name_is_refused(host: str) -> None:
    """A name that only leads here, as in DNS rebinding, gets a 403 and nothing from behind it."""
    found = _ask(host=host)
    assert (found.status_code, "secrets" in found.text) == (403, False)
    assert (
        found.text == "refused: by this name nobody may ask here; GANMILL_PUBLIC_HOSTS lists "
        "more names\n"
    )


def test_two_hosts_or_none_are_refused() -> None:
    """Nobody is let in by one Host while a proxy reads the other."""

    async def asking(headers: list[tuple[bytes, bytes]]) -> int:
        told: list[Message] = []

        async def send(message: Message) -> None:
            told.append(message)

        async def receive() -> Message:
            return {"type": "http.request"}

        scope = {"type": "http", "path": "/", "method": "GET", "headers": headers}
        await Guard(_behind, PUBLIC, 4200, PROBES)(scope, receive, send)
        return int(told[0]["status"])

    assert asyncio.run(asking([(b"host", b"localhost"), (b"host", b"evil.example")])) == 403
    assert asyncio.run(asking([])) == 403
    assert asyncio.run(asking([(b"Host", b"localhost")])) == 200


@pytest.mark.parametrize(
    ("host", "origin"),
    [
        ("127.0.0.1:4200", "http://127.0.0.1:4200"),
        ("127.0.0.1:4200", "http://localhost:4200"),
        ("localhost:8443", "https://localhost:8443"),
        ("127.0.0.1:4200", "https://mill.example.com"),
        ("mill.example.com", "https://mill.example.com"),
        ("mill.example.com", "https://mill.example.com:8443"),
    ],
)
def test_our_own_pages_may_ask(host: str, origin: str) -> None:
    """Pages of this server, through a tunnel or a proxy as well, go on working."""
    assert _ask(host=host, origin=origin).status_code == 200


@pytest.mark.parametrize(
    "origin",
    ["https://evil.example", "http://localhost:3000", "http://127.0.0.1", "null", "",
     "http://evil.example:4200", "https://mill.example.com.evil.example", "file://",
     "localhost:4200", "http://localhost:4200/", "http://localhost:4200@evil.example", "chrome-extension://abc"],
)  # fmt: skip
def test_a_foreign_page_is_refused(origin: str) -> None:
    """A page of another site, or of another program on this machine, cannot press our buttons."""
    found = _ask(origin=origin, **OWN)
    assert (found.status_code, found.text) == (403, "refused: a page of another site asks\n")


def test_what_a_browser_says_of_itself_counts() -> None:
    """A link from elsewhere opens a page; a picture, script or frame there gets nothing."""

    def status(mode: str, dest: str, site: str = "cross-site") -> int:
        told = {"sec_fetch_site": site, "sec_fetch_mode": mode, "sec_fetch_dest": dest, **OWN}
        return _ask("/runs", "GET", **told).status_code

    assert status("navigate", "document") == 200
    assert status("navigate", "iframe") == 403
    assert status("no-cors", "image") == 403
    assert status("cors", "empty") == 403
    assert status("cors", "empty", "same-origin") == 200


def test_no_other_site_shows_our_pages_in_a_frame() -> None:
    """Each answer forbids foreign frames, whatever the server behind says."""
    found = _ask("/", "GET", **OWN)
    assert found.headers.get_list("x-frame-options") == ["SAMEORIGIN"]
    assert found.headers["x-content-type-options"] == "nosniff"


def test_who_asks_only_for_life_may_ask_by_any_name() -> None:
    """Kubernetes asks a pod by its address; it learns that the server lives, and no more."""
    assert _ask("/api/health", "GET", host="10.9.8.7:4200").status_code == 200
    assert _ask("/api/ready", "GET", host="10.9.8.7:4200").status_code == 200
    assert _ask("/api/health", "POST", host="10.9.8.7:4200").status_code == 403
    assert _ask("/api/health/x", "GET", host="10.9.8.7:4200").status_code == 403


def test_a_foreign_websocket_is_closed_before_it_opens() -> None:
    """A websocket passes no CORS check of the browser's; it passes ours."""

    async def asking(**headers: str) -> list[Any]:
        told: list[Any] = []

        async def send(message: Message) -> None:
            told.append(message["type"])

        async def receive() -> Message:
            return {"type": "websocket.connect"}

        async def accepts(_: Scope, __: Receive, send: Send) -> None:
            await send({"type": "websocket.accept"})

        pairs = [(name.encode(), value.encode()) for name, value in headers.items()]
        scope = {"type": "websocket", "path": "/api/events/out", "headers": pairs}
        await Guard(accepts, PUBLIC, 4200)(scope, receive, send)
        return told

    assert asyncio.run(asking(**OWN)) == ["websocket.accept"]
    assert asyncio.run(asking(origin="http://localhost:4200", **OWN)) == ["websocket.accept"]
    assert asyncio.run(asking(origin="https://evil.example", **OWN)) == ["websocket.close"]
    assert asyncio.run(asking(host="evil.example")) == ["websocket.close"]


def test_the_public_names_are_those_of_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Names, addresses and those of public pages count; a port does not; loopback needs no word."""
    assert public_names(Settings()) == frozenset()
    monkeypatch.setenv("GANMILL_PUBLIC_HOSTS", "Mill.example.com:8443, 10.0.0.5 ,fd00::5,localhost")
    monkeypatch.setenv("GANMILL_PUBLIC_MLFLOW_URL", "https://mlflow.example.com:444")
    monkeypatch.setenv("GANMILL_LOGIN", "mill:a-long-password")
    monkeypatch.setenv("GANMILL_HOST", "10.0.0.7")
    wanted = {"mill.example.com", "10.0.0.5", "fd00::5", "mlflow.example.com", "10.0.0.7"}
    assert public_names(Settings()) == wanted


def test_what_the_mill_does_not_use_is_shut_for_everybody() -> None:
    """Behind a proxy everybody seems to ask from this machine, so loopback is let in no more."""
    for path in ("/agent", "/agent/message", "/agents"):
        found = _ask(path, **OWN)
        assert (found.status_code, "no use for this part" in found.text) == (403, True)
    assert _ask("/api/agent", **OWN).status_code == 200


def test_no_agent_of_mlflow_can_be_asked_to_run_programs(mlflow_settings: Settings) -> None:
    """MLflow's server has such an assistant, jobs and a gateway: ours answers 403 for them."""
    for path in ("ajax-api/3.0/mlflow/assistant/config", "ajax-api/3.0/jobs/", "gateway/x"):
        found = httpx.get(f"{mlflow_settings.mlflow_url}/{path}", trust_env=False, timeout=30)
        assert found.status_code == 403, path
    assert httpx.get(f"{mlflow_settings.mlflow_url}/version", trust_env=False).text
