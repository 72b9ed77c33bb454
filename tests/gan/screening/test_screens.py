"""Candidates are set aside for what they are, with the reason, and honest ones are not."""

import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageFilter
from safetensors.torch import load_file, save_file

import gan.shipped
from gan.bundle import Bundle, latents, open_bundle
from gan.durable import write_sums
from gan.errors import DamagedError
from gan.metrics import domain
from gan.modality import modality
from gan.screening import eyes
from gan.screening.copies import training_picture
from gan.screening.looking import Screens
from gan.screening.references import References
from gan.screening.screens import open_screens
from gan.sections import CampaignSpec
from gan.split import split
from tests.gan.bundles import pack_untrained
from tests.gan.screening.patterns import CLASSES, Images, Labels, drawn, write_prepared

SHIPPED = Path(next(iter(gan.shipped.__path__))) / "stickers"
NOTHING = References(None, None, Path("nothing is kept of it"))


def verdicts(screens: Screens, images: Images, labels: Labels) -> dict[str, float]:
    """Return the share of each verdict."""
    counts = Counter(look.verdict for look in screens.look(images, labels))
    return {verdict: count / len(images) for verdict, count in counts.items()}


def blurred(images: Images) -> Images:
    """Return images a little out of focus."""
    soft = [Image.fromarray(image.transpose(1, 2, 0)) for image in images]
    soft = [image.filter(ImageFilter.GaussianBlur(0.5)) for image in soft]
    return np.stack([np.asarray(image).transpose(2, 0, 1) for image in soft])


@pytest.fixture(scope="module")
def copied(bundle: Bundle, trained_on: tuple[Images, Labels]) -> tuple[Images, Labels]:
    """Return every fifth image that was trained on."""
    images, labels = trained_on
    training, _ = split(len(images), bundle.card.data_digest)
    return images[training[::5]], labels[training[::5]]


def test_honest_new_images_are_accepted(screens: Screens) -> None:
    """What was never trained on and looks like its class passes, with figures and no reason."""
    images, labels = drawn(300, seed=2)

    looks = screens.look(images, labels)

    passed = [look for look in looks if look.verdict == "accepted"]
    assert len(passed) / len(looks) >= 0.85
    assert all(look.reason == look.like == "" for look in passed)
    assert all((look.scores.training_ratio or 0) >= 1 for look in passed)
    assert screens.notes == []


@pytest.mark.parametrize("change", ["none", "mirrored", "blurred"])
def test_copies_of_training_images_are_set_aside(
    screens: Screens, copied: tuple[Images, Labels], change: str
) -> None:
    """An exact, a mirrored and a slightly blurred copy of a training image is found."""
    images, labels = copied
    changed = {
        "none": images,
        "mirrored": np.ascontiguousarray(images[..., ::-1]),
        "blurred": blurred(images),
    }[change]

    least = 0.9 if change == "blurred" else 0.98
    assert verdicts(screens, changed, labels).get("copy", 0) >= least


def test_a_copy_is_shown_beside_its_original(
    screens: Screens, references: References, copied: tuple[Images, Labels]
) -> None:
    """`like` leads to the picture that was copied, mirrored though the copy may be."""
    images, labels = copied
    assert references.training is not None

    for change in (images[:20], np.ascontiguousarray(images[:20, ..., ::-1])):
        for image, look in zip(images, screens.look(change, labels[:20]), strict=False):
            found = training_picture(references.training, look.like)
            assert found is not None
            assert np.array_equal(found, image)


def test_no_picture_is_shown_for_other_data(references: References, tmp_path: Path) -> None:
    """Once the prepared data are others, no wrong picture stands beside a copy."""
    write_prepared(tmp_path / "data", *drawn(30, seed=3))
    assert references.training is not None

    assert training_picture(tmp_path / "data", "0123456789ab/3") is None
    assert training_picture(tmp_path / "gone", "0123456789ab/3") is None


def test_an_image_of_another_class_is_set_aside(screens: Screens) -> None:
    """What the recipe's own extractor takes for another class is named with it."""
    images, labels = drawn(120, seed=4)

    looks = screens.look(images, (labels + 1) % 3)

    off = [look for look in looks if look.verdict == "off_class"]
    assert len(off) / len(looks) >= 0.9
    assert sum(f"looks like {CLASSES[0]}: {CLASSES[1]}" in look.reason for look in off) >= 30


def test_probabilities_are_those_of_classes() -> None:
    """What the extractor's training blurs its targets by is taken out again, and is still that."""
    assert eyes.SMOOTHING == domain._SMOOTHING


def test_of_several_findings_the_gravest_names_the_verdict(
    screens: Screens, copied: tuple[Images, Labels]
) -> None:
    """A copy asked for as another class is a copy, and both are said."""
    images, labels = copied

    look = screens.look(images[:1], (labels[:1] + 1) % 3)[0]

    assert look.verdict == "copy"
    assert "training image" in look.reason
    assert "looks like" in look.reason


def test_a_look_does_not_depend_on_its_neighbours(screens: Screens) -> None:
    """Shards and batch sizes change no figure, no hash and no verdict."""
    images, labels = drawn(75, seed=5)
    together = screens.look(images, labels)

    order = np.random.default_rng(1).permutation(75)
    apart = {}
    for some in np.split(order, [1, 8, 41]):
        for place, look in zip(some, screens.look(images[some], labels[some]), strict=True):
            apart[int(place)] = look

    assert [apart[place] for place in range(75)] == together
    assert screens.look(images[:0], labels[:0]) == []


def test_screens_are_opened_once(
    bundle: Bundle, spec: CampaignSpec, references: References, screens: Screens
) -> None:
    """Each job of a process looks by the same screens; another campaign has its own."""
    other = CampaignSpec.model_validate({"rejection": 0, "screens": {"off_class": 0.3}})

    assert open_screens(bundle, spec, references) is screens
    assert open_screens(bundle, other, references) is not screens


@pytest.mark.usefixtures("screens")
def test_what_was_read_of_training_images_is_kept(
    bundle: Bundle, spec: CampaignSpec, references: References, copied: tuple[Images, Labels]
) -> None:
    """Once read, the training images need not be here any more: their copies are still found."""
    later = open_screens(bundle, spec, replace(references, training=None))

    assert later.notes == []
    assert verdicts(later, *copied)["copy"] >= 0.98


def test_what_cannot_be_looked_at_is_noted(
    bundle: Bundle, spec: CampaignSpec, references: References, tmp_path: Path
) -> None:
    """Without extractor or training images a screen is left out, and the reason is told."""
    write_prepared(tmp_path / "other", *drawn(30, seed=3))
    none = open_screens(bundle, spec, References(None, None, tmp_path / "store"))
    other = open_screens(
        bundle, spec, References(references.extractor, tmp_path / "other", tmp_path / "store")
    )

    assert none.look(*drawn(3, seed=6))[0].scores.training_ratio is None
    assert [note.split(":")[0] for note in none.notes] == [
        "class and features were not looked at", "copies of training images",
    ]  # fmt: skip
    assert len(other.notes) == 1
    assert "others are" in other.notes[0]


def test_thumbnails_alone_find_copies(
    bundle: Bundle,
    spec: CampaignSpec,
    references: References,
    copied: tuple[Images, Labels],
    tmp_path: Path,
) -> None:
    """Without an extractor copies are found all the same, by what they look like from afar."""
    screens = open_screens(bundle, spec, References(None, references.training, tmp_path / "store"))

    assert verdicts(screens, *copied)["copy"] >= 0.98
    assert verdicts(screens, *drawn(200, seed=7)).get("copy", 0) <= 0.08


def test_of_few_images_a_tenth_stands_in(tmp_path: Path, spec: CampaignSpec) -> None:
    """Where no image was held out, copies are found all the same, and it is noted by what."""
    images, labels = drawn(120, seed=8)
    digest = write_prepared(tmp_path / "data", images, labels)
    bundle = pack_untrained(tmp_path / "bundle", CLASSES, data_digest=digest)

    screens = open_screens(bundle, spec, References(None, tmp_path / "data", tmp_path / "store"))

    assert any("stood in" in note for note in screens.notes)
    assert verdicts(screens, images, labels)["copy"] >= 0.98
    assert verdicts(screens, *drawn(100, seed=9)).get("copy", 0) <= 0.15


def test_altered_references_are_refused(
    bundle: Bundle, spec: CampaignSpec, references: References, tmp_path: Path
) -> None:
    """An extractor of which one byte changed screens nothing: the file is named."""
    assert references.extractor is not None
    shutil.copytree(references.extractor, tmp_path / "extractor")
    weights = tmp_path / "extractor" / "extractor.safetensors"
    payload = bytearray(weights.read_bytes())
    payload[-1] ^= 1
    weights.write_bytes(payload)

    with pytest.raises(DamagedError, match=r"extractor\.safetensors"):
        open_screens(bundle, spec, replace(references, extractor=tmp_path / "extractor"))


@pytest.mark.parametrize(("off_class", "copies"), [(0.05, 0), (0, 0.02)])
def test_an_extractor_that_is_not_finite_passes_nothing(
    bundle: Bundle, references: References, tmp_path: Path, off_class: float, copies: float
) -> None:
    """An extractor whose weights broke before it was sealed is an error with its file."""
    assert references.extractor is not None
    folder = tmp_path / "extractor"
    shutil.copytree(references.extractor, folder)
    weights = load_file(folder / "extractor.safetensors")
    save_file(
        {key: torch.full_like(each, torch.nan) for key, each in weights.items()},
        folder / "extractor.safetensors",
    )
    write_sums(folder)
    spec = CampaignSpec.model_validate(
        {"rejection": 0, "screens": {"off_class": off_class, "copies": copies}}
    )

    with pytest.raises(DamagedError, match=r"extractor\.safetensors: the weights are not finite"):
        open_screens(bundle, spec, replace(references, extractor=folder)).look(*drawn(3, seed=6))


@pytest.fixture(scope="module")
def of_shipped(tmp_path_factory: pytest.TempPathFactory) -> Screens:
    """Return the screens of the shipped bundle that need the bundle alone."""
    spec = CampaignSpec.model_validate(
        {"rejection": 0.02, "screens": {"off_class": 0, "copies": 0}}
    )
    store = tmp_path_factory.mktemp("store")
    return open_screens(open_bundle(SHIPPED), spec, References(None, None, store))


def test_the_critic_sets_aside_about_the_share_asked_for(of_shipped: Screens) -> None:
    """Of what a trained model makes, about `rejection` goes; nothing is broken or blank."""
    bundle = open_bundle(SHIPPED)
    classes = np.arange(400) % len(bundle.card.classes)
    z = latents(5, "new", count=400, z_dim=bundle.card.z_dim)
    with torch.no_grad():
        made = modality("image").to_uint8(bundle.generator()(z, torch.from_numpy(classes)))

    found = verdicts(of_shipped, made, classes)

    assert set(found) <= {"accepted", "outlier"}
    assert 0.005 <= found.get("outlier", 0) <= 0.05


def test_noise_is_broken_and_one_colour_is_blank(of_shipped: Screens) -> None:
    """Both are named as what they are, whatever class was asked for."""
    random = np.random.default_rng(1)
    noise = random.integers(0, 256, (60, 3, 32, 32)).astype(np.uint8)
    flat = np.broadcast_to(random.integers(0, 256, (60, 3, 1, 1)), noise.shape).astype(np.uint8)
    classes = np.arange(60) % 14

    assert verdicts(of_shipped, noise, classes) == {"broken": 1.0}
    assert verdicts(of_shipped, flat, classes) == {"blank": 1.0}


@pytest.mark.parametrize(("channels", "resolution"), [(1, 16), (4, 16), (3, 128)])
def test_every_kind_of_image_can_be_looked_at(
    channels: int, resolution: int, tmp_path: Path
) -> None:
    """Grey, with alpha, and too large to be measured together: each has hash, colours, pixels."""
    bundle = pack_untrained(tmp_path / "bundle", CLASSES, resolution=resolution, channels=channels)
    spec = CampaignSpec.model_validate({"rejection": 0, "screens": {"off_class": 0, "copies": 0}})
    random = np.random.default_rng(1)
    images = random.integers(0, 256, (3, channels, resolution, resolution)).astype(np.uint8)

    looks = open_screens(bundle, spec, NOTHING).look(images, np.arange(3))

    assert [len(look.colour) for look in looks] == [48] * 3
    assert len({look.phash for look in looks}) == 3
    assert len({look.pixels for look in looks}) == 3
    assert {look.verdict for look in looks} == {"accepted"}
