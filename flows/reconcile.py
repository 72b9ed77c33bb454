"""The `reconcile` flow: close what died half done. Harmless at any time, and quick.

By hand, and every ten minutes by schedule: flow runs, and with them their slots in Prefect;
training runs in MLflow; promotions; requests that nobody answered; batches. The parts do not
depend on each other: what fails is told, and the others are done.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.settings import get_current_settings

from flows import approval, release, tracking
from flows.again import resubmit
from flows.asking import close_waiting
from flows.half_done import finish_batches, sweep
from flows.held import held, is_training
from flows.orphans import close_silent
from flows.schedules import due
from flows.schedules.missed import catch_up
from flows.schedules.slots import RECONCILING
from flows.settings import Settings, load_settings, workspace
from flows.story import Mill, lineage, log_to_run, say
from gan.errors import BusyError, GanmillError
from gan.paths import Layout
from gan.recipe import Recipe, load_recipes

FLOW_RUNS, WORKSPACE = "flow runs", "the workspace"
_BEAT_SECONDS = 30  # where a flow was told to give none
_log = logging.getLogger(__name__)


@flow(name="reconcile", validate_parameters=False)
def reconcile() -> dict[str, list[str]] | State[None]:
    """Close every half-done thing of the workspace, and submit a crashed retraining again, once.

    Returns:
        What was found: by recipe, and under `flow runs` and `the workspace`, a line for each thing.

    Raises:
        GanmillError: Parts of it failed, which the line names; all others were done.
        RecipeError: `params.yaml` holds something impossible.
    """
    layout, settings = workspace(), load_settings()
    if passed_over := due.instead(layout, RECONCILING):
        return passed_over
    beat = get_current_settings().flows.heartbeat_frequency or _BEAT_SECONDS
    return close_what_died(
        layout, settings, silence_seconds=4.0 * beat, look_again_seconds=1.5 * beat
    )


def close_what_died(
    layout: Layout,
    settings: Settings,
    *,
    silence_seconds: float,
    look_again_seconds: float,
) -> dict[str, list[str]]:
    """Do what `reconcile` does, by given limits.

    Args:
        layout: The workspace.
        settings: Where the servers are.
        silence_seconds: How long a flow run or a training must have been without a sign of life.
        look_again_seconds: How much longer, before a silent flow run is taken for dead.

    Raises:
        GanmillError: As `reconcile`.
    """
    recipes = load_recipes(layout.params)
    names, here = set(recipes), _Round()
    for name, recipe in recipes.items():
        here.do(name, "promotion", partial(_promotion, layout, settings, name))
        here.do(name, "approval", partial(_approval, layout, settings, recipe))
        here.do(name, "trainings", partial(_trainings, layout, settings, name, silence_seconds))
    here.do(
        FLOW_RUNS,
        "silent runs",
        partial(
            close_silent,
            layout,
            names,
            silence_seconds=silence_seconds,
            look_again_seconds=look_again_seconds,
        ),
    )
    here.do(FLOW_RUNS, "crashed retrainings", partial(resubmit, layout, names))
    here.do(FLOW_RUNS, "missed slots", partial(catch_up, layout, recipes))
    for name, recipe in recipes.items():  # last: a large batch takes its time
        mill = Mill(layout, settings, recipe, lineage(settings))
        here.do(name, "batches", partial(finish_batches, mill))
    here.do(WORKSPACE, "locks", partial(_locks, layout))
    here.do(WORKSPACE, "left files", partial(sweep, layout, names))
    here.end()
    return here.found


@dataclass
class _Round:
    """What one round found, and which of its parts failed.

    Attributes:
        found: Lines, by recipe or kind.
        failed: A line for each part that failed.
    """

    found: dict[str, list[str]] = field(default_factory=dict)
    failed: list[str] = field(default_factory=list)

    def do(self, group: str, part: str, work: Callable[[], list[str]]) -> None:
        """Do one part and tell what it found; its failure is told, and ends no other part."""
        lines = self.found.setdefault(group, [])
        try:
            new = work()
        except BusyError as error:  # somebody lives and is at it: nothing died here
            new = [str(error)]
        except Exception as error:  # noqa: BLE001  # the other parts are no less needed
            new = [f"{part} not done: {' '.join(str(error).split()) or type(error).__name__}"]
            self.failed.append(f"{group}: {new[0]}")
            _log.debug("%s: %s", group, part, exc_info=True)
        lines += new
        for line in new:
            say(f"  {group}: {line}")
            log_to_run(f"{group}: {line}")

    def end(self) -> None:
        """Say where nothing was found.

        Raises:
            GanmillError: A part failed.
        """
        for group in (group for group, lines in self.found.items() if not lines):
            say(f"  {group}: nothing to close")
        if self.failed:
            raise GanmillError(
                f"{'; '.join(self.failed)} (all other parts were done). "
                "Mend that, and run: ganmill reconcile"
            )


def _promotion(layout: Layout, settings: Settings, recipe: str) -> list[str]:
    """Complete or undo a promotion or rollback that was begun."""
    outcome = release.finish(layout, settings, recipe)
    return [] if outcome == "nothing" else [f"a half-done promotion was {outcome}"]


def _approval(layout: Layout, settings: Settings, recipe: Recipe) -> list[str]:
    """Put a request on hold that nobody answered in time, and close its form."""
    lapsed = approval.lapse(layout, recipe, datetime.now(UTC))
    if lapsed is None:
        return []
    close_waiting(settings, lapsed.evidence_digest, lapsed.reason)
    return [f"v{lapsed.to_version} is put off: {lapsed.reason}"]


def _trainings(layout: Layout, settings: Settings, recipe: str, seconds: float) -> list[str]:
    """End the open MLflow runs of a recipe that no process is at."""
    begun_ms = 1000 * (time.time() - seconds)
    open_runs = tracking.unfinished_runs(layout, settings, recipe)
    dead = [run for run in open_runs if run.start_ms < begun_ms]
    if not dead or is_training(layout, recipe):
        return []
    for run in dead:
        tracking.close_run(run, "KILLED")
    return [f"no process is at MLflow run {run.run_id}: ended as KILLED; the same training "
            "opens it again" for run in dead]  # fmt: skip


def _locks(layout: Layout) -> list[str]:
    """Name the locks that are held; the kernel frees those of the dead, and DVC's are dropped."""
    return [f"lock {name} is held by process {process}" for name, process in held(layout).items()]
