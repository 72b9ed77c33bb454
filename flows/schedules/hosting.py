"""How a machine's worker starts runs, ends them, and outlives a server that is away.

Each run is a process of its own (`start`). Retrainings take hours and the whole machine, so at most
GANMILL_TRAININGS of them go on here at once; the others wait in their queue, and hold nothing
meanwhile.

Stopped, once, by SIGTERM or SIGINT, the worker takes no more runs and ends those that it has: a
training leaves its checkpoint, and `reconcile` submits it again. Killed, what it runs goes on to
its end; the next worker of the machine hears when such a run is cancelled.
Prefect being away costs what was due in the meantime, which is late then; what runs goes on.
"""

import asyncio
import signal
import sys
from abc import ABC
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import psutil
from httpx import HTTPError
from prefect import flow, get_client
from prefect.exceptions import ObjectNotFound, PrefectException
from prefect.workers import process
from prefect.workers.process import ProcessWorker

from flows.orphans import end_cancelled
from flows.schedules.plans import TRAIN_POOL
from flows.settings import Settings
from gan.errors import ServiceError
from gan.paths import Layout

if TYPE_CHECKING:
    from prefect import Flow
    from prefect.client.schemas.objects import FlowRun

_OTHERS_AT_ONCE = 4
# Prefect ends a run that is cancelled at once; where the server was away, it may not hear.
_HEARD_SECONDS = {False: 10.0, True: 3.0}
_POLL_SECONDS, _BEAT_SECONDS, _AGAIN_SECONDS = 5.0, 30.0, 10.0
# `ganmill down` asks again after 10 s and kills after 20 s: by then nothing of ours may be left.
_LEAVE_SECONDS, _REPORT_SECONDS, _LOOK_SECONDS = 12.0, 5.0, 0.2
_AWAY = (OSError, HTTPError, PrefectException, RuntimeError, ServiceError)


@flow(name="ended")
def _ended() -> None:
    """Stand for a flow whose run ended."""


async def _without_hooks(flow_run: "FlowRun") -> "Flow[[], None]":
    del flow_run
    return _ended


# To look for the hooks of a run that was cancelled or died, Prefect would import its flow here, for
# seconds and for good. Ours have none.
process.load_flow_from_flow_run = _without_hooks  # type: ignore[attr-defined,assignment]  # ours


class Worker(ProcessWorker, ABC):  # ABC: else Prefect would take it for all pools of this type
    """Prefect's worker of processes, which a server that goes away does not end."""

    async def _submit_run(self, flow_run: "FlowRun") -> None:
        """Start a run; one that the server could not be asked about waits to be found again."""
        try:
            await super()._submit_run(flow_run)
        except _AWAY as error:
            self._release_limit_slot(flow_run.id)
            self._submitting_flow_run_ids.discard(flow_run.id)
            _say(f"{flow_run.name} is not started now: {_line(error)}")


@dataclass
class Host:
    """A process that works for one pool or more.

    Attributes:
        layout: The workspace.
        settings: Where Prefect is, and how many trainings go on at once.
        pools: The names of the pools.
        name: By which Prefect knows its workers.
        follows: Whether it keeps the deployments those of `params.yaml`.
    """

    layout: Layout
    settings: Settings
    pools: tuple[str, ...]
    name: str
    follows: bool
    _is_stopped: bool = False  # by a signal
    _was_away: bool = False  # the server, since the present workers began
    # The present workers are to end: for good, or to be followed by new ones.
    _over: asyncio.Event = field(default_factory=asyncio.Event)

    async def serve(self) -> None:
        """Work until stopped; a server that is away for long, or new, is met again."""
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, self._stop)
        deployed = self._written()  # by whoever started this
        while not self._is_stopped:
            self._over.clear()
            self._was_away = False
            serving = asyncio.create_task(self._serve_once(deployed))
            deployed = 0  # a server that was away may be a new one
            over = asyncio.create_task(self._over.wait())
            await asyncio.wait({serving, over}, return_when=asyncio.FIRST_COMPLETED)
            if self._is_stopped:
                await self._leave(serving)
                break
            try:
                await serving
            except* _AWAY as problems:
                _say(f"Prefect does not answer; trying again: {_line(problems)}")
                await self._pause(_AGAIN_SECONDS)
        _say("stopped")

    def _stop(self) -> None:
        self._is_stopped = True
        self._over.set()

    async def _leave(self, serving: "asyncio.Task[None]") -> None:
        """End what runs, and let the workers tell the server of it, within seconds."""
        loop, asked = asyncio.get_running_loop(), set[int]()
        last = loop.time() + _LEAVE_SECONDS
        while not serving.done() and loop.time() < last + _REPORT_SECONDS:
            for child in psutil.Process().children():
                with suppress(psutil.NoSuchProcess):
                    if loop.time() > last:
                        child.kill()
                    elif child.pid not in asked:
                        child.terminate()
                        asked.add(child.pid)
            await asyncio.wait({serving}, timeout=_LOOK_SECONDS)
        serving.cancel()
        await asyncio.wait({serving}, timeout=_LOOK_SECONDS)

    async def _serve_once(self, deployed: int) -> None:
        """Work until it is over: stopped, or the server was away and is back, and nothing runs.

        Prefect's workers give up hearing of cancellations after seconds without an answer, for
        good; new ones hear again.

        Args:
            deployed: When the `params.yaml` was written that the server has, in ns; 0 never.
        """
        async with asyncio.TaskGroup() as group:
            for pool in await self._ours():
                group.create_task(self._work(pool))
            group.create_task(self._heed_cancelling())
            if self.follows:
                group.create_task(self._follow(deployed))

    async def _ours(self) -> list[str]:
        """Return the pools that are for processes; one of another type has workers of its own."""
        ours = []
        async with get_client() as client:
            for pool in self.pools:
                try:
                    kind = (await client.read_work_pool(pool)).type
                except ObjectNotFound:  # the worker makes it
                    kind = ProcessWorker.type
                if kind == ProcessWorker.type:
                    ours.append(pool)
                else:
                    _say(f"work pool {pool} is of type {kind}: its own workers run it, not this")
        return ours

    async def _work(self, pool: str) -> None:
        """Start what is due in one pool, until it is over; then wait for the ends of its runs."""
        limit = self.settings.trainings if pool == TRAIN_POOL else _OTHERS_AT_ONCE
        loop = asyncio.get_running_loop()
        async with Worker(work_pool_name=pool, name=self.name, limit=limit) as worker:
            _say(f"works for {pool}, {limit} at once")
            beat = loop.time()
            while not self._over.is_set():
                await self._ask(worker.get_and_submit_flow_runs)
                if loop.time() > beat + _BEAT_SECONDS:
                    await self._ask(worker.sync_with_backend)
                    beat = loop.time()
                await self._pause(_POLL_SECONDS)

    async def _ask(self, work: Callable[[], Awaitable[object]]) -> None:
        """Do what asks the server; note when it was away, and when it is back."""
        try:
            await work()
        except _AWAY as error:
            if not self._was_away:
                _say(f"Prefect does not answer; trying again: {_line(error)}")
            self._was_away = True
        else:
            if self._was_away and not psutil.Process().children():
                self._over.set()

    async def _heed_cancelling(self) -> None:
        """End the runs of this machine that are to be cancelled and do not hear of it."""
        while not self._over.is_set():
            with suppress(*_AWAY):  # said where runs are asked for
                patience = _HEARD_SECONDS[self._was_away]
                for line in await asyncio.to_thread(end_cancelled, patience_seconds=patience):
                    _say(line)
            await self._pause(_POLL_SECONDS)

    async def _follow(self, deployed: int) -> None:
        """Deploy whenever `params.yaml` was written; a mistake in it is said once."""
        while not self._over.is_set():
            if (now := self._written()) != deployed:
                status, says = await _deploy()
                _say(says)
                # Its mistakes are mended by writing it, an absence of the server by waiting.
                deployed = deployed if status == ServiceError.exit_code else now
            await self._pause(_POLL_SECONDS)

    def _written(self) -> int:
        """Return when `params.yaml` was last written, in ns; 0 if it is not there now."""
        with suppress(FileNotFoundError):
            return self.layout.params.stat().st_mtime_ns
        return 0

    async def _pause(self, seconds: float) -> None:
        """Wait, but not longer than until it is over."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._over.wait(), seconds)


async def _deploy() -> tuple[int, str]:
    """Deploy in a process of its own; return its exit status and its last line.

    It imports the flows with all that they import, which would stay in this one for good.
    """
    command = (sys.executable, "-m", "flows.schedules.deploy")
    deploying = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.PIPE)
    _, words = await deploying.communicate()
    *_, last = words.decode(errors="replace").strip().split("\n")
    done = deploying.returncode == 0
    return deploying.returncode or 0, last if done else f"the schedules stay as they are: {last}"


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _line(problem: BaseException) -> str:
    """Return the first line of the first real error in a group."""
    while isinstance(problem, BaseExceptionGroup):
        problem = problem.exceptions[0]
    return f"{type(problem).__name__}: {problem}".split("\n", 1)[0]
