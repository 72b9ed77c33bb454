"""Tests of what the doctor says of the two servers."""

import base64
from collections.abc import Callable
from datetime import timedelta
from importlib.metadata import version

import pytest

from flows import brief_http
from flows.doctor import servers
from flows.doctor.finding import Finding
from flows.settings import Settings
from gan.errors import ServiceError
from gan.paths import Layout
from tests.flows.doctor.conftest import Pretended

Make = Callable[..., Settings]
Start = Callable[[], Pretended]
SEARCHED = "/api/2.0/mlflow/experiments/search?max_results=1"
LOGIN = "mill:correct-horse-battery"


@pytest.fixture
def both(pretend: Start) -> tuple[Pretended, Pretended]:
    """Return a Prefect and an MLflow server as they should be, as far as they are asked."""
    prefect, mlflow = pretend(), pretend()
    prefect.says |= {"/api/admin/version": (200, version("prefect")), "/api/flows/count": (200, 1)}
    mlflow.says |= {"/version": (200, version("mlflow")), SEARCHED: (200, {"experiments": []})}
    return prefect, mlflow


@pytest.fixture
def judged(
    both: tuple[Pretended, Pretended], workspace: Layout, settings_of: Make
) -> Callable[..., dict[str, Finding]]:
    """Return a function that says what the doctor says of them, by name."""

    def judge(**variables: str) -> dict[str, Finding]:
        prefect, mlflow = both
        addresses = {"PREFECT_API_URL": f"{prefect.url}/api", "MLFLOW_TRACKING_URI": mlflow.url}
        found = servers.servers(workspace, settings_of(**addresses, **variables))
        return {line.name: line for line in found}

    return judge


def test_servers_that_answer_are_fine(judged: Callable[..., dict[str, Finding]]) -> None:
    """Both have a line with version and address, and one about their clock."""
    found = judged()
    assert {line.state for line in found.values()} == {"ok"}
    assert found["Prefect"].says.startswith(version("prefect"))
    assert set(found) == {"Prefect", "Prefect clock", "MLflow", "MLflow clock"}


@pytest.mark.parametrize(
    ("ahead", "state", "says"),
    [
        (timedelta(seconds=2), "ok", "the same"),
        (timedelta(seconds=-25), "warn", "s behind"),
        (timedelta(minutes=30), "bad", "s ahead"),
    ],
)
def test_another_clock_is_told(
    judged: Callable[..., dict[str, Finding]],
    both: tuple[Pretended, Pretended],
    ahead: timedelta,
    state: str,
    says: str,
) -> None:
    """Schedules are kept by the server's clock: one that goes wrong is told with how far."""
    both[0].ahead = ahead
    line = judged()["Prefect clock"]
    assert (line.state, says in line.says) == (state, True), line


def test_another_version_is_told(
    judged: Callable[..., dict[str, Finding]], both: tuple[Pretended, Pretended]
) -> None:
    """Another small version is a warning, another large one bad; both versions are named."""
    small = f"{version('prefect').rpartition('.')[0]}.999"
    both[0].says["/api/admin/version"] = (200, small)
    both[1].says["/version"] = (200, "2.1.0")
    found = judged()
    assert (found["Prefect"].state, small in found["Prefect"].says) == ("warn", True)
    assert (found["MLflow"].state, version("mlflow") in found["MLflow"].says) == ("bad", True)


def test_logins_are_tried(
    judged: Callable[..., dict[str, Finding]], both: tuple[Pretended, Pretended]
) -> None:
    """A refused login is bad, a server that lets everybody in a warning; no secret shows."""
    both[0].login = f"Basic {base64.b64encode(LOGIN.encode()).decode()}"
    found = judged()
    assert found["Prefect"].state == "bad"
    assert "wants a login" in found["Prefect"].says
    found = judged(GANMILL_LOGIN="mill:another-password")
    assert "refuses our login" in found["Prefect"].says
    found = judged(GANMILL_LOGIN=LOGIN)
    assert found["Prefect"].state == "ok"
    assert (found["MLflow"].state, "no login" in found["MLflow"].says) == ("warn", True)
    assert "correct-horse" not in str(found)


def test_a_server_without_its_database_is_bad(
    judged: Callable[..., dict[str, Finding]], both: tuple[Pretended, Pretended]
) -> None:
    """One that answers, and cannot tell anything, does not pass for a sound one."""
    both[0].says["/api/flows/count"] = (500, "")
    line = judged()["Prefect"]
    assert (line.state, "answers 500" in line.says) == ("bad", True)


def test_servers_that_are_away_are_told(workspace: Layout, settings_of: Make) -> None:
    """Ours that were not started are a warning with `ganmill up`; a given one away is bad."""
    found = servers.servers(workspace, settings_of(GANMILL_PREFECT_PORT="1"))
    assert [(line.state, line.mend) for line in found] == [("warn", "ganmill up")] * 2
    address = "http://mill:hunter2-hunter2@127.0.0.1:9/api"
    found = servers.servers(workspace, settings_of(PREFECT_API_URL=address))
    line = found[0]
    assert (line.state, "does not answer" in line.says) == ("bad", True)
    assert "hunter2" not in str(found)


def test_a_busy_server_is_asked_again(pretend: Start, settings_of: Make) -> None:
    """What SQLite answers 503 to now and then is asked three times, within a second."""
    busy = pretend()
    busy.says["/api/flows/count"] = (503, "")
    asked = brief_http.prefect(settings_of(PREFECT_API_URL=f"{busy.url}/api"))
    assert asked.answer("/flows/count", {}).status == 503
    assert busy.asked == ["/api/flows/count"] * 3


def test_a_login_is_for_its_server_alone(pretend: Start, settings_of: Make) -> None:
    """A redirection is an answer, not an order: nobody else is shown the password."""
    here, there = pretend(), pretend()
    here.says["/api/health"] = (302, "")
    asked = brief_http.prefect(settings_of(PREFECT_API_URL=f"{here.url}/api", GANMILL_LOGIN=LOGIN))
    assert asked.answer("/health").status == 302
    assert LOGIN not in repr(asked)
    assert there.says == {}


def test_what_is_no_web_address_is_told(settings_of: Make) -> None:
    """An address that leads into files is refused as any that does not answer."""
    asked = brief_http.mlflow(settings_of(MLFLOW_TRACKING_URI="file:///etc"))
    with pytest.raises(ServiceError, match="must begin with http"):
        asked.answer("/passwd")
