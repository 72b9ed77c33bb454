"""The proxy of infra/proxy before real servers: TLS, the login, websockets, nothing else."""

import base64
import json
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from http.client import HTTPConnection
from pathlib import Path
from uuid import uuid4

import pytest

from flows import stack
from flows.settings import load_settings
from gan.paths import Layout
from tests.flows.real_servers import free_port

INFRA = Path(__file__).resolve().parents[2] / "infra"
LOGIN = "mill:a-long-password-for-tests"
NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(NGINX is None, reason="nginx is not on this machine"),
]


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class Front:
    """The proxy: its two ports, and what trusts its certificate."""

    http_port: int
    https_port: int
    trust: ssl.SSLContext
    folder: Path

    def place(self, name: str) -> str:
        """Return name and port as a browser says them."""
        return f"{name}.localhost:{self.https_port}"

    def tls(self, name: str) -> ssl.SSLSocket:
        """Return a connection by TLS to the server of a name, which no resolver has to know."""
        raw = socket.create_connection(("127.0.0.1", self.https_port), timeout=30)
        return self.trust.wrap_socket(raw, server_hostname=name)

    def ask(
        self, name: str, path: str, login: str | None = LOGIN, body: object = None, **more: str
    ) -> Answer:
        """Ask the server `name` by TLS; a body makes it a POST of JSON."""
        said = None if body is None else json.dumps(body)
        headers = {"Host": self.place(name), "Content-Type": "application/json", **more}
        headers |= {"Authorization": basic(login)} if login else {}
        connection = HTTPConnection("127.0.0.1")
        connection.sock = self.tls(f"{name}.localhost")
        try:
            connection.request("POST" if said else "GET", path, said, headers)
            answer = connection.getresponse()
            return Answer(answer.status, dict(answer.getheaders()), answer.read())
        finally:
            connection.close()


def basic(login: str) -> str:
    """Return the header that a browser sends for `user:password`."""
    return f"Basic {base64.b64encode(login.encode()).decode()}"


def _certificate(folder: Path) -> tuple[Path, Path]:
    """Make a certificate of our names, as a person without a certificate authority would."""
    certificate, key = folder / "tls_certificate", folder / "tls_key"
    names = "subjectAltName=DNS:prefect.localhost,DNS:mlflow.localhost"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2"
    where = ["-subj", "/CN=mill", "-addext", names, "-out", str(certificate), "-keyout", str(key)]
    subprocess.run([*command.split(), *where], check=True, capture_output=True)
    return certificate, key


def configuration(folder: Path, places: dict[str, str]) -> Path:
    """Write the shipped configuration with other paths and ports, and nothing else different."""
    text = (INFRA / "proxy" / "nginx.conf").read_text()
    for there, here in places.items():
        assert there in text
        text = text.replace(there, here)
    path = folder / "nginx.conf"
    path.write_text(text)
    return path


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    """Yield the proxy before a Prefect and an MLflow server that ask for a login."""
    root = tmp_path_factory.mktemp("mill")
    (root / "params.yaml").write_text("recipes: {}\n")
    layout = Layout(root)
    http_port, https_port = free_port(), free_port()
    with pytest.MonkeyPatch.context() as patch:
        for name in ("PREFECT_API_URL", "MLFLOW_TRACKING_URI"):
            patch.delenv(name, raising=False)
        for name, value in {
            "GANMILL_PREFECT_PORT": str(free_port()),
            "GANMILL_MLFLOW_PORT": str(free_port()),
            "GANMILL_LOGIN": LOGIN,
            "GANMILL_PUBLIC_PREFECT_URL": f"https://prefect.localhost:{https_port}",
            "GANMILL_PUBLIC_MLFLOW_URL": f"https://mlflow.localhost:{https_port}",
        }.items():
            patch.setenv(name, value)
        settings = load_settings()
    folder = tmp_path_factory.mktemp("nginx")
    certificate, key = _certificate(folder)
    (folder / "mime.types").write_text("types { text/html html; }\n")
    config = configuration(
        folder,
        {
            "/tmp/": f"{folder}/",  # noqa: S108  # the container's own
            "/run/secrets/tls_certificate": str(certificate),
            "/run/secrets/tls_key": str(key),
            "/etc/nginx/mime.types": str(folder / "mime.types"),
            "/etc/nginx/ganmill-server.conf": str(INFRA / "proxy" / "server.conf"),
            "/dev/stdout": str(folder / "access.log"),
            "listen 8080": f"listen 127.0.0.1:{http_port}",
            "listen 8443": f"listen 127.0.0.1:{https_port}",
            "http://prefect:4200": f"http://127.0.0.1:{settings.prefect_port}",
            "http://mlflow:5000": f"http://127.0.0.1:{settings.mlflow_port}",
        },
    )
    stack.up(layout, settings)
    command = [str(NGINX), "-c", str(config), "-p", str(folder), "-e", "stderr"]
    with (folder / "log").open("wb") as log:
        proxy = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        _wait(http_port, proxy, folder / "log")
        trust = ssl.create_default_context(cafile=str(certificate))
        yield Front(http_port, https_port, trust, folder)
    finally:
        proxy.terminate()
        proxy.wait(10)
        stack.down(layout)


def _wait(port: int, process: "subprocess.Popen[bytes]", log: Path) -> None:
    for _ in range(100):
        assert process.poll() is None, log.read_text()
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise AssertionError(log.read_text())


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("prefect", "/api/admin/version"),
        ("mlflow", "/api/2.0/mlflow/experiments/search?max_results=1"),
    ],
)
def test_nobody_comes_in_without_the_login(front: Front, name: str, path: str) -> None:
    """Each server asks for the login through the proxy, and lets in who has it."""
    refused = front.ask(name, path, login=None)
    wrong = front.ask(name, path, login="mill:not-the-password")
    let_in = front.ask(name, path)

    assert (refused.status, wrong.status, let_in.status) == (401, 401, 200)
    assert let_in.headers["Strict-Transport-Security"] == "max-age=31536000"
    assert let_in.headers["Server"] == "nginx"  # and no version


def test_http_leads_to_https(front: Front) -> None:
    """Who types http:// is led to https://, with the same path, and a login is never asked for."""
    connection = HTTPConnection("127.0.0.1", front.http_port, timeout=10)
    connection.request("GET", "/runs?x=1", headers={"Host": "prefect.localhost"})
    answer = connection.getresponse()

    assert answer.status == 308
    assert answer.headers["Location"] == "https://prefect.localhost/runs?x=1"
    assert "WWW-Authenticate" not in answer.headers


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_tls_is_of_today(front: Front, version: ssl.TLSVersion) -> None:
    """TLS 1.2 and 1.3 with forward secrecy; the certificate is the one that was given."""
    front.trust.maximum_version = version
    with front.tls("prefect.localhost") as connection:
        name, _, bits = connection.cipher() or ("", "", 0)

    front.trust.maximum_version = ssl.TLSVersion.MAXIMUM_SUPPORTED
    assert name.startswith(("ECDHE", "TLS_"))
    assert bits >= 128


def test_another_name_gets_no_page_and_no_certificate(front: Front) -> None:
    """Who asks the address itself, or by another name, is turned away before TLS is done."""
    with pytest.raises(ssl.SSLError, match=r"(?i)unrecognized.name|handshake"):
        front.tls("other.example.com")


def test_a_page_of_another_site_is_refused(front: Front) -> None:
    """A page of elsewhere cannot use the login that a browser keeps; our own pages can."""
    body: dict[str, object] = {"limit": 1}
    path, experiments = "/api/flow_runs/filter", "/api/2.0/mlflow/experiments/search"
    for name, place, said in (
        ("prefect", path, body),
        ("mlflow", experiments, {"max_results": 1}),
    ):
        ours = front.ask(name, place, body=said, Origin=f"https://{front.place(name)}")
        theirs = front.ask(name, place, body=said, Origin="https://evil.example.com")

        assert (ours.status, theirs.status) == (200, 403), (name, ours.body, theirs.body)


def test_the_pages_ask_the_place_that_they_came_from(front: Front) -> None:
    """Prefect's pages do not call loopback, which a browser elsewhere could not reach."""
    settings = json.loads(front.ask("prefect", "/ui-settings").body)

    assert settings["api_url"] == "/api"


def test_websockets_pass(front: Front) -> None:
    """Prefect's events flow through the proxy: what one client says another one hears."""
    from websockets.sync.client import connect

    address = f"wss://{front.place('prefect')}/api/events/out"
    with connect(
        address,
        sock=socket.create_connection(("127.0.0.1", front.https_port)),
        ssl=front.trust,
        subprotocols=["prefect"],  # type: ignore[list-item]  # a NewType of str
        additional_headers={"Authorization": basic(LOGIN)},
        proxy=None,
    ) as events:
        events.send(json.dumps({"type": "auth", "token": LOGIN}))
        assert json.loads(events.recv(timeout=20))["type"] == "auth_success"
        events.send(json.dumps({"type": "filter", "filter": {"event": {"name": ["mill.tried"]}}}))
        said = {
            "occurred": datetime.now(UTC).isoformat(),
            "event": "mill.tried",
            "id": str(uuid4()),
            "resource": {"prefect.resource.id": "mill"},
        }
        time.sleep(1)  # until the server listens for us
        posted = front.ask("prefect", "/api/events", body=[said])
        heard = json.loads(events.recv(timeout=30))

    assert posted.status in {200, 204}
    assert heard["event"]["event"] == "mill.tried"


def test_a_large_artifact_passes(front: Front) -> None:
    """A bundle of many megabytes goes up and comes down through the proxy."""
    payload = bytes(range(256)) * (1 << 16)  # 16 MiB
    path = "/api/2.0/mlflow-artifacts/artifacts/tried/bundle.bin"
    connection = HTTPConnection("127.0.0.1")
    connection.sock = front.tls("mlflow.localhost")
    headers = {"Host": front.place("mlflow"), "Authorization": basic(LOGIN)}
    connection.request("PUT", path, payload, headers)
    assert connection.getresponse().status == 200

    assert front.ask("mlflow", path).body == payload


def test_the_log_has_no_secrets(front: Front) -> None:
    """The log of the proxy names who asked for what, without query and without the login."""
    front.ask("prefect", "/api/admin/version?token=canary")
    log = (front.folder / "access.log").read_text()

    assert '"GET /api/admin/version" 200' in log
    assert "canary" not in log
    assert basic(LOGIN) not in log
    assert LOGIN not in log
