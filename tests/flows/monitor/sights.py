"""Snapshots for the tests: all is well but for what is given."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from flows.monitor.snapshot import (
    Batch,
    Champion,
    Gpu,
    Late,
    Machine,
    Pool,
    Product,
    Run,
    RunKey,
    RunState,
    Schedules,
    Server,
    Snapshot,
    Totals,
    Training,
)
from gan.sections.production import AlertsSpec

NOW = datetime(2027, 3, 1, 12, 0, tzinfo=UTC)
GIGABYTE = 10**9
KEY: RunKey = ("retrain", "stickers", "")


def ago(**time: float) -> datetime:
    """Return a time before `NOW`, say `ago(hours=3)`."""
    return NOW - timedelta(**time)


def product(**changes: Any) -> Product:
    """Return a recipe that is well, with these changes."""
    well = Product(
        name="stickers",
        campaigns=("chat",),
        alerts=AlertsSpec(),
        watched=ago(days=90),
        champion=Champion(3, ago(days=2)),
        challenger=4,
        decisions={"promoted": 3, "rejected": 1},
        batch=Batch("2027-03-01-ab", ago(hours=1), 60, 80, {"accepted": 60, "spare": 4}),
        totals=Totals(7, 420, 500, {"batch.delivered": 7}, ago(hours=1)),
        drift=("pass", ago(hours=6)),
        training=Training(True, 30_016, 195.5, 0.48, 150.0, 0.5),  # noqa: FBT003
    )
    return replace(well, **changes)


def run(state: RunState = "completed", **changes: Any) -> Run:
    """Return a scheduled retraining that ended three hours ago."""
    ended = Run(
        key=KEY, state=state, ended=ago(hours=3), seconds=300.0, message="", is_by_hand=False
    )
    return replace(ended, **changes)


def schedules(*runs: Run, late: tuple[Late, ...] = (), workers: int = 1) -> Schedules:
    """Return what Prefect knows: one pool, these runs."""
    pool = Pool("ganmill", True, workers, 2, 1, ago(minutes=2))  # noqa: FBT003
    given = runs or (run(),)
    return Schedules(
        (pool,), {each.key: each for each in given}, {each.key: ago(days=1) for each in given}, late
    )


def snapshot(**changes: Any) -> Snapshot:
    """Return a look at which all is well, with these changes."""
    well = Snapshot(
        time=NOW,
        seconds=0.25,
        servers=(
            Server("prefect", "http://127.0.0.1:4200", 0.01),
            Server("mlflow", "http://127.0.0.1:5000", 0.02),
        ),
        schedules=schedules(),
        products=(product(),),
        machine=Machine(
            300 * GIGABYTE,
            1000 * GIGABYTE,
            {"assets": 5 * GIGABYTE},
            (Gpu(0, "NVIDIA H200", 0.97, 20 << 30, 140 << 30, 412.5),),
        ),
        certificates={"signing.pem": NOW + timedelta(days=365)},
    )
    return replace(well, **changes)
