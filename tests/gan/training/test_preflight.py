"""What is checked and chosen before the first step."""

from collections.abc import Iterator

import pytest
import torch

from gan.errors import SourceError, UsageError
from gan.sections import TrainSpec
from gan.training.preflight import choose_hardware, make_deterministic, require_enough
from gan.training.team import Team


@pytest.fixture
def _as_before() -> Iterator[None]:
    yield
    torch.use_deterministic_algorithms(mode=False)


def test_the_processor_can_be_asked_for() -> None:
    """`device: cpu` is the processor, also beside a GPU, in the number format asked for."""
    plain = choose_hardware(TrainSpec(device="cpu", precision="float32"), Team())
    rough = choose_hardware(TrainSpec(device="cpu", precision="bf16"), Team())

    assert plain.device.type == rough.device.type == "cpu"
    assert (plain.precision, plain.dtype) == ("float32", torch.float32)
    assert (rough.precision, rough.dtype) == ("bf16", torch.bfloat16)


def test_auto_takes_what_is_there() -> None:
    """`auto` always finds something."""
    hardware = choose_hardware(TrainSpec(), Team())

    assert hardware.device.type == ("cuda" if torch.cuda.is_available() else "cpu")
    assert hardware.precision in {"bf16", "float32"}


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_told() -> None:
    """`device: cuda` without a GPU does not fall back to hours on the processor."""
    with pytest.raises(UsageError, match=r"train\.device is cuda, but torch sees no GPU here"):
        choose_hardware(TrainSpec(device="cuda"), Team())


def test_too_few_images_are_told_with_both_counts() -> None:
    """Images that cannot fill a batch are refused; just enough are not."""
    require_enough(96, TrainSpec(batch_size=96), "tiny")
    with pytest.raises(
        SourceError, match=r"96 to train on, but recipes\.tiny\.train\.batch_size is 100"
    ):
        require_enough(96, TrainSpec(batch_size=100), "tiny")


@pytest.mark.usefixtures("_as_before")
def test_the_processor_gives_the_same_bits() -> None:
    """On the processor torch is asked for deterministic algorithms."""
    make_deterministic(torch.device("cpu"), wanted=False)

    assert torch.are_deterministic_algorithms_enabled()
