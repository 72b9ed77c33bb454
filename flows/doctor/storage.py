"""Where artifacts and data versions go: MLflow's store, DVC's remote."""

import os
import secrets
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from flows.disk_use import refusal, size_of
from flows.doctor.finding import Finding, bad, ok, warn
from flows.servers import addresses
from flows.settings import Settings
from gan.errors import GanmillError
from gan.paths import Layout

_S3 = "s3://"
_SECONDS = 3
_COUNTING_SECONDS = 2.0
_MEND_S3 = "export AWS_ENDPOINT_URL=... AWS_ACCESS_KEY_ID=... AWS_SECRET_ACCESS_KEY=..."


def artifacts(layout: Layout, settings: Settings) -> list[Finding]:
    """Look at where MLflow's server keeps files, by writing one there and reading it back."""
    if addresses.is_given(settings, "mlflow"):
        return [ok("artifacts", f"kept by {addresses.url_of(settings, 'mlflow')}")]
    place = settings.artifacts or str(layout.state / "mlflow" / "artifacts")
    if place.startswith(_S3):
        return [_bucket(place)]
    return [_folder(Path(place.removeprefix("file://")))]


def data_remote(layout: Layout) -> list[Finding]:
    """Look at DVC's default remote."""
    from flows.stores import describe_remote

    try:
        found = describe_remote(layout, seconds=_SECONDS)
    except GanmillError as error:
        return [bad("DVC remote", str(error), "dvc remote list; dvc remote modify NAME url ...")]
    if found is None:
        says = "there is none: data versions lie in this folder alone"
        return [warn("DVC remote", says, "dvc remote add -d NAME URL")]
    if found.problem:
        return [bad("DVC remote", f"{found.label}: {found.problem}", f"dvc push -r {found.name}")]
    if not found.verifies:
        says = f"{found.label}: what is fetched is not verified"
        return [warn("DVC remote", says, f"dvc remote modify {found.name} verify true")]
    there = "reached" if found.is_there else "made with the first push"
    return [ok("DVC remote", f"{found.label}: {there}, verified")]


def _folder(place: Path) -> Finding:
    if problem := refusal(place):
        says = f"{place}: cannot be written ({problem})"
        return bad("artifacts", says, f"ls -ld {place}; mkdir, chown or chmod it")
    if not place.is_dir():
        return ok("artifacts", f"{place.name}/ is made with the first run")
    size = size_of([place], seconds=_COUNTING_SECONDS)
    return ok("artifacts", f"{place.name}/, {size.shown}: written and read back")


def _bucket(place: str) -> Finding:
    """Look at a bucket; an object is put there, read, and removed."""
    try:
        import boto3  # type: ignore[import-untyped]
        from botocore.config import Config  # type: ignore[import-untyped]
        from botocore.exceptions import BotoCoreError, ClientError  # type: ignore[import-untyped]
    except ImportError:
        return bad(
            "artifacts", f"{place}: what speaks to S3 is missing", "pip install 'ganmill[s3]'"
        )
    parts = urlsplit(place)
    key = f"{parts.path.strip('/')}/.doctor-{secrets.token_hex(8)}".lstrip("/")
    brief = Config(connect_timeout=_SECONDS, read_timeout=_SECONDS, retries={"max_attempts": 0})
    endpoint = os.environ.get("MLFLOW_S3_ENDPOINT_URL") or os.environ.get("AWS_ENDPOINT_URL")
    try:
        client = boto3.session.Session().client("s3", endpoint_url=endpoint, config=brief)
        _round_trip(client, parts.netloc, key)
    except (BotoCoreError, ClientError, ValueError) as error:
        return bad("artifacts", f"{place}: {_reason(error)}", _MEND_S3)
    return ok("artifacts", f"{place}: written, read back, removed")


def _round_trip(client: Any, bucket: str, key: str) -> None:
    client.put_object(Bucket=bucket, Key=key, Body=b"?")
    try:
        client.get_object(Bucket=bucket, Key=key)["Body"].read()
    finally:
        client.delete_object(Bucket=bucket, Key=key)


def _reason(error: Exception) -> str:
    """Return why a bucket did not take it, without what its library says of the login."""
    told = getattr(error, "response", {}).get("Error", {})
    return str(told.get("Code") or type(error).__name__)
