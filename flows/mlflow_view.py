"""What the MLflow server knows of the champions: read only, quick, by its HTTP API alone.

For `ganmill status`, which must not wait for MLflow's library; `registry.py` does all real work.
"""

from typing import Any
from urllib.parse import quote

from flows.brief_http import Asked
from flows.registry import BUNDLE_DIGEST, Version

_API = "/api/2.0/mlflow"
_NONE, _THERE_IS_NONE = 404, "RESOURCE_DOES_NOT_EXIST"  # another server says 404 to anything


def aliases(mlflow: Asked, recipe: str) -> dict[str, int]:
    """Return the numbers of a recipe's aliased versions, by alias; an unknown recipe has none.

    Raises:
        ServiceError: The server is away, or refuses.
    """
    found = _read(mlflow, f"/registered-models/get?name={quote(recipe, safe='')}")
    listed = found["registered_model"].get("aliases", []) if found else []
    return {each["alias"]: int(each["version"]) for each in listed}


def version(mlflow: Asked, recipe: str, number: int) -> Version | None:
    """Return a version of a recipe, None where there is none.

    Raises:
        ServiceError: The server is away, or refuses.
    """
    words = f"name={quote(recipe, safe='')}&version={number}"
    found = _read(mlflow, f"/model-versions/get?{words}")
    if found is None:
        return None
    made = found["model_version"]
    tags = {each["key"]: each["value"] for each in made.get("tags", [])}
    digest = tags.get(BUNDLE_DIGEST, "")
    return Version(recipe, number, digest, made.get("run_id", ""), mlflow.base, tags)


def _read(mlflow: Asked, path: str) -> Any:
    """Return an answer, None where MLflow says that there is no such thing."""
    found = mlflow.answer(_API + path)
    told = found.value if isinstance(found.value, dict) else {}
    if found.status == _NONE and told.get("error_code") == _THERE_IS_NONE:
        return None
    return mlflow.told(found)
