"""Publications of a batch in an S3-compatible store, and which addresses may be named."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gan.assets.exports import export
from gan.assets.files import Marks
from gan.assets.manifest import MANIFEST, Row, read_rows
from gan.errors import ServiceError, UsageError
from tests.gan.assets.batches import mint_batch
from tests.gan.image.stores import LOGIN, Bucket, s3_server


@pytest.fixture(scope="module")
def minted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Marks]:
    """Return a real batch of four assets, and its marks."""
    return mint_batch(tmp_path_factory.mktemp("minted"), 4)


@pytest.fixture(scope="module")
def rows(minted: tuple[Path, Marks]) -> list[Row]:
    """Return its accepted assets."""
    return [row for row in read_rows(minted[0] / MANIFEST) if row.verdict == "accepted"]


@pytest.fixture(scope="module")
def put(minted: tuple[Path, Marks]) -> Callable[..., Any]:
    """Return what exports rows in a form to a target."""
    return lambda rows, form, target: export(minted[0], rows, form, str(target), minted[1])


@pytest.fixture(scope="module")
def bucket() -> Iterator[Bucket]:
    """Return a bucket of a store on loopback."""
    with s3_server():
        yield Bucket("shop")


def tree(folder: Path) -> dict[str, bytes]:
    """Return every file below a folder."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


@pytest.mark.parametrize(
    ("target", "says"),
    [
        ("http://host/folder", "cannot be that"),
        ("s3://user:secret@bucket/folder", "holds a login"),
        ("s3:///folder", "cannot be that"),
        ("file://host/folder", "cannot be that"),
        ("memory://folder", "cannot be that"),
        ("simplecache::s3://bucket/folder", "cannot be that"),
    ],
)
def test_addresses_are_allowed_by_name(
    target: str, says: str, rows: list[Row], put: Callable[..., Any]
) -> None:
    """Only this machine and S3; a login in an address is refused and not repeated."""
    with pytest.raises(UsageError, match=says) as refused:
        put(rows, "folder", target)
    assert "secret" not in str(refused.value)


def test_a_store_gets_the_same_files(
    bucket: Bucket, rows: list[Row], put: Callable[..., Any], tmp_path: Path
) -> None:
    """Every object is as in a folder; a later choice removes what it leaves out, and no more."""
    bucket.put("out/slot-x/letter.txt", b"keep")
    put(rows, "folder", tmp_path / "folder")
    first = put(rows, "folder", "s3://shop/out/slot/")
    assert objects(bucket, "out/slot/") == tree(tmp_path / "folder")
    assert (first.already, first.target) == (False, "s3://shop/out/slot")
    assert put(rows, "folder", "s3://shop/out/slot").already

    put(rows[:3], "folder", tmp_path / "folder")
    assert not put(rows[:3], "folder", "s3://shop/out/slot").already
    assert objects(bucket, "out/slot/") == tree(tmp_path / "folder")
    assert objects(bucket, "out/slot-x/") == {"letter.txt": b"keep"}


def objects(bucket: Bucket, prefix: str) -> dict[str, bytes]:
    """Return the objects below a prefix."""
    pages = bucket.client.get_paginator("list_objects_v2")
    keys = [
        each["Key"]
        for page in pages.paginate(Bucket=bucket.name, Prefix=prefix)
        for each in page.get("Contents", ())
    ]
    read = bucket.client.get_object
    return {k.removeprefix(prefix): read(Bucket=bucket.name, Key=k)["Body"].read() for k in keys}


def test_an_index_in_a_store_comes_last(
    bucket: Bucket, rows: list[Row], put: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A publisher that lost the store half-way leaves no index; the same call finishes."""
    import s3fs

    sent: list[str] = []
    real = s3fs.S3FileSystem._put_file

    async def lose(self: Any, lpath: str, rpath: str, *args: Any, **kwargs: Any) -> Any:
        sent.append(rpath)
        if len(sent) == 4:
            raise ConnectionError("gone")
        return await real(self, lpath, rpath, *args, **kwargs)

    monkeypatch.setattr(s3fs.S3FileSystem, "_put_file", lose)
    with pytest.raises(ServiceError, match="does not answer"):
        put(rows, "imagefolder", "s3://shop/lost")
    assert "index.json" not in objects(bucket, "lost/")
    put(rows, "imagefolder", "s3://shop/lost")

    assert "index.json" in objects(bucket, "lost/")
    assert sent[-1].endswith("index.json")


def test_a_store_that_refuses_is_one_line(
    bucket: Bucket,
    rows: list[Row],
    put: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """No such bucket, or nobody there: what, where, and what to do; never the password."""
    with pytest.raises(UsageError, match="s3://nowhere/x: there is no such bucket"):
        put(rows, "zip", "s3://nowhere/x")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    with pytest.raises(ServiceError, match="AWS_ENDPOINT_URL") as refused:
        put(rows, "zip", "s3://shop/x")
    assert LOGIN["AWS_SECRET_ACCESS_KEY"] not in str(refused.value)
