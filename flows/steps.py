"""The steps that several flows walk: each a Prefect task, told as it ends; those of the data first.

    refresh | ingest validate prepare | record

`refresh` looks at sources that DVC cannot watch, `record` keeps the accepted images as a version.
"""

import time
from collections.abc import Callable
from functools import partial
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.runtime import flow_run

from flows import listing, notices, versions
from flows.artifacts import show_verdict
from flows.datasets import catalog
from flows.story import Mill, Step, Story
from gan.errors import GanmillError

# What a step returns: one word for its state, a note, and a result for the flow.
Done = tuple[str, str, Any]


def run(story: Story, name: str, work: Callable[[], Done]) -> Any:
    """Run one step as a Prefect task, tell how it went, and return its result."""
    started = time.monotonic()

    @task(name=name, task_run_name=name, cache_policy=NO_CACHE)
    def step() -> Done:
        return work()

    try:
        state, note, result = step()
    except GanmillError:
        story.tell(Step(name, "failed", time.monotonic() - started))
        raise
    story.tell(Step(name, state, time.monotonic() - started, note))
    return result


def bring_in(mill: Mill, story: Story) -> None:
    """Bring the recipe's images up to date, hold the contract over them, and keep the version.

    Raises:
        ContractError: The images do not meet the data contract.
        GanmillError: A step failed.
    """
    if mill.recipe.data.source in {"url", "torchvision"}:
        run(story, "refresh", partial(_refresh, mill))
    for stage in ("ingest", "validate", "prepare"):
        run(story, stage, partial(stage_of_data, mill, stage))
    run(story, "record", partial(_record, mill))


def push(mill: Mill) -> tuple[str, str, None]:
    """Copy data and models to the DVC remote."""
    count = versions.push(mill.layout, mill.recipe.name)
    return ("pushed" if count else "unchanged"), f"{count} files" if count else "", None


def stage_of_data(mill: Mill, stage: str) -> tuple[str, str, None]:
    """Reproduce one DVC stage; show the verdict, and tell of accepted images."""
    name = mill.recipe.name
    done = versions.reproduce(mill.layout, stage, name)
    if stage == "validate":
        show_verdict(mill)
    if stage == "prepare" and done.state != "unchanged":
        payload = {"data_version": versions.data_version(mill.layout, name)}
        says = "the images meet the contract"
        notices.announce(
            mill.layout,
            mill.settings,
            "data.accepted",
            name,
            says,
            payload,
            wants_retrain=flow_run.flow_name != "retrain",  # which trains on them itself
        )
    return done.state, "; ".join(done.because), None


def _refresh(mill: Mill) -> tuple[str, str, None]:
    found = listing.refresh(mill.layout, mill.recipe, download=mill.settings.download)
    if found is None:
        return "unchanged", "", None
    return "changed" if found.changed else "unchanged", found.note, None


def _record(mill: Mill) -> tuple[str, str, None]:
    known = {each.digest for each in catalog.records(mill.layout, mill.recipe.name)}
    made = catalog.record(mill.layout, mill.recipe)
    state = "unchanged" if made.digest in known else "recorded"
    return state, f"data {made.digest[:12]}, {made.accepted:,} images", None
