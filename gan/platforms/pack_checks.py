"""A batch's folder -> what keeps its packs from their platforms, from the files alone."""

from pathlib import Path

from gan.platforms.catalog import Platform, icon, platform, platforms
from gan.platforms.checking import problems
from gan.platforms.companions import LISTINGS, TRAY
from gan.platforms.headers import read_header
from gan.platforms.listings import check_listing
from gan.platforms.packs import FOLDERS


def pack_problems(folder: Path) -> list[str]:
    """Return what is wrong with every pack of a batch's folder, one line each with its path.

    Nothing but the files is asked: each picture against its platform's limits, the numbers of a
    pack, what its listing names against what lies there, its texts, emoji and icon.

    Args:
        folder: A batch's folder, with a folder for each platform.
    """
    found = []
    for name, to in platforms().items():
        for pack in _packs(folder / name):
            found += [f"{pack.relative_to(folder)}{line}" for line in _pack(pack, to)]
        if name in FOLDERS and (folder / name).is_dir():
            strays = sorted(path for path in (folder / name).iterdir() if not path.is_dir())
            found += [f"{path.relative_to(folder)}: belongs to no pack" for path in strays]
    return found


def _packs(home: Path) -> list[Path]:
    """Return the folders of a platform's packs."""
    if not home.is_dir():
        return []
    return (
        sorted(path for path in home.iterdir() if path.is_dir()) if home.name in FOLDERS else [home]
    )


def _pack(pack: Path, to: Platform) -> list[str]:
    """Return what is wrong with one pack, each line beginning behind the pack's own path."""
    names = sorted(path.name for path in pack.iterdir())
    listing = LISTINGS.get(to.name)
    beside = {listing, TRAY if to.pack and to.pack.icon else None}
    pictures = [name for name in names if name not in beside]
    found = []
    for name in pictures:
        wanted = to if to.name != "png" else _square(pack / pictures[0])
        found += [f"/{name}: {line}" for line in _picture(pack / name, wanted)]
    if to.pack is None or listing is None:
        return found
    most = to.pack.at_most
    if len(pictures) < to.pack.at_least or (most is not None and len(pictures) > most):
        bounds = f"{to.pack.at_least} at least" if most is None else f"{to.pack.at_least} to {most}"
        found.append(f": has {len(pictures)} pictures; {to.name} takes {bounds}")
    listed, wrong = check_listing(pack / listing, to, pack.name)
    found += [f"/{listing}: {line}" for line in wrong]
    found += [f"/{listing}: lists {name} twice" for name in sorted(_twice(listed))]
    if listed:
        found += [f"/{name}: is not listed" for name in sorted(set(pictures) - set(listed))]
        found += [f"/{name}: is listed but missing" for name in sorted(set(listed) - set(pictures))]
    if to.pack.icon is not None:
        found += [f"/{TRAY}: {line}" for line in _picture(pack / TRAY, icon(to.pack.icon))]
    return found


def _picture(path: Path, to: Platform) -> list[str]:
    if path.is_symlink() or not path.is_file():
        return ["is missing or no plain file"]
    if path.suffix != f".{to.extension}":
        return [f"does not belong here; pictures end in .{to.extension}"]
    return problems(path.read_bytes(), to)


def _square(path: Path) -> Platform:
    """Return the platform `png` of the size that a picture has: a batch has one for all."""
    try:
        return platform("png", read_header(path.read_bytes()).width_px)
    except (OSError, ValueError):  # then that picture is named itself
        return platform("png", 256)


def _twice(names: list[str]) -> set[str]:
    return {name for name in names if names.count(name) > 1}
