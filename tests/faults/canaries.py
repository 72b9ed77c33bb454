"""Canaries: secrets that stand nowhere else, and the hunt for them in all that a mill leaves."""

import base64
import gzip
import http.server
import secrets
import subprocess
import tarfile
import threading
import zipfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tests.faults import living
from tests.flows.real_servers import Postgres, Store

USER = "ada"


def canary(name: str) -> str:
    """Return a word that stands nowhere else."""
    return f"canary{name}{secrets.token_hex(8)}"


def _forms(name: str, secret: str) -> Iterator[bytes]:
    """Yield how a secret looks as it is, in an address, and in a header of a request."""
    yield secret.encode()
    yield quote(secret, safe="").encode()
    if name == "login":
        yield base64.b64encode(f"{USER}:{secret}".encode()).rstrip(b"=")


class Receiver(http.server.BaseHTTPRequestHandler):
    """Somebody's webhook: it keeps what was posted, not the path, which is the secret."""

    posted: list[bytes]

    def do_POST(self) -> None:
        """Keep one notice."""
        self.posted.append(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(204)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing."""


@dataclass
class Hunt:
    """A mill whose secrets are canaries, and where it may have left them.

    Attributes:
        mill: The mill.
        canaries: The secrets by their names.
        database: Holds the tables of both servers.
        store: Holds artifacts, data and published assets.
        folder: All that the mill could write to: home, temporary files, backups.
        posted: What the webhook got.
        seen: Arguments of processes in which a canary was seen.
        said: What commands said.
    """

    mill: living.Mill
    canaries: dict[str, str]
    database: Postgres
    store: Store
    folder: Path
    posted: list[bytes]
    seen: set[str] = field(default_factory=set)
    said: list[str] = field(default_factory=list)

    def run(self, *words: str, ends: Collection[int] = (0,), **environment: str) -> None:
        """Run a command, which must end with one of these exit codes; keep what it says."""
        command = [str(living.COMMAND), *words]
        done = subprocess.run(
            command,
            cwd=self.mill.layout.root,
            env={**self.mill.environment, **environment},
            capture_output=True,
            text=True,
            timeout=900,
            check=False,
        )
        self.said.append(f"{done.stdout}{done.stderr}")
        assert done.returncode in ends, f"{words}: {done.returncode}\n{self.said[-1][-3000:]}"

    def found(self, text: bytes) -> list[str]:
        """Return the names of the canaries in some bytes."""
        return [
            name
            for name, secret in self.canaries.items()
            if any(form in text for form in _forms(name, secret))
        ]


@contextmanager
def webhook() -> Iterator[tuple[int, list[bytes]]]:
    """Yield the port of somebody's webhook, and what is posted to it."""
    posted: list[bytes] = []
    handler = type("Handler", (Receiver,), {"posted": posted})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_port, posted
    server.shutdown()


def write_keys(folder: Path) -> tuple[dict[str, str], dict[str, str]]:
    """Write the keys that sign and mark; return settings and canaries."""
    key = folder / "key.pem"
    made = Ed25519PrivateKey.generate()
    pem = made.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    key.write_text(pem)
    certificate = folder / "certificate.pem"
    subject = ["-subj", "/CN=canary", "-days", "365", "-out", str(certificate)]
    # A leaf that may sign, as `gan.marking` asks for.
    uses = ["-addext", "keyUsage=critical,digitalSignature", "-addext"]
    uses += ["extendedKeyUsage=emailProtection", "-addext", "basicConstraints=critical,CA:FALSE"]
    subprocess.run(
        ["openssl", "req", "-x509", "-new", "-key", str(key), *subject, *uses], check=True
    )
    mark = folder / "watermark.key"
    word = canary("watermark")
    mark.write_text(word)
    told = {"SIGNING_KEY": key, "SIGNING_CERTIFICATE": certificate, "WATERMARK_KEY": mark}
    settings = {f"GANMILL_{name}": str(path) for name, path in told.items()}
    return settings, {"watermark": word, "signing": pem.splitlines()[1]}


@contextmanager
def watching(hunt: Hunt) -> Iterator[None]:
    """Look at the arguments of all processes, again and again."""
    over = threading.Event()

    def look() -> None:
        while not over.wait(0.05):
            for path in Path("/proc").glob("[0-9]*/cmdline"):
                with suppress(OSError):
                    words = path.read_bytes()
                    if hunt.found(words):
                        hunt.seen.add(words.replace(b"\0", b" ").decode(errors="replace"))

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()


def content(path: Path) -> bytes:
    """Return the bytes of a file, and of what is packed in it."""
    raw = path.read_bytes()
    for unpack in (_unzipped, _untarred, _ungzipped):
        with suppress(OSError, EOFError, zipfile.BadZipFile, tarfile.TarError):
            raw += unpack(path)
    return raw


def _unzipped(path: Path) -> bytes:
    if not zipfile.is_zipfile(path):
        return b""
    with zipfile.ZipFile(path) as archive:
        return b"".join(archive.read(name) for name in archive.namelist())


def _untarred(path: Path) -> bytes:
    if not tarfile.is_tarfile(path):
        return b""
    with tarfile.open(path) as archive:
        files = [archive.extractfile(each) for each in archive.getmembers() if each.isfile()]
        return b"".join(file.read() for file in files if file is not None)


def _ungzipped(path: Path) -> bytes:
    return gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else b""
