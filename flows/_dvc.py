"""DVC's repository, opened quietly and mended where a kill or a tampered cache hurt it.

Private to `versions.py` and `stores.py`: nothing else imports it, and nothing else imports DVC.
"""

import hashlib
import json
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar

import psutil
from dvc.dependency.param import MissingParamsError
from dvc.exceptions import DvcException
from dvc.lock import LockError, make_lock
from dvc.repo import Repo, lock_repo
from dvc.stage.cache import StageCache
from dvc.stage.exceptions import StageFileDoesNotExistError, StageNotFound
from dvc.utils.serialize import YAMLFileCorruptedError, load_yaml

from flows.page_style import without_login
from gan.durable import write_atomically
from gan.errors import GanmillError, RecipeError, ServiceError, UsageError
from gan.paths import Layout

__all__ = [
    "RestoringCache",
    "answering",
    "attempt",
    "causes",
    "drop_damaged",
    "keep_lock",
    "line",
    "lock_repo",
    "opened",
    "read_lock",
    "remote",
    "target",
]
_POLL_SECONDS = 0.3
_CHUNK_BYTES = 1 << 20
_log = logging.getLogger(__name__)
_T = TypeVar("_T")


class RestoringCache(StageCache):  # type: ignore[misc]  # DVC has no types
    """DVC's run cache, which also remembers whether it answered, and works from any folder."""

    restored = False

    def restore(self, stage: Any, **kwargs: Any) -> None:
        """Check the outputs out of the cache, or raise DVC's RunCacheNotFoundError."""
        super().restore(stage, **kwargs)
        self.restored = True

    def _create_stage(self, cache: Any, wdir: str | None = None) -> Any:
        # DVC looks for dvc.yaml in the current folder, and refuses one outside the workspace.
        from dvc.stage import PipelineStage, create_stage
        from dvc.stage.loader import StageLoader

        outs = [out["path"] for out in cache["outs"]]
        path = str(Path(self.repo.root_dir) / "dvc.yaml")
        stage = create_stage(
            PipelineStage, repo=self.repo, path=path, cmd=cache["cmd"], wdir=wdir, outs=outs
        )
        StageLoader.fill_from_lock(stage, cache)
        return stage


@contextmanager
def opened(layout: Layout) -> Iterator[Repo]:
    """Open the workspace's repository, with DVC's log and progress bars off the terminal.

    Raises:
        UsageError: The folder is no DVC workspace, or its configuration is wrong.
    """
    for name in ("dvc", "dvc_data", "dvc_objects"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    config = {} if (layout.root / ".git").exists() else {"core": {"no_scm": True}}
    try:
        repo = Repo(str(layout.root), config=config, _wait_for_lock=True)
    except DvcException as error:
        raise UsageError(f"{layout.root}: {line(error)} Is .dvc/config there?") from error
    with repo:
        _forget_the_dead(Path(repo.tmp_dir))
        repo.stage_cache = RestoringCache(repo)
        yield repo


def attempt(layout: Layout, address: str, work: Callable[[], _T]) -> _T:
    """Return `work()`; wait while a foreign DVC holds the files, and name it once.

    Raises:
        RecipeError: There is no such stage or recipe.
        GanmillError: DVC failed; the line is that of the first cause.
    """
    told = mended = False
    while True:
        try:
            return work()
        except DvcException as error:
            first = causes(error)[-1]
            if isinstance(first, LockError):
                if not told:
                    _log.warning("%s: %s Waiting for it to end.", address, line(first))
                told = True
                time.sleep(_POLL_SECONDS)
            elif not mended and _cut_short(layout, error):
                _log.warning("dvc.lock was cut short by a kill; its last good copy is back.")
                mended = True
            else:
                raise _explained(address, causes(error)) from error


def target(repo: Repo, address: str) -> str:
    """Return a stage's name with its file: DVC would look in the current folder otherwise."""
    return f"{Path(repo.root_dir) / 'dvc.yaml'}:{address}"


def causes(error: BaseException) -> list[BaseException]:
    """Return an error and what caused it, the first cause last."""
    chain: list[BaseException] = []
    following: BaseException | None = error
    while following is not None and following not in chain:
        chain.append(following)
        following = following.__cause__
    return chain


def line(error: BaseException) -> str:
    """Return an error's text as one line."""
    return " ".join(str(error).split()) or type(error).__name__


def remote(repo: Repo) -> tuple[str, Any] | None:
    """Return the default remote as its name in messages and its objects; None without one.

    Raises:
        ServiceError: It is of a kind that is not installed, or wrongly configured.
    """
    name = repo.config["core"].get("remote")
    if not name:
        return None
    url = repo.config["remote"].get(name, {}).get("url", "not configured")
    label = f"DVC remote {name!r} ({without_login(url)})"
    with answering(label):
        return label, repo.cloud.get_remote_odb(name)


@contextmanager
def answering(label: str) -> Iterator[None]:
    """Turn what a store of objects fails with into one line.

    Raises:
        ServiceError: The store is away, full, refuses us, or cannot be read.
    """
    failures: tuple[type[Exception], ...] = (DvcException, ImportError, OSError)
    if find_spec("botocore"):  # S3 alone has errors that are none of the machine's
        from botocore.exceptions import BotoCoreError  # type: ignore[import-untyped]  # none

        failures += (BotoCoreError,)
    try:
        yield
    except failures as error:
        raise ServiceError(
            f"{label}: {line(causes(error)[-1])}. Mend it, then run this again."
        ) from error


def keep_lock(layout: Layout) -> None:
    """Keep a copy of `dvc.lock`: DVC writes it in place, so a kill can cut it short."""
    lock = layout.root / "dvc.lock"
    if lock.exists():
        write_atomically(_kept(layout), lock.read_bytes())


def read_lock(layout: Layout) -> dict[str, Any]:
    """Return the stages of `dvc.lock` by `stage@recipe`, read while no DVC writes it."""
    folder = layout.root / ".dvc" / "tmp"
    folder.mkdir(parents=True, exist_ok=True)
    with make_lock(str(folder / "lock"), tmp_dir=str(folder), wait=True):
        path = layout.root / "dvc.lock"
        try:
            document = load_yaml(str(path)) if path.exists() else {}
        except YAMLFileCorruptedError as error:
            kept = _kept(layout)
            raise GanmillError(f"{path}: is no YAML. Its last good copy is {kept}.") from error
    stages: dict[str, Any] = document.get("stages", {})
    return stages


def drop_damaged(repo: Repo, address: str) -> int:
    """Remove cache objects of a stage's outputs whose bytes are not their name; return how many.

    DVC takes a read-only cache file for proof of its content and never looks inside.
    """
    (stage,) = repo.stage.collect(target(repo, address))
    damaged = 0
    for out in stage.outs:
        tree = out.get_obj() if out.is_dir_checksum else ()  # of a file it is not the list
        for name in {out.hash_info.value, *(info.value for _, _, info in tree or ())}:
            path = Path(out.cache.oid_to_path(name))
            if path.exists() and _md5(path) != name.removesuffix(".dir"):
                path.unlink()
                damaged += 1
    return damaged


def _kept(layout: Layout) -> Path:
    return layout.state / "dvc.lock"


def _cut_short(layout: Layout, error: BaseException) -> bool:
    """Put the kept copy of `dvc.lock` back if the lock file is what broke; say whether."""
    lock, kept = layout.root / "dvc.lock", _kept(layout)
    broken = any(isinstance(cause, YAMLFileCorruptedError) for cause in causes(error))
    if not broken or "dvc.lock" not in str(error) or not kept.exists():
        return False
    write_atomically(lock, kept.read_bytes())
    return True


def _explained(address: str, chain: list[BaseException]) -> GanmillError:
    recipe, first = address.partition("@")[2], chain[-1]
    if isinstance(first, StageNotFound | StageFileDoesNotExistError):
        return RecipeError(f"{address}: not in dvc.yaml; is recipe {recipe!r} in params.yaml?")
    if isinstance(first, MissingParamsError):
        return RecipeError(
            f"{address}: {line(first)} Give each recipe its data, model, train and evaluate, "
            f"say `model: {{preset: tiny}}`."
        )
    if isinstance(first, FileNotFoundError) and first.filename:
        return GanmillError(
            f"{address}: {first.filename} is missing. Run: ganmill retrain {recipe}"
        )
    if isinstance(first, DvcException):
        return GanmillError(f"{address}: DVC failed: {line(first)}")
    said = [cause for cause in chain if isinstance(cause, DvcException)][-1]
    return GanmillError(f"{address}: DVC failed: {line(said)}: {line(first)}")


def _forget_the_dead(folder: Path) -> None:
    """Drop from DVC's list of file locks what killed processes left there.

    DVC asks only whether a process id exists; ids are used again, above all in containers. A
    process that began after the list was last written cannot have written it.
    """
    path = folder / "rwlock"
    with make_lock(str(folder / "rwlock.lock"), tmp_dir=str(folder), wait=True):
        try:
            written, locks = path.stat().st_mtime, json.loads(path.read_bytes())
        except FileNotFoundError:
            return
        except ValueError:  # a kill cut it short; nobody else is in here
            path.unlink()
            return
        read = {
            name: [holder for holder in holders if _lives(holder["pid"], written)]
            for name, holders in locks.get("read", {}).items()
        }
        write = locks.get("write", {}).items()
        alive = {
            "read": {name: holders for name, holders in read.items() if holders},
            "write": {name: one for name, one in write if _lives(one["pid"], written)},
        }
        if alive != locks:
            write_atomically(path, json.dumps(alive).encode())


def _lives(pid: int, written: float) -> bool:
    try:
        return bool(psutil.Process(pid).create_time() <= written)
    except psutil.NoSuchProcess:
        return False


def _md5(path: Path) -> str:
    digest = hashlib.md5(usedforsecurity=False)
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()
