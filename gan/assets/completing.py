"""What describes a batch once its files are there: companions, manifests, pages, the signed card.

Written in this order, the card last: it holds the digests of all the others.
"""

import os
from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from gan.assets.candidates import sample
from gan.assets.croissant import croissant
from gan.assets.files import Picture, aside_path, marked, require_fit
from gan.assets.finishing import Work
from gan.assets.manifest import (
    BATCH,
    CROISSANT,
    MANIFEST,
    PARQUET,
    SET_ASIDE,
    BatchCard,
    MarksCard,
    Past,
    Row,
    Watermarked,
)
from gan.assets.packing import beside, members
from gan.assets.parquet import parquet
from gan.assets.sheet import write_sheet
from gan.bundle import Bundle
from gan.durable import remove, sha256, write_atomically, write_json
from gan.marking.identity import open_identity
from gan.marking.statement import sign_statement
from gan.platforms import Icon, arrange
from gan.screening.copies import training_picture
from gan.screening.references import References



def complete(
    bundle: Bundle,
    work: Work,
    rows: Sequence[Row],
    notes: Sequence[str],
    past: Sequence[Past],
    references: References,
) -> None:
    """Write all that a batch has beside its assets, `batch.json` last.

    Args:
        bundle: The model.
        work: The batch.
        rows: Of all candidates, by ordinal; their files are there.
        notes: What a screen could not look at, and why.
        past: Earlier batches that this one was held against.
        references: Where the training images are that a copy is shown beside.

    Raises:
        GanmillError: The folder cannot be written, or a pack's icon breaks a limit.
    """
    folder = work.folder
    digests = _write_companions(bundle, work, rows)
    asides = [aside_path(row.asset) for row in rows if row.verdict != "accepted"]
    digests |= {path: sha256(folder / path) for path in asides}
    _remove_strays(work, {*digests, *(file.path for row in rows for file in row.files)})
    lines = "".join(row.line() for row in rows)
    digests[MANIFEST] = write_atomically(folder / MANIFEST, lines.encode())
    digests[PARQUET] = write_atomically(folder / PARQUET, parquet(rows))
    card = _card(work, rows, notes, past, digests)
    shown = partial(training_picture, references.training) if references.training else None
    pages = write_sheet(folder, card, rows, shown)
    digests |= {path: sha256(folder / path) for path in pages}
    digests[CROISSANT] = write_json(folder / CROISSANT, croissant(card, rows))
    card = card.model_copy(update={"digests": digests})
    document = card.model_dump(mode="json", exclude={"signature"})
    identity = open_identity(work.marks.signing)
    write_json(folder / BATCH, sign_statement(document, identity))


def _write_companions(bundle: Bundle, work: Work, rows: Sequence[Row]) -> dict[str, str]:
    """Write what goes with each pack; return digests by path."""
    accepted = {row.asset: row for row in rows if row.verdict == "accepted"}
    known = members(accepted.values(), work.spec)
    digests, icons = {}, list[Icon]()
    for to in work.platforms():
        for pack in arrange(to, known):
            found = beside(to, pack, work.request.recipe, work.request.campaign)
            icons += found.icons
            for path, text in found.texts.items():
                digests[path] = write_atomically(work.folder / path, text)
    drawn = _drawn(bundle, work, [accepted[icon.asset] for icon in icons])
    for icon in icons:
        payload = _icon(work, icon, accepted[icon.asset], drawn[icon.asset])
        digests[icon.path] = write_atomically(work.folder / icon.path, payload)
    return digests


def _drawn(bundle: Bundle, work: Work, rows: Sequence[Row]) -> dict[str, Picture]:
    """Return the images of some assets, uint8 [C, H, W]; the model draws neighbours at once."""
    some = sorted({row.ordinal: row for row in rows}.items())
    numbers = [bundle.card.classes.index(row.class_) for _, row in some]
    if not some:
        return {}
    ordinals = [ordinal for ordinal, _ in some]
    images = sample(bundle, work.spec, work.names.request_id, ordinals, numbers)
    return {row.asset: image for (_, row), image in zip(some, images, strict=True)}


def _icon(work: Work, icon: Icon, row: Row, image: Picture) -> bytes:
    """Return a pack's own picture, marked as the asset that it shows."""
    identity, key = open_identity(work.marks.signing), work.marks.key()
    origin = work.origin(row.asset, row.ordinal, row.class_)
    payload = marked(image, icon.to, work.spec, origin, identity, key)
    require_fit(payload, icon.to, icon.path)
    return payload


def _remove_strays(work: Work, wanted: set[str]) -> None:
    """Remove what an earlier try wrote, before a kill, under another verdict or in another pack."""
    for name in {SET_ASIDE, *work.spec.platforms}:
        for room, _, files in os.walk(work.folder / name):
            paths = [Path(room) / file for file in files]
            for path in paths:
                if path.relative_to(work.folder).as_posix() not in wanted:
                    remove(path)


def _card(
    work: Work,
    rows: Sequence[Row],
    notes: Sequence[str],
    past: Sequence[Past],
    digests: dict[str, str],
) -> BatchCard:
    accepted = [row for row in rows if row.verdict == "accepted"]
    files = [file for row in accepted for file in row.files]
    identity = open_identity(work.marks.signing)
    request, spec = work.request, work.spec
    return BatchCard(
        batch=work.names.batch_id,
        recipe=request.recipe,
        campaign=request.campaign,
        slot=request.slot,
        seed=spec.seed,
        request=work.names.request_id,
        spec=spec.model_dump(mode="json"),
        wanted=spec.wanted,
        accepted=len(accepted),
        candidates=len(rows),
        verdicts=dict(Counter(row.verdict for row in rows)),
        classes=dict(Counter(row.class_ for row in accepted)),
        segments=dict(Counter(row.segment for row in accepted if row.segment)),
        bundle_digest=work.bundle_digest,
        lineage=request.lineage,
        notes=list(notes),
        past=list(past),
        marks=MarksCard(
            algorithm=identity.algorithm,
            fingerprint=identity.fingerprint,
            subject=identity.subject,
            is_local=identity.is_local,
        ),
        watermark=Watermarked(files=len(files), read=sum(file.is_read for file in files)),
        digests=digests,
    )
