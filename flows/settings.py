"""Where services live and what they may be told: the environment, read once, never a recipe.

GANMILL_PREFECT_PORT   port of the local Prefect server   (4200)
GANMILL_MLFLOW_PORT    port of the local MLflow server    (5000)
PREFECT_API_URL        use this Prefect server, not the local one
MLFLOW_TRACKING_URI    use this MLflow server, not the local one

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


class Settings(BaseSettings):
    """The environment's answers, with an embedded default for each."""

    model_config = SettingsConfigDict(env_prefix="GANMILL_", frozen=True, extra="ignore")

    prefect_port: int = Field(default=4200, ge=1, le=65535)
    mlflow_port: int = Field(default=5000, ge=1, le=65535)
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

    @model_validator(mode="after")
    def _signs_with_both(self) -> "Settings":
        if (self.signing_certificate is None) != (self.signing_key is None):
            raise ValueError("GANMILL_SIGNING_CERTIFICATE and GANMILL_SIGNING_KEY go together")
        return self

    @property
    def prefect_url(self) -> str:
        """Base address of the Prefect server's pages, without a slash at the end."""
        local = f"http://127.0.0.1:{self.prefect_port}"
        return (
            self.prefect_api_url.removesuffix("/").removesuffix("/api")
            if self.prefect_api_url
            else local
        )

    @property
    def mlflow_url(self) -> str:
        """Tracking address of the MLflow server, without a slash at the end."""
        return (self.mlflow_tracking_uri or f"http://127.0.0.1:{self.mlflow_port}").removesuffix(
            "/"
        )


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
        return Settings()
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
        "PREFECT_API_URL": f"{settings.prefect_url}/api",
        "PREFECT_HOME": str(layout.state / "prefect"),
        "MLFLOW_TRACKING_URI": settings.mlflow_url,
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
