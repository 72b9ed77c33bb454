"""What every test has in common: one thread for torch, and which tests go to one process together.

The suite runs in several processes. Files whose tests share costly servers stay in one of them, the
longest first, and all others go file by file.
"""

import os
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from xdist.scheduler import LoadScopeScheduling

# Before torch is imported, and for the processes that tests start: two threads that wait for one
# free processor are several times slower than one.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# A workspace with servers and a trained model; the README's workspace; an MLflow server, and a
# Prefect server for some; a warm process to be killed. The longest first.
_TOGETHER = {
    "mill": [
        "tests/flows/test_commands.py",
        "tests/flows/compare/test_compare.py",
        "tests/flows/schedules/test_deploy.py",
        "tests/flows/commands/test_extractors.py",
        "tests/flows/test_generate.py",
        "tests/flows/test_notices.py",
        "tests/flows/schedules/test_worker.py",
    ],
    "readme": ["tests/test_readme.py"],
    "servers": [
        "tests/faults/test_promotion_kills.py",
        *(f"tests/flows/gate/test_{name}.py" for name in ("judging", "self_test", "situations")),
        "tests/flows/papers/test_folder.py",
        "tests/flows/datasets/test_tracing.py",
        "tests/flows/drift/test_checking.py",
        "tests/flows/doctor/test_schedules.py",
        "tests/flows/keeping/test_letting_go.py",
        "tests/flows/monitor/test_watching.py",
        "tests/flows/servers/test_guard.py",
        "tests/flows/test_approval.py",
        "tests/flows/detector/test_step.py",
        "tests/flows/schedules/test_due.py",
        "tests/flows/test_reconcile.py",
        "tests/flows/test_registry.py",
        "tests/flows/test_release.py",
        "tests/flows/commands/test_schedule.py",
        "tests/flows/schedules/test_start.py",
        "tests/flows/status/test_status.py",
        "tests/flows/test_tracking.py",
        "tests/flows/test_watch.py",
    ],
    "kills": [f"tests/faults/test_{name}.py" for name in ("kills", "batch_kills", "nth_failure")],
}
_GROUPS = {file: group for group, files in _TOGETHER.items() for file in files}


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest groups first, and the files of a group as they stand above."""
    places = {file: place for place, file in enumerate(_GROUPS)}
    items.sort(key=lambda item: places.get(item.nodeid.partition("::")[0], len(places)))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> "LoadScopeScheduling":
    """Return what hands out the tests, a group at a time.

    Not by the plugin's own marks of groups: from pytest 9.2 on it does not see them.
    """
    from xdist.scheduler import LoadScopeScheduling

    class Grouped(LoadScopeScheduling):  # type: ignore[misc]  # xdist tells mypy nothing
        def _split_scope(self, nodeid: str) -> str:
            return _group(nodeid)

    return Grouped(config, log)


def _group(nodeid: str) -> str:
    """Return which tests a test stays together with: a name, or its file."""
    file = nodeid.partition("::")[0]
    return _GROUPS.get(file, file)
