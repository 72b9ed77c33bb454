"""MLflow's server behind our guard, as `mlflow server` would run it, in one process instead of two.

That command makes the tables, and starts a second process to which it passes what it was told in
variables; the names of these are the one thing that is taken from the inside of MLflow here.
"""

import os
from pathlib import Path
from typing import Any

from flows.servers import environments, schemas, takeover
from flows.servers.guard import GOODBYE_SECONDS, Guard, public_names
from flows.settings import Settings
from gan.durable import replacing
from gan.paths import Layout

_KNOWN_USER = "login.user"  # whom the login was made for last
# An assistant that runs programs on this machine for whoever seems to ask from it, as all do who
# come through a proxy; jobs, and calls to models elsewhere. Training and registry need none of it.
_SHUT = ("/ajax-api/3.0/mlflow/assistant", "/ajax-api/3.0/jobs", "/gateway")
_PROXIED = "mlflow-artifacts:/"  # clients send files to the server, which knows the store


def serve(layout: Layout, settings: Settings) -> None:
    """Serve until a signal ends it.

    Raises:
        ServiceError: The database does not answer, or is of a newer version.
    """
    home = layout.state / "mlflow"
    home.mkdir(parents=True, exist_ok=True)
    told = environments.of_mlflow(settings, os.environ, home)
    for stray in set(os.environ) - set(told):
        del os.environ[stray]
    os.environ.update(told)
    for tables in schemas.of_mlflow(layout, settings):
        if old := schemas.due_upgrade(tables):
            schemas.announce_upgrade(tables, old)
            if tables.owner == "MLflow":  # its login is upgraded as it starts
                _upgrade(told["MLFLOW_BACKEND_STORE_URI"])
    import uvicorn

    app = _application(told, home, settings)
    uvicorn.run(
        Guard(app, public_names(settings), settings.mlflow_port, {"/health"}, _SHUT),
        host=settings.host,
        port=settings.mlflow_port,
        timeout_graceful_shutdown=GOODBYE_SECONDS,
        log_level="warning",
    )


def _application(told: dict[str, str], home: Path, settings: Settings) -> Any:  # FastAPI
    """Return MLflow's application, with its tables made, and with the login if one is asked for."""
    from mlflow.server import constants

    database = told["MLFLOW_BACKEND_STORE_URI"]
    os.environ |= {
        constants.BACKEND_STORE_URI_ENV_VAR: database,
        constants.REGISTRY_STORE_URI_ENV_VAR: database,
        constants.ARTIFACT_ROOT_ENV_VAR: _PROXIED,
        constants.ARTIFACTS_DESTINATION_ENV_VAR: told["MLFLOW_ARTIFACTS_DESTINATION"],
        constants.SERVE_ARTIFACTS_ENV_VAR: "true",
    }
    from mlflow.server.handlers import initialize_backend_stores

    initialize_backend_stores(database, database, _PROXIED)
    if settings.mlflow_database and (rows := takeover.take_over(home / "mlflow.db", database)):
        print(f"ganmill: took over what MLflow kept in SQLite: {rows:,} rows", flush=True)
    if settings.login is None:
        from mlflow.server.fastapi_app import app

        return app
    environments.write_login(settings, home)
    _let_in(home, *settings.login.get_secret_value().split(":", 1))
    from mlflow.server.auth import create_app

    return create_app()


def _upgrade(address: str) -> None:
    from mlflow.db import upgrade

    upgrade.main([address], standalone_mode=False)  # the arguments of a function, not of a process


def _let_in(home: Path, user: str, password: str) -> None:
    """Make the user and password of the setting those of the login; a former user's goes.

    MLflow itself takes a password only as it makes the user, and keeps that one for good.
    """
    from mlflow.server.auth import auth_config, store

    store.init_db(auth_config.database_uri)  # type: ignore[no-untyped-call]
    file = home / _KNOWN_USER
    former = file.read_text() if file.exists() else user
    if former != user and store.has_user(former):
        store.delete_user(former)
    if store.has_user(user) and not store.authenticate_user(user, password):
        store.update_user(user, password=password, is_admin=True)
    with replacing(file) as partial:
        partial.touch(mode=0o600)
        partial.write_text(user)
