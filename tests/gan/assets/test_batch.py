"""Minting a batch, and finishing one that was killed."""

import errno
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load, save

from gan.assets.batch import is_blank, mint
from gan.assets.manifest import (
    Request,
    begun,
    names,
    read_batch,
    read_request,
    read_rows,
    verify,
)
from gan.bundle import Bundle, open_bundle
from gan.durable import run_lock, write_sums
from gan.errors import BusyError, DivergedError, GanmillError
from gan.sections import AssetsSpec
from tests.faults.seam import failing_at

SPEC = AssetsSpec(size_px=32)
LINEAGE = {"model_version": "3", "mlflow_run": "r1", "flow_run": "f1", "data_version": "v1"}


def ask(count: int, slot: str = "slot") -> Request:
    """Return a request with sane defaults."""
    return Request("stickers", count, 5, slot, LINEAGE)


def contents(folder: Path) -> dict[str, bytes]:
    """Return every file of a folder."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_batch_holds_what_was_asked_for(bundle: Bundle, tmp_path: Path) -> None:
    """Each row has its file, class in turn, lineage; nothing else lies in the folder."""
    minted = mint(bundle, SPEC, ask(20), tmp_path)
    rows = read_rows(minted.folder / "manifest.jsonl")

    assert (minted.count, minted.made, minted.already) == (20, 20, False)
    assert minted.folder == tmp_path / minted.batch_id
    assert [row.ordinal for row in rows] == list(range(20))
    assert [row.class_ for row in rows] == [bundle.card.classes[i % 3] for i in range(20)]
    assert {row.model_version for row in rows} == {"3"}
    assert {row.bundle_digest for row in rows} == {bundle.digest}
    assert {path.name for path in minted.folder.iterdir()} == {
        *(row.file for row in rows),
        "manifest.jsonl",
        "batch.json",
        "contact_sheet.png",
        "index.html",
    }
    with Image.open(minted.folder / rows[0].file) as picture:
        assert picture.size == (32, 32)


def test_every_asset_says_that_it_is_synthetic(bundle: Bundle, tmp_path: Path) -> None:
    """The file itself carries the IPTC source type, its own id and the model's digest."""
    minted = mint(bundle, SPEC, ask(3), tmp_path)
    for row in read_rows(minted.folder / "manifest.jsonl"):
        with Image.open(minted.folder / row.file) as picture:
            xmp = str(picture.info["XML:com.adobe.xmp"])

        assert 'CreatorTool="ganmill"' in xmp
        assert "newscodes/digitalsourcetype/trainedAlgorithmicMedia" in xmp
        assert row.asset in xmp
        assert bundle.digest in xmp


def test_an_asset_has_the_same_bytes_in_a_batch_of_any_size(bundle: Bundle, tmp_path: Path) -> None:
    """1, 7, 16, 17 and 40 assets of a slot begin with the same files."""
    whole = mint(bundle, SPEC, ask(40), tmp_path).folder
    for count in (1, 7, 16, 17):
        folder = mint(bundle, SPEC, ask(count), tmp_path).folder
        for row in read_rows(folder / "manifest.jsonl"):
            assert (folder / row.file).read_bytes() == (whole / row.file).read_bytes()


def test_assets_of_a_batch_differ(bundle: Bundle, tmp_path: Path) -> None:
    """No two assets of a batch, or of two slots, are the same file."""
    a, b = (mint(bundle, SPEC, ask(20, slot), tmp_path).folder for slot in ("one", "two"))
    digests = [row.sha256 for f in (a, b) for row in read_rows(f / "manifest.jsonl")]

    assert len(set(digests)) == 40


def test_a_complete_batch_returns_at_once(bundle: Bundle, tmp_path: Path) -> None:
    """Minting again changes nothing, and says so."""
    first = mint(bundle, SPEC, ask(5), tmp_path)
    before = {path: path.stat().st_mtime_ns for path in first.folder.iterdir()}
    again = mint(bundle, SPEC, ask(5), tmp_path)

    assert again.already
    assert again.made == 0
    assert again.batch_id == first.batch_id
    assert {path: path.stat().st_mtime_ns for path in first.folder.iterdir()} == before


def test_a_killed_batch_is_finished_to_the_same_bytes(bundle: Bundle, tmp_path: Path) -> None:
    """SIGKILL in the middle, then the same call: what is there is kept, the rest is made."""
    undisturbed = mint(bundle, SPEC, ask(160), tmp_path / "a").folder
    script = (
        "import sys; from pathlib import Path; from gan.assets.batch import mint;"
        "from gan.assets.manifest import Request; from gan.bundle import open_bundle;"
        "from gan.sections import AssetsSpec;"
        f"mint(open_bundle(Path(sys.argv[1])), AssetsSpec(size_px=32),"
        f"Request('stickers', 160, 5, 'slot', {LINEAGE!r}), Path(sys.argv[2]))"
    )
    folder = tmp_path / "b" / undisturbed.name
    child = subprocess.Popen(
        [sys.executable, "-c", script, str(bundle.folder), str(tmp_path / "b")],
        cwd=Path(__file__).resolve().parents[3],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    deadline = time.monotonic() + 60
    while len(list((folder / ".chunks").glob("*.jsonl"))) < 2:
        assert child.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.002)
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    (folder / f".{'0' * 16}.png.1.partial").write_bytes(b"half")

    assert not (folder / "batch.json").exists()
    assert begun(tmp_path / "b") == [folder]
    assert "batch.json: missing" in verify(folder)[0]
    finished = mint(bundle, SPEC, ask(160), tmp_path / "b")
    assert finished.folder == folder
    assert 0 < finished.made <= 160 - 32
    assert contents(folder) == contents(undisturbed)


def test_a_batch_can_be_finished_by_what_it_was_begun_with(bundle: Bundle, tmp_path: Path) -> None:
    """Whoever finishes it, and under whatever flow run, the bytes are those of the first try."""
    undisturbed = mint(bundle, SPEC, ask(20), tmp_path / "a").folder
    with failing_at(40, errno.ENOSPC, lasting=True), pytest.raises(GanmillError, match="space"):
        mint(bundle, SPEC, ask(20), tmp_path / "b")
    (folder,) = begun(tmp_path / "b")
    asked = read_request(folder)
    assert (asked.request, asked.assets, asked.bundle_digest) == (ask(20), SPEC, bundle.digest)

    other = Request("stickers", 20, 5, "slot", {"flow_run": "another"})
    assert mint(bundle, asked.assets, other, folder.parent).made > 0
    assert begun(tmp_path / "b") == []
    assert contents(folder) == contents(undisturbed)


def test_a_request_that_is_no_good_is_written_anew(bundle: Bundle, tmp_path: Path) -> None:
    """Damaged or of another batch, it neither stops the minting nor stays."""
    wanted = contents(mint(bundle, SPEC, ask(2), tmp_path / "a").folder)
    folder = tmp_path / "b" / names(ask(2), bundle.digest, SPEC).batch_id
    folder.mkdir(parents=True)
    (folder / ".request.json").write_text('{"format": 2')
    mint(bundle, SPEC, ask(2), tmp_path / "b")

    assert contents(folder) == wanted


def test_only_what_is_damaged_is_made_again(bundle: Bundle, tmp_path: Path) -> None:
    """After deleting `batch.json` the same call mends a batch, to the same bytes."""
    folder = mint(bundle, SPEC, ask(40), tmp_path).folder
    sound = contents(folder)
    rows = read_rows(folder / "manifest.jsonl")
    (folder / rows[3].file).unlink()
    (folder / rows[4].file).write_bytes(b"not a picture")
    (folder / "batch.json").unlink()
    mended = mint(bundle, SPEC, ask(40), tmp_path)

    assert mended.made == 16  # the chunk that both are in
    assert contents(folder) == sound
    assert verify(folder) == []


def test_two_workers_on_one_batch(bundle: Bundle, tmp_path: Path) -> None:
    """The second is told who is at it, and nothing is written twice."""
    name = mint(bundle, SPEC, ask(2), tmp_path / "elsewhere").batch_id
    with (
        run_lock(tmp_path / name / ".lock", "test"),
        pytest.raises(BusyError, match=str(os.getpid())),
    ):
        mint(bundle, SPEC, ask(2), tmp_path)


def test_blank_assets_are_set_apart(bundle: Bundle, tmp_path: Path) -> None:
    """A generator that paints one colour gives a batch of which nothing is accepted."""
    for path in bundle.folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    weights = load((tmp_path / "generator.safetensors").read_bytes())
    dead = {name: torch.zeros_like(value) for name, value in weights.items()}
    (tmp_path / "generator.safetensors").write_bytes(save(dead))
    write_sums(tmp_path)
    minted = mint(open_bundle(tmp_path), SPEC, ask(4), tmp_path / "assets")

    assert minted.accepted == 0
    assert read_batch(minted.folder).blank == 4
    assert {row.verdict for row in read_rows(minted.folder / "manifest.jsonl")} == {"blank"}
    assert "blank, not for use" in (minted.folder / "index.html").read_text()


def test_blankness_has_a_threshold() -> None:
    """Flat and nearly flat images are blank; a drawing or one coloured channel is not."""
    flat = np.full((3, 16, 16), 200, np.uint8)
    faint = flat + np.indices((3, 16, 16)).sum(axis=0).astype(np.uint8) % 3
    drawing = flat.copy()
    drawing[0, 4:12, 4:12] = 0

    assert is_blank(flat)
    assert is_blank(faint)
    assert not is_blank(drawing)


def test_a_model_that_makes_nan_mints_nothing(bundle: Bundle, tmp_path: Path) -> None:
    """No file of a diverged model is ever written."""
    for path in bundle.folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    weights = load((tmp_path / "generator.safetensors").read_bytes())
    broken = {name: torch.full_like(value, 6e4) for name, value in weights.items()}
    (tmp_path / "generator.safetensors").write_bytes(save(broken))
    write_sums(tmp_path)

    with pytest.raises(DivergedError, match="Nothing is minted"):
        mint(open_bundle(tmp_path), SPEC, ask(4), tmp_path / "assets")
    assert list((tmp_path / "assets").rglob("*.png")) == []
    assert begun(tmp_path / "assets") == []  # nobody could finish it


def test_progress_says_how_far(make_bundle: Callable[..., Bundle], tmp_path: Path) -> None:
    """The last line says that all are done."""
    lines: list[str] = []
    mint(make_bundle(tmp_path / "b", 2, ["all"]), SPEC, ask(3), tmp_path, progress=lines.append)

    assert "3 of 3" in lines[-1]


def test_assets_of_four_channels_are_cut_out(
    make_bundle: Callable[..., Bundle], tmp_path: Path
) -> None:
    """They are RGBA files with real alpha, minted, verified and repeated like any other."""
    bundle = make_bundle(tmp_path / "b", 1, channels=4)
    first, second = (mint(bundle, SPEC, ask(5), tmp_path / name) for name in ("1", "2"))
    rows = read_rows(first.folder / "manifest.jsonl")

    assert contents(first.folder) == contents(second.folder)
    assert verify(first.folder) == []
    for row in rows:
        with Image.open(first.folder / row.file) as picture:
            alpha = np.asarray(picture.getchannel("A"))
            assert (picture.mode, picture.size) == ("RGBA", (32, 32))
        assert len(np.unique(alpha)) > 2


def test_an_image_without_alpha_is_blank() -> None:
    """Nothing to see is nothing to use; a shape in one colour is something."""
    shape = np.zeros((4, 16, 16), np.uint8)
    assert is_blank(shape)
    shape[3, 4:12, 4:12] = 255  # black
    assert not is_blank(shape)
