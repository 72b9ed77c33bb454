"""What a flow run shows on its page in Prefect: verdict, metrics, gate, batch, steps, progress."""

import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

from prefect.artifacts import create_markdown_artifact, create_table_artifact

from flows.registry import Version
from flows.story import Mill, Story, artifact_key, headline
from gan.durable import read_json

if TYPE_CHECKING:
    from uuid import UUID

    from flows.gate.judging import Judged
    from gan.assets.batch import Minted

SHEET = "index.html"


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
    verdict = read_json(mill.layout.facts(mill.recipe.name) / "verdict.json")
    lines = [
        f"- {'ok' if each['success'] else '**failed**'}: {each['says']}"
        for each in verdict["expectations"]
    ]
    page = mill.layout.data_report(mill.recipe.name) / "index.html"
    state = "met" if verdict["success"] else "failed"
    create_markdown_artifact(
        f"# Data contract: {state}\n\n" + "\n".join(lines) + f"\n\nReport: `{page}`",
        key=artifact_key(mill.recipe.name, "data-contract"),
        description=f"{state}: {verdict['accepted']:,} of {verdict['images']:,} images accepted",
    )


def show_metrics(mill: Mill) -> None:
    """Show the metrics of the trained bundle."""
    report = read_json(mill.layout.evaluation(mill.recipe.name) / "metrics.json")
    rows = [
        {"metric": name} | {part: values.get(part) for part in ("value", "low", "high", "n")}
        for name, values in report["metrics"].items()
    ]
    distance, found = headline(report)
    create_table_artifact(
        rows,
        key=artifact_key(mill.recipe.name, "metrics"),
        description=f"{distance} {found['value']:.2f}; bundle "
        f"{report['bundle_digest'][:12]}, metric id {report['metric_id']}",
    )


def show_gate(mill: Mill, candidate: Version, judged: "Judged") -> None:
    """Show the gate's verdict with a sentence for each check, and where the page is."""
    from flows.gate.page import summary

    create_markdown_artifact(
        f"{summary(read_json(judged.record))}\n\nPage: `{judged.page}`",
        key=artifact_key(mill.recipe.name, "gate"),
        description=f"v{candidate.number}: {judged.verdict.summary}",
    )


def show_batch(minted: "Minted", champion: Version) -> None:
    """Show a batch that was minted."""
    create_markdown_artifact(
        f"# Batch {minted.batch_id}\n\n{minted.accepted} of {minted.wanted} wanted assets, from "
        f"{minted.candidates} candidates of "
        f"[{champion.recipe} v{champion.number}]({champion.url}).\n\n"
        f"Contact sheet: `{minted.folder / SHEET}`",
        key=artifact_key(champion.recipe, "batch"),
        description=f"{minted.accepted} assets from v{champion.number}: {minted.batch_id}",
    )


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
        words = f"{row['kimg']:.1f} kimg, {speed:.0f} images/s, {left:.0f} s left"
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
