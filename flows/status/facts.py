"""What `ganmill status` knows: everything is looked at at once, and nobody is waited for for long.

A part that could not be looked at is None and has a line in `problems`: not knowing is told.
"""

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeVar

from flows import brief_http, ledger, mlflow_view, stack
from flows.brief_http import Asked
from flows.disk_use import Size, free_bytes, size_of
from flows.ledger import Entry
from flows.open_alerts import Alert, read_alerts
from flows.schedules import prefect_view
from flows.schedules.prefect_view import Coming, Pool, Run
from flows.settings import Settings
from flows.stack import Stack
from flows.status import recipes
from flows.status.recipes import Batch, Decided, Training
from flows.succession import disagreement
from gan.errors import GanmillError
from gan.paths import Layout
from gan.recipe import load_recipes

_BATCHES = 3
_COUNTING_SECONDS = 0.5  # each group of folders, all at the same time
_T = TypeVar("_T")


@dataclass(frozen=True)
class Champions:
    """What MLflow says of a recipe.

    Attributes:
        champion: The number of its version; None: there is none.
        challenger: Likewise.
        torn: How alias and ledger came apart, and what mends it; "" where they agree.
    """

    champion: int | None
    challenger: int | None
    torn: str


@dataclass(frozen=True)
class Product:
    """How a recipe stands.

    Attributes:
        recipe: Its name.
        decided: What the ledger says.
        champions: What MLflow says; None: it did not.
        retraining: The last one that Prefect knows.
        training: The retraining that goes on on this machine.
        batches: The newest first.
    """

    recipe: str
    decided: Decided
    champions: Champions | None
    retraining: Run | None
    training: Training | None
    batches: list[Batch]

    @property
    def champion(self) -> int | None:
        """The champion as MLflow has it, or the ledger where MLflow did not say."""
        return self.champions.champion if self.champions else self.decided.champion

    @property
    def since(self) -> datetime | None:
        """When the champion became it; None where the ledger knows of another one."""
        return self.decided.since if self.champion == self.decided.champion else None


@dataclass(frozen=True)
class Scheduled:
    """What Prefect says.

    Attributes:
        pools: That our deployments use.
        coming: Deployments with a schedule, the soonest first.
        retrainings: The last of each recipe.
        pages: Where a person sees Prefect's pages.
    """

    pools: list[Pool]
    coming: list[Coming]
    retrainings: dict[str, Run]
    pages: str

    @property
    def idle(self) -> list[str]:
        """The pools that no worker looks after."""
        return [pool.name for pool in self.pools if not pool.workers]


@dataclass(frozen=True)
class Disk:
    """The disk of the workspace: what is free, how large it is, what groups of folders take."""

    free_bytes: int
    total_bytes: int
    folders: dict[str, Size]


@dataclass(frozen=True)
class Status:
    """All of it.

    Attributes:
        time: When it was looked at.
        stack: The servers, and what runs beside them.
        scheduled: None: Prefect did not say.
        products: In the order of `params.yaml`.
        alerts: The open ones of the monitor.
        disk: None: it does not answer.
        problems: What could not be looked at, and why.
    """

    time: datetime
    stack: Stack
    scheduled: Scheduled | None
    products: list[Product]
    alerts: list[Alert]
    disk: Disk | None
    problems: list[str]


def look(layout: Layout, settings: Settings) -> Status:
    """Return how everything is now; nothing is started or changed.

    Raises:
        RecipeError: `params.yaml` holds something impossible.
    """
    names = list(load_recipes(layout.params))
    problems: list[str] = []
    with ThreadPoolExecutor() as threads:
        servers = threads.submit(stack.status, layout, settings)
        asked = threads.submit(_scheduled, settings)
        sized = threads.submit(_disk, layout)
        alerts = _told(threads.submit(read_alerts, layout), problems)
        entries = _told(threads.submit(ledger.read, layout.ledger), problems) or []
        registered = threads.submit(_registered, settings, entries, names)
        scheduled = _told(asked, problems)
        champions = _told(registered, problems) or {}
        products = [
            Product(
                recipe=name,
                decided=recipes.decided(entries, name),
                champions=champions.get(name),
                retraining=scheduled.retrainings.get(name) if scheduled else None,
                training=recipes.training(layout, name),
                batches=recipes.last_batches(layout, name, _BATCHES),
            )
            for name in names
        ]
        disk = _told(sized, problems)
        found = servers.result()
    lines = list(dict.fromkeys(problems))
    return Status(datetime.now(UTC), found, scheduled, products, alerts or [], disk, lines)


def _scheduled(settings: Settings) -> Scheduled:
    """Return what Prefect says.

    Raises:
        ServiceError: It does not answer, or refuses.
    """
    prefect = brief_http.prefect(settings)
    with prefect.understood():
        ours = prefect_view.deployments(prefect)
        names = {str(each["work_pool_name"]) for each in ours if each["work_pool_name"]}
        return Scheduled(
            pools=prefect_view.pools(prefect, names),
            coming=prefect_view.coming(prefect, ours),
            retrainings=prefect_view.last_runs(prefect, "retrain"),
            pages=settings.prefect_pages,
        )


def _registered(
    settings: Settings, entries: Sequence[Entry], names: Sequence[str]
) -> dict[str, Champions]:
    """Return what MLflow says of each recipe; a server that hangs is waited for once.

    Raises:
        ServiceError: It does not answer, or refuses.
    """
    mlflow = brief_http.mlflow(settings)
    with mlflow.understood():
        return {name: _champions(mlflow, entries, name) for name in names}


def _champions(mlflow: Asked, entries: Sequence[Entry], recipe: str) -> Champions:
    """Return what MLflow says of a recipe, held against the ledger.

    Raises:
        ServiceError: It does not answer, or refuses.
    """
    named = mlflow_view.aliases(mlflow, recipe)
    number, ledgers = named.get("champion"), recipes.decided(entries, recipe).champion
    torn = ""
    if number != ledgers and entries:
        wanted = ledgers if number is None else number
        version = mlflow_view.version(mlflow, recipe, wanted) if wanted else None
        there = {version.number} if version else set()
        torn = disagreement(list(entries), recipe, version if number else None, there)
    return Champions(number, named.get("challenger"), torn)


def _disk(layout: Layout) -> Disk:
    """Return how the disk is.

    Raises:
        OSError: It does not answer.
    """
    groups = {
        "models": (layout.root / "models", layout.root / "runs", layout.bundle_store),
        "assets": (layout.root / "assets",),
        "data": (layout.root / "data",),
        "cache": (layout.root / ".dvc" / "cache", layout.state / "dvc-store", layout.features),
        "servers": (layout.state / "mlflow", layout.state / "prefect"),
    }
    with ThreadPoolExecutor() as threads:
        counted = {
            name: threads.submit(size_of, folders, seconds=_COUNTING_SECONDS)
            for name, folders in groups.items()
        }
        return Disk(
            *free_bytes(layout.root), {name: each.result() for name, each in counted.items()}
        )


def _told(found: "Future[_T]", problems: list[str]) -> _T | None:
    """Return what was found; what could not be looked at becomes a line."""
    try:
        return found.result()
    except (GanmillError, OSError) as error:
        problems.append(" ".join(str(error).split()))
        return None
