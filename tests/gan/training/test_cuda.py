"""The engine on a CUDA device; `make gpu` runs these where there is one."""

from pathlib import Path

import pytest
import torch

from gan.recipe import load_recipe
from gan.training.guards import StopRequest
from gan.training.loop import train
from tests.gan.training.conftest import make_workspace

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here"),
]


@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_training_runs_on_a_gpu_in_both_formats(tmp_path: Path, precision: str) -> None:
    """The same recipe trains on a GPU, and its bundle opens on any machine."""
    layout = make_workspace(tmp_path, device="cuda", precision=precision)
    with StopRequest() as stop:
        bundle = train(layout, load_recipe(layout.params, "tiny"), stop)

    with torch.no_grad():
        images = bundle.generator()(torch.randn(4, bundle.card.z_dim), torch.tensor([0, 1, 0, 1]))

    assert images.isfinite().all()
    assert bundle.card.precision == precision
