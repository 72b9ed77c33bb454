"""Promotions against a real registry: whole after a kill at any point, refused when stale."""

import os
import signal
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from flows import ledger, registry, release
from flows.registry import Version
from flows.settings import Settings
from flows.tracking import open_run
from gan.errors import ApprovalError, BusyError, DamagedError, GanmillError, UsageError
from gan.paths import Layout

REPO = Path(__file__).resolve().parents[2]
EVIDENCE = "e" * 64


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """Return a workspace with an empty ledger."""
    return Layout(tmp_path / "work")


@pytest.fixture
def made(
    request: pytest.FixtureRequest,
    mlflow_settings: Settings,
    server_layout: Layout,
    make_bundle: Callable[[str], Path],
) -> list[Version]:
    """Return three registered versions of a recipe of this test's own."""
    recipe = request.node.name.replace("[", "-").replace("]", "")[:60].rstrip("-_")
    run = open_run(server_layout, mlflow_settings, recipe, "r", {}, {})
    tags = {"data_version": "1.dir", "git_revision": "abc"}
    return [
        registry.register(mlflow_settings, recipe, make_bundle(word), run, tags)
        for word in ("one", "two", "three")
    ]


def _promote(
    layout: Layout, settings: Settings, version: Version, expected: int | None
) -> release.Promoted:
    return release.promote(
        layout,
        settings,
        version.recipe,
        version,
        evidence_digest=EVIDENCE,
        actor="Ada",
        reason="better",
        expected_champion=expected,
    )


def _events(layout: Layout) -> list[str]:
    return [entry.event for entry in ledger.read(layout.ledger)]


def _champion(settings: Settings, version: Version) -> int | None:
    found = registry.by_alias(settings, version.recipe, "champion")
    return found.number if found else None


def test_promote_then_roll_back(
    layout: Layout, mlflow_settings: Settings, made: list[Version]
) -> None:
    """The champion moves forth, and back step by step; the ledger tells all of it."""
    first = _promote(layout, mlflow_settings, made[0], None)
    _promote(layout, mlflow_settings, made[1], 1)
    third = _promote(layout, mlflow_settings, made[2], 2)
    back = release.rollback(layout, mlflow_settings, made[0].recipe, actor="Bo", reason="ugly")
    again = release.rollback(layout, mlflow_settings, made[0].recipe, actor="Bo", reason="worse")

    assert (first.previous, third.previous, back.version, again.version) == (None, 2, 2, 1)
    assert _champion(mlflow_settings, made[0]) == 1
    assert _events(layout) == ["intend", "done"] * 3 + ["intend-rollback", "rollback"] * 2
    done = ledger.read(layout.ledger)[1]
    assert (done.to_digest, done.evidence_digest) == (made[0].digest, EVIDENCE)
    assert (done.data_version, done.git_revision, done.actor) == ("1.dir", "abc", "Ada")
    with pytest.raises(UsageError, match="no earlier champion"):
        release.rollback(layout, mlflow_settings, made[0].recipe, actor="Bo", reason="x")


def test_stale_or_unsigned_is_refused(
    layout: Layout, mlflow_settings: Settings, made: list[Version]
) -> None:
    """Evidence about another champion, no evidence, no name or no reason: nothing moves."""
    _promote(layout, mlflow_settings, made[0], None)
    with pytest.raises(ApprovalError, match="compares with champion none, but it is v1 now"):
        _promote(layout, mlflow_settings, made[1], None)
    for missing in ("evidence_digest", "actor", "reason"):
        words = {"evidence_digest": EVIDENCE, "actor": "A", "reason": "r", missing: ""}
        with pytest.raises(ApprovalError):
            release.promote(
                layout,
                mlflow_settings,
                made[1].recipe,
                made[1],
                evidence_digest=words["evidence_digest"],
                actor=words["actor"],
                reason=words["reason"],
                expected_champion=1,
            )

    release.decline(
        layout, made[1], event="reject", evidence_digest=EVIDENCE, actor="gate", reason="worse"
    )
    assert _champion(mlflow_settings, made[0]) == 1
    assert _events(layout) == ["intend", "done", "reject"]


def test_a_version_that_is_gone_or_another_is_refused(
    layout: Layout, mlflow_settings: Settings, made: list[Version]
) -> None:
    """The version that is promoted is the one that was gated, by digest."""
    registry.tag_version(mlflow_settings, made[1], {"bundle_digest": "f" * 64})
    with pytest.raises(DamagedError, match="another bundle digest"):
        _promote(layout, mlflow_settings, made[1], None)
    gone = Version(made[0].recipe, 99, "a" * 64, "", "", {})
    with pytest.raises(DamagedError, match="v99 is gone"):
        _promote(layout, mlflow_settings, gone, None)
    assert _events(layout) == []


def test_of_two_promotions_at_once_one_wins(
    layout: Layout, mlflow_settings: Settings, made: list[Version]
) -> None:
    """The other one is told, whether it came during or after."""
    results: list[object] = []

    def work(version: Version) -> None:
        try:
            results.append(_promote(layout, mlflow_settings, version, None))
        except (ApprovalError, BusyError) as error:
            results.append(error)

    threads = [threading.Thread(target=work, args=(version,)) for version in made]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    (won,) = [result for result in results if isinstance(result, release.Promoted)]
    assert _champion(mlflow_settings, made[0]) == won.version
    assert _events(layout) == ["intend", "done"]


# The promotion runs in a process of its own and talks to MLflow through a proxy, which SIGKILLs it
# at an exact point: when the request to move the alias comes ("intend" is written, the alias is
# not moved), or when MLflow has moved it and before the answer goes back.
_DRILL = """
import pathlib, sys
from flows import registry, release
from flows.settings import load_settings
from gan.paths import Layout
layout, settings = Layout(pathlib.Path(sys.argv[1])), load_settings()
recipe, number, expected = sys.argv[2], int(sys.argv[3]), int(sys.argv[4]) or None
version = registry.by_number(settings, recipe, number)
release.promote(layout, settings, recipe, version, evidence_digest="e" * 64, actor="Ada",
                reason="better", expected_champion=expected)
"""


class _KillingProxy(ThreadingHTTPServer):
    """Forwards to MLflow, and kills `victim` around the request that moves an alias."""

    def __init__(self, target: str, point: str) -> None:
        super().__init__(("127.0.0.1", 0), _Forward)
        self.target, self.point = target, point
        self.victim: subprocess.Popen[bytes] | None = None

    def kill(self) -> None:
        assert self.victim is not None
        self.victim.kill()
        self.victim.wait()


class _Forward(BaseHTTPRequestHandler):
    server: _KillingProxy

    def _forward(self) -> None:
        moves_alias = self.command == "POST" and self.path.endswith("registered-models/alias")
        if moves_alias and self.server.point == "intend":
            self.server.kill()
            return
        payload = self.rfile.read(int(self.headers.get("Content-Length", 0))) or None
        headers = {"Content-Type": self.headers.get("Content-Type", "application/json")}
        request = urllib.request.Request(  # our own server
            self.server.target + self.path, payload, headers, method=self.command
        )
        try:
            with urllib.request.urlopen(request) as answer:
                status, body = answer.status, answer.read()
        except urllib.error.HTTPError as refused:
            status, body = refused.code, refused.read()
        if moves_alias:
            self.server.kill()
            return
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = _forward  # noqa: N815  # the names that http.server looks for

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def _promote_and_kill(layout: Layout, settings: Settings, version: Version, point: str) -> int:
    """Promote over v1 in another process that is killed at `point`; return its exit status."""
    with _KillingProxy(settings.mlflow_url, point) as proxy:
        environment = {
            **os.environ,
            "PYTHONPATH": str(REPO),
            "MLFLOW_TRACKING_URI": f"http://127.0.0.1:{proxy.server_port}",
        }
        words = [str(layout.root), version.recipe, str(version.number), "1"]
        command = [sys.executable, "-c", _DRILL, *words]
        proxy.victim = subprocess.Popen(command, env=environment)
        threading.Thread(target=proxy.serve_forever, daemon=True).start()
        status = proxy.victim.wait(60)
        proxy.shutdown()
    return status


@pytest.mark.parametrize("point", ["intend", "alias"])
def test_a_killed_promotion_is_finished(
    layout: Layout, mlflow_settings: Settings, made: list[Version], point: str
) -> None:
    """SIGKILL on either side of the alias: `finish` leaves one champion and a closed ledger."""
    _promote(layout, mlflow_settings, made[0], None)

    assert _promote_and_kill(layout, mlflow_settings, made[1], point) == -signal.SIGKILL
    assert _events(layout) == ["intend", "done", "intend"]
    assert _champion(mlflow_settings, made[1]) == (1 if point == "intend" else 2)
    assert release.finish(layout, mlflow_settings, made[1].recipe) == "completed"
    assert _champion(mlflow_settings, made[1]) == 2
    assert _events(layout) == ["intend", "done", "intend", "done"]
    assert release.finish(layout, mlflow_settings, made[1].recipe) == "nothing"


@pytest.mark.parametrize("alias_moved", [False, True])
def test_both_sides_of_the_alias_are_repaired(
    layout: Layout, mlflow_settings: Settings, made: list[Version], *, alias_moved: bool
) -> None:
    """The exact files that a kill leaves on either side of the alias end as one whole promotion."""
    _promote(layout, mlflow_settings, made[0], None)
    _leave_intent(layout, made[1], 1)
    if alias_moved:
        registry.set_alias(mlflow_settings, made[1].recipe, "champion", 2)

    promoted = _promote(layout, mlflow_settings, made[2], 2)  # finishes v2 first, by itself

    assert promoted.previous == 2
    assert _events(layout) == ["intend", "done"] * 3


def test_an_intent_that_no_longer_holds_is_undone(
    layout: Layout, mlflow_settings: Settings, made: list[Version]
) -> None:
    """If the champion was moved by hand, or the version is gone, the alias is left as it is."""
    _promote(layout, mlflow_settings, made[0], None)
    _leave_intent(layout, made[1], 1)
    registry.set_alias(mlflow_settings, made[0].recipe, "champion", 3)
    assert release.finish(layout, mlflow_settings, made[0].recipe) == "undone"
    assert _champion(mlflow_settings, made[0]) == 3
    _leave_intent(layout, Version(made[0].recipe, 77, "a" * 64, "", "", {}), 3)
    assert release.finish(layout, mlflow_settings, made[0].recipe) == "undone"

    reasons = [entry.reason for entry in ledger.read(layout.ledger) if entry.event == "undone"]
    assert "v3, moved by hand" in reasons[0]
    assert "v77 is gone" in reasons[1]


def test_a_damaged_ledger_stops_promotion(
    layout: Layout, mlflow_settings: Settings, made: list[Version]
) -> None:
    """On a ledger whose chain does not hold, nothing is promoted."""
    _promote(layout, mlflow_settings, made[0], None)
    layout.ledger.write_bytes(layout.ledger.read_bytes().replace(b"Ada", b"Eve"))

    with pytest.raises(GanmillError, match="line 1 was altered"):
        _promote(layout, mlflow_settings, made[1], 1)
    assert _champion(mlflow_settings, made[0]) == 1


def _leave_intent(layout: Layout, version: Version, expected: int) -> None:
    entry = ledger.Entry(
        event="intend",
        recipe=version.recipe,
        actor="Ada",
        reason="better",
        from_version=expected,
        to_version=version.number,
        to_digest=version.digest,
    )
    ledger.append(layout.ledger, entry)
