"""A canary in every secret: whatever is done with it, it comes out nowhere.

Each secret setting of a mill on real servers (login, both databases, the store, the webhook, the
address of weights, the keys that sign and mark) is a word that stands nowhere else. The mill works
and fails in the ways that it can; then all that it wrote, said, sent and showed is searched.
"""

import base64
import json
import os
import subprocess
import time
import urllib.request
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from flows.cli import app
from flows.settings import load_settings
from gan.errors import UsageError
from tests.faults import living
from tests.faults.canaries import USER, Hunt, canary, content, watching, webhook, write_keys
from tests.flows.real_servers import postgres, store

# What holds a secret because that is what it is for, and that its owner alone may read.
MAY_HOLD = {".ganmill/mlflow/login.ini", ".dvc/config.local"}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("GANMILL_LOGIN", "{0}"),
        ("GANMILL_LOGIN", "{0}:short"),
        ("GANMILL_PREFECT_DATABASE", "mysql://mill:{0}@db/x"),
        ("GANMILL_MLFLOW_DATABASE", "{0}"),
        ("GANMILL_NOTICE_WEBHOOK", "ftp://hooks.example.com/{0}"),
        ("GANMILL_NOTICE_WEBHOOK", "https://[{0}"),
    ],
)
def test_a_secret_that_is_wrong_is_not_repeated(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The line names the setting; neither it nor what it came from quotes the value."""
    secret = canary("wrong")
    monkeypatch.setenv(name, value.format(secret))
    with pytest.raises(UsageError, match=name) as caught:
        load_settings()

    error: BaseException | None = caught.value
    while error is not None:
        assert secret not in f"{error!s}{error!r}"
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def test_no_help_shows_a_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    """`--help` of every command, with every secret set, names variables and no values."""
    planted = {"LOGIN": "ada:{0}", "NOTICE_WEBHOOK": "https://hooks.example.com/{0}"}
    planted |= dict.fromkeys(("PREFECT_DATABASE", "MLFLOW_DATABASE"), "postgresql://a:{0}@db/x")
    planted |= {"INCEPTION_WEIGHTS": "https://a:{0}@example.com/w.pth"}
    secret, runner = canary("help"), CliRunner()
    for name, value in planted.items():
        monkeypatch.setenv(f"GANMILL_{name}", value.format(secret))
    asked = 0
    for words in _commands():
        said = runner.invoke(app, [*words, "--help"])
        assert said.exit_code == 0, words
        assert secret not in said.output, words
        asked += 1
    assert asked > 40


def _commands() -> Iterator[list[str]]:
    """Yield the words of every command and group of commands."""

    def below(command: object, words: list[str]) -> Iterator[list[str]]:
        yield words
        for name, each in getattr(command, "commands", {}).items():
            yield from below(each, [*words, name])

    yield from below(get_command(app), [])


@pytest.fixture(scope="module")
def hunt(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hunt]:
    """Return a mill on Postgres and S3, with a login, that worked, failed, and was stopped."""
    folder = tmp_path_factory.mktemp("secrets")
    mill = living.make(folder / "mill")
    mill.write(kimg=1, schedule='{retrain: "0 3 1 1 *"}')
    kept = tmp_path_factory.mktemp("keys")  # the user's own: not searched
    with postgres() as database, store() as s3, webhook() as (port, posted):
        keys, canaries = write_keys(kept)
        canaries |= {name: canary(name) for name in ("login", "webhook", "weights")}
        canaries |= {"postgres": database.password, "s3": s3.secret}
        for name in ("home", "tmp"):
            (folder / name).mkdir()
        told = {
            **{key: value for key, value in os.environ.items() if not key.startswith("AWS_")},
            **mill.environment,
            **s3.environment,
            **keys,
            "GANMILL_LOGIN": f"{USER}:{canaries['login']}",
            "GANMILL_PREFECT_DATABASE": database.create("prefect"),
            "GANMILL_MLFLOW_DATABASE": database.create("mlflow"),
            "GANMILL_ARTIFACTS": f"s3://{s3.bucket}/mlflow",
            "GANMILL_NOTICE_WEBHOOK": f"http://127.0.0.1:{port}/{canaries['webhook']}",
            "GANMILL_INCEPTION_WEIGHTS": f"http://ada:{canaries['weights']}@127.0.0.1:9/w.pth",
            "HOME": str(folder / "home"),
            "TMPDIR": str(folder / "tmp"),
        }
        made = living.Mill(mill.layout, told)
        hunting = Hunt(made, canaries, database, s3, folder, posted)
        _keep_data_in_the_store(hunting)
        with watching(hunting):
            try:
                _work(hunting)
                _fail(hunting)
            finally:
                hunting.run("down")
        yield hunting


def _keep_data_in_the_store(hunt: Hunt) -> None:
    """Point DVC's remote to the store, with its login in DVC's own local configuration."""
    root, s3 = hunt.mill.layout.root, hunt.store
    remote = {
        "url": f"s3://{s3.bucket}/dvc",
        "endpointurl": s3.endpoint,
        "access_key_id": s3.key,
        "secret_access_key": s3.secret,
    }
    rows = [f"    {name} = {value}\n" for name, value in remote.items()]
    local = root / ".dvc" / "config.local"
    local.touch(mode=0o600)
    local.write_text("".join(["['remote \"store\"']\n", *rows]))


def _work(hunt: Hunt) -> None:
    """Do all that goes well."""
    hunt.run("up")
    hunt.run("retrain", "tiny")
    hunt.run("generate", "tiny", "--count", "6", "--slot", "hunt")
    batch = next(hunt.mill.layout.batches("tiny").glob("hunt-*"))
    hunt.run("publish", str(batch), "--to", f"s3://{hunt.store.bucket}/assets")
    for words in ("verify assets/tiny", "status", "status --json", "recipes", "schedule", "ledger"):
        hunt.run(*words.split())
    hunt.run("backup", str(hunt.folder / "backup.tar"))
    hunt.run("metrics")
    for word in ("doctor", "alerts"):
        hunt.run(word, ends=(0, 1))  # what they find is theirs to say


def _fail(hunt: Hunt) -> None:
    """Let things go wrong that speak of what the secrets belong to."""
    hunt.run("extractor", "add", "inception", ends=(1, 2))  # nobody answers at that address
    batch = next(hunt.mill.layout.batches("tiny").glob("hunt-*"))
    hunt.run("publish", str(batch), "--to", "s3://no-such-bucket/assets", ends=(1, 2))
    elsewhere = f"s3://{hunt.store.bucket}/elsewhere"
    other = {"AWS_SECRET_ACCESS_KEY": canary("other")}
    hunt.run("publish", str(batch), "--to", elsewhere, ends=(1, 2), **other)
    hunt.run("status", ends=(0, 1), GANMILL_LOGIN=f"{USER}:another {canary('other')}")
    params = hunt.mill.layout.params.read_text()
    hunt.mill.layout.params.write_text(params.replace("min_images: 100,", "min_images: 1000000,"))
    hunt.run("retrain", "tiny", ends=(3,))
    hunt.mill.layout.params.write_text(params)
    hunt.database.kill()
    for words in ("status", "doctor", "retrain tiny", "generate tiny --slot away"):
        hunt.run(*words.split(), ends=(0, 1, 2))
    hunt.database.start()


faults = pytest.mark.faults


@faults
@pytest.mark.timeout(2400)
def test_nothing_that_was_said_or_shown_or_sent_holds_a_secret(hunt: Hunt) -> None:
    """Not what commands said, nor notices to the webhook, nor the arguments of any process."""
    assert hunt.seen == set()
    assert [text for text in hunt.said if hunt.found(text.encode())] == []
    assert hunt.posted != []
    assert [text for text in hunt.posted if hunt.found(text)] == []


@faults
def test_no_file_holds_a_secret(hunt: Hunt) -> None:
    """Workspace, home, temporary files, backup, artifacts, data and assets, archives unpacked.

    Two files are for secrets: DVC's local configuration, which the user wrote, and what MLflow's
    login reads; others cannot read them.
    """
    root = hunt.mill.layout.root
    places = {hunt.folder: hunt.folder, hunt.store.folder / "buckets": hunt.store.folder}
    found: dict[str, list[str]] = {}
    for place, above in places.items():
        for path in place.rglob("*"):
            if path.is_file() and not path.is_symlink() and (names := hunt.found(content(path))):
                below = root if path.is_relative_to(root) else above
                found[path.relative_to(below).as_posix()] = names
                assert path.stat().st_mode & 0o077 == 0, path
    assert set(found) <= MAY_HOLD, found


@faults
def test_no_table_holds_a_secret(hunt: Hunt) -> None:
    """Runs, logs, parameters, blocks, job variables, tags and metrics of both databases."""
    for name in ("prefect", "mlflow"):
        dump = hunt.database.run("pg_dump", "--inserts", name)
        assert len(dump) > 10_000
        assert [line for line in dump.splitlines() if hunt.found(line.encode())] == []


@faults
@pytest.mark.timeout(600)
def test_no_page_shows_a_secret(hunt: Hunt) -> None:
    """To those who are logged in either: settings, deployments, pools, blocks, experiments."""
    hunt.run("up")
    try:
        for page in _pages(hunt):
            assert hunt.found(page) == []
    finally:
        hunt.run("down")


def _pages(hunt: Hunt) -> Iterator[bytes]:
    """Yield what the servers and the monitor answer."""
    ports = {name: hunt.mill.environment[f"GANMILL_{name}_PORT"] for name in _ASKED}
    login = base64.b64encode(f"{USER}:{hunt.canaries['login']}".encode()).decode()
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    for name, paths in _ASKED.items():
        for path, body in paths.items():
            request = urllib.request.Request(
                f"http://127.0.0.1:{ports[name]}{path}",
                None if body is None else json.dumps(body).encode(),
                {"Content-Type": "application/json", "Authorization": f"Basic {login}"},
            )
            with opener.open(request, timeout=60) as answer:
                yield answer.read()


_ASKED: Mapping[str, Mapping[str, dict[str, object] | None]] = {
    "PREFECT": {
        "/api/admin/settings": None,
        "/api/deployments/filter": {},
        "/api/work_pools/filter": {},
        "/api/block_documents/filter": {"include_secrets": True},
        "/api/variables/filter": {},
        "/api/automations/filter": {},
        "/api/flow_runs/filter": {"limit": 200},
        "/api/logs/filter": {"limit": 200},
    },
    "MLFLOW": {
        "/api/2.0/mlflow/experiments/search": {"max_results": 50},
        "/api/2.0/mlflow/runs/search": {"experiment_ids": ["1"], "max_results": 50},
    },
    "METRICS": {"/metrics": None, "/": None},
}


@faults
def test_the_hunter_finds(hunt: Hunt, tmp_path: Path) -> None:
    """A canary in a file, an archive, a header, an argument of a process: each is found."""
    plain, packed = tmp_path / "plain", tmp_path / "packed.zip"
    plain.write_text(f"password={hunt.canaries['s3']}")
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x", f"{hunt.canaries['postgres']}" * 9)
    header = base64.b64encode(f"{USER}:{hunt.canaries['login']}".encode())
    assert [hunt.found(content(path)) for path in (plain, packed)] == [["s3"], ["postgres"]]
    assert hunt.found(b"Authorization: Basic " + header) == ["login"]

    blind = Hunt(hunt.mill, hunt.canaries, hunt.database, hunt.store, hunt.folder, [])
    with watching(blind):
        subprocess.run(["sh", "-c", "sleep 0.5", hunt.canaries["webhook"]], check=True)
        time.sleep(0.1)
    assert len(blind.seen) == 1
