"""The figures of a version on the present data, measured once and kept as `metrics.json`."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows import registry
from flows.registry import Version
from flows.settings import Settings
from gan.durable import read_json
from gan.paths import Layout
from gan.recipe import Recipe

if TYPE_CHECKING:
    from gan.bundle import Bundle
    from gan.metrics.meter import Meter

METRICS = "metrics.json"


def report_of(
    layout: Layout, settings: Settings, recipe: Recipe, version: Version
) -> dict[str, Any]:
    """Return a version's metrics on the present data, measured now if they are not there.

    Raises:
        DamagedError: A bundle, the data or the extractor are not what their digests say.
        ServiceError: MLflow did not answer.
    """
    from gan.bundle import open_bundle

    measuring = meter(layout, recipe)
    if report := _kept(layout, recipe, version.digest, measuring):
        return report
    folder = registry.fetch(settings, version, layout.bundle_store)
    return _measure(layout, recipe, open_bundle(folder), measuring)


def measure(layout: Layout, recipe: Recipe, folder: Path) -> dict[str, Any]:
    """Evaluate any bundle of the recipe beside the present one; return its `metrics.json`."""
    from gan.bundle import open_bundle

    return _measure(layout, recipe, open_bundle(folder), meter(layout, recipe))


def meter(layout: Layout, recipe: Recipe) -> "Meter":
    """Return what measures the recipe's bundles, on as many processors as are idle.

    Raises:
        DamagedError: The data or the extractor are missing or damaged.
    """
    from gan.hardware import use_idle_processors
    from gan.metrics.meter import open_meter

    use_idle_processors()
    return open_meter(layout, recipe)


def report_on(
    layout: Layout, recipe: Recipe, bundle: "Bundle", measuring: "Meter"
) -> dict[str, Any]:
    """Return the metrics of a bundle that lies here, measured now if they are not there.

    Raises:
        DamagedError: There is a report, but it is not readable.
        UsageError: Bundle and data do not fit each other.
        DivergedError: A generated image or a feature is not finite.
    """
    kept = _kept(layout, recipe, bundle.digest, measuring)
    return kept or _measure(layout, recipe, bundle, measuring)


def _measure(
    layout: Layout, recipe: Recipe, bundle: "Bundle", measuring: "Meter"
) -> dict[str, Any]:
    from gan.metrics.report import evaluate

    destination = layout.version_report(recipe.name, bundle.digest)
    evaluate(bundle, measuring, destination)
    report: dict[str, Any] = read_json(destination / METRICS)
    return report


def _kept(layout: Layout, recipe: Recipe, digest: str, measuring: "Meter") -> dict[str, Any] | None:
    """Return the report of a bundle on the present data, extractor and settings, if there is one.

    Raises:
        DamagedError: There is a report, but it is not readable.
    """
    metric_id = measuring.metric_id()
    for folder in (layout.evaluation(recipe.name), layout.version_report(recipe.name, digest)):
        if (folder / METRICS).exists():
            report: dict[str, Any] = read_json(folder / METRICS)
            if (report.get("bundle_digest"), report.get("metric_id")) == (digest, metric_id):
                return report
    return None
