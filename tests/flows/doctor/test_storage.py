"""Tests of what the doctor says of MLflow's store and DVC's remote."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from flows.doctor import storage
from flows.settings import Settings
from gan.paths import Layout
from tests.flows.real_servers import Store, free_port, store

Make = Callable[..., Settings]
CONFIG = "[core]\n    remote = store\n['remote \"store\"']\n    url = {}\n{}"
VERIFY = "    verify = true\n"


@pytest.fixture(scope="module")
def bucket() -> Iterator[Store]:
    """Return a running S3-compatible store."""
    with store() as server:
        yield server


def _configure(layout: Layout, url: str, more: str = VERIFY) -> None:
    (layout.root / ".dvc").mkdir(exist_ok=True)
    (layout.root / ".dvc" / "config").write_text(CONFIG.format(url, more))


def test_a_folder_is_written_to_and_left_as_it_was(workspace: Layout, settings_of: Make) -> None:
    """The default store is tried with a file that goes again; before the first start it is fine."""
    assert storage.artifacts(workspace, settings_of())[0].state == "ok"
    assert not workspace.state.exists()
    place = workspace.state / "mlflow" / "artifacts"
    place.mkdir(parents=True)
    (line,) = storage.artifacts(workspace, settings_of())
    assert (line.state, "written and read back" in line.says) == ("ok", True)
    assert list(place.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_bad(workspace: Layout, settings_of: Make) -> None:
    """A place where nothing can be written is found by trying."""
    (line,) = storage.artifacts(workspace, settings_of(GANMILL_ARTIFACTS="/proc"))
    assert (line.state, "/proc" in line.mend) == ("bad", True)


def test_a_bucket_gets_an_object_and_loses_it(
    workspace: Layout, settings_of: Make, bucket: Store
) -> None:
    """A real store is tried by a round trip, and nothing stays there."""
    given = settings_of(GANMILL_ARTIFACTS=f"s3://{bucket.bucket}/mlflow", **bucket.environment)
    (line,) = storage.artifacts(workspace, given)
    assert (line.state, "removed" in line.says) == ("ok", True), line
    assert not [path for path in bucket.objects.rglob("*") if path.is_file()]


def test_a_bucket_that_refuses_or_is_away_is_bad(
    workspace: Layout, settings_of: Make, bucket: Store
) -> None:
    """A wrong login and a closed port are told within seconds, without the login."""
    wrong = {**bucket.environment, "AWS_SECRET_ACCESS_KEY": "wrong-secret"}
    given = settings_of(GANMILL_ARTIFACTS=f"s3://{bucket.bucket}/mlflow", **wrong)
    (line,) = storage.artifacts(workspace, given)
    assert (line.state, "AWS_" in line.mend) == ("bad", True)
    assert not {"wrong-secret", bucket.secret, bucket.key} & set(str(line).split())
    closed = f"http://127.0.0.1:{free_port()}"
    away = {"AWS_ENDPOINT_URL": closed, "MLFLOW_S3_ENDPOINT_URL": closed}
    began = time.monotonic()
    (line,) = storage.artifacts(workspace, settings_of(**away))
    assert (line.state, "EndpointConnectionError" in line.says) == ("bad", True)
    assert time.monotonic() - began < 8


def test_a_remote_of_this_machine_is_looked_at(workspace: Layout, tmp_path: Path) -> None:
    """A remote that is there and verified is fine; looking makes and locks nothing."""
    _configure(workspace, str(tmp_path / "store"))
    (line,) = storage.data_remote(workspace)
    assert (line.state, "made with the first push" in line.says) == ("ok", True)
    assert {path.name for path in (workspace.root / ".dvc").iterdir()} == {"config"}
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize(
    ("url", "more", "state", "says"),
    [
        ("/tmp", "", "warn", "is not verified"),  # noqa: S108  # any folder
        ("/proc/nothing/here", VERIFY, "bad", "cannot be written"),
        ("nonsense://there", VERIFY, "bad", "nonsense"),
    ],
)
def test_a_remote_that_is_not_as_it_should_be_is_told(
    workspace: Layout, url: str, more: str, state: str, says: str
) -> None:
    """Unverified, unreachable and unknown remotes have a line with the command that mends them."""
    _configure(workspace, url, more)
    (line,) = storage.data_remote(workspace)
    assert (line.state, says in line.says) == (state, True), line
    assert line.mend


def test_no_remote_is_a_warning(workspace: Layout) -> None:
    """Without a second copy the data versions are as safe as this disk."""
    (workspace.root / ".dvc").mkdir()
    (workspace.root / ".dvc" / "config").write_text("[core]\n    analytics = false\n")
    (line,) = storage.data_remote(workspace)
    assert (line.state, "dvc remote add" in line.mend) == ("warn", True)


def test_a_remote_of_the_network_is_asked(
    workspace: Layout, bucket: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An S3 remote is reached with the environment's login, and one that is away is bad."""
    for name, value in bucket.environment.items():
        monkeypatch.setenv(name, value)
    _configure(workspace, f"s3://{bucket.bucket}/dvc")
    (line,) = storage.data_remote(workspace)
    assert line.state == "ok", line
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    closed = f"    endpointurl = http://127.0.0.1:{free_port()}\n{VERIFY}"
    _configure(workspace, f"s3://{bucket.bucket}/dvc", closed)
    (line,) = storage.data_remote(workspace)
    assert line.state == "bad", line
