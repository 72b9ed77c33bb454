"""Mint a batch of assets from a bundle; killed at any moment, the same call finishes it.

An asset is a function of (bundle, recipe, seed, slot, size, ordinal) alone: latents are drawn by
ordinal, and G always runs on whole chunks of 16 ordinals, since kernels may differ by batch size.
So neither the count, nor a kill, nor a second machine of the same kind changes a byte.
"""

import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import quoteattr

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from gan.assets.manifest import (
    BATCH,
    INDEX,
    LOCK,
    MANIFEST,
    REQUEST,
    SHEET,
    Asked,
    BatchCard,
    Names,
    Request,
    Row,
    names,
    read_batch,
    read_request,
    read_rows,
)
from gan.assets.sheet import write_sheet
from gan.bundle import Bundle, latents
from gan.durable import (
    drop_partials,
    remove,
    remove_folder,
    run_lock,
    sha256,
    write_atomically,
    write_json,
)
from gan.errors import DamagedError, DivergedError
from gan.image.encode import png
from gan.modality import modality
from gan.progress import Pace, Say, say
from gan.sections import AssetsSpec

CHUNK = 16
_JOURNAL = ".chunks"  # rows of each finished chunk, until the manifest is there
_BLANK_STD = 3.0  # of 255: below this in every channel there is nothing to see
_SYNTHETIC = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"


@dataclass(frozen=True)
class Minted:
    """A complete batch.

    Attributes:
        batch_id: Its name.
        folder: Where it lies.
        count: Assets in it.
        accepted: Those of them that are not blank.
        made: Assets made by this call; the others were there.
        already: Whether the batch was complete before this call.
        seconds: What this call took.
    """

    batch_id: str
    folder: Path
    count: int
    accepted: int
    made: int
    already: bool
    seconds: float


def mint(
    bundle: Bundle,
    spec: AssetsSpec,
    request: Request,
    destination: Path,
    *,
    progress: Say = say,
) -> Minted:
    """Write the batch `destination/<batch id>/`, or finish it; a complete one returns at once.

    A batch keeps the lineage that it was begun with, whoever finishes it.

    Args:
        bundle: The exact version to mint from.
        spec: Size and upscaling; count and seed are the request's.
        request: What is asked for.
        destination: The folder of the recipe's batches.
        progress: Where the lines of progress go.

    Raises:
        BusyError: Another process mints this batch right now.
        DivergedError: The bundle makes images that are not finite.
        DamagedError: `batch.json` is there but malformed.
        GanmillError: The folder cannot be written, or the disk is full.
    """
    began = time.monotonic()
    called = names(request, bundle.digest, spec)
    folder = destination / called.batch_id
    made = 0
    already = (folder / BATCH).exists()
    if not already:
        with run_lock(folder / LOCK, f"minting {called.batch_id}"):
            already = (folder / BATCH).exists()  # perhaps while we came to the lock
            if not already:
                asked = _begin(
                    folder, Asked(request=request, assets=spec, bundle_digest=bundle.digest)
                )
                made = _Mint(bundle, spec, asked.request, called, folder).run(progress)
            remove(folder / LOCK)
    if (folder / REQUEST).exists():
        remove(folder / REQUEST)
    card = read_batch(folder)
    seconds = time.monotonic() - began
    return Minted(card.batch, folder, card.count, card.accepted, made, already, seconds)


def _begin(folder: Path, asked: Asked) -> Asked:
    """Write down what is asked for, or return what the batch was begun with before a kill."""
    with suppress(DamagedError):  # none yet, or not one to finish this batch by
        return read_request(folder)
    write_json(folder / REQUEST, asked.model_dump())
    return asked


@dataclass(frozen=True)
class _Mint:
    """One batch in the making."""

    bundle: Bundle
    spec: AssetsSpec
    request: Request
    called: Names
    folder: Path

    def run(self, progress: Say) -> int:
        """Write what is not there yet, the batch's card last; return how many assets were made."""
        drop_partials(self.folder)
        drop_partials(self.folder / _JOURNAL)
        there = self._rows_there()
        rows: list[Row] = []
        made = 0
        network: nn.Module | None = None
        pace = Pace(f"batch {self.called.batch_id}: assets", self.request.count, progress)
        for start in range(0, self.request.count, CHUNK):
            ordinals = range(start, min(start + CHUNK, self.request.count))
            chunk = [there[ordinal] for ordinal in ordinals if ordinal in there]
            if len(chunk) < len(ordinals):
                network = network or self.bundle.generator("cpu")
                chunk = self._write_chunk(network, ordinals)
                made += len(ordinals)
            rows += chunk
            pace.at(len(rows))
        self._complete(rows)
        return made

    def _rows_there(self) -> dict[int, Row]:
        """Return rows by ordinal whose file lies there with the bytes that the row says."""
        sources = sorted((self.folder / _JOURNAL).glob("*.jsonl"))
        if (self.folder / MANIFEST).exists():
            sources.append(self.folder / MANIFEST)
        rows: dict[int, Row] = {}
        for source in sources:
            try:
                found = read_rows(source)
            except DamagedError:  # its assets are made again, to the same bytes
                continue
            rows |= {row.ordinal: row for row in found if self._is_there(row)}
        return rows

    def _is_there(self, row: Row) -> bool:
        path = self.folder / row.file
        return (
            row.asset == self.called.asset(row.ordinal)
            and row.bundle_digest == self.bundle.digest
            and path.is_file()
            and not path.is_symlink()
            and sha256(path) == row.sha256
        )

    def _write_chunk(self, network: nn.Module, ordinals: range) -> list[Row]:
        """Make and write the assets of one chunk, then its rows."""
        images = self._images(network, ordinals.start)
        classes = self.bundle.card.classes
        rows = []
        for ordinal, image in zip(ordinals, images, strict=False):
            asset = self.called.asset(ordinal)
            text = {"XML:com.adobe.xmp": _xmp(asset, self.bundle.digest)}
            payload = png(image, self.spec.size_px, self.spec.upscale, text)
            digest = write_atomically(self.folder / f"{asset}.png", payload)
            row = {
                "asset": asset,
                "file": f"{asset}.png",
                "sha256": digest,
                "ordinal": ordinal,
                "class": classes[ordinal % len(classes)],
                "seed": self.request.seed,
                "recipe": self.request.recipe,
                "bundle_digest": self.bundle.digest,
                "verdict": "blank" if is_blank(image) else "accepted",
            }
            for key in ("model_version", "mlflow_run", "flow_run", "data_version"):
                row[key] = self.request.lineage.get(key, "")
            rows.append(Row.model_validate(row))
        journal = self.folder / _JOURNAL / f"{ordinals.start:08d}.jsonl"
        write_atomically(journal, "".join(row.line() for row in rows).encode())
        return rows

    @torch.no_grad()
    def _images(self, network: nn.Module, start: int) -> NDArray[np.uint8]:
        """Return the images of the 16 ordinals from `start`, uint8 [16, C, H, W]."""
        ordinals = range(start, start + CHUNK)
        z = torch.cat([self._latent(ordinal) for ordinal in ordinals])
        c = torch.tensor(ordinals) % len(self.bundle.card.classes)
        try:
            return modality(self.bundle.card.modality).to_uint8(network(z, c))
        except DivergedError as error:
            remove(self.folder / REQUEST)  # nobody can finish it
            raise DivergedError(
                f"bundle {self.bundle.digest[:8]}: {error} Nothing is minted from it; "
                "promote another version."
            ) from error

    def _latent(self, ordinal: int) -> Tensor:
        place = ("asset", self.called.request_id, ordinal)
        return latents(self.request.seed, *place, count=1, z_dim=self.bundle.card.z_dim)

    def _complete(self, rows: list[Row]) -> None:
        """Write the manifest, the pages, and last the card that says: complete."""
        manifest = "".join(row.line() for row in rows).encode()
        digests = {MANIFEST: write_atomically(self.folder / MANIFEST, manifest)}
        accepted = sum(row.verdict == "accepted" for row in rows)
        classes = {row.class_: 0 for row in rows}
        for row in rows:
            classes[row.class_] += 1
        card = BatchCard(
            batch=self.called.batch_id,
            recipe=self.request.recipe,
            slot=self.request.slot,
            seed=self.request.seed,
            count=len(rows),
            accepted=accepted,
            blank=len(rows) - accepted,
            classes=classes,
            size_px=self.spec.size_px,
            upscale=self.spec.upscale,
            bundle_digest=self.bundle.digest,
            lineage=self.request.lineage,
            digests=digests,
        )
        write_sheet(self.folder, card, rows)
        digests = {
            **digests,
            SHEET: sha256(self.folder / SHEET),
            INDEX: sha256(self.folder / INDEX),
        }
        remove_folder(self.folder / _JOURNAL)
        write_json(self.folder / BATCH, card.model_copy(update={"digests": digests}).model_dump())


def is_blank(image: NDArray[np.uint8]) -> bool:
    """Return whether an image [C, H, W] uint8 is one flat colour, nearly.

    So is RGBA without any alpha, since it is premultiplied and holds no colour then.
    """
    return bool(image.astype(np.float64).std(axis=(1, 2)).max() < _BLANK_STD)


def _xmp(asset: str, bundle_digest: str) -> str:
    """Return the XMP packet that marks an asset as made by a model, and says by which."""
    return (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>\n'
        '<x:xmpmeta xmlns:x="adobe:ns:meta/">'
        '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        '<rdf:Description rdf:about=""'
        ' xmlns:xmp="http://ns.adobe.com/xap/1.0/"'
        ' xmlns:dc="http://purl.org/dc/elements/1.1/"'
        ' xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"'
        ' xmlns:ganmill="https://ganmill.invalid/ns/1.0/"'
        ' xmp:CreatorTool="ganmill"'
        f" dc:identifier={quoteattr(asset)}"
        f" ganmill:modelDigest={quoteattr(bundle_digest)}"
        f" Iptc4xmpExt:DigitalSourceType={quoteattr(_SYNTHETIC)}/>"
        "</rdf:RDF></x:xmpmeta>\n"
        '<?xpacket end="r"?>'
    )
