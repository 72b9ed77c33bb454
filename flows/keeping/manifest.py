"""What a backup says of itself: `manifest.json`, written last, so that a folder with it is whole.

    databases/mlflow.db prefect.db    or .dump, of Postgres
    artifacts/...                     MLflow's artifacts, by their paths in its store
    workspace/...                     ledger, decisions, releases, watch, pins, manifests of batches
    dvc/files/md5/...                 data and models as DVC keeps them: also a DVC remote by itself
    manifest.json                     every file with its size and SHA-256, and what is not here

It names no secret: no login of an address, and of a key no more than that its file is there.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from gan.durable import read_json, sha256, write_json
from gan.errors import DamagedError, UsageError

MANIFEST, JOURNAL = "manifest.json", ".copied.jsonl"
DATABASES, ARTIFACTS, WORKSPACE, OBJECTS = "databases", "artifacts", "workspace", "dvc/files/md5"
_ROOMS = (DATABASES, ARTIFACTS, WORKSPACE, OBJECTS)


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class KeptFile(_Strict):
    """A file.

    Attributes:
        bytes: Its size.
        sha256: Of its bytes.
        modified_ns: When what it is a copy of was changed last, since 1970; 0: not known.
    """

    bytes: int = Field(ge=0)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    modified_ns: int = 0


class KeptDatabase(_Strict):
    """A database, and the schema that it has.

    Attributes:
        kind: sqlite or postgresql.
        file: Where it is; "" where there was none yet, or it is somebody else's.
        revision: Alembic's name of its schema, or "".
    """

    kind: Literal["sqlite", "postgresql", ""] = ""
    file: str = ""
    revision: str = ""


class Manifest(_Strict):
    """The whole of it.

    Attributes:
        format: Of this file.
        made_utc: When the databases were copied, ISO 8601.
        ganmill: The version that made it.
        workspace: The folder that it is of.
        databases: By name of the server.
        artifacts: Where they came from, and whether they are copied or only listed.
        data: `copied`, `on the remote`, or `left out`.
        has_assets: Whether the pictures of batches are here, not only their manifests.
        has_keys: Whether the key that signs is here.
        ledger_lines: How many.
        champions: Version by recipe, as the ledger has it.
        files: By path.
        listed: Artifacts that are only listed, by path.
        missing: What is referred to and was not to be had, a line each.
        left_out: What is not in it on purpose, and where it is, a line each.
    """

    format: Literal[1] = 1
    made_utc: str
    ganmill: str
    workspace: str
    databases: dict[str, KeptDatabase]
    artifacts: dict[str, str]
    data: Literal["copied", "on the remote", "left out"]
    has_assets: bool
    has_keys: bool
    ledger_lines: int
    champions: dict[str, int]
    files: dict[str, KeptFile]
    listed: dict[str, KeptFile] = {}
    missing: list[str] = []
    left_out: list[str] = []

    @property
    def bytes(self) -> int:
        """How much all files are."""
        return sum(file.bytes for file in self.files.values())

    def below(self, room: str) -> Mapping[str, KeptFile]:
        """Return the files of one room, by their paths in it."""
        return {
            path.removeprefix(f"{room}/"): file
            for path, file in self.files.items()
            if path.startswith(f"{room}/")
        }


def write(folder: Path, manifest: Manifest) -> str:
    """Make a backup whole; return its id."""
    return write_json(folder / MANIFEST, manifest.model_dump(mode="json"))


def read(folder: Path) -> tuple[Manifest, str]:
    """Return what a backup says of itself, and its id: the SHA-256 of that.

    Raises:
        UsageError: There is no backup, or it is not whole.
        DamagedError: The manifest is malformed, or names a file outside of the backup.
    """
    path = folder / MANIFEST
    if not path.is_file():
        begun = (folder / JOURNAL).exists()
        what = "is not whole; make it so with" if begun else "holds no backup; make one with"
        raise UsageError(f"{folder}: {what}: ganmill backup {folder}")
    try:
        manifest = Manifest.model_validate(read_json(path))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise DamagedError(f"{path}: {place}: {first['msg']}. Take another backup.") from error
    named = [*manifest.files, *manifest.listed, *(d.file for d in manifest.databases.values())]
    for name in named:
        if name and not is_plain(name):
            raise DamagedError(f"{path}: names {name!r}, which is no file of a backup.")
    return manifest, sha256(path)


def is_plain(name: str) -> bool:
    """Return whether a path stays where it belongs: in one of the rooms, without detours."""
    parts = name.split("/")
    below = any(name.startswith(f"{room}/") for room in _ROOMS)
    return below and not any(part in {"", ".", ".."} or "\0" in part for part in parts)
