"""The story of a run, told twice: a line for the terminal, the same line in Prefect's log.

Each step ends with one line: what, how it went, how long, why. The links between the systems
(`Lineage`) are part of it.
"""

import os
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flows.settings import Settings
from gan.paths import Layout
from gan.recipe import Recipe


@dataclass(frozen=True)
class Step:
    """How one step of a flow went.

    Attributes:
        name: Of the stage or task.
        state: `unchanged`, `ran`, `restored`, `passed`, ... one word for a table.
        seconds: Wall time.
        note: Why it ran, or what came out; one line.
    """

    name: str
    state: str
    seconds: float
    note: str = ""


@dataclass(frozen=True)
class Lineage:
    """The ids that a flow run, an MLflow run, a model version and a batch carry of each other."""

    flow_run: str
    flow_run_url: str
    flow_run_name: str


@dataclass(frozen=True)
class Mill:
    """What every step of a flow run needs to know: where, which servers, recipe and run."""

    layout: Layout
    settings: Settings
    recipe: Recipe
    lineage: Lineage


@dataclass
class Story:
    """Collects the steps of one flow run and tells each as it ends."""

    recipe: str
    steps: list[Step] = field(default_factory=list)

    def tell(self, step: Step) -> None:
        """Add a step, print its line, and log it to the flow run."""
        self.steps.append(step)
        line = f"{step.name:<10} {step.state:<10} {step.seconds:6.1f} s   {step.note}".rstrip()
        say(f"  {line}")
        log_to_run(f"{self.recipe}: {line}")


def say(line: str) -> None:
    """Print one line for the person at the terminal."""
    print(line, file=sys.stderr, flush=True)


def log_to_run(line: str) -> None:
    """Log one line to the present Prefect run; outside of one there is nobody to tell."""
    run_log()(line)


def run_log() -> Callable[[str], object]:
    """Return what logs a line to the present Prefect run, from any thread."""
    from prefect.exceptions import MissingContextError
    from prefect.logging import get_run_logger

    try:
        return get_run_logger().info
    except MissingContextError:
        return lambda _: None


def lineage(settings: Settings) -> Lineage:
    """Return the present flow run's id, page and name."""
    from prefect.runtime import flow_run

    run_id = str(flow_run.id)
    return Lineage(run_id, f"{settings.prefect_pages}/runs/flow-run/{run_id}", str(flow_run.name))


def artifact_key(recipe: str, name: str) -> str:
    """Return the key of a recipe's artifact; Prefect allows lower case, digits and dashes."""
    return re.sub(r"[^a-z0-9]+", "-", f"{recipe}-{name}").strip("-")


def shown(path: Path) -> str:
    """Return a path as a person would type it from here, or in full."""
    relative = os.path.relpath(path)
    return relative if not relative.startswith("..") else str(path)


def headline(report: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return the distance of a `metrics.json`: what it is called, and its entry."""
    name = str(report["distance"])
    return name, report["metrics"][name]
