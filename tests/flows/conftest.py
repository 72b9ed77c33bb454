"""Real servers for the tests: one Prefect and one MLflow for the whole session, on free ports."""

import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from flows import stack
from flows.settings import Settings, load_settings
from gan.durable import write_sums
from gan.paths import Layout

ADDRESSES = (
    "PREFECT_API_URL",
    "MLFLOW_TRACKING_URI",
    "GANMILL_PREFECT_PORT",
    "GANMILL_MLFLOW_PORT",
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
