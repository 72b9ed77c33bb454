"""Whether: the only door to DVC. Reproduces one stage in-process, and says why it had to run.

DVC fails where it should wait, reports a child's exit as prose alone, and trusts its cache unread.
Here a second caller queues, a failing child's own error is raised, and what comes out of the cache
is hashed again.
"""

import logging
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import psutil

from flows.settings import QUIET
from gan import errors
from gan.durable import read_failure, run_lock
from gan.errors import BusyError, GanmillError, UsageError
from gan.paths import Layout

STAGES = ("ingest", "validate", "prepare", "extractor", "train", "evaluate")
_POLL_SECONDS = 0.3
_BY_EXIT_CODE: dict[int, type[GanmillError]] = {
    2: UsageError,
    3: errors.ContractError,
    4: errors.GateError,
    5: errors.ApprovalError,
    6: errors.BudgetError,
    75: errors.PreemptedError,
}
_STATES = {"modified": "changed", "deleted": "is missing", "not in cache": "is not in the cache"}
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class StageOutcome:
    """What one stage did: `ran` its command, was `restored` from the cache, or is `unchanged`."""

    stage: str
    recipe: str
    state: Literal["ran", "unchanged", "restored"]
    seconds: float
    because: list[str]


@dataclass(frozen=True)
class GitRevision:
    """The commit of the workspace (40 hex, "" without one) and whether tracked files differ.

    `dvc.lock` and `models/` (the pins) do not count: a run itself leaves them changed.
    """

    revision: str
    dirty: bool


def reproduce(layout: Layout, stage: str, recipe: str, *, force: bool = False) -> StageOutcome:
    """Bring one stage of one recipe up to date, by the least work; safe from any thread.

    Waits while another process or thread is at the same recipe, and says once who that is.
    The stage's command inherits the terminal; `python` in it is this interpreter.

    Raises:
        GanmillError: The stage failed; the class and the line are those of its own command.
        RecipeError: `dvc.yaml` or `params.yaml` does not have the stage or the recipe.
    """
    started, address = time.monotonic(), _address(stage, recipe)
    with _turn(layout.lock(f"stages-{recipe}"), address):
        from flows import _dvc

        with _dvc.opened(layout) as repo:
            because = _dvc.attempt(layout, address, lambda: _reasons(repo, address))
            if not because and not force:
                return StageOutcome(stage, recipe, "unchanged", _since(started), [])
            _run(layout, repo, address, force=force)
            state: Literal["ran", "restored"] = "restored" if repo.stage_cache.restored else "ran"
            if state == "restored" and (damaged := _dvc.drop_damaged(repo, address)):
                because = [f"{damaged} damaged files in the DVC cache, now removed", *because]
                _run(layout, repo, address, force=True)
                state = "ran"
        _dvc.keep_lock(layout)
    because = ["forced", *because] if force else because
    return StageOutcome(stage, recipe, state, _since(started), because)


def changed(layout: Layout, stage: str, recipe: str) -> list[str]:
    """Return why a stage would run, in plain words; an empty list means it would not.

    Raises:
        RecipeError: `dvc.yaml` or `params.yaml` does not have the stage or the recipe.
    """
    from flows import _dvc

    address = _address(stage, recipe)
    with _dvc.opened(layout) as repo:
        return _dvc.attempt(layout, address, lambda: _reasons(repo, address))


def lock_entry(layout: Layout, recipe: str) -> dict[str, Any]:
    """Return what `dvc.lock` says of a recipe: stage name to its command, deps, params, outs."""
    from flows import _dvc

    stages, suffix = _dvc.read_lock(layout), f"@{recipe}"
    return {name.removesuffix(suffix): stages[name] for name in stages if name.endswith(suffix)}


def data_version(layout: Layout, recipe: str) -> str:
    """Return DVC's digest of what training reads (`<md5>.dir`), as `dvc.lock` has it.

    Raises:
        GanmillError: The data were never prepared.
    """
    for out in lock_entry(layout, recipe).get("prepare", {}).get("outs", []):
        if layout.root / out["path"] == layout.train_data(recipe):
            return str(out["md5"])
    raise GanmillError(
        f"dvc.lock: prepare@{recipe} has never run, so its data have no version. "
        f"Run: ganmill retrain {recipe}"
    )


def push(layout: Layout, recipe: str) -> int:
    """Copy a recipe's data and models to the default DVC remote; return how many objects went.

    Raises:
        DamagedError: The cache has something damaged that the remote does not have.
        ServiceError: The remote is full or does not answer; nothing local changed.
        UsageError: No remote is configured.
    """
    from flows import stores

    stages = lock_entry(layout, recipe).values()
    outs = {str(out["path"]): str(out["md5"]) for stage in stages for out in stage.get("outs", ())}
    if not outs:
        return 0
    with stores.opened(layout) as opened:
        return opened.push(outs, recipe)


def git_revision(root: Path) -> GitRevision:
    """Return the commit that the workspace is at; without git or a commit, ("", dirty)."""
    tracked = ("--untracked-files=no", "--", ".", ":!dvc.lock", ":!models")
    try:
        revision = _git(root, "rev-parse", "--verify", "HEAD")
        return GitRevision(revision, dirty=bool(_git(root, "status", "--porcelain", *tracked)))
    except (OSError, subprocess.CalledProcessError):
        return GitRevision("", dirty=True)


def _git(root: Path, *words: str) -> str:
    command = ["git", "-C", str(root), *words]
    done = subprocess.run(command, check=True, capture_output=True, text=True)  # argv
    return done.stdout.strip()


def _address(stage: str, recipe: str) -> str:
    if stage not in STAGES:
        raise UsageError(f"{stage!r} is no stage. Stages: {', '.join(STAGES)}.")
    return f"{stage}@{recipe}"


def _since(started: float) -> float:
    return round(time.monotonic() - started, 3)


@contextmanager
def _turn(path: Path, address: str) -> Iterator[None]:
    """Wait for the lock of one recipe, naming its holder once."""
    told = False
    with ExitStack() as held:
        while True:
            try:
                held.enter_context(run_lock(path, address))
                break
            except BusyError as busy:
                if not told:
                    _log.warning("%s Waiting for it to end.", busy)
                told = True
                time.sleep(_POLL_SECONDS)
        yield


def _run(layout: Layout, repo: Any, address: str, *, force: bool) -> None:
    """Let DVC run or restore one stage; raise what its command failed with."""
    from dvc.exceptions import DvcException

    from flows import _dvc

    record = layout.failure(*address.split("@", 1))
    record.unlink(missing_ok=True)
    repo.stage_cache.restored = False
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    child = {**QUIET, "PATH": path}
    target = _dvc.target(repo, address)

    def work() -> None:
        try:
            with _telling_children():
                repo.reproduce(targets=[target], single_item=True, force=force, run_env=child)
        except DvcException as error:
            if ended := re.search(r"exited with (-?\d+)$", str(_dvc.causes(error)[-1])):
                raise _failure(record, address, int(ended[1])) from error
            raise

    _dvc.attempt(layout, address, work)


@contextmanager
def _telling_children() -> Iterator[None]:
    """Pass a signal that ends this process on to the stage's command, at once.

    It would notice by itself, but only when this process is gone, which takes its time to end.
    """
    before = psutil.Process().children()
    try:
        yield
    except Exception:
        raise
    except BaseException:
        for child in psutil.Process().children():
            if child not in before:
                with suppress(psutil.NoSuchProcess):
                    child.terminate()
        raise


def _failure(record: Path, address: str, status: int) -> GanmillError:
    """Return the error that a stage's command ended with; DVC itself knows only the status."""
    if failure := read_failure(record):
        return failure
    number = -status if status < 0 else status - 128  # a shell reports 128 + signal
    try:
        how = f"was ended by {signal.Signals(number).name}"
    except ValueError:
        how = f"ended with exit status {status}"
    if number == signal.SIGKILL:
        how += " (most often the kernel, out of memory: lower train.batch_size)"
    return _BY_EXIT_CODE.get(status, GanmillError)(
        f"{address}: its command {how}; its last lines are above. The same command continues."
    )


def _reasons(repo: Any, address: str) -> list[str]:  # DVC's Repo has no types
    """Return why DVC would run a stage, in plain words."""
    from flows import _dvc

    with _dvc.lock_repo(repo):
        (stage,) = repo.stage.collect(_dvc.target(repo, address))
        entries = [entry for entries in stage.status().values() for entry in entries]
    if entries and not any(out.hash_info for out in stage.outs):
        return ["never ran"]
    places = {str(item): Path(item.fs_path) for item in (*stage.deps, *stage.outs)}
    words: list[str] = []
    for entry in entries:
        if isinstance(entry, str):
            words.append("its command changed" if entry == "changed command" else entry)
            continue
        for name, state in (entry.get("changed deps") or entry.get("changed outs")).items():
            if isinstance(state, dict):
                words += _changed_params(stage, address, set(state))
            else:
                words.append(f"{_shown(places[name], repo)} {_STATES.get(state, f'is {state}')}")
    return words


def _shown(place: Path, repo: Any) -> Path:
    root = Path(repo.root_dir)
    return place.relative_to(root) if place.is_relative_to(root) else place


def _changed_params(stage: Any, address: str, sections: set[str]) -> list[str]:
    """Return `train.kimg: 40 -> 60` for each parameter that differs from `dvc.lock`."""
    prefix = f"recipes.{address.partition('@')[2]}."
    words = []
    for dependency in stage.params:
        old, new = dependency.hash_info.value or {}, dependency.read_params()
        for section in sorted(sections):
            before, after = _flat(section, old.get(section)), _flat(section, new.get(section))
            for key in [*before, *(key for key in after if key not in before)]:
                if before.get(key) != after.get(key):
                    was, now = (side.get(key, "unset") for side in (before, after))
                    words.append(f"{key.removeprefix(prefix)}: {was} -> {now}")
    return words


def _flat(key: str, value: Any) -> dict[str, Any]:  # any YAML value
    if not isinstance(value, dict):
        return {} if value is None else {key: value}
    return {k: v for name in value for k, v in _flat(f"{key}.{name}", value[name]).items()}
