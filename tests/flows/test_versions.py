"""DVC through its one door: least work, plain reasons, our own errors, no stale locks."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from flows.versions import (
    STAGES,
    StageOutcome,
    changed,
    data_version,
    git_revision,
    lock_entry,
    push,
    reproduce,
)
from gan.errors import (
    ContractError,
    DamagedError,
    GanmillError,
    PreemptedError,
    RecipeError,
    ServiceError,
    UsageError,
)
from gan.paths import Layout

REPO = Path(__file__).resolve().parents[2]

# Each stage copies its input, or does what the recipe's `mood` says. It is real DVC, real children.
WORK = """
import json, os, pathlib, signal, sys, time
stage, recipe, source, out = sys.argv[1:]
mood = pathlib.Path(f"mood-{recipe}").read_text().strip()
print(f"{stage} of {recipe} speaks", flush=True)
with open("ran.log", "a") as log:
    print(stage, recipe, sys.executable, file=log)
if mood == "slow":
    time.sleep(2.0)
if mood == "hang":
    pathlib.Path("hanging").write_text(str(os.getpid()))
    time.sleep(60)
if mood == "killed":
    os.kill(os.getpid(), signal.SIGKILL)
if mood.startswith("fail"):
    record = pathlib.Path(f".ganmill/errors/{stage}-{recipe}.json")
    record.parent.mkdir(parents=True, exist_ok=True)
    kind, code = mood.split()[1:]
    if kind != "silent":
        told = {"error": kind, "exit_code": int(code), "message": "so it is"}
        record.write_text(json.dumps(told))
    sys.exit(int(code))
pathlib.Path(out).mkdir(parents=True)
pathlib.Path(out, "file").write_text(pathlib.Path(source).read_text() + stage)
"""
PIPELINE = """
stages:
  ingest:
    foreach: ${recipes}
    do:
      cmd: python work.py ingest ${key} source-${key} data/${key}/raw
      deps: ['source-${key}']
      params: ['recipes.${key}.data']
      outs: ['data/${key}/raw']
  prepare:
    foreach: ${recipes}
    do:
      cmd: python work.py prepare ${key} data/${key}/raw/file data/${key}/train
      deps: ['data/${key}/raw']
      outs: ['data/${key}/train']
"""
PARAMS = "recipes:\n  a: {data: {resolution: 32, licence: x}}\n  b: {data: {resolution: 32}}\n"


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """Return a git workspace with two recipes and our own DVC configuration."""
    root = tmp_path / "workspace"
    (root / ".dvc").mkdir(parents=True)
    for name in ("config", ".gitignore"):
        (root / ".dvc" / name).write_bytes((REPO / ".dvc" / name).read_bytes())
    (root / ".gitignore").write_bytes((REPO / ".gitignore").read_bytes())
    (root / "dvc.yaml").write_text(PIPELINE)
    (root / "params.yaml").write_text(PARAMS)
    (root / "work.py").write_text(WORK)
    for recipe in ("a", "b"):
        (root / f"source-{recipe}").write_text(recipe)
        (root / f"mood-{recipe}").write_text("good")
    for words in ("init -q", "add work.py", "-c user.name=t -c user.email=t@t commit -qm one"):
        subprocess.run(["git", *words.split()], cwd=root, check=True)
    return Layout(root)


def _ran(layout: Layout) -> list[str]:
    log = layout.root / "ran.log"
    lines = log.read_text().splitlines() if log.exists() else []
    return [" ".join(line.split()[:2]) for line in lines]


def _mood(layout: Layout, recipe: str, mood: str) -> None:
    (layout.root / f"mood-{recipe}").write_text(mood)


def _background(layout: Layout, call: str) -> "subprocess.Popen[bytes]":
    code = "import sys, pathlib; from gan.paths import Layout; from flows.versions import *; "
    code += f"layout = Layout(pathlib.Path(sys.argv[1])); {call}"
    command = [sys.executable, "-c", code, str(layout.root)]
    environment = {**os.environ, "PYTHONPATH": str(REPO)}
    return subprocess.Popen(command, env=environment, cwd="/", stderr=subprocess.PIPE)


def _wait(until: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not until():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.05)


def test_flow_and_graph_name_the_same_stages_in_the_same_order() -> None:
    """The flow's list of stages is the one of `dvc.yaml`."""
    from ruamel.yaml import YAML

    graph = YAML(typ="safe").load((REPO / "dvc.yaml").read_text())["stages"]

    assert list(STAGES) == list(graph)


def test_least_work_is_done_and_the_reason_is_said(layout: Layout) -> None:
    """A stage runs once, is then unchanged, and is restored when an old input comes back."""
    first = reproduce(layout, "ingest", "a")
    again = reproduce(layout, "ingest", "a")
    (layout.root / "source-a").write_text("other")
    changed_now = changed(layout, "ingest", "a")
    second = reproduce(layout, "ingest", "a")
    (layout.root / "source-a").write_text("a")
    back = reproduce(layout, "ingest", "a")

    assert [first.state, again.state, second.state, back.state] == [
        "ran",
        "unchanged",
        "ran",
        "restored",
    ]
    assert first.because == ["never ran"]
    assert again.because == []
    assert second.because == changed_now == ["source-a changed"]
    assert _ran(layout) == ["ingest a", "ingest a"]


def test_changed_parameters_are_named_with_their_values(layout: Layout) -> None:
    """The reason names each dotted key with the old and the new value."""
    reproduce(layout, "ingest", "a")
    (layout.root / "params.yaml").write_text(
        "recipes:\n  a: {data: {resolution: 64, flip: true}}\n  b: {data: {resolution: 32}}\n"
    )

    assert changed(layout, "ingest", "a") == [
        "data.resolution: 32 -> 64",
        "data.licence: x -> unset",
        "data.flip: unset -> True",
    ]


def test_a_deleted_output_comes_back_without_the_command(layout: Layout) -> None:
    """An output that was deleted is restored from the cache, and the reason says so."""
    reproduce(layout, "ingest", "a")
    subprocess.run(["rm", "-r", str(layout.raw("a"))], check=True)

    outcome = reproduce(layout, "ingest", "a")

    assert (outcome.state, outcome.because) == ("restored", ["data/a/raw is missing"])
    assert (layout.raw("a") / "file").read_text() == "aingest"


def test_force_runs_what_is_unchanged(layout: Layout) -> None:
    """`force` runs the command although nothing changed."""
    reproduce(layout, "ingest", "a")

    assert reproduce(layout, "ingest", "a", force=True).because == ["forced"]
    assert len(_ran(layout)) == 2


def test_a_tampered_cache_is_never_restored(layout: Layout) -> None:
    """DVC would hand out altered bytes; here they are found, removed, and the command runs."""
    reproduce(layout, "ingest", "a")
    subprocess.run(["rm", "-r", str(layout.raw("a"))], check=True)
    for cached in (layout.root / ".dvc" / "cache" / "files" / "md5").rglob("*"):
        if cached.is_file() and cached.read_bytes() == b"aingest":
            cached.chmod(0o644)
            cached.write_bytes(b"aXngest")
            cached.chmod(0o444)

    outcome = reproduce(layout, "ingest", "a")

    assert outcome.state == "ran"
    assert "1 damaged files in the DVC cache" in outcome.because[0]
    assert (layout.raw("a") / "file").read_text() == "aingest"
    assert reproduce(layout, "ingest", "a").state == "unchanged"


@pytest.mark.parametrize(
    ("mood", "kind", "message"),
    [
        ("fail ContractError 3", ContractError, "so it is"),
        ("fail DamagedError 1", DamagedError, "so it is"),
        ("fail silent 75", PreemptedError, "exit status 75"),
        ("fail silent 2", UsageError, "exit status 2"),
        ("fail silent 9", GanmillError, "exit status 9"),
        ("killed", GanmillError, "SIGKILL (most often the kernel, out of memory"),
    ],
)
def test_a_failing_child_raises_its_own_error(
    layout: Layout, mood: str, kind: type[GanmillError], message: str
) -> None:
    """The class comes from what the child recorded, else from its exit status; one line each."""
    _mood(layout, "a", mood)

    with pytest.raises(kind, match=message.replace("(", r"\(")) as failure:
        reproduce(layout, "ingest", "a")

    assert type(failure.value) is kind
    assert "\n" not in str(failure.value)
    _mood(layout, "a", "good")
    assert reproduce(layout, "ingest", "a").state == "ran"


def test_an_old_failure_is_not_told_again(layout: Layout) -> None:
    """The record of an earlier failure does not explain a later one."""
    _mood(layout, "a", "fail ContractError 3")
    with pytest.raises(ContractError):
        reproduce(layout, "ingest", "a")
    _mood(layout, "a", "fail silent 1")

    with pytest.raises(GanmillError, match="exit status 1"):
        reproduce(layout, "ingest", "a")


def test_what_is_not_there_is_named(layout: Layout) -> None:
    """A wrong stage, a wrong recipe and a missing input each have their own line."""
    with pytest.raises(UsageError, match=r"Stages: ingest, validate"):
        reproduce(layout, "cook", "a")
    with pytest.raises(RecipeError, match=r"is recipe 'nobody' in params\.yaml"):
        reproduce(layout, "ingest", "nobody")
    with pytest.raises(GanmillError, match=r"data/a/raw.*ganmill retrain a"):
        reproduce(layout, "prepare", "a")


def test_the_child_speaks_and_dvc_is_silent(layout: Layout) -> None:
    """The terminal shows the command's own words; `python` in it is this interpreter."""
    code = "print(reproduce(layout, 'ingest', 'a').state)"
    script = ["script", "-qec", f'{sys.executable} -c "{_imports(layout)}{code}"', "/dev/null"]
    environment = {**os.environ, "PYTHONPATH": str(REPO), "PATH": "/usr/bin:/bin"}

    shown = subprocess.run(script, env=environment, capture_output=True, text=True, check=True)

    words = shown.stdout.replace("\x1b[0m", "").split()  # colorama resets the colour at the end
    assert words == ["ingest", "of", "a", "speaks", "ran"]
    assert (layout.root / "ran.log").read_text().split()[2] == sys.executable


def _imports(layout: Layout) -> str:
    return (
        "import pathlib; from gan.paths import Layout; from flows.versions import reproduce; "
        f"layout = Layout(pathlib.Path('{layout.root}')); "
    )


def test_two_recipes_at_once_from_threads_and_a_foreign_folder(
    layout: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two worker threads reproduce two recipes at the same time, from any current folder."""
    monkeypatch.chdir(tmp_path)
    _mood(layout, "a", "slow")
    _mood(layout, "b", "slow")
    outcomes: list[StageOutcome] = []

    def work(recipe: str) -> None:
        outcomes.append(reproduce(layout, "ingest", recipe))
        subprocess.run(["rm", "-r", str(layout.raw(recipe))], check=True)
        outcomes.append(reproduce(layout, "ingest", recipe))

    threads = [threading.Thread(target=work, args=(recipe,)) for recipe in ("a", "b")]
    started = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(outcome.state for outcome in outcomes) == ["ran", "ran", "restored", "restored"]
    assert time.monotonic() - started < 2 * 2.0 + 3.0
    assert set(lock_entry(layout, "a")) == set(lock_entry(layout, "b")) == {"ingest"}


def test_the_same_recipe_twice_queues_and_says_who(layout: Layout) -> None:
    """The second caller waits, names the first one's process once, and finds nothing to do."""
    _mood(layout, "a", "slow")
    first = _background(layout, "reproduce(layout, 'ingest', 'a')")
    _wait(lambda: bool(_ran(layout)) or first.poll() is not None)
    second = _background(layout, "print(reproduce(layout, 'ingest', 'a').state, file=sys.stderr)")

    assert first.wait() == 0
    said = second.communicate()[1].decode()
    assert second.returncode == 0
    assert said.count(f"process {first.pid} is already at it") == 1
    assert said.splitlines()[-1] == "unchanged"
    assert len(_ran(layout)) == 1


def test_a_killed_run_leaves_nothing_stale(layout: Layout) -> None:
    """After SIGKILL of the parent and its child, the same call works at once."""
    _mood(layout, "a", "hang")
    parent = _background(layout, "reproduce(layout, 'ingest', 'a')")
    _wait(lambda: (layout.root / "hanging").exists() or parent.poll() is not None)
    child = int((layout.root / "hanging").read_text() or 0)
    parent.kill()
    os.kill(child, signal.SIGKILL)
    parent.communicate()
    _mood(layout, "a", "good")

    assert reproduce(layout, "ingest", "a").state == "ran"


def test_a_reused_process_id_does_not_hold_files_for_ever(layout: Layout) -> None:
    """A lock left by a killed process whose id somebody else has now is forgotten."""
    rwlock = layout.root / ".dvc" / "tmp" / "rwlock"
    rwlock.parent.mkdir(parents=True, exist_ok=True)
    stranger = psutil.Process(os.getpid())
    holder = {"pid": stranger.pid, "cmd": "dvc repro"}
    rwlock.write_text(json.dumps({"write": {str(layout.raw("a")): holder}, "read": {}}))
    before = stranger.create_time() - 10
    os.utime(rwlock, (before, before))
    assert reproduce(layout, "ingest", "a").state == "ran"
    rwlock.write_text('{"write": {"cut sho')
    assert reproduce(layout, "ingest", "a").state == "unchanged"


def test_a_lock_file_cut_short_is_put_back(layout: Layout) -> None:
    """A `dvc.lock` that a kill left half written is replaced by its last good copy."""
    reproduce(layout, "ingest", "a")
    lock = layout.root / "dvc.lock"
    whole = lock.read_bytes()
    lock.write_bytes(whole[:-40] + b"\n  - {")

    assert reproduce(layout, "ingest", "a").state == "unchanged"
    assert lock.read_bytes() == whole


def test_data_version_lock_entry_and_push(layout: Layout) -> None:
    """The data's version is DVC's digest; push copies the recipe's files and then has none left."""
    with pytest.raises(GanmillError, match="prepare@a has never run"):
        data_version(layout, "a")
    reproduce(layout, "ingest", "a")
    reproduce(layout, "prepare", "a")

    assert data_version(layout, "a").endswith(".dir")
    assert list(lock_entry(layout, "a")) == ["ingest", "prepare"]
    assert push(layout, "a") > 0
    assert push(layout, "a") == 0
    assert push(layout, "b") == 0


def test_push_to_a_remote_that_fails_names_it(layout: Layout) -> None:
    """A remote that cannot be written is one line with its name and place."""
    reproduce(layout, "ingest", "a")
    (layout.state / "dvc-store").parent.mkdir(exist_ok=True)
    (layout.state / "dvc-store").write_text("a file where a folder must be")

    with pytest.raises(ServiceError, match="DVC remote 'store'"):
        push(layout, "a")


def test_git_revision_knows_what_is_dirty(layout: Layout, tmp_path: Path) -> None:
    """A changed tracked file is dirty; a workspace without git has no revision."""
    clean = git_revision(layout.root)
    (layout.root / "work.py").write_text("other")

    assert len(clean.revision) == 40
    assert not clean.dirty
    assert git_revision(layout.root).dirty
    assert git_revision(tmp_path) == type(clean)("", dirty=True)


def test_a_workspace_without_git_works(layout: Layout) -> None:
    """An unpacked archive, with no .git, still reproduces."""
    subprocess.run(["rm", "-rf", str(layout.root / ".git")], check=True)

    assert reproduce(layout, "ingest", "a").state == "ran"
