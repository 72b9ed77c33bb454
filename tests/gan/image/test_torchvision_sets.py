"""torchvision's sets by name: classes as folders, bytes that stay, nothing fetched unasked."""

import gzip
import hashlib
import io
import struct
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from gan.errors import ServiceError, SourceError
from gan.image import torchvision_sets
from gan.image.members import Survey
from tests.gan.image.stores import web_server

TRAIN, TEST = 40, 20


def _idx(values: NDArray[np.uint8]) -> bytes:
    """Return an array as the MNIST family keeps it: magic, lengths, bytes."""
    lengths = struct.pack(f">{values.ndim}I", *values.shape)
    return struct.pack(">HBB", 0, 8, values.ndim) + lengths + values.tobytes()


def fashion(raw: Path) -> NDArray[np.uint8]:
    """Write 60 small pictures of ten classes as Fashion-MNIST's raw files; return them all."""
    raw.mkdir(parents=True, exist_ok=True)
    draws = np.random.default_rng(3)
    pictures = draws.integers(0, 256, (TRAIN + TEST, 28, 28), dtype=np.uint8)
    for word, chosen in (("train", slice(None, TRAIN)), ("t10k", slice(TRAIN, None))):
        labels = np.arange(TRAIN + TEST, dtype=np.uint8)[chosen] % 10
        (raw / f"{word}-images-idx3-ubyte").write_bytes(_idx(pictures[chosen]))
        (raw / f"{word}-labels-idx1-ubyte").write_bytes(_idx(labels))
    return pictures


def _raw(root: Path) -> Path:
    return torchvision_sets.home("FashionMNIST", root) / "FashionMNIST" / "raw"


def test_both_parts_of_a_set_come_in_by_class(tmp_path: Path) -> None:
    """Train and test come in, each picture pixel for pixel, below its class's name."""
    pictures = fashion(_raw(tmp_path))
    found = {
        member.key: member.read()
        for member in torchvision_sets.members("FashionMNIST", tmp_path, Survey())
    }

    assert len(found) == TRAIN + TEST
    assert {key.partition("/")[0] for key in found} >= {"T-shirt-top", "Ankle boot"}
    assert sum(key.startswith("T-shirt-top/") for key in found) == 6
    with Image.open(io.BytesIO(found["Ankle boot/test-000009.png"])) as image:
        assert np.array_equal(np.asarray(image), pictures[TRAIN + 9])
        assert image.mode == "L"


def test_the_bytes_of_a_picture_stay(tmp_path: Path) -> None:
    """A PNG's SHA-256 is a constant: a removal by it holds with any version of zlib."""
    fashion(_raw(tmp_path))
    first = next(torchvision_sets.members("FashionMNIST", tmp_path, Survey()))

    assert hashlib.sha256(first.read()).hexdigest()[:16] == "18cea0c6976f5952"


def test_files_of_a_set_come_as_they_are(tmp_path: Path) -> None:
    """Where a set is made of files, not one byte of them changes on the way."""
    folder = torchvision_sets.home("EuroSAT", tmp_path) / "eurosat" / "2750"
    for label in ("Forest", "River"):
        (folder / label).mkdir(parents=True)
        Image.new("RGB", (64, 64), (9, len(label), 3)).save(folder / label / f"{label}_1.jpg")
    found = {
        member.key: member.read()
        for member in torchvision_sets.members("EuroSAT", tmp_path, Survey())
    }

    assert list(found) == ["Forest/train-000000.jpg", "River/train-000001.jpg"]
    assert found["River/train-000001.jpg"] == (folder / "River" / "River_1.jpg").read_bytes()


def test_a_pin_tells_a_bit_and_not_the_machine(tmp_path: Path) -> None:
    """Equal files have an equal pin wherever and whenever they were put there."""
    fashion(_raw(tmp_path / "one"))
    fashion(_raw(tmp_path / "two"))
    one, two = (torchvision_sets.pin("FashionMNIST", tmp_path / word) for word in ("one", "two"))
    path = _raw(tmp_path / "two") / "t10k-images-idx3-ubyte"
    payload = path.read_bytes()
    path.write_bytes(payload[:-1] + bytes([payload[-1] ^ 1]))

    assert one == two
    assert one.files == 4
    assert torchvision_sets.pin("FashionMNIST", tmp_path / "two") != one


def test_what_is_not_there_is_not_fetched_unasked(tmp_path: Path) -> None:
    """Without a word nothing is downloaded; the message says which word, and where to put it."""
    with pytest.raises(SourceError, match=r"CIFAR10.*GANMILL_DOWNLOAD=1"):
        list(torchvision_sets.members("CIFAR10", tmp_path, Survey()))
    with pytest.raises(SourceError, match="Did you mean CIFAR10"):
        torchvision_sets.known("cifar-10")
    assert not list(tmp_path.iterdir())


def test_damaged_files_are_refused_with_their_folder(tmp_path: Path) -> None:
    """A file that was cut, and a pickle of CIFAR that is not the published one: one line each."""
    fashion(_raw(tmp_path))
    path = _raw(tmp_path) / "train-images-idx3-ubyte"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(SourceError, match="cannot read it as FashionMNIST"):
        list(torchvision_sets.members("FashionMNIST", tmp_path, Survey()))
    batches = torchvision_sets.home("CIFAR10", tmp_path) / "cifar-10-batches-py"
    batches.mkdir(parents=True)
    for name in ("data_batch_1", "test_batch", "batches.meta"):
        (batches / name).write_bytes(b"cos\nabort\n(tR.")  # a pickle that would end the process
    with pytest.raises(SourceError, match="cannot read it as CIFAR10"):
        list(torchvision_sets.members("CIFAR10", tmp_path, Survey()))


def test_a_set_is_fetched_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Torchvision's own check decides: what it takes is there whole, else there is nothing."""
    from torchvision.datasets import FashionMNIST  # type: ignore[import-untyped]

    fashion(tmp_path / "there")
    resources = []
    for path in sorted((tmp_path / "there").iterdir()):
        packed = path.with_name(f"{path.name}.gz")
        packed.write_bytes(gzip.compress(path.read_bytes()))
        digest = hashlib.md5(packed.read_bytes(), usedforsecurity=False).hexdigest()
        resources.append((packed.name, digest))
    with web_server(tmp_path / "there") as web:
        monkeypatch.setattr(FashionMNIST, "mirrors", [f"{web}/"])
        with pytest.raises(ServiceError, match="cannot be fetched"):
            torchvision_sets.fetch("FashionMNIST", tmp_path)
        assert not torchvision_sets.is_there("FashionMNIST", tmp_path)
        monkeypatch.setattr(FashionMNIST, "resources", resources)
        torchvision_sets.fetch("FashionMNIST", tmp_path)

    found = list(torchvision_sets.members("FashionMNIST", tmp_path, Survey()))
    assert len(found) == TRAIN + TEST
    assert [path.name for path in (tmp_path / ".ganmill/torchvision").iterdir()] == ["FashionMNIST"]


def test_every_set_on_the_list_is_one_that_torchvision_has() -> None:
    """No name on the list is a dead one, and each takes what it will be given."""
    import inspect

    from torchvision import datasets  # type: ignore[import-untyped]

    for name, known in torchvision_sets.SETS.items():
        taken = inspect.signature(getattr(datasets, name)).parameters
        assert {key for part in known.parts for key in part} <= set(taken), name
        assert ("loader" in taken) == known.has_files, name
