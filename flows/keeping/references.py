"""Whether the model versions that a database knows have their files in a backup.

Asked of the database itself, so that no server need run. A version's files are those that its
bundle's `SHA256SUMS` lists, and that list has the digest that the version was registered with.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from flows.keeping.databases import Database
from flows.keeping.manifest import ARTIFACTS, KeptFile
from gan.durable import SUMS

_BUNDLE = "data/bundle"  # below the folder of the model, see flows._pyfunc
_TABLES = (
    "SELECT v.name, v.version, v.source, t.value FROM model_versions v "
    "LEFT JOIN model_version_tags t "
    "ON t.name = v.name AND t.version = v.version AND t.key = 'bundle_digest' "
    "WHERE v.current_stage <> 'Deleted_Internal' ORDER BY v.name, v.version"
)


class Registered(NamedTuple):
    """A version as MLflow's database has it: `source` is where its model lies."""

    recipe: str
    number: int
    source: str
    digest: str


def registered(database: Database | None) -> list[Registered]:
    """Return the versions that a database of MLflow knows, those of all recipes.

    Raises:
        DamagedError, ServiceError: It is not sound, or does not answer.
    """
    if database is None or not database.is_there():
        return []
    return [
        Registered(name, int(number), source, digest)
        for name, number, source, digest in database.ask(_TABLES)
    ]


def lost_versions(
    folder: Path, known: list[Registered], files: Mapping[str, KeptFile]
) -> list[str]:
    """Return a line for each version whose files are not all among those of a backup.

    Args:
        folder: The backup, for the lists of files in it.
        known: The versions.
        files: Those of the backup, by path, copied or listed.
    """
    return [
        f"{each.recipe} v{each.number}: {what}"
        for each in known
        if (what := next(_lacking(folder, each, files), ""))
    ]


def _lacking(folder: Path, version: Registered, files: Mapping[str, KeptFile]) -> Iterator[str]:
    """Yield what is wrong with a version's files."""
    source = urlsplit(version.source)
    if source.scheme != "mlflow-artifacts":
        yield "its files are not in MLflow's own store of artifacts"
        return
    home = f"{ARTIFACTS}/{source.path.strip('/')}/{_BUNDLE}"
    listing = files.get(f"{home}/{SUMS}")
    if listing is None:
        yield f"its files are gone from {home}"
        return
    if listing.sha256 != version.digest:
        yield f"{home}/{SUMS} is not the list that was registered"
        return
    path = folder / home / SUMS
    for line in path.read_text().splitlines() if path.exists() else ():  # not where only listed
        digest, _, name = line.partition("  ")
        kept = files.get(f"{home}/{name}")
        if kept is None or kept.sha256 != digest:
            yield f"{home}/{name} is {'altered' if kept else 'gone'}"
