"""Make files of candidates: the second half of minting, in jobs of up to 64 ordinals.

An accepted candidate is rendered for each platform, labelled, watermarked, encoded and, last of
all, signed; then the final bytes are held against the platform's limits and the watermark is read
back from them. Any other candidate becomes one picture to look at.
"""

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

from gan.assets.candidates import Done, read_drawn
from gan.assets.files import Marks, aside, aside_path, marked, written
from gan.assets.records import File, Row
from gan.assets.request import Names, Request
from gan.durable import read_sealed, sha256, write_atomically, write_sealed
from gan.errors import DamagedError
from gan.marking.credentials import Origin
from gan.marking.identity import Identity, open_identity
from gan.platforms import Platform, platform
from gan.screening.look import Look
from gan.sections import CampaignSpec

JOB = 64  # ordinals


@dataclass(frozen=True)
class Item:
    """A candidate whose verdict is settled.

    Attributes:
        asset: Its id.
        ordinal: Its place.
        class_: Name of its class.
        segment: The audience, or "".
        verdict: What became of it.
        reason: Why it is not for use, or "".
        like: What it is too near to, or "".
        paths: Of an accepted one: its file for each platform of the campaign, in that order.
    """

    asset: str
    ordinal: int
    class_: str
    segment: str
    verdict: str
    reason: str
    like: str
    paths: tuple[str, ...] = ()


@dataclass(frozen=True)
class Work:
    """What is the same for all assets of a batch.

    Attributes:
        folder: Of the batch.
        request: What was asked for.
        names: How it is called.
        bundle_digest: The model's files.
        marks: Where the keys lie.
    """

    folder: Path
    request: Request
    names: Names
    bundle_digest: str
    marks: Marks

    @property
    def spec(self) -> CampaignSpec:
        """The campaign."""
        return self.request.spec

    def origin(self, asset: str, ordinal: int, class_: str) -> Origin:
        """Return where an asset comes from, as its own file says it."""
        lineage = self.request.lineage
        return Origin(
            asset=asset,
            recipe=self.request.recipe,
            campaign=self.request.campaign,
            batch=self.names.batch_id,
            request=self.names.request_id,
            seed=self.spec.seed,
            ordinal=ordinal,
            class_=class_,
            model_digest=self.bundle_digest,
            model_version=lineage.get("model_version", ""),
            data_version=lineage.get("data_version", ""),
        )

    def platforms(self) -> list[Platform]:
        """Return what the assets are made for.

        Raises:
            UsageError: There is no platform of a name.
        """
        return [platform(name, self.spec.size_px) for name in self.spec.platforms]


@dataclass(frozen=True)
class FinishJob:
    """Consecutive candidates of one kept file to make files of.

    Attributes:
        work: What is the same for all.
        kept: Where `draw` kept them.
        key: Under which key.
        start: The first ordinal in there.
        room: The folder that the rows are kept in until the batch is complete.
        items: The candidates.
    """

    work: Work
    kept: Path
    key: str
    start: int
    room: Path
    items: tuple[Item, ...]

    @property
    def count(self) -> int:
        """How many candidates."""
        return len(self.items)

    @property
    def path(self) -> Path:
        """Where the rows are kept."""
        return self.room / f"{self.items[0].ordinal:08d}"


def finish(job: FinishJob) -> Done:
    """Write the files of a job's candidates, then their rows; whole ones stay as they are.

    Raises:
        GanmillError: A file breaks a limit of its platform, or the folder cannot be written.
        UsageError: A key or certificate cannot be used.
    """
    first, count = job.items[0].ordinal, job.count
    identity, key = open_identity(job.work.marks.signing), job.work.marks.key()
    seal = _seal(job, identity, key)
    if _is_there(job, seal):
        return Done(first, count, 0)
    drawn = read_drawn(job.kept, job.key)
    rows = []
    for item in job.items:
        place = item.ordinal - job.start
        image, look = drawn.images[place], drawn.looks[place]
        files = []
        origin = job.work.origin(item.asset, item.ordinal, item.class_)
        if item.verdict == "accepted":
            for path, to in zip(item.paths, job.work.platforms(), strict=True):
                payload = marked(image, to, job.work.spec, origin, identity, key)
                files.append(written(job.work.folder, path, payload, to, item.asset, key))
        else:
            payload = aside(image, job.work.spec, origin)
            write_atomically(job.work.folder / aside_path(item.asset), payload)
        rows.append(_row(job.work, item, look, files))
    lines = "".join(row.line() for row in rows)
    write_sealed(job.path, [f"{seal}\n".encode(), lines.encode()])
    return Done(first, count, count)


def read_finished(path: Path) -> list[Row]:
    """Return the rows that `finish` kept.

    Raises:
        DamagedError: They are missing, or not as they were written.
    """
    _, *lines = read_sealed(path).decode().split("\n")[:-1]
    return [Row.model_validate_json(line) for line in lines]


def _row(work: Work, item: Item, look: Look, files: list[File]) -> Row:
    request = work.request
    row = {
        "asset": item.asset,
        "ordinal": item.ordinal,
        "class": item.class_,
        "segment": item.segment,
        "seed": request.spec.seed,
        "recipe": request.recipe,
        "campaign": request.campaign,
        "request": work.names.request_id,
        "bundle_digest": work.bundle_digest,
        "verdict": item.verdict,
        "reason": item.reason,
        "like": item.like,
        "scores": asdict(look.scores),
        "phash": look.phash,
        "colour": look.colour.hex(),
        "pixels": look.pixels,
        "files": files,
    }
    for name in ("model_version", "mlflow_run", "flow_run", "data_version"):
        row[name] = request.lineage.get(name, "")
    return Row.model_validate(row)


def _seal(job: FinishJob, identity: Identity, key: bytes) -> str:
    """Return what the bytes of a job's files depend on, as a digest."""
    settled = [[item.ordinal, item.verdict, item.like, *item.paths] for item in job.items]
    made_of = [job.key, job.work.names.request_id, settled, identity.fingerprint]
    secret = hashlib.sha256(key).hexdigest()
    return hashlib.sha256(json.dumps([*made_of, secret]).encode()).hexdigest()


def _is_there(job: FinishJob, seal: str) -> bool:
    """Return whether the job was done: its rows are kept, and every file is as they say."""
    folder = job.work.folder
    try:
        if not read_sealed(job.path).startswith(seal.encode()):
            return False
        rows = read_finished(job.path)
        files = {file.path: file.sha256 for row in rows for file in row.files}
        if any(sha256(folder / path) != digest for path, digest in files.items()):
            return False
    except (DamagedError, OSError):
        return False
    aside_ones = [aside_path(item.asset) for item in job.items if not item.paths]
    return all((folder / path).is_file() for path in aside_ones)
