"""The table of facts: what is seen of every image, and what is set aside."""

import csv
import io
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import pytest
from distributed import LocalCluster
from PIL import Image

from gan.durable import read_json
from gan.errors import DamagedError, GanmillError
from gan.image.facts import SCHEMA, class_name, collect, read_facts, write_facts
from gan.image.similar import mark_near
from gan.image.sources import ingest
from gan.sections import DataSpec

SHARED = Path(__file__).resolve().parents[3].parent / "shared/data"
needs_data = pytest.mark.skipif(not SHARED.exists(), reason="the shared data sets are not here")


def encoded(image: Image.Image) -> bytes:
    """Return an image as PNG bytes."""
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def noise(seed: int, width: int = 16, height: int = 16) -> Image.Image:
    """Return an RGB image of seeded noise."""
    values = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(values)


def raw_of(tmp_path: Path, files: dict[str, bytes]) -> Path:
    """Ingest files given by name; return the raw folder."""
    with zipfile.ZipFile(tmp_path / "in.zip", "w") as archive:
        for name, payload in files.items():
            archive.writestr(name, payload)
    spec = DataSpec(source="files", path=str(tmp_path / "in.zip"), licence="CC0")
    ingest(spec, tmp_path, tmp_path / "raw")
    return tmp_path / "raw"


def looked_at(tmp_path: Path, files: dict[str, bytes], **options: str | int) -> pd.DataFrame:
    """Return the facts of files, by key."""
    return collect(raw_of(tmp_path, files), 1, **options).set_index("key")  # type: ignore[arg-type]


def test_the_table_has_a_row_an_image_in_key_order(tmp_path: Path) -> None:
    """Sound or not, each image of the index has its row, with the promised columns."""
    files = {"b/2.png": encoded(noise(1, 20, 10)), "a/1.png": encoded(noise(2)), "c.png": b"x"}
    facts = collect(raw_of(tmp_path, files), 1)

    assert facts["key"].tolist() == ["a/1.png", "b/2.png", "c.png"]
    assert list(facts.columns) == SCHEMA.names
    assert facts["width"].tolist() == [16, 20, 0]
    assert facts["height"].tolist() == [16, 10, 0]
    assert facts["mode"].tolist() == ["RGB", "RGB", ""]
    assert facts["format"].tolist() == ["PNG", "PNG", ""]
    assert facts["reason"].tolist() == ["", "", "NOT_AN_IMAGE"]
    assert {str(facts[name].dtype) for name in ("width", "luminance")} == {"int32", "float32"}


def test_luminance_and_contrast_are_of_the_grey_values(tmp_path: Path) -> None:
    """Half black, half white: mean and deviation are both one half."""
    image = Image.new("RGB", (16, 16))
    image.paste((255, 255, 255), (0, 0, 16, 8))
    row = looked_at(tmp_path, {"a.png": encoded(image), "b.png": encoded(noise(1))}).loc["a.png"]

    assert row["luminance"] == pytest.approx(0.5)
    assert row["contrast"] == pytest.approx(0.5)


def test_the_later_of_two_equal_pictures_is_the_duplicate(tmp_path: Path) -> None:
    """Pixels decide, not bytes: another compression or file format of it is found too."""
    bitmap = io.BytesIO()
    noise(1).save(bitmap, "BMP")
    files = {"a/x.png": encoded(noise(1)), "b/y.bmp": bitmap.getvalue(), "c.png": encoded(noise(2))}
    facts = looked_at(tmp_path, files)

    assert facts["reason"].tolist() == ["", "DUPLICATE_EXACT", ""]
    assert facts.loc["b/y.bmp", "duplicate_of"] == "a/x.png"
    assert facts.loc["b/y.bmp", "notes"] == "LABEL_CONFLICT"


def test_equal_bytes_in_another_shape_are_no_duplicate(tmp_path: Path) -> None:
    """8 x 32 and 32 x 8 of the same values are different pictures."""
    tall = Image.frombytes("RGB", (8, 32), noise(1).tobytes())
    wide = Image.frombytes("RGB", (32, 8), noise(1).tobytes())

    facts = looked_at(tmp_path, {"a.png": encoded(tall), "b.png": encoded(wide)})
    assert facts["reason"].tolist() == ["", ""]


def test_an_image_without_contrast_is_blank_on_its_background(tmp_path: Path) -> None:
    """White ink on transparency cannot be seen on white, but can on black."""
    ink = Image.new("RGBA", (16, 16), (255, 255, 255, 0))
    ink.paste((255, 255, 255, 255), (4, 4, 12, 12))
    files = {"ink.png": encoded(ink), "flat.png": encoded(Image.new("RGB", (9, 9), "red"))}

    assert looked_at(tmp_path, files)["reason"].tolist() == ["BLANK", "BLANK"]
    on_black = looked_at(tmp_path, files, background="#000000")
    assert on_black["reason"].to_dict() == {"flat.png": "BLANK", "ink.png": ""}


def test_with_alpha_what_is_blank_or_a_duplicate_is_judged_by_alpha_too(tmp_path: Path) -> None:
    """For a recipe of 4 channels, white ink on transparency is seen, and nothing at all is blank.

    Colour that hides under alpha 0 makes no difference.
    """
    ink = Image.new("RGBA", (16, 16), (255, 255, 255, 0))
    ink.paste((255, 255, 255, 255), (4, 4, 12, 12))
    hidden = Image.new("RGBA", (16, 16), (9, 9, 9, 0))
    hidden.paste((255, 255, 255, 255), (4, 4, 12, 12))
    faint = ink.copy()
    faint.putalpha(ink.getchannel("A").point(lambda alpha: alpha // 2))
    images = {
        "clear.png": Image.new("RGBA", (16, 16), (255, 0, 0, 0)),
        "faint.png": faint,
        "flat.png": Image.new("RGB", (16, 16), "red"),
        "hidden.png": hidden,
        "ink.png": ink,
    }
    files = {name: encoded(image) for name, image in images.items()}
    facts = looked_at(tmp_path, files, channels=4)

    assert facts["reason"].tolist() == ["BLANK", "", "BLANK", "", "DUPLICATE_EXACT"]
    assert facts.loc["ink.png", "duplicate_of"] == "hidden.png"
    assert facts.loc["faint.png", "notes"] == "ALPHA_KEPT LOW_CONTRAST"  # on white, for people
    assert set(looked_at(tmp_path, files)["reason"]) == {"BLANK"}


def test_two_colours_of_one_brightness_are_not_blank(tmp_path: Path) -> None:
    """A picture that differs in hue alone is kept, with a note."""
    image = Image.new("RGB", (16, 16), (100, 100, 100))
    image.paste((100, 95, 126), (0, 0, 8, 16))
    facts = looked_at(tmp_path, {"a.png": encoded(image), "b.png": encoded(noise(1))})

    assert facts.loc["a.png", "reason"] == ""
    assert facts.loc["a.png", "notes"] == "LOW_CONTRAST"


def test_too_small_and_too_long_images_are_set_aside(tmp_path: Path) -> None:
    """The contract's least side holds for the shorter side."""
    files = {
        "long.png": encoded(noise(1, 630, 30)),
        "small.png": encoded(noise(2, 7, 16)),
        "good.png": encoded(noise(3, 8, 16)),
    }
    facts = looked_at(tmp_path, files, min_side_px=8)

    reasons = {"good.png": "", "long.png": "ASPECT_RATIO", "small.png": "TOO_SMALL"}
    assert facts["reason"].to_dict() == reasons


def test_sharpness_entropy_and_alpha_are_what_they_say(tmp_path: Path) -> None:
    """A chessboard of single pixels is as sharp as it gets, with two grey levels: one bit."""
    board = (np.indices((32, 32)).sum(axis=0) % 2 * 255).astype(np.uint8)
    half = noise(1, 32, 32).convert("RGBA")
    half.paste((0, 0, 0, 0), (0, 0, 32, 16))
    files = {"board.png": encoded(Image.fromarray(board)), "half.png": encoded(half)}
    facts = looked_at(tmp_path, files)

    assert facts.loc["board.png", "sharpness"] == pytest.approx(16)  # +4 and -4 in equal parts
    assert facts.loc["board.png", "entropy"] == pytest.approx(1)
    assert facts["alpha_share"].tolist() == [0, 0.5]


@pytest.mark.parametrize("side", [32, 64, 90, 100, 400])
def test_an_image_and_its_copy_look_alike_at_any_size(side: int, tmp_path: Path) -> None:
    """Hash, colours and figures stay near each other, measured together or on a sample."""
    picture = noise(1, 8, 8).resize((side, side), Image.Resampling.BICUBIC)
    smaller = picture.resize((side * 3 // 4, side * 3 // 4), Image.Resampling.LANCZOS)
    files = {"a.png": encoded(picture), "b.png": encoded(smaller), "c.png": encoded(noise(2))}
    facts = looked_at(tmp_path, files)
    bits = [int(value) & (1 << 64) - 1 for value in facts["phash"]]
    colours = np.array([np.frombuffer(value, np.uint8) for value in facts["colour"]], int)

    assert (bits[0] ^ bits[1]).bit_count() <= 3
    assert (bits[0] ^ bits[2]).bit_count() > 11
    assert np.abs(colours[0] - colours[1]).max() <= 4
    assert facts["luminance"].iloc[0] == pytest.approx(facts["luminance"].iloc[1], abs=0.01)
    assert facts["contrast"].iloc[0] == pytest.approx(facts["contrast"].iloc[1], abs=0.02)


@pytest.mark.parametrize(("width", "height"), [(640, 480), (200, 3000), (3000, 200), (91, 91)])
def test_a_large_image_is_told_from_one_that_differs_in_one_pixel(
    width: int, height: int, tmp_path: Path
) -> None:
    """The digest covers every pixel, also those that the sample leaves out; the format does not."""
    whole = noise(1, width, height)
    places = [(0, 0), (width - 1, height - 1), (width // 3, height // 2)]
    files = {}
    for n, place in enumerate(places):
        other = whole.copy()
        red, green, blue = other.getpixel(place)  # type: ignore[misc]
        other.putpixel(place, (red, green, blue ^ 1))
        files[f"other{n}.png"] = encoded(other)
    bitmap = io.BytesIO()
    whole.save(bitmap, "BMP")
    facts = looked_at(tmp_path, {"a.png": encoded(whole), "b.bmp": bitmap.getvalue(), **files})

    assert facts["reason"].tolist() == ["", "DUPLICATE_EXACT", "", "", ""]
    assert facts["pixels_digest"].nunique() == 4


def test_a_large_flat_image_is_blank_and_one_with_a_dot_is_not(tmp_path: Path) -> None:
    """A dot that no sampled line meets still counts."""
    flat = Image.new("RGB", (640, 640), "navy")
    dotted = flat.copy()
    dotted.paste((0, 200, 0), (320, 320, 322, 322))
    facts = looked_at(tmp_path, {"a.png": encoded(flat), "b.png": encoded(dotted)})

    assert facts["reason"].tolist() == ["BLANK", ""]


def test_an_image_that_takes_too_long_is_set_aside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The time limit holds for each image alone, and the work goes on."""
    grain = [noise(n, 700, 700).getchannel("R").point(lambda v: v & 128) for n in range(4)]
    slow = io.BytesIO()  # two thirds of a second to decode
    grain[0].save(slow, "GIF", save_all=True, append_images=[grain[n % 4] for n in range(1, 250)])
    raw = raw_of(tmp_path, {"a.gif": slow.getvalue(), "b.png": encoded(noise(1))})
    monkeypatch.setattr("gan.image.examine._DECODE_SECONDS", 0.15)

    assert collect(raw, 1)["reason"].tolist() == ["TIMEOUT", ""]


def test_processes_see_what_one_process_sees(tmp_path: Path) -> None:
    """Parallel work changes neither the rows nor their order."""
    raw = raw_of(tmp_path, {f"{n:04d}.png": encoded(noise(n, 8, 8)) for n in range(1_100)})

    pd.testing.assert_frame_equal(collect(raw, 1), collect(raw, 2))


def test_a_cluster_sees_what_one_process_sees(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the address of a Dask scheduler, its workers do the looking."""
    raw = raw_of(tmp_path, {f"{n:04d}.png": encoded(noise(n, 8, 8)) for n in range(600)})
    alone = collect(raw, 1)
    with LocalCluster(  # type: ignore[no-untyped-call]
        n_workers=1, threads_per_worker=2, processes=False, dashboard_address=None
    ) as cluster:
        pd.testing.assert_frame_equal(alone, collect(raw, cluster=cluster.scheduler_address))

    monkeypatch.setattr("gan.image.workers._CONNECT_SECONDS", 0.2)
    with pytest.raises(GanmillError, match="no Dask scheduler answers there"):
        collect(raw, cluster="tcp://127.0.0.1:1")


def test_workers_do_not_load_torch() -> None:
    """A worker starts in a fraction of a second: nothing it imports brings torch along."""
    script = "import sys, gan.image.facts, gan.image.dataset; print('torch' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", script], check=True, capture_output=True, text=True
    )

    assert done.stdout.strip() == "False"


def test_workers_end_when_their_parent_is_killed(tmp_path: Path) -> None:
    """No orphan keeps a processor or memory after the kernel or a user ended the stage."""
    script = tmp_path / "stage.py"
    script.write_text(
        "import os, sys, time\n"
        "from gan.image.workers import map_chunks\n"
        "def work(seconds):\n"
        "    time.sleep(seconds)\n"
        "    return os.getpid()\n"
        "if __name__ == '__main__':\n"
        "    for pid in map_chunks(work, [0.1] * 4 + [60] * 9, 2, 'sleeping'):\n"
        "        print(pid, flush=True)\n"
    )
    with subprocess.Popen(
        [sys.executable, str(script)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as stage:
        workers = {int(stage.stdout.readline()) for _ in range(2)} if stage.stdout else set()
        stage.kill()
    deadline = time.monotonic() + 10
    while any(_is_running(pid) for pid in workers) and time.monotonic() < deadline:
        time.sleep(0.05)

    assert workers
    assert not any(_is_running(pid) for pid in workers)


def _is_running(pid: int) -> bool:
    """Return whether a process lives; one that only waits to be reaped does not."""
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def test_a_changed_shard_is_noticed(tmp_path: Path) -> None:
    """One flipped bit of a packed image is an error, not a slightly other image."""
    raw = raw_of(tmp_path, {f"{n}.png": encoded(noise(n)) for n in range(3)})
    shard = raw / "shard-00000.tar"
    payload = bytearray(shard.read_bytes())
    payload[700] ^= 1
    shard.write_bytes(payload)

    with pytest.raises(DamagedError, match=r"shard-00000\.tar: byte 512 on differs"):
        collect(raw, 1)


def test_facts_come_back_as_they_were_written(tmp_path: Path) -> None:
    """The table survives its file; a file that is no such table is refused."""
    facts = collect(raw_of(tmp_path, {f"{n}.png": encoded(noise(n)) for n in range(3)}), 1)
    write_facts(tmp_path / "facts.parquet", facts)

    pd.testing.assert_frame_equal(facts, read_facts(tmp_path / "facts.parquet"))
    with pytest.raises(DamagedError, match="columns"):
        read_facts(tmp_path / "raw" / "index.parquet")


def test_an_image_without_a_label_is_of_the_class_all() -> None:
    """A source without labels is one class, and has a name."""
    assert (class_name(""), class_name("cats")) == ("all", "cats")


# Why an answer differs from `expected.csv`. Of equal pictures the first in key order is kept.
DEVIATIONS = {
    "tree/broken/junk.heic": "HEIC is not on the list of formats: as good a reason, says its note",
    "tree/content/dup_exact_copy.png": "the first of four equal pictures in key order: kept",
    "tree/content/dup_original.png": "a later one of the four: the copy stands for it",
    "tree/single_class/only_one.png": "the contract counts classes: `min_images_per_class`",
}


def answers(raw: Path) -> dict[str, str]:
    """Return what became of every name of a raw folder: `reject CODE` or `accept NOTES`."""
    facts = mark_near(collect(raw, 1), distance=3).set_index("key")
    found = {
        str(key): f"reject {row.reason} {row.notes}" if row.reason else f"accept {row.notes}"
        for key, row in facts.iterrows()
    }
    met = read_json(raw / "skipped.json")
    for code, what in met["skipped"].items():
        found.update(
            (name.encode().decode("unicode_escape"), f"reject {code}") for name in what["examples"]
        )
    for code, what in met["noted"].items():
        for escaped in what["examples"]:
            name = escaped.encode().decode("unicode_escape")
            found[name] = f"{found.get(name, 'accept')} {code}"
    return found


@needs_data
def test_every_bad_input_gets_the_expected_answer(tmp_path: Path) -> None:
    """All files under `tree/`: rejected, taken with a note or taken, as `expected.csv` says.

    Where we answer otherwise the reason is in `DEVIATIONS`. The table is printed (`pytest -s`).
    """
    with zipfile.ZipFile(SHARED / "bad_inputs.zip") as archive:
        table = archive.read("expected.csv").decode()
    ingest(
        DataSpec(source="files", path=str(SHARED / "bad_inputs.zip")), tmp_path, tmp_path / "raw"
    )
    found = answers(tmp_path / "raw")
    other = {}
    for row in csv.DictReader(io.StringIO(table)):
        file, expected, code = row["file"], row["expected"], row["reason_code"]
        if not file.startswith("tree/"):
            continue
        silent = code == "HIDDEN_OR_SYSTEM_FILE"  # counted, never named
        answer = found.get(file.rstrip("/"), f"reject {code}" if silent else "nothing")
        verdict, *codes = answer.split()
        right = verdict == ("reject" if expected == "reject" else "accept")
        right = right and (code in codes if expected != "accept" else not codes)
        if not right:
            other[file] = answer
        print(f"{file!a:60.60} {expected:6} {code:24} {answer:48} {'' if right else '*'}")

    assert set(other) == set(DEVIATIONS)
    assert read_json(tmp_path / "raw/skipped.json")["clutter"] >= 7


@needs_data
def test_the_avatars_are_all_sound_and_all_different(tmp_path: Path) -> None:
    """The figures that the data set's own description gives."""
    ingest(DataSpec(source="files", path=str(SHARED / "avatars.zip")), tmp_path, tmp_path / "raw")
    facts = collect(tmp_path / "raw", 2)

    assert len(facts) == 5_997
    assert set(facts["reason"]) == {""}
    assert set(zip(facts["width"], facts["height"], strict=True)) == {(32, 32)}
