"""Look at a file: is it ours, is it unchanged, and what made it?

Layers are asked from the strongest to the weakest: the manifest (its SHA-256), content
credentials, metadata (which anybody can write), the watermark, the perceptual index, and, for a
file that carries no mark, the recipes' detectors. A certain answer ends it, unless it shall be
thorough.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any

from flows.provenance import layers
from flows.provenance.answers import Answer, Layer, Verdict
from flows.provenance.detecting import Detectors
from flows.provenance.index import Entry, Index, build_index
from flows.provenance.views import open_picture
from gan.errors import DamagedError, UsageError
from gan.image.decode import MAX_FILE_BYTES, Rejected
from gan.marking import credentials, xmp
from gan.marking.identity import Known, Signing, read_known
from gan.paths import Layout

SUFFIXES = frozenset({".png", ".webp", ".jpg", ".jpeg", ".gif", ".bmp", ".tif", ".tiff"})
_BARE = frozenset({"claim", "none"})
_OF_ROW = (
    "recipe", "campaign", "class_", "model_version", "seed", "ordinal", "request", "data_version",
)  # fmt: skip
_OPEN = frozenset({"no mark of ours", "claims to be ours"})


def look(
    layout: Layout, signing: Signing, watermark_key: bytes, path: Path, *, thorough: bool = False
) -> Answer:
    """Return whose a file is.

    Args:
        layout: The workspace whose batches are known.
        signing: Whose signatures count as ours; nothing is made there.
        watermark_key: Of the watermark.
        path: The file.
        thorough: Whether to ask every layer, and for a watermark at any scale, in any case.

    Raises:
        UsageError: The file cannot be read.
    """
    return Witness(layout, signing, watermark_key, thorough=thorough).look(path)


def look_all(
    layout: Layout, signing: Signing, watermark_key: bytes, folder: Path, *, thorough: bool = False
) -> Iterator[Answer]:
    """Yield whose each image file below a folder is, by path; hidden ones and links are left out.

    Arguments are as in `look`; the index of all batches is built once. The answer of a file that
    cannot be read has a `problem` and no layers.

    Raises:
        UsageError: There is no such folder, or no image file in it.
    """
    if not folder.is_dir():
        raise UsageError(f"{folder}: is no folder.")
    paths = sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in SUFFIXES and _is_there(path)
        if not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )
    if not paths:
        raise UsageError(f"{folder}: holds no image file ({', '.join(sorted(SUFFIXES))}).")
    witness = Witness(layout, signing, watermark_key, thorough=thorough)
    for path in paths:
        try:
            answer = witness.look(path)
        except UsageError as error:
            reason = str(error).removeprefix(f"{path}: ")
            answer = Answer(path, "no mark of ours", 0.0, (), problem=reason)
        yield answer


def verify_batch(signing: Signing, folder: Path) -> list[str]:
    """Return what is wrong with a batch: what its own digests tell, and a signature not of ours.

    An empty list means that every byte is what was minted and signed here.
    """
    from gan.assets.manifest import verify

    return verify(folder, read_known(signing))


class Witness:
    """All that is known here, opened once, for any number of files."""

    def __init__(
        self, layout: Layout, signing: Signing, watermark_key: bytes, *, thorough: bool
    ) -> None:
        """Take the arguments of `look`."""
        self._layout = layout
        self._key = watermark_key
        self._thorough = thorough
        self._known: Known = read_known(signing)
        self._detectors = Detectors(layout)

    @cached_property
    def index(self) -> Index:
        """What all batches say."""
        return build_index(self._layout, self._known)

    def look(self, path: Path) -> Answer:
        """Return whose a file is.

        Raises:
            UsageError: The file cannot be read.
        """
        payload, problem = _read(path)
        entry = self.index.files.get(hashlib.sha256(payload).hexdigest())
        said = credentials.read(payload, self._known)
        asked = [
            layers.manifest(entry),
            layers.content_credentials(said),
            layers.metadata(xmp.read(payload)),
        ]
        is_certain = _judged(asked) == "ours, unchanged"
        picture = None
        if (self._thorough or not is_certain) and not problem:
            try:
                picture = open_picture(payload)
            except Rejected as error:
                problem = str(error)
        if picture is not None:
            thorough = self._thorough or all(layer.weight == "none" for layer in asked)
            asked.append(layers.watermark(picture, self._key, self.index, thorough=thorough))
            told = [each.asset for each in (asked[-1], asked[1]) if each.weight not in _BARE]
            asked.append(layers.looks(picture, self.index, told))
        verdict = _judged(asked)
        is_open = verdict in _OPEN
        asset = "" if is_open else _asset(asked)
        if asset and asked[1].weight == "hint" and asked[1].asset not in {"", asset}:
            asked[1] = layers.copied(asked[1], asset)
        made_by, notes = ({}, []) if is_open else self._made_by(asset, entry, said)
        synthetic = self._detectors.ask(picture) if picture is not None and is_open else ()
        return Answer(
            path=path,
            verdict=verdict,
            confidence=max(layer.confidence for layer in asked),
            layers=tuple(asked),
            synthetic=synthetic,
            problem=problem,
            notes=(*self.index.notes, *self._detectors.notes, *notes),
            **made_by,
        )

    def _made_by(
        self, asset: str, entry: Entry | None, said: credentials.Credentials | None
    ) -> tuple[dict[str, Any], list[str]]:
        """Return the fields that say what made a file, of the row or as signed; and notes."""
        notes = []
        try:
            row = self.index.row(asset)
        except DamagedError as error:
            row, notes = None, [str(error)]
        if row is not None:
            of_row = {name: getattr(row, name) for name in _OF_ROW}
            batch = self.index.assets[asset].folder.name
            found = {"asset": asset, "batch": batch, "model_digest": row.bundle_digest, **of_row}
        elif said and said.is_ours and said.origin and said.origin.asset == asset:
            found = asdict(said.origin)
        elif entry is not None and entry.batch.is_known:  # a page of a batch
            recipe, batch = entry.batch.recipe, entry.batch.folder.name
            found = {"asset": asset, "recipe": recipe, "batch": batch}
        else:
            found = {"asset": asset}
        return found, notes


def _judged(asked: list[Layer]) -> Verdict:
    """Return the verdict that layers add up to.

    With its public key anybody can put the watermark into a picture, and signed credentials can be
    copied onto another file: neither is believed alone, unless the picture looks like the asset.
    """
    found = [layer for layer in asked if layer.weight != "none"]
    weights = {layer.weight for layer in found}
    if "proof" in weights:
        return "ours, unchanged"
    hints = [layer for layer in found if layer.weight == "hint"]
    seen = {layer.asset for layer in hints if layer.name == "looks"}
    told = {layer.asset for layer in hints if layer.name != "looks"}
    if "mark" in weights or seen & told:
        return "ours, altered"
    if any(layer.name in {"looks", "watermark"} for layer in hints):
        return "probably ours"
    return "claims to be ours" if found else "no mark of ours"


def _asset(asked: list[Layer]) -> str:
    """Return the asset that a file of ours is: as proven, else as its pixels say.

    Credentials can be copied onto another file: they only decide between a watermark and looks.
    """
    proven = [layer.asset for layer in asked if layer.weight == "proof"]
    if proven:
        return next(filter(None, proven), "")
    if any(layer.weight == "mark" for layer in asked):
        return next(layer.asset for layer in asked if layer.weight == "mark")
    told = {layer.name: layer.asset for layer in asked if layer.weight == "hint"}
    watermark, looks = told.get("watermark", ""), told.get("looks", "")
    return looks if looks and looks == told.get("credentials") else watermark or looks


def _is_there(path: Path) -> bool:
    """Return whether a path is a file; one that cannot be asked is, so that its answer says why."""
    try:
        return path.is_file() and not path.is_symlink()
    except OSError:
        return True


def _read(path: Path) -> tuple[bytes, str]:
    """Return a file's bytes, or those of its beginning and why it is not looked at any further.

    Raises:
        UsageError: It cannot be read.
    """
    try:
        with path.open("rb") as file:
            payload = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror or error}).") from error
    if len(payload) > MAX_FILE_BYTES:
        return b"", f"FILE_TOO_LARGE: over {MAX_FILE_BYTES >> 20} MiB"
    return payload, ""
