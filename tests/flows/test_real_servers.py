"""The stack on what a team runs it on: Postgres, an S3-compatible store, a login, public names."""

import asyncio
import base64
import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
import websockets
from pydantic import SecretStr

from flows import registry, stack, tracking
from flows._prefect import brief_client
from flows.servers import environments, schemas
from flows.settings import Settings, quiet_environment
from gan.errors import ServiceError
from gan.paths import Layout
from tests.flows.real_servers import Postgres, Store, postgres, store

PASSWORD = "canary % of = a password"  # noqa: S105  # a test's
PUBLIC = "mill.example.com"
_READY_SECONDS = 30.0


@dataclass(frozen=True)
class Real:
    """A stack that is up, and what it stands on."""

    layout: Layout
    settings: Settings
    database: Postgres
    store: Store

    def ask(
        self, url: str, *, user: str = f"mill:{PASSWORD}", method: str = "GET", **headers: str
    ) -> httpx.Response:
        """Ask a server, as somebody."""
        login = {"authorization": f"Basic {base64.b64encode(user.encode()).decode()}"}
        return httpx.request(
            method, url, headers={**(login if user else {}), **headers}, timeout=20, trust_env=False
        )


@pytest.fixture(scope="module")
def real(
    tmp_path_factory: pytest.TempPathFactory, settings_on: Callable[..., Settings]
) -> Iterator[Real]:
    """Return the stack on Postgres and S3, with a login and a public name."""
    layout = Layout(tmp_path_factory.mktemp("real"))
    with pytest.MonkeyPatch.context() as patch, postgres() as database, store() as s3:
        told = {
            "login": SecretStr(f"mill:{PASSWORD}"),
            "public_hosts": f"{PUBLIC},{PUBLIC}:8443",
            "public_mlflow_url": f"https://mlflow.{PUBLIC}:444/",
            "prefect_database": SecretStr(database.create("prefect")),
            "mlflow_database": SecretStr(database.create("mlflow")),
            "artifacts": f"s3://{s3.bucket}/mlflow",
        }
        settings = settings_on().model_copy(update=told)
        for name, value in s3.environment.items():
            patch.setenv(name, value)
        for name, value in quiet_environment(settings, layout).items():
            if name.startswith("MLFLOW_TRACKING_"):
                patch.setenv(name, value)
        try:
            stack.up(layout, settings)
            yield Real(layout, settings, database, s3)
        finally:
            stack.down(layout)


def test_up_says_that_all_of_it_is_there(real: Real) -> None:
    """Both servers are healthy, and their tables are in Postgres; no SQLite file was made."""
    found = stack.status(real.layout, real.settings)
    again = stack.up(real.layout, real.settings)
    tables = [
        schemas.of_prefect(real.layout, real.settings),
        *schemas.of_mlflow(real.layout, real.settings),
    ]

    assert (found.prefect.state, found.mlflow.state) == ("up", "up")
    assert (again.prefect.pid, again.mlflow.pid) == (found.prefect.pid, found.mlflow.pid)
    assert [schemas.due_upgrade(each) for each in tables] == [None, None, None]
    for each, database in zip(tables, ("prefect", "mlflow", "mlflow"), strict=True):
        form = real.database.ask(database, _form_of(each))
        assert {form} == schemas.forms(each.steps)[1]
    assert list(real.layout.state.rglob("*.db")) == []


def _form_of(schema: schemas.Schema) -> str:
    return f"SELECT version_num FROM {schema.table}"  # noqa: S608  # a name of ours


def test_runs_files_and_versions_are_kept(
    real: Real, make_bundle: Callable[[str], Path], tmp_path: Path
) -> None:
    """A run, its files in the bucket, a version and its alias: written, and read back."""
    run = tracking.open_run(real.layout, real.settings, "real", "real #1", {}, {"kimg": 1})
    picture = tmp_path / "report.txt"
    picture.write_text("words of a report")
    tracking.log_files(run, [picture], "reports")
    version = registry.register(real.settings, "real", make_bundle("real"), run, {})
    registry.set_alias(real.settings, "real", "champion", version.number)
    tracking.close_run(run, "FINISHED")

    assert registry.by_alias(real.settings, "real", "champion") == version
    fetched = registry.fetch(real.settings, version, tmp_path / "store")
    assert (fetched / "card.json").read_text() == '{"recipe": "stickers"}'
    stored = [path.name for path in real.store.objects.rglob("*") if path.is_file()]
    assert {"report.txt", "card.json", "generator.safetensors"} <= set(stored)
    assert real.database.ask("mlflow", "SELECT name FROM registered_models") == "real"


def test_nobody_reads_without_the_login(real: Real) -> None:
    """Pages and answers of both servers want user and password; only their life is told to all."""
    prefect, mlflow = real.settings.prefect_url, real.settings.mlflow_url
    closed = [
        *(f"{prefect}/api{path}" for path in ("/version", "/admin/settings", "/flow_runs/x")),
        *(
            f"{mlflow}{path}"
            for path in (
                "/",
                "/api/2.0/mlflow/experiments/search?max_results=5",
                "/ajax-api/2.0/mlflow/registered-models/search",
                "/api/2.0/mlflow-artifacts/artifacts",
                "/get-artifact?path=x&run_uuid=y",
                "/graphql",
                "/version",
                "/docs",
                "/openapi.json",
                "/v1/traces",
                "/api/2.0/mlflow/users/list",
                "/signup",
            )
        ),
    ]
    for url in closed:
        assert real.ask(url, user="").status_code == 401, url
        assert real.ask(url, user="mill:another password").status_code == 401, url
    assert real.ask(f"{prefect}/api/version").status_code == 200
    assert real.ask(f"{mlflow}/api/2.0/mlflow/users/list").status_code == 200
    assert real.ask(f"{mlflow}/gateway/x").status_code == 403  # shut for everybody
    for url in (f"{prefect}/api/health", f"{prefect}/api/ready", f"{mlflow}/health"):
        assert real.ask(url, user="").status_code == 200
    assert real.ask(f"{prefect}/ui-settings", user="").json()["auth"] == "BASIC"


def test_our_clients_log_in(real: Real) -> None:
    """What our commands ask both servers with has the login; without it they say so in a line."""
    with brief_client(real.settings, seconds=20) as client:
        assert client.read_flow_runs() == []
    assert registry.versions(real.settings, "nobody") == []
    nobody = real.settings.model_copy(update={"login": SecretStr("mill:another password")})
    with (
        pytest.raises(ServiceError, match="does not take it"),
        brief_client(nobody, seconds=20) as c,
    ):
        c.read_flow_runs()


def test_foreign_names_and_pages_are_refused(real: Real) -> None:
    """A name that only leads here, and a page of another site, get nothing, even with the login."""
    prefect, mlflow = real.settings.prefect_url, real.settings.mlflow_url
    asked = {
        f"{prefect}/api/flow_runs/filter": "POST",
        f"{prefect}/runs": "GET",
        f"{prefect}/api/version": "GET",
        f"{mlflow}/api/2.0/mlflow/experiments/search": "POST",
        f"{mlflow}/": "GET",
        f"{mlflow}/graphql": "POST",
        f"{mlflow}/api/2.0/mlflow-artifacts/artifacts": "GET",
    }
    for url, method in asked.items():
        for host in ("evil.example", "10.evil.example", "localhost.evil.example:4200", "10.0.0.5"):
            assert real.ask(url, method=method, host=host).status_code == 403, (url, host)
        for origin in ("https://evil.example", "http://localhost:3000", "null"):
            found = real.ask(url, method=method, origin=origin)
            assert found.status_code == 403, (url, origin)
            assert "access-control-allow-origin" not in found.headers


def test_our_own_names_and_pages_work(real: Real) -> None:
    """Pages of loopback and of the public name read and write, also through a proxy with TLS."""
    prefect, mlflow = real.settings.prefect_url, real.settings.mlflow_url
    search = f"{mlflow}/api/2.0/mlflow/experiments/search"
    for url in (prefect, mlflow):
        own = url.removeprefix("http://")
        for headers in (
            {"host": own, "origin": url},
            {"host": own.replace("127.0.0.1", "localhost")},
            {"host": PUBLIC, "origin": f"https://{PUBLIC}"},
            {"host": f"{PUBLIC}:8443", "origin": f"https://{PUBLIC}:8443"},
            {"host": f"mlflow.{PUBLIC}:444", "origin": f"https://mlflow.{PUBLIC}:444"},
        ):
            asked = f"{url}/api/flow_runs/filter" if url == prefect else search
            status = real.ask(asked, method="POST", **headers).status_code
            assert status == (200 if url == prefect else 400), headers  # 400: a POST without words
            assert real.ask(f"{url}/", **headers).status_code in {200, 307}


def test_websockets_work_from_our_own_pages_alone(real: Real) -> None:
    """Prefect's stream of events comes to who logs in from our page; others are never let in."""

    async def listen(origin: str | None, token: str) -> str:
        url = real.settings.prefect_url.replace("http", "ws", 1) + "/api/events/out"
        told = {"origin": origin} if origin else {}
        async with websockets.connect(
            url,
            subprotocols=[websockets.Subprotocol("prefect")],
            proxy=None,
            additional_headers=told,
        ) as socket:
            await socket.send(json.dumps({"type": "auth", "token": token}))
            answer = json.loads(await socket.recv())
            await socket.send(json.dumps({"type": "filter", "filter": {}}))
            return str(answer["type"])

    own, right = real.settings.prefect_url, f"mill:{PASSWORD}"
    assert asyncio.run(listen(own, right)) == "auth_success"
    assert asyncio.run(listen(None, right)) == "auth_success"
    assert asyncio.run(listen(f"https://{PUBLIC}", right)) == "auth_success"
    with pytest.raises(websockets.ConnectionClosedError):
        asyncio.run(listen(own, "mill:another password"))
    for foreign in ("https://evil.example", "http://localhost:3000", "null"):
        with pytest.raises(websockets.InvalidStatus, match="403"):
            asyncio.run(listen(foreign, right))


def test_secrets_are_neither_in_arguments_nor_in_files(real: Real) -> None:
    """No password is in a process's arguments, in the record of the stack, or in a log."""
    secrets = [PASSWORD, real.database.password, real.store.secret]
    listed = subprocess.run(
        ["ps", "-A", "-o", "args"], capture_output=True, text=True, check=True
    ).stdout
    assert "flows.servers mlflow" in listed
    assert [each for each in secrets if each in listed] == []
    kept = [path for path in real.layout.state.rglob("*") if path.is_file()]
    found = [path for path in kept if any(each.encode() in path.read_bytes() for each in secrets)]
    assert found == [real.layout.state / "mlflow" / "login.ini"]  # the address of its database
    assert found[0].stat().st_mode & 0o777 == 0o600


def test_postgres_is_killed_and_comes_back(real: Real, make_bundle: Callable[[str], Path]) -> None:
    """Both servers outlive a SIGKILL of Postgres, and write again as soon as it is back."""
    before = stack.status(real.layout, real.settings)
    run = tracking.open_run(real.layout, real.settings, "killed", "killed #1", {}, {})
    real.database.kill()
    assert real.ask(f"{real.settings.prefect_url}/api/ready").status_code == 503
    with pytest.raises(ServiceError):
        tracking.tag_run(run, {"said": "nothing"})
    real.database.start()

    def is_ready() -> bool:
        found = real.ask(f"{real.settings.prefect_url}/api/ready")
        return found.status_code == 200

    deadline = time.monotonic() + _READY_SECONDS
    while not is_ready():
        assert time.monotonic() < deadline
        time.sleep(0.2)
    version = registry.register(real.settings, "killed", make_bundle("killed"), run, {})
    tracking.close_run(run, "FINISHED")
    assert version.number == 1
    with brief_client(real.settings, seconds=20) as client:
        flow = client.create_flow_from_name("killed")
        assert client.read_flow(flow).name == "killed"
    after = stack.up(real.layout, real.settings)
    assert (after.prefect.pid, after.mlflow.pid) == (before.prefect.pid, before.mlflow.pid)


def test_a_new_password_is_the_only_one(real: Real) -> None:
    """After `up` with another password that one lets in, and the old one does not."""
    _change(real, f"mill:{PASSWORD}", "mill:a changed password")


@pytest.mark.slow
def test_a_new_user_is_the_only_one(real: Real) -> None:
    """After `up` with another user the former one is gone, from MLflow's own users as well."""
    _change(real, f"mill:{PASSWORD}", "ops:another password")
    _change(real, "ops:another password", f"mill:{PASSWORD}")


def _change(real: Real, was: str, now: str) -> None:
    settings = real.settings.model_copy(update={"login": SecretStr(now)})
    found = stack.up(real.layout, settings)
    assert (found.prefect.state, found.mlflow.state) == ("up", "up")
    search = "/api/2.0/mlflow/experiments/search?max_results=5"
    for url in (f"{settings.prefect_url}/api/version", f"{settings.mlflow_url}{search}"):
        assert real.ask(url, user=was).status_code == 401
        assert real.ask(url, user=now).status_code == 200


def test_addresses_of_postgres_in_prefects_words() -> None:
    """An address is given once, as Postgres's own tools have it; TLS is asked for as there."""
    given = "postgresql://mill:p%40ss@db.example.com:5433/prefect?sslmode=require&x=1"
    wanted = "postgresql+asyncpg://mill:p%40ss@db.example.com:5433/prefect?ssl=require&x=1"
    assert environments.for_asyncpg(given) == wanted
    assert environments.for_asyncpg("postgresql://h/d") == "postgresql+asyncpg://h/d"


def test_a_server_is_told_its_own_secrets_alone(
    tmp_path: Path, settings_on: Callable[..., Settings]
) -> None:
    """Prefect's server does not get MLflow's database, nor the webhook, nor the other way round."""
    told = {
        "prefect_database": SecretStr("postgresql://a"),
        "mlflow_database": SecretStr("postgresql://b"),
        "notice_webhook": SecretStr("https://hooks.example.com/canary"),
    }
    settings = settings_on().model_copy(update=told)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GANMILL_NOTICE_WEBHOOK", "https://hooks.example.com/canary")
        prefect = environments.given_to("prefect", Layout(tmp_path), settings)
        mlflow = environments.given_to("mlflow", Layout(tmp_path), settings)
    assert prefect["GANMILL_PREFECT_DATABASE"] == "postgresql://a"
    assert mlflow["GANMILL_MLFLOW_DATABASE"] == "postgresql://b"
    ours = {name for name in {**prefect, **mlflow} if name.startswith("GANMILL_")}
    both = {name for name in prefect if name in mlflow and name in ours}
    assert both <= {"GANMILL_HOST", "GANMILL_MLFLOW_SECONDS"}
    assert "GANMILL_NOTICE_WEBHOOK" not in ours
    assert prefect["PATH"] == os.environ["PATH"]
