"""Who was champion and who may be again, by the ledger alone. Pure: entries in, answers out."""

from flows.ledger import Entry, open_intent
from flows.registry import Version

MACHINE = "ganmill"  # the actor of what no person decided
LEDGER_DIGEST = "ledger_digest"


def last_move(entries: list[Entry], recipe: str) -> Entry | None:
    """Return the line that made the present champion what it is, None when there never was one."""
    for entry in reversed(entries):
        if entry.recipe == recipe and entry.event in {"done", "rollback"}:
            return entry
    return None


def champions(entries: list[Entry], recipe: str) -> list[Entry]:
    """Return the lines of the champions that one can go back through, the present one last.

    A promotion adds its version and a rollback takes off what came after its own, so that a second
    rollback goes further back, not forth again.
    """
    line: list[Entry] = []
    for entry in entries:
        if entry.recipe != recipe or entry.event not in {"done", "rollback"}:
            continue
        if entry.event == "rollback":
            while line and line[-1].to_version != entry.to_version:
                line.pop()
        if line and line[-1].to_version == entry.to_version:
            line.pop()
        line.append(entry)
    return line


def refused(entries: list[Entry], recipe: str, number: int) -> Entry | None:
    """Return the line that took a version out of the running, if nothing put it back since.

    That is a rollback from it, or a `reject` by a person; the gate's own refusals are judged again.
    """
    for entry in reversed(entries):
        if entry.recipe != recipe:
            continue
        if entry.event in {"done", "rollback"} and entry.to_version == number:
            return None
        if entry.event == "rollback" and entry.from_version == number:
            return entry
        if entry.event == "reject" and entry.to_version == number and entry.actor != MACHINE:
            return entry
    return None


def is_meant(version: Version, entry: Entry) -> bool:
    """Return whether a registered version is the very one that a line of the ledger is about."""
    return version.number == entry.to_version and version.digest == entry.to_digest


def disagreement(
    entries: list[Entry], recipe: str, champion: Version | None, there: set[int]
) -> str:
    """Return how alias and ledger came apart, and the command that mends it.

    Args:
        entries: The ledger, whose last move is not the alias.
        recipe: Its recipe.
        champion: The version that the alias points to.
        there: The numbers of the versions in the registry.
    """
    if intent := open_intent(entries, recipe):
        return (
            f"the promotion of v{intent.to_version} by {intent.actor} was begun and not ended. "
            f"Run: ganmill reconcile"
        )
    last = last_move(entries, recipe)
    back = f'ganmill rollback {recipe} --reason "..."'
    adopt = f'ganmill promote {recipe} --version {{}} --reason "..."'
    if champion:
        return _another(entries, last, champion, back, adopt.format(champion.number))
    number = last.to_version if last else None
    if number in there:
        return (
            f"v{number} is champion by the ledger, but MLflow's alias is gone, dropped by hand "
            f"outside ganmill. Put it back: {adopt.format(number)}"
        )
    return (
        f"v{number} is champion by the ledger but is gone from MLflow, deleted behind our back. "
        f"Go back to the one before: {back}"
    )


def _another(
    entries: list[Entry], last: Entry | None, champion: Version, back: str, adopt: str
) -> str:
    """Return why the alias is not what the last move made it; `back` and `adopt` are commands."""
    number = f"v{champion.number}"
    copy = champion.tags.get(LEDGER_DIGEST)
    if copy and copy not in {entry.digest for entry in entries}:
        return (
            f"{number} carries the digest of a ledger line that is not there: the ledger's end was "
            f"cut off. Put back a copy of the ledger, or have {number} gated anew: {adopt}"
        )
    if last is None:
        return (
            f"MLflow's alias names {number} champion, but the ledger has no word of it. "
            f"Have it gated: {adopt}"
        )
    if champion.number != last.to_version:
        return (
            f"v{last.to_version} is champion by the ledger, but the alias was moved by hand to "
            f"{number}, outside ganmill. Put it back: {back}; or have {number} gated: {adopt}"
        )
    return (
        f"{number} is of bundle {champion.digest[:12] or '(none)'} in MLflow, but the ledger made "
        f"{last.to_digest[:12]} champion: another bundle digest. Go back to the one before: {back}"
    )
