"""A workspace with all that a backup holds, small, and without servers: real files and databases.

The tables are the few that a backup asks about; the ledger is a real one.
"""

import hashlib
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

from flows import ledger
from flows.ledger import Entry
from gan.durable import write_json, write_sums
from gan.paths import Layout

RECIPE = "stickers"
PARAMS = f"recipes:\n  {RECIPE}:\n    data: {{source: files, path: images, resolution: 16}}\n"
PRIVATE = "-----BEGIN PRIVATE KEY-----\nnobody is to read this\n-----END PRIVATE KEY-----\n"
RUN = "1/0123456789abcdef0123456789abcdef"
_VERSIONS = """
CREATE TABLE alembic_version (version_num TEXT);
INSERT INTO alembic_version VALUES ('dc11669786a5');
CREATE TABLE model_versions (name TEXT, version INTEGER, source TEXT, current_stage TEXT);
CREATE TABLE model_version_tags (name TEXT, version INTEGER, key TEXT, value TEXT);
"""
_RUNS = """
PRAGMA journal_mode=WAL;
CREATE TABLE alembic_version (version_num TEXT);
INSERT INTO alembic_version VALUES ('a3b9c7d2e5f1');
CREATE TABLE flow_run (id TEXT);
INSERT INTO flow_run VALUES ('first');
"""


def make_room(root: Path) -> Layout:
    """Return a git workspace with one champion, its artifacts, a batch and a key."""
    layout = Layout(root)
    root.mkdir(parents=True)
    layout.params.write_text(PARAMS)
    (root / "dvc.yaml").write_text("stages: {}\n")
    (root / ".gitignore").write_text("/.ganmill/\n/reports/\n/assets/\n")
    write_json(layout.pin(RECIPE), {"bundle": None})
    digest = _artifacts(layout)
    _databases(layout, digest)
    for event in ("intend", "done"):
        append(layout, event, 1, digest)
    for name, text in {
        ".ganmill/signing/local.pem": PRIVATE,
        ".ganmill/signing/known/one.pem": "a certificate\n",
        ".ganmill/watch/stickers.jsonl": "{}\n",
        ".ganmill/logs/prefect.log": "noise\n",
        ".ganmill/bundles/a/card.json": "{}\n",
        "reports/stickers/releases/v1/model_card.md": "# v1\n",
        "reports/stickers/gate/a-b/gate.json": "{}\n",
        "assets/stickers/monday-1/batch.json": "{}\n",
        "assets/stickers/monday-1/manifest.jsonl": "{}\n",
        "assets/stickers/monday-1/png/a.png": "a picture\n",
        "runs/stickers/a/checkpoint-1.ckpt": "large\n",
    }.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    commit(root)
    return layout


def commit(root: Path) -> None:
    """Commit what git is to know of a workspace."""
    who = ["-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", "init", "-q", str(root)], check=True)
    subprocess.run(["git", "-C", str(root), "add", "-A"], check=True)
    subprocess.run(["git", "-C", str(root), *who, "commit", "-qm", "all"], check=True)


def append(layout: Layout, event: ledger.Event, number: int, digest: str = "") -> Entry:
    """Add a line about a version to the ledger."""
    entry = Entry(event, RECIPE, "ada", "why", to_version=number, to_digest=digest)
    return ledger.append(layout.ledger, entry)


def add_version(layout: Layout, number: int, digest: str) -> None:
    """Register a version in the database, with the files of the first."""
    source = f"mlflow-artifacts:/{RUN}/artifacts/model"
    path = layout.state / "mlflow" / "mlflow.db"
    with closing(sqlite3.connect(path, timeout=60)) as database, database:
        row = (RECIPE, number, source, "None")
        database.execute("INSERT INTO model_versions VALUES (?, ?, ?, ?)", row)
        tag = (RECIPE, number, "bundle_digest", digest)
        database.execute("INSERT INTO model_version_tags VALUES (?, ?, ?, ?)", tag)


def bundle(layout: Layout) -> Path:
    """Return where the artifacts of the first version lie."""
    return layout.state / "mlflow" / "artifacts" / RUN / "artifacts" / "model" / "data" / "bundle"


def tree(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of every file below a folder but those of git, by path."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and ".git" not in path.parts
    }


def _artifacts(layout: Layout) -> str:
    folder = bundle(layout)
    folder.mkdir(parents=True)
    (folder / "generator.safetensors").write_bytes(b"weights" * 100)
    return write_sums(folder)


def _databases(layout: Layout, digest: str) -> None:
    for name, script in (("mlflow", _VERSIONS), ("prefect", _RUNS)):
        path = layout.state / name / f"{name}.db"
        path.parent.mkdir(parents=True, exist_ok=True)
        with closing(sqlite3.connect(path)) as database:
            database.executescript(script)
    add_version(layout, 1, digest)
