"""When a recipe's detector is trained, on which models, and what its page says."""

import hashlib
import html
import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from flows import registry, release
from flows.detector.page import PAGE, render
from flows.detector.step import Done, bring_up_to_date
from flows.registry import Version
from flows.settings import Settings
from flows.tracking import open_run
from gan.detector import DetectorCard, open_detector
from gan.detector.opening import open_examples
from gan.durable import SUMS, sha256, verify_sums, write_json, write_sums
from gan.paths import Layout
from gan.recipe import Recipe
from gan.sections import DataSpec, DetectorSpec
from tests.flows.browser import headless
from tests.gan.bundles import pack_untrained

NAME = "detected"
CLASSES = ["bright", "dark"]
HOSTILE = "</style><script>alert(1)</script><img src=http://127.0.0.1:9/b>\"'&"


def _recipe(**detector: float) -> Recipe:
    spec = DetectorSpec.model_validate({"kimg": 0.256, **detector})
    return Recipe(name=NAME, data=DataSpec(source="files", path="x", resolution=16), detector=spec)


def _prepare(folder: Path, count: int) -> None:
    """Write prepared images: a bright and a dark field, softly shaded."""
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(1)
    ramp = np.linspace(0, 60, 16)[:, None] * random.uniform(0, 1, (count, 3, 1, 16))
    labels = np.arange(count, dtype=np.int64) % 2
    images = (ramp + 150 * (1 - labels)[:, None, None, None]).astype(np.uint8)
    for name, array in (("images", images), ("labels", labels), ("groups", np.arange(count))):
        np.save(folder / f"{name}.npy", array)
    sums = [sha256(folder / name) for name in ("images.npy", "labels.npy")]
    digest = hashlib.sha256(json.dumps([*sums, CLASSES]).encode()).hexdigest()
    meta = {"classes": CLASSES, "resolution": 16, "channels": 3, "count": count, "digest": digest}
    write_json(folder / "meta.json", {**meta, "keys_sha256": "0" * 64})
    write_sums(folder)


@pytest.fixture(scope="module")
def layout(tmp_path_factory: pytest.TempPathFactory) -> Layout:
    """Return a workspace with prepared images."""
    made = Layout(tmp_path_factory.mktemp("work"))
    _prepare(made.train_data(NAME), 120)
    return made


@pytest.fixture(scope="module")
def versions(
    layout: Layout, mlflow_settings: Settings, tmp_path_factory: pytest.TempPathFactory
) -> list[Version]:
    """Return four registered versions; v3 is champion, v2 makes images of another size."""
    root = tmp_path_factory.mktemp("bundles")
    made: list[Version] = []
    for seed, side in ((1, 16), (2, 32), (3, 16), (4, 16)):
        run = open_run(layout, mlflow_settings, NAME, f"r{seed}", {}, {})
        bundle = pack_untrained(root / str(seed), CLASSES, seed=seed, resolution=side, recipe=NAME)
        made.append(registry.register(mlflow_settings, NAME, bundle.folder, run, {}))
    release.promote(
        layout,
        mlflow_settings,
        NAME,
        made[2],
        evidence_digest="e" * 64,
        actor="Ada",
        reason="best",
        expected_champion=None,
    )
    return made


@pytest.fixture(scope="module")
def done(layout: Layout, mlflow_settings: Settings, versions: list[Version]) -> Done:
    """Return what became of the first call."""
    return bring_up_to_date(layout, mlflow_settings, _recipe(), lambda _: None)


def test_the_champion_and_those_before_it_are_learnt(
    done: Done, layout: Layout, versions: list[Version]
) -> None:
    """The champion first, then earlier ones; a later one never served, another size cannot be."""
    assert done.card is not None
    assert done.state == "trained"
    assert [each.digest for each in done.card.models] == [versions[2].digest, versions[0].digest]
    assert "v2 is left out: it makes 32 px images" in done.note
    assert open_detector(layout.detector(NAME)).card == done.card
    assert "real images taken for synthetic" in done.note


def test_nothing_is_done_twice(done: Done, layout: Layout, mlflow_settings: Settings) -> None:
    """The same models, images and length: the detector that is there stays, byte by byte."""
    before = verify_sums(layout.detector(NAME))
    again = bring_up_to_date(layout, mlflow_settings, _recipe(), _never)

    assert (again.state, again.card) == ("unchanged", done.card)
    assert verify_sums(layout.detector(NAME)) == before


def _never(line: str) -> None:
    raise AssertionError(f"nothing was to be done: {line}")


def test_another_length_or_a_damaged_one_is_made_anew(
    done: Done, layout: Layout, mlflow_settings: Settings
) -> None:
    """A changed recipe, and a folder that is not what was written, are noticed and mended."""
    short = _recipe(kimg=0.128, models=0)
    assert bring_up_to_date(layout, mlflow_settings, short, lambda _: None).state == "trained"
    folder = layout.detector(NAME)
    (folder / PAGE).write_text("somebody's own words")
    found = bring_up_to_date(layout, mlflow_settings, short, lambda _: None)

    assert found.state == "trained"
    assert found.card is not None
    assert len(found.card.models) == 1
    assert (folder / PAGE).read_text().startswith("<!doctype html")
    verify_sums(folder)


def test_a_rollback_keeps_what_the_former_champion_made(
    layout: Layout, mlflow_settings: Settings, versions: list[Version]
) -> None:
    """A version that was champion until a rollback is out there: the detector still learns it."""
    release.promote(
        layout,
        mlflow_settings,
        NAME,
        versions[3],
        evidence_digest="e" * 64,
        actor="Ada",
        reason="newer",
        expected_champion=3,
    )
    release.rollback(layout, mlflow_settings, NAME, actor="Ada", reason="dull")
    found = bring_up_to_date(layout, mlflow_settings, _recipe(kimg=0.128, models=1), lambda _: None)

    assert found.card is not None
    assert [each.digest for each in found.card.models] == [versions[2].digest, versions[3].digest]


def test_what_cannot_be_is_skipped_with_a_reason(
    tmp_path: Path, layout: Layout, mlflow_settings: Settings, versions: list[Version]
) -> None:
    """None is wanted, no champion, too few images: said in a line, and a flow goes on."""
    off = bring_up_to_date(layout, mlflow_settings, _recipe(kimg=0.0), _never)
    nobody = _recipe().model_copy(update={"name": "nobody"})
    none = bring_up_to_date(layout, mlflow_settings, nobody, _never)
    few = Layout(tmp_path)
    _prepare(few.train_data(NAME), 40)
    few.ledger.parent.mkdir(parents=True)
    few.ledger.write_bytes(layout.ledger.read_bytes())
    too_few = bring_up_to_date(few, mlflow_settings, _recipe(), lambda _: None)

    assert [each.state for each in (off, none, too_few)] == ["skipped"] * 3
    assert (off.note, none.note) == ("detector.kimg is 0", "no champion yet")
    assert "40 real images; at least 100" in too_few.note
    assert not (few.detector(NAME) / SUMS).exists()


@pytest.fixture
def browser(tmp_path: Path) -> Callable[..., str]:
    """Return a function that opens a file in a headless browser and returns what it printed."""
    return headless(tmp_path / "profile")


@pytest.fixture(scope="module")
def told(layout: Layout, done: Done) -> tuple[DetectorCard, np.ndarray]:
    """Return a card and the pictures of its examples."""
    assert done.card is not None
    folder = layout.detector(NAME)
    card = open_detector(folder).card
    return card, open_examples(folder, card)


def test_the_page_tells_every_rate_and_what_it_cannot(
    told: tuple[DetectorCard, np.ndarray],
) -> None:
    """Each journey with its rates and numbers, each note of the card, each example."""
    card, pictures = told
    page = render(NAME, card, pictures)
    plain = " ".join(html.unescape(re.sub("<[^>]+>", " ", page)).split())

    for each in card.conditions:
        for rate in (each.real, each.champion):
            assert f"{rate.value:.1%} [{rate.low:.1%}, {rate.high:.1%}], N {rate.n:,}" in plain
    for note in card.notes:
        assert note in plain
    assert page.count("<img") == len(card.examples) == len(pictures)
    assert page == render(NAME, card, pictures)


def test_a_phone_reads_the_page_and_names_are_text(
    tmp_path: Path, told: tuple[DetectorCard, np.ndarray], browser: Callable[..., str]
) -> None:
    """In a browser every picture is drawn, nothing sticks out at the side, no name is markup."""
    card, pictures = told
    first = card.examples[0].model_copy(update={"journey": HOSTILE})
    card = card.model_copy(update={"notes": [HOSTILE], "examples": [first, *card.examples[1:]]})
    probe = """<script>document.title = JSON.stringify({
      drawn: [...document.images].filter(each => each.naturalWidth > 0).length,
      scripts: document.scripts.length, width: document.documentElement.scrollWidth,
      window: window.innerWidth})</script>"""
    file = tmp_path / "page.html"
    page = render(HOSTILE, card, pictures)
    file.write_text(re.sub(r'<meta http-equiv="Content[^>]*>', "", page) + probe)
    dom = browser(file, "--window-size=500,900", "--dump-dom")
    title = re.search(r"<title>(\{.*?\})</title>", dom, re.DOTALL)
    assert title is not None
    seen = json.loads(html.unescape(title[1]))

    assert seen["drawn"] == len(pictures)
    assert seen["scripts"] == 1
    assert seen["width"] <= seen["window"]
