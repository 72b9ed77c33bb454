"""Where an image is among the data versions: as the same file, as equal pixels, as a near copy.

What the records keep of every image is enough: its digests, its perceptual hash and its colours.
"""

import hashlib
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from flows.datasets import catalog
from flows.datasets.catalog import DatasetRecord
from flows.datasets.portrait import held_out
from gan.errors import DamagedError, UsageError
from gan.image.facts import class_name, collect
from gan.image.packing import Packer
from gan.image.shards import INDEX, Entry, Shards, places, read_index, write_index
from gan.image.similar import mark_near
from gan.paths import Layout

How = Literal["same file", "same pixels", "near copy"]
Use = Literal["trained on", "held out", "set aside"]
_LEAST_DIGITS = 6  # of a SHA-256
_NAMED = 5


@dataclass(frozen=True)
class Sample:
    """The image that is looked for.

    Attributes:
        word: As it was named.
        sha256: Of its file.
        payload: Its bytes, where a file was given; None where only records know it.
    """

    word: str
    sha256: str
    payload: bytes | None = None


class Print(NamedTuple):
    """What an image is told by beside its file: columns of the table of facts."""

    pixels_digest: str
    phash: int
    colour: bytes


@dataclass(frozen=True)
class Sighting:
    """An image of a data version that is the sample, or much like it.

    Attributes:
        recipe: Whose version.
        version: Its data digest.
        created_utc: When the version was accepted.
        key: The image's name in its source.
        label: Its class.
        sha256: Of its file.
        how: How it is the sample.
        bits: By how many of 64 their perceptual hashes differ.
        use: What became of it in that version.
        reason: Why it was set aside; "" where it was not.
    """

    recipe: str
    version: str
    created_utc: str
    key: str
    label: str
    sha256: str
    how: How
    bits: int
    use: Use
    reason: str


def identify(known: Sequence[DatasetRecord], word: str) -> tuple[Sample, list[str]]:
    """Return the image that a word means, and what whoever named it should know.

    Raises:
        UsageError: It means none, or several.
    """
    path = Path(word).expanduser()
    if path.is_file():
        payload = path.read_bytes()
        return Sample(word, hashlib.sha256(payload).hexdigest(), payload), []
    digits = word.lower()
    is_digest = len(digits) >= _LEAST_DIGITS and set(digits) <= set("0123456789abcdef")
    named: dict[str, list[str]] = {}
    begun: set[str] = set()
    for record in known:
        manifest = catalog.read_manifest(record)
        of_key = manifest.loc[manifest["key"] == word, "sha256"]
        named.setdefault(record.recipe, []).extend(of_key)
        if is_digest:
            begun |= set(manifest.loc[manifest["sha256"].str.startswith(digits), "sha256"])
    meant = {files[-1] for files in named.values() if files} or begun
    if not meant:
        raise UsageError(
            f"{word!r}: no file here, and no data version has an image of this name, or of a "
            f"SHA-256 that begins so. Give the file itself, or one of the keys of a manifest."
        )
    if len(meant) > 1:
        shown = ", ".join(digest[:16] for digest in sorted(meant)[:_NAMED])
        raise UsageError(
            f"{word!r} fits {len(meant)} files: {shown}. Name one by its SHA-256, or --recipe."
        )
    sha256 = meant.pop()
    others = {digest for files in named.values() for digest in files} - {sha256}
    notes = [f"{word} was another file before, {other[:16]}; trace it, too" for other in others]
    return Sample(word, sha256), sorted(notes)


def with_payload(layout: Layout, recipes: Sequence[str], sample: Sample) -> Sample:
    """Return the sample with its bytes, where they lie in the workspace's images of now.

    So it is found also in versions of other recipes, which see its pixels otherwise.
    """
    for recipe in recipes if sample.payload is None else ():
        raw = layout.raw(recipe)
        if not (raw / INDEX).is_file():
            continue
        try:
            index = read_index(raw)
            for place in places(index[index["sha256"] == sample.sha256]):
                with Shards(raw) as shards:
                    return replace(sample, payload=shards.read(place))
        except DamagedError:  # it is looked for in the records, whatever became of the images
            continue
    return sample


def look(known: Sequence[DatasetRecord], sample: Sample) -> tuple[list[Sighting], bool]:
    """Return where the sample, or an image much like it, is in some data versions.

    Returns:
        The sightings, in the order of the versions, and whether every version was searched for
        its like, too: without its bytes, one that sees images otherwise has nothing to compare.
    """
    seen = _prints(known, sample)
    found = [each for record in known for each in _sightings(record, sample, seen)]
    is_whole = sample.payload is not None or {_eye(record) for record in known} <= set(seen)
    return found, is_whole


def _prints(known: Sequence[DatasetRecord], sample: Sample) -> dict[tuple[int, str], Print]:
    """Return what the sample shows, for each way in which versions look at images."""
    found: dict[tuple[int, str], Print] = {}
    for record in known:
        if _eye(record) in found:
            continue
        if sample.payload is not None:
            made = _print(sample.payload, record)
        else:
            facts = catalog.read_facts(record)
            rows = facts[(facts["sha256"] == sample.sha256) & (facts["pixels_digest"] != "")]
            made = Print(*rows.iloc[0][list(Print._fields)]) if len(rows) else None
        if made is not None:
            found[_eye(record)] = made
    return found


def _sightings(
    record: DatasetRecord, sample: Sample, known: Mapping[tuple[int, str], Print]
) -> Iterator[Sighting]:
    facts = catalog.read_facts(record)
    same = (facts["sha256"] == sample.sha256).to_numpy()
    pixels, near = np.zeros_like(same), np.zeros_like(same)
    bits = np.zeros(len(facts), np.int64)
    if seen := known.get(_eye(record)):
        pixels = (facts["pixels_digest"] == seen.pixels_digest).to_numpy()
        unlike = facts["phash"].to_numpy(np.int64) ^ np.int64(seen.phash)
        bits = np.bitwise_count(unlike.view(np.uint64)).astype(np.int64)
        near = _near(facts, seen, bits, int(record.params["near_distance"]))
    spared = held_out(facts, record.digest)
    for row in np.flatnonzero(same | pixels | near):
        image = facts.iloc[row]
        how: How = "same file" if same[row] else "same pixels" if pixels[row] else "near copy"
        use: Use = "held out" if spared[row] else "trained on"
        yield Sighting(
            recipe=record.recipe,
            version=record.digest,
            created_utc=record.created_utc,
            key=image["key"],
            label=class_name(image["label"]),
            sha256=image["sha256"],
            how=how,
            bits=int(bits[row]) if how == "near copy" else 0,
            use="set aside" if image["reason"] else use,
            reason=image["reason"],
        )


def _near(
    facts: pd.DataFrame, seen: Print, bits: npt.NDArray[np.int64], distance: int
) -> npt.NDArray[np.bool_]:
    """Return which images are near copies, as near duplicates of a data set are."""
    candidates = np.flatnonzero((bits <= distance) & (facts["pixels_digest"] != "").to_numpy())
    table = facts.iloc[[*candidates[:1], *candidates]].reset_index(drop=True)
    near = np.zeros(len(facts), np.bool_)
    if len(table):
        # The first row becomes the sample; the largest stands for all that are near it.
        table["key"] = [str(row) for row in range(len(table))]
        table[["cluster", "reason", "duplicate_of"]] = ""
        table[["width", "height"]] = 1
        table.loc[0, ["width", "height"]] = 2
        table["phash"] = [seen.phash, *table["phash"][1:]]
        table["colour"] = [seen.colour, *table["colour"][1:]]
        found = mark_near(table, distance, "drop")
        near[candidates] = (found["duplicate_of"] == "0").to_numpy()[1:]
    return near


def _print(payload: bytes, record: DatasetRecord) -> Print | None:
    """Return what a file shows as a version sees it, None where it is no sound image.

    It goes the way of every image, a folder of its own, so that it is told by the same figures.
    """
    digest = hashlib.sha256(payload).hexdigest()
    channels, background = _eye(record)
    with tempfile.TemporaryDirectory(prefix="ganmill-trace-") as home:
        packer = Packer(Path(home))
        packer.pack([(digest, payload)])
        write_index(Path(home), [Entry("", "", "", "", digest)], packer.places, "", "")
        facts = collect(Path(home), 1, background, channels=channels)
    found = Print(*facts.iloc[0][list(Print._fields)])
    return found if found.pixels_digest else None


def _eye(record: DatasetRecord) -> tuple[int, str]:
    """Return what the digests of pixels and the hashes of a version depend on."""
    return record.params["channels"], record.params["background"]
