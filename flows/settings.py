"""Where services live and what they may be told: the environment, read once, never a recipe.

GANMILL_PREFECT_PORT   port of the local Prefect server   (4200)
GANMILL_MLFLOW_PORT    port of the local MLflow server    (5000)
PREFECT_API_URL        use this Prefect server, not the local one
MLFLOW_TRACKING_URI    use this MLflow server, not the local one

GANMILL_INCEPTION_WEIGHTS    path or address of the FID network's file, for `ganmill extractor add`
"""

import os
from pathlib import Path

from pydantic import AliasChoices, Field, SecretStr, ValidationError
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
    inception_weights: SecretStr | None = None  # an address may hold a password

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


def load_settings() -> Settings:
    """Return the settings of this process.

    Raises:
        UsageError: A variable holds something impossible; the message names it, not a secret.
    """
    try:
        return Settings()
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0])
        name = name if name.isupper() else f"GANMILL_{name.upper()}"
        raise UsageError(f"{name}: {first['msg']}; found {first['input']!r}.") from error


def quiet_environment(settings: Settings, layout: Layout) -> dict[str, str]:
    """Return this process's environment with our servers' addresses, and with analytics off."""
    return {
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
