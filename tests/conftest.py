"""What every test has in common: one thread for torch, and which tests go to one process together.

The suite runs in several processes. Tests that share costly servers stay in one of them, the
longest first, and all others go file by file.
"""

import os

import pytest

# Before torch is imported, and for the processes that tests start: two threads that wait for one
# free processor are several times slower than one.
os.environ.setdefault("OMP_NUM_THREADS", "1")

_MILL, _README, _SERVERS = "mill", "readme", "servers"
_FIRST = [_MILL, _README, _SERVERS]


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Name the group of each test for pytest-xdist, and put the longest groups first."""
    groups = {item: _group(item) for item in items}
    for item, group in groups.items():
        item.add_marker(pytest.mark.xdist_group(group))
    items.sort(key=lambda item: _FIRST.index(groups[item]) if groups[item] in _FIRST else 9)


def _group(item: pytest.Item) -> str:
    fixtures = getattr(item, "fixturenames", [])
    if "mill_root" in fixtures:
        return _MILL
    if item.path.name == "test_readme.py":
        return _README
    return _SERVERS if "server_layout" in fixtures else str(item.path)
