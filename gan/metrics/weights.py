"""Bring weights in for the networks that the user gives: once, checked, and never by unpickling.

`ganmill extractor add inception --weights PATH|URL` ends here. Every byte goes through SHA-256 on
its way in. What is kept is safetensors and a card; where the file came from is forgotten but for
its name, since an address may hold a password.
"""

import base64
import hashlib
import http.client
import re
import shutil
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path, PurePosixPath
from urllib.parse import SplitResult, unquote, urlsplit, urlunsplit

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from gan.changes import announce_write
from gan.durable import SUMS, drop_partials, remove, replacing, write_sums
from gan.errors import GanmillError, ServiceError, SourceError, UsageError
from gan.metrics import cards
from gan.metrics.cards import CARD, WEIGHTS, BackboneCard, ExtractorCard, InceptionCard, read_card
from gan.metrics.extractors import State, write_extractor
from gan.modality import modality
from gan.progress import Say, say

AT_MOST_BYTES = 2 << 30  # no network that could be meant is larger
_CHUNK_BYTES = 1 << 20
_TIMEOUT_SECONDS = 60
_SCHEME = re.compile(r"^([A-Za-z][A-Za-z0-9+.-]*)://")
_ADD = "ganmill extractor add {} --weights PATH_OR_URL"


def add_extractor(
    name: str,
    source: str,
    destination: Path,
    *,
    at_most_bytes: int = AT_MOST_BYTES,
    progress: Say = say,
) -> tuple[str, ExtractorCard]:
    """Fetch the weights of a network, check them, and write them as an extractor.

    Args:
        name: `inception`, or a network of torchvision by its name there.
        source: A path, or an address of http or https; a password in it is used and forgotten.
        destination: The folder to write; an older one stays sound until the new weights are.
        at_most_bytes: A larger file is refused, before it fills the disk.
        progress: Where the line about the fetching goes.

    Returns:
        The digest of the folder, and its card.

    Raises:
        UsageError: There is no such file, it is too large, it is not the standard file and not
            safetensors either, or its weights are of another network.
        ServiceError: The server did not answer, or not to the end.
        GanmillError: The disk is full or cannot be written.
    """
    label, chunks = _opened(name, source)
    progress(f"extractor {name}: fetching {label}")
    kept = destination.with_name(f"{name}.source")
    if destination.parent.is_dir():
        drop_partials(destination.parent, kept.name)  # of a killed run
    try:
        found = _take(chunks, kept, label, at_most_bytes)
        state = _read(kept, name, label, found)
        card = _card(name, label, found, state)
        digest = write_extractor(destination, state, card)
    finally:
        remove(kept)
    return digest, card


def copy_extractor(name: str, store: Path, destination: Path) -> str:
    """Pin what `add_extractor` wrote for one recipe: copy its folder; return its digest.

    Raises:
        UsageError: It was never added.
        DamagedError: A byte of it is not as it was written.
    """
    if not (store / SUMS).is_file():
        raise UsageError(
            f"evaluate.extractor is {name!r}, but its weights were never added. "
            f"Run once: {_ADD.format(name)}"
        )
    digest, _ = read_card(store)
    remove(destination / SUMS)  # until it is back the folder is incomplete
    for file in (WEIGHTS, CARD):
        with replacing(destination / file) as partial:
            shutil.copyfile(store / file, partial)
    copied = write_sums(destination)
    if copied != digest:
        raise GanmillError(f"{destination}: is no true copy of {store}. Run it again.")
    return digest


def _opened(name: str, source: str) -> tuple[str, Iterator[bytes]]:
    """Return what to call a source, free of paths and passwords, and its bytes in portions."""
    scheme = _SCHEME.match(source)
    if scheme is None:
        path = Path(source).expanduser()
        return _plain(path.name), _from_file(path)
    if scheme[1].lower() not in {"http", "https"}:
        raise UsageError(
            f"extractor {name}: weights come from a path or by http or https, not by "
            f"{scheme[1].lower()}. Run: {_ADD.format(name)}"
        )
    try:
        parts = urlsplit(source)
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        raise UsageError(f"extractor {name}: the address of the weights is none.") from None
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    if not host:
        raise UsageError(f"extractor {name}: the address of the weights names no host.")
    label = _plain(PurePosixPath(unquote(parts.path)).name)
    return label, _from_server(parts._replace(netloc=f"{host}{port}"), _login(parts), label)


def _plain(name: str) -> str:
    """Return a file's name as it may stand in a card and on a terminal."""
    return re.sub(r"[^A-Za-z0-9._+-]", "_", name)[:100] or "unnamed"


def _from_file(path: Path) -> Iterator[bytes]:
    if not path.is_file():  # a pipe or a device would never end
        raise SourceError(f"{path}: there is no such file. Give the weights' own path.")
    try:
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK_BYTES):
                yield chunk
    except OSError as error:
        raise SourceError(f"{path}: cannot be read ({error.strerror or error}).") from error


def _login(parts: SplitResult) -> str | None:
    """Return the Authorization header of an address with a name and a password."""
    if parts.username is None:
        return None
    pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    return f"Basic {base64.b64encode(pair.encode()).decode()}"


def _from_server(parts: SplitResult, login: str | None, label: str) -> Iterator[bytes]:
    """Yield what a server answers; `parts` holds no password, errors name no more than the host."""
    where = f"{parts.scheme}://{parts.netloc}"
    request = urllib.request.Request(urlunsplit(parts))  # noqa: S310  # http and https alone
    if login is not None:
        request.add_unredirected_header("Authorization", login)  # for this host, and no other
    try:
        with _opener().open(request, timeout=_TIMEOUT_SECONDS) as answer:
            length, seen = answer.headers.get("Content-Length"), 0
            while chunk := answer.read(_CHUNK_BYTES):
                seen += len(chunk)
                yield chunk
    except urllib.error.HTTPError as error:
        raise ServiceError(
            f"{where}: answered {error.code} when asked for {label}. Is the address right?"
        ) from None
    except (OSError, http.client.HTTPException, ValueError) as error:
        reason = getattr(error, "reason", None) or getattr(error, "strerror", None)
        raise ServiceError(
            f"{where}: did not give {label} ({reason or type(error).__name__}). Try again, or "
            "fetch the file by hand and give its path."
        ) from None
    if length is not None and length.isdecimal() and seen != int(length):
        raise ServiceError(
            f"{where}: sent {seen:,} of {int(length):,} bytes of {label}. Try again."
        )


def _opener() -> urllib.request.OpenerDirector:
    """Return what opens http and https, also after a redirection, and no other kind of address."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.UnknownHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPRedirectHandler(),
        urllib.request.HTTPErrorProcessor(),
    ):
        opener.add_handler(handler)
    return opener


def _take(chunks: Iterator[bytes], kept: Path, label: str, at_most_bytes: int) -> str:
    """Write the portions to `kept` and return their SHA-256.

    The first one is asked for before anything is written: most mistakes show there.
    """
    digest, seen = hashlib.sha256(), 0
    first = next(chunks, b"")
    with ExitStack() as stack:
        partial = stack.enter_context(replacing(kept))
        file = stack.enter_context(partial.open("wb"))
        for chunk in _with(first, chunks):
            seen += len(chunk)
            if seen > at_most_bytes:
                raise UsageError(
                    f"{label}: is larger than {at_most_bytes:,} bytes. Is it a file of weights?"
                )
            digest.update(chunk)
            announce_write(partial)
            file.write(chunk)
    return digest.hexdigest()


def _with(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    yield first
    yield from rest


def _read(kept: Path, name: str, label: str, found: str) -> State:
    """Return the weights of a file whose digest is known; pickles but the standard one are refused.

    Raises:
        UsageError: It is not the standard file, and no safetensors.
    """
    if name == "inception" and found == cards.STANDARD_SHA256:
        state = _unpickled(kept)
    elif _looks_like_safetensors(kept):
        try:
            state = load_file(kept)
        except SafetensorError as error:
            reason = " ".join(str(error).split())[:200]
            raise UsageError(f"{label}: is no sound safetensors file: {reason}") from error
    else:
        size = kept.stat().st_size
        standard = f", the standard file's is {cards.STANDARD_SHA256}" * (name == "inception")
        raise UsageError(
            f"{label}: its SHA-256 is {found} ({size:,} bytes){standard}. Another file is taken as "
            "safetensors alone: reading a .pth may run whatever code is in it."
        )
    return {
        key: value.float() if value.is_floating_point() else value for key, value in state.items()
    }


def _unpickled(kept: Path) -> dict[str, Tensor]:
    """Read the standard file of the Inception network: the one pickle that this house opens.

    It exists in no other form; the caller has seen that its SHA-256 is the one that everybody
    knows, and torch's reader takes tensors alone.
    """
    state: dict[str, Tensor] = torch.load(kept, map_location="cpu", weights_only=True)
    return state


def _looks_like_safetensors(kept: Path) -> bool:
    """Return whether a JSON header follows the eight bytes of its length."""
    with kept.open("rb") as file:
        return file.read(9)[8:] == b"{"


def _card(name: str, label: str, found: str, state: State) -> ExtractorCard:
    """Return the card, after the network was built from these weights and read an image."""
    room, is_inception = modality("image"), name == "inception"
    try:
        network = (
            room.build_inception(state, torch.float32)
            if is_inception
            else room.build_backbone(name, state, torch.float32)
        )
    except ValueError as error:
        reason = " ".join(str(error).split())[:200]
        raise UsageError(f"{label}: holds no weights of {name}: {reason}") from error
    dims = _dims(network, label)
    if is_inception:
        standard = found == cards.STANDARD_SHA256
        return InceptionCard(dims=dims, source=label, source_sha256=found, standard=standard)
    return BackboneCard(dims=dims, source=label, source_sha256=found, name=name)


@torch.no_grad()
def _dims(network: nn.Module, label: str) -> int:
    """Return D, by asking the network for a grey image."""
    features = network.eval()(torch.full((1, 3, 32, 32), 128, dtype=torch.uint8))
    if not bool(features.isfinite().all()):
        raise UsageError(f"{label}: gives features that are not finite. Is the file sound?")
    return int(features.shape[1])
