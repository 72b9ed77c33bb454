"""What of a batch goes out: all of it as it lies, or packs made again without what was left out.

A picture that goes out is never encoded again: it moves to another pack as it is. Only the icon of
a pack is made anew, and marked, where the asset that it showed is left out.
"""

import hashlib
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from gan.assets.files import Marks, marked, origin_of, require_fit
from gan.assets.forms import Edition
from gan.assets.manifest import MANIFEST, BatchCard, Row, read_batch, read_rows
from gan.assets.packing import beside, members
from gan.errors import DamagedError, UsageError
from gan.marking.identity import open_identity
from gan.platforms import Companions, Icon, Pack, Platform, arrange, platform
from gan.sections import CampaignSpec



def edition(folder: Path, rows: Sequence[Row], marks: Marks) -> Edition:
    """Return what goes out of a batch when only these assets do.

    Args:
        folder: Of the batch.
        rows: Accepted assets of its manifest.
        marks: Where the keys lie, for an icon that must be made again.

    Raises:
        UsageError: There is none, or too few are left for a pack.
        DamagedError: A file is not as the batch's card says.
    """
    if not rows:
        raise UsageError(f"{folder}: no asset is left to publish.")
    card = read_batch(folder)
    accepted = [row for row in read_rows(folder / MANIFEST) if row.verdict == "accepted"]
    if {row.asset for row in rows} == {row.asset for row in accepted}:
        sources = {file.path: file.path for row in rows for file in row.files}
        return Edition(folder, card, rows, sources, _as_they_lie(folder, card))
    return _Remaking(folder, card, accepted, marks).edition(rows)


def _as_they_lie(folder: Path, card: BatchCard) -> dict[str, bytes]:
    """Return the files that go with the packs, by path."""
    names = set(CampaignSpec.model_validate(card.spec).platforms)
    paths = [path for path in card.digests if path.partition("/")[0] in names]
    return {path: _read(folder, path, card.digests) for path in paths}


def _read(folder: Path, path: str, digests: Mapping[str, str]) -> bytes:
    try:
        payload = (folder / path).read_bytes()
    except OSError as error:
        raise DamagedError(f"{folder / path}: cannot be read ({error.strerror}).") from error
    if hashlib.sha256(payload).hexdigest() != digests.get(path):
        raise DamagedError(f"{folder / path}: altered since it was minted. Nothing goes out.")
    return payload


class _Remaking:
    """The packs of a batch, to be made again of fewer assets."""

    def __init__(
        self, folder: Path, card: BatchCard, accepted: Sequence[Row], marks: Marks
    ) -> None:
        self._folder, self._card, self._marks = folder, card, marks
        self._spec = CampaignSpec.model_validate(card.spec)
        self._platforms = [platform(n, self._spec.size_px) for n in self._spec.platforms]
        self._icons = {
            (icon.to.name, icon.asset): icon.path
            for to in self._platforms
            for pack in arrange(to, members(accepted, self._spec))
            for icon in self._beside(to, pack).icons
        }

    def edition(self, rows: Sequence[Row]) -> Edition:
        """Return the packs of these rows alone."""
        by_asset = {row.asset: row for row in rows}
        sources: dict[str, str] = {}
        added: dict[str, bytes] = {}
        moved: dict[tuple[str, str], str] = {}
        for to in self._platforms:
            for pack in arrange(to, members(rows, self._spec)):
                _require_enough(to, pack)
                for member in pack.members:
                    moved[member.asset, to.name] = pack.path(member.asset)
                found = self._beside(to, pack)
                added |= found.texts
                added |= {
                    icon.path: self._icon(icon, by_asset[icon.asset]) for icon in found.icons
                }
        out = []
        for row in rows:
            files = []
            for file in row.files:
                path = moved[row.asset, file.platform]
                sources[path] = file.path
                files.append(file.model_copy(update={"path": path}))
            out.append(row.model_copy(update={"files": files}))
        return Edition(self._folder, self._card, out, sources, added)

    def _beside(self, to: Platform, pack: Pack) -> Companions:
        """Return what goes with a pack, titled as when the batch was minted."""
        return beside(to, pack, self._card.recipe, self._card.campaign)

    def _icon(self, icon: Icon, row: Row) -> bytes:
        """Return the icon that there is of this asset, else one made from its own picture."""
        there = self._icons.get((icon.to.name, icon.asset))
        if there is not None:
            return _read(self._folder, there, self._card.digests)
        own = next(file for file in row.files if file.platform == icon.path.partition("/")[0])
        payload = _read(self._folder, own.path, {own.path: own.sha256})
        identity, key = open_identity(self._marks.signing), self._marks.key()
        spec = self._spec.model_copy(update={"label": None})  # the picture has it already
        made = marked(_planes(payload), icon.to, spec, origin_of(row, self._card.batch), identity, key)
        require_fit(made, icon.to, icon.path)
        return made


def _require_enough(to: Platform, pack: Pack) -> None:
    if to.pack is not None and len(pack.members) < to.pack.at_least:
        raise UsageError(
            f"{pack.folder}: {len(pack.members)} assets are left for {to.title}; a pack has at "
            f"least {to.pack.at_least}. Accept more of them, or mint a larger batch."
        )


def _planes(payload: bytes) -> NDArray[np.uint8]:
    """Return a picture as uint8 [3 or 4, H, W], colours times alpha, as generated ones are."""
    with Image.open(io.BytesIO(payload)) as picture:
        has_alpha = "A" in picture.getbands()
        pixels = np.asarray(picture.convert("RGBA" if has_alpha else "RGB"))
    if has_alpha:
        alpha = pixels[..., 3:].astype(np.uint16)
        colours = (pixels[..., :3] * alpha + 127) // 255
        pixels = np.concatenate([colours.astype(np.uint8), pixels[..., 3:]], axis=2)
    return np.ascontiguousarray(pixels.transpose(2, 0, 1))
