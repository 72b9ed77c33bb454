"""A batch's folder as minting fills it, for tests of packs: every mark is on every file."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from gan.bundle import Bundle, latents, open_bundle
from gan.image.decode import premultiply
from gan.marking import watermark, xmp
from gan.marking.credentials import OVERHEAD_BYTES, Origin, sign
from gan.marking.identity import Identity
from gan.modality import modality
from gan.platforms import Member, Platform, arrange, companions, encode, platform, render

SHIPPED = Path("gan/shipped/stickers")
Images = NDArray[np.uint8]


def stickers(count: int) -> tuple[Images, list[str]]:
    """Return images of the shipped bundle, uint8 [N, 3, 32, 32], and their classes, in turn."""
    bundle: Bundle = open_bundle(SHIPPED)
    network = bundle.generator()
    z = latents(1, "packs", count=count, z_dim=bundle.card.z_dim)
    c = torch.arange(count) % len(bundle.card.classes)
    with torch.no_grad():
        parts = [network(z[at : at + 16], c[at : at + 16]) for at in range(0, count, 16)]
    images = modality("image").to_uint8(torch.cat(parts))
    return images, [bundle.card.classes[int(each)] for each in c]


def cut_out() -> Images:
    """Return a red disc with a pane of green glass, premultiplied, uint8 [4, 32, 32]."""
    picture = Image.new("RGBA", (256, 256))
    pen = ImageDraw.Draw(picture)
    pen.ellipse((24, 24, 200, 200), fill="#d7263dff")
    pen.rectangle((208, 208, 247, 247), fill="#00ff0060")
    planes = np.asarray(premultiply(picture).resize((32, 32), Image.Resampling.BOX))
    return planes.transpose(2, 0, 1)


def origin(asset: str, ordinal: int, class_: str) -> Origin:
    """Return where an asset of these tests says that it comes from."""
    names = {"recipe": "stickers", "campaign": "daily", "batch": "daily-1", "request": "a" * 64}
    return Origin(
        **names,
        asset=asset,
        seed=1,
        ordinal=ordinal,
        class_=class_,
        model_digest="b" * 64,
        model_version="3",
        data_version="c" * 64,
    )


def final(image: Images, to: Platform, source: Origin, identity: Identity) -> bytes:
    """Return one file with watermark, XMP and signature on it."""
    drawn = render(image, to, upscale="lanczos", background="#ffffff")
    drawn = watermark.embed(drawn, source.asset)
    payload = encode(drawn, to, xmp.packet(source), OVERHEAD_BYTES)
    return sign(payload, to.media, source, identity)


def fill(
    folder: Path, images: Images, members: Sequence[Member], names: Sequence[str], who: Identity
) -> dict[str, list[int]]:
    """Write the packs of some platforms; return the bytes of each one's pictures."""
    by_asset = {member.asset: number for number, member in enumerate(members)}
    sizes: dict[str, list[int]] = {}

    def write(path: str, asset: str, to: Platform) -> None:
        number = by_asset[asset]
        source = origin(asset, number, members[number].class_)
        payload = final(images[number], to, source, who)
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(payload)
        sizes.setdefault(to.name, []).append(len(payload))

    for name in names:
        to = platform(name, 256)
        for pack in arrange(to, members):
            for member in pack.members:
                write(pack.path(member.asset), member.asset, to)
            beside = companions(to, pack, title="Stickers daily", publisher="ganmill")
            for icon in beside.icons:
                write(icon.path, icon.asset, icon.to)
            for path, text in beside.texts.items():
                (folder / path).write_bytes(text)
    return sizes
