"""The files of a recipe's data: raw, facts, train and kind.json, and whether they are as stored."""

from pathlib import Path

from flows import stores, versions
from gan.durable import sha256
from gan.errors import DamagedError, GanmillError
from gan.paths import Layout


def data_outs(layout: Layout, recipe: str) -> dict[str, str]:
    """Return DVC's digests of raw, facts, train and kind.json, as `dvc.lock` has them.

    Raises:
        GanmillError: The data were never prepared.
    """
    known = {
        str(out["path"]): str(out["md5"])
        for stage in versions.lock_entry(layout, recipe).values()
        for out in stage.get("outs", ())
    }
    found = {}
    for place in data_places(layout, recipe):
        path = place.relative_to(layout.root).as_posix()
        if path not in known:
            raise GanmillError(
                f"dvc.lock: does not know {path}, so the data have no version. "
                f"Run: ganmill retrain {recipe}"
            )
        found[place.name] = known[path]
    return found


def data_places(layout: Layout, recipe: str) -> tuple[Path, ...]:
    """Return what of a recipe's data is versioned; all of it lies in one folder."""
    raw, facts = layout.raw(recipe), layout.facts(recipe)
    return raw, facts, layout.train_data(recipe), layout.kind(recipe)


def hash_files(layout: Layout, recipe: str, outs: dict[str, str]) -> dict[str, str]:
    """Return the SHA-256 of every file of the present data; each must be what DVC stored.

    Args:
        layout: The workspace.
        recipe: Whose data.
        outs: What `data_outs` says.

    Returns:
        SHA-256 by the file's path below `data/<recipe>/`.

    Raises:
        DamagedError: One is missing or altered.
        ServiceError: The cache lost the list of files, and the remote does not answer.
    """
    home = layout.raw(recipe).parent
    with stores.opened(layout) as opened:
        files = opened.files(outs)
    sums = {}
    for file, name in files.items():
        path = home / file
        found = None
        if path.is_file():
            with path.open("rb") as source:
                found = stores.digests(source)
        if found is None or found.md5 != name:
            whole = (home / file.partition("/")[0]).relative_to(layout.root)
            raise DamagedError(
                f"{path}: is {'altered' if found else 'missing'} since DVC stored it. "
                f"Delete {whole}, and run: ganmill retrain {recipe}"
            )
        sums[file] = found.sha256
    return sums


def state_of(path: Path, wanted: str) -> stores.State:
    """Say whether a file has the SHA-256 that it must have."""
    if not path.is_file():
        return "missing"
    return "sound" if sha256(path) == wanted else "altered"
