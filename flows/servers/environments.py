"""What a server of the stack is told, and how: all of it in its environment, secrets as well.

Whoever lists processes sees their arguments, so that no address with a password is one. `given_to`
is what a starter passes on; `of_prefect` and `of_mlflow` say it in the words of these programs.
"""

import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from pydantic import SecretStr

from flows.servers.guard import public_names
from flows.settings import Settings, quiet_environment
from gan.durable import replacing
from gan.paths import Layout

Name = Literal["prefect", "mlflow"]
_SHARED = ("host", "public_hosts", "public_prefect_url", "public_mlflow_url", "login")
_OWN = {
    "prefect": ("prefect_port", "prefect_database"),
    "mlflow": ("mlflow_port", "mlflow_database", "artifacts"),
}
_STORE = (
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_DEFAULT_REGION",
    "AWS_REGION",
    "AWS_PROFILE",
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT_URL_S3",
    "MLFLOW_S3_ENDPOINT_URL",
)
_LOGIN = "login.ini"
_LOOPBACK = ("localhost", "127.0.0.1", "[::1]")
# Lines of a run that somebody deleted stay in Prefect's tables unless it is asked to look for them.
_LEASES = "prefect.server.concurrency.lease_storage.filesystem"
_VACUUM = "events,orphans"
_STATEMENT_SECONDS, _CONNECTION_SECONDS = "60", "30"


def given_to(name: Name, layout: Layout, settings: Settings) -> dict[str, str]:
    """Return the environment that a server is started with: nothing of the other one's."""
    environment = quiet_environment(settings, layout)
    for each in Settings.model_fields:
        environment.pop(_variable(each), None)
    return {**environment, **settings_of(name, settings)}


def settings_of(name: Name, settings: Settings) -> dict[str, str]:
    """Return the variables that make a server what it is."""
    told = {_variable(each): _said(getattr(settings, each)) for each in (*_SHARED, *_OWN[name])}
    return {variable: value for variable, value in told.items() if value}


def changed(
    name: Name, was: Mapping[str, str], now: Mapping[str, str], *, all_of_it: bool
) -> list[str]:
    """Return the variables by which a server started with `was` is none started with `now`.

    Without `all_of_it`, only those that make it a stranger to who expects the other: its port, its
    login, what it stands on. By which names it may be asked is none of these.
    """
    told = (*_SHARED, *_OWN[name]) if all_of_it else ("login", *_OWN[name])
    watched = [_variable(each) for each in told]
    if all_of_it and now.get("GANMILL_ARTIFACTS", "").startswith("s3://"):
        watched += _STORE
    return [variable for variable in watched if was.get(variable) != now.get(variable)]


def of_prefect(settings: Settings, given: Mapping[str, str]) -> dict[str, str]:
    """Return what Prefect's server is told besides `given`, which wins where it says the same."""
    told = {
        "PREFECT_SERVER_UI_API_URL": "/api",  # pages ask the place that they came from
        "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": ",".join(_own_origins(settings)),
        "PREFECT_SERVER_DATABASE_TIMEOUT": _STATEMENT_SECONDS,
        "PREFECT_SERVER_DATABASE_CONNECTION_TIMEOUT": _CONNECTION_SECONDS,
        "PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED": _VACUUM,
        # Who works in which place: in memory a restart would forget it, and leave the place taken.
        "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": _LEASES,
    }
    ours = {
        "PREFECT_SERVER_API_HOST": settings.host,
        "PREFECT_SERVER_API_PORT": str(settings.prefect_port),
    }
    if settings.login:
        ours["PREFECT_SERVER_API_AUTH_STRING"] = settings.login.get_secret_value()
    if settings.prefect_database:
        address = settings.prefect_database.get_secret_value()
        ours["PREFECT_SERVER_DATABASE_CONNECTION_URL"] = for_asyncpg(address)
    return {**told, **given, **ours}


def of_mlflow(settings: Settings, given: Mapping[str, str], home: Path) -> dict[str, str]:
    """Return what MLflow's server is told; its own files lie in `home`."""
    database = settings.mlflow_database
    ours = {
        "MLFLOW_BACKEND_STORE_URI": (
            database.get_secret_value() if database else f"sqlite:///{home / 'mlflow.db'}"
        ),
        "MLFLOW_ARTIFACTS_DESTINATION": settings.artifacts or str(home / "artifacts"),
        "MLFLOW_SERVER_ALLOWED_HOSTS": ",".join(_own_hosts(settings)),
        "MLFLOW_SERVER_CORS_ALLOWED_ORIGINS": ",".join(
            _public_origins(settings, settings.mlflow_port)
        ),
        # Eight helper processes of 160 MB each for LLM jobs, which outlive their server.
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "_MLFLOW_SGI_NAME": "uvicorn",
    }
    if settings.login:
        user, _, password = settings.login.get_secret_value().partition(":")
        ours["MLFLOW_AUTH_CONFIG_PATH"] = str(home / _LOGIN)
        ours["MLFLOW_AUTH_ADMIN_USERNAME"] = user
        ours["MLFLOW_AUTH_ADMIN_PASSWORD"] = password
        ours["MLFLOW_FLASK_SERVER_SECRET_KEY"] = secrets.token_hex(32)
    # A server that is told where a server is would ask that one.
    stray = {"MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI", "MLFLOW_REGISTRY_STORE_URI"}
    return {**{key: value for key, value in given.items() if key not in stray}, **ours}


def write_login(settings: Settings, home: Path) -> None:
    """Write the file that MLflow's login reads; it may hold a password, so only its owner reads it.

    Who is not the user of `GANMILL_LOGIN`, and was made on MLflow's own page, may look.
    """
    database = settings.mlflow_database
    address = database.get_secret_value() if database else f"sqlite:///{home / 'login.db'}"
    told = {
        "default_permission": "READ",
        "database_uri": address,
        "authorization_function": "mlflow.server.auth:authenticate_request_basic_auth",
        # Hashing a password takes longer than most answers; the one process of the server forgets
        # what it remembers when a password is changed.
        "auth_cache_ttl_seconds": "60",
    }
    lines = [f"{key} = {value.replace('%', '%%')}" for key, value in told.items()]
    with replacing(home / _LOGIN) as partial:
        partial.touch(mode=0o600)
        partial.write_text("\n".join(["[mlflow]", *lines, ""]))


def for_asyncpg(address: str) -> str:
    """Return the address of a Postgres database in the words of Prefect's driver."""
    rest = address.removeprefix("postgresql://")
    place, mark, query = rest.partition("?")
    words = [word.replace("sslmode=", "ssl=", 1) for word in query.split("&")] if mark else []
    return f"postgresql+asyncpg://{place}{mark}{'&'.join(words)}"


def _variable(field: str) -> str:
    return f"GANMILL_{field.upper()}"


def _said(value: Any) -> str:
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    return "" if value is None else str(value)


def _own_hosts(settings: Settings) -> list[str]:
    """Return MLflow's patterns of the Host header: our names, at any port."""
    names = [*_LOOPBACK, *_bracketed(public_names(settings))]
    return [*names, *(f"{name.replace('[', '[[]', 1)}:*" for name in names)]


def _own_origins(settings: Settings) -> list[str]:
    """Return where pages come from that may ask Prefect's server."""
    port = settings.prefect_port
    return [*(f"http://{name}:{port}" for name in _LOOPBACK), *_public_origins(settings, port)]


def _public_origins(settings: Settings, port: int) -> list[str]:
    """Return where our pages are seen: at a proxy as it was told to us, or at our own port.

    Whole, without patterns: a library behind takes a pattern for the beginning of a name.
    """
    told = [
        urlsplit(each) for each in (settings.public_prefect_url, settings.public_mlflow_url) if each
    ]
    exact = [f"{each.scheme}://{each.netloc}" for each in told]
    names = _bracketed(public_names(settings))
    given = [each.strip().lower() for each in settings.public_hosts.split(",")]
    places = [*names, *(each for each in given if each.count(":") == 1)]
    proxied = [f"{scheme}://{place}" for place in places for scheme in ("https", "http")]
    return list(dict.fromkeys([*exact, *proxied, *(f"http://{name}:{port}" for name in names)]))


def _bracketed(names: frozenset[str]) -> list[str]:
    return [f"[{name}]" if ":" in name else name for name in sorted(names)]
