"""The first champion: the bundle that comes with the code, gated like any other."""

from flows import deciding, release
from flows.gate import judging
from flows.registry import Version
from flows.story import Mill, shown
from flows.training import adopt_shipped


def adopt(mill: Mill) -> tuple[str, str, bool]:
    """Make the shipped bundle the first champion, if there is none and it passes the floor.

    Returns:
        One word for what became of it, a note, and whether it waits for a person: then there is
        nothing more to do.
    """
    layout, settings, recipe = mill.layout, mill.settings, mill.recipe
    release.finish(layout, settings, recipe.name)
    champion = release.serving(layout, settings, recipe.name)
    shipped = layout.shipped_bundle(recipe.name)
    if champion is not None:
        return "unchanged", f"v{champion.number} is champion", False
    if not shipped.is_dir():
        note = "no champion yet and none shipped; the first model starts from scratch"
        return "skipped", note, False
    report = judging.measure(layout, recipe, shipped)
    version = adopt_shipped(mill, report, report["bundle_digest"])
    if said := refusal(mill, version):
        return "held", said, False
    judged = deciding.decide(layout, settings, recipe, version, None)
    if judged.verdict.outcome != "pass":
        return "refused", judged.verdict.summary, False
    if deciding.needs_person(recipe.gate, None):
        return "waiting", deciding.ask(layout, settings, recipe, version, None, judged), True
    reason = f"shipped with the code; {judged.verdict.deciding}"
    deciding.promote(
        layout,
        settings,
        version,
        None,
        judged,
        actor="ganmill",
        reason=reason,
        wants_batch=False,  # the last step mints, from this one or from its successor
    )
    return "promoted", f"v{version.number} (shipped) is champion; {shown(judged.page)}", False


def refusal(mill: Mill, version: Version) -> str:
    """Return how a person spoke against a version, or ""."""
    entry = release.refused(mill.layout, mill.recipe.name, version.number)
    if entry is None:
        return ""
    did = "rejected" if entry.event == "reject" else "rolled back"
    return f"v{version.number} was {did} by {entry.actor} ({entry.reason}); promote it by hand"
