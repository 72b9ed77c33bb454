"""What a batch says of itself, and whether a folder still is what it says.

    <platform>/...                   the assets, in the packs of each platform
    set_aside/<asset>.png            each candidate that is not for use, to look at
    contact_sheet.png  index.html    for people, with what lies below page/
    manifest.jsonl  manifest.parquet a row for each candidate, the same in both
    croissant.json                   the batch as a data set
    batch.json                       the card, signed, written last: a folder with it is complete

The card holds the digests of all but the assets, the manifest holds those; `verify` follows both.
"""

import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from gan.assets.records import BatchCard, File, MarksCard, Past, Row, Scores, Verdict, Watermarked
from gan.durable import read_json, sha256
from gan.errors import DamagedError

if TYPE_CHECKING:
    from gan.marking.identity import Known

__all__ = [
    "BATCH",
    "CANDIDATES",
    "CROISSANT",
    "FINISHED",
    "INDEX",
    "LOCK",
    "MANIFEST",
    "PARQUET",
    "PUBLISHED",
    "REQUEST",
    "REVIEW",
    "SET_ASIDE",
    "SHEET",
    "BatchCard",
    "File",
    "MarksCard",
    "Past",
    "Row",
    "Scores",
    "Verdict",
    "Watermarked",
    "asset_id",
    "begun",
    "read_batch",
    "read_rows",
    "verify",
]

MANIFEST, PARQUET, BATCH = "manifest.jsonl", "manifest.parquet", "batch.json"
SHEET, INDEX, CROISSANT = "contact_sheet.png", "index.html", "croissant.json"
SET_ASIDE = "set_aside"
LOCK, REQUEST, REVIEW, PUBLISHED = ".lock", ".request.json", "review.json", "published.jsonl"
CANDIDATES, FINISHED = ".candidates", ".finished"  # only while a batch is in the making
# Written by others, or left by a kill: no part of what was minted.
_OWN = frozenset({BATCH, LOCK, REQUEST, REVIEW, PUBLISHED, CANDIDATES, FINISHED})


def asset_id(request_id: str, ordinal: int) -> str:
    """Return how the candidate of a request with this ordinal is called, 16 hex digits."""
    return hashlib.sha256(json.dumps([request_id, ordinal]).encode()).hexdigest()[:16]


def read_rows(path: Path) -> list[Row]:
    """Return the rows of a manifest.jsonl.

    Raises:
        DamagedError: It is missing, or a line is not a row; the message has the line's number.
    """
    try:
        # Not splitlines: a class name may hold other line separators of Unicode.
        lines = path.read_bytes().decode().split("\n")[:-1]
    except (OSError, UnicodeDecodeError) as error:
        raise DamagedError(f"{path}: cannot be read ({error}). Mint the batch again.") from error
    rows = []
    for number, line in enumerate(lines, start=1):
        try:
            rows.append(Row.model_validate_json(line))
        except ValidationError as error:
            raise DamagedError(
                f"{path}: line {number}: {_first(error, 'line')}. Mint the batch again."
            ) from error
    return rows


def read_batch(folder: Path) -> BatchCard:
    """Return the card of a complete batch.

    Raises:
        DamagedError: `batch.json` is missing or malformed: the batch is not complete.
    """
    try:
        return BatchCard.model_validate(read_json(folder / BATCH))
    except ValidationError as error:
        raise DamagedError(
            f"{folder / BATCH}: {_first(error, 'card')}. Delete it and mint the batch again."
        ) from error


def begun(destination: Path) -> list[Path]:
    """Return the batches of a recipe that were begun and are not complete, by name."""
    return sorted(
        path.parent
        for path in destination.glob(f"*/{REQUEST}")
        if not (path.parent / BATCH).exists()
    )


def verify(folder: Path, known: "Known | None" = None) -> list[str]:
    """Return what is wrong with a batch, a line for each missing, extra, altered or foreign file.

    An empty list means that every byte is what was minted, and that the card is signed. Deleting
    `batch.json` and minting again mends a batch, to the same bytes.

    Args:
        folder: The batch.
        known: Whose signatures count as ours; any sound one does if not given.
    """
    from gan.marking.statement import check_statement

    try:
        card = read_batch(folder)
        check_statement(read_json(folder / BATCH), known)
    except DamagedError as error:
        return [str(error) if BATCH in str(error) else f"{BATCH}: {error}"]
    wanted = dict(card.digests)
    problems = [f"{BATCH}: lists no {name}" for name in (MANIFEST, PARQUET) if name not in wanted]
    is_listed = MANIFEST in wanted and _state(folder / MANIFEST, wanted[MANIFEST]) is None
    if is_listed:
        rows = read_rows(folder / MANIFEST)
        problems += list(_foreign(card, rows))
        wanted |= {file.path: file.sha256 for row in rows for file in row.files}
    states = {name: _state(folder / name, digest) for name, digest in sorted(wanted.items())}
    problems += [f"{name}: {state}" for name, state in states.items() if state]
    if is_listed:  # without a manifest to trust, every asset would seem extra
        problems += [f"{name}: extra" for name in sorted(set(_present(folder)) - set(wanted))]
    return problems


def _foreign(card: BatchCard, rows: list[Row]) -> Iterator[str]:
    """Yield a line for each row that is not of this card's request, and for wrong counts."""
    ours = (card.recipe, card.campaign, card.request, card.seed, card.bundle_digest)
    for place, row in enumerate(rows):
        if (row.recipe, row.campaign, row.request, row.seed, row.bundle_digest) != ours:
            yield f"{row.asset}: its row is of another request or model than {BATCH}"
        if row.ordinal != place or row.asset != asset_id(card.request, place):
            yield f"{row.asset}: is not the asset of ordinal {place} of this request"
    found = sum(row.verdict == "accepted" for row in rows)
    if (len(rows), found) != (card.candidates, card.accepted):
        yield (
            f"{MANIFEST}: {found} of {len(rows)} are accepted, {BATCH} says "
            f"{card.accepted} of {card.candidates}"
        )


def _present(folder: Path) -> Iterator[str]:
    """Yield the path of every file and link below a batch but those that are no part of it."""
    for room, folders, files in os.walk(folder):
        here = Path(room)
        if here == folder:
            folders[:] = [name for name in folders if name not in _OWN]
            files = [name for name in files if name not in _OWN]  # noqa: PLW2901
        links = [name for name in folders if (here / name).is_symlink()]
        for name in [*files, *links]:
            yield (here / name).relative_to(folder).as_posix()


def _state(path: Path, digest: str) -> str | None:
    """Return `missing` or `altered`, or None where the file has this SHA-256."""
    if path.is_symlink() or not path.is_file():
        return "altered" if path.is_symlink() or path.exists() else "missing"
    return None if sha256(path) == digest else "altered"


def _first(error: ValidationError, otherwise: str) -> str:
    """Return the first thing that is wrong with a record, with its place."""
    first = error.errors()[0]
    return f"{'.'.join(str(part) for part in first['loc']) or otherwise}: {first['msg']}"
