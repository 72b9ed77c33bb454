"""What a person said of each asset of a batch, bound to the bytes that the person saw.

`review.json` lies in the batch's folder. It holds the SHA-256 of `batch.json`, which holds that of
everything: a batch that changed since has no review.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from gan.assets.manifest import BATCH, LOCK, MANIFEST, REVIEW, Row, read_batch, read_rows
from gan.durable import drop_partials, read_json, run_lock, sha256, write_json
from gan.errors import ApprovalError, DamagedError, UsageError

Word = Literal["accept", "reject"]
MAX_NOTE_CHARS = 1000
_WAIT_SECONDS = 10.0
_ALL = "all"


class Review(BaseModel):
    """What `review.json` says.

    Attributes:
        format: Of this file.
        batch: Its id.
        batch_sha256: Of the `batch.json` that was looked at.
        reviewer: Who spoke last.
        time_utc: When.
        decisions: By asset; one that is not there is undecided.
        notes: What was said of an asset, by asset.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    batch: str
    batch_sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    reviewer: str = Field(min_length=1)
    time_utc: str
    decisions: dict[str, Word]
    notes: dict[str, str]


def find_review(folder: Path) -> Review | None:
    """Return the review of a batch, None where nobody looked.

    Raises:
        ApprovalError: It is of other bytes: the batch changed since.
        DamagedError: It is malformed, or the batch is not complete.
    """
    path = folder / REVIEW
    if not path.exists():
        return None
    try:
        review = Review.model_validate(read_json(path))
    except ValidationError as error:
        where = ".".join(str(part) for part in error.errors()[0]["loc"])
        raise DamagedError(
            f"{path}: {where} is not as it was written. Delete it and review the batch again."
        ) from error
    if review.batch_sha256 != _digest(folder):
        raise ApprovalError(
            f"{path}: is about another state of batch {folder.name}, which changed since. "
            "Delete it and review the batch again."
        )
    return review


def decide(
    folder: Path,
    *,
    accept: Iterable[str] = (),
    reject: Iterable[str] = (),
    actor: str,
    notes: Mapping[str, str] | None = None,
    withdraw: Iterable[str] = (),
) -> Review:
    """Add words on assets to the review of a batch; a later word on an asset replaces an earlier.

    Args:
        folder: Of the batch.
        accept: Assets that may go out; `all` is every one that has no word yet.
        reject: Assets that may not; `all` likewise.
        actor: Who says so.
        notes: What is said of an asset; an empty one removes what was said.
        withdraw: Assets whose word is taken back; `all` is every one.

    Raises:
        UsageError: One is not among the accepted assets of the batch, or is named twice.
        ApprovalError: The review that is there is about another state of the batch.
        DamagedError: The batch or its review cannot be read.
        BusyError: Another process writes the review right now.
    """
    accept, reject, withdraw = set(accept), set(reject), set(withdraw)
    said = dict(notes or {})
    if _ALL in accept & reject:
        raise UsageError(f"{folder}: the rest cannot be both accepted and rejected.")
    with _alone(folder):
        known = {row.asset for row in reviewable(folder)}
        if odd := sorted({*accept, *reject, *withdraw, *said} - known - {_ALL}):
            raise UsageError(
                f"{folder}: {odd[0]!r} is not one of its accepted assets; see {MANIFEST}."
            )
        if both := sorted(accept & reject):
            raise UsageError(f"{folder}: {both[0]} cannot be both accepted and rejected.")
        before = find_review(folder)
        decisions: dict[str, Word] = dict(before.decisions) if before else {}
        if _ALL in withdraw:
            decisions = {}
        decisions |= dict.fromkeys(reject - {_ALL}, "reject")
        decisions |= dict.fromkeys(accept - {_ALL}, "accept")
        if rest := known - set(decisions):
            if _ALL in accept:
                decisions |= dict.fromkeys(rest, "accept")
            elif _ALL in reject:
                decisions |= dict.fromkeys(rest, "reject")
        kept = {a: n.strip()[:MAX_NOTE_CHARS] for a, n in said.items()}
        all_notes = {**(before.notes if before else {}), **kept}
        review = Review(
            batch=read_batch(folder).batch,
            batch_sha256=_digest(folder),
            reviewer=actor,
            time_utc=datetime.now(UTC).isoformat(timespec="seconds"),
            decisions={a: word for a, word in sorted(decisions.items()) if a not in withdraw},
            notes={asset: note for asset, note in sorted(all_notes.items()) if note},
        )
        write_json(folder / REVIEW, review.model_dump())
    return review


def reviewable(folder: Path) -> list[Row]:
    """Return the assets that a person decides about: those that the screens accepted.

    Raises:
        DamagedError: The batch is not complete.
    """
    read_batch(folder)
    return [row for row in read_rows(folder / MANIFEST) if row.verdict == "accepted"]


def undecided(rows: Iterable[Row], review: Review | None) -> list[str]:
    """Return the assets that have no word yet."""
    decisions = review.decisions if review else {}
    return [row.asset for row in rows if row.asset not in decisions]


def _digest(folder: Path) -> str:
    try:
        return sha256(folder / BATCH)
    except OSError as error:
        raise DamagedError(
            f"{folder / BATCH}: missing. The batch is not complete; mint it again."
        ) from error


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Let one process at a time read and write the review; what a kill left half written goes."""
    with run_lock(folder / LOCK, f"reviewing {folder.name}", patience_seconds=_WAIT_SECONDS):
        drop_partials(folder, REVIEW)
        yield
