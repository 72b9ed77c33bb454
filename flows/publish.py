"""Let a batch out: verified, within the limits of its platforms, reviewed if asked for, once.

What went where is a line of `published.jsonl` in the batch's folder. Killed anywhere, the same call
finishes; called again for the same assets and target it has nothing to do.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, ValidationError

from flows import ledger
from flows.review.review import Review, find_review, reviewable, undecided
from gan.assets.manifest import BATCH, LOCK, PUBLISHED, REVIEW, Row, read_batch, verify
from gan.durable import append_line, drop_partials, run_lock, sha256
from gan.errors import ApprovalError, DamagedError, UsageError
from gan.paths import Layout
from gan.sections import CampaignSpec

if TYPE_CHECKING:
    from gan.assets.files import Marks
    from gan.marking.identity import Known


class Line(BaseModel):
    """One line of `published.jsonl`.

    Attributes:
        batch: Its id.
        batch_sha256: Of its `batch.json`.
        target: Where it went.
        form: In which form.
        selection: Digest of the assets that went.
        assets: How many.
        actor: Who published it.
        reviewer: Who reviewed it, or "".
        time_utc: When.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    batch: str
    batch_sha256: str
    target: str
    form: str
    selection: str
    assets: int
    actor: str
    reviewer: str
    time_utc: str


@dataclass(frozen=True)
class Published:
    """What was let out.

    Attributes:
        line: As `published.jsonl` has it.
        files: That lie at the target.
        rejected: Assets that a person kept back.
        already: Whether all of it was there before this call.
    """

    line: Line
    files: int
    rejected: int
    already: bool


def publish(
    layout: Layout, folder: Path, spec: CampaignSpec, *, actor: str, marks: "Marks | None" = None
) -> Published:
    """Put the assets of a batch where the campaign says.

    A person's rejections count whether or not the campaign asks for a review.

    Args:
        layout: The workspace; a sink that is a relative path lies below its root.
        folder: Of the batch.
        spec: The campaign: sink, form, review.
        actor: Who publishes.
        marks: Where the keys lie, for a pack's icon that must be made again; the workspace's own
            if not given.

    Raises:
        DamagedError: A file is missing, extra or altered, or another signed; nothing went out.
        GanmillError: A file or pack breaks a limit of its platform; nothing went out.
        ApprovalError: A person has yet to look, or looked at another state of the batch; or
            production of the recipe is on hold.
        UsageError: The campaign has no sink, or an impossible one; or no asset is left.
        ServiceError: The store does not answer.
        BusyError: The batch is being minted, reviewed or published right now.
    """
    from gan.assets.exports import export
    from gan.assets.files import Marks
    from gan.marking.identity import Signing, read_known

    if spec.sink is None:
        raise UsageError(
            f"params.yaml: assets.sink is not set, so {folder.name} goes nowhere. "
            "Name a folder or s3://bucket/folder there, or with: ganmill publish BATCH --to FOLDER"
        )
    target = _target(layout, spec.sink, folder.name)
    with _alone(folder):
        marks = marks or Marks(Signing(layout.signing))
        rows, review = _cleared(folder, spec, read_known(marks.signing))
        _require_production(layout, folder)
        done = export(folder, rows, spec.form, target, marks)
        line = Line(
            batch=folder.name,
            batch_sha256=sha256(folder / BATCH),
            target=done.target,
            form=done.form,
            selection=done.selection,
            assets=done.assets,
            actor=actor,
            reviewer=review.reviewer if review else "",
            time_utc=datetime.now(UTC).isoformat(timespec="seconds"),
        )
        known = _last(folder, line)
        if known is None:
            append_line(folder / PUBLISHED, line.model_dump_json())
    rejected = len(reviewable(folder)) - len(rows)
    return Published(known or line, done.files, rejected, done.already and known is not None)


def published(folder: Path) -> list[Line]:
    """Return where a batch went, oldest first; a line that a kill tore is left out."""
    path = folder / PUBLISHED
    lines = []
    for each in path.read_bytes().split(b"\n") if path.exists() else ():
        try:
            lines.append(Line.model_validate(json.loads(each)))
        except (ValueError, ValidationError):
            continue
    return lines


def _target(layout: Layout, sink: str, batch: str) -> str:
    """Return the publication's own folder or prefix below the sink."""
    if "://" in sink:
        return f"{sink.rstrip('/')}/{batch}"
    return str(layout.root / sink / batch)


def _require_production(layout: Layout, folder: Path) -> None:
    """Refuse while production is on hold: whoever held it meant what is minted, too."""
    name = read_batch(folder).recipe
    if held := ledger.production_hold(ledger.read(layout.ledger), name):
        raise ApprovalError(
            f"{folder}: production of {name} is on hold by {held.actor}: {held.reason}. Nothing "
            f'went out. Go on with: ganmill resume {name} --reason "..."'
        )


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    with run_lock(folder / LOCK, f"publishing {folder.name}"):
        drop_partials(folder, REVIEW)  # of a reviewer who was killed; it would count as extra
        yield


def _cleared(folder: Path, spec: CampaignSpec, known: "Known") -> tuple[list[Row], Review | None]:
    """Return the assets that may go out, and who said so; anything wrong with the batch blocks."""
    from gan.platforms import pack_problems

    if problems := verify(folder, known):
        raise DamagedError(f"{_first(folder, problems)} Nothing went out; mint the batch again.")
    if problems := pack_problems(folder):
        raise DamagedError(f"{_first(folder, problems)} Nothing went out.")
    rows, review = reviewable(folder), find_review(folder)
    if spec.review and (open_ones := undecided(rows, review)):
        raise ApprovalError(
            f"{folder}: {len(open_ones)} of {len(rows)} assets wait for a person's word, "
            f"{open_ones[0]} among them. Nothing went out; review the batch first."
        )
    decisions = review.decisions if review else {}
    return [row for row in rows if decisions.get(row.asset) != "reject"], review


def _first(folder: Path, problems: list[str]) -> str:
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    return f"{folder}: {problems[0]}{more}."


def _last(folder: Path, line: Line) -> Line | None:
    """Return the last line about a target, if it says the same: what it has told lies there."""
    there = next((each for each in reversed(published(folder)) if each.target == line.target), None)
    same = ("batch_sha256", "form", "selection")
    if there and all(getattr(there, name) == getattr(line, name) for name in same):
        return there
    return None
