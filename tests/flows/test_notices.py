"""What is told of promotions and batches, to a real Prefect server, a file and a real webhook."""

import json
import re
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, cast

import pytest
from pydantic import SecretStr

from flows import notices
from flows.settings import Settings
from gan.errors import UsageError
from gan.paths import Layout

TOKEN = "s3cret-t0ken"  # noqa: S105  # that of this test's own server
NOBODY = "http://127.0.0.1:9"


class _Hook(BaseHTTPRequestHandler):
    """Keeps what it is sent, and answers as the path says."""

    server: "_Hooks"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.received.append((self.path, dict(self.headers), json.loads(body)))
        status, where = self.path.split("/")[2:4]
        time.sleep(1.0 if where == "slow" else 0.0)
        self.send_response(int(status))
        if where == "file":
            self.send_header("Location", "file:///etc/hostname")
        if where == "again":
            self.send_header("Location", f"/{TOKEN}/204/-")
        self.end_headers()

    def do_GET(self) -> None:
        self.do_POST()

    def log_message(self, *_: object) -> None:
        """Stay silent."""


class _Hooks(ThreadingHTTPServer):
    received: list[tuple[str, dict[str, str], dict[str, Any]]]

    def address(self, answer: str) -> SecretStr:
        return SecretStr(f"http://127.0.0.1:{self.server_port}/{TOKEN}/{answer}")


@pytest.fixture
def hooks() -> Iterator[_Hooks]:
    """Yield a server on loopback that people's chat could be."""
    with _Hooks(("127.0.0.1", 0), _Hook) as server:
        server.received = []
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """Return a workspace without a state folder yet."""
    return Layout(tmp_path / "work")


@pytest.fixture
def alone(settings_on: Callable[..., Settings]) -> Settings:
    """Return settings of a Prefect that is away."""
    return settings_on().model_copy(update={"prefect_api_url": f"{NOBODY}/api"})


def _announce(layout: Layout, settings: Settings) -> None:
    payload: dict[str, str | int] = {"version": 2, "digest": "ab"}
    notices.announce(
        layout, settings, "model.promoted", "stickers", "v2 is champion, größer", payload
    )


def _lines(layout: Layout) -> list[dict[str, Any]]:
    return [json.loads(line) for line in layout.notices.read_text().splitlines()]


def test_the_file_has_a_line_for_each_notice(layout: Layout, alone: Settings) -> None:
    """A script reads what happened, when, to which recipe, with the facts; no server is needed."""
    _announce(layout, alone)
    _announce(layout, alone)

    first, second = _lines(layout)
    assert first | {"time_utc": ""} == second | {"time_utc": ""}
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.]{12}\+00:00", first.pop("time_utc"))
    assert first == {
        "event": "model.promoted",
        "recipe": "stickers",
        "says": "v2 is champion, größer",
        "payload": {"version": 2, "digest": "ab"},
    }


def test_the_webhook_gets_the_notice_as_json(
    layout: Layout, alone: Settings, hooks: _Hooks, capsys: pytest.CaptureFixture[str]
) -> None:
    """The body is the line of the file, and `text` besides, which chats show."""
    _announce(layout, alone.model_copy(update={"notice_webhook": hooks.address("200/-")}))

    ((path, headers, body),) = hooks.received
    (line,) = _lines(layout)
    assert path == f"/{TOKEN}/200/-"
    assert headers["Content-Type"] == "application/json"
    assert body == {"text": line["says"], **line}
    assert "webhook" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        ("500/-", "it answered with status 500"),
        ("404/-", "it answered with status 404"),
        ("302/file", "it answered with status 302"),
        ("307/again", "it answered with status 307"),
        ("200/slow", "it does not answer (TimeoutError)"),
    ],
)
def test_a_webhook_that_fails_is_one_line_without_its_address(
    layout: Layout,
    alone: Settings,
    hooks: _Hooks,
    answer: str,
    says: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nothing fails, no redirect is followed, and the secret in the address is in no log."""
    monkeypatch.setattr(notices, "_WEBHOOK_SECONDS", 0.3)
    _announce(layout, alone.model_copy(update={"notice_webhook": hooks.address(answer)}))

    told = capsys.readouterr()
    lines = [line for line in told.err.splitlines() if "webhook" in line]
    assert lines == [f"  stickers: the webhook was not told of model.promoted: {says}"]
    assert TOKEN not in told.err + told.out + layout.notices.read_text()
    assert len(hooks.received) == 1


@pytest.mark.parametrize("address", ["http://127.0.0.1:9/s3cret-t0ken", "http://h/s3cret-t0ken x"])
def test_a_webhook_that_is_away_is_one_line_without_its_address(
    layout: Layout, alone: Settings, address: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A refused connection and an address that HTTP cannot say are told by their kind alone."""
    _announce(layout, alone.model_copy(update={"notice_webhook": SecretStr(address)}))

    told = capsys.readouterr()
    assert "the webhook was not told of model.promoted: it does not answer (" in told.err
    assert TOKEN not in told.err + told.out


def test_prefect_away_costs_seconds_and_no_failure(
    layout: Layout, alone: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    """A command goes on; the other sinks have the notice, and one line says what is missing."""
    _announce(layout, alone)  # what it imports is not its cost
    capsys.readouterr()
    began = time.monotonic()
    _announce(layout, alone)

    assert time.monotonic() - began < 3.0
    assert len(_lines(layout)) == 2
    assert capsys.readouterr().err == (
        f"  stickers: Prefect was not told of model.promoted: {NOBODY} does not take it "
        "(ConnectError)\n"
    )


def test_a_file_that_cannot_be_written_is_one_line(
    layout: Layout, alone: Settings, hooks: _Hooks, capsys: pytest.CaptureFixture[str]
) -> None:
    """A full disk or a folder in the way stops no promotion, and people are told all the same."""
    layout.notices.mkdir(parents=True)
    _announce(layout, alone.model_copy(update={"notice_webhook": hooks.address("200/-")}))

    assert f"{layout.notices} was not told of model.promoted" in capsys.readouterr().err
    assert len(hooks.received) == 1


def test_what_is_no_event_or_recipe_is_refused(layout: Layout, alone: Settings) -> None:
    """Deployments start on these names, so a misspelt one would be lost without a word."""
    with pytest.raises(UsageError, match=r"'model\.promotd' is none of data\.accepted, "):
        notices.announce(layout, alone, cast("notices.Event", "model.promotd"), "a", "x", {})
    with pytest.raises(UsageError, match=r"'\*' is no recipe name"):
        notices.announce(layout, alone, "model.promoted", "*", "x", {})
    assert not layout.notices.exists()


def test_prefect_has_the_event_when_the_call_returns(
    layout: Layout,
    ganmill: Callable[..., object],
    mill_settings: Settings,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The event feed shows it with its recipe as the resource, also if the command ends at once."""
    ganmill("up")
    _announce(layout, mill_settings)

    assert capsys.readouterr().err == ""
    wanted = {"filter": {"event": {"name": ["model.promoted"]}}}
    request = urllib.request.Request(
        f"{mill_settings.prefect_url}/api/events/filter",
        json.dumps(wanted).encode(),
        {"Content-Type": "application/json"},
    )
    deadline = time.monotonic() + 30
    found: list[dict[str, Any]] = []
    while not found and time.monotonic() < deadline:  # the server writes what it took in batches
        with urllib.request.urlopen(request, timeout=10) as answer:
            page = json.load(answer)
        wanted_id = "ganmill.recipe.stickers"
        found = [e for e in page["events"] if e["resource"]["prefect.resource.id"] == wanted_id]
        time.sleep(0.2)
    (event,) = found
    assert event["resource"]["prefect.resource.name"] == "stickers"
    assert event["payload"] == {"version": 2, "digest": "ab", "says": "v2 is champion, größer"}
