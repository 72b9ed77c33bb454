"""A soak: the whole mill by its schedules, every minute, while something is killed all the time.

    python -m tests.faults.soak --minutes 60 [--folder FOLDER] [--seed 1]

Retraining and minting are due every minute; new data come every few minutes. At random moments a
part of the stack, a flow or a training is killed, and what a supervisor does each minute is done:
`ganmill up`. At the end everything is held against what must be so, and figures are printed: runs,
kills, divergences, and what leaked (files, processes, locks, open files, memory).
"""

import argparse
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from flows import ledger
from flows.held import held
from gan.assets.manifest import BATCH
from gan.bundle import open_bundle
from gan.durable import read_json
from tests.faults.living import Mill, make

_KIMG = 2.0
_SCHEDULE = '{retrain: "* * * * *", generate: "* * * * *"}'
_VICTIMS = ("worker", "monitor", "prefect", "mlflow", "flow", "training")
_WEIGHTS = (3, 1, 2, 2, 4, 4)
_NEW_DATA_SECONDS = 420.0
_LOOK_SECONDS = 30.0
_REST_SECONDS = (20.0, 70.0)


@dataclass
class Seen:
    """What was seen on the way.

    Attributes:
        kills: By victim.
        seeds: Of the data that were there, in order.
        open_files: Of each long-lived process that was not killed between two looks: (name, pid)
            with its first and last count.
        memory_mb: The same, resident memory in 10^6 bytes.
    """

    kills: Counter[str] = field(default_factory=Counter)
    seeds: list[int] = field(default_factory=list)
    open_files: dict[tuple[str, int], list[int]] = field(default_factory=dict)
    memory_mb: dict[tuple[str, int], list[float]] = field(default_factory=dict)


def main() -> int:
    """Soak, hold everything against what must be so, print the figures; 1 if something is wrong."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    folder = given.folder or Path(tempfile.mkdtemp(prefix="soak-"))
    moments = random.Random(given.seed)  # noqa: S311  # moments, not secrets
    mill, seen = make(folder / "mill"), Seen()
    before = set(Path(tempfile.gettempdir()).iterdir())
    print(f"soak of {given.minutes:g} minutes in {folder}", flush=True)
    _new_data(mill, seen)
    mill.must("up")
    try:
        _soak(mill, seen, moments, 60 * given.minutes)
        _calm_down(mill)
        problems = _problems(mill, seen, folder)
    finally:
        mill.run("down")
    problems += _left_over(mill, before)
    for line in problems:
        print(f"WRONG: {line}")
    print("nothing wrong" if not problems else f"{len(problems)} wrong")
    return 1 if problems else 0


def _soak(mill: Mill, seen: Seen, moments: random.Random, seconds: float) -> None:
    """Kill, bring up, and bring new data until the time is over."""
    end = time.monotonic() + seconds
    renew = look = time.monotonic()
    strike = time.monotonic() + 60
    while (now := time.monotonic()) < end:
        if now > renew + _NEW_DATA_SECONDS:
            _new_data(mill, seen)
            renew = now
        if now > look + _LOOK_SECONDS:
            _look(mill, seen)
            look = now
        if now > strike:
            (victim,) = moments.choices(_VICTIMS, _WEIGHTS)
            if _kill(mill, victim):
                seen.kills[victim] += 1
                print(f"{int(end - now):5d} s left: killed {victim}", flush=True)
            strike = now + moments.uniform(*_REST_SECONDS)
            time.sleep(moments.uniform(0, 5))
            mill.run("up")
        time.sleep(1)


def _new_data(mill: Mill, seen: Seen) -> None:
    seed = len(seen.seeds) + 1
    seen.seeds.append(seed)
    mill.write(kimg=_KIMG, seed=seed, schedule=_SCHEDULE)


def _kill(mill: Mill, victim: str) -> bool:
    """Kill one process without warning; tell whether there was one."""
    with suppress(ProcessLookupError, psutil.NoSuchProcess, KeyError):
        if victim in {"flow", "training"}:
            found = mill.flows() if victim == "flow" else mill.trainings()
            for process in found[:1]:
                process.kill()
            return bool(found)
        mill.kill(victim)
        return True
    return False


def _look(mill: Mill, seen: Seen) -> None:
    """Count open files and memory of what lives long."""
    for name in ("prefect", "mlflow", "worker", "monitor"):
        with suppress(psutil.Error, KeyError, OSError):
            process = psutil.Process(mill.pid(name))
            key = (name, process.pid)
            seen.open_files.setdefault(key, []).append(process.num_fds())
            megabytes = process.memory_info().rss / 1e6
            seen.memory_mb.setdefault(key, []).append(megabytes)


def _calm_down(mill: Mill) -> None:
    """Let what is under way end, with nothing killed any more and nothing due any more."""
    print("the end: no more kills; waiting for what is under way", flush=True)
    mill.must("up")
    kept = mill.layout.params.read_text()
    mill.layout.params.write_text(kept.replace(_SCHEDULE, "{}"))
    mill.must("up")
    mill.until(lambda: not mill.flows(), "a flow does not end", 600)
    mill.run("reconcile")
    mill.until(lambda: not mill.flows(), "a flow does not end", 600)
    mill.must("retrain", "tiny")
    mill.run("reconcile")


def _problems(mill: Mill, seen: Seen, folder: Path) -> list[str]:
    """Return a line for everything that is not as it must be, and print what there is."""
    runs = {flow: mill.runs(flow) for flow in ("retrain", "generate", "reconcile")}
    for flow, found in runs.items():
        states = Counter(f"{run['state_name']}" for run in found if run["state_type"])
        print(f"{flow}: {dict(states)}")
    print(f"kills: {dict(seen.kills)}, {sum(seen.kills.values())} in all; data {len(seen.seeds)}")
    alive = [run["name"] for each in runs.values() for run in each if run["state_type"] in _ALIVE]
    problems = [f"run {name} is still running by Prefect" for name in alive]
    locks = {name: pid for name, pid in held(mill.layout).items() if name != "monitor"}  # it lives
    problems += [f"lock {name} is held by {pid}" for name, pid in locks.items()]
    problems += [f"left file {name}" for name in mill.left()]
    problems += _slots_twice(runs)
    problems += _growth(seen)
    problems += _divergences(mill, seen, folder)
    for words in (("verify", str(mill.layout.batches("tiny"))), ("ledger", "tiny")):
        done = mill.run(*words, seconds=1800)
        print(f"ganmill {words[0]}: {done.stdout.strip().splitlines()[-1:]}")
        if done.returncode:
            problems.append(f"{words[0]}: {done.stderr.strip()[-300:]}")
    return problems


_ALIVE = {"RUNNING", "PENDING", "CANCELLING"}


def _slots_twice(runs: dict[str, list[dict[str, Any]]]) -> list[str]:
    """Return the slots of a schedule that more than one run worked for."""
    worked = Counter(
        (flow, run["expected_start_time"])
        for flow, found in runs.items()
        for run in found
        if run["auto_scheduled"] and run["state_name"] == "Completed"
    )
    return [f"slot {slot} of {flow} was worked for {n} times" for (flow, slot), n in worked.items()
            if n > 1]  # fmt: skip


def _growth(seen: Seen) -> list[str]:
    """Print how open files and memory grew, and return where they never stop growing."""
    problems = []
    for key, counts in seen.open_files.items():
        if len(counts) < 6:
            continue
        memory = seen.memory_mb[key]
        half = len(counts) // 2
        print(
            f"{key[0]} {key[1]}: {len(counts)} looks, open files {counts[0]} to {counts[-1]} "
            f"(most {max(counts)}), memory {memory[0]:.0f} to {memory[-1]:.0f} MB"
        )
        if min(counts[half:]) > 1.5 * max(counts[:half]) + 10:
            problems.append(f"{key[0]} leaks open files: {counts}")
    return problems


def _divergences(mill: Mill, seen: Seen, folder: Path) -> list[str]:
    """Train each data set again where nothing happens, and hold bundles and batches against it."""
    entries = [each for each in ledger.read(mill.layout.ledger) if each.event == "done"]
    let_out = {each.to_digest for each in entries}
    problems = [] if len(let_out) == len(entries) else ["a bundle was let out twice"]
    twin = make(folder / "twin")
    calm = {}
    for seed in seen.seeds:
        twin.write(kimg=_KIMG, seed=seed)
        dvc = Path(sys.executable).parent / "dvc"
        words = [str(dvc), "repro", "-q", "train@tiny"]
        subprocess.run(words, cwd=twin.layout.root, env=twin.environment, check=True)
        calm[open_bundle(twin.layout.bundle("tiny")).digest] = seed
    strange = let_out - set(calm)
    problems += [f"bundle {each[:12]} is that of no undisturbed training" for each in strange]
    cards = sorted(mill.layout.batches("tiny").glob(f"*/{BATCH}"))
    rows = [read_json(card) for card in cards]
    print(f"models let out: {len(let_out)} of {len(calm)}, {len(strange)} diverged")
    print(f"batches: {len(rows)}, assets {sum(row['accepted'] for row in rows)}")
    problems += _batches_differ(mill, cards, folder)
    return problems


def _batches_differ(mill: Mill, cards: list[Path], folder: Path) -> list[str]:
    """Make one asset of every batch again, and return where it is not the same."""
    problems = []
    again = folder / "again"
    for card in cards:
        asset = min((card.parent / "png").glob("*.png"))
        done = mill.run("regenerate", asset.stem)
        if done.returncode or "the same, byte for byte" not in done.stdout + done.stderr:
            problems.append(f"{asset.name}: {(done.stdout + done.stderr).strip()[-200:]}")
    shutil.rmtree(again, ignore_errors=True)
    print(f"one asset of each batch made again: {len(cards) - len(problems)} of {len(cards)} alike")
    return problems


def _left_over(mill: Mill, before: set[Path]) -> list[str]:
    """Return what is there after `ganmill down` that should not be."""
    processes = [f"process {each.pid} lives: {each.name()}" for each in mill.processes()]
    ours = ("prefect", "ganmill", "dvc", "mlflow", "tmp")
    fresh = set(Path(tempfile.gettempdir()).iterdir()) - before
    files = [f"{path} is left" for path in fresh if path.name.startswith(ours)]
    print(f"after `ganmill down`: {len(processes)} processes, {len(files)} temporary files")
    return processes + files


if __name__ == "__main__":
    sys.exit(main())
