"""Who may ask the monitor, by a real socket, and what it answers."""

import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
import uvicorn
from pydantic import SecretStr

from flows.monitor.monitor import ALERTS, Monitor
from flows.monitor.serving import app_of, serve
from flows.settings import Settings
from gan.durable import write_json
from gan.errors import UsageError
from gan.paths import Layout

PASSWORD = "correct-horse-battery"  # noqa: S105  # of this test alone
Ask = Callable[..., httpx.Response]


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """Return a workspace with a recipe whose name needs care on a page."""
    (tmp_path / "params.yaml").write_text(
        "recipes:\n  stickers:\n    data: {source: files, path: p, resolution: 32}\n"
        "    alerts: {no_batch_hours: 1}\n"
    )
    return Layout(tmp_path)


@pytest.fixture
def settings(settings_on: Callable[..., Settings]) -> Settings:
    """Return settings of servers that are away."""
    return settings_on()


@pytest.fixture
def listening(layout: Layout) -> Iterator[Callable[[Settings, Monitor], None]]:
    """Return a function that serves a monitor in a thread."""
    servers = []

    def start(settings: Settings, monitor: Monitor) -> None:
        config = uvicorn.Config(
            app_of(monitor, settings), port=settings.metrics_port, log_level="error"
        )
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run)
        thread.start()
        servers.append((server, thread))
        while not server.started:
            time.sleep(0.01)

    yield start
    for server, thread in servers:
        server.should_exit = True
        thread.join()


def _get(settings: Settings, path: str, **headers: str) -> httpx.Response:
    with httpx.Client(trust_env=False) as client:
        return client.get(f"http://127.0.0.1:{settings.metrics_port}{path}", headers=headers)


def test_what_it_gives(
    layout: Layout,
    settings: Settings,
    listening: Callable[[Settings, Monitor], None],
) -> None:
    """Metrics of the last round as text, a page for people, and whether it lives."""
    yesterday = (datetime.now(UTC) - timedelta(days=1)).isoformat()
    layout.state.mkdir()
    write_json(
        layout.state / ALERTS, {"format": 1, "alerts": [], "watched": {"stickers": yesterday}}
    )
    monitor = Monitor(layout, settings)
    listening(settings, monitor)
    assert _get(settings, "/metrics").status_code == 503  # nothing was looked at yet

    monitor.round()
    metrics, page = _get(settings, "/metrics"), _get(settings, "/")

    assert metrics.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert 'ganmill_server_up{server="mlflow"} 0.0' in metrics.text
    assert 'ganmill_alerts_open{recipe="stickers",rule="no-batch"} 1.0' in metrics.text
    assert "stickers: no batch was delivered" in page.text
    assert "does not answer" in page.text
    assert page.headers["refresh"] == "15"
    assert "default-src 'none'" in page.text
    assert _get(settings, "/health").text == "ok\n"
    assert _get(settings, "/elsewhere").status_code == 404
    assert _get(settings, "/metrics", Host="").status_code == 403


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"Host": "evil.example:9464"},
        {"Origin": "https://evil.example"},
        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"},
    ],
)
def test_a_foreign_page_is_refused(
    layout: Layout,
    settings: Settings,
    listening: Callable[[Settings, Monitor], None],
    headers: dict[str, str],
) -> None:
    """A name that was made to lead here, or a page elsewhere, reads nothing."""
    monitor = Monitor(layout, settings)
    listening(settings, monitor)
    monitor.round()

    for path in ("/", "/metrics"):
        assert _get(settings, path, **headers).status_code == 403
    assert _get(settings, "/health", **headers).text == "ok\n"


def test_the_login_is_asked_for_where_there_is_one(
    layout: Layout,
    settings: Settings,
    listening: Callable[[Settings, Monitor], None],
) -> None:
    """GANMILL_LOGIN guards the metrics as it does the servers; only the probe needs none."""
    settings = settings.model_copy(update={"login": SecretStr(f"ada:{PASSWORD}")})
    monitor = Monitor(layout, settings)
    listening(settings, monitor)
    monitor.round()

    base = f"http://127.0.0.1:{settings.metrics_port}"
    with httpx.Client(trust_env=False, base_url=base) as client:
        assert client.get("/metrics").status_code == 401
        assert client.get("/metrics").headers["www-authenticate"].startswith("Basic")
        assert client.get("/", auth=("ada", "wrong")).status_code == 401
        assert client.get("/metrics", auth=("ada", PASSWORD)).status_code == 200
        assert client.get("/health").status_code == 200
        assert PASSWORD not in client.get("/", auth=("ada", PASSWORD)).text


def test_a_taken_port_is_named_with_the_setting(layout: Layout, settings: Settings) -> None:
    """Who starts a second one is told which setting names another port."""
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", settings.metrics_port))
        taken.listen()
        with pytest.raises(UsageError, match="GANMILL_METRICS_PORT"):
            serve(Monitor(layout, settings), settings)
