"""The `ingest` stage: anybody's images in, packed shards and an index out.

    source (folder, zip, tar, glyphs) -> shard-00000.tar ... skipped.json index.parquet

`index.parquet` is written last. `skipped.json` says what was left out and why, for the report.
"""

import statistics
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from gan.durable import write_json
from gan.errors import SourceError
from gan.image.decode import Rejected, header, is_transparent
from gan.image.labels import columns, labeller
from gan.image.members import Survey
from gan.image.reading import read_members
from gan.image.shards import Place, clear, pack, write_index
from gan.sections import DataSpec, GlyphsSpec

SKIPPED = "skipped.json"
_LEAST_IMAGES = 2
_INSPECTED_HEADERS = 500
_INSPECTED_ALPHAS = 64  # these are decoded in full
_ALPHA_MODES = frozenset({"LA", "La", "P", "PA", "RGBA", "RGBa"})


@dataclass(frozen=True)
class Ingested:
    """What came in.

    Attributes:
        images: Number of images packed.
        labels: Number of images by label; "" is the label of an image that has none.
        total_bytes: Their bytes together.
        clutter: Files left out in silence (notes, hidden files, tables).
        skipped: Files left out, by reason code.
        seconds: Wall time.
    """

    images: int
    labels: dict[str, int]
    total_bytes: int
    clutter: int
    skipped: dict[str, int]
    seconds: float


@dataclass(frozen=True)
class SourceSummary:
    """What `ganmill init` must know of a source to write a recipe for it.

    Attributes:
        count: Number of images.
        labels: Number of images by label.
        width_px: Median width of the first 500 readable images, 0 when there is none.
        height_px: Their median height.
        modes: Number of those images by Pillow mode ("RGB", "RGBA", "P" ...).
        transparent: Share of the first 64 readable images with a pixel that is not opaque.
        columns: Columns of the source's `labels.csv`, [] when there is none.
        skipped: Files left out, and broken ones among the first 500, by reason code.
    """

    count: int
    labels: dict[str, int]
    width_px: int
    height_px: int
    modes: dict[str, int]
    transparent: float
    columns: list[str]
    skipped: dict[str, int]


def ingest(spec: DataSpec, root: Path, destination: Path) -> Ingested:
    """Bring the images of a recipe in, as shards and an index; the old ones are replaced.

    Args:
        spec: The recipe's data section; a relative `path` is taken from `root`.
        root: The workspace.
        destination: The raw folder; made when missing.

    Raises:
        SourceError: The source is missing, unreadable, damaged, hostile, or holds fewer than two
            images; nothing is left in the raw folder then.
    """
    started = time.monotonic()
    survey = Survey()
    try:
        rows = (
            _pack_glyphs(spec, destination)
            if spec.source == "glyphs"
            else _pack_files(spec, root / spec.path, destination, survey)
        )
    except SourceError:
        clear(destination)
        raise
    write_json(destination / SKIPPED, _skipped_report(survey))
    source = "glyphs" if spec.source == "glyphs" else spec.path
    write_index(destination, rows, source, spec.licence)
    return Ingested(
        images=len(rows),
        labels=dict(sorted(Counter(label for _, label, _ in rows).items())),
        total_bytes=sum(place.size_bytes for _, _, place in rows),
        clutter=survey.clutter,
        skipped=dict(sorted(survey.skipped.items())),
        seconds=time.monotonic() - started,
    )


def _pack_files(
    spec: DataSpec, path: Path, destination: Path, survey: Survey
) -> list[tuple[str, str, Place]]:
    """Pack the images of a folder or an archive; a tar may hold `labels.csv` after the images."""
    members = read_members(path, survey)
    placed = pack(((member.key, member.read()) for member in members), destination)
    label_of = labeller(spec.label_from, survey.labels_csv, str(path))
    rows = []
    for key, place in placed:
        label = label_of(key)
        if label is None:
            survey.skip("LABEL_MISSING", key)
        else:
            rows.append((key, label, place))
    _check_count(path, len(rows), survey)
    return rows


def _pack_glyphs(spec: DataSpec, destination: Path) -> list[tuple[str, str, Place]]:
    """Draw and pack the built-in stickers."""
    from gan.image.glyphs import draw  # only this source needs a font

    glyphs = spec.glyphs or GlyphsSpec()
    labels: dict[str, str] = {}

    def images() -> Iterator[tuple[str, bytes]]:
        for drawing in draw(glyphs.count, glyphs.seed):
            labels[drawing.key] = drawing.label
            yield drawing.key, drawing.payload

    return [(key, labels[key], place) for key, place in pack(images(), destination)]


def _check_count(path: Path, count: int, survey: Survey) -> None:
    """Refuse a source of fewer than two images, saying what was met instead."""
    if count >= _LEAST_IMAGES:
        return
    left_out = [f"{number} {reason}" for reason, number in sorted(survey.skipped.items())]
    if survey.clutter:
        left_out.append(f"{survey.clutter} notes or hidden files")
    found = "one image only" if count else "no images"
    met = f" (left out: {', '.join(left_out)})" if left_out else ""
    raise SourceError(
        f"{path}: {found}{met}; at least {_LEAST_IMAGES} are needed. "
        "Put PNG, JPEG, GIF, WebP, BMP or TIFF files there."
    )


def _skipped_report(survey: Survey) -> dict[str, object]:
    """Return the content of `skipped.json`."""
    reasons = {
        reason: {"count": count, "examples": survey.examples[reason]}
        for reason, count in survey.skipped.items()
    }
    return {"clutter": survey.clutter, "skipped": reasons}


def inspect(path: Path, label_from: str = "folder") -> SourceSummary:
    """Look through a source without bringing it in; of most images headers alone are decoded.

    Raises:
        SourceError: As `ingest` does.
    """
    survey = Survey()
    keys: list[str] = []
    headers: list[tuple[int, int, str]] = []
    alphas: list[bool] = []
    for member in read_members(path, survey):
        keys.append(member.key)
        if len(headers) < _INSPECTED_HEADERS:
            payload = member.read()
            try:
                headers.append(header(payload))
                if len(alphas) < _INSPECTED_ALPHAS:
                    alphas.append(headers[-1][2] in _ALPHA_MODES and is_transparent(payload))
            except Rejected as rejected:
                survey.skip(rejected.reason, member.key)
    _check_count(path, len(keys), survey)
    label_of = labeller(label_from, survey.labels_csv, str(path))
    labels = Counter(label for label in map(label_of, keys) if label is not None)
    return SourceSummary(
        count=len(keys),
        labels=dict(sorted(labels.items())),
        width_px=round(statistics.median([width for width, _, _ in headers] or [0])),
        height_px=round(statistics.median([height for _, height, _ in headers] or [0])),
        modes=dict(Counter(mode for _, _, mode in headers).most_common()),
        transparent=sum(alphas) / max(1, len(alphas)),
        columns=columns(survey.labels_csv, str(path)),
        skipped=dict(sorted(survey.skipped.items())),
    )
