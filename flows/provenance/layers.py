"""Each layer of marks on its own: what it gives, and in words what that is worth."""

from dataclasses import replace
from typing import TYPE_CHECKING

from flows.provenance.answers import Layer
from flows.provenance.index import NEAR_BITS, Entry, Index
from flows.provenance.views import measures, pixels
from gan.marking.credentials import SYNTHETIC, Credentials

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from PIL import Image

_HASH_BITS = 64


def manifest(entry: Entry | None) -> Layer:
    """Return what the manifests say of a file's SHA-256."""
    if entry is None:
        return Layer("manifest", "none", "no batch here lists a file with these bytes")
    batch = f"{entry.batch.recipe}/{entry.batch.folder.name}"
    says = f"{entry.path} of batch {batch}, byte for byte"
    if not entry.batch.is_known:
        says += (
            f"; but {entry.batch.signer} signed that batch, who never signed in this workspace "
            "(put the certificate into .ganmill/signing/known to change that)"
        )
        return Layer("manifest", "claim", says, asset=entry.asset)
    return Layer("manifest", "proof", says, 1.0, entry.asset)


def content_credentials(said: Credentials | None) -> Layer:
    """Return what the C2PA manifest in a file says."""
    if said is None:
        return Layer("credentials", "none", "none in the file")
    if said.is_ours and said.is_whole:
        asset = said.origin.asset if said.origin else ""
        return Layer(
            "credentials", "proof", f"signed here ({said.signer}), nothing changed", 1.0, asset
        )
    if said.is_ours:
        asset = said.origin.asset if said.origin else ""
        says = f"signed here ({said.signer}) for asset {asset}, but for a file of other bytes"
        return Layer("credentials", "hint", says, asset=asset)
    kind = "an algorithm made it" if said.source_type == SYNTHETIC else said.source_type
    who = said.signer or "somebody"
    state = "nothing changed since" if said.is_whole else "; ".join(said.problems) or "altered"
    says = f"{who} says{f' that {kind}' if kind else ' nothing of its source'}; {state}"
    if said.origin is not None:
        says += f"; it claims to be our asset {said.origin.asset}, signed by somebody unknown here"
        return Layer("credentials", "claim", says, asset=said.origin.asset)
    return Layer("credentials", "none", says)


def copied(layer: Layer, asset: str) -> Layer:
    """Return the layer of credentials that were signed for another asset than the picture's."""
    says = f"{layer.says}; the picture is asset {asset}: these credentials are another file's"
    return replace(layer, weight="claim", says=says)


def metadata(said: "Mapping[str, str]") -> Layer:
    """Return what XMP says, which anybody can write."""
    asset = said.get("asset", "")
    if asset:
        says = f"says that it is our asset {asset}; anybody could have written so"
        return Layer("metadata", "claim", says, asset=asset)
    if said.get("DigitalSourceType") == SYNTHETIC:
        return Layer("metadata", "none", "says that an algorithm made it, not whose")
    return Layer("metadata", "none", "says nothing of its source")


def watermark(picture: "Image.Image", key: bytes, index: Index, *, thorough: bool) -> Layer:
    """Return what the watermark of a picture says."""
    from gan.marking.watermark import PUBLIC_KEY, read

    reading = read(pixels(picture), key, thorough=thorough)
    if reading is None:
        sought = "at any scale" if thorough else "at its own scale"
        return Layer("watermark", "none", f"none found {sought}")
    known, foreign = index.assets.get(reading.asset), index.foreign.get(reading.asset)
    if known is not None:
        place = f" of batch {known.folder.name}"
    elif foreign is not None:
        place = f" of batch {foreign.folder.name}, which {foreign.signer} signed, unknown here"
    else:
        place = ", which no batch here lists"
    says = f"carries asset {reading.asset}{place}; {reading.confidence:.0%} of its bits were heard"
    if key == PUBLIC_KEY:
        says += "; its key is public, so others could have put it there"
        if known is None and foreign is not None:
            return Layer("watermark", "claim", says, asset=reading.asset)
        return Layer("watermark", "hint", says, reading.confidence, reading.asset)
    return Layer("watermark", "mark", says, reading.confidence, reading.asset)


def looks(picture: "Image.Image", index: Index, told: "Sequence[str]") -> Layer:
    """Return which asset a picture looks like; of twins the one that other layers told."""
    alike = index.alike(measures(picture), told)
    if alike is None:
        return Layer("looks", "none", "like no asset of any batch of ours here")
    says = (
        f"like asset {alike.asset} of batch {alike.batch.folder.name}: "
        f"{alike.bits} of {_HASH_BITS} bits differ, up to {NEAR_BITS} count"
    )
    return Layer("looks", "hint", says, 1 - alike.bits / _HASH_BITS, alike.asset)
