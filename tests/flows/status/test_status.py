"""Tests of `ganmill status`: one screen, whatever of the mill is away."""

import json
import os
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from flows import ledger
from flows.held import holder
from flows.ledger import Entry
from flows.schedules import deploy
from flows.settings import Settings
from flows.status import status
from flows.status.facts import look
from flows.status.page import lasting
from flows.status.recipes import decided, last_batches, training
from gan.durable import run_lock, write_json
from gan.errors import RecipeError
from gan.paths import Layout
from tests.flows.conftest import RECIPES

KEYS = {"servers", "pools", "recipes", "schedules", "alerts", "disk", "problems", "next"}


@pytest.fixture
def workspace(tmp_path: Path) -> Layout:
    """Return a workspace with one recipe and nothing made yet."""
    (tmp_path / "params.yaml").write_text(RECIPES)
    return Layout(tmp_path)


@pytest.fixture
def away(settings_on: Callable[..., Settings]) -> Settings:
    """Return settings whose servers do not run."""
    return settings_on()


@pytest.fixture
def given(servers: Settings, away: Settings) -> Settings:
    """Return settings that lead to running servers that somebody else started."""
    addresses = {
        "prefect_api_url": f"{servers.prefect_url}/api",
        "mlflow_tracking_uri": servers.mlflow_url,
    }
    return away.model_copy(update=addresses)


def _batch(layout: Layout, name: str, *, review: bool = False) -> Path:
    folder = layout.batches("tiny") / name
    folder.mkdir(parents=True)
    write_json(folder / "batch.json", {"accepted": 8, "spec": {"review": review}})
    return folder


def _line(event: Any, number: int | None = None) -> Entry:
    return Entry(event=event, recipe="tiny", actor="ada", reason="why not", to_version=number)


def _wanted(layout: Layout, settings: Settings) -> dict[str | None, str]:
    return {command: why for why, command in status.wanted(look(layout, settings))}


def test_a_fresh_workspace_says_what_to_do(
    workspace: Layout, away: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    """With nothing made and no server there is a screen, and it says what comes first."""
    began = time.monotonic()
    status.show(workspace, away, as_json=False)
    assert time.monotonic() - began < 3
    said = capsys.readouterr().out
    assert "prefect" in said
    assert "a server is down: ganmill up" in said
    assert "tiny has no model yet: ganmill retrain tiny" in said
    assert not workspace.state.exists()


def test_json_keeps_its_keys(
    workspace: Layout, away: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    """Scripts find every key also where the servers are away; what nobody knows is null."""
    _batch(workspace, "monday")
    status.show(workspace, away, as_json=True)
    found = json.loads(capsys.readouterr().out)
    assert set(found) == KEYS
    assert found["servers"]["mlflow"] == {"state": "down", "url": away.mlflow_url}
    assert (found["pools"], found["schedules"]) == (None, None)
    assert len(found["problems"]) == 2
    (row,) = found["recipes"]
    assert (row["recipe"], row["champion"], row["challenger"]) == ("tiny", "-", "-")
    assert (row["batch"], row["assets"]) == ("monday", 8)
    assert row["retraining"] is None
    assert found["disk"]["free_bytes"] > 0
    assert found["disk"]["folders"]["assets"]["complete"]


def test_the_ledger_tells_what_mlflow_does_not(workspace: Layout, away: Settings) -> None:
    """With MLflow away the champion is the ledger's; what waits for a person has its command."""
    for entry in (_line("done", 3), _line("ask", 4), _line("hold-production")):
        ledger.append(workspace.ledger, entry)
    row = status.document(look(workspace, away))["recipes"][0]
    assert (row["champion"], row["waiting"]) == ("v3", 4)
    assert row["production"] == "on hold by ada: why not"
    commands = " ".join(str(command) for command in _wanted(workspace, away))
    assert "ganmill approve tiny" in commands
    assert "ganmill resume tiny" in commands


def test_a_damaged_ledger_is_a_line_not_an_end(workspace: Layout, away: Settings) -> None:
    """The screen comes all the same, with what is wrong."""
    ledger.append(workspace.ledger, _line("done", 3))
    workspace.ledger.write_bytes(workspace.ledger.read_bytes().replace(b"ada", b"eve"))
    found = look(workspace, away)
    assert any("was altered" in problem for problem in found.problems)
    assert found.products[0].champion is None


def test_impossible_recipes_end_it(workspace: Layout, away: Settings) -> None:
    """A mistake in params.yaml is one line that names it, as for every command."""
    workspace.params.write_text("recipes: [")
    with pytest.raises(RecipeError):
        look(workspace, away)


def test_batches_have_their_state(workspace: Layout) -> None:
    """Complete, published, in review, damaged, being made, left unfinished: the newest first."""
    _batch(workspace, "a-complete")
    (_batch(workspace, "b-published") / "published.jsonl").write_text("{}\n")
    _batch(workspace, "c-review", review=True)
    (_batch(workspace, "d-damaged") / "batch.json").write_text("{")
    for name in ("e-making", "f-left"):
        (workspace.batches("tiny") / name).mkdir()
        (workspace.batches("tiny") / name / ".request.json").write_text("{}")
    now = time.time()
    for number, folder in enumerate(sorted(workspace.batches("tiny").iterdir())):
        for path in (folder / "batch.json", folder / ".request.json"):
            if path.exists():
                os.utime(path, (now - 100 + number, now - 100 + number))
    with run_lock(workspace.batches("tiny") / "e-making" / ".lock", "minting"):
        found = last_batches(workspace, "tiny", 6)
    assert [(batch.name, batch.state, batch.assets) for batch in found] == [
        ("f-left", "unfinished", None),
        ("e-making", "being made", None),
        ("d-damaged", "damaged", None),
        ("c-review", "in review", 8),
        ("b-published", "published", 8),
        ("a-complete", "complete", 8),
    ]
    assert len(last_batches(workspace, "tiny", 2)) == 2


def test_a_batch_in_review_and_one_left_have_their_commands(
    workspace: Layout, away: Settings
) -> None:
    """What a person or `reconcile` has to do is the command to type."""
    _batch(workspace, "monday", review=True)
    left = workspace.batches("tiny") / "tuesday"
    left.mkdir()
    (left / ".request.json").write_text("{}")
    wanted = _wanted(workspace, away)
    assert "ganmill review assets/tiny/monday" in wanted
    assert "ganmill reconcile" in wanted


def test_a_training_that_goes_on_tells_how_far_it_is(workspace: Layout) -> None:
    """The share and what is left come from the training's own file; its last line may be torn."""
    assert training(workspace, "tiny") is None
    with run_lock(workspace.lock("retrain-tiny"), "retraining"):
        found = training(workspace, "tiny")
        assert found is not None
        assert found.share is None
        with run_lock(workspace.lock("train-tiny"), "training"):
            stats = workspace.run("tiny") / "abc" / "stats.jsonl"
            stats.parent.mkdir(parents=True)
            row = {"nimg": 10, "share": 0.25, "eta_seconds": 90.0}
            stats.write_text(f"{json.dumps(row)}\n{json.dumps({'event': 'best'})}\n{{torn")
            found = training(workspace, "tiny")
            assert found is not None
            assert (found.share, found.eta_seconds) == (0.25, 90.0)
    assert holder(workspace.lock("retrain-tiny")) is None


def test_open_alerts_are_shown(
    workspace: Layout, away: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    """What the monitor raised is on the screen with its age; a damaged file is a line."""
    since = (datetime.now(UTC) - timedelta(hours=3)).isoformat()
    alert = {"rule": "no-batch", "about": "tiny", "recipe": "tiny", "since": since, "told": since}
    words = {"says": "tiny: no batch was delivered.", "mend": "By hand: ganmill generate tiny"}
    write_json(workspace.state / "alerts.json", {"format": 1, "alerts": [{**alert, **words}]})
    status.show(workspace, away, as_json=False)
    said = capsys.readouterr().out
    assert "alert, for 3 h: tiny: no batch was delivered. By hand: ganmill generate tiny" in said
    (workspace.state / "alerts.json").write_text('{"alerts": [{}]}')
    assert any("alerts.json" in problem for problem in look(workspace, away).problems)


def test_real_servers_tell_pools_and_next_runs(
    workspace: Layout, given: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    """With Prefect there the screen has pools, workers and what the clock starts next."""
    deploy.apply(workspace, given)
    found = look(workspace, given)
    assert found.problems == []
    assert found.scheduled is not None
    assert {pool.name for pool in found.scheduled.pools} == {"ganmill", "ganmill-train"}
    told = any("no worker looks after" in why for why, _ in status.wanted(found))
    assert told == bool(found.scheduled.idle)
    coming = {each.name: each for each in found.scheduled.coming}
    deadline = time.monotonic() + 90  # Prefect's scheduler has its own pace
    while coming["generate/tiny"].at is None and time.monotonic() < deadline:
        time.sleep(1)
        again = look(workspace, given).scheduled
        coming = {each.name: each for each in again.coming} if again else {}
    at = coming["generate/tiny"].at
    assert at is not None
    assert (at.month, at.day, at.hour) == (1, 1, 3)
    status.show(workspace, given, as_json=False)
    said = capsys.readouterr().out
    assert "generate/tiny" in said
    assert "ganmill-train" in said


def test_alias_and_ledger_that_disagree_are_told(workspace: Layout, given: Settings) -> None:
    """A champion that MLflow does not know of is told with the command that goes back."""
    ledger.append(workspace.ledger, _line("done", 7))
    product = look(workspace, given).products[0]
    assert product.champion is None
    assert product.champions is not None
    assert "deleted behind our back" in product.champions.torn
    assert "ganmill rollback tiny" in product.champions.torn


def test_another_program_on_a_port_is_no_verdict(workspace: Layout, away: Settings) -> None:
    """What answers 404, or nonsense, to everything says nothing about champions or schedules."""
    ledger.append(workspace.ledger, _line("done", 7))
    with ThreadingHTTPServer(("127.0.0.1", 0), _Stranger) as stranger:
        threading.Thread(target=stranger.serve_forever, args=(0.02,), daemon=True).start()
        url = f"http://127.0.0.1:{stranger.server_address[1]}"
        addresses = {"prefect_api_url": f"{url}/api", "mlflow_tracking_uri": url}
        found = look(workspace, away.model_copy(update=addresses))
        stranger.shutdown()
    assert found.products[0].champion == 7
    assert found.scheduled is None
    assert sorted(found.problems) == [
        f"{url} answers 404; is it MLflow?",
        f"{url}/api does not answer as Prefect does",
    ]


class _Stranger(BaseHTTPRequestHandler):
    """A server of something else."""

    def do_GET(self) -> None:
        self._say(404, b"")

    def do_POST(self) -> None:
        self._say(200, b'{"hello": "world"}')

    def _say(self, status: int, words: bytes) -> None:
        self.send_response_only(status)
        self.send_header("Content-Length", str(len(words)))
        self.end_headers()
        self.wfile.write(words)


@pytest.mark.parametrize(
    ("seconds", "said"), [(5, "5 s"), (90, "2 min"), (7200, "2 h"), (200_000, "2 d")]
)
def test_ages_are_short(seconds: float, said: str) -> None:
    """An age is a number and a unit."""
    assert lasting(seconds) == said


def test_nothing_decided_is_nothing() -> None:
    """A recipe without lines in the ledger has neither champion nor hold."""
    found = decided([], "tiny")
    assert (found.champion, found.since, found.waiting, found.hold) == (None, None, None, "")
