"""What a flow run shows on its page in Prefect: contract, progress, metrics, gate, batch, links.

One artifact each, under a key of the recipe, so that Prefect's page of artifacts shows the last one
of every recipe and what it was before. What they say is in `run_pages`.
"""

import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

from prefect.artifacts import create_markdown_artifact, create_table_artifact

from flows import run_pages, versions
from flows.compare.facts import duration
from flows.gate.records import PAGE
from flows.papers.folder import GATE_PAGE
from flows.registry import Version
from flows.story import Mill, Story, artifact_key, headline, shown
from gan.durable import read_json

if TYPE_CHECKING:
    from pathlib import Path
    from uuid import UUID

    from flows.gate.judging import Judged
    from flows.run_pages import Link
    from gan.assets.batch import Minted

_PICTURES = (
    ("grid.png", "Real images of each class over generated ones"),
    ("samples.png", "The same latents for every class"),
    ("pairs.png", "The generated images most like a training image, beside it"),
    ("distance.png", "The distance along the training"),
)


def show_steps(story: Story) -> None:
    """Show how each step went."""
    rows = [
        {"step": s.name, "state": s.state, "seconds": round(s.seconds, 1), "note": s.note}
        for s in story.steps
    ]
    create_table_artifact(
        rows,
        key=artifact_key(story.recipe, "steps"),
        description=f"How each step of the last retraining of {story.recipe} went",
    )


def show_verdict(mill: Mill) -> None:
    """Show what the data contract asked and found."""
    name = mill.recipe.name
    verdict = read_json(mill.layout.facts(name) / "verdict.json")
    page = mill.layout.data_report(name) / "index.html"
    state = "met" if verdict["success"] else "failed"
    create_markdown_artifact(
        run_pages.contract_text(verdict, page),
        key=artifact_key(name, "data-contract"),
        description=f"{state}: {verdict['accepted']:,} of {verdict['images']:,} images accepted",
    )


def show_metrics(mill: Mill) -> None:
    """Show the metrics of the trained bundle, and its pictures."""
    name, folder = mill.recipe.name, mill.layout.evaluation(mill.recipe.name)
    report = read_json(folder / "metrics.json")
    distance, found = headline(report)
    bundle = report["bundle_digest"][:12]
    create_table_artifact(
        run_pages.metric_rows(report),
        key=artifact_key(name, "metrics"),
        description=f"{distance} {found['value']:.3g}, {found['low']:.3g} to {found['high']:.3g}; "
        f"bundle {bundle}, metric id {report['metric_id']}",
    )
    pictures = [(words, run_pages.picture_text(folder / file, words)) for file, words in _PICTURES]
    parts = [f"## {words}\n\n{picture}" for words, picture in pictures if picture]
    create_markdown_artifact(
        "\n\n".join([*parts, f"In full: `{folder}`"]),
        key=artifact_key(name, "pictures"),
        description=f"What bundle {bundle} makes",
    )


def show_gate(mill: Mill, candidate: Version, judged: "Judged") -> None:
    """Show the gate's verdict with what each check said, and where its page is."""
    name = mill.recipe.name
    links = [
        ("page of the decision", "side by side, in MLflow", _artifact(candidate, GATE_PAGE)),
        ("the same on this machine", str(judged.record.with_name(PAGE)), ""),
        ("version", f"{name} v{candidate.number}", candidate.url),
        ("training", "its run in MLflow", candidate.tags.get("mlflow_run_url", "")),
    ]
    create_markdown_artifact(
        run_pages.gate_text(read_json(judged.record), f"v{candidate.number}", links),
        key=artifact_key(name, "gate"),
        description=f"v{candidate.number}: {judged.verdict.summary}",
    )


def show_batch(minted: "Minted", champion: Version) -> None:
    """Show a batch that was minted: counts, sheet, and where it came from."""
    from gan.assets.manifest import SHEET, read_batch

    card = read_batch(minted.folder)
    lineage = card.lineage
    links = [
        ("model", f"{champion.recipe} v{champion.number}", champion.url),
        ("training", "its run in MLflow", lineage.get("mlflow_run_url", "")),
        ("data version (DVC)", lineage.get("data_version", ""), ""),
        ("bundle", card.bundle_digest[:12], ""),
    ]
    picture = run_pages.picture_text(minted.folder / SHEET, "The contact sheet")
    create_markdown_artifact(
        run_pages.batch_text(card, minted.folder, links, picture),
        key=artifact_key(champion.recipe, "batch"),
        description=f"{minted.accepted} assets from v{champion.number}: {minted.batch_id}",
    )


def show_links(mill: Mill, champion: Version | None, batch: "Path | None", compare: str) -> None:
    """Show where all that belongs to a retraining is, in every system.

    Args:
        mill: The run.
        champion: What is in production now; None: nothing yet.
        batch: The folder of the batch that was minted, if one was.
        compare: The page of all trainings.
    """
    name, layout = mill.recipe.name, mill.layout
    links: list[Link] = []
    if champion:
        release = layout.release(name, champion.number)
        links += [
            ("champion", f"{name} v{champion.number}", champion.url),
            ("its training", "run in MLflow", champion.tags.get("mlflow_run_url", "")),
            ("its gate page", "in MLflow", _artifact(champion, GATE_PAGE)),
            ("made by the flow run", "in Prefect", champion.tags.get("flow_run_url", "")),
            ("data version (DVC)", champion.tags.get("data_version", ""), ""),
            ("code (git)", champion.tags.get("git_revision", "").removeprefix("-dirty"), ""),
            ("bundle", champion.digest, ""),
            ("release folder", shown(release) if release.exists() else "", ""),
        ]
    links += [
        ("all trainings", "compared, in MLflow", compare),
        ("data of now (DVC)", versions.data_version(layout, name), ""),
        ("report on the data", str(layout.data_report(name) / "index.html"), ""),
        ("batch", str(batch) if batch else "", ""),
    ]
    create_markdown_artifact(
        run_pages.links_text(links),
        key=artifact_key(name, "links"),
        description=f"Where everything of {name} is: MLflow, DVC, git, files",
    )


def _artifact(version: Version, page: str) -> str:
    """Return the address of a page among the artifacts of a version's training, "" without one."""
    base, _, view = version.tags.get("mlflow_run_url", "").partition("?")
    return f"{base}/artifacts/release/{page}?{view}" if base else ""


class ProgressBar:
    """A progress bar on the run's page; Prefect being away costs nothing but the bar."""

    def __init__(self, recipe: str) -> None:
        """Create the bar for a training of the recipe."""
        self._key = artifact_key(recipe, "training")
        self._artifact: UUID | None = None
        self._lock = threading.Lock()
        self._create()

    def show(self, row: Mapping[str, Any]) -> None:
        """Move the bar to a row's share of the budget."""
        from httpx import HTTPError
        from prefect.artifacts import update_progress_artifact
        from prefect.exceptions import PrefectException

        if self._artifact is None:
            return
        share = 100 * float(row["share"])
        speed, left = row["images_per_second"], row["eta_seconds"]
        words = f"{row['kimg']:.1f} kimg, {speed:.0f} images/s, {duration(left)} left"
        if "fd" in row:
            words += f", fd {row['fd']:.2f}"
        try:
            with self._lock:
                update_progress_artifact(self._artifact, share, words)
        except (HTTPError, PrefectException):
            self._artifact = None  # said by Prefect's own log; training is not disturbed

    def _create(self) -> None:
        from httpx import HTTPError
        from prefect.artifacts import create_progress_artifact
        from prefect.exceptions import PrefectException

        try:
            created = create_progress_artifact(0.0, key=self._key, description="0 kimg")
            self._artifact = cast("UUID", created)  # called outside of an event loop
        except (HTTPError, PrefectException):
            self._artifact = None
