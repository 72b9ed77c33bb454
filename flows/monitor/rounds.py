"""One round: everything is looked at once, and what cannot be looked at hides nothing else."""

import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import TypeVar

from flows.monitor import servers
from flows.monitor.machine import MachineReader
from flows.monitor.products import ProductReader
from flows.monitor.schedules import ScheduleReader
from flows.monitor.snapshot import Product, Schedules, Server, Snapshot
from flows.settings import Settings
from gan.errors import GanmillError
from gan.paths import Layout

_Found = TypeVar("_Found")


class Watcher:
    """Looks at everything again and again."""

    def __init__(self, layout: Layout, settings: Settings) -> None:
        """Look at this workspace and its servers."""
        self._settings = settings
        self._products = ProductReader(layout)
        self._schedules = ScheduleReader(settings)
        self.machine = MachineReader(layout, settings)
        self._problems: dict[str, str] = {}

    def look(self, watched: Callable[[str], datetime]) -> Snapshot:
        """Return what one round sees; what cannot be looked at is a line in `problems`.

        Args:
            watched: Tells since when a recipe is looked after.
        """
        now, began = datetime.now(UTC), time.monotonic()
        self._problems = {}
        found = servers.look(self._settings)
        products = self._part("the workspace", lambda: self._products.read(watched))
        self._problems |= self._products.problems
        if products and _answers(found, "mlflow"):
            products = tuple(self._with_challenger(product) for product in products)
        known = None if products is None else [pair for each in products for pair in _pairs(each)]
        schedules: Schedules | None = None
        if _answers(found, "prefect"):
            schedules = self._part("Prefect", lambda: self._schedules.read(known, now))
        return Snapshot(
            time=now,
            servers=found,
            schedules=schedules,
            products=products,
            machine=self._part("the disk", self.machine.read),
            certificates=self._part("the certificate", self.machine.certificates),
            problems=self._problems,
            seconds=time.monotonic() - began,
        )

    def _part(self, name: str, read: Callable[[], _Found]) -> _Found | None:
        try:
            return read()
        except (GanmillError, OSError) as error:
            self._problems[name] = str(error)
            return None

    def _with_challenger(self, product: Product) -> Product:
        found = self._part("MLflow", lambda: servers.challenger(self._settings, product.name))
        return replace(product, challenger=found)


def _pairs(product: Product) -> list[tuple[str, str]]:
    return [(product.name, campaign) for campaign in ("", *product.campaigns)]


def _answers(found: tuple[Server, ...], name: str) -> bool:
    return any(each.name == name and each.answer_seconds is not None for each in found)
