"""The versions that a lock file wants on this machine."""

from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from gan.errors import DamagedError


@dataclass(frozen=True)
class Compared:
    """How the installed packages differ from what was locked.

    Attributes:
        wanted: How many packages the lock file wants on this machine.
        missing: Names that are not installed.
        others: Those installed in another version, as `name 1.2 (locked: 1.3)`.
    """

    wanted: int
    missing: list[str]
    others: list[str]


def compare(path: Path) -> Compared:
    """Hold what is installed against a lock file.

    Raises:
        DamagedError: The file is no lock file.
    """
    missing, others = [], []
    locked = read_lock(path)
    for name, wanted in sorted(locked.items()):
        found = _installed(name)
        if found is None:
            missing.append(name)
        elif not _is(found, wanted):
            others.append(f"{name} {found} (locked: {wanted})")
    return Compared(len(locked), missing, others)


def read_lock(path: Path) -> dict[str, str]:
    """Return the version of each package that a lock file wants here, by its name.

    Lines with a marker for other machines or versions of Python are left out.

    Raises:
        DamagedError: The file cannot be read, or a line of it wants no exact version.
    """
    locked: dict[str, str] = {}
    try:
        lines = path.read_text(encoding="utf-8").replace("\\\n", " ").split("\n")
    except (OSError, ValueError) as error:
        raise DamagedError(f"{path}: cannot be read ({error}).") from error
    for number, line in enumerate(lines, 1):
        words = line.partition(" --hash=")[0].partition(" #")[0].strip()
        if not words or words.startswith(("#", "-")):
            continue
        try:
            wanted = Requirement(words)
            (exact,) = (each for each in wanted.specifier if each.operator == "==")
        except (InvalidRequirement, ValueError) as error:
            raise DamagedError(
                f"{path}: its entry {number}, {words!r}, is no `name==version`."
            ) from error
        if wanted.marker is None or wanted.marker.evaluate():
            locked[canonicalize_name(wanted.name)] = exact.version
    return locked


def outside(requirements: list[str]) -> list[str]:
    """Return which requirements of ours the installed packages do not meet.

    Args:
        requirements: As a package names them; those of an extra do not count.

    Returns:
        As `name 1.2 (needs >=1.3)`, or `name (needs >=1.3)` where it is not installed.
    """
    found = []
    for each in map(Requirement, requirements):
        if each.marker and not each.marker.evaluate({"extra": ""}):
            continue
        there = _installed(each.name)
        if there is None:
            found.append(f"{each.name} (needs {each.specifier})")
        elif not each.specifier.contains(there, prereleases=True):
            found.append(f"{each.name} {there} (needs {each.specifier})")
    return found


def _installed(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _is(found: str, wanted: str) -> bool:
    """Tell whether a version is the one that is wanted, whichever machine it was built for."""
    try:
        return SpecifierSet(f"=={wanted}").contains(Version(found), prereleases=True)
    except (InvalidSpecifier, InvalidVersion):
        return found == wanted
