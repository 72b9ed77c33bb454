"""What one round of the monitor saw, as plain facts; the rules and the metrics read nothing else.

A part that could not be looked at is None and has a line in `problems`: not knowing is never taken
for health, nor for its opposite. Times are UTC.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from gan.sections.production import AlertsSpec

RunState = Literal["completed", "skipped", "failed", "crashed", "cancelled"]
RunKey = tuple[str, str, str]  # flow, recipe ("" of all), campaign ("": that of the recipe itself)
RUN_STATES: tuple[RunState, ...] = ("completed", "skipped", "failed", "crashed", "cancelled")
FLOWS = ("retrain", "generate", "drift", "reconcile")


@dataclass(frozen=True)
class Server:
    """One server.

    Attributes:
        name: prefect or mlflow.
        url: Its address, without a login.
        answer_seconds: How long it took to answer; None: it does not.
        is_ours: `ganmill up` starts it; else somebody else does.
    """

    name: str
    url: str
    answer_seconds: float | None
    is_ours: bool = True


@dataclass(frozen=True)
class Pool:
    """A work pool, or `none` for runs that no pool started.

    Attributes:
        name: Of the pool.
        has_schedules: Whether a deployment with an active schedule waits for its workers.
        workers: Those that gave a sign of life lately; None where no worker is asked for.
        waiting: Runs that are due and have not begun.
        running: Runs that have begun and not ended.
        oldest_due: When the first of those waiting was due.
    """

    name: str
    has_schedules: bool
    workers: int | None
    waiting: int
    running: int
    oldest_due: datetime | None


@dataclass(frozen=True)
class Run:
    """A flow run that ended.

    Attributes:
        key: Its flow, recipe and campaign.
        state: How it ended; `skipped` did nothing, as its schedule says.
        ended: When.
        seconds: From its start to its end.
        message: What it said at the end.
        is_by_hand: No deployment started it; whoever did was told how it ended.
    """

    key: RunKey
    state: RunState
    ended: datetime
    seconds: float
    message: str
    is_by_hand: bool


@dataclass(frozen=True)
class Late:
    """A scheduled run that is due and has not begun.

    Attributes:
        key: Its flow, recipe and campaign.
        due: When it should have begun.
        is_queued: Something else of its pool or deployment runs, so that it waits for its turn.
    """

    key: RunKey
    due: datetime
    is_queued: bool


@dataclass(frozen=True)
class Schedules:
    """What Prefect knows.

    Attributes:
        pools: By name, `none` last.
        last: The newest run of each key that ended and was not skipped.
        succeeded: When the newest of each that completed ended.
        late: Scheduled runs that should have begun.
    """

    pools: tuple[Pool, ...]
    last: Mapping[RunKey, Run]
    succeeded: Mapping[RunKey, datetime]
    late: tuple[Late, ...]


@dataclass(frozen=True)
class Champion:
    """The version in production, by the ledger, and since when."""

    version: int
    since: datetime


@dataclass(frozen=True)
class Waiting:
    """A version that waits for a person's word, and since when."""

    version: int
    since: datetime


@dataclass(frozen=True)
class Batch:
    """The newest complete batch.

    Attributes:
        name: Its id.
        made: When.
        accepted: Assets in it.
        candidates: What they were chosen from.
        verdicts: Candidates by verdict.
    """

    name: str
    made: datetime
    accepted: int
    candidates: int
    verdicts: Mapping[str, int]

    @property
    def passed_share(self) -> float:
        """Share of the candidates that passed every screen, 0 to 1; some of them are spare."""
        passed = self.accepted + self.verdicts.get("spare", 0)
        return passed / self.candidates if self.candidates else 0.0


@dataclass(frozen=True)
class Totals:
    """What the notices of a recipe add up to since the file of notices was begun.

    Attributes:
        batches: Told of.
        accepted: Assets in them.
        candidates: Made for them.
        events: Notices by event.
        delivered: When the last batch was told of that is not held; None: none was.
    """

    batches: int = 0
    accepted: int = 0
    candidates: int = 0
    events: Mapping[str, int] = field(default_factory=dict)
    delivered: datetime | None = None


@dataclass(frozen=True)
class Training:
    """A training, as its statistics stand now.

    Attributes:
        is_running: Whether a process is at it.
        images: Real images shown.
        images_per_second: Of late.
        distance: Its own Frechet distance when it was measured last; None: not yet.
        eta_seconds: Until its budget ends.
        share: Of the budget that is used, 0 to 1.
    """

    is_running: bool
    images: int
    images_per_second: float
    distance: float | None
    eta_seconds: float
    share: float


@dataclass(frozen=True)
class Product:
    """One recipe.

    Attributes:
        name: Of the recipe.
        campaigns: Names of those besides its own.
        alerts: What its recipe wants to be told.
        watched: Since when a monitor looks after it.
        champion: None: there is none yet.
        waiting: None: nothing waits for a person.
        held: Since when production is on hold; None: it runs.
        decisions: Lines of the ledger by what they say.
        challenger: Its version; 0: there is none, None: MLflow did not say.
        batch: None: there is none yet.
        totals: Of all batches.
        drift: How the last comparison ended, and when; None: there was none.
        training: None: there was none yet.
    """

    name: str
    campaigns: tuple[str, ...]
    alerts: AlertsSpec
    watched: datetime
    champion: Champion | None = None
    waiting: Waiting | None = None
    held: datetime | None = None
    decisions: Mapping[str, int] = field(default_factory=dict)
    challenger: int | None = None
    batch: Batch | None = None
    totals: Totals = Totals()
    drift: tuple[str, datetime] | None = None
    training: Training | None = None


@dataclass(frozen=True)
class Gpu:
    """One GPU; None where its driver does not say."""

    index: int
    name: str
    utilisation: float | None
    memory_used_bytes: int | None
    memory_total_bytes: int | None
    power_watts: float | None


@dataclass(frozen=True)
class Machine:
    """The machine that the monitor runs on.

    Attributes:
        free_bytes: Of the disk with the workspace.
        total_bytes: Of that disk.
        folders: Bytes by folder of the workspace; empty until they were counted.
        gpus: In the driver's order.
    """

    free_bytes: int
    total_bytes: int
    folders: Mapping[str, int] = field(default_factory=dict)
    gpus: tuple[Gpu, ...] = ()


@dataclass(frozen=True)
class Snapshot:
    """One round.

    Attributes:
        time: When it began.
        seconds: How long it took.
        servers: Prefect and MLflow.
        schedules: None: Prefect did not say.
        products: None: the recipes or the ledger cannot be read.
        machine: None: it cannot be looked at.
        certificates: When each certificate that signs assets ends, by file; None: it cannot be
            read.
        problems: What could not be looked at, and why; by part.
    """

    time: datetime
    seconds: float
    servers: tuple[Server, ...]
    schedules: Schedules | None
    products: tuple[Product, ...] | None
    machine: Machine | None
    certificates: Mapping[str, datetime] | None
    problems: Mapping[str, str] = field(default_factory=dict)
