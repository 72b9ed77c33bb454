"""What a training would take, measured before it begins: time, memory, disk, cost.

Real steps of the real networks on the real data, on a copy: nothing of the training is changed.
"""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from gan.durable import read_json
from gan.paths import Layout
from gan.recipe import Recipe
from gan.training.feed import Feed
from gan.training.fit import FIT, Fit, choose_fit, device_name
from gan.training.identity import run_folder
from gan.training.plan import PLAN, images_of
from gan.training.preflight import THREADS
from gan.training.recovery import bytes_of
from gan.training.session import Session, fresh_state, open_session
from gan.training.stats import STATS, read_stats
from gan.training.team import Team
from gan.training.trial import Trial, release, try_out

_CHECKPOINTS = 6  # two to resume from, two healthy, the best, and one being written
_SECONDS = 4.0  # under the clock


@dataclass(frozen=True)
class Forecast:
    """What a training would take.

    Attributes:
        recipe: Its name.
        device: What computes.
        processes: That share a batch.
        precision: bf16 or float32.
        precision_because: Why.
        images_resident: Whether the images stay in the device's memory; else they are streamed.
        batch: Images of a step, all processes together.
        parts: Micro-batches of a process's step.
        captured: Whether a step is replayed as a CUDA graph.
        captured_because: Why.
        planned_images: In the whole training.
        done_images: Shown already, by a training that would be resumed.
        ends: What ends it.
        seconds_per_step: Measured.
        images_per_second: Of all processes; measured on one and multiplied, without their exchange.
        seconds: Until the end: steps alone, as fast as measured.
        finishes_at: Then, if it began now; local time, ISO 8601.
        memory_bytes: The most that a process held while measured: on the GPU, or resident.
        free_disk_bytes: Where checkpoints go.
        disk_bytes: That checkpoints take there at most.
        cost_hours: Of GPUs, or of processors, all processes together.
        cost_of: `GPU` or `processor`.
        energy_wh: Of the GPUs; None where the driver tells no power.
    """

    recipe: str
    device: str
    processes: int
    precision: str
    precision_because: str
    images_resident: bool
    batch: int
    parts: int
    captured: bool
    captured_because: str
    planned_images: int
    done_images: int
    ends: str
    seconds_per_step: float
    images_per_second: float
    seconds: float
    finishes_at: str
    memory_bytes: int
    free_disk_bytes: int
    disk_bytes: int
    cost_hours: float
    cost_of: str
    energy_wh: float | None

    def lines(self) -> Iterator[str]:
        """Yield it for people."""
        kimg, done = self.planned_images / 1000, self.done_images / 1000
        many = f" x {self.processes} processes" if self.processes > 1 else ""
        where = "in its memory" if self.images_resident else "streamed from disk"
        cut = f" in {self.parts} parts" if self.parts > 1 else ""
        way = "one CUDA graph" if self.captured else "as it is"
        hours, minutes = divmod(round(self.seconds / 60), 60)
        shown = f", {done:g} done" if done else ""
        left = f"{hours} h {minutes} min" if hours else f"{self.seconds / 60:.1f} min"
        yield f"device      {self.device}{many}; images {where}"
        yield f"precision   {self.precision}: {self.precision_because}"
        yield f"step        {self.batch} images{cut}, {way}: {self.captured_because}"
        yield f"ends        {self.ends}: {kimg:g} kimg planned{shown}"
        yield f"speed       {self.images_per_second:.0f} img/s, {self.seconds_per_step:.2g} s/step"
        yield f"time        {left} of steps, until {self.finishes_at} if it began now"
        yield f"memory      {self.memory_bytes / 1e9:.2f} GB a process"
        yield (
            f"disk        {self.disk_bytes / 1e9:.2g} GB of checkpoints at most, "
            f"{self.free_disk_bytes / 1e9:.0f} GB free"
        )
        yield f"cost        {self.cost_hours:.2g} {self.cost_of}-hours"
        if self.energy_wh is not None:
            yield f"energy      {self.energy_wh:.3g} Wh, GPU alone"


def forecast(layout: Layout, recipe: Recipe) -> Forecast:
    """Measure what the recipe's training would take from where it is; change nothing of it.

    Raises:
        DamagedError: The data are not prepared, or damaged.
        SourceError: Too few images for a batch.
        UsageError: The recipe asks for a device that is not there.
        GanmillError: Memory is too small.
    """
    begun = run_folder(layout, recipe) if layout.pin(recipe.name).exists() else None
    with TemporaryDirectory(prefix="ganmill-") as name:
        folder = Path(name)
        for kept in (THREADS, FIT, PLAN):
            if begun is not None and (begun / kept).exists():
                shutil.copy(begun / kept, folder / kept)
        # One process measures its part of the batch; the others would do the same beside it.
        team = Team(size=recipe.train.gpus)
        session = open_session(layout, recipe, folder, team, warm=False)
        if team.size > 1 and session.hardware.device.type == "cpu":  # as the launcher shares them
            torch.set_num_threads(max(1, torch.get_num_threads() // team.size))
        feed = Feed(session.data, session.train, session.room, recipe.train, session.z_dim)
        feed.place(session.hardware.device, team)
        fit = _fit(session, feed)
        trial = try_out(session, feed, parts=fit.parts, captures=fit.captures, seconds=_SECONDS)
        release(session.hardware.device)
        return _forecast(session, feed, fit, trial, begun)


def _fit(session: Session, feed: Feed) -> Fit:
    path, device = session.folder / FIT, device_name(session.hardware.device)
    if path.exists():
        kept = Fit(**read_json(path))
        if (kept.device, kept.processes) == (device, session.team.size):
            return kept
    return choose_fit(session, feed)


def _forecast(session: Session, feed: Feed, fit: Fit, trial: Trial, begun: Path | None) -> Forecast:
    spec, size = session.recipe.train, session.team.size
    on_gpu = session.hardware.device.type == "cuda"
    speed = trial.images_per_second * size
    kept = session.folder / PLAN
    planned = images_of(
        spec.budget, read_json(kept)["images_per_second"] if kept.exists() else speed
    )
    done, spent = _done(begun)
    seconds = max(0, planned - done) / speed
    if spec.budget.minutes is not None:
        seconds = min(seconds, max(0.0, 60 * spec.budget.minutes - spent))
    each = 1.0 if on_gpu else trial.processors
    watts = None if trial.watts is None else trial.watts * size
    patience = spec.budget.patience
    impatient = f", or {patience} measurements without a better fd" if patience else ""
    return Forecast(
        recipe=session.recipe.name,
        device=fit.device,
        processes=size,
        precision=session.hardware.precision,
        precision_because=_precision_because(session),
        images_resident=not feed.streams,
        batch=spec.batch_size,
        parts=fit.parts,
        captured=fit.captures and trial.failure is None,
        captured_because=fit.because,
        planned_images=planned,
        done_images=done,
        ends=f"{spec.budget.shown}{impatient}",
        seconds_per_step=trial.seconds,
        images_per_second=speed,
        seconds=seconds,
        finishes_at=(datetime.now().astimezone() + timedelta(seconds=seconds)).isoformat(
            timespec="minutes"
        ),
        memory_bytes=trial.peak_bytes,
        free_disk_bytes=shutil.disk_usage(session.layout.root).free,
        disk_bytes=_CHECKPOINTS * bytes_of(fresh_state(session)),
        cost_hours=seconds / 3600 * each * size,
        cost_of="GPU" if on_gpu else "processor",
        energy_wh=None if watts is None else watts * seconds / 3600,
    )


def _done(begun: Path | None) -> tuple[int, float]:
    """Return the images shown by a training that would be resumed, and its seconds so far."""
    saved = sorted(begun.glob("checkpoint-*.ckpt")) if begun is not None else []
    if begun is None or not saved:
        return 0, 0.0
    nimg = int(saved[-1].stem.rpartition("-")[2])
    rows = [row for row in read_stats(begun / STATS) if row["nimg"] <= nimg]
    return nimg, float(rows[-1]["seconds"]) if rows else 0.0


def _precision_because(session: Session) -> str:
    wanted, dtype = session.recipe.train.precision, session.hardware.dtype
    if wanted != "auto":
        return "as the recipe says"
    has = "multiplies" if dtype is torch.bfloat16 else "does not multiply"
    return f"the device {has} bfloat16 in hardware"
