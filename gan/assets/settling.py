"""Settle what becomes of each candidate, one after the other: quota, near duplicates, verdict.

What a look found counts first. A candidate that passed is `spare` when its cell of the request is
full already; if not, it is held against every accepted asset of the batches before and of this one.
"""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from gan.assets.manifest import MANIFEST, Past
from gan.assets.quota import Cell, plan
from gan.errors import DamagedError
from gan.screening.look import Look
from gan.screening.seen import Seen


class Settled(NamedTuple):
    """What became of a candidate.

    Attributes:
        cell: What it was drawn for.
        verdict: As in the manifest.
        reason: Why it is not for use, or "".
        like: What it is too near to, or "".
    """

    cell: Cell
    verdict: str
    reason: str
    like: str


class Settling:
    """The candidates of a request so far, in the order of their ordinals."""

    def __init__(self, asked: Sequence[Cell], most: int, near_distance: int) -> None:
        """Begin with none.

        Args:
            asked: The cells of the request.
            most: Candidates that its budget allows.
            near_distance: Bits by which the hashes of near duplicates differ at most; 0 for none.
        """
        self.settled: list[Settled] = []
        self.asked = asked
        self._most = most
        self._made = [0] * len(asked)
        self._passed = [0] * len(asked)
        self._seen = Seen(near_distance)
        self._past: dict[str, str] = {}  # asset to its batch

    def remember(self, folder: Path, past: Past) -> None:
        """Hold candidates against the accepted assets of an earlier batch too.

        Raises:
            DamagedError: It is not there, or not as it was when this batch was begun.
        """
        path = folder / MANIFEST
        try:
            payload = path.read_bytes()
        except OSError as error:
            raise DamagedError(_gone(path, str(error.strerror or error))) from error
        if hashlib.sha256(payload).hexdigest() != past.manifest_sha256:
            raise DamagedError(_gone(path, "it was changed"))
        for line in payload.split(b"\n")[:-1]:  # three of its values; models would take seconds
            row = json.loads(line)
            if row["verdict"] == "accepted":
                self._seen.add(row["asset"], row["phash"], bytes.fromhex(row["colour"]))
                self._past[row["asset"]] = past.batch

    def next_round(self) -> list[int]:
        """Return the number of the cell of each candidate to draw next; empty: nothing to do."""
        return plan(self.asked, self._made, self._passed, self._most - len(self.settled))

    def settle(self, asset: str, cell: int, look: Look) -> None:
        """Settle the next candidate, which was drawn for the cell with this number."""
        settled = self._judge(cell, look)
        self._made[cell] += 1
        if settled.verdict == "accepted":
            self._passed[cell] += 1
            self._seen.add(asset, look.phash, look.colour)
        self.settled.append(settled)

    def _judge(self, number: int, look: Look) -> Settled:
        cell = self.asked[number]
        if look.verdict != "accepted":
            return Settled(cell, look.verdict, look.reason, look.like)
        if self._passed[number] >= cell.wanted:
            return Settled(cell, "spare", "It passed, but there were enough of its kind.", "")
        like = self._seen.like(look.phash, look.colour)
        if like is None:
            return Settled(cell, "accepted", "", "")
        if batch := self._past.get(like):
            reason = f"It looks like asset {like} of batch {batch}."
            return Settled(cell, "near_past", reason, like)
        return Settled(cell, "near_batch", f"It looks like asset {like} of this batch.", like)


def _gone(path: Path, why: str) -> str:
    return (
        f"{path}: cannot be compared with ({why}). This batch was begun when it was there; "
        "bring it back, or delete the folder of the new batch and mint it again."
    )
