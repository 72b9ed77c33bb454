"""The `ingest` stage: anybody's images in, packed shards and an index out.

    source (folder, archive, parquet, address, torchvision set, glyphs)
        -> shard-00000.tar ... skipped.json changes.json index.parquet

`index.parquet` is written last. `skipped.json` says what was left out or is odd, and why;
`changes.json` what the last ingest that found something new found. But for the two columns that
say where the bytes lie, the index is a function of the source alone, whatever came before it.
"""

import hashlib
import statistics
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from gan.durable import write_json
from gan.errors import GanmillError
from gan.image.decode import Rejected, header, is_transparent
from gan.image.differences import CHANGES, Changes, compare
from gan.image.labels import Values, Wanted, columns
from gan.image.members import Member, Survey, check_total, is_misnamed
from gan.image.opening import check_count, open_members, source_name
from gan.image.packing import Packer, Payload
from gan.image.shards import Entry, write_index
from gan.sections import DataSpec

SKIPPED = "skipped.json"
_INSPECTED_HEADERS = 500
_INSPECTED_ALPHAS = 64  # these are decoded in full
_ALPHA_MODES = frozenset({"LA", "La", "P", "PA", "RGBA", "RGBa"})


@dataclass(frozen=True)
class Ingested:
    """What came in.

    Attributes:
        images: Number of images packed.
        labels: Number of images by label; "" is the label of an image that has none.
        total_bytes: Their bytes together; of equal images each counts.
        clutter: Files left out in silence (notes, hidden files, tables).
        skipped: Files left out, by reason code.
        noted: Files taken in although something is odd about them, by reason code.
        is_first: There was no ingest before.
        changes: What differs from the ingest before; all is added when there was none.
        seconds: Wall time.
    """

    images: int
    labels: dict[str, int]
    total_bytes: int
    clutter: int
    skipped: dict[str, int]
    noted: dict[str, int]
    is_first: bool
    changes: Changes
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
        columns: Columns that labels can come from: of the source's `labels.csv`, of a parquet
            file, of what stands beside the images of a WebDataset; [] when there is none.
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
    """Bring the images of a recipe in, as shards and an index.

    Shards of an earlier ingest stay when all that they hold is still wanted; what went is in no
    shard afterwards. Killed anywhere, the same call finishes the work.

    Args:
        spec: The recipe's data section; a relative `path` is taken from `root`.
        root: The workspace.
        destination: The raw folder; made when missing.

    Raises:
        SourceError: The source is missing, unreadable, damaged, hostile, or holds fewer than two
            images; the raw folder stays as it was then.
    """
    started = time.monotonic()
    survey, packer = Survey(), Packer(destination)
    try:
        members = open_members(spec, root, survey)
        entries = _pack(spec, members, packer, survey)
    except GanmillError:
        packer.sweep(keep_before=True)
        raise
    packer.settle({entry.sha256 for entry in entries})
    changes = compare(packer.before, entries)
    write_json(destination / SKIPPED, _skipped_report(survey))
    if changes.any or not (destination / CHANGES).exists():
        write_json(destination / CHANGES, changes.document())
    write_index(destination, entries, packer.places, source_name(spec), spec.licence)
    packer.sweep()
    return Ingested(
        images=len(entries),
        labels=dict(sorted(Counter(entry.label for entry in entries).items())),
        total_bytes=sum(packer.places[entry.sha256].size_bytes for entry in entries),
        clutter=survey.clutter,
        skipped=dict(sorted(survey.skipped.items())),
        noted=dict(sorted(survey.noted.items())),
        is_first=packer.before.empty,
        changes=changes,
        seconds=time.monotonic() - started,
    )


def _pack(spec: DataSpec, members: Iterator[Member], packer: Packer, survey: Survey) -> list[Entry]:
    """Pack the members and return their entries; a tar may hold `labels.csv` after the images."""
    source = spec.path if spec.source == "files" else source_name(spec)
    wanted = Wanted(spec.label_from, spec.group_from)
    arrived: list[tuple[str, Values | None]] = []
    digests: list[str] = []

    def images() -> Iterator[Payload]:
        total_bytes = 0
        for member in members:
            payload = member.read()
            digest = hashlib.sha256(payload).hexdigest()
            if digest in spec.removed:
                survey.skip("REMOVED", member.key)
            elif not is_misnamed(member.key, payload, survey):
                total_bytes += len(payload)
                check_total(source, total_bytes)
                arrived.append((member.key, wanted.values(member)))
                digests.append(digest)
                yield digest, payload

    packer.pack(images())
    check_count(source, len(arrived), survey)
    entries = []
    for (key, _), digest, said in zip(
        arrived, digests, wanted.resolve(arrived, survey, source), strict=True
    ):
        if said is None:
            survey.skip("LABEL_MISSING", key)
        else:
            entries.append(Entry(key, *said, digest))
    check_count(source, len(entries), survey)
    return entries


def _skipped_report(survey: Survey) -> dict[str, object]:
    """Return the content of `skipped.json`."""

    def told(counts: Counter[str], examples: dict[str, list[str]]) -> dict[str, object]:
        return {
            reason: {"count": count, "examples": examples[reason]}
            for reason, count in counts.items()
        }

    return {
        "clutter": survey.clutter,
        "skipped": told(survey.skipped, survey.examples),
        "noted": told(survey.noted, survey.oddities),
    }


def look_through(
    members: Iterator[Member], survey: Survey, wanted: Wanted, source: str
) -> SourceSummary:
    """Summarise the members of any source; of most images headers alone are decoded.

    Args:
        members: The images.
        survey: The one that `members` fills.
        wanted: Where labels and groups come from.
        source: How messages name the source.

    Raises:
        SourceError: As `sources.ingest` does.
    """
    arrived: list[tuple[str, Values | None]] = []
    headers: list[tuple[int, int, str]] = []
    alphas: list[bool] = []
    for member in members:
        is_named = bool(member.key.rpartition("/")[2].rpartition(".")[0])
        if len(headers) >= _INSPECTED_HEADERS and is_named:
            arrived.append((member.key, wanted.values(member)))
            continue
        payload = member.read()
        if is_misnamed(member.key, payload, survey):
            continue
        arrived.append((member.key, wanted.values(member)))
        try:
            headers.append(header(payload))
            if len(alphas) < _INSPECTED_ALPHAS:
                alphas.append(headers[-1][2] in _ALPHA_MODES and is_transparent(payload))
        except Rejected as rejected:
            survey.skip(rejected.reason, member.key)
    check_count(source, len(arrived), survey)
    said = wanted.resolve(arrived, survey, source)
    labels = Counter(one.label for one in said if one is not None)
    return SourceSummary(
        count=len(arrived),
        labels=dict(sorted(labels.items())),
        width_px=round(statistics.median([width for width, _, _ in headers] or [0])),
        height_px=round(statistics.median([height for _, height, _ in headers] or [0])),
        modes=dict(Counter(mode for _, _, mode in headers).most_common()),
        transparent=sum(alphas) / max(1, len(alphas)),
        columns=[*dict.fromkeys((*columns(survey.labels_csv, source), *survey.columns))],
        skipped=dict(sorted(survey.skipped.items())),
    )
