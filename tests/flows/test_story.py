"""What a run tells: lines for the terminal, keys for Prefect."""

import os
import re
from pathlib import Path

import pytest

from flows.story import Step, Story, artifact_key, shown


def test_a_step_is_one_line_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    """Each step ends with what, how it went, how long, and why; stdout stays free for JSON."""
    Story("pets").tell(Step("train", "ran", 12.34, "kimg: 1 -> 2"))
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.split() == ["train", "ran", "12.3", "s", "kimg:", "1", "->", "2"]


@pytest.mark.parametrize("recipe", ["pets", "my.pets", "my_pets", "a-.b"])
def test_an_artifact_key_is_one_that_prefect_takes(recipe: str) -> None:
    """Recipe names allow more characters than artifact keys do."""
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", artifact_key(recipe, "data-contract"))


def test_a_path_is_shown_as_one_would_type_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Below the current folder it is short, elsewhere it is whole."""
    monkeypatch.chdir(tmp_path)
    assert shown(tmp_path / "a" / "b") == os.path.join("a", "b")  # noqa: PTH118  # as typed
    assert shown(Path("/elsewhere/b")) == "/elsewhere/b"
