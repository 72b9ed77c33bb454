"""What `ganmill init` sees of a source that lies on this machine."""

from pathlib import Path

from gan.image.labels import Wanted
from gan.image.members import Survey
from gan.image.reading import read_members
from gan.image.sources import SourceSummary, look_through


def inspect(
    path: Path, label_from: str | list[str] = "folder", group_from: str | None = None
) -> SourceSummary:
    """Look through a folder, an archive or a parquet file."""
    survey = Survey()
    return look_through(
        read_members(path, survey), survey, Wanted(label_from, group_from), str(path)
    )
