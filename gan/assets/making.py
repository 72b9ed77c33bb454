"""Rounds of candidates until a request is met or its budget ends, then files of them."""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

from gan.assets.candidates import JOB as DRAWN_AT_ONCE
from gan.assets.candidates import Done, DrawJob, draw, read_drawn
from gan.assets.finishing import JOB as FINISHED_AT_ONCE
from gan.assets.finishing import FinishJob, Item, Work, finish, read_finished
from gan.assets.manifest import CANDIDATES, FINISHED, Past, Row
from gan.assets.quota import cells, most_candidates
from gan.assets.settling import Settled, Settling
from gan.bundle import Bundle
from gan.durable import drop_partials
from gan.platforms import Member, arrange
from gan.progress import Pace, Say
from gan.screening.references import References

_JobT = TypeVar("_JobT", DrawJob, FinishJob)


class Run(Protocol):
    """What does jobs, in this process or elsewhere."""

    def __call__(self, work: Callable[[_JobT], Done], jobs: Sequence[_JobT], /) -> Iterable[Done]:
        """Yield what `work` returns for each job, in their order."""


def in_turn(work: Callable[[_JobT], Done], jobs: Sequence[_JobT], /) -> Iterable[Done]:
    """Do one job after the other, here."""
    return map(work, jobs)


@dataclass(frozen=True)
class Made:
    """Candidates with their files, not yet described.

    Attributes:
        rows: Of all candidates, by ordinal.
        notes: What a screen could not look at, and why.
        made: Candidates that files were made of now; those of the others were there.
    """

    rows: list[Row]
    notes: list[str]
    made: int


def make(
    bundle: Bundle,
    work: Work,
    references: References,
    past: Sequence[Past],
    run: Run,
    progress: Say,
) -> Made:
    """Make what a request asks for, of what lies there and what is lacking.

    Args:
        bundle: The model.
        work: The batch.
        references: What candidates are held against.
        past: Earlier batches, beside this one, that no accepted asset may look like.
        run: What does the jobs.
        progress: Where the lines of progress go.

    Raises:
        DivergedError: The model makes images that are not finite.
        DamagedError: A past batch is not what it was.
        GanmillError: A file breaks a limit of its platform, or the folder cannot be written.
    """
    _drop_partials(work.folder)
    settling = Settling(
        cells(work.spec, bundle.card.classes),
        most_candidates(work.spec),
        work.spec.screens.near_distance,
    )
    for one in past:
        settling.remember(work.folder.parent / one.batch, one)
    drawn, notes = _draw(bundle, work, references, settling, run, progress)
    finishing = list(_finish_jobs(work, drawn, _items(work, settling.settled)))
    made = _do(run, finish, finishing, f"batch {work.names.batch_id}: assets", progress)
    rows = [row for job in finishing for row in read_finished(job.path)]
    return Made(rows, notes, made)


def _draw(
    bundle: Bundle,
    work: Work,
    references: References,
    settling: Settling,
    run: Run,
    progress: Say,
) -> tuple[list[DrawJob], list[str]]:
    """Settle candidates round by round; return the jobs that kept them, and the screens' notes."""
    drawn: list[DrawJob] = []
    notes: dict[str, None] = {}  # in order, each once
    saying = f"batch {work.names.batch_id}: candidates"
    while numbers := settling.next_round():
        first = len(settling.settled)
        classes = [settling.asked[number].number for number in numbers]
        jobs = [
            DrawJob(
                room=work.folder / CANDIDATES,
                bundle=bundle.folder,
                bundle_digest=bundle.digest,
                request_id=work.names.request_id,
                spec=work.spec,
                references=references,
                first=start,
                classes=tuple(classes[start - first : stop - first]),
            )
            for start, stop in _cut(first, first + len(classes), DRAWN_AT_ONCE)
        ]
        _do(run, draw, jobs, saying, progress)
        for job in jobs:
            kept = read_drawn(job.path, job.key)
            notes |= dict.fromkeys(kept.notes)
            for ordinal, look in enumerate(kept.looks, job.first):
                settling.settle(work.names.asset(ordinal), numbers[ordinal - first], look)
        drawn += jobs
    return drawn, list(notes)


def _items(work: Work, settled: Sequence[Settled]) -> list[Item]:
    """Return what there is to finish; accepted ones know their place in the packs."""
    assets = [work.names.asset(ordinal) for ordinal in range(len(settled))]
    accepted = [
        Member(
            asset, each.cell.class_, each.cell.segment, work.spec.emoji.get(each.cell.class_, "")
        )
        for asset, each in zip(assets, settled, strict=True)
        if each.verdict == "accepted"
    ]
    paths: dict[str, tuple[str, ...]] = {}
    for to in work.platforms():
        for pack in arrange(to, accepted):
            for member in pack.members:
                paths[member.asset] = (*paths.get(member.asset, ()), pack.path(member.asset))
    return [
        Item(
            asset=asset,
            ordinal=ordinal,
            class_=each.cell.class_,
            segment=each.cell.segment,
            verdict=each.verdict,
            reason=each.reason,
            like=each.like,
            paths=paths.get(asset, ()),
        )
        for ordinal, (asset, each) in enumerate(zip(assets, settled, strict=True))
    ]


def _finish_jobs(
    work: Work, drawn: Sequence[DrawJob], items: Sequence[Item]
) -> Iterator[FinishJob]:
    """Cut what there is to finish, so that a job reads one kept file."""
    for job in drawn:
        for start, stop in _cut(job.first, job.first + job.count, FINISHED_AT_ONCE):
            yield FinishJob(
                work=work,
                kept=job.path,
                key=job.key,
                start=job.first,
                room=work.folder / FINISHED,
                items=tuple(items[start:stop]),
            )


def _cut(first: int, end: int, at_once: int) -> Iterator[tuple[int, int]]:
    """Yield ranges of ordinals that end at whole multiples of `at_once`: chunks stay whole."""
    while first < end:
        stop = min(end, (first // at_once + 1) * at_once)
        yield first, stop
        first = stop


def _do(
    run: Run, work: Callable[[_JobT], Done], jobs: Sequence[_JobT], doing: str, progress: Say
) -> int:
    """Have jobs done and say how far they are; return how many candidates were made now."""
    total = sum(job.count for job in jobs)
    pace = Pace(doing, total, progress)
    done = made = 0
    for each in run(work, jobs):
        done += each.count
        made += each.made
        pace.at(done)
    return made


def _drop_partials(folder: Path) -> None:
    """Remove the temporary files of killed writers, wherever they are in the batch."""
    for room, _, _ in os.walk(folder):
        drop_partials(Path(room))
