"""A backup: whole or not there, found out when it was touched, taken while others write."""

import errno
import json
import os
import random
import sqlite3
import tarfile
import threading
from contextlib import closing
from io import BytesIO
from itertools import count
from pathlib import Path

import pytest
from pydantic import SecretStr

from flows.keeping import archives, manifest
from flows.keeping.backup import make
from flows.keeping.checking import check, require_sound
from flows.keeping.sources import Wants
from flows.settings import Settings
from gan.errors import DamagedError, GanmillError, UsageError
from gan.paths import Layout
from tests.faults.seam import KILLED, dying_at, failing_at
from tests.flows.keeping.rooms import PRIVATE, RUN, add_version, append, bundle, tree

QUIET = Wants(is_quiet=True)


def test_a_backup_holds_what_cannot_be_made_again(
    room: Layout, nowhere: Settings, tmp_path: Path
) -> None:
    """Databases, artifacts, ledger, watch, decisions, releases, pins, manifests of batches.

    Pictures, keys, logs, caches and checkpoints are not in it; the first two are named with the
    option that takes them along.
    """
    made = make(room, nowhere, tmp_path / "b", QUIET)

    assert made.manifest.champions == {"stickers": 1}
    assert made.manifest.databases["prefect"].revision == "a3b9c7d2e5f1"
    assert made.manifest.missing == []
    kept = {name.removeprefix("workspace/") for name in made.manifest.files}
    assert kept >= {
        "databases/mlflow.db",
        "databases/prefect.db",
        f"artifacts/{RUN}/artifacts/model/data/bundle/generator.safetensors",
        "params.yaml",
        "models/stickers/start.json",
        ".ganmill/ledger.jsonl",
        ".ganmill/watch/stickers.jsonl",
        ".ganmill/signing/known/one.pem",
        "reports/stickers/releases/v1/model_card.md",
        "reports/stickers/gate/a-b/gate.json",
        "assets/stickers/monday-1/manifest.jsonl",
    }
    assert not [name for name in kept if "png" in name or "log" in Path(name).suffix]
    assert not [
        name for name in kept if "local.pem" in name or "ckpt" in name or "bundles/" in name
    ]
    said = " ".join(made.manifest.left_out)
    assert "--with-keys" in said
    assert "--with-assets" in said
    assert (tmp_path / "b").stat().st_mode & 0o077 == 0


def test_pictures_and_key_come_along_when_asked_for(
    room: Layout, nowhere: Settings, tmp_path: Path
) -> None:
    """--with-assets and --with-keys take them; the manifest says that they are there."""
    wants = Wants(assets=True, keys=True, is_quiet=True)
    made = make(room, nowhere, tmp_path / "b", wants)

    assert made.manifest.has_keys
    assert made.manifest.has_assets
    assert "workspace/assets/stickers/monday-1/png/a.png" in made.manifest.files
    assert (tmp_path / "b/workspace/.ganmill/signing/local.pem").read_text() == PRIVATE


def test_the_manifest_holds_no_secret(room: Layout, nowhere: Settings, tmp_path: Path) -> None:
    """Neither a password of an address nor a key is in the manifest or in what is said."""
    address = SecretStr("postgresql://mill:canary-of-postgres@127.0.0.1:1/mlflow")
    settings = nowhere.model_copy(update={"mlflow_database": address})
    with pytest.raises(GanmillError) as refused:
        make(room, settings, tmp_path / "a", QUIET)
    made = make(room, nowhere, tmp_path / "b", Wants(keys=True, is_quiet=True))

    text = (made.folder / "manifest.json").read_text() + str(refused.value)
    assert "canary" not in text
    assert "nobody is to read" not in text


def test_every_touched_byte_is_found(room: Layout, nowhere: Settings, tmp_path: Path) -> None:
    """A flipped bit, a missing and an extra file are each found and named, wherever they are."""
    folder = make(room, nowhere, tmp_path / "b", QUIET).folder
    assert check(folder, is_quiet=True)[2] == []
    chance = random.Random(1)  # noqa: S311  # which byte is flipped is no secret
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        payload = path.read_bytes()
        name = path.relative_to(folder).as_posix()
        if payload and name != "manifest.json":
            place = chance.randrange(len(payload))
            path.write_bytes(payload[:place] + bytes([payload[place] ^ 1]) + payload[place + 1 :])
            assert f"{name} is altered" in check(folder, is_quiet=True)[2]
        if name != "manifest.json":
            path.unlink()
            assert f"{name} is missing" in check(folder, is_quiet=True)[2]
            path.write_bytes(payload)
    (folder / "workspace" / "params.yaml.new").write_text("")
    assert check(folder, is_quiet=True)[2] == [
        "workspace/params.yaml.new is there and is not in manifest.json"
    ]


def test_a_damaged_database_and_a_broken_chain_are_found_by_themselves(
    room: Layout, nowhere: Settings, tmp_path: Path
) -> None:
    """Even where the digests were made to fit, SQLite and the ledger are looked into."""
    folder = make(room, nowhere, tmp_path / "b", QUIET).folder
    database = folder / "databases" / "mlflow.db"
    payload = bytearray(database.read_bytes())
    payload[4096:4196] = b"x" * 100
    database.write_bytes(payload)
    lines = folder / "workspace" / ".ganmill" / "ledger.jsonl"
    lines.write_bytes(lines.read_bytes().replace(b"why", b"who"))
    whole, _ = manifest.read(folder)
    forged = {name: str(digest) for name, digest in tree(folder).items()}
    files = {
        name: file.model_copy(update={"sha256": forged[name]}) for name, file in whole.files.items()
    }
    manifest.write(folder, whole.model_copy(update={"files": files}))

    problems = check(folder, is_quiet=True)[2]

    assert any("databases/mlflow.db cannot be used" in line for line in problems)
    assert any("was altered" in line for line in problems)


@pytest.mark.parametrize(
    ("how", "step"),
    [
        ("fails", 17),
        ("dies", 19),
        pytest.param("fails", 1, marks=pytest.mark.faults),
        pytest.param("dies", 1, marks=pytest.mark.faults),
    ],
)
def test_stopped_at_any_change_of_the_disk_the_same_call_finishes(
    room: Layout, nowhere: Settings, tmp_path: Path, how: str, step: int
) -> None:
    """A full disk or SIGKILL at any moment leaves no backup that passes for whole.

    The same call afterwards gives one that is sound, with nothing left over.
    """
    stops = _fails if how == "fails" else _dies
    calm = make(room, nowhere, tmp_path / "calm", QUIET)
    for n in count(1, step):
        folder = tmp_path / str(n)
        stopped = stops(room, nowhere, folder, n)
        if not (folder / "manifest.json").exists():
            make(room, nowhere, folder, QUIET)
        whole, _ = require_sound(folder, is_quiet=True)
        assert set(whole.files) == set(calm.manifest.files)
        assert [name for name in tree(folder) if "partial" in name] == []
        if not stopped:
            break
    assert n > 80


def _fails(room: Layout, settings: Settings, folder: Path, n: int) -> bool:
    said = ""
    with failing_at(n, errno.ENOSPC) as passed:
        try:
            make(room, settings, folder, QUIET)
        except GanmillError as error:
            said = str(error)
    assert "\n" not in said
    return len(passed) >= n


def _dies(room: Layout, settings: Settings, folder: Path, n: int) -> bool:
    child = os.fork()
    if child == 0:
        with dying_at(n):
            make(room, settings, folder, QUIET)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == KILLED


def test_what_was_copied_is_not_copied_again(
    room: Layout, nowhere: Settings, tmp_path: Path
) -> None:
    """A second try takes what is there for good, unless its source changed since."""
    folder = tmp_path / "b"
    with failing_at(80, errno.ENOSPC), pytest.raises(GanmillError):
        make(room, nowhere, folder, QUIET)
    times = {
        path: path.stat().st_mtime_ns for path in (folder / "artifacts").rglob("*.safetensors")
    }
    (room.root / "reports/stickers/releases/v1/model_card.md").write_text("# v1, again\n")

    make(room, nowhere, folder, QUIET)

    assert times
    assert {path: path.stat().st_mtime_ns for path in times} == times
    copy = folder / "workspace/reports/stickers/releases/v1/model_card.md"
    assert copy.read_text() == "# v1, again\n"


def test_ledger_and_database_are_of_one_moment(
    room: Layout, nowhere: Settings, tmp_path: Path
) -> None:
    """A promotion during the backup is in both or in neither, or is begun, as after a kill."""
    stop, number = threading.Event(), count(2)

    def promote() -> None:
        while not stop.wait(0.1):
            n = next(number)
            append(room, "intend", n)
            add_version(room, n, "d" * 64)
            append(room, "done", n)

    writer = threading.Thread(target=promote)
    writer.start()
    try:
        made = [make(room, nowhere, tmp_path / str(n), QUIET) for n in range(3)]
    finally:
        stop.set()
        writer.join()
    for each in made:
        lines = (each.folder / "workspace/.ganmill/ledger.jsonl").read_text().splitlines()
        events = [json.loads(line)["event"] for line in lines]
        with closing(sqlite3.connect(each.folder / "databases/mlflow.db")) as database:
            (versions,) = database.execute("SELECT count(*) FROM model_versions").fetchone()
        begun = events[-1] == "intend"
        assert versions - events.count("done") in ({0, 1} if begun else {0})


def test_a_version_without_its_files_is_named(
    room: Layout, nowhere: Settings, tmp_path: Path
) -> None:
    """A version whose artifacts are gone or altered is in `missing`; the rest is kept."""
    add_version(room, 2, "e" * 64)
    (bundle(room) / "generator.safetensors").write_bytes(b"others")

    made = make(room, nowhere, tmp_path / "b", QUIET)

    assert [line.split(":")[0] for line in made.manifest.missing] == ["stickers v1", "stickers v2"]
    assert "is altered" in made.manifest.missing[0]
    assert "not the list that was registered" in made.manifest.missing[1]


def test_artifacts_can_be_listed_only(room: Layout, nowhere: Settings, tmp_path: Path) -> None:
    """Where a store keeps itself, its files are named with their digests and not copied."""
    made = make(room, nowhere, tmp_path / "b", Wants(artifacts="listed", is_quiet=True))

    assert made.manifest.artifacts["are"] == "listed"
    assert f"artifacts/{RUN}/artifacts/model/data/bundle/SHA256SUMS" in made.manifest.listed
    assert not (made.folder / "artifacts").exists()
    assert made.manifest.missing == []
    assert check(made.folder, is_quiet=True)[2] == []


def test_other_folders_are_left_alone(room: Layout, nowhere: Settings, tmp_path: Path) -> None:
    """Neither a whole backup nor anything else is ever written over."""
    folder = make(room, nowhere, tmp_path / "b", QUIET).folder
    with pytest.raises(UsageError, match="whole backup already"):
        make(room, nowhere, folder, QUIET)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    with pytest.raises(UsageError, match="is no backup"):
        make(room, nowhere, tmp_path / "mine", QUIET)
    assert (tmp_path / "mine" / "letter.txt").read_text() == "dear"


@pytest.mark.parametrize("name", ["b.tar", "b.tar.gz"])
def test_a_backup_may_be_one_file(
    room: Layout, nowhere: Settings, tmp_path: Path, name: str
) -> None:
    """An archive holds the same, and one that was cut short is refused."""
    made = make(room, nowhere, tmp_path / "b", QUIET)
    files = tree(made.folder)
    archives.pack(made.folder, tmp_path / name)

    with archives.unpacked(tmp_path / name) as folder:
        assert tree(folder) == files
        assert check(folder, is_quiet=True)[2] == []
    payload = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(payload[: len(payload) // 2])
    with pytest.raises(GanmillError), archives.unpacked(tmp_path / name) as folder:
        require_sound(folder, is_quiet=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == [name, "room"]


@pytest.mark.parametrize(
    "name", ["../evil", "/etc/evil", "workspace/../../evil", "gan/evil.py", "workspace/a/./b"]
)
def test_nothing_leaves_an_archive_but_what_a_backup_holds(tmp_path: Path, name: str) -> None:
    """A member with a path of its own mind is refused before anything is written."""
    with tarfile.open(tmp_path / "b.tar", "w") as tar:
        about = tarfile.TarInfo(name)
        about.size = 4
        tar.addfile(about, BytesIO(b"evil"))
    with (
        pytest.raises(DamagedError, match="no backup holds"),
        archives.unpacked(tmp_path / "b.tar"),
    ):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["b.tar"]


def test_a_link_in_an_archive_is_refused(tmp_path: Path) -> None:
    """A link could point anywhere; a backup has none."""
    with tarfile.open(tmp_path / "b.tar", "w") as tar:
        about = tarfile.TarInfo("workspace/params.yaml")
        about.type, about.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(about)
    with (
        pytest.raises(DamagedError, match="no backup holds"),
        archives.unpacked(tmp_path / "b.tar"),
    ):
        pass
