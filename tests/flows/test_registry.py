"""Versions and aliases in a real MLflow server: a digest is one version, bytes are checked."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flows import registry
from flows.settings import Settings
from flows.tracking import TrackedRun, open_run
from gan.durable import verify_sums
from gan.errors import DamagedError, ServiceError, UsageError
from gan.paths import Layout

Make = Callable[[str], Path]


@pytest.fixture
def run(mlflow_settings: Settings, server_layout: Layout) -> TrackedRun:
    """Return a new open run."""
    return open_run(server_layout, mlflow_settings, "registered", "registered #1", {}, {})


def test_one_digest_is_one_version(
    mlflow_settings: Settings, run: TrackedRun, make_bundle: Make
) -> None:
    """Registering again, also from another run, returns the version of the first time."""
    first = registry.register(mlflow_settings, "once", make_bundle("a"), run, {"data_version": "d"})
    again = registry.register(mlflow_settings, "once", make_bundle("b").parent / "a", run, {})
    other = registry.register(mlflow_settings, "once", make_bundle("c"), run, {})

    assert first == again
    assert (first.number, other.number) == (1, 2)
    assert first.tags["data_version"] == "d"
    assert first.digest == verify_sums(make_bundle("d").parent / "a")
    assert [v.number for v in registry.versions(mlflow_settings, "once")] == [2, 1]
    assert registry.by_number(mlflow_settings, "once", 2) == other
    with pytest.raises(UsageError, match="There: v1, v2"):
        registry.by_number(mlflow_settings, "once", 9)


def test_registering_at_once_makes_one_version(
    mlflow_settings: Settings, run: TrackedRun, make_bundle: Make
) -> None:
    """Four at the same time end with a single version of the digest."""
    bundle = make_bundle("raced")
    call: tuple[Any, ...] = (mlflow_settings, "raced", bundle, run, {})
    threads = [threading.Thread(target=registry.register, args=call) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(registry.versions(mlflow_settings, "raced")) == 1


def test_a_missing_alias_is_none_and_nothing_else_is(
    mlflow_settings: Settings, run: TrackedRun, make_bundle: Make
) -> None:
    """No model and no alias are None; an error is an error, never `there is none`."""
    assert registry.by_alias(mlflow_settings, "nobody", "champion") is None
    made = registry.register(mlflow_settings, "aliased", make_bundle("x"), run, {})
    assert registry.by_alias(mlflow_settings, "aliased", "champion") is None
    registry.set_alias(mlflow_settings, "aliased", "champion", made.number)
    registry.tag_version(mlflow_settings, made, {"batches": "b1"})

    found = registry.by_alias(mlflow_settings, "aliased", "champion")
    assert found is not None
    assert (found.number, found.tags["batches"]) == (made.number, "b1")
    with pytest.raises(ServiceError, match="reading aliased@not a name"):
        registry.by_alias(mlflow_settings, "aliased", "not a name!")
    away = mlflow_settings.model_copy(update={"mlflow_tracking_uri": "http://127.0.0.1:9"})
    with pytest.raises(ServiceError, match="ganmill up"):
        registry.by_alias(away, "aliased", "champion")


def test_fetched_bytes_are_the_registered_bytes(
    mlflow_settings: Settings,
    run: TrackedRun,
    make_bundle: Make,
    tmp_path: Path,
    server_layout: Layout,
) -> None:
    """A bundle comes back whole under its digest; an exchanged one is refused and not kept."""
    made = registry.register(mlflow_settings, "fetched", make_bundle("good"), run, {})
    folder = registry.fetch(mlflow_settings, made, tmp_path / "store")
    assert folder == tmp_path / "store" / made.digest
    assert registry.fetch(mlflow_settings, made, tmp_path / "store") == folder

    stored = (server_layout.root / "mlflow-alone").rglob(f"{run.run_id}/artifacts/bundle/gener*")
    next(iter(stored)).write_bytes(b"exchanged")
    with pytest.raises(DamagedError, match=r"generator\.safetensors"):
        registry.fetch(mlflow_settings, made, tmp_path / "other")
    assert list((tmp_path / "other").iterdir()) == []


def test_a_damaged_bundle_is_not_registered(
    mlflow_settings: Settings, run: TrackedRun, make_bundle: Make
) -> None:
    """A bundle whose files differ from its list is refused before anything is sent."""
    bundle = make_bundle("bad")
    (bundle / "card.json").write_text("{}")

    with pytest.raises(DamagedError, match=r"card\.json"):
        registry.register(mlflow_settings, "damaged", bundle, run, {})
    assert registry.versions(mlflow_settings, "damaged") == []
