"""Canaries: candidate and champion each mint sixteen assets in a clean process, and are timed.

A bundle that cannot be loaded, minted from or timed is a finding about it, never an exception.
"""

import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Annotated, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from flows.gate.decision import Canary
from gan.durable import SUMS, sha256
from gan.paths import Layout
from gan.recipe import Recipe

# What a program needs to run at all; no address and no secret is among it.
_PASSED_ON = ("PATH", "HOME", "LANG", "PYTHONPATH", "OMP_NUM_THREADS", "TMPDIR")
_START_SECONDS, _ROUND_SECONDS, _END_SECONDS = 300.0, 60.0, 5.0
_ROUNDS = 8  # after one that warms up
_LINE_BYTES = 1 << 20
_WORDS = 300

_Measured = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class _Answer(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class _Report(_Answer):
    bundle_digest: str
    count: int
    accepted: int
    files: dict[str, str]
    memory_mb: _Measured


class _Timing(_Answer):
    seconds_per_image: _Measured


_AnAnswer = TypeVar("_AnAnswer", bound=_Answer)


class _SilencedError(Exception):
    """A canary ended, hangs, or says what is no answer; the message is the one line about it."""


def measure(
    layout: Layout, recipe: Recipe, candidate: Path, champion: Path | None, out: Path
) -> tuple[Canary, Canary | None]:
    """Mint the canaries of two bundles, and time both in turns, so that a busy machine is fair.

    Args:
        layout: The workspace that the processes run in.
        recipe: Says how large the assets are.
        candidate: Its bundle's folder.
        champion: That of the champion, None when there is none.
        out: Becomes the folder of the candidate's assets: 16 PNGs and what any batch has.

    Returns:
        Both findings; `problem` in one says in a line why its bundle could not be loaded, minted
        from or timed.
    """
    with tempfile.TemporaryDirectory(prefix="ganmill-canary-") as room, ExitStack() as ended:
        runs = [ended.enter_context(_started(layout, recipe, candidate, out))]
        if champion is not None:
            runs.append(
                ended.enter_context(_started(layout, recipe, champion, Path(room) / "canary"))
            )
        for _ in range(1 + _ROUNDS):
            for run in runs:
                run.time()
        found = [run.finding() for run in runs]
    return found[0], found[1] if champion is not None else None


def deviation(layout: Layout, recipe: Recipe, bundle: Path, kept: Path) -> float | None:
    """Mint a bundle's canary again, here and now, and compare it with the kept one.

    Args:
        layout: The workspace; relative folders are in it.
        recipe: The product line.
        bundle: The folder of the bundle in use.
        kept: The folder that `measure` filled when the bundle was judged.

    Returns:
        The mean absolute difference in levels of 255; None when no canary of it was kept there.

    Raises:
        DamagedError: The bundle, or what was kept, is not as it was written.
        DivergedError: The bundle makes images that are not finite.
    """
    from gan.assets.canary import deviation as compare
    from gan.bundle import open_bundle

    return compare(open_bundle(layout.root / bundle), recipe.name, layout.root / kept)


@contextmanager
def _started(layout: Layout, recipe: Recipe, bundle: Path, out: Path) -> Iterator["_Run"]:
    """Start the canary of a bundle, wait for its report, and end it with all it started."""
    command = [sys.executable, "-m", "gan", "canary", str(bundle.absolute())]
    command += ["--out", str(out.absolute()), "--recipe", recipe.name]
    with (
        tempfile.TemporaryFile() as words,
        subprocess.Popen(  # an argument list, no shell
            command,
            cwd=layout.root,
            env={name: os.environ[name] for name in _PASSED_ON if name in os.environ},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=words,
            bufsize=0,
            start_new_session=True,
        ) as process,
    ):
        try:
            run = _Run(bundle, _Child(process, words))
            run.begin()
            yield run
        finally:
            _end(process)


@dataclass
class _Run:
    """The canary of one bundle: what it reported, its best time, and what went wrong."""

    bundle: Path
    child: "_Child"
    report: _Report | None = None
    best: float = float("inf")
    problem: str = ""

    def begin(self) -> None:
        """Wait for the report."""
        try:
            self.report = self.child.answer(_Report, _START_SECONDS)
        except _SilencedError as error:
            self._give_up(error)

    def time(self) -> None:
        """Have it time its generator once, unless something went wrong before."""
        if self.problem:
            return
        try:
            self.child.ask()
            self.best = min(self.best, self.child.answer(_Timing, _ROUND_SECONDS).seconds_per_image)
        except _SilencedError as error:
            self._give_up(error)

    def finding(self) -> Canary:
        """Return what was found."""
        if self.report is None or self.problem:
            listing = self.bundle / SUMS
            digest = sha256(listing) if listing.is_file() else ""
            return Canary(digest, 0.0, 0.0, 0, 0, {}, self.problem)
        report = self.report
        return Canary(
            bundle_digest=report.bundle_digest,
            seconds_per_image=self.best,
            memory_mb=report.memory_mb,
            count=report.count,
            accepted=report.accepted,
            files=report.files,
        )

    def _give_up(self, error: _SilencedError) -> None:
        self.problem = str(error)
        _end(self.child.process)


@dataclass
class _Child:
    """A process that answers in lines of JSON; `words` is the file that its stderr goes to."""

    process: "subprocess.Popen[bytes]"
    words: IO[bytes]
    received: bytes = b""

    def ask(self) -> None:
        """Ask for one measurement; that nobody listens is found when the answer is read."""
        assert self.process.stdin is not None
        with suppress(OSError):
            self.process.stdin.write(b"go\n")

    def answer(self, kind: type[_AnAnswer], seconds: float) -> _AnAnswer:
        """Return the next answer.

        Raises:
            _SilencedError: It did not come in time, the process ended, or it is none.
        """
        line = self._line(time.monotonic() + seconds, seconds)
        try:
            return kind.model_validate_json(line)
        except ValidationError as error:
            said = line[:60].decode(errors="replace")
            raise _SilencedError(f"the canary answered {said!r}, which is no answer.") from error

    def _line(self, deadline: float, seconds: float) -> bytes:
        assert self.process.stdout is not None
        while b"\n" not in self.received and len(self.received) < _LINE_BYTES:
            left = max(0.0, deadline - time.monotonic())
            if not select.select([self.process.stdout], [], [], left)[0]:
                raise _SilencedError(f"the canary did not answer within {seconds:g} s.")
            if not (some := os.read(self.process.stdout.fileno(), _LINE_BYTES)):
                raise _SilencedError(self._last_words())
            self.received += some
        line, _, self.received = self.received.partition(b"\n")
        return line

    def _last_words(self) -> str:
        with suppress(subprocess.TimeoutExpired):  # it closed stdout, so it is about to end
            self.process.wait(_END_SECONDS)
        self.words.seek(0)
        lines = [each.strip() for each in self.words.read().decode(errors="replace").splitlines()]
        said = next((each for each in reversed(lines) if each), "it said nothing")
        return f"the canary ended with {self.process.poll()}: {said}"[:_WORDS]


def _end(process: "subprocess.Popen[bytes]") -> None:
    """Close a process's stdin, which ends it; kill it with all it started if that does not."""
    assert process.stdin is not None
    with suppress(OSError):
        process.stdin.close()
    try:
        process.wait(_END_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
