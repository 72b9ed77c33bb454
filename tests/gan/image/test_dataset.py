"""What training reads: right pixels, right labels, verified bytes."""

import io
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from gan.durable import write_json
from gan.errors import ContractError, DamagedError
from gan.image.dataset import Meta, open_dataset, prepare
from gan.image.decode import decode
from gan.image.encode import png
from gan.image.facts import collect, write_facts
from gan.image.render import Shape, to_array
from gan.image.sources import ingest
from gan.sections import DataSpec

SHARED = Path(__file__).resolve().parents[3].parent / "shared/data"
needs_data = pytest.mark.skipif(not SHARED.exists(), reason="the shared data sets are not here")


def noise(seed: int, width: int = 16, height: int = 16) -> Image.Image:
    """Return an RGB image of seeded noise."""
    values = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(values)


def zip_of(path: Path, images: dict[str, Image.Image]) -> Path:
    """Write images as PNG into a zip."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, image in images.items():
            file = io.BytesIO()
            image.save(file, "PNG")
            archive.writestr(name, file.getvalue())
    return path


def prepared(root: Path, source: Path, *, success: bool = True, **options: object) -> Meta:
    """Run ingest, facts and prepare over a source below `root`."""
    spec = DataSpec.model_validate({"source": "files", "path": str(source), **options})
    ingest(spec, root, root / "raw")
    facts = collect(root / "raw", 2, spec.background, channels=spec.channels)
    write_facts(root / "facts" / "facts.parquet", facts)
    write_json(root / "facts" / "verdict.json", {"success": success})
    return prepare(root / "raw", root / "facts", spec, root / "train", 2)


IMAGES = {
    "dogs/1.png": noise(1),
    "cats/2.png": noise(2),
    "cats/1.png": noise(3),
    "cats/blank.png": Image.new("RGB", (16, 16)),
}


def test_accepted_images_come_in_key_order_with_their_classes(tmp_path: Path) -> None:
    """Row n of the images, label n and the nth accepted key belong together."""
    meta = prepared(tmp_path, zip_of(tmp_path / "in.zip", IMAGES), resolution=16)
    data = open_dataset(tmp_path / "train")

    assert data.classes == ["cats", "dogs"]
    assert data.labels.tolist() == [0, 0, 1]
    assert data.images.dtype == np.uint8
    assert data.images.shape == (3, 3, 16, 16)
    for row, key in enumerate(["cats/1.png", "cats/2.png", "dogs/1.png"]):
        assert np.array_equal(data.images[row], np.asarray(IMAGES[key]).transpose(2, 0, 1))
    assert (len(data), data.digest, data.resolution) == (meta.count, meta.digest, 16)


def test_a_source_without_labels_is_one_class(tmp_path: Path) -> None:
    """Training always has a class to condition on."""
    prepared(tmp_path, zip_of(tmp_path / "in.zip", IMAGES), resolution=16, label_from="none")

    assert open_dataset(tmp_path / "train").classes == ["all"]


def test_the_digest_depends_on_pixels_labels_and_nothing_else(tmp_path: Path) -> None:
    """The same images packed another way are the same data; another label is not."""
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    (tmp_path / "c").mkdir()
    one = prepared(tmp_path / "a", zip_of(tmp_path / "a/in.zip", IMAGES), resolution=16)
    turned = dict(reversed(IMAGES.items()))
    two = prepared(tmp_path / "b", zip_of(tmp_path / "b/in.zip", turned), resolution=16)
    renamed = {name.replace("dogs", "birds"): image for name, image in IMAGES.items()}
    three = prepared(tmp_path / "c", zip_of(tmp_path / "c/in.zip", renamed), resolution=16)

    assert one == two
    assert one.digest != three.digest
    for name in ("images.npy", "labels.npy", "groups.npy", "meta.json", "SHA256SUMS"):
        assert (tmp_path / "a/train" / name).read_bytes() == (
            tmp_path / "b/train" / name
        ).read_bytes()


def test_what_belongs_together_has_one_number(tmp_path: Path) -> None:
    """Groups that the source gives, and near duplicates; everything else is alone."""
    spec = DataSpec(source="files", path=str(zip_of(tmp_path / "in.zip", IMAGES)), resolution=16)
    ingest(spec, tmp_path, tmp_path / "raw")
    facts = collect(tmp_path / "raw", 1)
    facts.loc[facts["key"].isin(["cats/1.png", "dogs/1.png"]), "cluster"] = "cats/1.png"
    write_facts(tmp_path / "facts" / "facts.parquet", facts)
    write_json(tmp_path / "facts" / "verdict.json", {"success": True})
    prepare(tmp_path / "raw", tmp_path / "facts", spec, tmp_path / "train", 1)

    assert open_dataset(tmp_path / "train").groups.tolist() == [0, 1, 0]


SHAPE = Shape(resolution=8, channels=3, background="#102030", fit="crop", resize="nearest")


def test_crop_takes_the_middle_and_pad_fills_with_the_background() -> None:
    """Nothing is stretched."""
    image = Image.new("RGB", (16, 8), "red")
    image.paste((0, 255, 0), (4, 0, 12, 8))
    crop = to_array(image, SHAPE)
    pad = to_array(image, Shape(16, 3, "#102030", "pad", "nearest"))

    assert np.all(crop == np.array([0, 255, 0])[:, None, None])
    assert pad[:, 0, 0].tolist() == [16, 32, 48]
    assert pad[:, 8, 0].tolist() == [255, 0, 0]


def test_nearest_keeps_hard_pixels_and_lanczos_smooths() -> None:
    """Pixel art keeps its colours; photographs get a proper filter."""
    image = Image.new("RGB", (16, 16))
    image.paste((255, 255, 255), (0, 0, 5, 16))
    smooth = Shape(8, 3, "#ffffff", "crop", "lanczos")

    assert set(np.unique(to_array(image, SHAPE))) == {0, 255}
    assert len(np.unique(to_array(image, smooth))) > 2


def test_one_channel_is_grey_and_alpha_is_laid_over_the_background() -> None:
    """A recipe of one channel gives [1, H, W]."""
    clear = Image.new("RGBA", (8, 8), (255, 0, 0, 0))

    assert to_array(noise(1), Shape(8, 1, "#ffffff", "crop", "lanczos")).shape == (1, 8, 8)
    assert to_array(clear, SHAPE)[:, 0, 0].tolist() == [16, 32, 48]


@pytest.mark.parametrize("resolution", [32, 8])
def test_grey_and_pad_go_together(resolution: int) -> None:
    """The padding of a grey image is the background's shade."""
    array = to_array(noise(1, 8, 4), Shape(resolution, 1, "#808080", "pad", "nearest"))

    assert array[0, 0, 0] == 128


CLEAR = Shape(resolution=8, channels=4, background="#102030", fit="crop", resize="lanczos")


def test_four_channels_keep_alpha_and_know_no_background() -> None:
    """Colours come times alpha; an image without alpha is opaque."""
    half = to_array(Image.new("RGBA", (8, 8), (255, 100, 0, 51)), CLEAR)
    opaque = to_array(noise(1, 8, 8), CLEAR)

    assert half[:, 3, 3].tolist() == [51, 20, 0, 51]
    assert np.array_equal(opaque[:3], to_array(noise(1, 8, 8), SHAPE))
    assert np.all(opaque[3] == 255)
    assert not to_array(Image.new("RGBA", (8, 8), (255, 0, 0, 0)), CLEAR).any()


def test_a_square_of_four_channels_is_padded_with_transparency() -> None:
    """What is added round an image has neither colour nor alpha."""
    array = to_array(Image.new("RGB", (16, 8), "red"), Shape(16, 4, "#102030", "pad", "nearest"))

    assert not array[:, :4].any()
    assert not array[:, 12:].any()
    assert np.all(array[:, 4:12] == np.array([255, 0, 0, 255])[:, None, None])


@pytest.mark.parametrize("resize", ["lanczos", "nearest"])
def test_colour_under_alpha_0_does_not_bleed_when_resized(resize: str) -> None:
    """A red disc on clear green stays red to its rim, and no colour exceeds its alpha."""
    image = Image.new("RGBA", (64, 64), (0, 255, 0, 0))
    ImageDraw.Draw(image).ellipse((9, 9, 54, 54), fill=(255, 0, 0, 255))
    array = to_array(image, Shape(28, 4, "#102030", "crop", resize))

    assert array.shape == (4, 28, 28)
    assert not array[1:3].any()
    assert np.all(array[0] <= array[3])
    assert (array[3, 0, 0], array[3, 14, 14]) == (0, 255)


def test_28_px_with_alpha_is_prepared_and_opened(tmp_path: Path) -> None:
    """The textbook's size goes through the stage like any other."""
    images = {
        f"{name}/{seed}.png": noise(seed, 28, 28) for seed, name in enumerate(["a", "a", "b"])
    }
    images["a/0.png"].putalpha(noise(7, 28, 28).getchannel("R"))
    prepared(tmp_path, zip_of(tmp_path / "in.zip", images), resolution=28, channels=4)
    data = open_dataset(tmp_path / "train")

    assert data.images.shape == (3, 4, 28, 28)
    assert (data.resolution, data.channels) == (28, 4)
    assert np.array_equal(data.images[0, 3], np.asarray(images["a/0.png"])[..., 3])
    assert np.all(data.images[1:, 3] == 255)


def test_a_failed_or_missing_verdict_blocks(tmp_path: Path) -> None:
    """No data set is made of images that did not pass their contract."""
    source = zip_of(tmp_path / "in.zip", IMAGES)
    with pytest.raises(ContractError, match="did not pass"):
        prepared(tmp_path, source, success=False)
    (tmp_path / "facts" / "verdict.json").unlink()
    with pytest.raises(DamagedError, match=r"verdict\.json: missing"):
        prepare(
            tmp_path / "raw",
            tmp_path / "facts",
            DataSpec(source="files", path="x"),
            tmp_path / "train",
        )
    assert not (tmp_path / "train").exists()


def test_facts_of_other_images_are_refused(tmp_path: Path) -> None:
    """A table of facts that is older than the shards is not believed."""
    prepared(tmp_path, zip_of(tmp_path / "in.zip", IMAGES), resolution=16)
    other = {**IMAGES, "dogs/2.png": noise(9)}
    spec = DataSpec(source="files", path=str(zip_of(tmp_path / "in.zip", other)))
    ingest(spec, tmp_path, tmp_path / "raw")

    with pytest.raises(DamagedError, match="describes other images"):
        prepare(tmp_path / "raw", tmp_path / "facts", spec, tmp_path / "train")


@pytest.mark.parametrize(
    "name", ["images.npy", "labels.npy", "groups.npy", "meta.json", "SHA256SUMS"]
)
def test_a_changed_byte_of_the_training_set_is_noticed(name: str, tmp_path: Path) -> None:
    """What training opens is what was prepared."""
    prepared(tmp_path, zip_of(tmp_path / "in.zip", IMAGES), resolution=16)
    path = tmp_path / "train" / name
    payload = bytearray(path.read_bytes())
    payload[len(payload) // 2] ^= 1
    path.write_bytes(payload)

    with pytest.raises(DamagedError):
        open_dataset(tmp_path / "train")


def test_the_images_are_mapped_and_cannot_be_written(tmp_path: Path) -> None:
    """A large set costs no memory, and nobody changes it by accident."""
    prepared(tmp_path, zip_of(tmp_path / "in.zip", IMAGES), resolution=16)
    data = open_dataset(tmp_path / "train")

    assert isinstance(data.images, np.memmap)
    assert not data.images.flags.writeable


@needs_data
def test_stickers_come_back_cut_out_as_they_were(tmp_path: Path) -> None:
    """300 real stickers through all stages and out as PNG: alpha to the bit, colours to rounding.

    A colour was rounded at 1/255 of its alpha, so it comes back as near as its alpha allows.
    """
    with zipfile.ZipFile(SHARED / "stickers.zip") as archive:
        names = sorted(name for name in archive.namelist() if name.startswith("noto/"))
        originals = {name: archive.read(name) for name in names[::11] if name.endswith(".png")}
    with zipfile.ZipFile(tmp_path / "in.zip", "w") as archive:
        for name, payload in originals.items():
            archive.writestr(name, payload)
    meta = prepared(tmp_path, tmp_path / "in.zip", resolution=64, channels=4)
    data = open_dataset(tmp_path / "train")

    assert meta.count == len(originals) > 300
    assert 0.1 < (data.images[:, 3] == 0).mean() < 0.9
    for image, name in zip(data.images, sorted(originals), strict=True):
        source = np.asarray(decode(originals[name]).image.convert("RGBA")).astype(int)
        with Image.open(io.BytesIO(png(image))) as picture:
            found = np.asarray(picture).astype(int)
        alpha = source[..., 3]
        off = np.abs(found[..., :3] - source[..., :3]).max(axis=2)
        assert np.array_equal(found[..., 3], alpha)
        assert np.all(off[alpha > 0] <= 128 / alpha[alpha > 0] + 1)
        assert not found[alpha == 0].any()


@pytest.mark.slow
@needs_data
def test_stickers_with_transparency_become_a_training_set(tmp_path: Path) -> None:
    """12,517 RGBA stickers of 64 px become 32 px RGB in eleven classes."""
    meta = prepared(tmp_path, SHARED / "stickers.zip", resolution=32)
    data = open_dataset(tmp_path / "train")

    assert (meta.count, len(meta.classes)) == (12_517, 11)
    assert data.images[:, :, 0, 0].mean() > 200  # corners show the white background


@pytest.mark.slow
@needs_data
def test_cifar10_in_full_takes_less_than_forty_five_seconds(tmp_path: Path) -> None:
    """60,000 photographs from the tar.xz to arrays, with the statistics that are known of them."""
    started = time.monotonic()
    meta = prepared(tmp_path, SHARED / "cifar10.tar.xz", resolution=32)
    seconds = time.monotonic() - started
    data = open_dataset(tmp_path / "train")
    mean = data.images.mean(axis=(0, 2, 3)) / 255

    assert (meta.count, np.bincount(data.labels).tolist()) == (60_000, [6_000] * 10)
    assert mean == pytest.approx([0.4913, 0.4821, 0.4465], abs=0.003)
    assert seconds < 45
