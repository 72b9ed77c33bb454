"""One training as MLflow sees it.

Its run is opened before the first step, followed while it goes on, found again after a kill, and
closed when its model is registered.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flows import brief_http, registry, tracking, versions
from flows.artifacts import ProgressBar
from flows.datasets import catalog
from flows.datasets.data_card import CARD, PAGE
from flows.mlflow_texts import Places, experiment_text, model_text
from flows.registry import Version
from flows.run_pages import better_of
from flows.settings import Settings
from flows.story import Mill, headline, run_log
from flows.tracking import Row, StatsTail, TrackedRun
from flows.versions import StageOutcome
from gan.durable import read_json
from gan.errors import GanmillError, PreemptedError, ServiceError
from gan.training.identity import run_folder

STATS = "stats.jsonl"
DATA = "data"  # among a run's artifacts: the card of what it was trained on
ALBUM = ("interpolation.png", "training.gif")


def follow_training(mill: Mill, *, force: bool) -> StageOutcome:
    """Reproduce the `train` stage while its statistics go to MLflow and to a progress artifact.

    A training that was stopped keeps its run open, and the next one with the same key resumes it.

    Raises:
        GanmillError: The stage failed; its class is that of the engine's own error.
    """
    folder = run_folder(mill.layout, mill.recipe)
    run = open_training_run(mill)
    progress = ProgressBar(mill.recipe.name)

    log = run_log()

    def show(row: Row) -> None:
        if "event" in row:
            log(f"{mill.recipe.name}: {row['event']}: {row['message']}")
        else:
            progress.show(row)

    try:
        with StatsTail(run, folder / STATS, show):
            return versions.reproduce(mill.layout, "train", mill.recipe.name, force=force)
    except PreemptedError:
        raise
    except GanmillError:
        tracking.close_run(run, "FAILED")
        raise


def open_training_run(mill: Mill) -> TrackedRun:
    """Open the MLflow run of the training that recipe, data and pin ask for, or find it open."""
    layout, recipe = mill.layout, mill.recipe
    folder = run_folder(layout, recipe)
    git = versions.git_revision(layout.root)
    tags = {
        tracking.TRAINING_KEY: folder.name,
        "data_version": versions.data_version(layout, recipe.name),
        "git_revision": git.revision + ("-dirty" if git.dirty else ""),
        "flow_run": mill.lineage.flow_run,
        "flow_run_url": mill.lineage.flow_run_url,
    }
    params = {"model": recipe.model.model_dump(), "train": recipe.train.model_dump()}
    name = f"{recipe.name} {folder.name}"
    run = tracking.open_run(layout, mill.settings, recipe.name, name, tags, params)
    meta = read_json(layout.train_data(recipe.name) / "meta.json")
    _log_data(mill, run, meta)
    return run


def register_bundle(mill: Mill) -> tuple[Version, bool]:
    """Register the trained bundle with its report, once per digest; tell whether it is new.

    Raises:
        DamagedError: The bundle is not what its digests say.
        ServiceError: MLflow did not answer; the same command again completes.
    """
    layout, recipe = mill.layout, mill.recipe
    bundle = layout.bundle(recipe.name)
    digest = read_json(layout.evaluation(recipe.name) / "metrics.json")["bundle_digest"]
    known = [v for v in registry.versions(mill.settings, recipe.name) if v.digest == digest]
    if known:
        return known[-1], False
    run = open_training_run(mill)
    with StatsTail(run, run_folder(layout, recipe) / STATS):
        pass  # a training by `dvc repro` left its statistics; repeated rows change nothing
    card = read_json(bundle / "card.json")
    report = read_json(layout.evaluation(recipe.name) / "metrics.json")
    version = registry.register(mill.settings, recipe.name, bundle, run, version_tags(mill, report))
    _publish(mill, run, version, layout.evaluation(recipe.name), card)
    folder = run_folder(layout, recipe)
    album = [folder / name for name in ALBUM if (folder / name).exists()]
    tracking.log_files(run, album, "training")
    return version, True


def adopt_shipped(mill: Mill, report: Mapping[str, Any], digest: str) -> Version:
    """Register the bundle that comes with the code, with its history and its report here."""
    layout, recipe = mill.layout, mill.recipe
    card = read_json(layout.shipped_bundle(recipe.name) / "card.json")
    data_version = f"shipped, data digest {card['data_digest'][:12]}"  # not a version of here
    tags = {
        tracking.TRAINING_KEY: f"shipped-{digest[:12]}",
        "data_version": data_version,
        "flow_run": mill.lineage.flow_run,
        "flow_run_url": mill.lineage.flow_run_url,
    }
    params = {"model": {"preset": card["preset"]}, "train": card["train"]}
    name = f"{recipe.name} shipped"
    run = tracking.open_run(layout, mill.settings, recipe.name, name, tags, params)
    source = {"path": str(layout.shipped_bundle(recipe.name).relative_to(layout.root))}
    profile = {"classes": len(card["classes"])}
    meta = read_json(layout.train_data(recipe.name) / "meta.json")
    if meta["digest"] == card["data_digest"]:  # MLflow keeps the first profile of equal data
        profile["images"] = meta["count"]
    tracking.log_dataset(run, recipe.name, card["data_digest"], source, profile)
    with StatsTail(run, layout.shipped_history(recipe.name)):
        pass
    shipped = layout.shipped_bundle(recipe.name)
    tags = version_tags(mill, report) | {"data_version": data_version}
    version = registry.register(mill.settings, recipe.name, shipped, run, tags)
    folder = layout.version_report(recipe.name, digest)
    _publish(mill, run, version, folder, card)
    return version


def version_tags(mill: Mill, report: Mapping[str, Any]) -> dict[str, str]:
    """Return the ids that a registered version carries, and the distance it was measured at."""
    git = versions.git_revision(mill.layout.root)
    distance, found = headline(report)
    return {
        "distance": f"{distance} {found['value']:.3g}",
        "data_version": versions.data_version(mill.layout, mill.recipe.name),
        "git_revision": git.revision + ("-dirty" if git.dirty else ""),
        "flow_run": mill.lineage.flow_run,
        "flow_run_url": mill.lineage.flow_run_url,
    }


def _publish(
    mill: Mill, run: TrackedRun, version: Version, folder: Path, card: Mapping[str, Any]
) -> None:
    """Send a version's metrics and pictures to its run, describe it, and close it."""
    pictures = sorted(folder.glob("*.png"))
    nimg = round(card["kimg"] * 1000)
    tracking.log_report(run, folder / "metrics.json", pictures, nimg=nimg)
    report = read_json(folder / "metrics.json")
    tags = {
        "bundle_digest": version.digest,
        "model_version": str(version.number),
        "metric_id": report["metric_id"],
    }
    tracking.tag_run(run, tags)
    tracking.describe_run(
        run,
        f"{mill.recipe.name} v{version.number}",
        f"**{mill.recipe.name} v{version.number}**, bundle `{version.digest[:12]}`.\n\n"
        f"- made by [{mill.lineage.flow_run_name}]({mill.lineage.flow_run_url}) in Prefect\n"
        f"- registered as [v{version.number}]({version.url})\n"
        f"- data version (DVC) `{version.tags.get('data_version', '')}`"
        f"{_data_card(mill, run, card['data_digest'])}",
    )
    tracking.close_run(run, "FINISHED")
    _describe(mill, version, report)


def _describe(mill: Mill, version: Version, report: Mapping[str, Any]) -> None:
    """Say on the pages of the recipe's experiment and model what is there, and where to go on."""
    name, settings = mill.recipe.name, mill.settings
    places = Places(
        deployment=_deployment_page(settings, f"retrain/{name}"),
        model=version.url.replace(f"/versions/{version.number}", ""),
        charts=registry.comparison_url(settings, name),
    )
    text = experiment_text(name, places, headline(report)[0], better_of(report))
    tracking.describe_experiment(settings, name, text)
    registry.describe_model(settings, name, model_text(name, places))


def _deployment_page(settings: Settings, deployment: str) -> str:
    """Return the page of a deployment in Prefect; of all of them where there is none such."""
    try:
        found = brief_http.prefect(settings).read(f"/deployments/name/{deployment}")
        return f"{settings.prefect_pages}/deployments/deployment/{found['id']}"
    except (ServiceError, KeyError, TypeError):
        return f"{settings.prefect_pages}/deployments"


def _data_card(mill: Mill, run: TrackedRun, digest: str) -> str:
    """Send the data card of what a run was trained on, with its Croissant; return a link to it."""
    record = mill.layout.dataset(mill.recipe.name, digest)
    if not (record / catalog.RECORD).exists():
        return ""  # a shipped bundle was trained elsewhere
    tracking.log_folder(run, record / CARD, DATA)
    tracking.log_files(run, [record / catalog.CROISSANT], DATA)
    base, _, view = run.url.partition("?")
    return f"; [data card]({base}/artifacts/{DATA}/{PAGE}?{view})"


def _log_data(mill: Mill, run: TrackedRun, meta: Mapping[str, Any]) -> None:
    layout, name = mill.layout, mill.recipe.name
    source = {
        "path": str(layout.train_data(name).relative_to(layout.root)),
        "rev": versions.git_revision(layout.root).revision,
        "md5": versions.data_version(layout, name),
        "record": str(layout.dataset(name, str(meta["digest"])).relative_to(layout.root)),
    }
    profile = {"images": meta["count"], "classes": len(meta["classes"])}
    tracking.log_dataset(run, name, str(meta["digest"]), source, profile)
