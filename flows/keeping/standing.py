"""Which versions stay whatever their age, and why: by ledger, aliases and tags. Pure."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from flows import ledger, succession
from flows.ledger import Entry
from flows.registry import Version


def standing(
    versions: Sequence[Version],
    entries: list[Entry],
    recipe: str,
    home: Path,
    *,
    champion: int | None,
    challenger: int | None,
    best: str,
) -> dict[int, str]:
    """Return the versions of a recipe that stay, with the strongest reason of each.

    Args:
        versions: Those that are registered.
        entries: The ledger.
        recipe: Its name.
        home: The folder of the recipe's batches here.
        champion: By MLflow's alias.
        challenger: By MLflow's alias.
        best: Digest of the best champion so far, which the gate compares with.
    """
    found: dict[int, str] = {}
    for version in versions:
        if not version.digest:
            found[version.number] = "was not registered by ganmill"
        elif version.digest == best:
            found[version.number] = "was the best champion so far"
        elif batch := _elsewhere(version, home):
            found[version.number] = f"batch {batch} was made from it, outside this workspace"
    found |= {number: why for number, why in _by_ledger(entries, recipe) if number is not None}
    if challenger is not None:
        found[challenger] = "is challenger"
    last = succession.last_move(entries, recipe)
    serving = (champion, last.to_version if last else None)
    return found | {number: "is champion" for number in serving if number is not None}


def _by_ledger(entries: list[Entry], recipe: str) -> Iterator[tuple[int | None, str]]:
    for entry in succession.champions(entries, recipe):
        if not succession.refused(entries, recipe, entry.to_version or 0):
            yield entry.to_version, "was champion, and may be rolled back to"
    if asked := ledger.waiting(entries, recipe):
        yield asked.to_version, "waits for a person's word"
    if intent := ledger.open_intent(entries, recipe):
        yield intent.from_version, "a promotion is half done"
        yield intent.to_version, "a promotion is half done"


def _elsewhere(version: Version, home: Path) -> str:
    """Return a batch of a version whose folder this workspace cannot see, or ""."""
    for tag, folder in version.tags.items():
        if tag.startswith("batch.") and Path(folder).parent != home:
            return tag.removeprefix("batch.")
    return ""
