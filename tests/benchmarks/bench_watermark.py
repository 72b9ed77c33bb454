"""How often the watermark is read back after what befalls a picture, and how long it takes."""

import hashlib
import io
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
from PIL import Image

from gan.detector.rates import share
from gan.marking.listening import brightness, listen
from gan.marking.search import places
from gan.marking.watermark import PUBLIC_KEY, Picture, bits_right, embed, read
from gan.platforms import encode, platform, platforms, render
from tests.benchmarks.figures import seconds, show
from tests.gan.marking.attacks import on_white, resized, saved, screenshot
from tests.gan.marking.renders import drawn

COUNT = 200
UNMARKED = 800  # of each set of real images
SHARED = Path(__file__).resolve().parents[2].parent / "shared/data"
_ROOM_BYTES = 16_000  # for what is signed into a file

_WAYS: dict[str, Callable[[Picture, np.random.Generator], Picture]] = {
    "PNG": lambda picture, _: picture,
    "WebP q80": lambda picture, _: saved(on_white(picture), "WEBP", 80),
    "JPEG q75": lambda picture, _: saved(on_white(picture), "JPEG", 75),
    "resized to 75 %": lambda picture, _: resized(on_white(picture), 0.75),
    "resized to 75 %, JPEG q75": lambda picture, _: saved(
        resized(on_white(picture), 0.75), "JPEG", 75
    ),
    "screenshot, 60 to 90 % of it": lambda picture, place: screenshot(on_white(picture), place),
}


def main() -> None:
    """Print times, rates of reading back, and what is read into pictures that have no mark."""
    images = drawn(COUNT)
    _print_times(images)
    _print_ways(images)
    _print_platforms(images)
    _print_unmarked()


def _asset(number: int) -> str:
    return hashlib.sha256(f"watermark {number}".encode()).hexdigest()[:16]


def _print_times(images: Picture) -> None:
    for side in (128, 256, 512, 1080):
        picture = render(images[0], platform("png", side), upscale="lanczos", background="#ffffff")
        marked = embed(picture, _asset(0))
        show(f"embed, {side} px", 1e3 * seconds(partial(embed, picture, _asset(0))), "ms")
        show(f"read, {side} px", 1e3 * seconds(partial(read, marked)), "ms")
        taken = seconds(partial(read, picture, thorough=True))
        show(f"find nothing, thorough, {side} px", 1e3 * taken, "ms")


def _print_ways(images: Picture) -> None:
    """Print the rates after each way, with 95 % intervals."""
    for side in (128, 256, 512):
        for upscale in ("lanczos", "nearest"):
            found: dict[str, list[bool]] = {way: [] for way in _WAYS}
            psnrs = []
            for number, image in enumerate(images):
                place = np.random.default_rng(number)
                picture = render(
                    image, platform("png", side), upscale=upscale, background="#ffffff"
                )
                marked = embed(picture, _asset(number))
                psnrs.append(_psnr_db(picture, marked))
                for way, change in _WAYS.items():
                    reading = read(change(marked, place), thorough=True)
                    found[way].append(reading is not None and reading.asset == _asset(number))
            print(f"\n  {side} px, {upscale}: PSNR {min(psnrs):.1f} dB at least, ", end="")
            print(f"{np.median(psnrs):.1f} in the middle; N {len(images)}")
            for way, were in found.items():
                rate = share(np.array(were))
                note = f"[{100 * rate.low:.1f}, {100 * rate.high:.1f}]"
                show(f"  read after {way}", 100 * rate.value, "%", note)


def _print_platforms(images: Picture) -> None:
    """Print how many final files of each platform read back, and how many bits are right."""
    print("\n  final files of each platform:")
    for name in platforms():
        to = platform(name, 512)
        some = images[: COUNT if to.width_px * to.height_px <= 512 * 512 else COUNT // 4]
        are_read, bits, psnrs = [], [], []
        for number, image in enumerate(some):
            picture = render(image, to, upscale="lanczos", background="#ffffff")
            marked = embed(picture, _asset(number))
            payload = encode(marked, to, "", _ROOM_BYTES)
            with Image.open(io.BytesIO(payload)) as file:
                back = np.asarray(file.convert("RGBA" if file.has_transparency_data else "RGB"))
            reading = read(back)
            are_read.append(reading is not None and reading.asset == _asset(number))
            bits.append(bits_right(back, _asset(number)))
            psnrs.append(_psnr_db(picture, marked))
        rate = share(np.array(are_read))
        note = f"[{100 * rate.low:.1f}, {100 * rate.high:.1f}], N {len(some)}, bits right "
        note += f"{min(bits):.2f} to {max(bits):.2f}, PSNR from {min(psnrs):.1f} dB"
        what = f"  {name}, {to.width_px} x {to.height_px} {to.format}"
        show(what, 100 * rate.value, "%", note)


def _print_unmarked() -> None:
    """Print what is read into real images, and how often a checksum was so much as tried."""
    if not SHARED.exists():
        print("  the shared data sets are not here: nothing is said of real images")
        return
    count = misread = tries = 0
    for picture in _real_images():
        tries += sum(1 for _ in places(listen(brightness(picture)), PUBLIC_KEY, thorough=True))
        misread += read(picture, thorough=True) is not None
        count += 1
    print()
    show("read into real images without a mark", misread, "", f"of {count:,}, all scales")
    show("checksums tried on them", tries, "", "each passes by chance once in 2^32")


def _real_images() -> Iterator[Picture]:
    """Yield real images, 256 px, evenly from each set."""
    for name in ("avatars", "stickers"):
        with zipfile.ZipFile(SHARED / f"{name}.zip") as archive:
            files = [each for each in archive.namelist() if each.endswith(".png")]
            for file in files[:: max(len(files) // UNMARKED, 1)]:
                yield _opened(io.BytesIO(archive.read(file)), hard=name == "avatars")
    with tarfile.open(SHARED / "cifar10.tar.xz") as photographs:
        jpegs = (each for each in photographs if each.name.endswith(".jpg"))
        for member in islice(jpegs, 0, UNMARKED * 10, 10):
            content = photographs.extractfile(member)
            if content is not None:
                yield _opened(io.BytesIO(content.read()), hard=False)


def _opened(file: io.BytesIO, *, hard: bool) -> Picture:
    how = Image.Resampling.NEAREST if hard else Image.Resampling.LANCZOS
    with Image.open(file) as image:
        mode = "RGBA" if image.has_transparency_data else "RGB"
        return np.asarray(image.convert(mode).resize((256, 256), how))


def _psnr_db(picture: Picture, marked: Picture) -> float:
    is_seen = picture[..., 3] > 0 if picture.shape[2] == 4 else np.ones(picture.shape[:2], bool)
    change = marked[is_seen][:, :3].astype(float) - picture[is_seen][:, :3]
    return float(20 * np.log10(255 / np.sqrt(np.mean(change**2))))


if __name__ == "__main__":
    main()
