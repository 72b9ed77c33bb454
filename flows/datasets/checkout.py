"""An earlier data version brought back beside the present one, every byte of it checked.

    data/<recipe>/checkouts/<data digest>/{raw,facts,train,kind.json}

Each file comes out of DVC's cache, or of its remote, with the MD5 that DVC names it by and the
SHA-256 that was kept when the version was accepted. The folder appears whole or not at all.
"""

import shutil
from pathlib import Path

from flows import stores
from flows.datasets.catalog import DatasetRecord, find, read_sums
from flows.datasets.files import state_of
from gan.changes import rename, sync
from gan.durable import replacing, run_lock
from gan.errors import DamagedError
from gan.paths import Layout


def checkout(layout: Layout, recipe: str, word: str) -> Path:
    """Return the folder of a data version; it is made, or made anew where it is not as it was.

    Args:
        layout: The workspace.
        recipe: Whose data.
        word: `latest`, or the beginning of a data digest, as a model's card has it.

    Raises:
        BusyError: Another process is checking out data of the recipe.
        DamagedError: Neither cache nor remote has a file as it was; nothing half done stays.
        ServiceError: The remote does not answer.
        UsageError: There is no such version.
    """
    known = find(layout, recipe, word)
    home = layout.checkout(recipe, known.digest)
    with run_lock(layout.lock(f"checkout-{recipe}"), f"checkout of data of {recipe}"):
        for left in home.parent.glob(".*.partial"):  # of killed processes
            shutil.rmtree(left)
        if home.is_dir() and not unlike(known, home):
            return home
        partial, old = (home.with_name(f".{home.name}.{what}.partial") for what in ("new", "old"))
        try:
            _fill(layout, known, partial)
            if home.exists():
                rename(home, old)
            rename(partial, home)
            sync(home.parent)
        except DamagedError as error:
            version = f"{recipe}@{known.digest[:12]}"
            raise DamagedError(
                f"{error} Nothing was checked out. See: ganmill data verify {version}"
            ) from error
        finally:
            for folder in (partial, old):
                shutil.rmtree(folder, ignore_errors=True)
    return home


def unlike(known: DatasetRecord, home: Path) -> dict[str, str]:
    """Return which files of a folder are not those of a version: `missing`, `altered`, `unknown`.

    Args:
        known: The version.
        home: A folder with raw, facts, train and kind.json; whatever else is in it does not count.

    Raises:
        DamagedError: The version's record is damaged.
    """
    sums = read_sums(known)
    found: dict[str, str] = {
        file: state
        for file, wanted in sums.items()
        if (state := state_of(home / file, wanted)) != "sound"
    }
    for place in known.dvc:
        for path in (home / place).rglob("*"):
            if not path.is_dir() and (file := path.relative_to(home).as_posix()) not in sums:
                found[file] = "unknown"
    return found


def _fill(layout: Layout, known: DatasetRecord, home: Path) -> None:
    """Write every file of a version into a new folder.

    Raises:
        DamagedError: One is nowhere to be had as it was.
    """
    sums = read_sums(known)
    with stores.opened(layout) as opened:
        files = opened.files(known.dvc)
        if odd := sorted(set(files) ^ set(sums)):
            raise DamagedError(f"{odd[0]}: is not both in DVC's list and in {known.folder}.")
        for file, name in files.items():
            with replacing(home / file) as partial, partial.open("w+b") as target:
                found = opened.fetch(name, file, target)
            if found.sha256 != sums[file]:
                raise DamagedError(
                    f"{file}: has the MD5 that DVC knows, but SHA-256 {found.sha256[:12]}, not "
                    f"{sums[file][:12]}: it was forged."
                )
