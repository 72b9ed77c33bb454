"""Where MLflow's artifacts lie: a folder of this machine, or a store that speaks S3.

Read and written beside MLflow's server, which need not run. A path below the store is what follows
`mlflow-artifacts:/` in the address of an artifact.
"""

import os
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Protocol, cast

from flows.servers import addresses
from flows.settings import Settings
from gan.changes import explained, make_folder, rename
from gan.durable import replacing
from gan.errors import GanmillError, ServiceError, UsageError
from gan.image.addresses import Address, open_store
from gan.paths import Layout


@dataclass(frozen=True)
class Seen:
    """What a listing says of a file.

    Attributes:
        bytes: Its size.
        stamp: Is another one after every change, as far as the store can tell.
    """

    bytes: int
    stamp: str


class ArtifactStore(Protocol):
    """A place of files by path."""

    @property
    def shown(self) -> str:
        """How messages name it."""

    def listing(self) -> dict[str, Seen]:
        """Return every file, by its path."""

    def opened(self, path: str) -> AbstractContextManager[BinaryIO]:
        """Open a file to read."""

    def put(self, path: str, source: Path) -> None:
        """Put a file there in the place of what was."""


def open_artifacts(layout: Layout, settings: Settings) -> ArtifactStore | None:
    """Return the store of our MLflow server; None where that is somebody else's.

    Raises:
        UsageError: `GANMILL_ARTIFACTS` is another kind of address, or its library is missing.
    """
    place = settings.artifacts
    if place is None:
        home = layout.state / "mlflow" / "artifacts"
        return None if addresses.is_given(settings, "mlflow") else FolderStore(home)
    place = place.removeprefix("file://")
    if "://" not in place:
        return FolderStore(layout.state / place)  # the server is started there
    scheme, _, key = place.partition("://")
    if scheme != "s3" or "@" in key:
        raise UsageError("GANMILL_ARTIFACTS: must be a folder or s3://bucket/prefix.")
    key = key.strip("/")
    address = Address("s3", key, key.partition("/")[2], f"s3://{key}")
    return ObjectStore(address, open_store(address))


@dataclass(frozen=True)
class FolderStore:
    """Artifacts in a folder.

    Attributes:
        folder: Its path.
    """

    folder: Path

    @property
    def shown(self) -> str:
        """How messages name it."""
        return str(self.folder)

    def listing(self) -> dict[str, Seen]:
        """Return every file, by its path; links are left out."""
        return dict(files_below(self.folder))

    def opened(self, path: str) -> AbstractContextManager[BinaryIO]:
        """Open a file to read."""
        return reading(self.folder / path)

    def put(self, path: str, source: Path) -> None:
        """Put a file there in the place of what was."""
        with replacing(self.folder / path) as partial:
            shutil.copyfile(source, partial)

    def move_to(self, aside: Path) -> None:
        """Move all that is there away, if anything is there.

        Raises:
            GanmillError: It cannot be moved.
        """
        if self.folder.is_dir():
            with explained(self.folder, "moved aside"):
                make_folder(aside.parent)
                rename(self.folder, aside)


@dataclass(frozen=True)
class ObjectStore:
    """Artifacts as objects below a prefix of a bucket.

    Attributes:
        address: Where.
        store: The fsspec file system.
    """

    address: Address
    store: Any

    @property
    def shown(self) -> str:
        """How messages name it."""
        return self.address.shown

    def listing(self) -> dict[str, Seen]:
        """Return every object, by what follows the prefix.

        Raises:
            ServiceError: Nobody answers.
        """
        prefix = f"{self.address.location}/"
        with self._explained():
            try:
                found = self.store.find(self.address.location, detail=True)
            except FileNotFoundError:  # a prefix that nothing lies below
                return {}
        return {
            key.removeprefix(prefix): Seen(int(about["size"]), str(about.get("ETag", "")))
            for key, about in found.items()
            if key.startswith(prefix) and not key.endswith("/")
        }

    @contextmanager
    def opened(self, path: str) -> Iterator[BinaryIO]:
        """Open an object to read.

        Raises:
            FileNotFoundError: It is gone.
            ServiceError: Nobody answers.
        """
        with self._explained(), self.store.open(f"{self.address.location}/{path}", "rb") as file:
            yield cast("BinaryIO", file)

    def put(self, path: str, source: Path) -> None:
        """Put an object there; the store shows it when all of it is there.

        Raises:
            ServiceError: Nobody answers.
        """
        with self._explained():
            self.store.put_file(str(source), f"{self.address.location}/{path}")

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn what the store says into one line; none of its words holds a secret."""
        from botocore.exceptions import (  # type: ignore[import-untyped]
            BotoCoreError,
            ClientError,
        )

        try:
            yield
        except FileNotFoundError:
            raise
        except (OSError, BotoCoreError, ClientError) as error:
            raise ServiceError(
                f"{self.shown}: does not answer, or refuses ({type(error).__name__}). Are "
                "AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY right? "
                "Then run the same again."
            ) from error


@contextmanager
def reading(path: Path) -> Iterator[BinaryIO]:
    """Open a file of this machine to read.

    Raises:
        FileNotFoundError: It is gone.
        UsageError: There is no permission for it.
        GanmillError: The disk failed.
    """
    try:
        with path.open("rb") as file:
            yield file
    except FileNotFoundError:
        raise
    except PermissionError as error:
        raise UsageError(f"{path}: no permission to read it. Mend its owner or mode.") from error
    except OSError as error:
        raise GanmillError(f"{path}: cannot be read ({error.strerror or error}).") from error


def files_below(
    folder: Path, wanted: Callable[[str], bool] = lambda _: True
) -> Iterator[tuple[str, Seen]]:
    """Yield the files below a folder by path, sorted, with size and time of change; no links.

    Args:
        folder: It need not be there.
        wanted: Whether to look at a file, or into a folder, by its path.
    """
    if not folder.is_dir() or folder.is_symlink():
        return
    for room, folders, files in os.walk(folder):
        here = Path(room)
        below = "" if here == folder else f"{here.relative_to(folder).as_posix()}/"
        folders[:] = sorted(name for name in folders if wanted(below + name))
        for name in sorted(name for name in files if wanted(below + name)):
            if seen := _seen(here / name):
                yield below + name, seen


def _seen(path: Path) -> Seen | None:
    """Return size and time of change; None of a link, and of what is gone by now."""
    try:
        about = path.lstat()
    except FileNotFoundError:
        return None
    is_file = stat.S_ISREG(about.st_mode)
    return Seen(about.st_size, str(about.st_mtime_ns)) if is_file else None
