"""`ganmill summary`: a table for people, JSON for scripts, one line for mistakes."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from flows.commands.summary import summary
from gan.paths import Layout
from gan.recipe import load_recipe
from gan.summary import summarise

PARAMS = """
recipes:
  old:
    data: {source: files, path: nowhere, resolution: 28, channels: 1}
    model: conv28
"""


def _ganmill(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    (root / "params.yaml").write_text(PARAMS)
    command = [sys.executable, "-m", "flows.cli", "summary", *arguments]
    return subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)


def test_scripts_get_json(tmp_path: Path) -> None:
    """Without images, servers or a repository there is one JSON document on stdout."""
    done = _ganmill(tmp_path, "old", "--json")
    found = json.loads(done.stdout)

    assert done.returncode == 0
    assert (found["recipe"], found["preset"], found["num_classes"]) == ("old", "conv28", None)
    assert found["generator"]["layers"][1]["name"] == "start"
    assert found["memory_bytes"]["checkpoint"] > found["memory_bytes"]["bundle"]
    assert [path.name for path in tmp_path.iterdir()] == ["params.yaml"]


def test_an_unknown_recipe_is_one_line(tmp_path: Path) -> None:
    """A misspelt name says which are known."""
    done = _ganmill(tmp_path, "odl")

    assert done.returncode == 2
    assert done.stderr.strip() == "ganmill: params.yaml: no recipe 'odl'. Did you mean old?"
    assert not done.stdout


def test_people_get_a_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Layers by stage with totals, then arithmetic and memory, and what was assumed."""
    (tmp_path / "params.yaml").write_text(PARAMS)
    layout = Layout(tmp_path)
    found = summarise(layout, load_recipe(layout.params, "old"))
    summary(found, as_json=False)
    shown = capsys.readouterr().out
    lines = [" ".join(line.split()) for line in shown.splitlines()]

    assert lines[0].startswith("old: conv28, 28 px, channels 1, 1 class assumed")
    assert "7 px norm1 128x7x7 256 0.00" in lines
    assert "14 px up1 64x14x14 131,136 12.85" in lines
    assert f"total {found.generator.parameters:,} {found.generator.mflops:,.2f}" in lines
    assert "no penalty" in shown
    assert "activations of a batch of 32" in shown
