"""Where services live and what they may be told: the environment, read once, never a recipe.

GANMILL_PREFECT_PORT   port of the local Prefect server   (4200)
GANMILL_MLFLOW_PORT    port of the local MLflow server    (5000)
GANMILL_METRICS_PORT   port of the monitor, for Prometheus       (9464)
PREFECT_API_URL        use this Prefect server, not the local one
MLFLOW_TRACKING_URI    use this MLflow server, not the local one

GANMILL_HOST                the address that our servers listen on   (127.0.0.1)
GANMILL_PUBLIC_HOSTS        names by which they may be asked, with commas between   (none)
GANMILL_PUBLIC_PREFECT_URL  where people see Prefect's pages, say https://... of a proxy   (none)
GANMILL_PUBLIC_MLFLOW_URL   where people see MLflow's pages   (none)
GANMILL_LOGIN               user:password of both servers, asked for by ours; a secret   (none)
GANMILL_PREFECT_DATABASE    postgresql://... of the local Prefect server; a secret   (SQLite)
GANMILL_MLFLOW_DATABASE     postgresql://... of the local MLflow server; a secret   (SQLite)
GANMILL_ARTIFACTS           folder or s3://bucket/prefix of MLflow's artifacts   (a local folder)
GANMILL_TRAININGS           trainings at once on this machine   (1)

GANMILL_ACTOR             who decides, where nobody is named with --by   (the login name)
GANMILL_NOTICE_WEBHOOK    http or https address that every notice is posted to; a secret   (none)
GANMILL_MLFLOW_SECONDS    the longest that one call may wait for MLflow   (10)

GANMILL_INCEPTION_WEIGHTS    path or address of the FID network's file, for `ganmill extractor add`
GANMILL_DOWNLOAD             1: torchvision may fetch its data sets from their makers   (0)
GANMILL_DASK_SCHEDULER       address of a Dask scheduler whose machines look at the images and
                             mint   (none)

GANMILL_MINT_WORKERS           threads that mint on this machine   (one for each processor)
GANMILL_SIGNING_CERTIFICATE    PEM file of the certificates that sign assets, yours first
GANMILL_SIGNING_KEY            PEM file of its key, Ed25519 or elliptic curve   (one is made)
GANMILL_WATERMARK_KEY          file whose bytes key the watermark   (a public key: all can read it)
GANMILL_MODERATOR              package.module:function that is asked about each asset   (none)

GANMILL_SECRETS    folder of a file for each secret, named as its variable in small letters (none)

`infra/env.example` has them all, to copy from.
"""

import getpass
import os
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import (
    AliasChoices,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, SettingsConfigDict

from gan.errors import UsageError
from gan.paths import Layout

# Every library's analytics are off, and MLflow gives up in seconds instead of minutes.
QUIET = {
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "GX_ANALYTICS_ENABLED": "false",
    "DVC_NO_ANALYTICS": "1",
    "GIT_PYTHON_REFRESH": "quiet",
}
# Prefect's 180 s would leave a killed run looking alive for too long; 30 s is the least it takes.
_HEARTBEAT = {"PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30"}


LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
_PASSWORD_LENGTH = 12
_PAGES = r"^https?://[A-Za-z0-9.-]+(:[0-9]{1,5})?/?$"


def _login_name() -> str:
    """Return who is logged in; a container may have a user id without a name."""
    try:
        return getpass.getuser().strip() or "somebody"
    except (KeyError, OSError):
        return "somebody"


def _processors() -> int:
    """Return how many processors this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)  # not on macOS
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def reached(host: str) -> str:
    """Return where this machine reaches what listens on `host`, as it stands in an address."""
    if host in {"localhost", "0.0.0.0", "::"}:  # noqa: S104  # compared, not listened on
        return "127.0.0.1"
    return f"[{host}]" if ":" in host else host


class Settings(BaseSettings):
    """The environment's answers, with an embedded default for each."""

    model_config = SettingsConfigDict(env_prefix="GANMILL_", frozen=True, extra="ignore")

    prefect_port: int = Field(default=4200, ge=1, le=65535)
    mlflow_port: int = Field(default=5000, ge=1, le=65535)
    metrics_port: int = Field(default=9464, ge=1, le=65535)
    host: str = Field(default="127.0.0.1", pattern=r"^[A-Za-z0-9.:-]+$")
    public_hosts: str = Field(default="", pattern=r"^[A-Za-z0-9.:,\s-]*$")
    public_prefect_url: str | None = Field(default=None, pattern=_PAGES)
    public_mlflow_url: str | None = Field(default=None, pattern=_PAGES)
    login: SecretStr | None = None
    prefect_database: SecretStr | None = None  # an address with a password in it
    mlflow_database: SecretStr | None = None
    artifacts: str | None = Field(default=None, min_length=1)
    trainings: int = Field(default=1, ge=1, le=64)
    prefect_api_url: str | None = Field(
        default=None, validation_alias=AliasChoices("PREFECT_API_URL")
    )
    mlflow_tracking_uri: str | None = Field(
        default=None, validation_alias=AliasChoices("MLFLOW_TRACKING_URI")
    )
    actor: str = Field(default_factory=_login_name, pattern=r"^\s*[^\s\x00-\x1f][^\x00-\x1f]*$")
    notice_webhook: SecretStr | None = None  # such an address is a password itself
    mlflow_seconds: float = Field(default=10.0, gt=0, allow_inf_nan=False)
    inception_weights: SecretStr | None = None  # an address may hold a password
    download: bool = False
    dask_scheduler: str | None = None
    mint_workers: int = Field(default_factory=_processors, ge=1, le=256)
    signing_certificate: Path | None = None
    signing_key: Path | None = None
    watermark_key: Path | None = None
    moderator: str | None = Field(default=None, pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$")

    @field_validator("notice_webhook")
    @classmethod
    def _is_web_address(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            try:
                parts = urlsplit(value.get_secret_value())
                is_web = parts.scheme in {"http", "https"} and bool(parts.hostname)
                is_web = is_web and (parts.port is None or parts.port > 0)
            except ValueError:  # whose words would quote the address
                is_web = False
            if not is_web:
                raise ValueError("must be a web address that begins with http:// or https://")
        return value

    @field_validator("login")
    @classmethod
    def _is_login(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            user, _, password = value.get_secret_value().partition(":")
            if not user or len(password) < _PASSWORD_LENGTH:  # MLflow's own least
                raise ValueError("must be user:password, the password of 12 characters or more")
        return value

    @field_validator("prefect_database", "mlflow_database")
    @classmethod
    def _is_postgres(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not value.get_secret_value().startswith("postgresql://"):
            raise ValueError("must be an address that begins with postgresql://")
        return value

    @model_validator(mode="after")
    def _asks_for_a_login_when_exposed(self) -> "Settings":
        if self.login is None and self.host not in LOOPBACK:
            raise ValueError(
                "GANMILL_HOST exposes the servers to others, so GANMILL_LOGIN must be set"
            )
        return self

    @model_validator(mode="after")
    def _signs_with_both(self) -> "Settings":
        if (self.signing_certificate is None) != (self.signing_key is None):
            raise ValueError("GANMILL_SIGNING_CERTIFICATE and GANMILL_SIGNING_KEY go together")
        return self

    @property
    def prefect_url(self) -> str:
        """Base address of the Prefect server's pages, without a slash at the end."""
        local = f"http://{reached(self.host)}:{self.prefect_port}"
        return (
            self.prefect_api_url.removesuffix("/").removesuffix("/api")
            if self.prefect_api_url
            else local
        )

    @property
    def mlflow_url(self) -> str:
        """Tracking address of the MLflow server, without a slash at the end."""
        local = f"http://{reached(self.host)}:{self.mlflow_port}"
        return (self.mlflow_tracking_uri or local).removesuffix("/")

    @property
    def prefect_pages(self) -> str:
        """Where a person sees Prefect's pages: links lead there."""
        return (self.public_prefect_url or self.prefect_url).removesuffix("/")

    @property
    def mlflow_pages(self) -> str:
        """Where a person sees MLflow's pages: links lead there."""
        return (self.public_mlflow_url or self.mlflow_url).removesuffix("/")


_SECRETS = {
    f"GANMILL_{name.upper()}"
    for name, field in Settings.model_fields.items()
    if field.annotation == SecretStr | None
}


def load_settings() -> Settings:
    """Return the settings of this process.

    Raises:
        UsageError: A variable holds something impossible; the message names it, not a secret.
    """
    try:
        folder = os.environ.get("GANMILL_SECRETS")
        return Settings(_secrets_dir=folder)  # type: ignore[call-arg]  # pydantic-settings' own
    except ValidationError as error:
        first = error.errors()[0]
        if not first["loc"]:  # of several settings together
            raise UsageError(f"{first['msg'].removeprefix('Value error, ')}.") from error
        name = str(first["loc"][0])
        name = name if name.isupper() else f"GANMILL_{name.upper()}"
        if name in _SECRETS:  # its cause would quote the value
            raise UsageError(f"{name}: {first['msg'].removeprefix('Value error, ')}.") from None
        raise UsageError(f"{name}: {first['msg']}; found {first['input']!r}.") from error


def quiet_environment(settings: Settings, layout: Layout) -> dict[str, str]:
    """Return this process's environment with our servers' addresses, and with analytics off."""
    return {
        **_HEARTBEAT,  # first: who sets another one has it
        **os.environ,
        **QUIET,
        **_login(settings),
        "PREFECT_API_URL": f"{settings.prefect_url}/api",
        "PREFECT_HOME": str(layout.state / "prefect"),
        "MLFLOW_TRACKING_URI": settings.mlflow_url,
    }


def _login(settings: Settings) -> dict[str, str]:
    """Return what the clients of both servers say who they are with."""
    if settings.login is None:
        return {}
    user, _, password = settings.login.get_secret_value().partition(":")
    return {
        "PREFECT_API_AUTH_STRING": f"{user}:{password}",
        "MLFLOW_TRACKING_USERNAME": user,
        "MLFLOW_TRACKING_PASSWORD": password,
    }


def workspace(start: Path | None = None) -> Layout:
    """Return the layout of the nearest folder at or above `start` that holds `params.yaml`.

    Raises:
        UsageError: There is none up to the root.
    """
    here = (start or Path.cwd()).resolve()
    for folder in (here, *here.parents):
        if (folder / "params.yaml").is_file():
            return Layout(folder)
    raise UsageError(f"{here}: no params.yaml here or above. Change to a ganmill workspace first.")
