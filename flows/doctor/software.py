"""Python, the installed packages, and git."""

import platform
import shutil
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

from flows.doctor.finding import Finding, bad, few, ok, unknown, warn
from flows.doctor.lock_file import compare, outside
from gan.errors import DamagedError
from gan.paths import Layout

_LEAST = (3, 11)
_LOCK = Path("infra") / "requirements.lock"
_GIT_SECONDS = 3.0


def python(layout: Layout) -> list[Finding]:  # noqa: ARG001  # checks are called alike
    """Look at the interpreter."""
    says = f"Python {platform.python_version()} on {platform.system()} {platform.machine()}"
    if sys.version_info < _LEAST:
        return [bad("python", f"{says}; 3.11 is the oldest that works", "make PYTHON=python3.12")]
    return [ok("python", says)]


def packages(layout: Layout) -> list[Finding]:
    """Look at what is installed, against our own needs and against the lock file."""
    return [*_needs(), *_locked(layout)]


def git(layout: Layout) -> list[Finding]:
    """Look at git, which keeps the recipes and what a version was made from."""
    if shutil.which("git") is None:
        return [bad("git", "is not installed", "apt-get install git   (or brew install git)")]
    version = _git(layout, "--version").removeprefix("git version ")
    if not _git(layout, "rev-parse", "--git-dir"):
        says = f"{version}; the workspace is in no repository, so no version knows its commit"
        return [warn("git", says, "git init; git add params.yaml dvc.yaml; git commit")]
    return [ok("git", version)]


def _needs() -> list[Finding]:
    """Look at the ranges that are known to work together."""
    try:
        needed = outside(requires("ganmill") or [])
    except PackageNotFoundError:
        says = "ganmill itself is not installed, only found"
        return [warn("needs", says, f"{sys.executable} -m pip install --no-deps -e .")]
    if needed:
        return [bad("needs", f"do not work together: {few(needed)}", _install())]
    return []


def _locked(layout: Layout) -> list[Finding]:
    places = (layout.root / _LOCK, Path(__file__).parents[2] / _LOCK)
    path = next((each for each in places if each.is_file()), None)
    if path is None:
        return [unknown("packages", f"there is no {_LOCK} to hold them against")]
    try:
        found = compare(path)
    except DamagedError as error:
        return [unknown("packages", str(error), f"git checkout {_LOCK}")]
    if found.missing:
        says = f"{len(found.missing)} of {found.wanted} are missing: {few(found.missing)}"
        return [bad("packages", says, _install(path))]
    if found.others:
        count = len(found.others)
        says = f"{count} of {found.wanted} are not as locked: {few(found.others)}"
        return [warn("packages", says, _install(path))]
    return [ok("packages", f"{found.wanted} as locked in {_LOCK}")]


def _install(path: Path = _LOCK) -> str:
    return f"{sys.executable} -m pip install --no-deps --require-hashes -r {path}"


def _git(layout: Layout, *words: str) -> str:
    """Return what git says, "" where it refuses."""
    command = ["git", "-C", str(layout.root), *words]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=_GIT_SECONDS
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
