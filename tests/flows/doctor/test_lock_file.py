"""Tests of holding what is installed against a lock file."""

from importlib.metadata import version
from pathlib import Path

import pytest

from flows.doctor import software
from flows.doctor.lock_file import compare, outside, read_lock
from gan.errors import DamagedError
from gan.paths import Layout

SUM = "    --hash=sha256:" + 64 * "0"


def _lock(folder: Path, *lines: str) -> Path:
    path = folder / "infra" / "requirements.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line} \\\n{SUM}\n" for line in lines))
    return path


def test_the_shipped_lock_file_can_be_read() -> None:
    """Every entry of the lock file that comes with the code is understood."""
    locked = read_lock(Path(__file__).parents[3] / "infra" / "requirements.lock")
    assert len(locked) > 100
    assert {"torch", "prefect", "mlflow", "dvc"} <= set(locked)


def test_lines_for_other_machines_do_not_count(tmp_path: Path) -> None:
    """What is for Windows or another Python is not missed here, and spelling does not matter."""
    path = _lock(
        tmp_path,
        "# a comment",
        "Ruamel.YAML==0.18.1",
        "pywin32==312 ; sys_platform == 'win32'",
        "tomli==2.0 ; python_full_version < '3'",
    )
    assert read_lock(path) == {"ruamel-yaml": "0.18.1"}


def test_missing_and_other_versions_are_named(workspace: Layout) -> None:
    """A package that is not there is bad, another version a warning that names both."""
    have = version("packaging")
    path = _lock(workspace.root, f"packaging=={have}", "rich==0.0.1", "no-such-thing==1.0")
    found = compare(path)
    assert (found.wanted, found.missing) == (3, ["no-such-thing"])
    assert found.others == [f"rich {version('rich')} (locked: 0.0.1)"]
    (line,) = software.packages(workspace)
    assert (line.state, "1 of 3 are missing: no-such-thing" in line.says) == ("bad", True)
    assert str(path) in line.mend

    _lock(workspace.root, f"packaging=={have}", "rich==0.0.1")
    (line,) = software.packages(workspace)
    assert (line.state, "rich" in line.says) == ("warn", True)

    _lock(workspace.root, f"packaging=={have}")
    (line,) = software.packages(workspace)
    assert (line.state, line.mend) == ("ok", "")


def test_many_differences_are_counted_and_few_named(workspace: Layout) -> None:
    """A line stays a line, however much is missing."""
    _lock(workspace.root, *(f"nothing-{n}==1" for n in range(50)))
    (line,) = software.packages(workspace)
    assert "50 of 50 are missing" in line.says
    assert "and 46 more" in line.says


def test_a_build_for_a_machine_is_the_version_that_was_locked(tmp_path: Path) -> None:
    """`2.14.1+cu130` is 2.14.1; what is no version at all counts as another one."""
    local = version("torch")
    assert compare(_lock(tmp_path, f"torch=={local.partition('+')[0]}")).others == []


@pytest.mark.parametrize("line", ["torch", "torch>=2", "torch==1,==2", "two words==1"])
def test_what_is_no_lock_file_is_named(tmp_path: Path, line: str) -> None:
    """A line that wants no exact version is quoted; nothing is guessed."""
    with pytest.raises(DamagedError, match="is no `name==version`"):
        read_lock(_lock(tmp_path, line))


def test_what_was_never_tested_together_is_named() -> None:
    """A package outside of our own range is told with the range; those of extras do not count."""
    rich = version("rich")
    wanted = ["rich<1", "packaging>=1", "absent-thing>=2", 'absent-too>=2; extra == "dev"']
    assert outside(wanted) == [f"rich {rich} (needs <1)", "absent-thing (needs >=2)"]
