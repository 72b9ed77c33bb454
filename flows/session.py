"""What the commands share: finding the workspace, bringing the servers up, calling a flow."""

import importlib
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flows.settings import Settings
    from flows.stack import Stack
    from gan.paths import Layout


def place() -> "tuple[Layout, Settings]":
    """Return workspace and settings, with every library's analytics off from here on.

    Raises:
        UsageError: There is no workspace here, or a setting is impossible.
    """
    from flows.settings import load_settings, quiet_environment, workspace

    layout, settings = workspace(), load_settings()
    os.environ.update(quiet_environment(settings, layout))
    return layout, settings


def require_recipe(layout: "Layout", recipe: str) -> None:
    """Refuse an unknown recipe before anything is started."""
    from gan.recipe import load_recipe

    load_recipe(layout.params, recipe)


def start_stack(layout: "Layout", settings: "Settings") -> "Stack":
    """Start the servers, and the scheduler beside a Prefect server of ours."""
    from flows import stack
    from flows.settings import quiet_environment

    found = stack.status(layout, settings)
    if "down" in {found.prefect.state, found.mlflow.state}:
        print("starting Prefect and MLflow ...", file=sys.stderr)
    found = stack.up(layout, settings)
    if found.prefect.state == "up" and not found.others:
        environment = quiet_environment(settings, layout)
        stack.spawn(layout, "scheduler", [sys.executable, "-m", "flows.deploy"], environment)
        found = stack.status(layout, settings)
    return found


@contextmanager
def servers(layout: "Layout", settings: "Settings") -> Iterator[Callable[..., Any]]:
    """Yield a runner of flows, with the servers up; Prefect's own console lines stay quiet."""
    start_stack(layout, settings)
    os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")

    def run(module: str, name: str, *arguments: object, **options: object) -> Any:
        return getattr(importlib.import_module(module), name)(*arguments, **options)

    yield run


def look_at_source(layout: "Layout", settings: "Settings", recipe: str) -> None:
    """Pin what lies at the recipe's address or in its torchvision set, and tell if it changed."""
    from flows.listing import refresh
    from gan.recipe import load_recipe

    found = refresh(layout, load_recipe(layout.params, recipe), download=settings.download)
    if found and found.changed:
        print(f"  {found.note}", file=sys.stderr)


def stages(layout: "Layout", recipe: str, names: tuple[str, ...]) -> None:
    """Reproduce DVC stages without a flow, telling each."""
    from flows.story import Step, Story
    from flows.versions import reproduce

    require_recipe(layout, recipe)
    story = Story(recipe)
    for name in names:
        started = time.monotonic()
        done = reproduce(layout, name, recipe)
        story.tell(Step(name, done.state, time.monotonic() - started, "; ".join(done.because)))
