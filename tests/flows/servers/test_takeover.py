"""From SQLite to Postgres: what MLflow knew, it knows."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mlflow.entities import Metric, RunTag
from mlflow.store.model_registry.sqlalchemy_store import SqlAlchemyStore as Registry
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore as Tracking

from flows.servers.takeover import take_over
from gan.errors import ServiceError
from tests.flows.real_servers import Postgres, postgres


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a file of MLflow's with a run, two versions of a model, and a champion."""
    folder = tmp_path_factory.mktemp("kept 100% #1 ")
    address = f"sqlite:///{folder / 'mlflow.db'}"
    tracking, registry = _stores(address)
    experiment = tracking.create_experiment("stickers")
    run = tracking.create_run(experiment, "me", 1, [RunTag("recipe", "stickers")], "v1").info
    tracking.log_batch(run.run_id, [Metric("fd_domain", 3.5, 2, 7)], [], [])
    registry.create_registered_model("stickers")
    for _ in range(2):
        registry.create_model_version("stickers", "mlflow-artifacts:/1", run.run_id)
    registry.set_registered_model_alias("stickers", "champion", "2")
    return folder / "mlflow.db"


@pytest.fixture(scope="module")
def database() -> Iterator[Postgres]:
    """Yield a running Postgres with the database `mlflow`, in which MLflow made its tables."""
    with postgres() as running:
        _stores(running.create("mlflow"))
        yield running


def _stores(address: str) -> Any:  # of MLflow, which tells mypy little
    """Return MLflow's own stores of runs and of models; they make tables that are not there."""
    return Tracking(address, "mlflow-artifacts:/"), Registry(address)  # type: ignore[no-untyped-call]


def test_another_form_is_refused_and_nothing_is_copied(kept: Path, database: Postgres) -> None:
    """Tables of another version of MLflow are not mixed; the line says what upgrades them."""
    address = database.address("mlflow")
    database.ask("mlflow", "UPDATE alembic_version SET version_num = 'x' || version_num")
    with pytest.raises(ServiceError, match="Start once more without GANMILL_MLFLOW_DATABASE"):
        take_over(kept, address)
    assert database.ask("mlflow", "SELECT count(*) FROM runs") == "0"
    database.ask("mlflow", "UPDATE alembic_version SET version_num = substr(version_num, 2)")


def test_all_of_it_goes_along_once(kept: Path, database: Postgres, tmp_path: Path) -> None:
    """Runs, values, versions and the champion are there; new ones get new numbers; no row twice."""
    before, address = kept.read_bytes(), database.address("mlflow")
    assert take_over(tmp_path / "none.db", address) == 0
    assert take_over(kept, address) > 10
    assert take_over(kept, address) == 0  # it has runs now

    tracking, registry = _stores(address)
    champion = registry.get_model_version_by_alias("stickers", "champion")
    assert str(champion.version) == "2"
    run = tracking.get_run(champion.run_id)
    assert run.data.metrics == {"fd_domain": 3.5}
    assert run.data.tags["recipe"] == "stickers"
    found = tracking.get_experiment_by_name("stickers")
    assert int(tracking.create_experiment("avatars")) > int(found.experiment_id)
    names = database.ask("mlflow", "SELECT name FROM experiments ORDER BY experiment_id")
    assert names.splitlines() == ["Default", "stickers", "avatars"]
    assert kept.read_bytes() == before
