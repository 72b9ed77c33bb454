"""`ganmill metrics` and `ganmill alerts`, as a user types them; no monitor runs."""

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from flows.settings import Settings
from tests.flows.conftest import ADDRESSES, COMMAND

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def run(tmp_path: Path, settings_on: Callable[..., Settings]) -> Run:
    """Return a function that runs the command in a workspace whose servers are down."""
    (tmp_path / "params.yaml").write_text(
        "recipes:\n  stickers:\n    data: {source: files, path: p, resolution: 32}\n"
    )
    settings = settings_on()
    ports = {
        "GANMILL_PREFECT_PORT": str(settings.prefect_port),
        "GANMILL_MLFLOW_PORT": str(settings.mlflow_port),
    }
    given = {name: value for name, value in os.environ.items() if name not in ADDRESSES}

    def do(*words: str) -> "subprocess.CompletedProcess[str]":
        command, environment = [str(COMMAND), *words], {**given, **ports}
        return subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )

    return do


def test_metrics_are_what_prometheus_reads(run: Run) -> None:
    """For a textfile collector, or to see by hand what the monitor would serve."""
    done = run("metrics")

    assert done.returncode == 0, done.stderr
    families = {family.name: family for family in text_string_to_metric_families(done.stdout)}
    assert [s.value for s in families["ganmill_server_up"].samples] == [0, 0]
    assert families["ganmill_champion_version"].samples[0].labels == {"recipe": "stickers"}


def test_alerts_say_what_to_do_and_end_with_1(run: Run, tmp_path: Path) -> None:
    """A script asks by the exit code, a person reads the mend; nothing is written or told."""
    done, as_json = run("alerts"), run("alerts", "--json")

    assert (done.returncode, as_json.returncode) == (1, 1)
    assert "does not answer." in done.stdout
    assert "Start it: ganmill up" in done.stdout
    found = {(each["rule"], each["about"]) for each in json.loads(as_json.stdout)}
    assert found == {("server", "prefect"), ("server", "mlflow")}
    assert not (tmp_path / ".ganmill/alerts.json").exists()
    assert not (tmp_path / ".ganmill/notices.jsonl").exists()
