"""A workspace to look at, and servers that answer what a test wants them to."""

import json
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from flows.settings import Settings, load_settings
from gan.paths import Layout
from tests.flows.conftest import ADDRESSES, RECIPES


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Layout:
    """Return a workspace with one recipe and nothing made yet, in a shell without settings."""
    for name in [*ADDRESSES, *(each for each in os.environ if each.startswith("GANMILL_"))]:
        monkeypatch.delenv(name, raising=False)
    root = tmp_path / "mill"
    root.mkdir()
    (root / "params.yaml").write_text(RECIPES)
    return Layout(root)


@pytest.fixture
def settings_of(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Settings]:
    """Return a function that makes the settings of a shell with some variables."""

    def make(**variables: str) -> Settings:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        return load_settings()

    return make


@dataclass
class Pretended:
    """A real HTTP server that answers as it is told.

    Attributes:
        url: Where it is.
        says: Answers by path, as status and JSON or text; 404 for all others.
        login: The header that it asks for; "" lets everybody in.
        ahead: How far its clock is ahead.
        asked: The paths that were asked for.
    """

    url: str
    says: dict[str, tuple[int, Any]] = field(default_factory=dict)
    login: str = ""
    ahead: timedelta = timedelta()
    asked: list[str] = field(default_factory=list)


@pytest.fixture
def pretend() -> Iterator[Callable[[], Pretended]]:
    """Return a function that starts such a server."""
    with _stack() as start:
        yield start


@contextmanager
def _stack() -> Iterator[Callable[[], Pretended]]:
    running: list[ThreadingHTTPServer] = []

    def start() -> Pretended:
        server = ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
        told = Pretended(f"http://127.0.0.1:{server.server_address[1]}")
        server.RequestHandlerClass = _handler(told)
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        running.append(server)
        return told

    yield start
    for server in running:
        server.shutdown()
        server.server_close()


def _handler(told: Pretended) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            told.asked.append(self.path)
            is_in = not told.login or self.headers.get("Authorization") == told.login
            status, value = told.says.get(self.path, (404, "")) if is_in else (401, "")
            payload = (value if isinstance(value, str) else json.dumps(value)).encode()
            self.send_response_only(status)
            self.send_header("Date", format_datetime(datetime.now(UTC) + told.ahead, usegmt=True))
            self.send_header("Content-Length", str(len(payload)))
            self.end_headers()
            self.wfile.write(payload)

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.do_GET()

        def log_message(self, *words: object) -> None:
            """Say nothing: the test tells what matters."""

    return Handler
