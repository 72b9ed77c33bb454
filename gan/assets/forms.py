"""The forms that a publication takes: as it lies, zip, WebDataset, Hugging Face's imagefolder.

Each fills an empty folder, with equal bytes for equal assets: no time, no owner, sorted names.
"""

import hashlib
import io
import json
import tarfile
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from gan.assets.croissant import croissant
from gan.assets.manifest import CROISSANT, MANIFEST, PARQUET, BatchCard, File, Row
from gan.assets.parquet import parquet
from gan.durable import replacing, write_atomically
from gan.errors import DamagedError

_SHARD_FILES, _SHARD_BYTES = 10_000, 256 << 20
_FOLDER_FILES = 5_000  # Hugging Face takes at most 10,000 in one folder
_ZIP_DATE = (1980, 1, 1, 0, 0, 0)  # the first that the format knows


@dataclass(frozen=True)
class Edition:
    """What goes out of a batch.

    Attributes:
        folder: Of the batch.
        card: Of the batch.
        rows: Of the assets that go out, each file with the path that it has there.
        sources: Where a file's bytes lie below the batch's folder, by the path that it has there.
        beside: Bytes of the other files of packs, by path.
    """

    folder: Path
    card: BatchCard
    rows: Sequence[Row]
    sources: Mapping[str, str]
    beside: Mapping[str, bytes] = field(default_factory=dict)

    def read(self, file: File) -> bytes:
        """Return the bytes of a file, which must be those that the manifest says.

        Raises:
            DamagedError: They are not; nothing of it may go out.
        """
        path = self.folder / self.sources[file.path]
        try:
            payload = path.read_bytes()
        except OSError as error:
            raise DamagedError(f"{path}: cannot be read ({error.strerror or error}).") from error
        if sha256_of(payload) != file.sha256:
            raise DamagedError(f"{path}: altered since it was minted. Nothing goes out.")
        return payload

    def files(self) -> Iterator[tuple[Row, File]]:
        """Yield every file with its row, platform by platform."""
        pairs = [(row, file) for row in self.rows for file in row.files]
        yield from sorted(pairs, key=lambda pair: pair[1].path)


def fill_folder(edition: Edition, into: Path) -> None:
    """Write the packs as they lie, and manifests of what is there."""
    for path, payload in _everything(edition):
        write_atomically(into / path, payload)


def fill_zip(edition: Edition, into: Path) -> None:
    """Write the same as one zip; pictures are packed already and stay as they are."""
    with (
        replacing(into / f"{edition.card.batch}.zip") as partial,
        zipfile.ZipFile(partial, "w", zipfile.ZIP_STORED) as archive,
    ):
        for path, payload in _everything(edition):
            entry = zipfile.ZipInfo(path, _ZIP_DATE)
            entry.create_system, entry.external_attr = 3, 0o644 << 16  # alike on every system
            archive.writestr(entry, payload)


def fill_webdataset(edition: Edition, into: Path) -> None:
    """Write tars of `<asset>.<image>`, `.cls` (number of the class) and `.json`, by platform."""
    classes = sorted(edition.card.classes)
    for platform, pairs in _by_platform(edition).items():
        for number, shard in enumerate(_shards(pairs)):
            name = f"{platform}-{number:06d}.tar"
            with replacing(into / name) as partial, tarfile.open(partial, "w") as tar:
                for row, file in shard:
                    said = json.dumps(_facts(row, file), ensure_ascii=False, sort_keys=True)
                    _add(tar, row.asset, PurePosixPath(file.path).suffix, edition.read(file))
                    _add(tar, row.asset, ".cls", str(classes.index(row.class_)).encode())
                    _add(tar, row.asset, ".json", said.encode())


def fill_imagefolder(edition: Edition, into: Path) -> None:
    """Write `<platform>/train/metadata.jsonl` and pictures as Hugging Face's `imagefolder` reads.

    https://huggingface.co/docs/datasets/image_dataset
    """
    platforms = _by_platform(edition)
    for platform, pairs in platforms.items():
        lines = []
        for number, (row, file) in enumerate(pairs):
            name = f"{number // _FOLDER_FILES:04d}/{PurePosixPath(file.path).name}"
            write_atomically(into / platform / "train" / name, edition.read(file))
            lines.append(_line({"file_name": name, **_facts(row, file)}))
        write_atomically(into / platform / "train" / "metadata.jsonl", "".join(lines).encode())
    write_atomically(into / "README.md", _readme(edition, list(platforms)).encode())


FORMS: Mapping[str, Callable[[Edition, Path], None]] = {
    "folder": fill_folder,
    "zip": fill_zip,
    "webdataset": fill_webdataset,
    "imagefolder": fill_imagefolder,
}


def _everything(edition: Edition) -> Iterator[tuple[str, bytes]]:
    """Yield (path, bytes): pictures, what goes with packs, manifests and what describes them."""
    for _, file in edition.files():
        yield file.path, edition.read(file)
    yield from sorted(edition.beside.items())
    lines = "".join(row.line() for row in edition.rows).encode()
    table = parquet(edition.rows)
    digests = {MANIFEST: sha256_of(lines), PARQUET: sha256_of(table)}
    described = croissant(edition.card.model_copy(update={"digests": digests}), edition.rows)
    yield MANIFEST, lines
    yield PARQUET, table
    yield CROISSANT, f"{json.dumps(described, indent=2, ensure_ascii=False)}\n".encode()


def _by_platform(edition: Edition) -> dict[str, list[tuple[Row, File]]]:
    platforms: dict[str, list[tuple[Row, File]]] = {}
    for row, file in edition.files():
        platforms.setdefault(file.platform, []).append((row, file))
    return platforms


def _shards(pairs: Sequence[tuple[Row, File]]) -> Iterator[list[tuple[Row, File]]]:
    shard: list[tuple[Row, File]] = []
    size = 0
    for pair in pairs:
        if shard and (len(shard) == _SHARD_FILES or size + pair[1].bytes > _SHARD_BYTES):
            yield shard
            shard, size = [], 0
        shard.append(pair)
        size += pair[1].bytes
    if shard:
        yield shard


def _add(tar: tarfile.TarFile, asset: str, suffix: str, payload: bytes) -> None:
    entry = tarfile.TarInfo(f"{asset}{suffix}")
    entry.size, entry.mode, entry.mtime = len(payload), 0o644, 0
    tar.addfile(entry, io.BytesIO(payload))


def _facts(row: Row, file: File) -> dict[str, Any]:
    """Return what is said of a picture beside it: plain values, the same keys each time."""
    return {
        "asset": row.asset,
        "class": row.class_,
        "segment": row.segment,
        "seed": row.seed,
        "ordinal": row.ordinal,
        "recipe": row.recipe,
        "campaign": row.campaign,
        "model_version": row.model_version,
        "bundle_digest": row.bundle_digest,
        "data_version": row.data_version,
        "sha256": file.sha256,
        "is_synthetic": True,
    }


def _line(value: Mapping[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False) + "\n"


def _readme(edition: Edition, platforms: Sequence[str]) -> str:
    """Return the data set card: a configuration for each platform, and what the pictures are."""
    card = edition.card
    configs = "".join(f"- config_name: {name}\n  data_dir: {name}\n" for name in platforms)
    version = card.lineage.get("model_version") or "unregistered"
    return (
        f"---\npretty_name: {json.dumps(f'{card.recipe} {card.batch}')}\n"
        f"tags:\n- synthetic\n- image\nconfigs:\n{configs}---\n\n"
        f"# {card.recipe} {card.batch}\n\n"
        f"{len(edition.rows):,} synthetic images, made by a generative model (version {version}, "
        f"bundle `{card.bundle_digest}`). Each file says so itself: C2PA content credentials, IPTC "
        "digital source type `trainedAlgorithmicMedia` in its XMP packet, and a watermark.\n"
    )


def sha256_of(payload: bytes) -> str:
    """Return the SHA-256 of some bytes, as hex."""
    return hashlib.sha256(payload).hexdigest()
