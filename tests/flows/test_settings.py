"""The environment: embedded defaults, one line for what is wrong, nothing sent home."""

import re
from pathlib import Path

import pytest

from flows.settings import Settings, load_settings, quiet_environment, workspace
from gan.errors import UsageError
from gan.paths import Layout


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PREFECT_API_URL", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)
    for name in Settings.model_fields:
        monkeypatch.delenv(f"GANMILL_{name.upper()}", raising=False)


def test_defaults_are_loopback() -> None:
    """Without a setting, both servers are local."""
    settings = load_settings()

    assert settings.prefect_url == "http://127.0.0.1:4200"
    assert settings.mlflow_url == "http://127.0.0.1:5000"


def test_given_addresses_are_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """A given server's address is taken with or without its trailing parts."""
    monkeypatch.setenv("PREFECT_API_URL", "http://prefect:4200/api/")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://mlflow:5000/")

    assert load_settings().prefect_url == "http://prefect:4200"
    assert load_settings().mlflow_url == "http://mlflow:5000"


@pytest.mark.parametrize("value", ["0", "65536", "many", ""])
def test_an_impossible_port_is_named(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    """The message names the variable as it is written in the environment."""
    monkeypatch.setenv("GANMILL_MLFLOW_PORT", value)

    with pytest.raises(UsageError, match=r"^GANMILL_MLFLOW_PORT: "):
        load_settings()


def test_whoever_is_logged_in_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    """The actor is GANMILL_ACTOR, else the login name, else "somebody", never an empty name."""
    monkeypatch.setenv("LOGNAME", "ada")
    assert load_settings().actor == "ada"
    monkeypatch.setenv("GANMILL_ACTOR", "Bo Li")
    assert load_settings().actor == "Bo Li"
    monkeypatch.delenv("GANMILL_ACTOR")
    monkeypatch.setenv("LOGNAME", " ")
    assert load_settings().actor == "somebody"


def test_a_user_without_a_name_is_somebody(monkeypatch: pytest.MonkeyPatch) -> None:
    """A container often runs under a user id that no password file knows."""
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("os.getuid", lambda: 2_000_000_001)

    assert load_settings().actor == "somebody"


@pytest.mark.parametrize("value", ["", "  ", "a\nb"])
def test_an_actor_without_a_name_is_refused(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    """Who is written into the record can be read there, in one line."""
    monkeypatch.setenv("GANMILL_ACTOR", value)

    with pytest.raises(UsageError, match=r"^GANMILL_ACTOR: "):
        load_settings()


@pytest.mark.parametrize("value", ["https://hooks.example.com/a/token", "http://127.0.0.1:8/x"])
def test_a_webhook_is_kept_secret(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    """Its address is used and never shown."""
    monkeypatch.setenv("GANMILL_NOTICE_WEBHOOK", value)
    settings = load_settings()

    assert settings.notice_webhook is not None
    assert settings.notice_webhook.get_secret_value() == value
    assert value not in f"{settings} {settings!r}"


@pytest.mark.parametrize(
    "value",
    ["ftp://tok3n@h/", "file:///tok3n", "tok3n", "http://", "http://[tok3n", "http://h:0/tok3n"],
)
def test_another_kind_of_address_is_refused_unseen(
    monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    """The message names the variable; neither it nor what it came from quotes the secret."""
    monkeypatch.setenv("GANMILL_NOTICE_WEBHOOK", value)

    with pytest.raises(UsageError, match=r"^GANMILL_NOTICE_WEBHOOK: must be a web addr") as caught:
        load_settings()
    assert caught.value.__suppress_context__
    assert caught.value.__cause__ is None
    assert "tok3n" not in str(caught.value)


@pytest.mark.parametrize("value", ["0", "-1", "inf", "nan", "soon"])
def test_waiting_for_mlflow_takes_some_seconds(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    """Ten by default; nobody waits for ever, or not at all."""
    assert load_settings().mlflow_seconds == 10.0
    monkeypatch.setenv("GANMILL_MLFLOW_SECONDS", value)

    with pytest.raises(UsageError, match=r"^GANMILL_MLFLOW_SECONDS: "):
        load_settings()


def test_every_setting_is_in_the_example() -> None:
    """`infra/env.example` names each variable, commented out, and its default where it has one."""
    example = (Path(__file__).parents[2] / "infra" / "env.example").read_text()
    shown = dict(re.findall(r"^#([A-Z_]+)=(.*)$", example, flags=re.MULTILINE))
    fields = Settings.model_fields.items()
    own = {f"GANMILL_{name.upper()}": field for name, field in fields if not field.validation_alias}

    heartbeat = "PREFECT_FLOWS_HEARTBEAT_FREQUENCY"
    others = {"PREFECT_API_URL", "MLFLOW_TRACKING_URI", "GANMILL_SECRETS", heartbeat}
    assert set(shown) == {*own, *others}
    for name, field in own.items():
        if isinstance(field.default, int | float):
            assert float(shown[name]) == field.default
    assert quiet_environment(load_settings(), Layout(Path("/w")))[heartbeat] == shown[heartbeat]


def test_secrets_may_lie_in_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder with a file for each secret does, as containers get them; the environment wins."""
    (tmp_path / "ganmill_login").write_text("mill:a-long-password")
    monkeypatch.setenv("GANMILL_SECRETS", str(tmp_path))
    found = load_settings().login
    assert found is not None
    assert found.get_secret_value() == "mill:a-long-password"
    assert "a-long" not in repr(load_settings())
    monkeypatch.setenv("GANMILL_LOGIN", "other:another-password")
    won = load_settings().login
    assert won is not None
    assert won.get_secret_value() == "other:another-password"


@pytest.mark.parametrize("value", ["mill", "mill:short", ":a-long-password"])
def test_a_login_is_a_user_and_a_long_password(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is no login is refused by name, and never quoted."""
    monkeypatch.setenv("GANMILL_LOGIN", value)
    with pytest.raises(UsageError, match=r"^GANMILL_LOGIN: .*12 characters") as failure:
        load_settings()
    assert "short" not in str(failure.value)


def test_servers_are_exposed_with_a_login_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Listening beyond loopback without a login is refused before anything is started."""
    monkeypatch.setenv("GANMILL_HOST", "0.0.0.0")  # noqa: S104  # it is refused
    with pytest.raises(UsageError, match=r"^GANMILL_HOST exposes .* GANMILL_LOGIN must be set"):
        load_settings()
    monkeypatch.setenv("GANMILL_LOGIN", "mill:a-long-password")
    environment = quiet_environment(load_settings(), Layout(Path("/w")))
    assert environment["PREFECT_API_AUTH_STRING"] == "mill:a-long-password"
    assert environment["MLFLOW_TRACKING_USERNAME"] == "mill"


def test_runs_say_often_that_they_are_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every 30 s by default, which Prefect takes, or as often as the user says."""
    from prefect.settings.models.root import Settings as PrefectSettings

    name = "PREFECT_FLOWS_HEARTBEAT_FREQUENCY"
    monkeypatch.delenv(name, raising=False)
    given = quiet_environment(load_settings(), Layout(Path("/w")))
    monkeypatch.setenv(name, given[name])
    assert PrefectSettings().flows.heartbeat_frequency == 30

    monkeypatch.setenv(name, "60")
    assert quiet_environment(load_settings(), Layout(Path("/w")))[name] == "60"


def test_children_are_told_where_servers_are_and_to_be_quiet() -> None:
    """Analytics are off, pickles refused, and state stays in the workspace."""
    environment = quiet_environment(load_settings(), Layout(Path("/w")))

    assert environment["PREFECT_API_URL"] == "http://127.0.0.1:4200/api"
    assert environment["PREFECT_HOME"] == "/w/.ganmill/prefect"
    assert environment["MLFLOW_DISABLE_TELEMETRY"] == "true"
    assert environment["MLFLOW_ALLOW_PICKLE_DESERIALIZATION"] == "false"
    assert environment["PREFECT_SERVER_ANALYTICS_ENABLED"] == "false"
    assert environment["DVC_NO_ANALYTICS"] == "1"


def test_the_workspace_is_found_from_below(tmp_path: Path) -> None:
    """Commands work in any folder of a workspace, and say so when there is none."""
    (tmp_path / "params.yaml").write_text("recipes: {}\n")
    (tmp_path / "a" / "b").mkdir(parents=True)

    assert workspace(tmp_path / "a" / "b").root == tmp_path
    with pytest.raises(UsageError, match=r"no params\.yaml here or above"):
        workspace(Path("/proc"))
