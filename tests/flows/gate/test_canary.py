"""Canaries in processes of their own: what is found of bundles that work, and of broken ones."""

import json
import os
import shutil
from pathlib import Path

import psutil
import pytest

from flows.gate import canary
from flows.gate.canary import deviation, measure
from gan.assets.manifest import verify
from gan.bundle import Bundle
from gan.durable import sha256
from gan.paths import Layout
from gan.recipe import Recipe, load_recipe
from tests.gan.bundles import pack_untrained

PARAMS = """\
recipes:
  tiny:
    data: {source: files, path: images, resolution: 16}
    assets: {size_px: 32}
"""


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """Return a workspace with one recipe."""
    root = tmp_path / "workspace"
    root.mkdir()
    (root / "params.yaml").write_text(PARAMS)
    return Layout(root)


@pytest.fixture
def recipe(layout: Layout) -> Recipe:
    """Return that recipe."""
    return load_recipe(layout.params, "tiny")


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> tuple[Bundle, Bundle]:
    """Return two untrained bundles, candidate and champion."""
    root = tmp_path_factory.mktemp("bundles")
    a, b = (pack_untrained(root / str(seed), ["cats", "dogs"], seed=seed) for seed in (1, 2))
    return a, b


def test_two_bundles_are_minted_from_and_timed(
    layout: Layout, recipe: Recipe, bundles: tuple[Bundle, Bundle], tmp_path: Path
) -> None:
    """Both findings are whole; the candidate's assets stay, and can be minted again the same."""
    out = tmp_path / "staged" / "canary"
    ours, theirs = measure(layout, recipe, bundles[0].folder, bundles[1].folder, out)

    assert theirs is not None
    for found, bundle in ((ours, bundles[0]), (theirs, bundles[1])):
        assert found.problem == ""
        assert found.bundle_digest == bundle.digest
        assert (found.count, len(found.files)) == (16, 16)
        assert 0 <= found.accepted <= 16
        assert 1e-6 < found.seconds_per_image < 1
        assert 50 < found.memory_mb < 5000
    assert verify(out) == []
    assert {name: sha256(out / name) for name in ours.files} == dict(ours.files)
    assert not set(ours.files) & set(theirs.files)
    assert list(tmp_path.rglob("*.png")) == list(out.rglob("*.png"))
    assert deviation(layout, recipe, bundles[0].folder, out) == 0
    assert deviation(layout, recipe, bundles[1].folder, out) is None


def test_a_broken_candidate_is_a_finding(
    layout: Layout, recipe: Recipe, bundles: tuple[Bundle, Bundle], tmp_path: Path
) -> None:
    """A flipped bit ends its own canary with a line that names the file, and not the champion's."""
    broken = tmp_path / "broken"
    shutil.copytree(bundles[0].folder, broken)
    weights = bytearray((broken / "generator.safetensors").read_bytes())
    weights[-1] ^= 1
    (broken / "generator.safetensors").write_bytes(weights)
    ours, theirs = measure(layout, recipe, broken, bundles[1].folder, tmp_path / "out")

    assert ours.bundle_digest == bundles[0].digest
    assert (ours.count, ours.files) == (0, {})
    assert ours.problem.startswith("the canary ended with 1: ")
    assert "generator.safetensors: SHA-256 is" in ours.problem
    assert "\n" not in ours.problem
    assert not (tmp_path / "out").exists()
    assert theirs is not None
    assert theirs.problem == ""


MISBEHAVIOURS = {
    "rubbish": ("print('hello')", "answered 'hello', which is no answer"),
    "half an answer": ("print('{\"count\": 16}')", "which is no answer"),
    "death": ("import os; os.kill(os.getpid(), 9)", "ended with -9: it said nothing"),
    "a traceback": ("raise SystemError('no luck')", "ended with 1: SystemError: no luck"),
    "silence": ("import time; time.sleep(600)", "did not answer within 2 s"),
    "a flood": ("import os\nwhile True: os.write(1, b'x' * 65536)", "which is no answer"),
    "an early end": ("pass", "ended with 0: it said nothing"),
}


@pytest.mark.parametrize("kind", MISBEHAVIOURS)
def test_a_child_that_misbehaves_is_a_finding(
    layout: Layout, recipe: Recipe, kind: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Whatever a canary does instead of answering is a line, in time; none is left running."""
    program, problem = MISBEHAVIOURS[kind]
    (layout.root / "gan").mkdir()  # stands in for the engine: Python looks in this folder first
    (layout.root / "gan" / "__init__.py").touch()
    (layout.root / "gan" / "__main__.py").write_text(program)
    monkeypatch.setattr(canary, "_START_SECONDS", 2.0)
    monkeypatch.setattr(canary, "_END_SECONDS", 1.0)
    found, _ = measure(layout, recipe, tmp_path, None, tmp_path / "out")

    assert problem in found.problem
    assert found.bundle_digest == ""
    assert not [child for child in psutil.Process().children() if _is_canary(child)]


def _is_canary(child: psutil.Process) -> bool:
    """Tell whether a child of ours is a living canary; other tests leave children of their own."""
    try:
        return "canary" in child.cmdline()
    except psutil.NoSuchProcess:  # it ended meanwhile, or waits to be reaped
        return False


ANSWERS = """\
import json, sys, time
report = {"bundle_digest": "d" * 64, "count": 16, "accepted": 15, "files": {}, "memory_mb": 9.5}
print(json.dumps(report), flush=True)
for n, _ in enumerate(sys.stdin):
    if n == 3 and sys.argv[2].endswith("stuck"):
        time.sleep(600)
    print(json.dumps({"seconds_per_image": 0.5 + 0.01 * (n - 4) ** 2}), flush=True)
"""


def test_the_best_of_all_rounds_counts_and_one_that_gets_stuck_is_a_finding(
    layout: Layout, recipe: Recipe, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A bundle is as fast as in its best round; the other one is timed to its end all the same."""
    monkeypatch.setattr(canary, "_ROUND_SECONDS", 2.0)
    monkeypatch.setattr(canary, "_END_SECONDS", 1.0)
    (layout.root / "gan").mkdir()
    (layout.root / "gan" / "__init__.py").touch()
    (layout.root / "gan" / "__main__.py").write_text(ANSWERS)
    ours, theirs = measure(layout, recipe, tmp_path, tmp_path / "stuck", tmp_path / "out")

    assert (ours.problem, ours.seconds_per_image, ours.accepted) == ("", 0.5, 15)
    assert theirs is not None
    assert theirs.problem == "the canary did not answer within 2 s."


def test_a_canary_knows_no_secret(
    layout: Layout, recipe: Recipe, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Addresses and passwords of this process are not in the environment of a canary."""
    monkeypatch.setenv("GANMILL_NOTICE_WEBHOOK", "https://user:password@example.invalid")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    (layout.root / "gan").mkdir()
    (layout.root / "gan" / "__init__.py").touch()
    (layout.root / "gan" / "__main__.py").write_text(
        "import json, os; open('seen.json', 'w').write(json.dumps(dict(os.environ)))"
    )
    measure(layout, recipe, tmp_path, None, tmp_path / "out")
    seen = json.loads((layout.root / "seen.json").read_text())

    assert seen["PATH"] == os.environ["PATH"]
    assert set(seen) <= {*canary._PASSED_ON, "LC_CTYPE"}  # which Python itself sets
