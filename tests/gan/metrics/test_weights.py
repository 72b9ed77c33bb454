"""Bringing weights in: checked byte by byte, from a file or a real server, never by unpickling."""

import base64
import errno
import hashlib
import os
import pickle
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchvision  # type: ignore[import-untyped]  # it has no types
from safetensors.torch import save, save_file

from gan.durable import verify_sums
from gan.errors import DamagedError, GanmillError, ServiceError, UsageError
from gan.metrics import cards
from gan.metrics.cards import STANDARD_SHA256
from gan.metrics.extractors import load_extractor
from gan.metrics.weights import add_extractor, copy_extractor
from tests.faults.seam import failing_at
from tests.gan.image.networks.fid_weights import random_weights

NETWORK = "mobilenet_v3_small"
PASSWORD = "s3cret"  # noqa: S105  # of the server below


@dataclass
class Seen:
    """What a server was asked for, and with which login."""

    logins: list[str | None] = field(default_factory=list)
    gone: threading.Event = field(default_factory=threading.Event)


@pytest.fixture(scope="module")
def payload() -> bytes:
    """Return random weights of a network of torchvision, as a safetensors file's bytes."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return save(torchvision.models.get_model(NETWORK, weights=None).state_dict())


@pytest.fixture
def weights(payload: bytes, tmp_path: Path) -> Path:
    """Return those weights as a file."""
    path = tmp_path / "mine.safetensors"
    path.write_bytes(payload)
    return path


@pytest.fixture(scope="module")
def served(payload: bytes) -> Iterator[tuple[str, Seen]]:
    """Return the address of a server on loopback with the weights, and what it saw."""
    seen = Seen()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.logins.append(self.headers.get("Authorization"))
            place = self.path.partition("?")[0]
            if place.startswith("/to/"):
                targets = {
                    "file": "file:///etc/passwd",
                    "ftp": "ftp://127.0.0.1/w.safetensors",
                    "other": f"http://localhost:{self.headers['Host'].split(':')[1]}/w.safetensors",
                }
                self.send_response(302)
                self.send_header("Location", targets[place.split("/")[2]])
                self.end_headers()
            elif place.startswith("/none/"):
                self.send_error(404)
            else:
                self.send_response(200)
                self.send_header("Content-Length", str(len(payload)))
                self.end_headers()
                if place.startswith("/short/"):
                    self.wfile.write(payload[:-1000])
                elif place.startswith("/slow/"):
                    self.wfile.write(payload[:1_500_000])
                    seen.gone.wait(30)
                else:
                    self.wfile.write(payload)

        def log_message(self, *_: Any) -> None:
            """Keep the tests' output free of requests."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{server.server_address[1]}", seen
        seen.gone.set()
        server.shutdown()


def _everything(folder: Path) -> bytes:
    """Return the bytes of every file below a folder, and their names."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return b"".join(str(path).encode() + path.read_bytes() for path in files)


def test_a_file_becomes_an_extractor(weights: Path, tmp_path: Path) -> None:
    """Safetensors of a known network are stored with card and digests, and nothing else is left."""
    digest, card = add_extractor(NETWORK, str(weights), tmp_path / "store" / NETWORK)

    assert (card.name, card.dims, card.standard) == (NETWORK, 576, False)
    assert (card.distance, card.kernel) == ("fd_mobilenet_v3_small", "kd_mobilenet_v3_small")
    assert isinstance(card, cards.BackboneCard)
    assert card.source == "mine.safetensors"
    assert card.source_sha256 == hashlib.sha256(weights.read_bytes()).hexdigest()
    assert [path.name for path in (tmp_path / "store").iterdir()] == [NETWORK]
    assert verify_sums(tmp_path / "store" / NETWORK) == digest
    images = np.zeros((2, 4, 16, 16), np.uint8)
    assert load_extractor(tmp_path / "store" / NETWORK).features(images).shape == (2, 576)


def test_a_server_gives_the_same_bytes(
    served: tuple[str, Seen], weights: Path, tmp_path: Path
) -> None:
    """By http comes what a file gives, also after a redirection; the file's name is its source."""
    host, _ = served
    by_file, _ = add_extractor(NETWORK, str(weights), tmp_path / "a")
    by_server, _ = add_extractor(NETWORK, f"http://{host}/x/mine.safetensors", tmp_path / "b")
    _, moved = add_extractor(NETWORK, f"http://{host}/to/other/w.safetensors", tmp_path / "c")

    assert by_file == by_server
    assert isinstance(moved, cards.BackboneCard)
    assert moved.source == "w.safetensors"


def test_a_password_is_used_and_forgotten(
    served: tuple[str, Seen], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It goes to its host alone: not to a redirection's, the terminal, a file or an error."""
    host, seen = served
    seen.logins.clear()
    login = f"ada:{PASSWORD}@{host}"
    add_extractor(NETWORK, f"http://{login}/to/other/w.safetensors?t={PASSWORD}", tmp_path / "a")
    basic = base64.b64encode(f"ada:{PASSWORD}".encode()).decode()
    errors = []
    for place in ("none/w.safetensors", "short/w.safetensors", "to/ftp/w"):
        with pytest.raises(ServiceError) as failure:
            add_extractor(NETWORK, f"http://{login}/{place}?t={PASSWORD}", tmp_path / "b")
        errors.append(str(failure.value))

    assert seen.logins[:2] == [f"Basic {basic}", None]
    told = capsys.readouterr()
    for text in (told.out, told.err, *errors):
        assert PASSWORD not in text
        assert "ada" not in text
    assert PASSWORD.encode() not in _everything(tmp_path)


@pytest.mark.parametrize(
    "source",
    ["file:///etc/passwd", "ftp://host/w.safetensors", "FILE:///w", "data://x", "s3://bucket/w"],
)
def test_other_kinds_of_address_are_refused(source: str, tmp_path: Path) -> None:
    """A path, http and https are all there is."""
    with pytest.raises(UsageError, match="from a path or by http or https"):
        add_extractor(NETWORK, source, tmp_path / "store")
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("to/file/w", "answered 302"),
        ("to/ftp/w", "did not give"),
        ("none/w.safetensors", "answered 404"),
        ("short/w.safetensors", "Try again"),
    ],
)
def test_a_server_that_fails_is_named(
    served: tuple[str, Seen], tmp_path: Path, place: str, said: str
) -> None:
    """A redirection to a file of ours, a missing file and one cut short leave nothing behind."""
    host, _ = served
    with pytest.raises(ServiceError, match=said) as failure:
        add_extractor(NETWORK, f"http://{host}/{place}", tmp_path / "store")

    assert host in str(failure.value)
    assert _everything(tmp_path) == b""


def test_no_server_and_no_file_are_said(tmp_path: Path) -> None:
    """A refused connection and a wrong path are one line each; an address of no host too."""
    with pytest.raises(ServiceError, match="did not give"):
        add_extractor(NETWORK, "http://127.0.0.1:9/w.safetensors", tmp_path / "store")
    with pytest.raises(UsageError, match="no such file"):
        add_extractor(NETWORK, str(tmp_path / "nowhere"), tmp_path / "store")
    for address in ("http://", "http://[x/w", "http://host:port/w"):
        with pytest.raises(UsageError, match="address of the weights"):
            add_extractor(NETWORK, address, tmp_path / "store")


def test_a_file_that_is_too_large_is_refused(
    served: tuple[str, Seen], weights: Path, tmp_path: Path
) -> None:
    """The disk is not filled: the limit holds while the bytes come, whatever was announced."""
    host, _ = served
    for source in (str(weights), f"http://{host}/w.safetensors"):
        with pytest.raises(UsageError, match=r"larger than 2,000,000 bytes"):
            add_extractor(NETWORK, source, tmp_path / "s/a", at_most_bytes=2_000_000)
    assert list((tmp_path / "s").iterdir()) == []


class _Canary:
    """What a malicious file holds: it runs a command when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return os.system, (f"touch {self.path}",)


@pytest.mark.parametrize("name", ["inception", NETWORK])
def test_a_pickle_is_never_opened(name: str, tmp_path: Path) -> None:
    """A .pth of another digest than the standard one is refused unread, both digests named."""
    canary, path = tmp_path / "ran", tmp_path / "weights.pth"
    path.write_bytes(pickle.dumps({"weight": _Canary(canary)}))
    torch.save({"weight": _Canary(canary)}, tmp_path / "zipped.pth")
    for each in (path, tmp_path / "zipped.pth"):
        with pytest.raises(UsageError) as failure:
            add_extractor(name, str(each), tmp_path / "store" / name)
        assert hashlib.sha256(each.read_bytes()).hexdigest() in str(failure.value)
        assert (STANDARD_SHA256 in str(failure.value)) == (name == "inception")

    assert not canary.exists()
    assert list((tmp_path / "store").iterdir()) == []


def test_even_the_standard_digest_opens_tensors_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Were SHA-256 broken, code in the file would still not run."""
    canary, path = tmp_path / "ran", tmp_path / "weights.pth"
    torch.save({"weight": _Canary(canary)}, path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    monkeypatch.setattr(cards, "STANDARD_SHA256", digest)

    with pytest.raises(pickle.UnpicklingError):
        add_extractor("inception", str(path), tmp_path / "store")
    assert not canary.exists()


def test_the_standard_file_alone_is_called_fid(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same tensors as safetensors are no FID; both read grey and RGBA as the colours they show.

    The standard file is not at hand, so a file of random weights stands for it by its digest.
    """
    state = random_weights()
    torch.save(state, tmp_path / "standard.pth")
    save_file(state, tmp_path / "same.safetensors")
    digest = hashlib.sha256((tmp_path / "standard.pth").read_bytes()).hexdigest()
    monkeypatch.setattr(cards, "STANDARD_SHA256", digest)
    _, fid = add_extractor("inception", str(tmp_path / "standard.pth"), tmp_path / "fid")
    _, other = add_extractor("inception", str(tmp_path / "same.safetensors"), tmp_path / "other")
    extractor = load_extractor(tmp_path / "fid")
    random = np.random.default_rng(1)
    grey = random.integers(0, 256, (2, 1, 16, 16), dtype=np.uint8)
    clear = np.zeros((2, 4, 16, 16), np.uint8)
    white = np.full((2, 3, 16, 16), 255, np.uint8)
    seen = extractor.features(np.concatenate([np.repeat(grey, 3, axis=1), white]))
    reading = extractor.read(grey)

    assert (fid.distance, fid.kernel, fid.standard, fid.dims) == ("fid", "kid", True, 2048)
    assert (other.distance, other.kernel, other.standard) == ("fd_inception", "kd_inception", False)
    assert reading.predicted is None
    assert np.array_equal(reading.features, seen[:2])
    assert np.array_equal(extractor.features(clear), seen[2:])
    with pytest.raises(UsageError, match="1 or 3 or 4"):
        extractor.features(np.zeros((1, 2, 16, 16), np.uint8))


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    """The first tensor that is missing is named; a file that is no safetensors says so."""
    save_file({"features.0.0.weight": torch.zeros(16, 3, 3, 3)}, tmp_path / "some.safetensors")
    with pytest.raises(UsageError, match=f"some.safetensors: holds no weights of {NETWORK}"):
        add_extractor(NETWORK, str(tmp_path / "some.safetensors"), tmp_path / "store")
    (tmp_path / "cut.safetensors").write_bytes(b"\xff\x00\x00\x00\x00\x00\x00\x00{cut")
    with pytest.raises(UsageError, match="no sound safetensors"):
        add_extractor(NETWORK, str(tmp_path / "cut.safetensors"), tmp_path / "store")
    assert not (tmp_path / "store").exists()


def test_weights_that_are_not_finite_are_refused(payload: bytes, tmp_path: Path) -> None:
    """A network that gives NaN for a grey image measures nothing."""
    from safetensors.torch import load

    state = load(payload)
    state["features.0.0.weight"][:] = float("nan")
    save_file(state, tmp_path / "nan.safetensors")

    with pytest.raises(UsageError, match="not finite"):
        add_extractor(NETWORK, str(tmp_path / "nan.safetensors"), tmp_path / "store")


def test_a_kill_while_fetching_leaves_nothing_half(
    served: tuple[str, Seen], weights: Path, tmp_path: Path
) -> None:
    """The extractor before stays sound, and the next run clears what the killed one left."""
    host, _ = served
    store = tmp_path / "store" / NETWORK
    before, _ = add_extractor(NETWORK, str(weights), store)
    child = os.fork()
    if child == 0:
        add_extractor(NETWORK, f"http://{host}/slow/w.safetensors", store)
        os._exit(0)
    deadline = time.monotonic() + 20
    while not any(path.stat().st_size > 0 for path in store.parent.glob(".*.partial")):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)

    assert list(store.parent.glob(".*.partial"))
    assert verify_sums(store) == before
    assert add_extractor(NETWORK, str(weights), store)[0] == before
    assert [path.name for path in store.parent.iterdir()] == [NETWORK]


@pytest.mark.parametrize("n", [1, 2, 4])
def test_a_full_disk_is_said(n: int, weights: Path, tmp_path: Path) -> None:
    """A disk that fills while bytes come in is one line, and is not taken for a server's fault."""
    store = tmp_path / "store" / NETWORK
    with failing_at(n, errno.ENOSPC), pytest.raises(GanmillError, match="No space left"):
        add_extractor(NETWORK, str(weights), store)

    assert not store.exists()


def test_a_recipe_pins_a_copy(weights: Path, tmp_path: Path) -> None:
    """What a recipe measures with is a folder of its own: the store may change after it."""
    digest, _ = add_extractor(NETWORK, str(weights), tmp_path / "store")

    assert copy_extractor(NETWORK, tmp_path / "store", tmp_path / "pinned") == digest
    assert verify_sums(tmp_path / "pinned") == digest
    (tmp_path / "store" / "extractor.safetensors").write_bytes(b"other")
    assert verify_sums(tmp_path / "pinned") == digest
    with pytest.raises(DamagedError, match=r"extractor\.safetensors"):
        copy_extractor(NETWORK, tmp_path / "store", tmp_path / "again")


def test_weights_never_added_name_the_command(tmp_path: Path) -> None:
    """A recipe that asks for what is not here says how to bring it in."""
    wanted = re.escape("ganmill extractor add inception --weights PATH_OR_URL")
    with pytest.raises(UsageError, match=wanted):
        copy_extractor("inception", tmp_path / "store", tmp_path / "pinned")
