"""What goes into the image, and the small programs in it."""

import http.server
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
CONTAINER = REPOSITORY / "infra" / "container"
CONTAINERFILE = (REPOSITORY / "infra" / "Containerfile").read_text()
DOCKER = shutil.which("docker")


def _plain_environment(**more: str) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("GANMILL_", "PREFECT_"))}
    return {**kept, **more}


def test_the_image_is_built_from_the_lock_alone() -> None:
    """Packages come by hash, pip resolves nothing, and what installs packages is not in the end."""
    stages = re.split(r"^FROM ", CONTAINERFILE, flags=re.MULTILINE)[1:]

    assert len(stages) == 2
    assert "--require-hashes" in stages[0]
    assert "--no-deps" in stages[0]
    assert "requirements-server.lock" in stages[0]
    assert "pip uninstall" in stages[1]
    assert "pip install" not in stages[1]
    assert {stage.split()[0] for stage in stages} == {"${BASE}"}
    (base,) = re.findall(r"^ARG BASE=(\S+)$", CONTAINERFILE, re.MULTILINE)
    assert re.fullmatch(r"python:3\.11\.\d+-slim-bookworm(@sha256:[0-9a-f]{64})?", base)


def test_the_image_runs_without_root() -> None:
    """The image itself says the user, a fixed number, so that a cluster can check it."""
    final = CONTAINERFILE.split("FROM ")[-1]

    assert "USER 10001:10001" in final
    assert final.index("USER ") > final.rindex("RUN ")
    assert "HEALTHCHECK" in final
    for label in ("title", "description", "version", "revision"):
        assert f"org.opencontainers.image.{label}=" in final


class _Builder(http.server.BaseHTTPRequestHandler):
    """Takes what `docker build` sends to an engine."""

    protocol_version = "HTTP/1.1"
    sent: bytes

    def do_HEAD(self) -> None:
        """Say that an engine is here."""
        self._answer(b"")

    do_GET = do_HEAD  # noqa: N815  # the name that http.server looks for

    def do_POST(self) -> None:
        """Keep the archive of the folder."""
        archive = io.BytesIO()
        while size := int(self.rfile.readline(), 16):
            archive.write(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        _Builder.sent = archive.getvalue()
        self._answer(b'{"stream": "taken"}')

    def _answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Api-Version", "1.43")
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *words: object) -> None:
        """Say nothing."""


@pytest.mark.skipif(DOCKER is None, reason="docker is not on this machine")
def test_no_data_no_secret_no_history_enters_the_image(tmp_path: Path) -> None:
    """`docker build` sends the code, the lock and the recipes, whatever else lies there."""
    clone = tmp_path / "clone"
    ignored = shutil.ignore_patterns("__pycache__")
    for name in ("gan", "flows", "infra"):
        shutil.copytree(REPOSITORY / name, clone / name, ignore=ignored)
    wanted = (".dockerignore", ".dvcignore", ".gitignore", "README.md", "dvc.yaml", "params.yaml")
    for name in (*wanted, "pyproject.toml", ".dvc/config", ".dvc/.gitignore"):
        (clone / name).parent.mkdir(exist_ok=True)
        shutil.copy(REPOSITORY / name, clone / name)
    hidden = {
        ".git/config",
        ".ganmill/signing/key.pem",
        ".dvc/cache/x",
        ".dvc/config.local",
        ".env",
    }
    hidden |= {"data/a", "assets/a", "runs/a", "reports/a", "models/a/bundle/b", "tests/a.py"}
    hidden |= {"infra/secrets/ganmill_login", "gan/__pycache__/a.pyc", "models/a/history.json"}
    for name in (*hidden, "models/a/start.json"):
        (clone / name).parent.mkdir(parents=True, exist_ok=True)
        (clone / name).write_text("canary")

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Builder) as engine:
        threading.Thread(target=engine.serve_forever, daemon=True).start()
        command = [str(DOCKER), "build", "-f", str(clone / "infra" / "Containerfile"), str(clone)]
        address = f"tcp://127.0.0.1:{engine.server_port}"
        environment = _plain_environment(DOCKER_HOST=address, DOCKER_BUILDKIT="0")
        subprocess.run(command, env=environment, check=True, capture_output=True)
        engine.shutdown()

    with tarfile.open(fileobj=io.BytesIO(_Builder.sent)) as archive:
        sent = {each.name for each in archive.getmembers() if each.isfile()}
    assert not sent & hidden
    assert {*wanted, "models/a/start.json", "infra/requirements-server.lock"} <= sent
    assert {name.split("/")[0] for name in sent} == {
        *wanted, "pyproject.toml", ".dvc", "gan", "flows", "infra", "models",
    }  # fmt: skip
    rest = {name for name in sent if name.startswith("infra/") and "/container/" not in name}
    assert rest == {"infra/requirements-server.lock", "infra/Containerfile"}
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", CONTAINERFILE, re.MULTILINE)
    for name in " ".join(copied).split():
        assert any(each == name or each.startswith(f"{name}/") for each in sent), name


@pytest.fixture
def fill(tmp_path: Path) -> Callable[[], Path]:
    """Return a function that does with a folder what the image does with its volume."""

    def run() -> Path:
        home = tmp_path / "workspace"
        home.mkdir(exist_ok=True)
        script = ["sh", str(CONTAINER / "workspace.sh"), str(REPOSITORY), str(home)]
        subprocess.run(script, check=True, capture_output=True)
        return home

    return run


def test_an_empty_volume_becomes_a_workspace(fill: Callable[[], Path]) -> None:
    """The stage graph works in it: DVC reads it, and `ganmill` finds its recipes."""
    home = fill()
    command = [str(Path(sys.executable).parent / "ganmill"), "recipes", "--json"]
    done = subprocess.run(
        command, cwd=home, env=_plain_environment(), capture_output=True, check=True
    )
    status = [str(Path(sys.executable).parent / "dvc"), "stage", "list", "--name-only"]
    stages = subprocess.run(status, cwd=home, capture_output=True, text=True, check=True).stdout

    assert json.loads(done.stdout).keys() == {"stickers"}
    assert "train@stickers" in stages.split()
    assert (home / "models/stickers/start.json").is_file()


def test_what_is_a_persons_own_stays(fill: Callable[[], Path]) -> None:
    """A newer image brings its stage graph and code; recipes, pins and DVC's settings stay."""
    home = fill()
    own = ("params.yaml", "models/stickers/start.json", ".dvc/config", ".gitignore")
    for name in own:
        (home / name).write_text("mine")
    (home / "dvc.yaml").write_text("of an old version")
    fill()

    assert {(home / name).read_text() for name in own} == {"mine"}
    assert (home / "dvc.yaml").read_text() == (REPOSITORY / "dvc.yaml").read_text()
    assert (home / "gan").resolve() == REPOSITORY / "gan"
    assert not list(home.rglob("*.partial"))


def test_a_clone_with_code_of_its_own_is_not_touched(fill: Callable[[], Path]) -> None:
    """Who mounts a git repository with its own code keeps every byte of it."""
    home = fill()
    shutil.rmtree(home)
    (home / "gan").mkdir(parents=True)
    (home / "dvc.yaml").write_text("mine")
    fill()

    assert {path.name for path in home.iterdir()} == {"gan", "dvc.yaml"}
    assert (home / "dvc.yaml").read_text() == "mine"


class _Health(http.server.BaseHTTPRequestHandler):
    """Answers as a server does that is asked how it is."""

    def do_GET(self) -> None:
        """Answer the question for health alone."""
        self.send_response(200 if self.path == "/api/health" else 404)
        self.end_headers()

    def log_message(self, *words: object) -> None:
        """Say nothing."""


@pytest.fixture
def health() -> Iterator[int]:
    """Yield the port of a server that is well."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Health) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


@pytest.mark.parametrize(
    ("line", "port", "code"),
    [
        ("python\0-m\0flows.servers\0prefect\0", None, 0),
        ("python\0-m\0flows.servers\0prefect\0", 9, 1),
        ("python\0-m\0flows.servers\0mlflow\0", None, 1),  # here it answers 404
        ("python\0-m\0flows.schedules.worker\0", 9, 0),
    ],
)
def test_health_is_asked_of_what_runs(
    tmp_path: Path, health: int, line: str, port: int | None, code: int
) -> None:
    """A server is well when it answers, whatever its port; a worker as long as it is there."""
    (tmp_path / "7").mkdir()
    (tmp_path / "7" / "cmdline").write_text(line)
    given = str(port or health)
    script = f"import sys, pathlib; sys.path.insert(0, {str(CONTAINER)!r}); import healthy; "
    script += f"sys.exit(healthy.main(pathlib.Path({str(tmp_path)!r})))"
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=_plain_environment(GANMILL_PREFECT_PORT=given, GANMILL_MLFLOW_PORT=given),
        check=False,
    )

    assert done.returncode == code


def test_prefects_own_commands_are_told_the_settings(tmp_path: Path) -> None:
    """A command that knows no file of secrets has the login and the servers in its environment."""
    (tmp_path / "params.yaml").write_text("recipes: {}\n")
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "ganmill_login").write_text("mill:a-long-password\n")
    environment = _plain_environment(
        GANMILL_SECRETS=str(tmp_path / "secrets"), PREFECT_API_URL="http://prefect:4200/api"
    )
    command = [sys.executable, str(CONTAINER / "told.py"), "env"]
    told = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    ).stdout.splitlines()

    assert "PREFECT_API_AUTH_STRING=mill:a-long-password" in told
    assert "MLFLOW_TRACKING_PASSWORD=a-long-password" in told
    assert "PREFECT_API_URL=http://prefect:4200/api" in told
    assert "MLFLOW_DISABLE_TELEMETRY=true" in told
