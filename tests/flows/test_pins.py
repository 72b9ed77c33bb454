"""The pin: which bundle the next training starts from."""

from collections.abc import Callable
from pathlib import Path

import pytest

from flows.pins import read_pin, renew_pin, write_pin
from flows.settings import Settings
from flows.versions import reproduce
from gan.errors import DamagedError
from gan.paths import Layout
from gan.recipe import load_recipe
from tests.flows.conftest import RECIPES


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


def test_a_pin_of_another_registry_does_not_end_in_a_dead_end(
    make_workspace: Callable[[str], Path], settings_on: Callable[..., Settings]
) -> None:
    """A clone with a committed pin, and servers that never had that bundle, starts from scratch."""
    layout = Layout(make_workspace(RECIPES))
    recipe = load_recipe(layout.params, "tiny")
    for stage in ("ingest", "validate", "prepare"):
        reproduce(layout, stage, "tiny")
    write_pin(layout, "tiny", "ab" * 32)
    reasons = renew_pin(layout, settings_on(), recipe, None, force=True)
    assert reasons[0] == "forced"
    assert reasons[-1] == "the pinned bundle abababababab is not here; from scratch"
    assert read_pin(layout, "tiny") is None

    (layout.bundle_store / ("cd" * 32)).mkdir(parents=True)
    write_pin(layout, "tiny", "cd" * 32)
    renew_pin(layout, settings_on(), recipe, None, force=True)
    assert read_pin(layout, "tiny") == "cd" * 32
