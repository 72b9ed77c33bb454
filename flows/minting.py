"""Minting with the workplace's own means: its signing key, its references, its workers.

What `gan.assets` must be told is gathered here: which data the model was trained on, which batches
came before, where keys lie, and who does the work. Work is done in shards, each a Prefect task:
on threads of this machine (Pillow and torch let each other run) or on the machines of a Dask
cluster; the bytes are the same everywhere.
"""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from prefect import task
from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner

from flows.datasets.checkout import checkout
from flows.settings import Settings
from flows.story import Mill, say
from gan.durable import read_json
from gan.errors import GanmillError, UsageError
from gan.paths import Layout

if TYPE_CHECKING:
    from gan.assets.batch import Marks
    from gan.bundle import Bundle
    from gan.screening.references import References

_JobT = TypeVar("_JobT")
_DoneT = TypeVar("_DoneT")


def marks(layout: Layout, settings: Settings) -> "Marks":
    """Return where the keys lie that assets are marked with."""
    from gan.assets.batch import Marks
    from gan.marking.identity import Signing

    signing = Signing(layout.signing, settings.signing_certificate, settings.signing_key)
    return Marks(signing, settings.watermark_key)


def references(mill: Mill, bundle: "Bundle") -> "References":
    """Return what assets are held against: the metric's network, the model's training images."""
    from gan.screening.references import References

    layout, name = mill.layout, mill.recipe.name
    extractor = layout.extractor(name)
    return References(
        extractor=extractor if extractor.is_dir() else None,
        training=_training_data(layout, name, bundle.card.data_digest),
        store=layout.features,
        moderator=mill.settings.moderator,
        workspace=layout.root,
    )


def past_batches(layout: Layout, recipe: str, count: int) -> list[Path]:
    """Return the last complete batches of a recipe, the oldest of them first."""
    from gan.assets.manifest import BATCH

    if count == 0:
        return []
    cards = layout.batches(recipe).glob(f"*/{BATCH}")
    complete = sorted(cards, key=lambda card: (card.stat().st_mtime_ns, card.parent.name))
    return [card.parent for card in complete[-count:]]


def workers(settings: Settings) -> Callable[..., Iterable[Any]]:
    """Return what does shards of work, in order: `run(work, jobs)`.

    Raises:
        UsageError: A Dask scheduler is named, and the extra that speaks to it is not installed.
    """

    def run(work: Callable[[_JobT], _DoneT], jobs: Sequence[_JobT]) -> Iterable[_DoneT]:
        if not jobs:
            return
        with _task_runner(settings) as runner:
            futures = [runner.submit(_shard, parameters={"work": work, "job": job}) for job in jobs]
            for future in futures:
                yield future.result()

    return run


@task(name="shard", persist_result=False)
def _shard(work: Callable[[_JobT], _DoneT], job: _JobT) -> _DoneT:
    return work(job)


def _task_runner(settings: Settings) -> TaskRunner[Any]:
    if settings.dask_scheduler is None:
        return ThreadPoolTaskRunner(max_workers=settings.mint_workers)
    try:
        from prefect_dask.task_runners import DaskTaskRunner
    except ImportError as error:
        raise UsageError(
            "GANMILL_DASK_SCHEDULER is set, but the extra is missing. "
            "Run: pip install 'ganmill[cluster]'"
        ) from error
    return DaskTaskRunner(address=settings.dask_scheduler)


def _training_data(layout: Layout, recipe: str, digest: str) -> Path | None:
    """Return the prepared images that a model was trained on, brought back if need be."""
    present = layout.train_data(recipe)
    if _digest_of(present) == digest:
        return present
    there = layout.checkout(recipe, digest) / "train"
    if _digest_of(there) == digest:
        return there
    try:
        return checkout(layout, recipe, digest[:12]) / "train"
    except GanmillError as error:  # the batch says then that nobody looked for copies
        say(f"  the images that the model was trained on cannot be looked at: {error}")
        return None


def _digest_of(folder: Path) -> str | None:
    """Return the data digest of prepared images; None where there are none."""
    meta = folder / "meta.json"
    return str(read_json(meta)["digest"]) if meta.is_file() else None
