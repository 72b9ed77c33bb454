"""The canary of a bundle: minted, verified, timed, and held against the one that was kept."""

import io
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from safetensors.torch import load, save

from gan.__main__ import main
from gan.assets.canary import attend, deviation
from gan.assets.manifest import MANIFEST, read_rows, verify
from gan.bundle import Bundle, open_bundle
from gan.durable import sha256, write_sums
from gan.errors import DamagedError
from gan.marking.identity import Signing, open_identity
from gan.marking.statement import sign_statement
from gan.sections import AssetsSpec, CampaignSpec

SPEC = AssetsSpec(size_px=32)
ASSETS = "png/" + "[0-9a-f]" * 16 + ".png"


def answers(folder: Path, out: Path, asks: str = "", spec: CampaignSpec = SPEC) -> list[Any]:
    """Return what a canary answers to the lines that it is asked."""
    said = io.StringIO()
    attend(folder, "stickers", spec, Signing(out.parent / ".s"), out, io.StringIO(asks), said)
    return [json.loads(line) for line in said.getvalue().splitlines()]


@pytest.fixture
def kept(bundle: Bundle, tmp_path: Path) -> Path:
    """Return the canary of a bundle, as a decision keeps it."""
    answers(bundle.folder, tmp_path / "kept")
    return tmp_path / "kept"


def test_a_canary_is_a_batch_of_sixteen(bundle: Bundle, tmp_path: Path) -> None:
    """The folder is flat, verifies as any batch, and replaces what an earlier try left."""
    out = tmp_path / "gate" / "canary"
    (report,) = answers(bundle.folder, out)

    assert report["bundle_digest"] == bundle.digest
    assert (report["count"], report["accepted"]) == (16, 16)
    assert report["files"] == {f"png/{path.name}": sha256(path) for path in out.glob(ASSETS)}
    assert 10 < report["memory_mb"] < 10_000
    assert verify(out) == []
    (out / "stray").write_text("of an earlier try")
    assert answers(bundle.folder, out)[0]["files"] == report["files"]
    assert verify(out) == []
    assert {path.name for path in out.parent.iterdir()} == {".s", "canary"}


def test_each_go_is_timed(bundle: Bundle, tmp_path: Path) -> None:
    """One measurement for each line, positive and plausible; the end of the lines is the end."""
    _, *timings = answers(bundle.folder, tmp_path / "out", "go\ngo\n\nwhat?\ngo\n")

    assert len(timings) == 3
    assert all(1e-6 < timing["seconds_per_image"] < 10 for timing in timings)


def test_the_same_bundle_comes_out_the_same(bundle: Bundle, kept: Path) -> None:
    """Minted again it deviates by nothing; where none of it was kept, nothing is known."""
    assert deviation(bundle, "stickers", kept) == 0
    assert deviation(bundle, "stickers", kept.parent / "nowhere") is None
    assert deviation(bundle, "others", kept) is None


def test_a_deviation_is_in_levels(
    bundle: Bundle, make_bundle: Callable[..., Bundle], kept: Path, tmp_path: Path
) -> None:
    """It is the mean absolute difference of the pixels; of another bundle there is none kept."""
    assert deviation(make_bundle(tmp_path / "other", seed=2), "stickers", kept) is None
    for row in read_rows(kept / MANIFEST):  # as if every kept pixel were 3 levels off
        path = kept / row.files[0].path
        with Image.open(path) as picture:
            pixels = np.asarray(picture).astype(int)
        Image.fromarray((pixels + np.where(pixels > 127, -3, 3)).astype(np.uint8)).save(path)
    _seal(kept)

    assert deviation(bundle, "stickers", kept) == pytest.approx(3.0)


def test_a_kept_canary_that_was_altered_is_refused(bundle: Bundle, kept: Path) -> None:
    """A comparison rests on what was kept, so one changed or missing file ends it."""
    next(kept.glob(ASSETS)).unlink()

    with pytest.raises(DamagedError, match=r"\.png: missing"):
        deviation(bundle, "stickers", kept)


def test_a_bundle_that_cannot_be_minted_from_says_why(bundle: Bundle, tmp_path: Path) -> None:
    """A flipped bit, weights that are not finite: one error, and no folder is left."""
    for name, change in (("flipped", _flip), ("infinite", _make_infinite)):
        folder = tmp_path / name
        shutil.copytree(bundle.folder, folder)
        change(folder)
        with pytest.raises(DamagedError, match=r"generator\.safetensors"):
            answers(folder, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Return a folder with a recipe."""
    (tmp_path / "params.yaml").write_text(
        "recipes:\n  stickers:\n    data: {source: files, path: images, resolution: 16}\n"
        "    assets: {size_px: 32}\n"
    )
    return tmp_path


def test_the_verb_answers_on_stdout(bundle: Bundle, place: Path) -> None:
    """`python -m gan canary` speaks JSON alone on stdout, and nothing on stderr."""
    words = ["canary", str(bundle.folder), "--out", "out", "--recipe", "stickers"]
    done = subprocess.run(
        [sys.executable, "-m", "gan", *words],
        cwd=place,
        input="go\n",
        capture_output=True,
        text=True,
        check=False,
    )
    report, timing = (json.loads(line) for line in done.stdout.splitlines())
    assert (done.returncode, done.stderr) == (0, "")
    assert report["bundle_digest"] == open_bundle(bundle.folder).digest
    assert timing["seconds_per_image"] > 0
    with Image.open(place / "out" / next(iter(report["files"]))) as picture:
        assert picture.size == (32, 32)


def test_a_verb_that_fails_is_a_line_and_an_exit_code(
    bundle: Bundle, place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where there is no bundle, or a word is missing; no record of it is left."""
    monkeypatch.chdir(place)
    code = main(["canary", str(place), "--out", "other", "--recipe", "stickers"])
    said = capsys.readouterr()

    assert (code, said.out) == (1, "")
    assert "no bundle here" in said.err
    assert len(said.err.splitlines()) == 1
    assert not (place / ".ganmill" / "errors").exists()
    with pytest.raises(SystemExit, match="2"):
        main(["canary", str(bundle.folder), "--recipe", "stickers"])


def _seal(folder: Path) -> None:
    """Make the digests of a batch those of its files as they lie there."""
    lines = [json.loads(line) for line in (folder / MANIFEST).read_text().splitlines()]
    for line in lines:
        line["files"][0]["sha256"] = sha256(folder / line["files"][0]["path"])
    (folder / MANIFEST).write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    card = json.loads((folder / "batch.json").read_text())
    card["digests"][MANIFEST] = sha256(folder / MANIFEST)
    signed = sign_statement(card, open_identity(Signing(folder.parent / ".s")))
    (folder / "batch.json").write_text(json.dumps(signed))


def _flip(folder: Path) -> None:
    weights = bytearray((folder / "generator.safetensors").read_bytes())
    weights[-1] ^= 1
    (folder / "generator.safetensors").write_bytes(weights)


def _make_infinite(folder: Path) -> None:
    weights = load((folder / "generator.safetensors").read_bytes())
    next(iter(weights.values())).fill_(float("inf"))
    (folder / "generator.safetensors").write_bytes(save(weights))
    write_sums(folder)
