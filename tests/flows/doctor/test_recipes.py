"""Tests of what the doctor says of settings, params.yaml, secrets and time zones."""

import subprocess
from collections.abc import Callable

import pytest

from flows.doctor import recipes, secrecy
from flows.settings import Settings
from gan.paths import Layout

Make = Callable[..., Settings]


def test_an_impossible_setting_is_named(workspace: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    """A port of 99999 is bad, by the name of its variable; a secret is not quoted."""
    monkeypatch.setenv("GANMILL_PREFECT_PORT", "99999")
    (line,) = recipes.settings(workspace)
    assert (line.state, "GANMILL_PREFECT_PORT" in line.says) == ("bad", True)
    monkeypatch.delenv("GANMILL_PREFECT_PORT")
    monkeypatch.setenv("GANMILL_LOGIN", "mill:short-one")
    (line,) = recipes.settings(workspace)
    assert line.state == "bad"
    assert "short-one" not in line.says + line.mend


def test_a_slip_in_a_variable_is_told(workspace: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable that nothing reads, but nearly is a setting, is told with the right name."""
    monkeypatch.setenv("GANMILL_PREFCT_PORT", "4300")
    (line,) = recipes.settings(workspace)
    assert line.state == "warn"
    assert "did you mean GANMILL_PREFECT_PORT?" in line.says


def test_an_env_file_that_nobody_read_is_told(
    workspace: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Settings in .env that this shell lacks are named, without their values."""
    (workspace.root / ".env").write_text("# mine\nexport GANMILL_ACTOR=ada-the-secret\n")
    (line,) = recipes.settings(workspace)
    assert (line.state, line.mend) == ("warn", "set -a; . ./.env; set +a")
    assert "GANMILL_ACTOR" in line.says
    assert "ada-the-secret" not in line.says
    monkeypatch.setenv("GANMILL_ACTOR", "ada")
    assert recipes.settings(workspace)[0].state == "ok"


def test_recipes_are_read(workspace: Layout) -> None:
    """A sound params.yaml is named by its recipes and zones, a broken one by what is wrong."""
    names, zones = recipes.recipes(workspace)
    assert (names.state, names.says) == ("ok", "tiny")
    assert (zones.state, zones.says) == ("ok", "UTC")
    text = workspace.params.read_text()
    workspace.params.write_text(text.replace("resolution:", "resolutoin:"))
    (line,) = recipes.recipes(workspace)
    assert line.state == "bad"
    assert "Did you mean resolution?" in line.says
    workspace.params.write_text("recipes: [")
    assert recipes.recipes(workspace)[0].state == "bad"


def test_an_open_secret_is_told(workspace: Layout) -> None:
    """A .env that others of the machine may read is bad, until it is closed."""
    path = workspace.root / ".env"
    assert secrecy.secret_files(workspace)[0].says == "no file holds one"
    path.write_text("GANMILL_LOGIN=mill:a-long-password\n")
    path.chmod(0o644)
    (line,) = secrecy.secret_files(workspace)
    assert (line.state, line.mend) == ("bad", f"chmod 600 {path}")
    path.chmod(0o600)
    assert secrecy.secret_files(workspace)[0].state == "ok"


def test_a_secret_in_git_is_told(workspace: Layout) -> None:
    """A .env that git keeps is bad even where nobody else may read the file."""
    path = workspace.root / ".env"
    path.touch(mode=0o600)
    for words in (("init", "-q"), ("add", ".env")):
        subprocess.run(["git", "-C", str(workspace.root), *words], check=True)
    (line,) = secrecy.secret_files(workspace)
    assert (line.state, line.says) == ("bad", "git keeps .env")
    assert "git rm --cached .env" in line.mend
