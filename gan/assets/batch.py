"""Mint a batch of assets from a bundle; killed at any moment, the same call finishes it.

Rounds of candidates are drawn and looked at until the request is met or its budget ends, then
files are made of them, then what describes the batch is written, `batch.json` last. Both kinds of
work are cut into jobs that keep what they did: whoever calls again uses what is whole, and ends
with the same bytes, whatever did the jobs and however many at once.
"""

import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from gan.assets.candidates import Done
from gan.assets.completing import complete
from gan.assets.files import Marks
from gan.assets.finishing import Work
from gan.assets.making import Run, in_turn, make
from gan.assets.manifest import (
    BATCH,
    CANDIDATES,
    FINISHED,
    LOCK,
    MANIFEST,
    REQUEST,
    Past,
    read_batch,
)
from gan.assets.quota import cells
from gan.assets.request import Asked, Request, names, read_request
from gan.bundle import Bundle
from gan.durable import remove, remove_folder, run_lock, write_json
from gan.errors import DamagedError, DivergedError
from gan.marking.identity import open_identity
from gan.marking.label import draw_label
from gan.platforms import require_emojis
from gan.progress import Say, say
from gan.screening.references import References

__all__ = ["Done", "Marks", "Minted", "Run", "in_turn", "mint"]


@dataclass(frozen=True)
class Minted:
    """A complete batch.

    Attributes:
        batch_id: Its name.
        folder: Where it lies.
        wanted: Accepted assets that were asked for.
        accepted: Accepted assets that there are.
        passed: Candidates that passed every screen: the accepted, and those beyond the quota.
        candidates: Candidates that were drawn.
        rejection: Share of them that the campaign has the critic set aside, 0 to 1.
        made: Candidates that this call made files of; of the others there were.
        already: Whether the batch was complete before this call.
        seconds: What this call took.
    """

    batch_id: str
    folder: Path
    wanted: int
    accepted: int
    passed: int
    candidates: int
    rejection: float
    made: int
    already: bool
    seconds: float

    @property
    def short(self) -> int:
        """How many accepted assets are lacking: the budget ended first."""
        return self.wanted - self.accepted


def mint(
    bundle: Bundle,
    request: Request,
    destination: Path,
    marks: Marks,
    references: References,
    *,
    past: Sequence[Path] = (),
    run: Run = in_turn,
    progress: Say = say,
) -> Minted:
    """Write the batch `destination/<batch id>/`, or finish it; a complete one returns at once.

    A batch keeps the lineage, and the past batches, that it was begun with, whoever finishes it.

    Args:
        bundle: The exact version to mint from.
        request: What is asked for.
        destination: The folder of the recipe's batches.
        marks: What the files are signed and watermarked with.
        references: What candidates are held against.
        past: Complete batches in `destination`, the oldest first: no accepted asset may look like
            one of the last `spec.screens.past` of them.
        run: What does the jobs.
        progress: Where the lines of progress go.

    Raises:
        UsageError: The request names a class or platform that there is not, its label does not
            fit, something else than emoji is among its emoji, or a key or certificate cannot be
            used.
        BusyError: Another process mints this batch right now.
        DivergedError: The bundle makes images that are not finite.
        DamagedError: `batch.json` is there but malformed, or a past batch is not what it was.
        GanmillError: A file breaks a limit of its platform, the folder cannot be written, or the
            disk is full.
    """
    began = time.monotonic()
    called = names(request, bundle.digest)
    work = Work(destination / called.batch_id, request, called, bundle.digest, marks)
    _refuse_early(work, bundle)
    folder, made, already = work.folder, 0, True
    if not _is_at_rest(folder):
        with run_lock(folder / LOCK, f"minting {called.batch_id}"):
            already = (folder / BATCH).exists()  # perhaps while we came to the lock
            if not already:
                asked = _begin(work, _last(past, request.spec.screens.past))
                work = replace(work, request=asked.request)
                made = _fill(bundle, work, references, asked, run, progress)
            _tidy(folder)
            remove(folder / LOCK)
    card = read_batch(folder)
    return Minted(
        batch_id=card.batch,
        folder=folder,
        wanted=card.wanted,
        accepted=card.accepted,
        passed=card.accepted + card.verdicts.get("spare", 0),
        candidates=card.candidates,
        rejection=float(card.spec["rejection"]),
        made=made,
        already=already,
        seconds=time.monotonic() - began,
    )


def _refuse_early(work: Work, bundle: Bundle) -> None:
    """Find what cannot be minted before anything is written."""
    cells(work.spec, bundle.card.classes)
    require_emojis(work.spec.emoji)
    for to in work.platforms():
        if work.spec.label is not None:
            draw_label(np.zeros((to.height_px, to.width_px, 3), np.uint8), work.spec.label)
    open_identity(work.marks.signing)
    work.marks.key()


def _fill(
    bundle: Bundle, work: Work, references: References, asked: Asked, run: Run, progress: Say
) -> int:
    """Make a batch complete; return how many candidates files were made of."""
    try:
        making = make(bundle, work, references, asked.past, run, progress)
    except DivergedError:
        _tidy(work.folder)  # nobody can finish it
        raise
    complete(bundle, work, making.rows, making.notes, asked.past, references)
    return making.made


def _is_at_rest(folder: Path) -> bool:
    """Return whether a batch is complete, and no kill left anything beside it."""
    left = any((folder / name).exists() for name in (LOCK, REQUEST, CANDIDATES, FINISHED))
    return (folder / BATCH).exists() and not left


def _tidy(folder: Path) -> None:
    """Remove what is only for a batch in the making."""
    remove_folder(folder / CANDIDATES)
    remove_folder(folder / FINISHED)
    remove(folder / REQUEST)


def _last(past: Sequence[Path], count: int) -> Sequence[Path]:
    return past[len(past) - count :] if count < len(past) else past


def _begin(work: Work, past: Sequence[Path]) -> Asked:
    """Write down what is asked for, or return what the batch was begun with before a kill."""
    with suppress(DamagedError):  # none yet, or not one to finish this batch by
        return read_request(work.folder)
    pinned = [Past(batch=one.name, manifest_sha256=_manifest_digest(one)) for one in past]
    asked = Asked(request=work.request, bundle_digest=work.bundle_digest, past=pinned)
    write_json(work.folder / REQUEST, asked.document())
    return asked


def _manifest_digest(folder: Path) -> str:
    """Return the digest of a past batch's manifest, as its card has it.

    Raises:
        DamagedError: It is not complete.
    """
    return read_batch(folder).digests[MANIFEST]
