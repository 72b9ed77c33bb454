"""A backup as one file: packed when it is whole, and unpacked beside where it is needed.

The members lie in the order of their names, but the manifest is the last: a file that was cut short
has none. Nothing but plain files is taken out, and only where the manifest says.
"""

import shutil
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from flows.keeping.manifest import MANIFEST, is_plain
from gan.changes import explained
from gan.durable import replacing
from gan.errors import DamagedError, UsageError

SUFFIXES = (".tar", ".tar.gz", ".tgz")


def is_archive(target: Path) -> bool:
    """Return whether a backup is meant as one file, by its name."""
    return target.name.endswith(SUFFIXES)


def parts(archive: Path) -> Path:
    """Return the folder in which a backup is made before it is packed."""
    return archive.with_name(f".{archive.name}.parts")


def pack(folder: Path, archive: Path) -> None:
    """Pack a whole backup into one file, and remove the folder.

    Raises:
        GanmillError: There is no room for it.
    """
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    files.sort(key=lambda path: path.name == MANIFEST and path.parent == folder)
    mode = "w" if archive.name.endswith(".tar") else "w:gz"
    with replacing(archive) as partial:
        partial.touch(mode=0o600)
        with tarfile.open(partial, mode) as tar:  # type: ignore[call-overload]  # a plain choice
            for path in files:
                about = tar.gettarinfo(path, path.relative_to(folder).as_posix())
                about.uid = about.gid = 0
                about.uname = about.gname = ""
                with path.open("rb") as file:
                    tar.addfile(about, file)
    shutil.rmtree(folder)


@contextmanager
def unpacked(backup: Path) -> Iterator[Path]:
    """Yield the folder of a backup; one that is a file is unpacked beside itself meanwhile.

    Raises:
        UsageError: There is none.
        DamagedError: The file is cut short, or holds what no backup holds.
        GanmillError: There is no room for it.
    """
    if backup.is_dir():
        yield backup
        return
    if not backup.is_file():
        raise UsageError(f"{backup}: there is no backup. Take one: ganmill backup {backup}")
    with explained(backup.parent, "written"):
        folder = Path(tempfile.mkdtemp(prefix=f".{backup.name}.", dir=backup.parent))
    try:
        _unpack(backup, folder)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _unpack(archive: Path, folder: Path) -> None:
    try:
        with tarfile.open(archive) as tar:
            for member in tar:
                if not member.isfile() or not (member.name == MANIFEST or is_plain(member.name)):
                    raise DamagedError(f"{archive}: holds {member.name!r}, which no backup holds.")
                with explained(folder, "written"):
                    tar.extract(member, folder, set_attrs=False, filter="data")
    except (tarfile.TarError, EOFError, ValueError) as error:
        said = " ".join(str(error).split())
        raise DamagedError(
            f"{archive}: cannot be read to its end ({said}). Use another."
        ) from error
