"""Real servers for the tests: one Prefect and one MLflow for the whole session, on free ports.

With GANMILL_TEST_SERVERS=real the mill, which the commands are tried in, stands on Postgres and an
S3-compatible store, with a login, a DVC remote and a sink in the store: the same tests, for both.
"""

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from flows import stack
from flows.settings import Settings, load_settings
from gan.durable import write_sums
from gan.paths import Layout
from tests.flows.real_servers import logging_in, postgres, store

ADDRESSES = (
    "PREFECT_API_URL",
    "MLFLOW_TRACKING_URI",
    "GANMILL_PREFECT_PORT",
    "GANMILL_MLFLOW_PORT",
    "GANMILL_METRICS_PORT",
)

# Our machines are busy when they test: what is quick for a user may take its time here.
os.environ.setdefault("GANMILL_MLFLOW_SECONDS", "60")
COMMAND = Path(sys.executable).parent / "ganmill"

IS_REAL = os.environ.get("GANMILL_TEST_SERVERS") == "real"
LOGIN = "mill:a-long-password"
if IS_REAL:  # before Prefect is imported, which looks at it once
    os.environ["PREFECT_API_AUTH_STRING"] = LOGIN
    os.environ["MLFLOW_TRACKING_USERNAME"], _, os.environ["MLFLOW_TRACKING_PASSWORD"] = (
        LOGIN.partition(":")
    )


def _free_port() -> int:
    """Return a port of loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="session")
def settings_on() -> Callable[..., Settings]:
    """Return a function that makes settings for two ports, free ones by default."""

    def make(prefect_port: int | None = None, mlflow_port: int | None = None) -> Settings:
        with pytest.MonkeyPatch.context() as patch:
            for name in ADDRESSES:
                patch.delenv(name, raising=False)
            patch.setenv("GANMILL_PREFECT_PORT", str(prefect_port or _free_port()))
            patch.setenv("GANMILL_MLFLOW_PORT", str(mlflow_port or _free_port()))
            patch.setenv("GANMILL_METRICS_PORT", str(_free_port()))
            return load_settings()

    return make


@pytest.fixture(scope="session")
def server_layout(tmp_path_factory: pytest.TempPathFactory) -> Layout:
    """Return the workspace that the session's servers live in."""
    root = tmp_path_factory.mktemp("servers")
    (root / "params.yaml").write_text("recipes: {}\n")
    return Layout(root)


@pytest.fixture(scope="session")
def servers(server_layout: Layout, settings_on: Callable[..., Settings]) -> Iterator[Settings]:
    """Return settings that lead to a running Prefect and a running MLflow server."""
    settings = settings_on()
    stack.up(server_layout, settings)
    yield settings
    stack.down(server_layout)


@pytest.fixture(scope="session")
def mlflow_settings(
    server_layout: Layout, settings_on: Callable[..., Settings]
) -> Iterator[Settings]:
    """Return settings that lead to a running MLflow server; no Prefect is started."""
    layout = Layout(server_layout.root / "mlflow-alone")
    layout.root.mkdir()
    given = settings_on()
    settings = given.model_copy(update={"prefect_api_url": "http://127.0.0.1:9/api"})
    stack.up(layout, settings)
    yield settings
    stack.down(layout)


@pytest.fixture
def make_bundle(tmp_path: Path) -> Callable[[str], Path]:
    """Return a function that writes a folder with the form of a bundle."""

    def make(words: str) -> Path:
        folder = tmp_path / "bundles" / words
        folder.mkdir(parents=True)
        (folder / "generator.safetensors").write_bytes(words.encode() * 100)
        (folder / "card.json").write_text('{"recipe": "stickers"}')
        write_sums(folder)
        return folder

    return make


RECIPES = """\
recipes:
  tiny:
    data:
      source: glyphs
      path: gan/image/glyphs.py
      resolution: 16
      glyphs: {count: 240, seed: 1}
      contract: {min_images: 100, min_images_per_class: 5}
    model: {preset: tiny}
    train: {budget: {kimg: 1}, start: champion, seed: 1, batch_size: 32, device: cpu}
    evaluate: {samples: 200}
    gate:
      {max_fd_share: 1.0, margin: 1.0, diversity: 1.0, worst_class: 1.0, memorisation: false,
       resources: null, min_accepted: 0.0}
    assets:
      {count: 8, size_px: 64, rejection: 0.0,
       screens: {off_class: 0.0, near_distance: 0, past: 0, copies: 0.0}}
    detector: {kimg: 0}
    schedule: {generate: "0 3 1 1 *"}
"""


@pytest.fixture(scope="session")
def make_workspace(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return a function that makes a workspace as a clone would be, with the given params.yaml."""

    def make(params: str) -> Path:
        root, repository = tmp_path_factory.mktemp("workspace"), Path(__file__).parents[2]
        for name in ("gan", "flows"):  # a copy: nobody edits it while the tests run
            ignored = shutil.ignore_patterns("__pycache__", "shipped")
            shutil.copytree(repository / name, root / name, ignore=ignored)
        (root / ".dvc").mkdir()
        for name in ("dvc.yaml", ".dvcignore", ".gitignore", ".dvc/config", ".dvc/.gitignore"):
            if (repository / name).exists():
                shutil.copyfile(repository / name, root / name)
        (root / "params.yaml").write_text(params)
        subprocess.run(["git", "init", "-q", str(root)], check=True)
        return root

    return make


@pytest.fixture(scope="session")
def mill_stands_on() -> Iterator[dict[str, str]]:
    """Return what the mill's servers are told to stand on: nothing, or Postgres, S3 and a login."""
    if not IS_REAL:
        yield {}
        return
    with postgres() as database, store() as s3:
        yield {
            "GANMILL_LOGIN": LOGIN,
            "GANMILL_PREFECT_DATABASE": database.create("prefect"),
            "GANMILL_MLFLOW_DATABASE": database.create("mlflow"),
            "GANMILL_ARTIFACTS": f"s3://{s3.bucket}/mlflow",
            **s3.environment,
        }


@pytest.fixture(scope="session")
def mill_settings(
    settings_on: Callable[..., Settings], mill_stands_on: dict[str, str]
) -> Iterator[Settings]:
    """Return the settings of the workspace that the commands are tried in: ports of its own."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in mill_stands_on.items():
            patch.setenv(name, value)
        settings = settings_on()
        for name in mill_stands_on:
            if name.startswith("GANMILL_"):
                patch.delenv(name)
        with logging_in(settings):
            yield settings


@pytest.fixture(scope="session")
def mill_environment(mill_settings: Settings, mill_stands_on: dict[str, str]) -> dict[str, str]:
    """Return the environment of a user with those ports, in the plainest of shells."""
    given = {name: value for name, value in os.environ.items() if name not in ADDRESSES}
    ports = {
        "GANMILL_PREFECT_PORT": str(mill_settings.prefect_port),
        "GANMILL_MLFLOW_PORT": str(mill_settings.mlflow_port),
        "GANMILL_METRICS_PORT": str(mill_settings.metrics_port),
    }
    return {**given, **ports, **mill_stands_on, "COLUMNS": "80", "SHELL": "/bin/sh"}


@pytest.fixture(scope="session")
def mill_root(
    make_workspace: Callable[[str], Path], mill_environment: dict[str, str]
) -> Iterator[Path]:
    """Return a workspace with one small recipe; its servers end with the session."""
    root = make_workspace(RECIPES)
    if IS_REAL:
        _use_bucket(root)
    yield root
    subprocess.run([str(COMMAND), "down"], cwd=root, env=mill_environment, check=True)


def _use_bucket(root: Path) -> None:
    """Have a workspace push its data to the store, and publish its batches there."""
    dvc, params = root / ".dvc" / "config", root / "params.yaml"
    dvc.write_text(dvc.read_text().replace("../.ganmill/dvc-store", "s3://mill/dvc"))
    params.write_text(
        params.read_text().replace("{count: 8,", "{sink: 's3://mill/assets', count: 8,")
    )


@pytest.fixture(scope="session")
def ganmill(
    mill_root: Path, mill_environment: dict[str, str]
) -> Callable[..., "subprocess.CompletedProcess[str]"]:
    """Return a function that runs the installed command as a user would, and waits for its end."""

    def run(*words: str, cwd: Path = mill_root, **more: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [str(COMMAND), *words],
            cwd=cwd,
            env={**mill_environment, **more},
            capture_output=True,
            text=True,
            check=False,
            timeout=400,
        )

    return run


@pytest.fixture(scope="session")
def first_retrain(
    ganmill: Callable[..., "subprocess.CompletedProcess[str]"],
) -> "subprocess.CompletedProcess[str]":
    """Return the first `ganmill retrain tiny --json` of the workspace."""
    done = ganmill("retrain", "tiny", "--json")
    assert done.returncode == 0, done.stderr
    return done
