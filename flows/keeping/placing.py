"""Puts one file of a backup in its place; what was there and is another is moved aside."""

import os
import shutil
from pathlib import Path

from flows.keeping.contents import KEY
from flows.keeping.manifest import KeptFile
from gan.changes import explained, make_folder, rename
from gan.durable import replacing, sha256

_PRIVATE = frozenset({Path(KEY).name})


def place_file(source: Path, target: Path, kept: KeptFile, aside: Path) -> None:
    """Copy a file to its place, with the time of its last change, unless the same is there.

    Args:
        source: In the backup, sound.
        target: Where it belongs.
        kept: What the backup says of it.
        aside: Where to put what is in its place.

    Raises:
        GanmillError: There is no room for it, or the folder cannot be written.
    """
    if target.is_symlink() or target.exists():
        if target.is_file() and not target.is_symlink() and sha256(target) == kept.sha256:
            return
        with explained(target, "moved aside"):
            make_folder(aside.parent)
            if not aside.exists():  # else a restore was killed, and this is what it had written
                rename(target, aside)
    is_private = target.name in _PRIVATE
    with replacing(target) as partial:
        partial.touch(mode=0o600 if is_private else 0o666)
        shutil.copyfile(source, partial)
        if kept.modified_ns:
            os.utime(partial, ns=(kept.modified_ns, kept.modified_ns))
    if is_private:
        with explained(target, "written"):
            target.parent.chmod(0o700)
