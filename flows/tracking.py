"""What came out, part one: training runs in MLflow. Every call names its run; none is global.

Metrics carry the number of images shown (`nimg`) as their step, so that runs of unlike batch sizes
share one axis.
"""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from flows._mlflow import VIEW, Row, TrackedRun, connected, log_picture, log_stats, pages
from flows.settings import Settings
from flows.tail import StatsTail
from gan.durable import read_json
from gan.paths import Layout

__all__ = [
    "TRAINING_KEY",
    "Row",
    "RunFacts",
    "StatsTail",
    "TrackedRun",
    "close_run",
    "describe_experiment",
    "describe_run",
    "flat",
    "log_dataset",
    "log_files",
    "log_folder",
    "log_picture",
    "log_report",
    "log_stats",
    "open_run",
    "read_run",
    "run_of",
    "tag_run",
    "unfinished_runs",
]
TRAINING_KEY = "training_key"
_NOTE = "mlflow.note.content"  # what MLflow's pages show as the description


@dataclass(frozen=True)
class RunFacts:
    """What MLflow has of a training; as it stands here where it has nothing.

    Attributes:
        params: By name.
        images: Images trained on.
        seconds: Training time.
        kimg: Real images shown in that time, in thousands.
        memory_mb: The most that the process held, 10^6 bytes.
        gpu_memory_mb: The most that torch held on the GPU, 10^6 bytes.
    """

    params: Mapping[str, str] = field(default_factory=dict)
    images: int | None = None
    seconds: float | None = None
    kimg: float | None = None
    memory_mb: float | None = None
    gpu_memory_mb: float | None = None


def open_run(  # the parts of a run
    layout: Layout,
    settings: Settings,
    recipe: str,
    name: str,
    tags: Mapping[str, str],
    params: Mapping[str, Any],
) -> TrackedRun:
    """Open a run in the recipe's experiment, or return that of the same training if it goes on.

    It goes on in a run that is open, or that `reconcile` ended because its process was dead.

    Args:
        layout: The workspace; its folder is written into the run.
        settings: Where MLflow is.
        recipe: Names the experiment.
        name: What the list of runs shows, say `stickers #3 from v1`.
        tags: `training_key` in it makes a killed training find its run again.
        params: May be nested; keys are joined by dots.

    Raises:
        ServiceError: MLflow does not answer.
    """
    from mlflow.entities import Param

    url = settings.mlflow_url
    with connected(url, f"opening the run {name!r}") as client:
        experiment_id = _experiment(client, recipe)
        run = _open_one(client, experiment_id, tags.get(TRAINING_KEY))
        if run is None:
            all_tags = {"recipe": recipe, "workspace": str(layout.root), **tags}
            run = client.create_run(experiment_id, run_name=name, tags=all_tags)
        elif run.info.status != "RUNNING":
            client.update_run(run.info.run_id, status="RUNNING")
        fresh = [Param(k, str(v)) for k, v in flat(params).items() if k not in run.data.params]
        if fresh:
            client.log_batch(run.info.run_id, params=fresh)
    return _tracked(url, run)


def unfinished_runs(layout: Layout, settings: Settings, recipe: str) -> list[TrackedRun]:
    """Return the open runs of a recipe that were begun in this workspace, newest first.

    Raises:
        ServiceError: MLflow does not answer.
    """
    url = settings.mlflow_url
    with connected(url, f"listing the open runs of {recipe}") as client:
        experiment = client.get_experiment_by_name(recipe)
        if experiment is None:
            return []
        runs = client.search_runs([experiment.experiment_id], "attributes.status = 'RUNNING'")
    here = str(layout.root)  # another workspace's locks say nothing about its runs here
    return [_tracked(url, run) for run in runs if run.data.tags.get("workspace") == here]


def run_of(settings: Settings, run_id: str) -> TrackedRun:
    """Return a run by its id, open or not.

    Raises:
        ServiceError: MLflow does not answer, or has no such run.
    """
    url = settings.mlflow_url
    with connected(url, f"finding run {run_id}") as client:
        return _tracked(url, client.get_run(run_id))


def close_run(run: TrackedRun, status: Literal["FINISHED", "FAILED", "KILLED"]) -> None:
    """End a run; a run that was preempted is left open instead, to be found again.

    KILLED is for a run whose process is dead: the same training finds it and opens it again.
    """
    with connected(run.tracking_url, "closing the run") as client:
        client.set_terminated(run.run_id, status)


def tag_run(run: TrackedRun, tags: Mapping[str, str]) -> None:
    """Set tags of a run."""
    from mlflow.entities import RunTag

    with connected(run.tracking_url, "tagging the run") as client:
        client.log_batch(run.run_id, tags=[RunTag(key, value) for key, value in tags.items()])


def describe_run(run: TrackedRun, name: str, markdown: str) -> None:
    """Set the name that lists of runs show, and the description that the run's page shows."""
    with connected(run.tracking_url, "naming the run") as client:
        client.update_run(run.run_id, name=name)
    tag_run(run, {_NOTE: markdown})


def describe_experiment(settings: Settings, recipe: str, markdown: str) -> None:
    """Set what stands above a recipe's runs, unless a person began it with another first line."""
    with connected(settings.mlflow_url, f"describing the trainings of {recipe}") as client:
        known = client.get_experiment_by_name(recipe)
        present = known.tags.get(_NOTE, "") if known else markdown
        is_ours = present.startswith(markdown.partition("\n")[0])
        if known and is_ours and present != markdown:
            client.set_experiment_tag(known.experiment_id, _NOTE, markdown)


def log_report(
    run: TrackedRun, report: Path, pictures: Sequence[Path], *, nimg: int = 0
) -> dict[str, float]:
    """Send an evaluation at step `nimg`: its metrics, the file, the pictures.

    A metric is `evaluation/<name>`, its bounds are `interval/<name>_low` and `..._high`.

    Returns:
        The metrics as sent.
    """
    from mlflow.entities import Metric

    document, now = read_json(report), int(time.time() * 1000)
    values = dict(_report_metrics(document.get("metrics", {})))
    with connected(run.tracking_url, "sending the evaluation") as client:
        points = [Metric(key, value, now, nimg) for key, value in values.items()]
        client.log_batch(run.run_id, metrics=points)
        client.log_artifact(run.run_id, str(report), "evaluation")
        for picture in pictures:
            client.log_artifact(run.run_id, str(picture), "evaluation")
    for picture in pictures:
        log_picture(run, picture, key=picture.stem, nimg=nimg)
    return values


def log_files(run: TrackedRun, files: Sequence[Path], folder: str) -> None:
    """Send files into a folder of the run's artifacts; the page shows pictures among them."""
    with connected(run.tracking_url, "sending files") as client:
        for file in files:
            client.log_artifact(run.run_id, str(file), folder)


def log_folder(run: TrackedRun, folder: Path, name: str) -> None:
    """Send a folder with all that is below it, as the folder `name` of the run's artifacts."""
    with connected(run.tracking_url, f"sending {folder}") as client:
        client.log_artifacts(run.run_id, str(folder), name)


def log_dataset(
    run: TrackedRun, name: str, digest: str, source: Mapping[str, str], profile: Mapping[str, Any]
) -> None:
    """Say what a run was trained on: the page shows it under its datasets.

    Args:
        run: The run.
        name: What the page shows, say the recipe.
        digest: SHA-256 of the data; MLflow keeps its first 36 characters.
        source: Where DVC has it: `path`, `rev` (git), `md5`; and where its record is.
        profile: Counts, say {"images": 6000, "classes": 9}.
    """
    from mlflow.entities import Dataset, DatasetInput, InputTag

    dataset = Dataset(name, digest[:36], "dvc", json.dumps(dict(source)), None, json.dumps(profile))
    given = DatasetInput(dataset, [InputTag("mlflow.data.context", "training")])
    with connected(run.tracking_url, "sending the data set") as client:
        client.log_inputs(run.run_id, [given])


def read_run(settings: Settings, run_id: str) -> RunFacts:
    """Return what MLflow has of a training.

    Raises:
        ServiceError: MLflow did not answer.
    """
    with connected(settings.mlflow_url, "reading a training run") as client:
        run = client.get_run(run_id)
        names = ("kimg", "system/memory_mb", "system/gpu_memory_mb")
        shown, memory, gpu = (client.get_metric_history(run_id, name) for name in names)
    inputs = run.inputs.dataset_inputs if run.inputs else []
    profiles = [given.dataset.profile for given in inputs]
    last = max(shown, key=lambda point: point.step, default=None)
    return RunFacts(
        params=dict(run.data.params),
        images=next((json.loads(each).get("images") for each in profiles if each), None),
        seconds=(last.timestamp - run.info.start_time) / 1000 if last else None,
        kimg=last.value if last else None,
        memory_mb=max((point.value for point in memory), default=None),
        gpu_memory_mb=max((point.value for point in gpu), default=None),
    )


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested values with their keys joined by dots."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        inner = value if isinstance(value, Mapping) else None
        found |= flat(inner, f"{prefix}{key}.") if inner is not None else {f"{prefix}{key}": value}
    return found


def _report_metrics(metrics: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, float]]:
    """Return values and bounds, in sections of their own, so that tables of runs stay readable."""
    sections = {"value": "evaluation/{}", "low": "interval/{}_low", "high": "interval/{}_high"}
    return [
        (sections[part].format(name), float(metric[part]))
        for name, metric in metrics.items()
        for part in sections
        if part in metric
    ]


def _experiment(client: Any, recipe: str) -> str:  # MlflowClient
    from mlflow.exceptions import MlflowException

    known = client.get_experiment_by_name(recipe)
    if known is None:
        # The kind opens the page for model training, not the one for language models.
        tags = {
            "mlflow.experimentKind": "custom_model_development",
            _NOTE: f"Trainings of the recipe `{recipe}`.",
        }
        try:
            return str(client.create_experiment(recipe, tags=tags))
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
            known = client.get_experiment_by_name(recipe)
    return str(known.experiment_id)


def _open_one(client: Any, experiment_id: str, key: str | None) -> Any:
    if key is None:
        return None
    same = client.search_runs([experiment_id], f"tags.{TRAINING_KEY} = '{key}'")
    return next((run for run in same if run.info.status in {"RUNNING", "KILLED"}), None)


def _tracked(url: str, run: Any) -> TrackedRun:  # MLflow's Run
    info = run.info
    page = f"{pages(url)}/#/experiments/{info.experiment_id}/runs/{info.run_id}{VIEW}"
    return TrackedRun(info.run_id, info.experiment_id, page, url, int(info.start_time))
