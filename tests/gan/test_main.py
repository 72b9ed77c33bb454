"""`python -m gan`: one verb a stage, one line and an exit code for what went wrong."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from gan.durable import read_failure
from gan.errors import DamagedError, RecipeError
from gan.paths import Layout

PARAMS = """\
recipes:
  tiny:
    data: {source: glyphs, path: params.yaml, resolution: 16, glyphs: {count: 14, seed: 1}}
"""


def _run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "gan", *words]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """Return a workspace with one recipe."""
    (tmp_path / "params.yaml").write_text(PARAMS)
    return Layout(tmp_path)


def test_a_stage_that_works_ends_with_0(layout: Layout) -> None:
    """A verb does its stage and says in one line what came out."""
    done = _run(layout.root, "ingest", "tiny")

    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines()[-1].startswith("ingest tiny: 14 images in ")
    assert (layout.raw("tiny") / "index.parquet").is_file()
    assert read_failure(layout.failure("ingest", "tiny")) is None


def test_a_failure_is_one_line_and_a_record(layout: Layout) -> None:
    """What a user can mend ends in one line, its exit code, and the same line for the flow."""
    done = _run(layout.root, "train", "tiny")

    assert done.returncode == DamagedError.exit_code
    assert "Traceback" not in done.stderr
    (line,) = done.stderr.splitlines()
    assert line.endswith("(SHA256SUMS is missing). Make them with: dvc repro prepare")
    record = json.loads(layout.failure("train", "tiny").read_bytes())
    assert record == {"error": "DamagedError", "exit_code": 1, "message": line}


def test_an_unknown_recipe_ends_with_2(layout: Layout) -> None:
    """A misspelt recipe is a usage error that offers the nearest name; the flow finds it too."""
    done = _run(layout.root, "ingest", "tyni")

    assert done.returncode == 2
    assert done.stderr == "params.yaml: no recipe 'tyni'. Did you mean tiny?\n"
    assert isinstance(read_failure(layout.failure("ingest", "tyni")), RecipeError)


@pytest.mark.parametrize("words", [("bake", "tiny"), ("train",), ("train", "a", "b"), ()])
def test_a_wrong_command_line_ends_with_2(layout: Layout, words: tuple[str, ...]) -> None:
    """An unknown verb or a missing recipe lists what there is."""
    done = _run(layout.root, *words)

    assert done.returncode == 2
    assert "usage: python -m gan" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("recipe", ["../../evil", "/etc/x", ""])
def test_a_name_cannot_climb_out(layout: Layout, recipe: str) -> None:
    """A recipe that is a path ends with 2, and its failure is not written outside."""
    before = {path for path in layout.root.parent.rglob("*") if path.is_file()}
    done = _run(layout.root, "ingest", recipe)

    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert {path for path in layout.root.parent.rglob("*") if path.is_file()} == before
