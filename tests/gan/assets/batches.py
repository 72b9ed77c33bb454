"""Batch folders of any making, of real pictures, for tests of what is done with a batch.

Minting gives what a model gives; what the screens set aside, and why, is chosen here.
"""

import hashlib
import io
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from gan.assets.batch import Marks, mint
from gan.assets.manifest import (
    MANIFEST,
    PARQUET,
    SET_ASIDE,
    BatchCard,
    MarksCard,
    Past,
    Row,
    Watermarked,
    asset_id,
)
from gan.assets.request import Request
from gan.durable import sha256, write_atomically
from gan.image.encode import png
from gan.marking.identity import Signing
from gan.screening.references import References
from gan.sections import CampaignSpec, ScreensSpec
from tests.gan.bundles import pack_untrained

REQUEST = "ab" * 32
LINEAGE = {
    "model_version": "7",
    "model_version_url": "http://127.0.0.1:5000/#/models/stickers/versions/7",
    "flow_run": "run<b>",
    "flow_run_url": "javascript:alert(1)",
}
CLASSES = ("cats", "hearts & co", "stars")
# Of the pictures laid here; the real platforms' are larger.
_SIZES = {"png": ("png", 48, 48), "whatsapp": ("webp", 64, 64), "linkedin": ("jpg", 120, 60)}


def lay_batch(
    folder: Path,
    accepted: int,
    *,
    aside: Mapping[str, int] | None = None,
    classes: Sequence[str] = CLASSES,
    segments: Sequence[str] = (),
    platforms: Sequence[str] = ("png",),
    images: NDArray[np.uint8] | None = None,
    lineage: Mapping[str, str] | None = None,
    past: Sequence[Past] = (),
    likes: Mapping[str, str] | None = None,
) -> tuple[BatchCard, list[Row]]:
    """Write the pictures and manifests of a batch; return its card, unsigned, and its rows.

    Args:
        folder: Of the batch.
        accepted: How many are.
        aside: How many of each other verdict come after them.
        classes: In turn.
        segments: In turn; none asks for a count alone.
        platforms: Of png, whatsapp (in packs) and linkedin.
        images: uint8 [N, C, H, W], in turn; noise of 16 px if not given.
        lineage: What the batch came from.
        past: Earlier batches.
        likes: What those of a verdict are like; of `near_batch` the first asset.
    """
    verdicts = ["accepted"] * accepted + [v for v, n in (aside or {}).items() for _ in range(n)]
    pictures = _noise(len(verdicts)) if images is None else images
    given = {"near_batch": asset_id(REQUEST, 0), **(likes or {})}
    rows = []
    for ordinal, verdict in enumerate(verdicts):
        image, asset = pictures[ordinal % len(pictures)], asset_id(REQUEST, ordinal)
        if verdict == "accepted":
            files = [_file(folder, asset, image, platform) for platform in platforms]
        else:
            write_atomically(folder / SET_ASIDE / f"{asset}.png", png(image))
            files = []
        row = {
            "asset": asset,
            "ordinal": ordinal,
            "class": classes[ordinal % len(classes)],
            "segment": segments[ordinal % len(segments)] if segments else "",
            "verdict": verdict,
            "reason": "" if verdict in {"accepted", "spare"} else f"It is {verdict} <here>.",
            "like": given.get(verdict, ""),
            "scores": {
                "contrast": 40.0,
                "critic": 0.25,
                "class_probability": 0.97,
                "training_ratio": None,
                "moderation": None,
            },
            "phash": ordinal,
            "colour": "00" * 48,
            "pixels": hashlib.sha256(image.tobytes()).hexdigest(),
            "files": files,
        }
        rows.append(Row.model_validate({**_COMMON, **row}))
    return _card(folder, rows, segments, lineage or LINEAGE, past), rows


_COMMON = {
    "seed": 1,
    "recipe": "stickers",
    "campaign": "daily",
    "request": REQUEST,
    "bundle_digest": "cd" * 32,
    "model_version": "7",
    "mlflow_run": "r1",
    "flow_run": "f1",
    "data_version": "v1",
}


def _noise(count: int) -> NDArray[np.uint8]:
    draw = np.random.default_rng(1)
    return draw.integers(0, 256, (min(count, 64), 3, 16, 16), dtype=np.uint8)


def _file(folder: Path, asset: str, image: NDArray[np.uint8], platform: str) -> dict[str, Any]:
    """Write the file of a platform; return its row."""
    extension, width, height = _SIZES[platform]
    with Image.open(io.BytesIO(png(image, min(width, height)))) as square:
        picture = Image.new(square.mode, (width, height))
        picture.paste(square, ((width - height) // 2, 0))
    file = io.BytesIO()
    (picture.convert("RGB") if extension == "jpg" else picture).save(
        file, {"jpg": "JPEG"}.get(extension, extension.upper())
    )
    pack = "/pack-01" if platform == "whatsapp" else ""
    path = f"{platform}{pack}/{asset}.{extension}"
    return {
        "platform": platform,
        "path": path,
        "sha256": write_atomically(folder / path, file.getvalue()),
        "bytes": len(file.getvalue()),
        "width_px": width,
        "height_px": height,
        "watermark": 1.0,
        "is_read": True,
    }


def _card(
    folder: Path,
    rows: Sequence[Row],
    segments: Sequence[str],
    lineage: Mapping[str, str],
    past: Sequence[Past],
) -> BatchCard:
    """Write the manifests; return the card of the batch."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    good = [row for row in rows if row.verdict == "accepted"]
    lines = "".join(row.line() for row in rows).encode()
    digests = {MANIFEST: write_atomically(folder / MANIFEST, lines)}
    table = pa.Table.from_pylist([row.model_dump(by_alias=True) for row in rows])
    pq.write_table(table, folder / PARQUET)
    digests[PARQUET] = sha256(folder / PARQUET)
    each = len(good) // max(len(segments), 1)
    return BatchCard(
        batch=folder.name,
        recipe="stickers",
        campaign="daily",
        slot="2026-11-22",
        seed=1,
        request=REQUEST,
        spec={"segments": {name: {"count": each, "classes": None} for name in segments} or None},
        wanted=len(good),
        accepted=len(good),
        candidates=len(rows),
        verdicts=dict(Counter(row.verdict for row in rows)),
        classes=dict(Counter(row.class_ for row in good)),
        segments=dict(Counter(row.segment for row in good if row.segment)),
        bundle_digest="cd" * 32,
        lineage=dict(lineage),
        notes=["Nobody looked for copies of training images: they are not at hand."],
        past=list(past),
        marks=MarksCard(
            algorithm="ed25519", fingerprint="ef" * 32, subject="ganmill", is_local=True
        ),
        watermark=Watermarked(files=len(good), read=len(good)),
        digests=digests,
    )


def mint_batch(root: Path, count: int, platforms: Sequence[str] = ("png",)) -> tuple[Path, Marks]:
    """Mint a real batch of an untrained model of two classes; return its folder and whose it is."""
    bundle = pack_untrained(root / "bundle", ["cats", "stars"], recipe="stickers")
    screens = ScreensSpec(off_class=0, near_distance=0, past=0, copies=0)
    spec = CampaignSpec(
        count=count, size_px=32, platforms=list(platforms), rejection=0, screens=screens
    )
    marks = Marks(Signing(root / "signing"))
    request = Request("stickers", spec, "slot", lineage={"model_version": "3"})
    references = References(None, None, root / "store")
    return mint(bundle, request, root / "assets", marks, references).folder, marks
