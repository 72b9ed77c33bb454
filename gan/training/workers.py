"""The elastic launcher as a child process, and the workers that it starts: none is left behind."""

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import psutil

from gan.training.guards import StopRequest

_LOOK_SECONDS = 0.2
_GRACE_SECONDS = 30.0  # to save and leave when asked; what then is left is killed
_PR_SET_PDEATHSIG = 1


class Workers:
    """Processes that train together, from their start to the end of the last of them."""

    def __init__(self, command: list[str], folder: Path, environment: dict[str, str]) -> None:
        """Take what starts the elastic launcher.

        Args:
            command: Its argument list.
            folder: Where it runs.
            environment: Of it and of the workers.
        """
        self._command, self._folder, self._environment = command, folder, environment
        self._known: set[psutil.Process] = set()
        self._asked: set[psutil.Process] = set()

    def run(self, stop: StopRequest) -> int:
        """Run them to their end, and return the launcher's exit status.

        When `stop` says so, each worker is asked to save and leave: the launcher itself would take
        that for a failure and say much about it.
        """
        launcher = subprocess.Popen(
            self._command,
            cwd=self._folder,
            env=self._environment,
            start_new_session=True,  # Ctrl-C reaches this process alone, which then asks them
            preexec_fn=_dying_with(os.getpid()),  # noqa: PLW1509  # no other thread runs yet
        )
        try:
            self._attend(launcher, stop)
            # Where the launcher was killed, they see it and leave by themselves, saving first.
            _wait(self._known, _GRACE_SECONDS)
        finally:
            launcher.kill()
            _kill(self._known)
        return launcher.wait()

    def _attend(self, launcher: "subprocess.Popen[bytes]", stop: StopRequest) -> None:
        """Wait for the launcher; pass a request to stop on, also to workers started after it."""
        until = float("inf")
        while launcher.poll() is None and time.monotonic() < until:
            self._known |= _children(launcher.pid)
            if stop.reason() is not None:
                until = min(until, time.monotonic() + _GRACE_SECONDS)
                for worker in self._known - self._asked:
                    _signal(worker, signal.SIGTERM)
                self._asked |= self._known
            time.sleep(_LOOK_SECONDS)


def _children(process: int) -> set[psutil.Process]:
    try:
        return set(psutil.Process(process).children())
    except psutil.NoSuchProcess:
        return set()


def _kill(processes: Iterable[psutil.Process]) -> None:
    for process in processes:
        _signal(process, signal.SIGKILL)
    _wait(processes, _GRACE_SECONDS)


def _wait(processes: Iterable[psutil.Process], seconds: float) -> None:
    end = time.monotonic() + seconds
    while any(_runs(process) for process in processes) and time.monotonic() < end:
        time.sleep(_LOOK_SECONDS)


def _runs(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _signal(process: psutil.Process, number: int) -> None:
    """Send a signal to that very process, if it still runs."""
    try:
        process.send_signal(number)
    except psutil.NoSuchProcess:
        return


def _dying_with(parent: int) -> Callable[[], None] | None:
    """Return what a new child calls so that it is told to end when `parent` dies, even by SIGKILL.

    Only Linux knows this. The launcher passes what it is told on to the workers.
    """
    if sys.platform != "linux":
        return None
    library = ctypes.CDLL(None)

    def ask() -> None:
        library.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:  # it died before we asked
            os.kill(os.getpid(), signal.SIGTERM)

    return ask
