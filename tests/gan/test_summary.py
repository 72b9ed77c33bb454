"""The summary of a recipe: what is counted is what is built, computed and written."""

from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save

from gan.durable import SUMS, write_json, write_sums
from gan.errors import DamagedError
from gan.image.dataset import GROUPS, IMAGES, LABELS, META, _digest
from gan.modality import modality
from gan.paths import Layout
from gan.recipe import Recipe
from gan.summary import Summary, summarise
from gan.training.checkpoint import State, save_checkpoint


def _recipe(preset: str = "tiny", side_px: int = 16, channels: int = 3, **train: Any) -> Recipe:
    data = {"source": "files", "path": "x", "resolution": side_px, "channels": channels}
    return Recipe.model_validate({"name": "some", "data": data, "model": preset, "train": train})


def _summary(root: Path, *shape: Any, **train: Any) -> Summary:
    return summarise(Layout(root), _recipe(*shape, **train))


def test_the_dense_network_by_hand(tmp_path: Path) -> None:
    """Two products of known size: every figure of the table can be checked on paper."""
    found = _summary(tmp_path, "dense32", 32, 3)
    hidden, pixels = 150 * 128, 128 * 3072

    assert [layer.name for layer in found.generator.layers] == ["latent", "hidden", "pixels"]
    assert [layer.output for layer in found.generator.layers] == [(150,), (128,), (3072,)]
    assert found.generator.parameters == 50 + hidden + 128 + pixels + 3072
    assert found.generator.mflops == pytest.approx(2 * (hidden + pixels) / 1e6)
    assert found.critic.mflops == pytest.approx(2 * (pixels + 128) / 1e6)
    assert (found.batch, found.iteration.penalty) == (128, "none")


@pytest.mark.parametrize(
    ("preset", "side_px", "channels"), [("tiny", 32, 4), ("conv28", 28, 1), ("base", 32, 3)]
)
def test_the_table_is_complete(tmp_path: Path, preset: str, side_px: int, channels: int) -> None:
    """The rows add up to the networks that training builds, in the order images pass them."""
    found = _summary(tmp_path, preset, side_px, channels, batch_size=16)
    room = modality("image")
    with torch.device("meta"):
        shape = (preset, side_px, channels, 1, torch.float32)
        built = room.build_generator(*shape), room.build_critic(*shape)
    for network, real in zip((found.generator, found.critic), built, strict=True):
        assert network.parameters == sum(weight.numel() for weight in real.parameters())
        assert sum(layer.parameters for layer in network.layers) == network.parameters
        assert sum(layer.mflops for layer in network.layers) == pytest.approx(network.mflops)
        assert all(layer.mflops >= 0 for layer in network.layers)
    shapes = [layer.output or () for layer in found.generator.layers]
    sides = [shape[-1] for shape in shapes if len(shape) == 3]
    assert sides == sorted(sides)
    assert found.iteration.gflops == pytest.approx(
        found.iteration.critic_gflops + found.iteration.generator_gflops
    )


def test_the_published_size_costs_what_was_published(tmp_path: Path) -> None:
    """`base` at 32 px is R3GAN's CIFAR-10: 21 M weights each, 14 GFLOP a pass, 267 an iteration."""
    found = _summary(tmp_path, "base", 32, 3, penalty="whole", batch_size=8, augment=0.0)

    assert found.generator.parameters == pytest.approx(20.8e6, rel=0.01)
    assert found.critic.parameters == pytest.approx(21.3e6, rel=0.01)
    assert found.generator.mflops == pytest.approx(14.0e3, rel=0.01)
    assert found.critic.mflops == pytest.approx(14.0e3, rel=0.01)
    assert found.iteration.gflops == pytest.approx(267, rel=0.01)


@pytest.mark.parametrize("preset", ["tiny", "conv28"])
def test_the_files_are_as_large_as_it_says(tmp_path: Path, preset: str) -> None:
    """A checkpoint and a bundle are what was announced, and a header of a few kilobytes."""
    found = _summary(tmp_path, preset, batch_size=4)
    room, shape = modality("image"), (preset, 16, 3, 1, torch.float32)
    networks = {
        "G": room.build_generator(*shape),
        "D": room.build_critic(*shape),
        "G_ema": room.build_generator(*shape),
    }
    adams = {name: torch.optim.Adam(networks[name].parameters(), fused=True) for name in ("G", "D")}
    for name, adam in adams.items():
        for weight in networks[name].parameters():
            weight.grad = torch.zeros_like(weight)
        adam.step()
    path = save_checkpoint(tmp_path, State(networks, adams, nimg=4))
    halves = [
        (value.half() if value.is_floating_point() else value).contiguous()
        for name in ("G", "D")
        for value in networks[name].state_dict().values()
    ]
    bundle_bytes = len(save({str(place): value for place, value in enumerate(halves)}))
    held = found.memory_bytes

    assert 0 <= path.stat().st_size - held.checkpoint < 40_000
    assert 0 <= bundle_bytes - held.bundle < 20_000
    parts = (held.weights, held.ema, held.adam, held.gradients, held.activations)
    assert held.training == sum(parts)


def _prepare(folder: Path) -> None:
    """Write what `prepare` writes: four images of 16 px in two classes."""
    folder.mkdir(parents=True)
    np.save(folder / IMAGES, np.zeros((4, 3, 16, 16), np.uint8), allow_pickle=False)
    np.save(folder / LABELS, np.arange(4, dtype=np.int64) % 2, allow_pickle=False)
    np.save(folder / GROUPS, np.arange(4, dtype=np.int64), allow_pickle=False)
    sums = [sha256((folder / name).read_bytes()).hexdigest() for name in (IMAGES, LABELS)]
    meta = {"classes": ["a", "b"], "resolution": 16, "channels": 3, "count": 4}
    digest = _digest([*sums, meta["classes"]])
    write_json(folder / META, {**meta, "keys_sha256": "0" * 64, "digest": digest})
    write_sums(folder)


def test_classes_come_from_the_prepared_data(tmp_path: Path) -> None:
    """Before the data are prepared one class is counted, and the summary knows that it is."""
    before = _summary(tmp_path, batch_size=4)
    folder = Layout(tmp_path).train_data("some")
    _prepare(folder)
    after = _summary(tmp_path, batch_size=4)

    assert before.num_classes is None
    assert after.num_classes == 2
    assert after.generator.parameters > before.generator.parameters
    (folder / SUMS).write_text("no sums\n")
    with pytest.raises(DamagedError):
        _summary(tmp_path, batch_size=4)


@pytest.mark.parametrize("precision", ["bf16", "float32"])
def test_precision_is_the_recipes(tmp_path: Path, precision: str) -> None:
    """Half as wide activations, nearly half the bytes; a GPU is not needed to ask."""
    found = _summary(tmp_path, precision=precision, batch_size=16, device="cuda")

    assert found.precision == precision
    other = "float32" if precision == "bf16" else "bf16"
    held = _summary(tmp_path, precision=other, batch_size=16).memory_bytes.activations
    assert (found.memory_bytes.activations < held) == (precision == "bf16")
