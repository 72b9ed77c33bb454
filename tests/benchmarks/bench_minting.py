"""Where the time of minting goes: each step alone, and the whole, in one or more workers."""

import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from gan.assets.batch import Done, Marks, Run, in_turn, mint
from gan.assets.candidates import sample
from gan.assets.files import read_back, require_fit
from gan.assets.request import Request, names
from gan.bundle import Bundle, open_bundle
from gan.durable import write_atomically
from gan.image.workers import map_chunks
from gan.marking import watermark, xmp
from gan.marking.credentials import OVERHEAD_BYTES, Origin, sign
from gan.marking.identity import Signing, open_identity
from gan.platforms import encode, platform, render
from gan.screening.references import References
from gan.screening.screens import open_screens
from gan.sections import CampaignSpec
from tests.benchmarks.figures import show

_COUNT = 96
_PLATFORMS = ("png", "whatsapp")
_SHIPPED = Path(__file__).parents[2] / "gan" / "shipped" / "stickers"


def main() -> None:
    """Print the figures."""
    bundle = open_bundle(_SHIPPED)
    with tempfile.TemporaryDirectory() as root:
        room = Path(root)
        marks = Marks(Signing(room / "signing"))
        for name in _PLATFORMS:
            request = Request("stickers", CampaignSpec(count=_COUNT, platforms=[name]), "bench")
            steps = _steps(bundle, request, marks, room, name)
            slowest = max(steps.values())
            for step, spent in steps.items():
                note = f"{spent / sum(steps.values()):.0%} of all steps"
                show(f"{name}: {step}, one worker", 1e3 * spent / _COUNT, "ms/asset", note)
            _whole(bundle, request, marks, room, name, _COUNT / slowest)


def _steps(
    bundle: Bundle, request: Request, marks: Marks, room: Path, name: str
) -> dict[str, float]:
    """Return the processor's seconds of each step for all assets, one step after the other."""
    spec, called = request.spec, names(request, bundle.digest)
    to, identity = platform(name, spec.size_px), open_identity(marks.signing)
    screens = open_screens(bundle, spec, _references(room))
    ordinals, numbers = range(_COUNT), [n % len(bundle.card.classes) for n in range(_COUNT)]
    origins = [_origin(request, bundle, called.asset(n), n) for n in ordinals]
    spent: dict[str, float] = {}

    def timed(step: str, work: Callable[[Any], Any], given: Iterable[Any]) -> list[Any]:
        began = time.thread_time() if step != "write" else time.perf_counter()
        done = [work(each) for each in given]
        ended = time.thread_time() if step != "write" else time.perf_counter()
        spent[step] = ended - began
        return done

    draw = partial(sample, bundle, spec, called.request_id)
    draw(ordinals[:16], numbers[:16])  # loads the model
    (images,) = timed("sample", lambda _: draw(ordinals, numbers), [None])
    timed("screen", lambda _: screens.look(images, np.array(numbers, np.int64)), [None])
    drawn = timed(
        "render",
        lambda image: render(image, to, upscale=spec.upscale, background=spec.background),
        images,
    )
    pairs = list(zip(drawn, origins, strict=True))
    marked = timed("watermark", lambda pair: watermark.embed(pair[0], pair[1].asset), pairs)
    pairs = list(zip(marked, origins, strict=True))
    files = timed(
        "encode", lambda pair: encode(pair[0], to, xmp.packet(pair[1]), OVERHEAD_BYTES), pairs
    )
    pairs = list(zip(files, origins, strict=True))
    signed = timed("sign", lambda pair: sign(pair[0], to.media, pair[1], identity), pairs)
    seen = timed("check the limits", lambda payload: require_fit(payload, to, name), signed)
    pairs = list(zip(seen, origins, strict=True))
    timed(
        "read back",
        lambda pair: read_back(pair[0], pair[1].asset, watermark.PUBLIC_KEY),
        pairs,
    )
    pairs = list(zip(signed, origins, strict=True))
    timed("write", lambda pair: write_atomically(room / name / pair[1].asset, pair[0]), pairs)
    return spent


def _whole(
    bundle: Bundle, request: Request, marks: Marks, room: Path, name: str, slowest: float
) -> None:
    """Mint in turn, on threads and in processes; show the rates, and whether bytes are equal."""
    found: set[str] = set()
    for place, (way, run) in enumerate(_ways()):
        references, destination = _references(room), room / f"{name}-{place}"
        began, used = time.perf_counter(), time.process_time()
        mint(bundle, request, destination, marks, references, run=run, progress=lambda _: None)
        rate = _COUNT / (time.perf_counter() - began)
        show(f"{name}: end to end, {way}", rate, "assets/s", "by the clock")
        if run is in_turn:  # of the processor alone: on a busy machine the clock says little
            rate = _COUNT / (time.process_time() - used)
            share = f"{rate / slowest:.0%} of its slowest step, by the processor"
            show(f"{name}: end to end, {way}", rate, "assets/s", share)
        found.update(_digest(folder) for folder in destination.iterdir())
    print(f"  {name}: {'the same bytes in every way' if len(found) == 1 else 'BYTES DIFFER'}")


def _ways() -> Iterator[tuple[str, Run]]:
    yield "one worker", in_turn
    for count in (2, 4):
        yield f"{count} threads", partial(_on_threads, count)
    for count in (2, 4):
        yield f"{count} processes", partial(map_chunks, workers=count, doing="minting")


def _on_threads(count: int, work: Callable[[Any], Done], jobs: Sequence[Any], /) -> Iterable[Done]:
    with ThreadPoolExecutor(count) as pool:
        yield from pool.map(work, jobs)


def _references(room: Path) -> References:
    return References(None, None, room / "store")


def _origin(request: Request, bundle: Bundle, asset: str, ordinal: int) -> Origin:
    return Origin(
        asset=asset,
        recipe=request.recipe,
        campaign=request.campaign,
        batch="bench",
        request="0" * 64,
        seed=1,
        ordinal=ordinal,
        class_="cats",
        model_digest=bundle.digest,
        model_version="",
        data_version="",
    )


def _digest(folder: Path) -> str:
    """Return one digest of every file of a batch."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    parts = [
        f"{path.relative_to(folder)} {sha256(path.read_bytes()).hexdigest()}" for path in paths
    ]
    return sha256("\n".join(parts).encode()).hexdigest()
