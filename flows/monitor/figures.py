"""What is shown to Prometheus: the name, the help text with its unit, and where the figure is.

Each figure is a function of one thing and the time of the round; None: it is not known, or there is
none.
"""

from collections.abc import Callable
from datetime import datetime
from typing import TypeVar

from flows.monitor.snapshot import (
    Batch,
    Gpu,
    Machine,
    Pool,
    Product,
    Run,
    RunKey,
    Server,
    Snapshot,
    Training,
)

_T = TypeVar("_T")
Figure = tuple[str, str, Callable[[_T, datetime], float | None]]


def _age(since: datetime | None, now: datetime) -> float | None:
    """Return how long ago something was; a clock that was set back makes it no less than 0."""
    return None if since is None else max(0.0, (now - since).total_seconds())


MONITOR: tuple[Figure[Snapshot], ...] = (
    (
        "monitor_round_timestamp_seconds",
        "When the monitor looked last, seconds since 1970.",
        lambda seen, _: seen.time.timestamp(),
    ),
    (
        "monitor_round_duration_seconds",
        "How long that look took, seconds.",
        lambda seen, _: seen.seconds,
    ),
    (
        "monitor_problems",
        "Parts that could not be looked at in the last round.",
        lambda seen, _: len(seen.problems),
    ),
)
SERVERS: tuple[Figure[Server], ...] = (
    (
        "server_up",
        "1: the server answers, 0: it does not.",
        lambda server, _: server.answer_seconds is not None,
    ),
    (
        "server_answer_seconds",
        "How long the server took to answer, seconds.",
        lambda server, _: server.answer_seconds,
    ),
)
POOLS: tuple[Figure[Pool], ...] = (
    (
        "queue_runs",
        "Runs of a work pool that are due and have not begun.",
        lambda pool, _: pool.waiting,
    ),
    (
        "queue_oldest_age_seconds",
        "Time since the oldest of them was due, seconds; 0 where none waits.",
        lambda pool, now: _age(pool.oldest_due, now) or 0.0,
    ),
    (
        "running_runs",
        "Runs of a work pool that have begun and not ended; pool none: begun by hand.",
        lambda pool, _: pool.running,
    ),
    (
        "workers",
        "Workers of a pool that gave a sign of life lately.",
        lambda pool, _: pool.workers,
    ),
)
RUNS: tuple[Figure[Run], ...] = (
    (
        "run_last_end_age_seconds",
        "Time since the last run ended that was not skipped, seconds.",
        lambda run, now: _age(run.ended, now),
    ),
    (
        "run_last_duration_seconds",
        "From the start of that run to its end, seconds.",
        lambda run, _: run.seconds,
    ),
)
SUCCESSES: tuple[Figure[tuple[RunKey, datetime]], ...] = (
    (
        "run_last_success_age_seconds",
        "Time since the last run ended that completed, seconds.",
        lambda success, now: _age(success[1], now),
    ),
)
PRODUCTS: tuple[Figure[Product], ...] = (
    (
        "champion_version",
        "The version in production, by the ledger; 0: there is none yet.",
        lambda product, _: product.champion.version if product.champion else 0,
    ),
    (
        "champion_age_seconds",
        "Time since that version became champion, seconds.",
        lambda product, now: _age(product.champion.since if product.champion else None, now),
    ),
    (
        "challenger_version",
        "The version that MLflow calls challenger; 0: there is none.",
        lambda product, _: product.challenger,
    ),
    (
        "approvals_waiting",
        "Versions that wait for a person's word.",
        lambda product, _: product.waiting is not None,
    ),
    (
        "approval_oldest_age_seconds",
        "Time since that word was asked for, seconds; 0 where none is.",
        lambda product, now: _age(product.waiting.since if product.waiting else None, now) or 0.0,
    ),
    (
        "production_on_hold",
        "1: nothing is minted until somebody resumes, 0: production runs.",
        lambda product, _: product.held is not None,
    ),
    (
        "drift_last_age_seconds",
        "Time since the images were last compared with the champion's, seconds.",
        lambda product, now: _age(product.drift[1] if product.drift else None, now),
    ),
)
COUNTERS: tuple[Figure[Product], ...] = (
    (
        "batches",
        "Batches that were told of in the file of notices.",
        lambda product, _: product.totals.batches,
    ),
    (
        "assets_accepted",
        "Assets in those batches.",
        lambda product, _: product.totals.accepted,
    ),
    (
        "assets_candidates",
        "Candidates that were made for those batches.",
        lambda product, _: product.totals.candidates,
    ),
)
BATCHES: tuple[Figure[tuple[str, Batch]], ...] = (
    (
        "batch_last_age_seconds",
        "Time since the last batch was complete, seconds.",
        lambda batch, now: _age(batch[1].made, now),
    ),
    (
        "batch_last_accepted",
        "Assets in the last batch.",
        lambda batch, _: batch[1].accepted,
    ),
    (
        "batch_last_acceptance_ratio",
        "Share of its candidates that passed every screen, 0 to 1.",
        lambda batch, _: batch[1].passed_share,
    ),
)
TRAININGS: tuple[Figure[tuple[str, Training]], ...] = (
    (
        "training_images",
        "Real images that the training was shown so far.",
        lambda training, _: training[1].images,
    ),
    (
        "training_images_per_second",
        "Speed of the training, real images a second.",
        lambda training, _: training[1].images_per_second,
    ),
    (
        "training_distance",
        "Its own Frechet distance when it was measured last; less is better.",
        lambda training, _: training[1].distance,
    ),
    (
        "training_eta_seconds",
        "Time until the budget of the training ends, seconds.",
        lambda training, _: training[1].eta_seconds,
    ),
    (
        "training_budget_ratio",
        "Share of the budget that is used, 0 to 1.",
        lambda training, _: training[1].share,
    ),
)
MACHINE: tuple[Figure[Machine], ...] = (
    (
        "disk_free_bytes",
        "Free on the disk with the workspace, bytes.",
        lambda machine, _: machine.free_bytes,
    ),
    (
        "disk_size_bytes",
        "Size of that disk, bytes.",
        lambda machine, _: machine.total_bytes,
    ),
)
FOLDERS: tuple[Figure[tuple[str, int]], ...] = (
    (
        "folder_size_bytes",
        "What a folder of the workspace takes on the disk, bytes; counted every half hour.",
        lambda folder, _: folder[1],
    ),
)
GPUS: tuple[Figure[Gpu], ...] = (
    (
        "gpu_utilisation_ratio",
        "Share of the time that the GPU was at work, 0 to 1.",
        lambda gpu, _: gpu.utilisation,
    ),
    (
        "gpu_memory_used_bytes",
        "Memory of the GPU in use, bytes.",
        lambda gpu, _: gpu.memory_used_bytes,
    ),
    (
        "gpu_memory_size_bytes",
        "Memory of the GPU, bytes.",
        lambda gpu, _: gpu.memory_total_bytes,
    ),
    (
        "gpu_power_watts",
        "Power that the GPU draws, watts.",
        lambda gpu, _: gpu.power_watts,
    ),
)
CERTIFICATES: tuple[Figure[tuple[str, datetime]], ...] = (
    (
        "certificate_remaining_seconds",
        "Time until the certificate ends that assets are signed with, seconds.",
        lambda certificate, now: (certificate[1] - now).total_seconds(),
    ),
)
