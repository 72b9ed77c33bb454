"""Every change of the disk is let fail in turn, until the work goes through: nothing is lost.

SQLite's method: fail the n-th operation for n = 1, 2, 3, ... (sqlite.org/testing.html).
"""

import errno
from collections.abc import Callable
from itertools import count
from pathlib import Path

import pytest

from gan.errors import GanmillError
from tests.faults.conftest import Server, tree
from tests.faults.seam import KILLED, dying_at, failing_at
from tests.faults.works import WORKS

_TIMED = ("ledger.jsonl", "stats.jsonl")  # the check reads them; they say when they were written
_LEAST = {"checkpoint": 45, "roll-back": 15, "bundle": 15, "stats": 5, "batch": 35, "ledger": 6}
_SHORT = {"batch": 2}  # minted twice for each of 66 changes: every other one; `make faults` has all


def _content(folder: Path) -> dict[str, str]:
    """Return the digest of each file that is content: not of locks, which a killed owner leaves."""
    found = {name: digest for name, digest in tree(folder).items() if not name.endswith(".lock")}
    return {name: "" if name.endswith(_TIMED) else digest for name, digest in found.items()}


def _calm(work: str, folder: Path) -> dict[str, str]:
    """Do the work undisturbed; return what lies there at the end."""
    folder.mkdir()
    WORKS[work].begin(folder)
    WORKS[work].do(folder)
    WORKS[work].check(folder)
    return _content(folder)


def _sweep(work: str, root: Path, fails: Callable[[int, Path], bool], step: int = 1) -> int:
    """Interrupt the work at each of its operations, or each `step`th; return how many there are."""
    wanted = _calm(work, root / "calm")
    for n in count(1, step):
        folder = root / str(n)
        folder.mkdir()
        WORKS[work].begin(folder)
        failed = fails(n, folder)
        WORKS[work].check(folder)
        WORKS[work].do(folder)
        WORKS[work].check(folder)
        assert _content(folder) == wanted
        if not failed:
            break
    return n - 1


@pytest.mark.parametrize(
    ("code", "lasting"),
    [
        (errno.ENOSPC, False),
        pytest.param(errno.ENOSPC, True, marks=pytest.mark.faults),
        pytest.param(errno.EIO, False, marks=pytest.mark.faults),
        pytest.param(errno.EIO, True, marks=pytest.mark.faults),
    ],
)
@pytest.mark.parametrize("work", WORKS)
def test_whichever_operation_fails_nothing_is_lost(
    tmp_path: Path, work: str, code: int, *, lasting: bool
) -> None:
    """After any failed write, sync, rename, unlink or mkdir the last good version is there.

    What is said is one line that names a file and what to do, and the same call, once there is
    space again, ends with the bytes of a run that was never disturbed.
    """

    def fails(n: int, folder: Path) -> bool:
        with failing_at(n, code, lasting=lasting) as passed:
            try:
                WORKS[work].do(folder)
            except GanmillError as error:
                (line,) = str(error).splitlines()
                assert str(folder) in line
                assert "Free the space or mend" in line
                return True
        assert len(passed) < n
        return False

    is_short = code == errno.ENOSPC and not lasting
    assert _sweep(work, tmp_path, fails, _SHORT.get(work, 1) if is_short else 1) >= _LEAST[work]


@pytest.mark.parametrize(
    "work",
    [
        "roll-back",
        *(pytest.param(work, marks=pytest.mark.faults) for work in WORKS if work != "roll-back"),
    ],
)
def test_dying_in_any_operation_loses_nothing(tmp_path: Path, work: str, server: Server) -> None:
    """A process that ends at any change of the disk, untidied, leaves a whole version behind.

    The same call in another process ends with the bytes of a run that was never disturbed, and
    with none of the dead one's temporary files.
    """

    def dies(n: int, folder: Path) -> bool:
        status = server.run(work, folder, die_at=n).status
        assert status in {0, KILLED}
        return status == KILLED

    assert _sweep(work, tmp_path, dies) >= _LEAST[work]


def test_the_seam_counts_what_is_written(tmp_path: Path) -> None:
    """What the sweeps go through is every change, in the order in which it happens."""
    work = WORKS["ledger"]
    work.begin(tmp_path)
    with dying_at(0) as passed:
        work.do(tmp_path)

    kinds = [entry.split()[0] for entry in passed]
    assert kinds == ["write", "write", "write", "sync", "rename", "sync"]
