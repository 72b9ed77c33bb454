"""The folder that is kept of each gate decision: found by its digest, believed only when intact.

reports/<recipe>/gate/<candidate digest>-<evidence digest>/      twelve digits of each
    gate.json       evidence, limits, verdict; its SHA-256 is the evidence digest
    *.png           both models on the same latents, and real images
    canary/         the 16 assets that the candidate minted in a clean process
    index.html      all of it for people
"""

import hashlib
import json
import logging
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from flows.gate import decision
from flows.ledger import Entry
from gan.changes import explained, rename, sync
from gan.durable import write_json
from gan.errors import DamagedError, UsageError
from gan.paths import Layout
from gan.sections import GateSpec

RECORD, PAGE, CANARY = "gate.json", "index.html", "canary"
_DIGITS = 12
_DIGEST = re.compile(r"[0-9a-f]{64}")
_logger = logging.getLogger(__name__)


def read_record(record: Path) -> dict[str, Any]:
    """Return a decision's `gate.json`, which must be of the digest that its folder is named by.

    Raises:
        DamagedError: It is missing, malformed or altered, or its folder was renamed.
    """
    try:
        payload = record.read_bytes()
        document: dict[str, Any] = json.loads(payload)
        decision.verdict_of(document)
    except OSError as error:
        reason = error.strerror or str(error)
    except ValueError as error:
        reason = str(error)
    else:
        if record.parent.name == _name(document, hashlib.sha256(payload).hexdigest()):
            return document
        reason = "its bytes are not those that its folder is named by"
    raise DamagedError(f"{record}: is not as it was written ({reason}). Gate the version again.")


def find_record(layout: Layout, recipe: str, digest: str) -> Path:
    """Return the `gate.json` whose SHA-256 is `digest`.

    Raises:
        UsageError: There is none.
    """
    if _DIGEST.fullmatch(digest):
        for record in layout.gate(recipe).glob(f"*-{digest[:_DIGITS]}/{RECORD}"):
            if hashlib.sha256(record.read_bytes()).hexdigest() == digest:
                return record
    raise UsageError(
        f"{layout.gate(recipe)}: has no decision of evidence digest {digest[:_DIGITS] or '(none)'}."
        f" Judge the version again: ganmill gate {recipe} --version N"
    )


def find_decided(
    layout: Layout,
    recipe: str,
    gate: GateSpec,
    metric_id: str,
    digests: tuple[str, str | None],
) -> Path | None:
    """Return the newest intact decision on the same question, None when it is open.

    Args:
        layout: The workspace.
        recipe: Its recipe.
        gate: The limits of now.
        metric_id: How distances are measured now.
        digests: Of candidate and champion; None: there is no champion.
    """
    asked = (*digests, metric_id, gate.limits)
    found = []
    for record in layout.gate(recipe).glob(f"{digests[0][:_DIGITS]}-*/{RECORD}"):
        try:
            document = read_record(record)
        except DamagedError as error:
            _logger.warning("%s It is not used.", error)
            continue
        about = document["evidence"]
        answered = tuple(
            about.get(key) for key in ("candidate_digest", "champion_digest", "metric_id")
        )
        # What was unknown may be known by now, and what ended a clean process may have been the
        # machine: neither is remembered.
        canary = about.get("canary") or {}
        decided = decision.verdict_of(document).outcome != "unknown" and not canary.get("problem")
        if decided and (*answered, document["gate"]) == asked:
            found.append(record)
    return max(found, key=lambda record: record.stat().st_mtime_ns, default=None)


@contextmanager
def gathering_folder(layout: Layout, recipe: str, candidate_digest: str) -> Iterator[Path]:
    """Yield an empty folder to gather a decision in, and remove what is left of it at the end.

    What a killed process left half gathered is removed first; the caller is the only one at it.

    Raises:
        GanmillError: The folder cannot be written.
    """
    home = layout.gate(recipe)
    partial = home / f".{candidate_digest[:_DIGITS]}.partial"
    with explained(home, "written"):
        for folder in home.glob("*"):
            if folder.is_dir() and (folder.name.startswith(".") or not (folder / RECORD).exists()):
                shutil.rmtree(folder)
        partial.mkdir(parents=True)
    try:
        yield partial
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def anchor_of(layout: Layout, recipe: str, entries: list[Entry], champion_digest: str) -> str:
    """Return the digest of the best champion so far, as the champion's own decision names it.

    Where that decision is not to be had, the champion is the best that is known.
    """
    for entry in reversed(entries):
        if (entry.recipe, entry.event, entry.to_digest) == (recipe, "done", champion_digest):
            try:
                record = find_record(layout, recipe, entry.evidence_digest)
                return str(read_record(record)["anchor"])
            except (UsageError, DamagedError) as error:
                _logger.info("gate: %s champion is taken for the best so far: %s", recipe, error)
                break
    return champion_digest


def complete(partial: Path, document: dict[str, Any]) -> tuple[Path, str, bool]:
    """Seal what was gathered; return its `gate.json`, the digest, whether there was none like it.

    Raises:
        GanmillError: The folder cannot be written.
    """
    digest = write_json(partial / RECORD, document)
    folder = partial.with_name(_name(document, digest))
    with explained(folder, "written"):
        try:
            read_record(folder / RECORD)
        except DamagedError:
            shutil.rmtree(folder, ignore_errors=True)
            rename(partial, folder)
            sync(folder.parent)
            return folder / RECORD, digest, True
    return folder / RECORD, digest, False


def _name(document: dict[str, Any], digest: str) -> str:
    return f"{document['evidence']['candidate_digest'][:_DIGITS]}-{digest[:_DIGITS]}"
