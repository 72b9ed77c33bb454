"""What a gate decision rests on: its digest, how it was measured, and the limits of the recipe."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flows.gate.records import RECORD
from flows.gate.reports import METRICS
from flows.page_style import cell, head, table, text
from gan.durable import read_json, sha256
from gan.paths import Layout


def basis(folder: Path, document: Mapping[str, Any]) -> str:
    """Return it as HTML.

    Args:
        folder: Of the decision, with its `gate.json`.
        document: That file's content.

    Raises:
        OSError: `gate.json` is not there.
        DamagedError: A report of the same measurement is malformed.
    """
    evidence = document["evidence"]
    digest = sha256(folder / RECORD)
    recipe, metric_id = str(evidence["recipe"]), str(evidence["metric_id"])
    layout = Layout(folder.parents[3])  # reports/<recipe>/gate/<decision>
    found = measured_as(layout, recipe, str(evidence["candidate_digest"]), metric_id)
    facts = [
        ("Evidence digest", f"<code>{digest}</code><small>sha256sum {RECORD}</small>"),
        ("Metric id", f"<code>{text(metric_id)}</code><small>of all below</small>"),
    ]
    if found:
        report = found[1]
        extractor = report["extractor"]
        facts += [
            (
                "Extractor",
                f"{text(extractor['name'])} <code>{text(extractor['digest'][:12])}</code>",
            ),
            ("Data", f"<code>{text(report['data_digest'])}</code>"),
            ("Samples of each model", f"{report['samples']:,}"),
            ("Seed", str(report["seed"])),
        ]
    facts += [
        (f"gate.{text(name)}", f"<code>{text(_value(value))}</code>")
        for name, value in sorted(document["gate"].items())
    ]
    rows = "".join(f'<tr role="row">{head(name)}{cell("", shown)}</tr>\n' for name, shown in facts)
    return f"<h2>What the decision rests on</h2>\n{table(('', ''), rows, 'basis')}"


def _value(value: Any) -> str:  # any JSON value
    if isinstance(value, Mapping):
        return ", ".join(f"{name}: {_value(each)}" for name, each in sorted(value.items()))
    return str(value) if isinstance(value, str) else json.dumps(value)


def measured_as(
    layout: Layout, recipe: str, digest: str, metric_id: str | None
) -> tuple[Path, dict[str, Any]] | None:
    """Return the folder of a bundle's evaluation and its `metrics.json`, None where there is none.

    Args:
        layout: The workspace.
        recipe: The product line.
        digest: Of the bundle.
        metric_id: The way of measuring; None: any.

    Raises:
        DamagedError: A `metrics.json` is malformed.
    """
    for folder in (layout.evaluation(recipe), layout.version_report(recipe, digest)):
        if (folder / METRICS).is_file():
            report = read_json(folder / METRICS)
            if report["bundle_digest"] == digest and metric_id in {None, report["metric_id"]}:
                return folder, report
    return None
