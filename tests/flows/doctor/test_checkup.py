"""Tests of all checks together, and of what they print."""

import hashlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from flows.doctor import checkup, finding, show
from flows.doctor.finding import Finding, bad, ok, unknown, warn
from gan.paths import Layout

COMMAND = Path(sys.executable).parent / "ganmill"


@pytest.fixture
def broken(workspace: Layout) -> Layout:
    """Return a workspace whose database is no database, and whose recipes cannot be read."""
    path = workspace.state / "prefect" / "prefect.db"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"no database" * 1000)
    workspace.params.write_text("recipes: [")
    return workspace


def _tree(root: Path) -> dict[str, str]:
    """Return the digest of every file below a folder, and every folder."""
    return {
        str(path): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
        for path in root.rglob("*")
    }


def _environment(**more: str) -> dict[str, str]:
    """Return the environment of a shell without settings."""
    given = {name: value for name, value in os.environ.items() if not name.startswith("GANMILL_")}
    return {**given, "COLUMNS": "80", **more}


def test_a_broken_workspace_is_looked_at_whole(broken: Layout) -> None:
    """With servers down, a damaged database and unreadable recipes every check has its line.

    Nothing is changed, what is bad has a command that mends it, and scripts see exit code 1.
    """
    before = _tree(broken.root)
    done = subprocess.run(
        [str(COMMAND), "doctor", "--json"],
        cwd=broken.root,
        env=_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    assert _tree(broken.root) == before
    told = json.loads(done.stdout)
    assert told["state"] == "bad"
    lines = {line["name"]: line for line in told["findings"]}
    assert {"python", "disk", "DVC remote", "ports", "Prefect", "MLflow", "certificate"} <= {*lines}
    assert set(lines["python"]) == {"name", "state", "says", "mend"}
    assert lines["Prefect database"]["state"] == "bad"
    assert lines["recipes"]["state"] == "bad"
    assert lines["Prefect"]["mend"] == "ganmill up"
    assert lines["schedules"]["state"] == "unknown"
    assert all(line["mend"] for line in lines.values() if line["state"] in {"bad", "warn"})
    assert "check itself broke" not in done.stdout


def test_impossible_settings_hide_nothing_else(
    workspace: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One line names the setting; the machine is looked at as always."""
    monkeypatch.setenv("GANMILL_MLFLOW_PORT", "none")
    lines = {line.name: line for line in checkup.look(workspace, seconds=5.0)}
    assert lines["settings"].state == "bad"
    assert lines["servers"].state == "unknown"
    assert lines["git"].state in {"ok", "warn"}


def test_what_does_not_end_in_time_is_given_up(workspace: Layout) -> None:
    """No check is waited for longer than all of them may take; each has its line all the same."""
    began = time.monotonic()
    found = checkup.look(workspace, seconds=0.0)
    assert time.monotonic() - began < 5
    assert any("took longer than 0 s" in line.says for line in found)


FOUND = [
    ok("python", "Python 3.11"),
    warn("ports", "a line that is longer than eighty columns " * 3, "export GANMILL_X=" + "x" * 90),
    bad("disk [full]", "no room", "ganmill retain"),
    unknown("torch", "nobody knows"),
]


def test_people_read_a_line_each_and_copy_commands_whole(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """At 80 columns what was found is wrapped, and no command is."""
    monkeypatch.setenv("COLUMNS", "80")
    show.show(FOUND, as_json=False)
    table, mends = capsys.readouterr().out.split("\nTo mend:\n")
    assert max(map(len, table.splitlines())) <= 80
    assert "disk [full]" in table
    assert f"  ports: export GANMILL_X={'x' * 90}\n" in mends
    assert "torch" not in mends
    assert mends.endswith("1 ok, 1 warn, 1 bad, 1 unknown.\n")


def test_the_worst_counts() -> None:
    """What nobody could tell is worse than a warning, and not as bad as bad."""
    assert finding.worst([]) == "ok"
    assert finding.worst(FOUND[:2]) == "warn"
    assert finding.worst([*FOUND[:2], FOUND[3]]) == "unknown"
    assert finding.worst(FOUND) == "bad"
    assert Finding("a", "ok", "b").mend == ""
