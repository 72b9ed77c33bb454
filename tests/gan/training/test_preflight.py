"""What is checked and chosen before the first step."""

from collections.abc import Callable, Iterator

import pytest
import torch

from gan.errors import SourceError, UsageError
from gan.image.dataset import open_dataset
from gan.paths import Layout
from gan.recipe import TrainSpec
from gan.training.preflight import choose_hardware, make_deterministic, require_enough


@pytest.fixture
def _as_before() -> Iterator[None]:
    yield
    torch.use_deterministic_algorithms(mode=False)


def test_the_processor_can_be_asked_for() -> None:
    """`device: cpu` is the processor, also beside a GPU, in the number format asked for."""
    plain = choose_hardware(TrainSpec(device="cpu", precision="float32"))
    rough = choose_hardware(TrainSpec(device="cpu", precision="bf16"))

    assert plain.device.type == rough.device.type == "cpu"
    assert (plain.precision, plain.dtype) == ("float32", torch.float32)
    assert (rough.precision, rough.dtype) == ("bf16", torch.bfloat16)


def test_auto_takes_what_is_there() -> None:
    """`auto` always finds something."""
    hardware = choose_hardware(TrainSpec())

    assert hardware.device.type == ("cuda" if torch.cuda.is_available() else "cpu")
    assert hardware.precision in {"bf16", "float32"}


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_told() -> None:
    """`device: cuda` without a GPU does not fall back to hours on the processor."""
    with pytest.raises(UsageError, match=r"train\.device is cuda, but torch sees no GPU here"):
        choose_hardware(TrainSpec(device="cuda"))


def test_too_few_images_are_told_with_both_counts(workspace: Callable[..., Layout]) -> None:
    """A data set that cannot fill a batch is refused; one that just fills it is not."""
    data = open_dataset(workspace().train_data("tiny"))

    require_enough(data, TrainSpec(batch_size=96), "tiny")
    with pytest.raises(
        SourceError, match=r"96 images, but recipes\.tiny\.train\.batch_size is 100"
    ):
        require_enough(data, TrainSpec(batch_size=100), "tiny")


@pytest.mark.usefixtures("_as_before")
def test_the_processor_gives_the_same_bits() -> None:
    """On the processor torch is asked for deterministic algorithms."""
    make_deterministic(torch.device("cpu"))

    assert torch.are_deterministic_algorithms_enabled()
