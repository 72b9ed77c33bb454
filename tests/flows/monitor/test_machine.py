"""Disk, folders, GPUs and certificates, as the machine has them."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from flows.monitor.machine import MachineReader, gpus_of
from flows.monitor.snapshot import Gpu
from flows.settings import Settings
from gan.errors import UsageError
from gan.marking.identity import Signing, open_identity
from gan.paths import Layout


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """Return an empty workspace."""
    return Layout(tmp_path)


def test_the_disk_and_the_folders_are_counted(
    layout: Layout, settings_on: Callable[..., Settings]
) -> None:
    """What is free is known at once; what folders take comes with the first counting."""
    assets = layout.batches("stickers") / "monday"
    assets.mkdir(parents=True)
    (assets / "a.png").write_bytes(bytes(100_000))
    (layout.root / "assets" / "link").symlink_to(layout.root / "assets")
    reader = MachineReader(layout, settings_on())

    at_once = reader.read()
    reader.count_folders(seconds=5.0)
    later = reader.read()

    assert 0 < at_once.free_bytes < at_once.total_bytes
    assert at_once.folders == {}
    assert list(later.folders) == ["assets"]
    assert 100_000 <= later.folders["assets"] < 200_000


def test_the_driver_says_what_each_gpu_does() -> None:
    """Percent and MiB become shares and bytes; what a driver does not know is no figure."""
    said = [
        "0, NVIDIA H200, 97, 20480, 143771, 412.35",
        "1, Tesla T4, [N/A], 3, 15360, [Not Supported]",
        "Unable to determine the device handle for GPU 2",
    ]

    assert gpus_of(said) == (
        Gpu(0, "NVIDIA H200", 0.97, 20480 << 20, 143771 << 20, 412.35),
        Gpu(1, "Tesla T4", None, 3 << 20, 15360 << 20, None),
    )


def test_the_certificate_that_signs_is_looked_at(
    layout: Layout, settings_on: Callable[..., Settings]
) -> None:
    """The local one from the first batch on, or the user's own; one that is missing is named."""
    settings = settings_on()
    reader = MachineReader(layout, settings)
    assert reader.certificates() == {}

    open_identity(Signing(layout.signing))
    ((file, ends),) = reader.certificates().items()

    assert file == str(layout.signing / "local.pem")
    assert ends - datetime.now(UTC) > timedelta(days=1000)
    own = {"signing_certificate": layout.root / "gone.pem"}
    with pytest.raises(UsageError, match=r"gone\.pem"):
        MachineReader(layout, settings.model_copy(update=own)).certificates()
