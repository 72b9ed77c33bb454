"""The part of the data report that tells what ingest left out, or took in although it is odd."""

from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

from gan.durable import read_json
from gan.image.facts import REASONS
from gan.image.sources import SKIPPED

# What ingest leaves out, and what it takes in all the same, by names and tables alone.
_AT_INGEST = {
    "ACTIVE_CONTENT": "an SVG, which can hold scripts",
    "CLASS_EMPTY": "a class folder without an image",
    "EXTENSION_MISMATCH": "named as another format than it is",
    "EXTENSION_NOT_ALLOWED": "not named as an image",
    "FILE_TOO_LARGE": "a file over 64 MiB",
    "LABELS_INVALID": "a row of labels.csv about no image that is here",
    "LABEL_MISSING": "without a label in the table",
    "LINK_IN_ARCHIVE": "a link, which is never followed",
    "NAME_COLLISION": "a name that differs from another only in case or form",
    "NAME_TOO_LONG": "a name longer than systems take",
    "NESTED_ARCHIVE": "an archive inside; unpack it",
    "NO_IMAGE_COLUMN": "a table without a column of images",
    "REMOVED": "removed for good, with a reason in params.yaml",
    "SPECIAL_FILE": "a device, pipe or socket",
    "UNSAFE_MODE": "a file that could be run as a program",
    "UNSAFE_NAME": "a name with control characters",
}


def left_out(raw: Path) -> str:
    """Return what ingest left out or noticed by name and size, as HTML; "" without any."""
    path = raw / SKIPPED
    report: dict[str, Any] = read_json(path) if path.exists() else {}
    skipped = _reasons(report.get("skipped", {}))
    if clutter := report.get("clutter", 0):
        skipped += (
            f"<tr><td class=number>{clutter:,}</td><td colspan=2>notes, tables and "
            "hidden files, no images</td></tr>"
        )
    tables = (
        ("Left out of the source by ingest", skipped),
        ("Taken in by ingest, but odd", _reasons(report.get("noted", {}))),
    )
    return "".join(
        f"<h2>{title}</h2><div class=card><table>{rows}</table></div>"
        for title, rows in tables
        if rows
    )


def _reasons(reasons: Mapping[str, Any]) -> str:
    return "".join(
        f"<tr><td class=number>{entry['count']:,}</td><td>"
        f"{escape(_AT_INGEST.get(reason, REASONS.get(reason, '')))} "
        f"<span class=quiet>({escape(reason)})</span></td>"
        f"<td class=quiet>{escape(', '.join(entry['examples']))}</td></tr>"
        for reason, entry in sorted(reasons.items())
    )
