"""Drift checks end to end: real DVC versions, a registered champion, Great Expectations."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from flows import ledger, registry
from flows.drift import checking, checks
from flows.drift.findings import Drift
from flows.ledger import Entry
from flows.settings import Settings
from flows.story import Lineage, Mill
from flows.tracking import open_run
from gan.errors import ContractError
from gan.image.dataset import open_dataset
from gan.image.verdict import Finding
from gan.metrics.domain import train_extractor
from gan.paths import Layout
from gan.recipe import load_recipe
from tests.flows.datasets import rooms
from tests.flows.datasets.rooms import RECIPE
from tests.gan.bundles import pack_untrained


@pytest.fixture(scope="module")
def layout(tmp_path_factory: pytest.TempPathFactory) -> Layout:
    """Return a workspace with a data version, an extractor, and then darker images, recorded too.

    `before.json` names the first version.
    """
    layout = rooms.make_room(tmp_path_factory.mktemp("drift") / "work")
    for number in range(24, 160):
        rooms.draw(layout.root, f"{'red' if number % 2 else 'blue'}/{number}.png", number)
    first = rooms.accept(layout)
    data = open_dataset(layout.train_data(RECIPE))
    train_extractor(data, layout.extractor(RECIPE), seed=1, images_shown=1280)
    for path in sorted((layout.root / "images").rglob("*.png")):
        with Image.open(path) as image:
            dark = Image.fromarray(np.asarray(image) // 4)
        dark.save(path)
    for path in sorted((layout.root / "images" / "red").iterdir())[:40]:
        path.unlink()
    rooms.accept(layout)
    (layout.root / "before.json").write_text(json.dumps(first.digest))
    return layout


def _before(layout: Layout) -> str:
    return str(json.loads((layout.root / "before.json").read_text()))


def _mill(layout: Layout, settings: Settings, **spec: Any) -> Mill:
    document = load_recipe(layout.params, RECIPE).model_dump()
    document["drift"].update(spec)
    recipe = load_recipe(layout.params, RECIPE).model_validate(document)
    return Mill(layout, settings, recipe, Lineage("run", "http://run", "a run"))


@pytest.fixture
def crown(
    layout: Layout, tmp_path: Path, server_layout: Layout, mlflow_settings: Settings
) -> Callable[[str], int]:
    """Return what makes a model champion that was trained on the data of a digest."""

    def crown(digest: str) -> int:
        bundle = pack_untrained(tmp_path / "bundle", ["blue", "red"], data_digest=digest)
        run = open_run(server_layout, mlflow_settings, RECIPE, "drift #1", {}, {})
        version = registry.register(mlflow_settings, RECIPE, bundle.folder, run, {})
        registry.set_alias(mlflow_settings, RECIPE, "champion", version.number)
        entry = Entry(
            event="done",
            recipe=RECIPE,
            actor="ganmill",
            reason="better",
            to_version=version.number,
            to_digest=version.digest,
            evidence_digest="e" * 64,
        )
        ledger.append(layout.ledger, entry)
        return version.number

    return crown


def test_without_a_record_of_the_old_images_there_is_no_answer(
    layout: Layout, mlflow_settings: Settings, crown: Callable[[str], int]
) -> None:
    """A model from elsewhere is no baseline: never a pass; the page says what makes one."""
    crown("d" * 64)
    mill = _mill(layout, mlflow_settings, max_label_shift=0.1)
    found = checking.check(mill)

    assert (found.outcome, found.figures) == ("no-baseline", None)
    assert "was trained on data dddddddddddd, of which no record is kept here" in found.says
    page = found.page.read_text()
    assert "Nothing to compare with" in page
    assert "ganmill retrain a" in page
    assert checking.conclude(mill, found, wants_retrain=True) == ""


def test_the_champions_own_images_have_not_drifted(
    layout: Layout, mlflow_settings: Settings, crown: Callable[[str], int]
) -> None:
    """Equal images pass whatever the limits, and nothing is measured for it."""
    number = crown(open_dataset(layout.train_data(RECIPE)).digest)
    found = checking.check(_mill(layout, mlflow_settings, max_fact_shift=0.0))

    assert found.outcome == "pass"
    assert found.says == f"The images are the very ones that v{number} was trained on."


def test_other_images_drift_in_every_figure(
    layout: Layout, mlflow_settings: Settings, crown: Callable[[str], int]
) -> None:
    """Darker images of which one class lost some: the facts that changed are named, with limits.

    The old ones come back from DVC once; their features are kept. `stop` refuses with exit code 3.
    """
    number = crown(_before(layout))
    limits = {"max_label_shift": 0.5, "max_fact_shift": 0.6, "max_feature_shift": 2.0}
    mill = _mill(layout, mlflow_settings, **limits, then="stop")
    found = checking.check(mill)

    assert (found.outcome, found.champion, found.baseline) == ("drifted", number, _before(layout))
    assert found.figures is not None
    assert found.figures.features is not None
    assert found.figures.labels.interval.value == pytest.approx(80 / 120 - 0.5)
    brightness = found.figures.facts["luminance"].interval
    assert brightness.value == 1.0
    assert found.figures.facts["aspect"].interval.value == 0.0
    assert "shift of brightness is 1; at most 0.6 is allowed." in found.reasons
    assert not any("classes" in reason for reason in found.reasons)
    assert any(reason.startswith("shown shift of what a network") for reason in found.reasons)
    assert layout.checkout(RECIPE, found.baseline).is_dir()

    shutil.rmtree(layout.checkout(RECIPE, found.baseline))
    with pytest.raises(ContractError, match=r"drift\.then is stop: 1 of the last 1 checks") as told:
        checking.step(mill)
    assert told.value.exit_code == 3
    assert not layout.checkout(RECIPE, found.baseline).is_dir()


def test_without_limits_it_only_tells(
    layout: Layout, mlflow_settings: Settings, crown: Callable[[str], int]
) -> None:
    """Every figure is on the page, nothing passes or fails, and a retraining goes on."""
    crown(_before(layout))
    state, note, _ = checking.step(_mill(layout, mlflow_settings))

    assert state == "unjudged"
    assert "the recipe sets no limit" in note
    page = (layout.drift(RECIPE) / "index.html").read_text()
    assert "Not judged" in page
    assert page.count("any</span>") == 8


def test_what_cannot_be_measured_does_not_pass(
    layout: Layout, mlflow_settings: Settings, crown: Callable[[str], int]
) -> None:
    """Where neither cache nor remote has the old images any more, a limit on features fails.

    Classes and facts are told all the same, and the page says why the rest is not.
    """
    crown(_before(layout))
    mill = _mill(layout, mlflow_settings, max_feature_shift=1e6, samples=100)
    places = [layout.features, layout.root / ".dvc" / "cache", layout.state / "dvc-store"]
    moved = [(path, path.rename(path.with_name(f"{path.name}-away"))) for path in places]
    try:
        found = checking.check(mill)
    finally:
        for path, away in moved:
            shutil.rmtree(path, ignore_errors=True)
            away.rename(path)

    assert found.outcome == "unknown"
    assert found.figures is not None
    assert found.figures.labels.interval.value > 0
    assert "What a network sees was not compared" in found.page.read_text()


@pytest.fixture
def told(layout: Layout, settings_on: Callable[..., Settings]) -> tuple[Mill, Drift]:
    """Return a recipe that retrains on 2 of 3, without servers, and a check that drifted."""
    settings = settings_on().model_copy(update={"prefect_api_url": "http://127.0.0.1:9/api"})
    mill = _mill(layout, settings, window=3, violations=2, then="retrain")
    mill = replace(mill, layout=Layout(layout.root / "told"))
    says = "drift: shift of contrast is 1; at most 0 is allowed."
    findings = [Finding("shift of contrast", False, 1.0, "at most 0", says)]  # noqa: FBT003
    page = Path("/page.html")
    found = Drift(RECIPE, "drifted", "They differ.", "b" * 64, "a" * 64, 1, page, findings)
    shutil.rmtree(mill.layout.root, ignore_errors=True)
    return mill, found


def test_a_strike_is_told_once_for_the_same_images(told: tuple[Mill, Drift]) -> None:
    """One check is only kept; the second in three is told; the same images then are not again.

    Other images are, and a new champion begins anew.
    """
    mill, found = told
    says = [checking.conclude(mill, found, wants_retrain=True) for _ in range(3)]
    other = replace(found, data="c" * 64)
    says.append(checking.conclude(mill, other, wants_retrain=True))
    crowned = replace(found, champion=2, baseline="f" * 64)
    says.append(checking.conclude(mill, crowned, wants_retrain=True))

    assert says[0] == says[4] == ""
    assert says[1] == (
        "2 of the last 2 checks exceed a limit; the latest: shift of contrast is 1; at most 0 is "
        "allowed."
    )
    rows = checks.read(mill.layout.drift_checks(RECIPE))
    assert [row.struck for row in rows] == [False, True, True, True, False]
    notices = [json.loads(line) for line in mill.layout.notices.read_text().splitlines()]
    assert [notice["event"] for notice in notices] == ["data.drifted"] * 2
    assert [notice["payload"]["data"][0] for notice in notices] == ["b", "c"]
    assert notices[0]["payload"]["then"] == "retrain"
