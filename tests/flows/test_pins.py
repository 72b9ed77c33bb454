"""The pin: which bundle the next training starts from."""

from pathlib import Path

import pytest

from flows.pins import read_pin, write_pin
from gan.errors import DamagedError
from gan.paths import Layout


def test_a_missing_pin_means_from_scratch_and_is_written(tmp_path: Path) -> None:
    """DVC needs the file, so that reading makes it."""
    layout = Layout(tmp_path)
    assert read_pin(layout, "pets") is None
    assert layout.pin("pets").is_file()


def test_a_pin_is_read_as_it_was_written(tmp_path: Path) -> None:
    """A digest goes in and comes out."""
    layout = Layout(tmp_path)
    write_pin(layout, "pets", "ab" * 32)
    assert read_pin(layout, "pets") == "ab" * 32


@pytest.mark.parametrize("content", ["[]", "{}", "not json", '"ab"'])
def test_a_damaged_pin_is_not_taken_for_a_start_from_scratch(tmp_path: Path, content: str) -> None:
    """What is not a pin is refused by name: training from scratch by mistake costs hours."""
    layout = Layout(tmp_path)
    layout.pin("pets").parent.mkdir(parents=True)
    layout.pin("pets").write_text(content)
    with pytest.raises(DamagedError, match=r"start\.json"):
        read_pin(layout, "pets")
