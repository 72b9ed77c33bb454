"""Loading a bundle as MLflow does: seeds and labels in, images out."""

import io
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from gan.bundle import Bundle
from gan.errors import DamagedError, UsageError
from gan.image.encode import png
from gan.serving import ServedBundle, _load_pyfunc
from tests.gan.bundles import pack_untrained

CLASSES = ["cats", "hearts & co", "stars"]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Return an untrained RGBA bundle of three classes."""
    return pack_untrained(tmp_path_factory.mktemp("bundle"), CLASSES, channels=4)


@pytest.fixture(scope="module")
def served(bundle: Bundle) -> ServedBundle:
    """Return it as MLflow loads it."""
    return _load_pyfunc(str(bundle.folder), {"bundle_digest": bundle.digest})


def test_rows_become_images(served: ServedBundle) -> None:
    """A table of seeds and labels gives as many uint8 images [N, H, W, C], in its order."""
    table = pd.DataFrame({"seed": [5, 6, 5], "label": ["cats", "stars", "stars"]})
    images = served.predict(table)

    assert images.dtype == np.uint8
    assert images.shape == (3, 16, 16, 4)
    assert len({image.tobytes() for image in images}) == 3
    rows = [{"seed": 5, "label": "cats"}, {"seed": 6, "label": "stars"}]
    np.testing.assert_array_equal(served.predict(rows), images[:2])
    assert served.predict(table[:0]).shape == (0, 16, 16, 4)


def test_an_image_does_not_depend_on_its_neighbours(served: ServedBundle) -> None:
    """The same seed and label give the same bytes alone, last of 40, and in another order."""
    seeds = list(range(40))
    table = pd.DataFrame({"seed": seeds, "label": [CLASSES[seed % 3] for seed in seeds]})
    images = served.predict(table)

    np.testing.assert_array_equal(served.predict(table[::-1])[::-1], images)
    for row in (0, 15, 16, 39):
        np.testing.assert_array_equal(served.predict(table[row : row + 1])[0], images[row])


def test_without_a_label_the_classes_come_in_turn(served: ServedBundle) -> None:
    """No column, an empty word and a missing value all mean the class that the seed is at."""
    named = served.predict(pd.DataFrame({"seed": [0, 1, 2, 3], "label": [*CLASSES, "cats"]}))

    np.testing.assert_array_equal(served.predict(pd.DataFrame({"seed": [0, 1, 2, 3]})), named)
    gaps = pd.DataFrame({"seed": [0, 1, 2, 3], "label": ["", None, np.nan, pd.NA]})
    np.testing.assert_array_equal(served.predict(gaps), named)


def test_what_cannot_be_drawn_is_said(served: ServedBundle) -> None:
    """An unknown label names those that there are; a seed must be there and be whole."""
    with pytest.raises(UsageError, match=r"'dogs'; it must be one of cats, hearts & co, stars"):
        served.predict([{"seed": 1, "label": "dogs"}])
    for rows in ([{"label": "cats"}], [{"seed": 1.5}], [{"seed": "1"}], [{"seed": None}]):
        with pytest.raises(UsageError, match="a whole number"):
            served.predict(rows)


def test_transparency_is_as_in_the_files(served: ServedBundle) -> None:
    """RGBA comes straight: written as PNG by anybody, it is the picture that an asset would be."""
    image = served.predict(pd.DataFrame({"seed": [4]}))[0]
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG")

    assert 0 < image[..., 3].mean() < 255
    assert image[image[..., 3] == 0].sum() == 0
    premultiplied = (image[..., :3].astype(float) * image[..., 3:] / 255).round().astype(np.uint8)
    again = np.concatenate([premultiplied, image[..., 3:]], axis=-1).transpose(2, 0, 1)
    with Image.open(io.BytesIO(png(again))) as picture:
        visible = image[..., 3] > 32
        apart = np.abs(np.asarray(picture).astype(int) - image.astype(int))[visible]
    assert apart.max() <= 4


@pytest.mark.parametrize("channels", [1, 3])
def test_grey_and_colour_keep_their_channels(tmp_path: Path, channels: int) -> None:
    """The last dimension is the bundle's number of channels."""
    made = pack_untrained(tmp_path / "bundle", CLASSES, channels=channels)

    assert _load_pyfunc(str(made.folder)).predict([{"seed": 1}]).shape == (1, 16, 16, channels)


def test_damage_and_exchange_are_refused(bundle: Bundle, tmp_path: Path) -> None:
    """One flipped bit of the weights, or another bundle than was registered, is never loaded."""
    with pytest.raises(DamagedError, match=r"lies where 0000.* was registered"):
        _load_pyfunc(str(bundle.folder), {"bundle_digest": "0" * 64})
    copy = tmp_path / "copy"
    shutil.copytree(bundle.folder, copy)
    weights = bytearray((copy / "generator.safetensors").read_bytes())
    weights[-1] ^= 1
    (copy / "generator.safetensors").write_bytes(weights)
    with pytest.raises(DamagedError, match=r"generator\.safetensors"):
        _load_pyfunc(str(copy))
