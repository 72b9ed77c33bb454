"""A second ingest: what is new comes beside what is there, what went is gone from the disk."""

import errno
import io
import os
import tarfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from gan.durable import read_json, sha256
from gan.errors import GanmillError, SourceError
from gan.image.facts import collect
from gan.image.shards import Shards, places, read_index
from gan.image.sources import Ingested, ingest
from gan.sections import DataSpec
from tests.faults.seam import KILLED, dying_at, failing_at


def picture(seed: int) -> bytes:
    """Return a PNG of seeded noise; its bytes are found in a shard as they are."""
    values = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(values).save(file, "PNG")
    return file.getvalue()


class Source:
    """A folder of images that grows and shrinks, and where it is ingested to."""

    def __init__(self, root: Path) -> None:
        """Begin with ten images of two classes."""
        self.root, self.raw = root, root / "raw"
        for number in range(10):
            self.put(number)

    def put(self, number: int, payload: bytes | None = None) -> None:
        """Add an image, or change it."""
        path = self._path(number)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(picture(number) if payload is None else payload)

    def drop(self, number: int) -> None:
        """Take an image out."""
        self._path(number).unlink()

    def _path(self, number: int) -> Path:
        return self.root / "in" / ("even", "odd")[number % 2] / f"{number:02d}.png"

    def ingest(self, raw: Path | None = None, **options: Any) -> Ingested:
        """Bring it in."""
        spec = DataSpec(source="files", path="in", **options)
        return ingest(spec, self.root, raw or self.raw)

    def packed(self) -> bytes:
        """Return the bytes of all shards."""
        return b"".join(path.read_bytes() for path in sorted(self.raw.glob("shard-*.tar")))

    def sums(self) -> dict[str, str]:
        """Return {file: digest} of the raw folder."""
        return {path.name: sha256(path) for path in sorted(self.raw.iterdir())}


@pytest.fixture
def source(tmp_path: Path) -> Source:
    """Return a source that was ingested once."""
    made = Source(tmp_path)
    made.ingest()
    return made


def timeless(raw: Path) -> pd.DataFrame:
    """Return the index but for where the bytes lie, after a look at every byte."""
    index = read_index(raw)
    with Shards(raw) as shards:
        for place in places(index):
            shards.read(place)
    return index.drop(columns=["shard", "offset"])


def assert_as_fresh(source: Source) -> None:
    """Hold the index against that of an ingest into an empty folder."""
    source.ingest(source.root / "fresh")
    pd.testing.assert_frame_equal(timeless(source.raw), timeless(source.root / "fresh"))


def test_the_same_source_again_changes_no_file(source: Source) -> None:
    """Not the shards, not the index, and not the account of the last change."""
    before = source.sums()
    done = source.ingest()

    assert source.sums() == before
    assert not done.changes.any
    assert read_json(source.raw / "changes.json")["added"]["count"] == 10


def test_new_images_come_into_a_new_shard(source: Source) -> None:
    """The old shard keeps every byte, so little is stored and sent again."""
    before = source.sums()["shard-00000.tar"]
    source.put(10)
    source.put(11)
    done = source.ingest()
    after = source.sums()

    assert (done.images, done.changes.added.count, str(done.changes)) == (12, 2, "2 added")
    assert after["shard-00000.tar"] == before
    assert "shard-00001.tar" in after
    assert read_json(source.raw / "changes.json")["added"]["examples"] == [
        "even/10.png",
        "odd/11.png",
    ]
    assert_as_fresh(source)


def test_what_went_is_told_and_gone_from_the_disk(source: Source) -> None:
    """The bytes of a taken-down image are in no file of the raw folder afterwards."""
    assert picture(3) in source.packed()
    source.drop(3)
    done = source.ingest()

    assert (done.images, done.changes.gone.examples) == (9, ["odd/03.png"])
    assert picture(3) not in source.packed()
    assert picture(4) in source.packed()
    assert_as_fresh(source)


def test_a_changed_image_takes_the_place_of_the_old_one(source: Source) -> None:
    """Its old bytes are gone as well."""
    source.put(3, picture(99))
    done = source.ingest()

    assert str(done.changes) == "1 changed"
    assert picture(3) not in source.packed()
    assert_as_fresh(source)


def test_a_moved_image_is_told_and_its_bytes_stay(source: Source) -> None:
    """Under another key it is another image of the same bytes."""
    before = source.sums()["shard-00000.tar"]
    (source.root / "in" / "odd" / "03.png").rename(source.root / "in" / "even" / "03.png")
    done = source.ingest()

    assert str(done.changes) == "1 added, 1 gone"
    assert source.sums()["shard-00000.tar"] == before
    assert_as_fresh(source)


def test_equal_images_are_stored_once_and_told_by_their_keys(source: Source) -> None:
    """A copy takes no room; when the original goes, the copy still reads."""
    source.put(11, picture(3))
    assert source.ingest().images == 11
    assert source.packed().count(picture(3)) == 1
    source.drop(3)
    source.ingest()

    assert source.packed().count(picture(3)) == 1
    assert_as_fresh(source)


def test_a_removed_image_never_comes_in_again(source: Source) -> None:
    """By its bytes, under any name, though it is in the source still; the reason is counted."""
    removed = {sha256(source.root / "in" / "odd" / "03.png"): "asked for by its maker"}
    source.put(11, picture(3))
    done = source.ingest(removed=removed)

    assert (done.images, done.skipped) == (9, {"REMOVED": 2})
    assert done.changes.gone.examples == ["odd/03.png"]
    assert picture(3) not in source.packed()


def test_another_label_is_told(source: Source) -> None:
    """A mended table changes no bytes, and is news all the same."""
    before = source.sums()["shard-00000.tar"]
    done = source.ingest(label_from="none")

    assert str(done.changes) == "10 relabelled"
    assert source.sums()["shard-00000.tar"] == before


def test_a_damaged_shard_is_packed_anew(source: Source) -> None:
    """A flipped byte on the disk is no reason to keep it."""
    shard = source.raw / "shard-00000.tar"
    payload = bytearray(shard.read_bytes())
    payload[payload.index(picture(3)) + 5] ^= 1
    shard.write_bytes(payload)
    done = source.ingest()

    assert not done.changes.any
    assert_as_fresh(source)


def test_a_folder_without_an_index_of_this_format_begins_anew(source: Source) -> None:
    """What an older release left, or half of it, is not built upon."""
    (source.raw / "index.parquet").write_bytes(b"PAR1 of old")
    (source.raw / "shard-00007.tar").write_bytes(b"of nobody")
    source.ingest()

    shards = sorted(path.name for path in source.raw.glob("shard-*"))
    assert shards == ["shard-00000.tar"]
    assert_as_fresh(source)


def test_many_small_ingests_leave_few_shards(source: Source) -> None:
    """One image a day for 20 days: small shards are merged, so none of them pile up."""
    for number in range(10, 30):
        source.put(number)
        source.ingest()

    assert len(list(source.raw.glob("shard-*.tar"))) <= 5
    assert_as_fresh(source)


def test_a_refused_source_leaves_what_was_there(source: Source) -> None:
    """A source that is gone for a day costs nothing."""
    before = source.sums()
    (source.root / "in").rename(source.root / "away")
    with pytest.raises(SourceError, match="not found"):
        source.ingest()

    assert source.sums() == before


def grow_and_shrink(source: Source) -> None:
    """Change the source in every way at once."""
    source.drop(3)
    source.put(4, picture(99))
    for number in range(10, 13):
        source.put(number)


def test_killed_anywhere_the_folder_is_whole_and_the_same_call_finishes(source: Source) -> None:
    """At each single change of the disk: the index reads, and the next run ends as if alone."""
    grow_and_shrink(source)
    old = timeless(source.raw)
    n = 0
    while True:
        n += 1
        child = os.fork()
        if not child:  # the child dies at its n-th change, or ends
            with dying_at(n):
                source.ingest()
            os._exit(0)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        found = timeless(source.raw)  # every byte of it is there
        if status == 0:
            break
        assert status == KILLED
        assert len(found) in {len(old), 12}

    assert n > 10
    assert read_json(source.raw / "changes.json")["gone"]["examples"] == ["odd/03.png"]
    assert picture(3) not in source.packed()
    assert not list(source.raw.glob(".*"))
    assert_as_fresh(source)


def test_what_comes_after_does_not_know_the_history(source: Source) -> None:
    """The facts, and so all that is made of them, are those of a fresh ingest."""
    grow_and_shrink(source)
    source.ingest()
    assert_as_fresh(source)

    pd.testing.assert_frame_equal(collect(source.raw, 1), collect(source.root / "fresh", 1))


def test_a_disk_that_fails_anywhere_leaves_a_whole_folder(source: Source) -> None:
    """The same with a full disk instead of a kill."""
    grow_and_shrink(source)
    for n in range(1, 100):
        with failing_at(n, errno.ENOSPC) as passed, suppress(GanmillError):
            source.ingest()
        timeless(source.raw)
        if len(passed) < n:
            break
    source.ingest()

    assert_as_fresh(source)


def test_a_shard_is_byte_for_byte_what_tarfile_writes(source: Source) -> None:
    """Its headers are made by hand for speed; nothing tells them from those of the library."""
    shard = source.raw / "shard-00000.tar"
    with tarfile.open(shard) as packed:
        names = packed.getnames()
        payloads = [packed.extractfile(name).read() for name in names]  # type: ignore[union-attr]
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, payload in zip(names, payloads, strict=True):
            info = tarfile.TarInfo(name)
            info.size = len(payload)
            archive.addfile(info, io.BytesIO(payload))

    assert names[-1] == "00000009.png"
    assert shard.read_bytes() == file.getvalue()
