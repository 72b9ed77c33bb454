"""Gathering what the gate decides on: the candidate's report, and its pairing with the champion.

Both are measured here and now on the same latents, classes, images and extractor; figures from
another data set or another extractor are never compared.
"""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows import promotion, registry
from flows.promotion import Evidence, Interval, Paired, Verdict
from flows.registry import Version
from flows.settings import Settings
from flows.story import shown
from gan.durable import read_json, write_json
from gan.errors import DamagedError, GateError
from gan.paths import Layout
from gan.recipe import Recipe

if TYPE_CHECKING:
    from gan.metrics.meter import Meter

METRICS = "metrics.json"


def judge(
    layout: Layout,
    settings: Settings,
    recipe: Recipe,
    candidate: Version,
    champion: Version | None,
) -> tuple[Verdict, Path, str, bool]:
    """Return the gate's verdict on a version, its record, the record's digest, whether it is new.

    A record of the same candidate, champion, gate and metric is read again, not measured again.

    Raises:
        DamagedError: A bundle, the data or the extractor are not what their digests say.
        ServiceError: MLflow did not answer.
    """
    folder = layout.gate(recipe.name)
    against = champion.digest[:12] if champion else "none"
    path = folder / f"{candidate.digest[:12]}-against-{against}.json"
    report = report_of(layout, settings, recipe, candidate)
    if path.exists():
        kept = read_json(path)
        same = kept["gate"] == recipe.gate.model_dump()
        if same and kept["evidence"]["metric_id"] == report["metric_id"]:
            verdict = Verdict(**kept["verdict"])
            return verdict, path, promotion.evidence_digest(kept), False
    evidence = _gather(layout, settings, recipe, candidate, champion, report)
    verdict = promotion.decide(evidence, recipe.gate)
    document = promotion.record(evidence, recipe.gate, verdict)
    write_json(path, document)
    return verdict, path, promotion.evidence_digest(document), True


def report_of(
    layout: Layout, settings: Settings, recipe: Recipe, version: Version
) -> dict[str, Any]:
    """Return a version's metrics on the present data, measured now if they are not there.

    Raises:
        DamagedError: A bundle, the data or the extractor are not what their digests say.
        ServiceError: MLflow did not answer.
    """
    for folder in (
        layout.evaluation(recipe.name),
        layout.version_report(recipe.name, version.digest),
    ):
        if (folder / METRICS).exists():
            report: dict[str, Any] = read_json(folder / METRICS)
            if report["bundle_digest"] == version.digest and _is_present(layout, recipe, report):
                return report
    bundle = registry.fetch(settings, version, layout.bundle_store)
    return measure(layout, recipe, bundle)


def measure(layout: Layout, recipe: Recipe, folder: Path) -> dict[str, Any]:
    """Evaluate any bundle of the recipe beside the present one; return its `metrics.json`."""
    from gan.bundle import open_bundle
    from gan.metrics.report import evaluate

    bundle = open_bundle(folder)
    destination = layout.version_report(recipe.name, bundle.digest)
    evaluate(bundle, meter(layout, recipe), destination)
    report: dict[str, Any] = read_json(destination / METRICS)
    return report


def _is_present(layout: Layout, recipe: Recipe, report: dict[str, Any]) -> bool:
    """Return whether a report was measured with the present data, extractor and settings."""
    return bool(report["metric_id"] == meter(layout, recipe).metric_id())


def meter(layout: Layout, recipe: Recipe) -> "Meter":
    """Return what measures the recipe's bundles, on as many processors as are idle.

    Raises:
        DamagedError: The data or the extractor are missing or damaged.
    """
    from gan.hardware import use_idle_processors
    from gan.metrics.meter import open_meter

    use_idle_processors()
    return open_meter(layout, recipe)


def _gather(  # the parts of the evidence
    layout: Layout,
    settings: Settings,
    recipe: Recipe,
    candidate: Version,
    champion: Version | None,
    report: dict[str, Any],
) -> Evidence:
    checks = {"bundle verifies": True}
    try:
        folder = registry.fetch(settings, candidate, layout.bundle_store)
    except DamagedError:
        return Evidence(
            recipe.name, candidate.digest, None, "", None, None, {"bundle verifies": False}
        )
    checks |= checks_of(read_json(folder / "card.json"), report, candidate.digest)
    paired = _pair(layout, settings, recipe, folder, champion) if champion else None
    return Evidence(
        recipe=recipe.name,
        candidate_digest=candidate.digest,
        champion_digest=champion.digest if champion else None,
        metric_id=str(report["metric_id"]),
        fd_share=promotion.interval(report, f"{report['distance']}_share"),
        paired=paired,
        checks=checks,
    )


def checks_of(card: dict[str, Any], report: dict[str, Any], digest: str) -> dict[str, bool]:
    """Return what must hold of a bundle beside its distances, by the words that the gate says.

    Copies are looked for where images were held out; a folder of fewer than 640 has none to spare.

    Args:
        card: The bundle's `card.json`.
        report: Its `metrics.json`.
        digest: Its digest.
    """
    checks = {
        "training ended healthy": card.get("status") != "degraded",
        "metrics are of this bundle": report["bundle_digest"] == digest,
    }
    if report["held_out"]:
        checks["copies no training image"] = report["is_copying"] is False
    return checks


def _pair(
    layout: Layout, settings: Settings, recipe: Recipe, candidate: Path, champion: Version
) -> Paired | None:
    """Measure candidate and champion side by side; None, so `unknown`, when they are unlike."""
    from gan.bundle import open_bundle
    from gan.metrics.report import compare

    ours = open_bundle(candidate)
    theirs = open_bundle(registry.fetch(settings, champion, layout.bundle_store))
    if ours.card.classes != theirs.card.classes or ours.card.resolution != theirs.card.resolution:
        return None
    found = compare(ours, theirs, meter(layout, recipe))
    distance = found.distance
    return Paired(
        candidate_digest=found.a_digest,
        champion_digest=found.b_digest,
        candidate_metric_id=distance.metric_id,
        champion_metric_id=distance.metric_id,
        champion_fd=distance.b.value,
        difference=Interval(**asdict(distance.difference)),
    )


def require_pass(recipe: str, version: Version, verdict: Verdict, record: Path) -> None:
    """Let only `pass` move on.

    Raises:
        GateError: With the first reason that was not a pass, and where the record lies.
    """
    if verdict.outcome != "pass":
        raise GateError(
            f"{recipe} v{version.number}: the gate says {verdict.summary} The champion "
            f"stays. Evidence: {shown(record)}"
        )
