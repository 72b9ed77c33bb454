"""Images at an address: what is read, what is refused, and that what is pinned is what comes."""

import io
import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from gan.durable import write_json
from gan.errors import DamagedError, GanmillError, ServiceError, SourceError
from gan.image import remote
from gan.image.listings import look, read_pin
from gan.image.members import Survey
from gan.image.reading import read_members
from tests.gan.image.stores import LOGIN, Bucket, s3_server, web_server


def drawing(seed: int) -> bytes:
    """Return a PNG of seeded noise."""
    values = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(values).save(file, "PNG")
    return file.getvalue()


PICTURES = {f"{kind}/{n:02d}.png": drawing(n) for n in range(9) for kind in ("cats", "dogs")}


@pytest.fixture(scope="module")
def store() -> Iterator[str]:
    """Run the S3-compatible store."""
    with s3_server() as endpoint:
        yield endpoint


@pytest.fixture(scope="module")
def bucket(store: str) -> Bucket:
    """Return a bucket with pictures below `pets/`."""
    bucket = Bucket("pictures")
    for key, payload in PICTURES.items():
        bucket.put(f"pets/{key}", payload)
    bucket.put("pets/labels.csv", b"file,kind\ncats/00.png,tabby\n")
    bucket.put("pets/notes.txt", b"mine")
    bucket.put("pets/../up.png", drawing(1))
    bucket.put("pets/what?#[1].png", drawing(77))
    bucket.put("pets/cats/", b"")  # as consoles make folders
    return bucket


def pinned(url: str, folder: Path) -> Path:
    """Pin what is at an address, as `ganmill` does before each retraining."""
    path = folder / "pets" / "source.json"
    write_json(path, look(url).pin().document())
    return path


def brought(url: str, pin: Path) -> tuple[dict[str, bytes], Survey]:
    """Return what comes in."""
    survey = Survey()
    return {member.key: member.read() for member in remote.members(url, pin, survey)}, survey


def tarred(files: dict[str, bytes]) -> bytes:
    """Return a WebDataset of pictures."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for name, payload in files.items():
            info = tarfile.TarInfo(f"{name}.png")
            info.size = len(payload)
            archive.addfile(info, io.BytesIO(payload))
    return packed.getvalue()


def zipped(folder: Path) -> Path:
    """Write the pictures as a zip."""
    for key, payload in PICTURES.items():
        (folder / "in" / key).parent.mkdir(parents=True, exist_ok=True)
        (folder / "in" / key).write_bytes(payload)
    return Path(shutil.make_archive(str(folder / "pets"), "zip", folder / "in"))


def test_a_prefix_of_a_store_comes_in_whole(bucket: Bucket, tmp_path: Path) -> None:
    """Each picture below it comes byte for byte, with its folder as class; the rest is counted."""
    url = "s3://pictures/pets/"
    found, survey = brought(url, pinned(url, tmp_path))

    assert found == {**PICTURES, "what?#[1].png": drawing(77)}
    assert (survey.skipped, survey.clutter) == ({"UNSAFE_NAME": 1}, 2)
    assert survey.labels_csv == b"file,kind\ncats/00.png,tabby\n"
    assert list(found) == sorted(found)


def test_an_archive_in_a_store_and_on_a_web_server_comes_in(bucket: Bucket, tmp_path: Path) -> None:
    """One zip is fetched and read as one that lies here; nothing of it is left behind."""
    archive = zipped(tmp_path)
    bucket.put("pets.zip", archive.read_bytes())
    private = tmp_path / "private"
    private.mkdir()
    with pytest.MonkeyPatch.context() as patch, web_server(tmp_path) as web:
        patch.setattr("tempfile.tempdir", str(private))
        for url in ("s3://pictures/pets.zip", f"{web}/pets.zip", f"file://{archive}"):
            found, _ = brought(url, pinned(url, tmp_path))
            assert found == PICTURES
    assert not list(private.iterdir())


def test_a_prefix_of_parquet_files_or_of_tars_comes_in_as_from_a_folder(
    bucket: Bucket, tmp_path: Path
) -> None:
    """The layout of published sets: keys and columns are those of the same files lying here."""
    here = tmp_path / "here"
    here.mkdir()
    for part in range(2):
        rows = [{"image": {"bytes": drawing(2 * part + n), "path": None}} for n in range(2)]
        pq.write_table(pa.Table.from_pylist(rows), here / f"train-{part}.parquet")
        bucket.put(f"hub/train-{part}.parquet", (here / f"train-{part}.parquet").read_bytes())
        bucket.put(f"web/{part}.tar", tarred({f"{part}{n}": drawing(n) for n in range(2)}))
    bucket.put("hub/README.md", b"mine")
    found, survey = brought("s3://pictures/hub", pinned("s3://pictures/hub", tmp_path))
    tars, _ = brought("s3://pictures/web", pinned("s3://pictures/web", tmp_path))

    assert found == {one.key: one.read() for one in read_members(here, Survey())}
    assert (len(found), survey.clutter) == (4, 1)
    assert list(tars) == ["0/00.png", "0/01.png", "1/10.png", "1/11.png"]


def test_a_damaged_archive_is_named_by_its_address(tmp_path: Path) -> None:
    """The message names what the user wrote, not a private file that is gone by then."""
    (tmp_path / "pets.zip").write_bytes(zipped(tmp_path).read_bytes()[:-90])
    with web_server(tmp_path) as web:
        url = f"{web}/pets.zip?download=1"
        with pytest.raises(SourceError, match=rf"^{web}/pets.zip: is damaged"):
            brought(url, pinned(url, tmp_path))


def test_what_changed_since_it_was_pinned_is_not_brought_in(bucket: Bucket, tmp_path: Path) -> None:
    """Another picture, one more, one less: each is refused, with the command that takes it."""
    url = "s3://pictures/moving"
    for number in range(3):
        bucket.put(f"moving/{number}.png", drawing(number))
    pin = pinned(url, tmp_path)
    for key, seed in (("moving/1.png", 5), ("moving/3.png", 6), ("moving/3.png", None)):
        count = read_pin(pin).files
        if seed is None:
            bucket.drop(key)
        else:
            bucket.put(key, drawing(seed))
        with pytest.raises(SourceError, match=f"pins {count} of .*ganmill retrain pets"):
            brought(url, pin)
        pin = pinned(url, tmp_path)


def test_what_changes_while_it_is_read_is_refused(bucket: Bucket, tmp_path: Path) -> None:
    """A picture that is replaced in the middle ends the reading with an error, not with a mix."""
    url = "s3://pictures/busy"
    for number in range(3):
        bucket.put(f"busy/{number}.png", drawing(number))
    members = remote.members(url, pinned(url, tmp_path), Survey())
    next(members).read()
    bucket.put("busy/2.png", drawing(8))
    with pytest.raises(SourceError, match="pins 3"):
        list(members)


def test_a_pin_is_the_same_wherever_it_is_taken_and_tells_one_bit(
    bucket: Bucket, tmp_path: Path
) -> None:
    """Nothing but the source decides what the file in git says, and no login is in it."""
    url = "s3://pictures/pets"
    path = pinned(url, tmp_path)
    text = path.read_text()

    assert pinned(url + "/", tmp_path).read_text() == text
    assert read_pin(path) == look(url).pin()
    assert not any(secret in text for secret in LOGIN.values())
    path.write_text(text.replace('"format": 1', '"format": "1"'))
    with pytest.raises(DamagedError, match="Delete it"):
        brought(url, path)


@pytest.mark.parametrize(
    ("url", "complaint"),
    [
        ("ftp://host/pets.zip", "ftp is not allowed"),
        ("zip://a.png::s3://pictures/pets.zip", "zip is not allowed"),
        ("s3://pictures/pets::file:///etc", "s3 is not allowed"),
        ("pets", "no scheme"),
        ("https://", "nothing follows"),
        ("https://me:hunter2@host/pets.zip", "holds a password"),
        ("s3://KEY:hunter2@pictures/pets", "holds a password"),
        ("https://host/pets.zip?X-Amz-Signature=hunter2", "holds a password"),
        ("https://[host/hunter2", "is no address"),
        ("file://host/pets", "three slashes"),
    ],
)
def test_addresses_that_are_not_allowed_are_refused(url: str, complaint: str) -> None:
    """Other schemes, chains and addresses with a password are refused; no password is shown."""
    with pytest.raises(SourceError, match=complaint) as refused:
        look(url)
    assert "hunter2" not in str(refused.value)


def test_what_is_not_there_is_told_from_what_does_not_answer(
    bucket: Bucket, tmp_path: Path
) -> None:
    """A wrong name is the recipe's fault, exit 2; a server that is away the machine's, exit 1."""
    with web_server(tmp_path) as web:
        for url in ("s3://pictures/none", "s3://nowhere/x", f"{web}/x.zip", f"file://{tmp_path}/x"):
            with pytest.raises(SourceError, match="nothing is there"):
                look(url)
    with pytest.raises(ServiceError, match="does not answer"):
        look(f"{web}/x.zip")


def test_a_store_without_a_login_says_which_variables_it_wants(
    store: str, bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No login at all is one line with the names of the variables."""
    for name in LOGIN:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(SourceError, match="AWS_ACCESS_KEY_ID"):
        look("s3://pictures/pets")


def test_a_store_that_is_away_is_no_empty_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong endpoint is an error, and never a source of nothing."""
    for name, value in LOGIN.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    with pytest.raises(ServiceError, match="AWS_ENDPOINT_URL"):
        look("s3://pictures/pets")


def test_a_download_that_does_not_fit_is_refused_before_it_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk is told by the folder and its variable, before it is full."""
    zipped(tmp_path)
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage._replace(free=10))
    with web_server(tmp_path) as web:
        url = f"{web}/pets.zip"
        with pytest.raises(GanmillError, match="TMPDIR"):
            brought(url, pinned(url, tmp_path))
