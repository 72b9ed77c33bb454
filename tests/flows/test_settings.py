"""The environment: embedded defaults, one line for what is wrong, nothing sent home."""

from pathlib import Path

import pytest

from flows.settings import load_settings, quiet_environment, workspace
from gan.errors import UsageError
from gan.paths import Layout


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PREFECT_API_URL", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)
    for name in ("GANMILL_PREFECT_PORT", "GANMILL_MLFLOW_PORT"):
        monkeypatch.delenv(name, raising=False)


def test_defaults_are_loopback() -> None:
    """Without a setting, both servers are local."""
    settings = load_settings()

    assert settings.prefect_url == "http://127.0.0.1:4200"
    assert settings.mlflow_url == "http://127.0.0.1:5000"


def test_given_addresses_are_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """A given server's address is taken with or without its trailing parts."""
    monkeypatch.setenv("PREFECT_API_URL", "http://prefect:4200/api/")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://mlflow:5000/")

    assert load_settings().prefect_url == "http://prefect:4200"
    assert load_settings().mlflow_url == "http://mlflow:5000"


@pytest.mark.parametrize("value", ["0", "65536", "many", ""])
def test_an_impossible_port_is_named(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    """The message names the variable as it is written in the environment."""
    monkeypatch.setenv("GANMILL_MLFLOW_PORT", value)

    with pytest.raises(UsageError, match=r"^GANMILL_MLFLOW_PORT: "):
        load_settings()


def test_children_are_told_where_servers_are_and_to_be_quiet() -> None:
    """Analytics are off, pickles refused, and state stays in the workspace."""
    environment = quiet_environment(load_settings(), Layout(Path("/w")))

    assert environment["PREFECT_API_URL"] == "http://127.0.0.1:4200/api"
    assert environment["PREFECT_HOME"] == "/w/.ganmill/prefect"
    assert environment["MLFLOW_DISABLE_TELEMETRY"] == "true"
    assert environment["MLFLOW_ALLOW_PICKLE_DESERIALIZATION"] == "false"
    assert environment["PREFECT_SERVER_ANALYTICS_ENABLED"] == "false"
    assert environment["DVC_NO_ANALYTICS"] == "1"


def test_the_workspace_is_found_from_below(tmp_path: Path) -> None:
    """Commands work in any folder of a workspace, and say so when there is none."""
    (tmp_path / "params.yaml").write_text("recipes: {}\n")
    (tmp_path / "a" / "b").mkdir(parents=True)

    assert workspace(tmp_path / "a" / "b").root == tmp_path
    with pytest.raises(UsageError, match=r"no params\.yaml here or above"):
        workspace(Path("/proc"))
