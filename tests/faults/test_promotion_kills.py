"""Promotions and rollbacks that die at each step: the champion is old or new, never neither.

A step is a change of the disk, a request to MLflow, or its answer. The champion is what alias and
ledger agree on, MLflow is real, and whoever comes next finds one whole history.
"""

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import pytest

from flows import ledger, registry, release, succession
from flows.settings import Settings
from flows.tracking import TrackedRun, open_run
from gan.durable import write_sums
from gan.paths import Layout
from tests.faults.conftest import ROOT
from tests.faults.seam import KILLED
from tests.flows.conftest import (
    mlflow_settings,  # noqa: F401  # a fixture
    server_layout,  # noqa: F401
    settings_on,  # noqa: F401
)

# What a promotion leaves for others is different after each of these, and only then.
_LASTING = ("rename ledger", "asking POST alias", "answered POST alias", "answered POST set-tag")


@dataclass
class Mill:
    """A workspace whose promotions run in children of a warm process, and may be killed."""

    layout: Layout
    settings: Settings
    recipe: str
    run: TrackedRun
    process: "subprocess.Popen[str]"

    def do(self, bundle: Path | None, die_at: int = 0) -> tuple[int, list[str]]:
        """Promote a bundle, or roll back; return the exit code and the steps passed."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        asked = {
            "root": str(self.layout.root),
            "recipe": self.recipe,
            "bundle": str(bundle) if bundle else None,
            "run": asdict(self.run),
            "die_at": die_at,
        }
        self.process.stdin.write(f"{json.dumps(asked)}\n")
        self.process.stdin.flush()
        status, passed = json.loads(self.process.stdout.readline())
        return int(status), passed

    @property
    def entries(self) -> list[ledger.Entry]:
        """The ledger, its chain checked."""
        return ledger.read(self.layout.ledger)

    def champion(self) -> int | None:
        """Return the champion that alias and ledger agree on."""
        found = release.serving(self.layout, self.settings, self.recipe)
        return found.number if found else None


@pytest.fixture
def mill(
    tmp_path: Path,
    mlflow_settings: Settings,  # noqa: F811
    server_layout: Layout,  # noqa: F811
) -> Iterator[Mill]:
    """Return a workspace without a champion."""
    recipe = f"kills-{tmp_path.name.strip('_').lower()}"
    layout = Layout(tmp_path / "w")
    layout.root.mkdir()
    run = open_run(server_layout, mlflow_settings, recipe, "r", {}, {})
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.faults.promoting"],
        cwd=ROOT,
        env={
            **os.environ,
            "OMP_NUM_THREADS": "1",
            "MLFLOW_TRACKING_URI": mlflow_settings.mlflow_url,
        },
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    yield Mill(layout, mlflow_settings, recipe, run, process)
    assert process.stdin is not None
    process.stdin.close()
    process.wait()


def _bundle(root: Path, words: str) -> Path:
    folder = root / "bundles" / words
    folder.mkdir(parents=True)
    (folder / "generator.safetensors").write_bytes(words.encode() * 100)
    (folder / "card.json").write_text('{"recipe": "kills"}')
    write_sums(folder)
    return folder


def _kill_and_mend(mill: Mill, bundle: Path | None, die_at: int) -> bool:
    """Let one promotion or rollback die at a step, and mend it; return whether it got that far."""
    old, before = mill.champion(), len(mill.entries)
    status, passed = mill.do(bundle, die_at)
    assert status in {0, KILLED}
    step = passed[-1]

    pointed = registry.by_alias(mill.settings, mill.recipe, release.CHAMPION)
    assert pointed or old is None, step
    release.finish(mill.layout, mill.settings, mill.recipe)
    assert ledger.open_intent(mill.entries, mill.recipe) is None, step
    mended = mill.champion()
    closing = "done" if bundle else "rollback"
    if bundle or mended == old:  # done again, a rollback that was completed would go one further
        assert mill.do(bundle)[0] == 0, step

    new = mill.champion()
    assert mended in {old, new}, step
    assert new not in {old, None}, step
    lines = mill.entries[before:]
    events = [line.event for line in lines]
    assert events == ["intend" if bundle else "intend-rollback", closing], step
    assert (lines[-1].from_version, lines[-1].to_version) == (old, new), step
    known = registry.versions(mill.settings, mill.recipe)
    assert set(Counter(version.digest for version in known).values()) == {1}, step
    (tags,) = [version.tags for version in known if version.number == new]
    if status or mended == old:  # the next to come sees to the tags
        release.finish(mill.layout, mill.settings, mill.recipe)
        tags = registry.by_number(mill.settings, mill.recipe, new or 0).tags
    assert tags[succession.LEDGER_DIGEST] == lines[-1].digest, step
    return status == KILLED


def _sweep(mill: Mill, bundles: Callable[[int], Path | None]) -> int:
    """Let one after the other die a step later, until one gets through; return how many died."""
    n = 1
    while _kill_and_mend(mill, bundles(n), n):
        n += 1
    return n - 1


@pytest.mark.timeout(600)
def test_dying_around_every_lasting_step_leaves_the_old_champion_or_the_new(
    mill: Mill, tmp_path: Path
) -> None:
    """Before and after all that MLflow and the disk keep of a promotion, one death each."""
    pair = [_bundle(tmp_path, words) for words in ("one", "two")]
    assert [mill.do(bundle)[0] for bundle in pair] == [0, 0]
    calm = mill.do(pair[0])[1]  # nothing is registered any more
    moments = [n for n, step in enumerate(calm, 1) if step.startswith(_LASTING)]
    for count, moment in enumerate(moments, 1):
        assert _kill_and_mend(mill, pair[count % 2], moment), calm[moment - 1]

    assert len(moments) == 8


@pytest.mark.faults
@pytest.mark.timeout(3600)
def test_dying_at_any_step_of_100_leaves_one_whole_history(mill: Mill, tmp_path: Path) -> None:
    """From registering a new bundle to its last tag, then of rollbacks: at least 100 deaths.

    After each the champion is the old one or the new one and agrees with the ledger, a bundle is
    one version, the chain holds, no intent is open, and the same command again completes.
    """
    deaths = _sweep(mill, lambda n: _bundle(tmp_path, f"bundle-{n}"))
    back = _sweep(mill, lambda _: None)

    print(f"{deaths} deaths in promotions, {back} in rollbacks, {len(mill.entries)} ledger lines")
    assert deaths + back >= 100
