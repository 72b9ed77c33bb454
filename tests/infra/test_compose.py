"""The compose file: closed services, secrets as files, one door, and what its scripts do."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from flows.settings import Settings
from tests.flows.real_servers import Postgres, free_port, postgres

INFRA = Path(__file__).resolve().parents[2] / "infra"
Service = dict[str, Any]  # of YAML
COMPOSE = YAML(typ="safe", pure=True).load(INFRA / "compose.yaml")
SERVICES: dict[str, Service] = COMPOSE["services"]
OURS = {name for name, each in SERVICES.items() if each["image"].startswith("ganmill:")}


def _tool() -> list[str] | None:
    """Return a compose that can read files; it needs no engine for that."""
    for command in (["docker", "compose"], ["docker-compose"]):
        if shutil.which(command[0]):
            done = subprocess.run([*command, "version"], capture_output=True, check=False)
            if done.returncode == 0:
                return command
    return None


@pytest.mark.parametrize("files", [["compose.yaml"], ["compose.yaml", "compose.outside.yaml"]])
def test_compose_reads_it(files: list[str]) -> None:
    """Compose itself finds nothing wrong, with and without the way out."""
    tool = _tool()
    if tool is None:
        pytest.skip("docker compose is not on this machine")
    named = [word for name in files for word in ("-f", str(INFRA / name))]
    done = subprocess.run(
        [*tool, *named, "config", "-q"], capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_may_do_nothing_that_it_need_not(name: str) -> None:
    """Read-only root, no capability, no new rights, limits on memory and processes, no engine."""
    service = SERVICES[name]

    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["mem_limit"]
    assert service["pids_limit"]
    assert any(each.startswith("/tmp:") for each in service["tmpfs"])  # noqa: S108
    assert not {"privileged", "cap_add", "pid", "ipc", "devices"} & service.keys()
    assert not any("docker.sock" in str(each) for each in service.get("volumes", ()))
    assert service["user"] != "0:0" or name == "store"
    assert service["user"] == "10001:10001" or name not in OURS


@pytest.mark.parametrize("name", SERVICES)
def test_images_have_exact_versions(name: str) -> None:
    """No tag of an image moves with the month."""
    image, _, tag = SERVICES[name]["image"].partition(":")

    assert tag == "${GANMILL_VERSION:-0.1.0}" if image == "ganmill" else tag.count(".") >= 1
    assert "latest" not in tag


def test_only_the_proxy_can_be_reached() -> None:
    """Nothing but the proxy publishes a port, and nothing else stands on the outer network."""
    published = {name for name, each in SERVICES.items() if "ports" in each}
    outside = {name for name, each in SERVICES.items() if "outside" in each.get("networks", ())}

    assert published == outside == {"proxy"}
    assert COMPOSE["networks"]["inside"] == {"internal": True}
    assert all(each.get("networks") or each["network_mode"] == "none" for each in SERVICES.values())


def test_secrets_are_files_and_each_service_has_its_own() -> None:
    """No password stands in an environment; databases' are known to Postgres and their servers."""
    knows = {name: set(each.get("secrets", ())) for name, each in SERVICES.items()}
    databases = {"ganmill_prefect_database", "ganmill_mlflow_database"}
    for name, each in SERVICES.items():
        told = {key for key in each.get("environment") or {} if "GANMILL" in key}
        assert not {"GANMILL_LOGIN", *(one.upper() for one in databases)} & told, name
        assert knows[name] <= set(COMPOSE["secrets"])

    assert {n for n in knows if knows[n] & databases} == {"postgres", "prefect", "mlflow", "backup"}
    assert "ganmill_mlflow_database" not in knows["prefect"]
    assert "ganmill_prefect_database" not in knows["mlflow"]
    assert all(each["file"].startswith("./secrets/") for each in COMPOSE["secrets"].values())


def test_settings_are_settings() -> None:
    """Every GANMILL_ variable that a service is given is one that the program reads."""
    given = {key for each in SERVICES.values() for key in each.get("environment") or {}}
    ours = {key for key in given if key.startswith("GANMILL_")} - {"GANMILL_SECRETS"}

    assert {key.removeprefix("GANMILL_").lower() for key in ours} <= set(Settings.model_fields)


def test_secrets_are_made_once_and_kept(tmp_path: Path) -> None:
    """`secrets.sh` makes every secret that no person has to bring, and renews none."""
    shutil.copy(INFRA / "secrets.sh", tmp_path)
    (tmp_path / "secrets").mkdir()
    command = ["sh", str(tmp_path / "secrets.sh")]
    subprocess.run(command, check=True, capture_output=True)
    made = {path.name: path.read_text() for path in (tmp_path / "secrets").iterdir()}
    told = subprocess.run(command, check=True, capture_output=True, text=True).stdout

    assert {*made, "tls_certificate", "tls_key"} == set(COMPOSE["secrets"])
    assert {path.name: path.read_text() for path in (tmp_path / "secrets").iterdir()} == made
    assert (tmp_path / "secrets").stat().st_mode & 0o077 == 0
    assert not any(value.strip() in told for value in made.values())
    assert len(set(made.values())) == len(made)
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("GANMILL_")]:
            patch.delenv(name)
        patch.setenv("GANMILL_SECRETS", str(tmp_path / "secrets"))
        patch.setenv("GANMILL_HOST", "0.0.0.0")  # noqa: S104  # which needs the login to be there
        from flows.settings import load_settings

        settings = load_settings()
    assert settings.login is not None
    assert settings.prefect_database is not None
    assert settings.prefect_database.get_secret_value().endswith("@postgres:5432/prefect")


@pytest.fixture(scope="module")
def database() -> Iterator[Postgres]:
    """Yield a Postgres that nobody has used."""
    with postgres() as server:
        yield server


def test_each_server_has_a_database_of_its_own(database: Postgres, tmp_path: Path) -> None:
    """The users that the script makes own their database and cannot open the other one."""
    for name in ("prefect", "mlflow"):
        address = f"postgresql://{name}:pass'{name}@127.0.0.1:{database.port}/{name}"
        (tmp_path / f"ganmill_{name}_database").write_text(f"{address}\n")
    environment = {
        **os.environ,
        "PATH": f"{database.programs}:{os.environ['PATH']}",
        "SECRETS": str(tmp_path),
        "POSTGRES_USER": "mill",
        "PGHOST": "127.0.0.1",
        "PGPORT": str(database.port),
        "PGPASSWORD": database.password,
    }
    command = ["sh", str(INFRA / "postgres" / "databases.sh")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr

    def ask(user: str, name: str, sql: str) -> "subprocess.CompletedProcess[str]":
        words = ["psql", "-XAt", "-h", "127.0.0.1", "-p", str(database.port), "-U", user]
        return subprocess.run(
            [*words, "-d", name, "-c", sql],
            env={**environment, "PGPASSWORD": f"pass'{user}"},
            capture_output=True,
            text=True,
            check=False,
        )

    assert ask("prefect", "prefect", "create table t (n int)").returncode == 0
    assert ask("mlflow", "mlflow", "create extension pg_trgm").returncode == 0  # Prefect's, too
    assert "permission denied" in ask("mlflow", "prefect", "select 1").stderr
    assert "pass'" not in done.stdout + done.stderr


def test_the_store_speaks_s3_with_that_login(tmp_path: Path) -> None:
    """The store to try things with lets in who has the credentials, and keeps objects as files."""
    rclone = Path(sys.executable).parent
    (tmp_path / "aws_credentials").write_text(
        "[default]\naws_access_key_id = key1\naws_secret_access_key = secret1\n"
    )
    port = free_port()
    words = [str(tmp_path / "aws_credentials"), str(tmp_path / "data"), f"127.0.0.1:{port}"]
    command = ["sh", str(INFRA / "container" / "store.sh"), *words]
    environment = {**os.environ, "PATH": f"{rclone}:{os.environ['PATH']}"}
    with (tmp_path / "log").open("wb") as log:
        store = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    try:
        assert _put(port, "key1", "secret1") == 200
        assert _put(port, "key1", "another") == 403
    finally:
        store.terminate()
        store.wait(10)
    assert (tmp_path / "data" / "mill" / "tried").read_bytes() == b"here"


def _put(port: int, key: str, secret: str) -> int:
    """Write an object as MLflow's server would; return the status."""
    import boto3  # type: ignore[import-untyped]  # it has no types
    from botocore.config import Config  # type: ignore[import-untyped]
    from botocore.exceptions import ClientError  # type: ignore[import-untyped]

    client = boto3.client(
        "s3",
        endpoint_url=f"http://127.0.0.1:{port}",
        aws_access_key_id=key,
        aws_secret_access_key=secret,
        region_name="us-east-1",
        config=Config(retries={"max_attempts": 10, "mode": "standard"}, proxies={}),
    )
    try:
        done = client.put_object(Bucket="mill", Key="tried", Body=b"here")
    except ClientError as error:
        done = error.response
    return int(json.loads(json.dumps(done["ResponseMetadata"]["HTTPStatusCode"])))
