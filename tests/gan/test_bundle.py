"""The bundle: plain files under one digest; what is not exactly that is refused."""

import json
import pickle
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load, save

from gan.bundle import CARD, CRITIC, GENERATOR, Bundle, latents, open_bundle, pack
from gan.durable import SUMS, write_json, write_sums
from gan.errors import DamagedError


@pytest.fixture(scope="session")
def bundle(pack_bundle: Callable[..., Bundle], tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Return a bundle that no test changes."""
    return pack_bundle(tmp_path_factory.mktemp("bundle"))


@pytest.fixture
def copy(bundle: Bundle, tmp_path: Path) -> Path:
    """Return the folder of a copy that a test may spoil."""
    return Path(shutil.copytree(bundle.folder, tmp_path / "copy"))


def test_it_gives_back_the_networks(bundle: Bundle) -> None:
    """A bundle opened elsewhere draws the same images and scores them the same."""
    again = open_bundle(bundle.folder)
    z, c = latents(1, "test", count=3, z_dim=again.card.z_dim), torch.tensor([0, 1, 0])
    images = bundle.generator()(z, c)

    assert again == bundle
    assert torch.equal(images, again.generator()(z, c))
    assert torch.equal(bundle.critic()(images, c), again.critic()(images, c))
    assert not again.generator().training
    assert {path.name for path in bundle.folder.iterdir()} == {GENERATOR, CRITIC, CARD, SUMS}


def test_equal_weights_have_an_equal_digest(
    bundle: Bundle, pack_bundle: Callable[..., Bundle], tmp_path: Path
) -> None:
    """The digest is a function of the content: not of time, place, or what a kill left there."""
    (tmp_path / "again").mkdir()
    (tmp_path / "again" / f".{GENERATOR}.4242.partial").write_bytes(b"half a file")

    assert pack_bundle(tmp_path / "again").digest == bundle.digest
    assert pack_bundle(tmp_path / "other", seed=2).digest != bundle.digest


def test_weights_survive_another_round(bundle: Bundle, tmp_path: Path) -> None:
    """Weights are float16 in the file, so packing what was opened changes nothing."""
    again = pack(tmp_path, bundle.generator(), bundle.critic(), bundle.card)

    assert again.digest == bundle.digest


def test_a_flipped_bit_is_noticed(bundle: Bundle, copy: Path) -> None:
    """One bit wrong anywhere in any file, and the bundle does not open."""
    place = random.Random(1)  # noqa: S311  # a sample, not a secret
    for name in (GENERATOR, CRITIC, CARD, SUMS):
        whole = (copy / name).read_bytes()
        for bit in place.sample(range(8 * len(whole)), 50):
            flipped = bytearray(whole)
            flipped[bit // 8] ^= 1 << bit % 8
            (copy / name).write_bytes(flipped)
            with pytest.raises(DamagedError):
                open_bundle(copy)
        (copy / name).write_bytes(whole)

    assert open_bundle(copy).digest == bundle.digest


def test_missing_and_extra_files_are_refused(copy: Path, tmp_path: Path) -> None:
    """A bundle is its four files, and a folder without the list says how to get one."""
    (copy / "notes.txt").write_text("mine")
    with pytest.raises(DamagedError, match=r"'notes.txt' is not listed"):
        open_bundle(copy)
    (copy / "notes.txt").unlink()
    (copy / CRITIC).unlink()
    with pytest.raises(DamagedError, match=r"'critic.safetensors' is missing but listed"):
        open_bundle(copy)
    with pytest.raises(DamagedError, match="no bundle here"):
        open_bundle(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("resolution", 32),
        ("resolution", 0),
        ("resolution", -4),
        ("channels", 1),
        ("classes", ["one"]),
        ("preset", "gigantic"),
    ],
)
def test_weights_must_fit_their_card(copy: Path, key: str, value: object) -> None:
    """Weights of other shapes than the card asks for are refused, under a right digest too."""
    card = json.loads((copy / CARD).read_bytes())
    write_json(copy / CARD, {**card, key: value})
    write_sums(copy)

    with pytest.raises(DamagedError, match=f"{GENERATOR}: does not fit its card"):
        open_bundle(copy).generator()


@pytest.mark.parametrize(
    ("key", "value"), [("classes", []), ("format", 2), ("author", "me"), ("kimg", "many")]
)
def test_a_malformed_card_is_named(copy: Path, key: str, value: object) -> None:
    """A card with an impossible or unknown field is refused; the message names the field."""
    card = json.loads((copy / CARD).read_bytes())
    write_json(copy / CARD, {**card, key: value})
    write_sums(copy)

    with pytest.raises(DamagedError, match=f"card.json: {key}: "):
        open_bundle(copy)


class _Canary:
    """Unpickled, it writes a file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return Path.write_text, (self._path, "sang")


def test_a_pickle_is_never_executed(copy: Path, tmp_path: Path) -> None:
    """Weights that are a pickle, in pickle's or torch's own form, are refused and not run."""
    canary = tmp_path / "canary"
    torch.save(_Canary(canary), tmp_path / "weights.pt")
    for payload in (pickle.dumps(_Canary(canary)), (tmp_path / "weights.pt").read_bytes()):
        (copy / GENERATOR).write_bytes(payload)
        write_sums(copy)
        with pytest.raises(DamagedError, match="does not fit its card"):
            open_bundle(copy).generator()

    assert not canary.exists()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e6])
def test_weights_that_are_not_finite_are_not_packed(
    bundle: Bundle, tmp_path: Path, value: float
) -> None:
    """A NaN, an infinity, or what float16 would make one, is refused; no bundle appears."""
    broken = bundle.generator()
    with torch.no_grad():
        next(broken.parameters()).view(-1)[0] = value

    with pytest.raises(DamagedError, match=r"weight \w+ is not finite in float16"):
        pack(tmp_path / "new", broken, bundle.critic(), bundle.card)
    assert not (tmp_path / "new" / SUMS).exists()


def test_weights_that_are_not_finite_are_not_opened(copy: Path) -> None:
    """A NaN in a fetched file is refused as well, under a right digest too."""
    weights = load((copy / GENERATOR).read_bytes())
    weights["basis"][0, 0, 0] = float("nan")
    (copy / GENERATOR).write_bytes(save(weights))
    write_sums(copy)

    with pytest.raises(DamagedError, match="basis is not finite"):
        open_bundle(copy).generator()


def test_latents_depend_on_seed_and_place_alone() -> None:
    """The same place gives the same latents; a longer draw begins with the shorter one."""
    assert torch.equal(latents(1, "a", 2, count=4, z_dim=8), latents(1, "a", 2, count=4, z_dim=8))
    assert not torch.equal(latents(1, "a", count=4, z_dim=8), latents(1, "b", count=4, z_dim=8))
    assert latents(1, "a", count=4, z_dim=8).dtype is torch.float32
