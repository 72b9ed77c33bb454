"""Images with flipped, cut, doubled and swapped parts: none crashes, hangs or fills the memory."""

import io
import multiprocessing
import random
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import psutil
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from gan.image.decode import Rejected, decode, flatten, premultiply
from gan.image.statistics import TOGETHER_PX, measure, measure_large, pixels_digest

COUNT = 10_000
MOST_SECONDS, MOST_BYTES = 1.0, 1 << 30


def _saved(image: Image.Image, file_format: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, file_format, **options)
    return file.getvalue()


def _seeds() -> list[bytes]:
    """Return whole files of every format and of its odd kinds."""
    values = np.random.default_rng(3).integers(0, 256, (40, 48, 4), dtype=np.uint8)
    clear = Image.fromarray(values)
    plain = clear.convert("RGB")
    exif = Image.Exif()
    exif[0x0112], exif[0x013B] = 6, "nobody"
    texts = PngInfo()
    texts.add_itxt("Comment", "hello " * 50, zip=True)
    frames = [plain.rotate(90 * n) for n in range(4)]
    many = {"save_all": True, "append_images": frames}
    return [
        _saved(clear, "PNG", pnginfo=texts), _saved(plain.convert("P"), "PNG", transparency=3),
        _saved(plain.convert("I;16"), "PNG"), _saved(plain, "PNG", **many),
        _saved(plain, "JPEG", exif=exif), _saved(plain, "JPEG", progressive=True),
        _saved(plain.convert("CMYK"), "JPEG"), _saved(plain, "GIF", **many),
        _saved(plain, "WEBP"), _saved(clear, "WEBP", lossless=True), _saved(plain, "WEBP", **many),
        _saved(plain, "BMP"), _saved(plain, "TIFF", compression="tiff_lzw"),
        _saved(clear, "TIFF", compression="tiff_deflate"), _saved(plain, "TIFF", **many),
        _saved(plain, "TIFF", compression="jpeg", exif=exif),
    ]  # fmt: skip


def _mutated(whole: bytes, other: bytes, place: random.Random) -> bytes:
    """Return a file with one to twelve faults, most of them where headers are."""
    data = bytearray(whole)
    for _ in range(place.randint(1, 12)):
        near = min(len(data) - 1, 200) if place.random() < 0.6 else len(data) - 1
        at = place.randint(0, max(near, 0))
        kind = place.random()
        if kind < 0.5:
            data[at : at + 1] = bytes([place.randrange(256)])
        elif kind < 0.7:  # a length, a size or a count at its ends
            data[at : at + 4] = place.choice([b"\xff\xff\xff\xff", bytes(4), b"\x7f\xff\xff\xff"])
        elif kind < 0.8:
            data[at : at + place.randint(1, 64)] = b""
        elif kind < 0.9:
            part = data[at : at + place.randint(1, 200)]
            data[at:at] = part * place.randint(1, 5)
        else:
            data[at : at + 32] = other[at : at + 32]
        data = data or bytearray(b"\0")
    return bytes(data)


def _looked_at(payload: bytes) -> bool:
    """Do to one file what the facts pass does; return whether it was taken."""
    try:
        decoded = decode(payload)
    except Rejected:
        return False
    image = flatten(decoded.image)
    pixels_digest(premultiply(decoded.image))
    if image.width * image.height > TOGETHER_PX:
        measure_large(image)
    else:
        measure([image.tobytes()], *image.size)
    return True


def look_at_all(keep: Path) -> tuple[int, float, int]:
    """Return how many mutated files were taken, the most seconds of one, and the most memory.

    The file at which something unforeseen is raised is left in the folder `keep`.
    """
    place = random.Random(7)  # noqa: S311  # repeatable faults
    seeds, process = _seeds(), psutil.Process()
    taken, slowest, most = 0, 0.0, 0
    for n in range(COUNT):
        payload = _mutated(seeds[n % len(seeds)], place.choice(seeds), place)
        started = time.thread_time()  # others may keep the processor busy
        try:
            taken += _looked_at(payload)
        except Exception:
            (keep / "mutated.bin").write_bytes(payload)
            raise
        slowest = max(slowest, time.thread_time() - started)
        most = max(most, process.memory_info().rss)
    return taken, slowest, most


def test_mutated_files_are_decoded_or_rejected(tmp_path: Path) -> None:
    """Nothing unforeseen is raised, no file takes over a second, memory stays under 1 GiB."""
    own = multiprocessing.get_context("spawn")  # with no memory that other tests took
    with ProcessPoolExecutor(1, own) as pool:
        taken, slowest, most = pool.submit(look_at_all, tmp_path).result()
    print(f"{taken} of {COUNT} taken, slowest {slowest:.2f} s, {most >> 20} MiB")

    assert COUNT // 20 < taken < COUNT // 2
    assert slowest < MOST_SECONDS
    assert most < MOST_BYTES
