"""What an ingest found that the one before it had not: added, changed, relabelled, gone."""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import pandas as pd

from gan.image.shards import Entry

CHANGES = "changes.json"
_EXAMPLES = 20


@dataclass(frozen=True)
class Named:
    """How many images, and the keys of the first 20."""

    count: int
    examples: list[str]


@dataclass(frozen=True)
class Changes:
    """The images of two ingests, by key.

    Attributes:
        added: New keys.
        changed: Keys whose bytes are others now.
        relabelled: Keys of the same bytes whose label, group or conditions are others now.
        gone: Keys that are no more.
    """

    added: Named
    changed: Named
    relabelled: Named
    gone: Named

    @property
    def any(self) -> bool:
        """Whether there is a difference."""
        return any(getattr(self, field.name).count for field in fields(self))

    def document(self) -> dict[str, dict[str, int | list[str]]]:
        """Return the content of `changes.json`."""
        named = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: {"count": n.count, "examples": n.examples} for name, n in named.items()}

    def __str__(self) -> str:
        """Return it in a few words, "" without a difference."""
        counts = {field.name: getattr(self, field.name).count for field in fields(self)}
        return ", ".join(f"{count} {name}" for name, count in counts.items() if count)


def compare(before: pd.DataFrame, entries: Sequence[Entry]) -> Changes:
    """Compare an earlier index with the entries of a new one."""
    names = [name for name in Entry._fields if name != "key"]
    columns = (before[name].tolist() for name in names)
    old = dict(zip(before["key"].tolist(), zip(*columns, strict=True), strict=True))
    digest_at = names.index("sha256")
    added, changed, relabelled = [], [], []
    for entry in sorted(entries):
        earlier = old.pop(entry.key, None)
        if earlier is None:
            added.append(entry.key)
        elif earlier[digest_at] != entry.sha256:
            changed.append(entry.key)
        elif earlier != entry[1:]:
            relabelled.append(entry.key)
    return Changes(_named(added), _named(changed), _named(relabelled), _named(sorted(old)))


def _named(keys: list[str]) -> Named:
    return Named(len(keys), keys[:_EXAMPLES])
