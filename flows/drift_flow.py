"""The `drift` flow: bring the images in, and tell whether they are still like the champion's.

    refresh | ingest validate prepare | record push drift

Nothing is trained here; where the rule strikes, an event says so, and starts a retraining if the
recipe wants one (`flows.schedules.deploy`).
"""

from contextlib import ExitStack

from prefect import flow
from prefect.artifacts import create_markdown_artifact
from prefect.client.schemas.objects import State

from flows.drift import checking
from flows.drift.findings import Drift
from flows.orphans import close_orphans
from flows.page_style import plain
from flows.schedules import due
from flows.schedules.slots import timing_of
from flows.settings import load_settings, workspace
from flows.steps import Done, bring_in, push, run
from flows.story import Mill, Story, artifact_key, lineage, log_to_run, say
from gan.durable import run_lock
from gan.errors import BusyError
from gan.recipe import load_recipe


@flow(name="drift", flow_run_name="drift-{recipe}", validate_parameters=False)
def drift(recipe: str) -> Drift | State[None] | None:
    """Compare a recipe's images of now with those that its champion was trained on.

    Args:
        recipe: Its name.

    Returns:
        What was found; None while a retraining is under way, which looks at drift itself.

    Raises:
        ContractError: The images do not meet the data contract, or the rule struck and the recipe
            says `stop`.
        GanmillError: A step failed.
    """
    layout, settings = workspace(), load_settings()
    loaded = load_recipe(layout.params, recipe)
    if passed_over := due.instead(layout, timing_of(loaded, "drift")):
        return passed_over
    mill = Mill(layout, settings, loaded, lineage(settings))
    story, found = Story(recipe), []

    def compare() -> Done:
        found.append(checking.check(mill))
        return found[0].outcome, checking.note(found[0]), None

    with ExitStack() as held:
        try:
            held.enter_context(run_lock(layout.lock(f"retrain-{recipe}"), f"drift of {recipe}"))
        except BusyError as busy:
            say(f"  {busy} A retraining looks at drift itself.")
            return None
        close_orphans("drift", recipe)
        bring_in(mill, story)
        run(story, "push", lambda: push(mill))
        run(story, "drift", compare)
    # Past the lock: the retraining that the telling may start takes it.
    struck = checking.conclude(mill, found[0], wants_retrain=True)
    _show(found[0], struck)
    checking.require_leave(mill, found[0], struck)
    return found[0]


def _show(found: Drift, struck: str) -> None:
    """Show the outcome on the run's page."""
    lines = [f"# {found.recipe}: {found.outcome}", plain(found.says)]
    lines += [f"- {plain(reason)}" for reason in found.reasons]
    lines += [plain(struck)] if struck else []
    lines += [f"Page: `{found.page}`"]
    create_markdown_artifact(
        "\n\n".join(lines), key=artifact_key(found.recipe, "drift"), description=found.says
    )
    if struck:
        log_to_run(f"{found.recipe}: {struck}")
