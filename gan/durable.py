"""The only way files are written and trusted: atomically out, by SHA-256 in, one process at a time.

Neither safetensors nor DVC notices a flipped bit, so every file that matters carries a digest that
we keep ourselves, and the file that says "complete" is written last.

Every change of the disk is one of `gan.changes`, where tests let the n-th one fail.
"""

import fcntl
import hashlib
import json
import os
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, cast

from gan import errors
from gan.changes import announce_write, explained, make_folder, rename, sync, unlink
from gan.errors import BusyError, DamagedError, GanmillError

SUMS = "SHA256SUMS"
_CHUNK_BYTES = 1 << 20
_LOCK_POLL_SECONDS = 0.05


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, as 64 hex digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary name beside `path`; what is there at the end becomes `path`, or nothing.

    A reader sees the old file or the new one, never half, also after SIGKILL or a power cut:
    temporary file in the same folder, fsync, rename, fsync of the folder.

    Raises:
        GanmillError: The folder cannot be written, or the disk is full; the old file is intact.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with explained(path, "written"):
            make_folder(path.parent)
            announce_write(partial)
            yield partial
            sync(partial)
            rename(partial, path)
            sync(path.parent)
    finally:
        with suppress(OSError):  # then it stays until the next writer's `drop_partials`
            if partial.exists():
                unlink(partial)


def write_atomically(path: Path, payload: bytes) -> str:
    """Write `payload` to `path` by `replacing`, and return its SHA-256 as hex."""
    with replacing(path) as partial:
        partial.write_bytes(payload)
    return hashlib.sha256(payload).hexdigest()


def write_sealed(path: Path, parts: Iterable[bytes | memoryview]) -> None:
    """Write the parts one after the other by `replacing`, below a line with their SHA-256.

    One pass and no copy: what the parts are made from may be larger than the free memory.
    """
    digest = hashlib.sha256()
    with replacing(path) as partial, partial.open("wb", buffering=_CHUNK_BYTES) as file:
        file.write(b"0" * 64 + b"\n")
        for part in parts:
            announce_write(partial)
            digest.update(part)
            file.write(part)
        file.seek(0)
        file.write(digest.hexdigest().encode())


def read_sealed(path: Path) -> bytes:
    """Return what `write_sealed` wrote, without the line of the digest.

    Raises:
        DamagedError: The file cannot be read, or one bit of it is not as it was written.
    """
    try:
        with path.open("rb", buffering=0) as file:  # a buffer would copy it all once more
            seal, payload = file.read(65), file.readall()
    except OSError as error:
        raise DamagedError(f"{path}: cannot be read ({error.strerror or error}).") from error
    if hashlib.sha256(payload).hexdigest().encode() + b"\n" != seal:
        raise DamagedError(f"{path}: digest does not match (file damaged).")
    return payload


def append_line(path: Path, line: str) -> None:
    """Add a line to a log; a kill may tear it, so readers leave out a torn line.

    It is not forced to the disk: a power cut may cost the newest lines of a log.

    Raises:
        GanmillError: The file cannot be written.
    """
    with explained(path, "written"):
        announce_write(path)
        with path.open("ab+") as file:
            if file.tell():  # what was torn must not take this line with it
                file.seek(-1, os.SEEK_END)
                line = line if file.read(1) == b"\n" else f"\n{line}"
            file.write(f"{line}\n".encode())


def remove(path: Path) -> None:
    """Remove a file, if it is there.

    Raises:
        GanmillError: It cannot be removed.
    """
    with explained(path, "removed"):
        unlink(path)


def remove_folder(folder: Path) -> None:
    """Remove a folder of files, if it is there.

    Raises:
        GanmillError: It or a file in it cannot be removed.
    """
    if folder.is_dir():
        for path in sorted(folder.iterdir()):
            remove(path)
        with explained(folder, "removed"):
            unlink(folder)


def write_json(path: Path, value: Any) -> str:  # any JSON value
    """Write `value` as indented JSON with sorted keys, and return the SHA-256 of the bytes.

    Raises:
        ValueError: A number is not finite; a NaN in a report would pass for a figure.
    """
    text = json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False)
    return write_atomically(path, f"{text}\n".encode())


def read_json(path: Path) -> Any:  # any JSON value
    """Return the JSON value in `path`.

    Raises:
        DamagedError: The file is missing, truncated, or not JSON.
    """
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise DamagedError(f"{path}: missing. Run the step that writes it again.") from error
    except (OSError, ValueError) as error:
        raise DamagedError(
            f"{path}: is not readable JSON ({error}). Delete it and run again."
        ) from error


def record_failure(path: Path, error: GanmillError) -> None:
    """Leave a failing command's one line in `path` for the process that started it.

    The command prints the line itself first: its parent cannot read an inherited terminal.
    """
    kind = type(error).__name__
    write_json(path, {"error": kind, "exit_code": error.exit_code, "message": str(error)})


def read_failure(path: Path) -> GanmillError | None:
    """Return the error that `record_failure` left, of the class it had, or None if there is none.

    Raises:
        DamagedError: The file is there but is not such a record.
    """
    if not path.exists():
        return None
    record = read_json(path)
    kinds = {kind.__name__: kind for kind in vars(errors).values() if isinstance(kind, type)}
    try:
        failure = kinds[record["error"]](record["message"])
    except (KeyError, TypeError) as error:
        raise DamagedError(f"{path}: is no record of a failure. Delete it.") from error
    return cast("GanmillError", failure)


def _require_digest(path: Path, found: str, wanted: str) -> None:
    if found != wanted:
        message = f"{path}: SHA-256 is {found[:12]}..., expected {wanted[:12]}..."
        raise DamagedError(f"{message} The file is damaged or was changed; fetch it again.")


def write_sums(folder: Path) -> str:
    """List the digests of a folder's files in `SHA256SUMS`, and return that list's own digest.

    The list is written last, so a folder with it is complete; its digest names the folder's
    content wherever the folder goes. What a killed writer left half done is removed first.
    """
    drop_partials(folder)
    names = sorted(path.name for path in folder.iterdir() if path.is_file() and path.name != SUMS)
    return write_atomically(folder / SUMS, _listing({n: sha256(folder / n) for n in names}))


def drop_partials(folder: Path, name: str = "*") -> None:
    """Remove the temporary files of killed writers of `name`; the caller is its only writer."""
    for partial in folder.glob(f".{name}.*.partial"):
        remove(partial)


def verify_sums(folder: Path) -> str:
    """Check every file of a folder against its `SHA256SUMS`; return the digest of that list.

    Raises:
        DamagedError: The list is missing or malformed, or a file is missing, extra or altered.
    """
    try:
        listing = (folder / SUMS).read_bytes()
        rows = [line.split("  ", 1) for line in listing.decode().splitlines()]
        sums = {name: digest for digest, name in rows}
    except (OSError, ValueError) as error:
        raise DamagedError(f"{folder}: {SUMS} is missing or malformed. Fetch it again.") from error
    if _listing(sums) != listing:  # one spelling, so that equal content has an equal digest
        raise DamagedError(f"{folder}: {SUMS} is not as it was written. Fetch it again.")
    found = {path.name for path in folder.iterdir()} - {SUMS}
    if odd := sorted(found ^ set(sums)):
        state = "is not listed in" if odd[0] in found else "is missing but listed in"
        raise DamagedError(f"{folder}: {odd[0]!r} {state} {SUMS}. Fetch the folder again.")
    for name, digest in sums.items():
        if Path(name).name != name or (folder / name).is_symlink():
            raise DamagedError(f"{folder}: {SUMS} names {name!r}, which is no plain file here.")
        _require_digest(folder / name, sha256(folder / name), digest)
    return hashlib.sha256(listing).hexdigest()


def _listing(sums: dict[str, str]) -> bytes:
    return "".join(f"{sums[name]}  {name}\n" for name in sorted(sums)).encode()


@contextmanager
def run_lock(path: Path, doing: str, *, patience_seconds: float = 0.0) -> Iterator[None]:
    """Hold `path` as a lock file while `doing`; the kernel frees it when the process dies.

    Args:
        path: The lock file; made if it is not there.
        doing: What is done meanwhile, for the message to others.
        patience_seconds: How long to wait for another process that holds it.

    Raises:
        BusyError: Another process holds it; the message names its process id.
        GanmillError: The file cannot be written.
    """
    deadline = time.monotonic() + patience_seconds
    while True:
        with explained(path, "written"):
            make_folder(path.parent)
            announce_write(path)
            file = path.open("a+")
        with file:
            _take(file, path, doing, deadline)
            if _is_still(path, file):
                yield
                return


def _is_still(path: Path, file: IO[str]) -> bool:
    """Tell whether an open file is the one at `path`: who held the lock may have removed it."""
    try:
        return os.path.samestat(path.stat(), os.fstat(file.fileno()))
    except FileNotFoundError:
        return False


def _take(file: IO[str], path: Path, doing: str, deadline: float) -> None:
    """Lock an open file and write our process id into it."""
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError as error:
            if time.monotonic() >= deadline:
                file.seek(0)
                holder = file.read().strip() or "unknown"
                raise BusyError(f"{doing}: process {holder} is already at it ({path}).") from error
        time.sleep(_LOCK_POLL_SECONDS)
    with explained(path, "written"):
        announce_write(path)
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
