"""The training as people meet it: real processes, real signals, bytes compared."""

import random
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch

from gan.bundle import Bundle, open_bundle, pack
from gan.durable import read_failure, read_sealed, sha256
from gan.errors import BusyError, DamagedError, PreemptedError, SourceError
from gan.image.dataset import open_dataset
from gan.paths import Layout
from gan.recipe import Recipe, load_recipe
from gan.training.guards import StopRequest
from gan.training.identity import run_folder
from gan.training.loop import train
from gan.training.session import fresh_state, open_session
from gan.training.stats import STATS, read_stats
from gan.training.team import Team

if TYPE_CHECKING:
    import subprocess

Launch = Callable[..., "subprocess.Popen[str]"]
Workspace = Callable[..., Layout]


@pytest.fixture(autouse=True)
def _torch_as_before() -> Iterator[None]:
    yield
    torch.use_deterministic_algorithms(mode=False)


def _recipe(layout: Layout) -> Recipe:
    return load_recipe(layout.params, "tiny")


def _run(layout: Layout) -> Path:
    return run_folder(layout, _recipe(layout))


def _until(condition: Callable[[], Any], seconds: float = 40.0) -> None:
    """Wait for something that another process does."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def _checkpoints(layout: Layout) -> list[Path]:
    return sorted(_run(layout).glob("checkpoint-*.ckpt"))


@pytest.mark.faults
def test_killed_at_any_moment_it_ends_with_the_same_bytes(
    workspace: Workspace, launch: Launch
) -> None:
    """SIGKILL at random moments, each time the same command again, ends as if undisturbed.

    The bundle has the same digest, the work before the kill is kept, no image is counted twice.
    """
    calm, rough = workspace("calm"), workspace("rough")
    process = launch(calm)
    assert process.wait(60) == 0
    moments = random.Random(7)  # noqa: S311  # moments, not secrets
    kept = []
    for _ in range(2):
        process = launch(rough, checkpoint_seconds=0.0)
        seen = set(_checkpoints(rough))
        _until(lambda seen=seen: set(_checkpoints(rough)) - seen)  # type: ignore[misc]
        time.sleep(moments.uniform(0, 0.5))
        process.send_signal(signal.SIGKILL)
        process.wait()
        kept.append(_checkpoints(rough)[-1].name)
    last = launch(rough)
    _, said = last.communicate(timeout=60)

    assert last.returncode == 0, said
    assert open_bundle(rough.bundle("tiny")).digest == open_bundle(calm.bundle("tiny")).digest
    assert kept[0] < kept[1] < "checkpoint-000000000320.ckpt"
    assert f"resuming at {int(kept[1][11:23]) / 1000:.1f} kimg" in said
    shown = [[row["nimg"] for row in read_stats(_run(layout) / STATS)] for layout in (calm, rough)]
    assert shown[0] == shown[1] == sorted(set(shown[0]))
    assert not list(_run(rough).glob(".*"))


def test_sigterm_saves_and_the_same_command_resumes(workspace: Workspace, launch: Launch) -> None:
    """Stopped on request: exit code 75 within seconds, a checkpoint, a line on how to go on.

    Meanwhile a second training of the recipe is refused, and the message names the first.
    """
    layout = workspace(kimg=1000.0)
    process = launch(layout)
    _until((_run(layout) / STATS).exists)
    with StopRequest() as stop, pytest.raises(BusyError, match=f"process {process.pid} is already"):
        train(layout, _recipe(layout), stop)
    process.send_signal(signal.SIGTERM)
    asked = time.monotonic()
    _, said = process.communicate(timeout=60)

    assert process.returncode == 75
    assert time.monotonic() - asked < 10
    assert "Traceback" not in said
    assert "(SIGTERM); the same command resumes." in said.splitlines()[-1]
    assert isinstance(read_failure(layout.failure("train", "tiny")), PreemptedError)
    (saved,) = _checkpoints(layout)[-1:]
    again = launch(layout)
    _until(lambda: (_run(layout) / STATS).stat().st_mtime > saved.stat().st_mtime)
    again.send_signal(signal.SIGINT)
    _, said = again.communicate(timeout=60)
    assert again.returncode == 75
    assert said.startswith("train tiny: resuming at ")
    assert _checkpoints(layout)[-1] > saved


def test_the_death_of_its_parent_ends_it_with_a_checkpoint(
    workspace: Workspace, launch: Launch
) -> None:
    """A flow that is killed leaves no training behind that nobody watches, and nothing is lost."""
    layout = workspace(kimg=1000.0)
    parent = launch(layout, through_shell=True)
    _until((_run(layout) / STATS).exists)
    parent.kill()
    parent.wait()

    _until(layout.failure("train", "tiny").exists)
    failure = read_failure(layout.failure("train", "tiny"))
    assert isinstance(failure, PreemptedError)
    assert "the process that started it is gone" in str(failure)
    assert _checkpoints(layout)


def _train(layout: Layout, **options: Any) -> Bundle:
    with StopRequest() as stop:
        return train(layout, _recipe(layout), stop, **options)


def test_a_finished_training_is_packed_again_without_a_step(workspace: Workspace) -> None:
    """Killed between the last step and the bundle, the same command only packs."""
    layout = workspace(kimg=0.04)
    first = _train(layout)
    rows = read_stats(_run(layout) / STATS)
    shutil.rmtree(layout.bundle("tiny"))

    assert _train(layout).digest == first.digest
    assert read_stats(_run(layout) / STATS) == rows
    assert rows[-1]["nimg"] == 40
    assert {"loss_d", "loss_g", "r1", "r2", "gap", "lr", "eta_seconds"} < set(rows[-1])
    assert list(_run(layout).glob("samples-*.png"))
    card = first.card
    data = open_dataset(layout.train_data("tiny"))
    assert (card.kimg, card.total_kimg, card.start_digest) == (0.04, 0.04, None)
    assert (card.data_digest, card.classes, card.resolution) == (data.digest, data.classes, 16)


def test_a_damaged_checkpoint_costs_its_images_and_nothing_else(
    workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    """Spoilt on disk, the newest is passed over with a note; the bytes at the end are the same."""
    layout = workspace(kimg=0.04)
    digest = _train(layout, checkpoint_seconds=0.0).digest
    newest = _checkpoints(layout)[-1]
    newest.write_bytes(newest.read_bytes()[:-1])

    assert _train(layout).digest == digest
    said = capsys.readouterr().err
    assert "digest does not match (file damaged). Going back to the one before." in said
    assert read_sealed(newest)


def test_it_starts_from_the_pinned_bundle(
    workspace: Workspace, pack_bundle: Callable[..., Bundle], tmp_path: Path
) -> None:
    """A warm start begins with the bundle's own weights; the card says from which, and adds up."""
    bundle = _champion(pack_bundle, tmp_path / "champion")
    layout = workspace(pin=bundle.digest, kimg=0.016)
    shutil.copytree(bundle.folder, layout.bundle_store / bundle.digest)
    session = open_session(layout, _recipe(layout), _run(layout), Team())
    state = fresh_state(session)

    pinned = {"G": bundle.generator(), "G_ema": bundle.generator(), "D": bundle.critic()}
    for name, network in pinned.items():
        ours = state.networks[name].state_dict()
        assert all(torch.equal(ours[key], value) for key, value in network.state_dict().items())
    card = _train(layout).card
    assert (card.start_digest, card.kimg, card.total_kimg) == (bundle.digest, 0.016, 1.016)


def test_a_bundle_of_another_shape_is_no_start(
    workspace: Workspace,
    pack_bundle: Callable[..., Bundle],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """New classes or another size train from scratch, say so, and the card claims nothing else."""
    bundle = pack_bundle(tmp_path / "champion", classes=5)
    layout = workspace(pin=bundle.digest, kimg=0.016)
    shutil.copytree(bundle.folder, layout.bundle_store / bundle.digest)
    scratch = workspace("scratch", kimg=0.016)
    trained, plain = _train(layout), _train(scratch)

    assert "the pinned bundle has another shape; from scratch." in capsys.readouterr().err
    assert trained.card.total_kimg == 0.016
    assert trained.card.start_digest is None
    assert sha256(trained.folder / "generator.safetensors") == sha256(
        plain.folder / "generator.safetensors"
    )


def test_a_pinned_bundle_that_is_not_there_is_told(workspace: Workspace) -> None:
    """The message names the pin, the digest, and the command that fetches it."""
    layout = workspace(pin="ab" * 32)

    with pytest.raises(
        DamagedError, match=r"bundle abababababab is not on this machine\. Fetch it"
    ):
        _train(layout)


def test_too_few_images_are_refused_before_any_work(workspace: Workspace) -> None:
    """A batch larger than the data set is refused with both counts."""
    layout = workspace(batch_size=100)

    with pytest.raises(SourceError, match=r"96 to train on, but .*batch_size is 100"):
        _train(layout)


def test_damaged_data_are_refused(workspace: Workspace) -> None:
    """A flipped bit in the prepared images is noticed before the first step."""
    layout = workspace()
    path = layout.train_data("tiny") / "images.npy"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)

    with pytest.raises(DamagedError, match=r"images\.npy: SHA-256 is"):
        _train(layout)


def _champion(pack_bundle: Callable[..., Bundle], folder: Path) -> Bundle:
    """Return a bundle that fits the workspace's data."""
    made = pack_bundle(folder)
    card = made.card.model_copy(update={"classes": ["dark", "light"]})
    return pack(folder, made.generator(), made.critic(), card)
