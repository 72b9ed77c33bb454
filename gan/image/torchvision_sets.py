"""The data sets that torchvision knows, by name, as images in class folders.

Where torchvision holds pixels, each becomes a PNG without compression: the same bytes with any
version of zlib, so that a removal by SHA-256 holds for good. Where it holds files they come as
they are. All parts (train, test ...) are taken: what is held out is decided by us.

CIFAR is published as pickles, and torchvision opens each only after it had the MD5 that torchvision
itself carries; Food-101, DTD and EuroSAT are checked as archives, when they are fetched. The raw
files of the MNIST family are checked as archives too, and are plain arrays.
"""

import difflib
import io
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from PIL import Image

from gan.changes import explained, make_folder, rename
from gan.durable import sha256
from gan.errors import ServiceError, SourceError
from gan.image.listings import Pin, pin_of
from gan.image.members import Member, Survey
from gan.paths import Layout

_TRAIN_TEST: tuple[Mapping[str, Any], ...] = ({"train": True}, {"train": False})
_DIGITS = tuple("0123456789")
_DAMAGE = (OSError, RuntimeError, ValueError, LookupError, AssertionError)


@dataclass(frozen=True)
class KnownSet:
    """One data set of torchvision.

    Attributes:
        parts: What torchvision is asked for, one after the other; "train": False reads `test`.
        licence: As its authors say; "unknown" where they say nothing.
        classes: The names of its classes where torchvision has none, "" else.
        has_files: Whether it holds image files, not pixels.
    """

    parts: tuple[Mapping[str, Any], ...]
    licence: str
    classes: tuple[str, ...] = ()
    has_files: bool = False


def _splits(*names: str) -> tuple[Mapping[str, Any], ...]:
    return tuple({"split": name} for name in names)


SETS: dict[str, KnownSet] = {
    "MNIST": KnownSet(_TRAIN_TEST, "CC BY-SA 3.0", _DIGITS),
    "FashionMNIST": KnownSet(_TRAIN_TEST, "MIT"),
    "KMNIST": KnownSet(_TRAIN_TEST, "CC BY-SA 4.0"),
    "USPS": KnownSet(_TRAIN_TEST, "unknown", _DIGITS),
    "CIFAR10": KnownSet(_TRAIN_TEST, "unknown"),
    "CIFAR100": KnownSet(_TRAIN_TEST, "unknown"),
    "SVHN": KnownSet(_splits("train", "test"), "non-commercial use only", _DIGITS),
    "STL10": KnownSet(_splits("train", "test"), "unknown"),
    "EuroSAT": KnownSet(({},), "MIT", has_files=True),
    "Flowers102": KnownSet(_splits("train", "val", "test"), "unknown", has_files=True),
    "Food101": KnownSet(_splits("train", "test"), "unknown", has_files=True),
    "DTD": KnownSet(_splits("train", "val", "test"), "research only", has_files=True),
}


def known(name: str) -> KnownSet:
    """Return what is known of a set.

    Raises:
        SourceError: It is none of `SETS`.
    """
    if name not in SETS:
        close = difflib.get_close_matches(name.lower(), [known.lower() for known in SETS], n=1)
        meant = [f" Did you mean {known}?" for known in SETS if known.lower() in close]
        raise SourceError(
            f"data.dataset: {name!r} is none of {', '.join(SETS)}.{''.join(meant)} Others come in "
            "as a folder or an archive, with source: files."
        )
    return SETS[name]


def home(name: str, root: Path) -> Path:
    """Return the folder of a set in the workspace `root`: what torchvision calls its root.

    Raises:
        SourceError: It is none of `SETS`.
    """
    known(name)
    return Layout(root).torchvision / name


def is_there(name: str, root: Path) -> bool:
    """Return whether a set was put or fetched into its folder."""
    return home(name, root).is_dir()


def fetch(name: str, root: Path) -> None:
    """Let torchvision fetch a set into its folder; it is there whole, or not at all.

    The one place where somebody else writes files of ours: into a folder of its own, which gets
    its name when torchvision has checked what it holds.

    Raises:
        ServiceError: It cannot be fetched, or is not what torchvision knows.
    """
    folder = home(name, root)
    half = folder.with_name(f".{name}.partial")
    shutil.rmtree(half, ignore_errors=True)
    with explained(half, "written"):
        make_folder(half)
    try:
        for part in known(name).parts:
            _open(name, half, part, download=True)
    except (OSError, RuntimeError, ValueError) as error:
        shutil.rmtree(half, ignore_errors=True)
        raise ServiceError(
            f"torchvision:{name}: cannot be fetched ({_brief(error)}). Try again later, or put it "
            f"into {folder} as torchvision lays it out."
        ) from error
    with explained(folder, "written"):
        rename(half, folder)


def pin(name: str, root: Path) -> Pin:
    """Return which files of a set are here, by their content: the same on every machine.

    Raises:
        SourceError: It is not here.
    """
    folder = _folder(name, root)
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    rows = ((str(path.relative_to(folder)), path.stat().st_size, sha256(path)) for path in files)
    return pin_of(f"torchvision:{name}", rows)


def members(name: str, root: Path, survey: Survey) -> Iterator[Member]:
    """Yield the images of a set, `<class>/<part>-<number>.png` (or the file's own suffix).

    Args:
        name: One of `SETS`.
        root: The workspace.
        survey: Of what was left out; of these sets nothing ever is.

    Raises:
        SourceError: It is not one of them, is not here, or is damaged.
    """
    del survey
    found, folder = known(name), _folder(name, root)
    for part in found.parts:
        word = part.get("split", "train" if part.get("train", True) else "test")
        try:
            images = _open(name, folder, part, download=False)
            labels = [_as_folder(label) for label in found.classes or images.classes]
            for number in range(len(images)):
                image, label = images[number]
                yield _member(f"{labels[int(label)]}/{word}-{number:06d}", image)
        except _DAMAGE as error:
            raise SourceError(
                f"{folder}: torchvision cannot read it as {name} ({_brief(error)}). Delete the "
                "folder, then run this again."
            ) from error


def _folder(name: str, root: Path) -> Path:
    folder = home(name, root)
    if not folder.is_dir():
        raise SourceError(
            f"{folder}: {name} is not there. Let ganmill init, validate or retrain fetch it with "
            "GANMILL_DOWNLOAD=1 before the command, or put it there as torchvision lays it out."
        )
    return folder


def _open(name: str, folder: Path, part: Mapping[str, Any], *, download: bool) -> Any:
    """Return one part of a set as torchvision sees it; files come as their paths."""
    from torchvision import datasets  # type: ignore[import-untyped]

    given = {"loader": Path} if SETS[name].has_files else {}
    return getattr(datasets, name)(folder, **part, **given, download=download)


def _member(key: str, image: Image.Image | Path) -> Member:
    if isinstance(image, Path):
        return Member(key + image.suffix.lower(), image.read_bytes)
    return Member(f"{key}.png", partial(_png, image))


def _png(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG", compress_level=0)
    return file.getvalue()


def _as_folder(label: str) -> str:
    """Return a class as one folder's name: Fashion-MNIST has `T-shirt/top`."""
    return label.replace("/", "-")


def _brief(error: BaseException) -> str:
    return (" ".join(str(error).split()) or type(error).__name__)[:160]
