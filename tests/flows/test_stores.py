"""A DVC remote in an S3-compatible store: a real server on loopback, spoken to by dvc-s3."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import s3fs

from flows import stores
from flows.datasets.catalog import DatasetRecord, find, read_sums
from flows.datasets.checkout import checkout
from flows.datasets.verifying import mend, verify, verify_remote
from flows.versions import push
from gan.durable import sha256
from gan.errors import DamagedError, ServiceError
from gan.paths import Layout
from tests.flows.datasets.rooms import RECIPE, accept, make_room
from tests.gan.image.stores import s3_server


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    """Return the address of an S3-compatible server with a bucket `data`, and be let in."""
    with s3_server() as address, pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")  # nobody is asked for credentials
        patch.setenv("AWS_MAX_ATTEMPTS", "1")
        s3fs.S3FileSystem(skip_instance_cache=True).mkdir("data")
        yield address


@pytest.fixture(scope="module")
def room(endpoint: str, tmp_path_factory: pytest.TempPathFactory) -> Layout:
    """Return a workspace with a data version on that remote."""
    layout = make_room(tmp_path_factory.mktemp("s3") / "room", remote="s3://data/dvc")
    accept(layout)
    return layout


def _objects(layout: Layout, known: DatasetRecord) -> dict[str, str]:
    """Return the key of each object of a version on the remote, by file."""
    with stores.opened(layout) as opened:
        objects = opened.objects(known.dvc)
        return {file: opened.remote.where(name) for file, name in objects.items()}


def test_versions_are_pushed_verified_and_brought_back(room: Layout, tmp_path: Path) -> None:
    """A version is checked out of S3 by a machine without a cache, every byte checked."""
    shutil.copytree(room.root, tmp_path / "room")
    elsewhere = Layout(tmp_path / "room")
    shutil.rmtree(elsewhere.root / ".dvc" / "cache")
    known = find(elsewhere, RECIPE, "latest")

    assert verify_remote(elsewhere, known) == []
    folder = checkout(elsewhere, RECIPE, known.digest)

    sums = read_sums(known)
    assert {file: sha256(folder / file) for file in sums} == sums


def test_what_was_altered_or_lost_on_s3_is_found_and_mended(room: Layout) -> None:
    """An object of the same size is found by its bytes, a lost one by its absence."""
    known = find(room, RECIPE, "latest")
    keys, bucket = _objects(room, known), s3fs.S3FileSystem(skip_instance_cache=True)
    content = bytearray(bucket.cat(keys["train/images.npy"]))
    content[-1] ^= 1
    bucket.pipe(keys["train/images.npy"], bytes(content))
    bucket.rm(keys["raw/index.parquet"])

    found = {(each.file, each.state) for each in verify_remote(room, known)}

    assert found == {("train/images.npy", "altered"), ("raw/index.parquet", "missing")}
    assert push(room, RECIPE) == 1  # the lost one; DVC would see the folder's list and skip it
    assert mend(room, known) == []


def test_tampered_bytes_on_s3_are_refused_by_name(room: Layout, tmp_path: Path) -> None:
    """Without a cache there is no other copy: the object is named, and nothing stays."""
    shutil.copytree(room.root, tmp_path / "room")
    elsewhere = Layout(tmp_path / "room")
    shutil.rmtree(elsewhere.root / ".dvc" / "cache")
    known = find(elsewhere, RECIPE, "latest")
    key = _objects(elsewhere, known)["raw/shard-00000.tar"]
    bucket = s3fs.S3FileSystem(skip_instance_cache=True)
    whole = bucket.cat(key)
    bucket.pipe(key, whole[:1000] + b"x" + whole[1001:])

    with pytest.raises(
        DamagedError, match=r"^raw/shard-00000\.tar: .* altered in DVC remote 'store'"
    ):
        checkout(elsewhere, RECIPE, known.digest)

    bucket.pipe(key, whole)
    assert not list(elsewhere.checkout(RECIPE, known.digest).parent.glob("*"))


@pytest.mark.parametrize(
    ("variable", "value", "says"),
    [
        ("AWS_ENDPOINT_URL", "http://127.0.0.1:9", "Could not connect to the endpoint"),
        ("AWS_SECRET_ACCESS_KEY", None, "credentials"),
    ],
)
def test_a_store_that_is_away_or_refuses_us_is_one_line(
    room: Layout, monkeypatch: pytest.MonkeyPatch, variable: str, value: str | None, says: str
) -> None:
    """The remote, its address and the reason are named; nothing local changed."""
    known = find(room, RECIPE, "latest")
    if value is None:
        monkeypatch.delenv(variable)
    else:
        monkeypatch.setenv(variable, value)

    with pytest.raises(ServiceError) as refused:
        push(room, RECIPE)

    assert str(refused.value).startswith("DVC remote 'store' (s3://data/dvc): ")
    assert says in str(refused.value)
    assert "\n" not in str(refused.value)
    assert verify(room, known, ("record", "workspace", "cache")) == []
