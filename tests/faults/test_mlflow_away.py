"""MLflow hangs, dies and comes back at any request: a call ends in time, and again it completes."""

import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from requests.adapters import HTTPAdapter

from flows import registry, stack
from flows.registry import Version
from flows.settings import Settings, load_settings
from flows.tracking import TrackedRun, log_stats, open_run, read_run
from gan.durable import read_json, verify_sums, write_sums
from gan.errors import ServiceError
from gan.paths import Layout

LONGEST_SECONDS = 10.0
ROWS = [{"nimg": n, "kimg": n / 1000, "seconds": float(n), "fd": 9.0 - n} for n in range(1, 4)]


@dataclass
class Away:
    """An MLflow server that can be stopped, killed and started, and what was made on it.

    Attributes:
        layout: Its workspace.
        settings: Lead to it.
        run: An open run.
        kept: A version that is there from the beginning.
        longest: The longest that a call took while the server was away, in seconds.
        made: Counts the fresh names that works ask for.
    """

    layout: Layout
    settings: Settings
    run: TrackedRun
    kept: Version
    longest: float = 0.0
    made: int = field(default=0)

    def send(self, number: int) -> None:
        """Send a signal to the server and its processes."""
        os.killpg(read_json(self.layout.state / "stack.json")["mlflow"]["pid"], number)

    def restart(self) -> None:
        """Start it again on the same port and the same database."""
        stack.up(self.layout, self.settings)

    def bundle(self) -> Path:
        """Return a folder of the form of a bundle, another one each time."""
        self.made += 1
        folder = self.layout.root / f"bundle-{self.made}"
        folder.mkdir()
        (folder / "generator.safetensors").write_bytes(os.urandom(100_000))
        (folder / "card.json").write_text("{}")
        write_sums(folder)
        return folder

    def try_away(self, work: Callable[[], Any]) -> None:
        """Do a work while the server goes or is away; it must fail, in one line and in time."""
        began = time.monotonic()
        with pytest.raises(ServiceError) as failure:
            work()
        took = time.monotonic() - began
        self.longest = max(self.longest, took)
        assert took < LONGEST_SECONDS
        assert "run the same again; nothing is lost." in str(failure.value)
        assert "\n" not in str(failure.value)


@pytest.fixture(scope="module")
def away(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Away]:
    """Return a server of this file's own, with one version on it."""
    layout = Layout(tmp_path_factory.mktemp("away"))
    with socket.socket() as probe, pytest.MonkeyPatch.context() as patch:
        probe.bind(("127.0.0.1", 0))
        patch.setenv("GANMILL_MLFLOW_PORT", str(probe.getsockname()[1]))
        patch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        settings = load_settings()
    stack.up(layout, settings)
    try:
        run = open_run(layout, settings, "away", "away #1", {}, {})
        folder = layout.root / "kept"
        folder.mkdir()
        (folder / "card.json").write_text("{}")
        write_sums(folder)
        kept = registry.register(settings, "away", folder, run, {})
        found = Away(layout, settings, run, kept)
        yield found
        print(f"longest call while MLflow was away: {found.longest:.1f} s")
    finally:
        stack.down(layout)


@contextmanager
def before_request(n: int, do: Callable[[], None]) -> Iterator[list[str]]:
    """Call `do` before the n-th request is sent, counted from 1; yield what was sent so far.

    The question for health, with which each call begins, is not among them.
    """
    sent: list[str] = []
    plain = HTTPAdapter.send

    def send(self: HTTPAdapter, request: Any, *rest: Any, **options: Any) -> Any:
        sent.append(f"{request.method} {request.path_url.split('?', maxsplit=1)[0]}")
        if len(sent) == n:
            do()
        return plain(self, request, *rest, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(HTTPAdapter, "send", send)
        yield sent


# A work is given the server, and returns what does it and what must hold once it was done.
Work = tuple[Callable[[], Any], Callable[[Any], None]]


def _register(away: Away) -> Work:
    bundle = away.bundle()
    digest = verify_sums(bundle)

    def check(version: Version) -> None:
        same = [v for v in registry.versions(away.settings, "away") if v.digest == digest]
        assert same == [version]
        store = away.layout.root / "store"
        assert verify_sums(registry.fetch(away.settings, version, store)) == digest

    return lambda: registry.register(away.settings, "away", bundle, away.run, {}), check


def _fetch(away: Away) -> Work:
    # Registered alone in a run of its own, since registering puts its files in the others' place.
    away.made += 1
    run = open_run(away.layout, away.settings, "away", f"fetched #{away.made}", {}, {})
    version = registry.register(away.settings, "away", away.bundle(), run, {})
    store = away.layout.root / f"store-{away.made}"

    def check(folder: Path) -> None:
        assert verify_sums(folder) == version.digest
        assert [path.name for path in store.iterdir()] == [version.digest]

    return lambda: registry.fetch(away.settings, version, store), check


def _set_alias(away: Away) -> Work:
    away.made += 1
    alias, number = f"alias{away.made}", away.kept.number

    def check(_: object) -> None:
        found = registry.by_alias(away.settings, "away", alias)
        assert found is not None
        assert found.number == number

    return lambda: registry.set_alias(away.settings, "away", alias, number), check


def _by_alias(away: Away) -> Work:
    registry.set_alias(away.settings, "away", "champion", away.kept.number)

    def check(found: Version | None) -> None:
        assert found is not None
        assert found.digest == away.kept.digest

    return lambda: registry.by_alias(away.settings, "away", "champion"), check


def _tag_version(away: Away) -> Work:
    away.made += 1
    tags = {f"batch.{away.made}": "a", f"batch.{away.made}b": "b"}

    def check(_: object) -> None:
        found = registry.by_number(away.settings, "away", away.kept.number)
        assert {key: found.tags[key] for key in tags} == tags

    return lambda: registry.tag_version(away.settings, away.kept, tags), check


def _log_stats(away: Away) -> Work:
    away.made += 1
    run = open_run(away.layout, away.settings, "away", f"rows #{away.made}", {}, {})

    def check(_: object) -> None:
        from mlflow import MlflowClient

        client = MlflowClient(away.settings.mlflow_url)
        history = client.get_metric_history(run.run_id, "measured/fd")
        assert [(point.step, point.value) for point in history] == [(1, 8.0), (2, 7.0), (3, 6.0)]
        assert read_run(away.settings, run.run_id).kimg == 0.003

    return lambda: log_stats(run, ROWS), check


WORKS: dict[str, Callable[[Away], Work]] = {
    "register": _register,
    "fetch": _fetch,
    "set_alias": _set_alias,
    "by_alias": _by_alias,
    "tag_version": _tag_version,
    "log_stats": _log_stats,
}


def _hang_at(away: Away, name: str, places: Callable[[list[str]], list[int]]) -> int:
    """Let the server hang before each of these requests of a work; return how many there were."""
    do, check = WORKS[name](away)
    with before_request(0, lambda: None) as sent:
        done = do()
    check(done)
    chosen = places(sent)
    for n in chosen:
        do, check = WORKS[name](away)
        if n == 0:
            away.send(signal.SIGSTOP)
        try:
            with before_request(n, lambda: away.send(signal.SIGSTOP)):
                away.try_away(do)
        finally:
            away.send(signal.SIGCONT)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("GANMILL_MLFLOW_SECONDS", "100")
            check(do())
    return len(chosen)


@pytest.mark.parametrize("name", WORKS)
def test_a_server_that_hangs_is_given_up_and_tried_again(
    away: Away, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Hung before a call or in the middle of it: an error in time; the same call then completes.

    The server comes back to the request that was given up, so it is done twice: nothing is double.
    """

    def places(sent: list[str]) -> list[int]:
        creating = [n for n, one in enumerate(sent, 1) if "model-versions/create" in one]
        return sorted({0, 1, len(sent), *creating})

    monkeypatch.setenv("GANMILL_MLFLOW_SECONDS", "2")
    _hang_at(away, name, places)


@pytest.mark.faults
@pytest.mark.parametrize("name", WORKS)
def test_no_request_may_hang_for_longer_than_ten_seconds(
    away: Away, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the setting that users have, at every single request of every call."""
    monkeypatch.delenv("GANMILL_MLFLOW_SECONDS", raising=False)
    tried = _hang_at(away, name, lambda sent: list(range(len(sent) + 1)))

    print(f"{name}: hung at {tried} places; longest call so far {away.longest:.1f} s")


def test_a_server_that_dies_and_is_started_again_has_lost_nothing(
    away: Away, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed between upload and version; every other call fails at once, and later completes."""
    monkeypatch.setenv("GANMILL_MLFLOW_SECONDS", "60")
    works = {name: WORKS[name](away) for name in WORKS}
    creating = _place(away, "model-versions/create")
    with before_request(creating, lambda: away.send(signal.SIGKILL)):
        away.try_away(works["register"][0])
    for do, _ in works.values():
        away.try_away(do)
    away.restart()
    for do, check in works.values():
        check(do())


def _place(away: Away, words: str) -> int:
    """Return the number of the first request of registering that has these words."""
    with before_request(0, lambda: None) as sent:
        _register(away)[0]()
    return next(n for n, one in enumerate(sent, 1) if words in one)
