"""What the commands share: finding the workspace, bringing the servers up, calling a flow."""

import importlib
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from threading import Thread
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flows.schedules.deploy import Applied
    from flows.settings import Settings
    from flows.stack import Stack
    from gan.paths import Layout

_TITLES = {"prefect": "Prefect", "mlflow": "MLflow"}
# What a process that asks both servers was told of them.
_CLIENT = (
    "PREFECT_API_URL",
    "PREFECT_API_AUTH_STRING",
    "MLFLOW_TRACKING_URI",
    "MLFLOW_TRACKING_USERNAME",
    "MLFLOW_TRACKING_PASSWORD",
)


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


@dataclass(frozen=True)
class Started:
    """What `start_stack` found or made.

    Attributes:
        stack: Where all of it is.
        applied: What Prefect was told to run, None where it knew it already.
        notes: What servers have to say to people, say of an upgrade.
    """

    stack: "Stack"
    applied: "Applied | None"
    notes: tuple[str, ...]


def start_stack(layout: "Layout", settings: "Settings", *, renew: bool = False) -> Started:
    """Start what is missing: the servers; beside a Prefect server of ours a worker and the monitor.

    Args:
        layout: The workspace.
        settings: What the servers are to be.
        renew: Start again what runs with other settings; else that is refused.

    Raises:
        UsageError: A port is taken, or a server runs with other settings.
        ServiceError: A server does not start.
    """
    from flows import stack

    beside = _Beside(layout, settings)
    found = stack.status(layout, settings)
    down = [each.name for each in (found.prefect, found.mlflow) if each.state == "down"]
    if down or (found.prefect.state == "up" and not beside.works()):
        missing = " and ".join(_TITLES[name] for name in down)
        print(f"starting {missing or 'the worker'} ...", file=sys.stderr)
        if found.prefect.state != "given":
            beside.prepare()
    up = stack.up(layout, settings, then=beside, renew=renew)
    return Started(up, beside.applied, tuple(stack.notes(layout, down)))


def wait_for_worker(layout: "Layout", settings: "Settings", found: "Stack") -> None:
    """Return once Prefect has heard of the worker in every pool that is for processes.

    Raises:
        ServiceError: The worker ended, or stayed silent.
    """
    from flows import brief_http, stack
    from flows.schedules import prefect_view
    from flows.schedules.plans import POOL, TRAIN_POOL
    from gan.errors import ServiceError

    (uptime,) = [each.uptime_seconds or 0.0 for each in found.others if each.name == "worker"]
    since = datetime.now(UTC) - timedelta(seconds=uptime)
    asked = brief_http.prefect(settings)

    def is_heard() -> bool:
        try:
            pools = prefect_view.pools(asked, (TRAIN_POOL, POOL))
        except ServiceError:  # busy with what has just been started; `wait` has an end
            return False
        ours = [pool for pool in pools if pool.kind == "process"]
        return all(pool.seen and pool.seen > since for pool in ours)

    stack.wait(layout, "worker", is_heard)


class _Beside:
    """What is started beside a Prefect server of ours, once that answers."""

    def __init__(self, layout: "Layout", settings: "Settings") -> None:
        from flows.settings import quiet_environment

        self.applied: Applied | None = None
        self._layout, self._settings = layout, settings
        self._environment = quiet_environment(settings, layout)
        self._imports: Thread | None = None

    def prepare(self) -> None:
        """Import what Prefect's client and our flows need, while the servers start."""
        self._imports = Thread(target=_import_early, daemon=True)
        self._imports.start()

    def __call__(self, fresh: frozenset[str]) -> None:
        """Tell Prefect what is to run, if it or the worker is new; then start what is missing."""
        if self._imports:
            self._imports.join()  # two threads that import each other's halves get neither
        from flows import stack
        from flows.schedules.deploy import apply

        if "prefect" in fresh or not self.works():
            self.applied = apply(self._layout, self._settings)
        for name, module, more, url in (
            ("worker", "flows.schedules.worker", (), ""),
            ("monitor", "flows.monitor", ("GANMILL_METRICS_PORT", "GANMILL_HOST"), self._metrics),
        ):
            command = [sys.executable, "-m", module]
            same = (*_CLIENT, *more)
            stack.keep(self._layout, name, command, self._environment, same, url)

    def works(self) -> bool:
        """Tell whether the worker runs, and for this Prefect."""
        from flows import stack

        return stack.runs(self._layout, "worker", self._environment, _CLIENT)

    @property
    def _metrics(self) -> str:
        from flows.settings import reached

        return f"http://{reached(self._settings.host)}:{self._settings.metrics_port}/metrics"


def _import_early() -> None:
    importlib.import_module("prefect.client.orchestration")
    importlib.import_module("flows.retrain")


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
