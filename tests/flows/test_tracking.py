"""Training runs in a real MLflow server: found again, sent twice unharmed, patient when away."""

import json
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from flows import stack
from flows.registry import describe_model
from flows.settings import Settings
from flows.tracking import (
    StatsTail,
    TrackedRun,
    close_run,
    describe_experiment,
    describe_run,
    log_dataset,
    log_folder,
    log_report,
    log_stats,
    open_run,
    run_of,
    unfinished_runs,
)
from gan.errors import ServiceError
from gan.paths import Layout

ROWS = [
    {"nimg": 1000, "kimg": 1.0, "seconds": 2.5, "loss_g": 0.5, "images_per_second": 400, "r1": 0.1},
    {"nimg": 2000, "kimg": 2.0, "seconds": 5.0, "loss_g": 0.4, "images_per_second": 400, "r1": 0.2},
]


@pytest.fixture
def run(mlflow_settings: Settings, server_layout: Layout) -> TrackedRun:
    """Return a new open run."""
    return open_run(
        server_layout, mlflow_settings, "tracked", "tracked #1", {}, {"train": {"a": 1}}
    )


def _client(settings: Settings) -> Any:
    from mlflow import MlflowClient

    return MlflowClient(settings.mlflow_url, settings.mlflow_url)


def _history(settings: Settings, run: TrackedRun, key: str) -> list[tuple[int, float]]:
    points = _client(settings).get_metric_history(run.run_id, key)
    return [(point.step, point.value) for point in points]


def test_a_killed_training_finds_its_run_again(
    mlflow_settings: Settings, server_layout: Layout
) -> None:
    """The same training key returns the open run; once closed, a new one is opened."""
    tags = {"training_key": "abc"}
    first = open_run(
        server_layout, mlflow_settings, "kept", "kept #1", tags, {"train": {"kimg": 4}}
    )
    again = open_run(
        server_layout, mlflow_settings, "kept", "kept #1", tags, {"train": {"kimg": 5}}
    )
    close_run(first, "FINISHED")
    later = open_run(server_layout, mlflow_settings, "kept", "kept #2", tags, {})

    assert first == again
    assert later.run_id != first.run_id
    data = _client(mlflow_settings).get_run(first.run_id).data
    assert data.params == {"train.kimg": "4"}
    experiment = _client(mlflow_settings).get_experiment(first.experiment_id)
    assert experiment.tags["mlflow.experimentKind"] == "custom_model_development"


def test_a_run_whose_process_was_dead_goes_on_as_one_history(
    mlflow_settings: Settings, server_layout: Layout, tmp_path: Path
) -> None:
    """Ended as KILLED meanwhile, the same training opens it again: no gap and no double point.

    Only runs of this workspace are listed as open: another one's processes are not seen from here.
    """
    tags, recipe = {"training_key": "resumed"}, "resumed"
    elsewhere = Layout(tmp_path)
    foreign = open_run(elsewhere, mlflow_settings, recipe, "foreign", {}, {})
    first = open_run(server_layout, mlflow_settings, recipe, "first", tags, {})
    path = tmp_path / "stats.jsonl"
    path.write_text(json.dumps(ROWS[0]) + "\n")
    with StatsTail(first, path):
        pass
    assert unfinished_runs(server_layout, mlflow_settings, recipe) == [first]
    close_run(first, "KILLED")
    assert unfinished_runs(server_layout, mlflow_settings, recipe) == []
    assert unfinished_runs(server_layout, mlflow_settings, "no such recipe") == []

    again = open_run(server_layout, mlflow_settings, recipe, "again", tags, {})
    with path.open("a") as file:
        file.write(json.dumps(ROWS[1]) + "\n")
    with StatsTail(again, path):
        pass
    assert again == first == run_of(mlflow_settings, first.run_id)
    assert unfinished_runs(server_layout, mlflow_settings, recipe) == [first]
    assert unfinished_runs(elsewhere, mlflow_settings, recipe) == [foreign]
    assert _history(mlflow_settings, first, "train/loss_g") == [(1000, 0.5), (2000, 0.4)]
    close_run(again, "FINISHED")
    assert _client(mlflow_settings).get_run(first.run_id).info.status == "FINISHED"


def test_a_folder_is_sent_as_it_is(
    mlflow_settings: Settings, run: TrackedRun, tmp_path: Path
) -> None:
    """With the folders in it, under the name that was given."""
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner/card.md").write_text("x")
    log_folder(run, tmp_path, "release")

    found = _client(mlflow_settings).list_artifacts(run.run_id, "release/inner")
    assert [artifact.path for artifact in found] == ["release/inner/card.md"]


def test_rows_sent_twice_are_one_point(mlflow_settings: Settings, run: TrackedRun) -> None:
    """Sending again after a doubt neither adds nor loses a point; the step is nimg."""
    log_stats(run, ROWS)
    log_stats(run, ROWS)

    assert _history(mlflow_settings, run, "train/loss_g") == [(1000, 0.5), (2000, 0.4)]
    assert _history(mlflow_settings, run, "images_per_second") == [(1000, 400.0), (2000, 400.0)]


def test_a_report_with_pictures(mlflow_settings: Settings, run: TrackedRun, tmp_path: Path) -> None:
    """Metrics have intervals, and each picture is on the page's slider and among the files."""
    metrics = {"fd_domain": {"value": 1.5, "low": 1.0, "high": 2.0, "n": 500}}
    (tmp_path / "metrics.json").write_text(json.dumps({"metrics": metrics, "metric_id": "ab"}))
    Image.new("RGB", (64, 64), "red").save(tmp_path / "grid.png")

    sent = log_report(run, tmp_path / "metrics.json", [tmp_path / "grid.png"], nimg=2000)
    log_dataset(
        run, "tracked", "ab" * 32, {"path": "data", "rev": "x", "md5": "1.dir"}, {"images": 2}
    )
    describe_run(run, "stickers v1", "From [flow](http://x).")

    assert sent == {
        "evaluation/fd_domain": 1.5,
        "interval/fd_domain_low": 1.0,
        "interval/fd_domain_high": 2.0,
    }
    client = _client(mlflow_settings)
    found = client.get_run(run.run_id)
    assert found.data.metrics["interval/fd_domain_low"] == 1.0
    assert found.data.tags["mlflow.note.content"] == "From [flow](http://x)."
    assert found.inputs.dataset_inputs[0].dataset.source_type == "dvc"
    assert "evaluation/grid.png" in [
        a.path for a in client.list_artifacts(run.run_id, "evaluation")
    ]
    images = [a.path for a in client.list_artifacts(run.run_id, "images")]
    assert [path for path in images if "grid+step+2000" in path and path.endswith(".png")]


def test_the_tail_sends_every_row_once_and_calls_back(
    mlflow_settings: Settings, run: TrackedRun, tmp_path: Path
) -> None:
    """Rows arrive in order while the file grows, half a line waits, and sample pictures follow."""
    path, seen = tmp_path / "stats.jsonl", []
    with StatsTail(run, path, lambda row: seen.append(row["nimg"])):
        first, second = (json.dumps(row) + "\n" for row in ROWS)
        path.write_text(first + second[:20])
        time.sleep(1.5)
        assert seen == [1000]
        with path.open("a") as file:
            file.write(second[20:] + "not a row\n")
        Image.new("RGB", (8, 8)).save(tmp_path / "samples-00002000.png")

    assert seen == [1000, 2000]
    assert _history(mlflow_settings, run, "train/r1") == [(1000, 0.1), (2000, 0.2)]
    with StatsTail(run, path):
        pass  # following the same file again, as after a kill
    images = [a.path for a in _client(mlflow_settings).list_artifacts(run.run_id, "images")]
    assert len([path for path in images if "samples+step+2000" in path and ".png" in path]) == 1


def test_a_failing_listener_harms_nothing(
    mlflow_settings: Settings, run: TrackedRun, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """What shows progress may fail: it is logged once, and the rows arrive all the same."""
    (tmp_path / "stats.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))

    def refuse(_: object) -> None:
        raise ValueError("no more")

    tail = StatsTail(run, tmp_path / "stats.jsonl", refuse)
    tail.start()

    assert tail.finish()
    assert caplog.text.count("ValueError: no more") == 1
    assert _history(mlflow_settings, run, "train/loss_g") == [(1000, 0.5), (2000, 0.4)]


def test_mlflow_away_costs_seconds_and_loses_nothing(
    settings_on: Callable[..., Settings],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With the server gone a call fails soon with one line; the tail waits and sends all later."""
    monkeypatch.setenv("GANMILL_MLFLOW_SECONDS", "5")
    layout = Layout(tmp_path / "work")
    layout.root.mkdir()
    settings = settings_on().model_copy(update={"prefect_api_url": "http://127.0.0.1:9/api"})
    stack.up(layout, settings)
    try:
        run = open_run(layout, settings, "away", "away #1", {}, {})
        stack.down(layout)
        started = time.monotonic()
        with pytest.raises(ServiceError, match=rf"{settings.mlflow_url} .*ganmill up"):
            log_stats(run, ROWS)
        assert time.monotonic() - started < 20
        path = tmp_path / "stats.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
        caplog.set_level(logging.WARNING)
        with StatsTail(run, path):
            time.sleep(2)
            stack.up(layout, settings)
        said = [r.getMessage() for r in caplog.records if "rows wait" in r.getMessage()]
        assert len(said) == 1
        assert _history(settings, run, "train/loss_g") == [(1000, 0.5), (2000, 0.4)]
    finally:
        stack.down(layout)


def test_what_pages_say_is_renewed_unless_a_person_wrote_it(
    mlflow_settings: Settings, server_layout: Layout
) -> None:
    """The description of an experiment and of a model follows us; another's own words stay."""
    client, name = _client(mlflow_settings), "described"
    run = open_run(server_layout, mlflow_settings, name, "described #1", {}, {})

    def said() -> tuple[str, str]:
        experiment = client.get_experiment(run.experiment_id)
        model = client.get_registered_model(name)
        return experiment.tags["mlflow.note.content"], model.description

    def describe(words: str) -> None:
        opening = f"Trainings of the recipe `{name}`."
        describe_experiment(mlflow_settings, name, f"{opening}\n\n{words}")
        opening = f"Bundles of the recipe `{name}`; production reads `@champion`."
        describe_model(mlflow_settings, name, f"{opening}\n\n{words}")

    describe("first")
    describe("second")
    assert [words.rpartition("\n")[2] for words in said()] == ["second", "second"]

    client.set_experiment_tag(run.experiment_id, "mlflow.note.content", "Ada's notes")
    client.update_registered_model(name, "Ada's model")
    describe("third")
    assert said() == ("Ada's notes", "Ada's model")
    describe_experiment(mlflow_settings, "never-trained", "words")  # there is no page to say it on
