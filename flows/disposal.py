"""What came out, part three: taking it away again. Versions, runs, and their files in MLflow.

Deleting a run in MLflow only hides it. Here its files really go, through the server, and its rows
as well where the database is at hand: what `mlflow gc` does, one run at a time. A version leaves
its number behind, which is never given again.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from flows._mlflow import connected
from flows.settings import Settings
from flows.tracking import TRAINING_KEY

LET_GO = "ganmill.let_go"  # a run with this tag goes, also when its version has gone before it
_PAGE = 1000
_ALIVE = frozenset({"RUNNING", "SCHEDULED"})


@dataclass(frozen=True)
class SeenRun:
    """A training in MLflow.

    Attributes:
        id: MLflow's.
        ended: When it ended, or began if it has not.
        is_alive: Whether it goes on, or is to be resumed.
        is_hidden: Whether somebody deleted it in MLflow.
        let_go: Why it was to go before, or "".
        training_key: Of the folder of its checkpoints, or "".
        place: Where its files lie below the store of artifacts.
    """

    id: str
    ended: datetime
    is_alive: bool
    is_hidden: bool
    let_go: str
    training_key: str
    place: str


def runs(settings: Settings, recipe: str) -> list[SeenRun]:
    """Return every training of a recipe, those that were deleted in MLflow too.

    Raises:
        ServiceError: MLflow does not answer.
    """
    with connected(settings.mlflow_url, f"listing the runs of {recipe}") as client:
        experiment = client.get_experiment_by_name(recipe)
        if experiment is None:
            return []
        return [_seen(run) for run in _all(client, experiment.experiment_id)]


def delete_version(settings: Settings, recipe: str, number: int) -> None:
    """Delete a version; one that is gone already is none to delete.

    Raises:
        ServiceError: MLflow does not answer.
    """
    from mlflow.exceptions import MlflowException

    with connected(settings.mlflow_url, f"deleting {recipe} v{number}") as client:
        try:
            client.delete_model_version(recipe, str(number))
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise


def mark_run(settings: Settings, run_id: str, why: str) -> None:
    """Note on a run that it goes, before what needs it goes: a kill in between leaves the note.

    Raises:
        ServiceError: MLflow does not answer, or has no such run.
    """
    with connected(settings.mlflow_url, f"marking run {run_id}") as client:
        if client.get_run(run_id).info.lifecycle_stage == "active":
            client.set_tag(run_id, LET_GO, why)


def delete_run(settings: Settings, run_id: str, database_url: str | None) -> None:
    """Delete a run with its files; and its rows, where the database of the server is at hand.

    Args:
        settings: Where MLflow is.
        run_id: The run's.
        database_url: As SQLAlchemy wants it; None leaves hidden rows behind.

    Raises:
        ServiceError: MLflow does not answer; the same call again completes.
    """
    from mlflow.exceptions import MlflowException
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    url = settings.mlflow_url
    with connected(url, f"deleting run {run_id}") as client:
        try:
            info = client.get_run(run_id).info
        except MlflowException as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                return
            raise
        if info.lifecycle_stage == "active":
            client.delete_run(run_id)
        files: Any = get_artifact_repository(str(info.artifact_uri), tracking_uri=url)
        files.delete_artifacts()
        if database_url is not None:
            _store(database_url)._hard_delete_run(run_id)  # noqa: SLF001  # as `mlflow gc` does


def _store(url: str) -> Any:  # MLflow's SqlAlchemyStore
    from mlflow.store.tracking import sqlalchemy_store

    kind: Any = sqlalchemy_store.SqlAlchemyStore
    return kind(url, "mlflow-artifacts:/")


def _all(client: Any, experiment_id: str) -> Iterator[Any]:
    """Yield the runs of an experiment, hidden ones too."""
    from mlflow.entities import ViewType

    token = None
    while True:
        page: Any = client.search_runs(
            [experiment_id], run_view_type=ViewType.ALL, max_results=_PAGE, page_token=token
        )
        yield from page
        token = page.token
        if not token:
            return


def _seen(run: Any) -> SeenRun:
    info, tags = run.info, run.data.tags
    moment = info.end_time or info.start_time
    return SeenRun(
        id=info.run_id,
        ended=datetime.fromtimestamp(moment / 1000, UTC),
        is_alive=info.status in _ALIVE and info.lifecycle_stage == "active",
        is_hidden=info.lifecycle_stage != "active",
        let_go=tags.get(LET_GO, ""),
        training_key=tags.get(TRAINING_KEY, ""),
        place=f"{info.experiment_id}/{info.run_id}",
    )
