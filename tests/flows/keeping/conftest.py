"""Workspaces for the tests of backups."""

from collections.abc import Callable
from pathlib import Path

import pytest

from flows.settings import Settings
from gan.paths import Layout
from tests.flows.keeping.rooms import make_room


@pytest.fixture
def room(tmp_path: Path) -> Layout:
    """Return a workspace with all that a backup holds."""
    return make_room(tmp_path / "room")


@pytest.fixture(scope="session")
def nowhere(settings_on: Callable[..., Settings]) -> Settings:
    """Return settings of servers of our own that are down."""
    return settings_on()
