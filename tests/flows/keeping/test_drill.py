"""The drill: all is lost, a backup is put back, and the mill goes on where it was."""

import json
import os
import shutil
import subprocess
import threading
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from flows import ledger, registry, release
from flows.settings import Settings
from gan.durable import sha256
from gan.paths import Layout
from tests.flows import real_servers
from tests.flows.conftest import COMMAND, RECIPES
from tests.flows.keeping.rooms import commit

Done = subprocess.CompletedProcess[str]


class Mill:
    """A workspace and the environment of its user."""

    def __init__(self, root: Path, environment: dict[str, str], settings: Settings) -> None:
        """Work in `root`, with the servers that the environment names."""
        self.root, self.layout = root, Layout(root)
        self.environment, self.settings = environment, settings

    def __call__(self, *words: str, code: int = 0) -> Done:
        """Run the installed command, which ends with this exit code."""
        done = subprocess.run(
            [str(COMMAND), *words],
            cwd=self.root,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=500,
        )
        assert done.returncode == code, f"{words}: {done.stdout}{done.stderr}"
        return done


def _mill(root: Path, settings: Settings, **more: str) -> Mill:
    given = {k: v for k, v in os.environ.items() if not k.startswith(("GANMILL_", "PREFECT_"))}
    ports = {
        "GANMILL_PREFECT_PORT": str(settings.prefect_port),
        "GANMILL_MLFLOW_PORT": str(settings.mlflow_port),
        "GANMILL_METRICS_PORT": str(settings.metrics_port),
        "GANMILL_MLFLOW_SECONDS": "60",
    }
    return Mill(root, {**given, **ports, **more}, settings)


@pytest.fixture
def mill_of(settings_on: Callable[..., Settings]) -> Iterator[Callable[..., Mill]]:
    """Return a function that makes a mill of a folder; its servers end with the test."""
    made: list[Mill] = []

    def make(root: Path, **more: str) -> Mill:
        made.append(_mill(root, settings_on(), **more))
        return made[-1]

    yield make
    for mill in made:
        mill("down")


def _run_while(busy: Callable[[], object], work: Callable[[], Done]) -> Done:
    """Return `work()`, with something else going on at the same time."""
    other = threading.Thread(target=busy)
    other.start()
    try:
        return work()
    finally:
        other.join()


def _is_as_it_was(mill: Mill, before: dict[str, Any], pictures: dict[str, str]) -> None:
    """Hold that champion, run, artifacts, ledger and batch are there, and go on as before."""
    settings, layout = mill.settings, mill.layout
    with pytest.MonkeyPatch.context() as patch:
        for name, value in mill.environment.items():
            patch.setenv(name, value)
        champion = release.serving(layout, settings, "tiny")
        assert champion is not None
        assert champion.number == before["champion"]
        assert champion.digest == before["bundle"]
        fetched = registry.fetch(settings, champion, layout.state / "drill")
    assert (fetched / "generator.safetensors").stat().st_size > 0
    assert [entry.event for entry in ledger.read(layout.ledger)][-1] == "done"
    (run,) = _ask(settings, f"runs/get?run_id={champion.run_id}").values()
    assert {metric["key"] for metric in run["data"]["metrics"]} >= {"kimg"}
    batch = layout.batches("tiny") / Path(before["batch"]).name
    assert (batch / "manifest.jsonl").is_file()
    shutil.rmtree(batch)
    mill("generate", "tiny", "--slot", batch.name.rpartition("-")[0])
    assert _pictures(batch) == pictures
    assert json.loads(mill("verify", str(batch), "--json").stdout)["is_whole"]
    again = json.loads(mill("retrain", "tiny", "--json").stdout)
    states = {step["name"]: step["state"] for step in again["steps"]}
    assert states["train"] == "unchanged"
    assert again["champion"] == before["champion"]


def _ask(settings: Settings, path: str) -> Any:
    url = f"{settings.mlflow_url}/api/2.0/mlflow/{path}"
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url, timeout=60) as answer:
        return json.load(answer)


def _pictures(batch: Path) -> dict[str, str]:
    return {path.name: sha256(path) for path in sorted(batch.glob("png/*.png"))}


@pytest.mark.slow
def test_a_backup_makes_a_fresh_clone_the_mill_that_was_lost(
    first_retrain: Done,
    ganmill: Callable[..., Done],
    mill_of: Callable[..., Mill],
    make_workspace: Callable[[str], Path],
    tmp_path: Path,
) -> None:
    """Taken while a batch is minted; put into a clone elsewhere, with servers of its own.

    The champion is served, its run and files are read, the ledger holds, a batch of the same slot
    has the same pictures, and a retraining finds nothing to do.
    """
    told = json.loads(first_retrain.stdout)
    backup = tmp_path / "backup"
    busy = lambda: ganmill("generate", "tiny", "--slot", "meanwhile")  # noqa: E731
    taken = _run_while(busy, lambda: ganmill("backup", str(backup), "--with-keys", "--json"))
    assert taken.returncode == 0, taken.stderr
    assert json.loads(taken.stdout)["missing"] == []
    assert "every byte" in ganmill("backup", "--verify", str(backup)).stdout

    clone = make_workspace(RECIPES)
    commit(clone)
    mill = mill_of(clone)
    restored = mill("restore", str(backup), "--into", str(clone))
    assert f"champion v{told['champion']}" in restored.stdout
    mill("up")

    _is_as_it_was(mill, told, _pictures(Path(told["batch"])))
    mill("restore", str(backup), code=2)  # while the servers are up


@pytest.mark.slow
def test_the_drill_on_postgres_and_s3(
    mill_of: Callable[..., Mill], make_workspace: Callable[[str], Path], tmp_path: Path
) -> None:
    """Databases dropped, bucket emptied, folders removed: all of it comes back from the backup."""
    with real_servers.postgres() as database, real_servers.store() as store:
        addresses = {
            f"GANMILL_{name.upper()}_DATABASE": database.create(name)
            for name in ("prefect", "mlflow")
        }
        place = {"GANMILL_ARTIFACTS": f"s3://{store.bucket}/mlflow"}
        root = make_workspace(RECIPES)
        mill = mill_of(root, **addresses, **place, **store.environment)
        told = json.loads(mill("retrain", "tiny", "--json").stdout)
        pictures = _pictures(Path(told["batch"]))
        backup = tmp_path / "backup.tar"
        taken = _run_while(
            lambda: mill("generate", "tiny", "--slot", "meanwhile"),
            lambda: mill("backup", str(backup), "--with-keys", "--json"),
        )
        said = json.loads(taken.stdout)
        assert said["missing"] == []
        assert {each["kind"] for each in said["databases"].values()} == {"postgresql"}
        mill("backup", "--verify", str(backup))
        mill("down")

        for name in ("prefect", "mlflow"):
            database.run("dropdb", name)
            database.create(name)
        shutil.rmtree(store.objects / "mlflow")
        for name in (".ganmill", ".dvc/cache", "data", "models", "reports", "assets", "runs"):
            shutil.rmtree(root / name)
        (root / "dvc.lock").unlink()
        mill("restore", str(backup))
        mill("up")

        _is_as_it_was(mill, told, pictures)
