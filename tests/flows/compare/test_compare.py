"""`ganmill compare`: what it takes, what it refuses, and the page it leaves for real models."""

import io
import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from flows.compare.compare import fixed_strips
from flows.compare.facts import cost_facts
from flows.compare.models import (
    Model,
    Reference,
    open_model,
    parse,
    parse_pair,
    require_comparable,
)
from flows.registry import register, set_alias
from flows.settings import Settings
from flows.tracking import RunFacts, log_dataset, log_stats, open_run
from gan.bundle import open_bundle, pack
from gan.errors import UsageError
from gan.paths import Layout
from tests.gan.bundles import pack_untrained

Done = subprocess.CompletedProcess[str]
Run = Callable[..., Done]
CLASSES = ("bars", "dots")


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("stickers", Reference("stickers")),
        ("stickers@champion", Reference("stickers", "champion")),
        ("my-pets.2@challenger", Reference("my-pets.2", "challenger")),
        ("stickers:3", Reference("stickers", number=3)),
        ("stickers:v3", Reference("stickers", number=3)),
    ],
)
def test_a_model_is_named_in_four_forms(text: str, meant: Reference) -> None:
    """Workspace, champion, challenger, version; it is shown as it is typed."""
    assert parse(text) == meant
    assert parse(str(meant)) == meant


@pytest.mark.parametrize("text", ["stickers@chapmion", "stickers:", "stickers:two", ":3", "", "@"])
def test_another_form_is_refused_with_those_there_are(text: str) -> None:
    """A slip of the pen is told with what was wanted."""
    with pytest.raises(UsageError, match="RECIPE@champion, RECIPE@challenger or RECIPE:VERSION"):
        parse(text)


def test_the_second_model_is_of_the_first_recipe_and_its_champion(tmp_path: Path) -> None:
    """B may leave the recipe out, or be left out; an unknown recipe is told before anything."""
    layout = Layout(tmp_path)
    layout.params.write_text(
        "recipes:\n  tiny:\n    data: {source: files, path: nowhere, resolution: 16}\n"
    )

    assert parse_pair(layout, "tiny", None)[1] == Reference("tiny", "champion")
    assert parse_pair(layout, "tiny", ":3")[1] == Reference("tiny", number=3)
    assert parse_pair(layout, "tiny@challenger", "@champion")[1] == Reference("tiny", "champion")
    with pytest.raises(UsageError, match=r"no recipe 'tyni'\. Did you mean tiny"):
        parse_pair(layout, "tiny", "tyni:1")


@pytest.mark.parametrize(
    ("other", "told"),
    [
        ({"classes": CLASSES, "seed": 1}, "are the same bundle"),
        ({"classes": CLASSES, "seed": 2, "resolution": 32}, "resolution 16 px against 32 px"),
        ({"classes": CLASSES, "seed": 2, "channels": 4}, "channels 3 against 4"),
        ({"classes": ("bars",), "seed": 2}, "number of classes 2 against 1"),
        ({"classes": ("bars", "stars"), "seed": 2}, "class 'dots' against 'stars'"),
    ],
)
def test_what_no_figure_could_tell_apart_is_refused(
    tmp_path: Path, other: dict[str, Any], told: str
) -> None:
    """The same bundle twice, and models of unlike images, are one clear line."""
    one, two = tmp_path / "a", tmp_path / "b"
    a = Model("tiny", "tiny v1", pack_untrained(one, CLASSES), None, RunFacts(), is_champion=True)
    bundle = pack_untrained(two, **other)
    b = Model("tiny", "tiny v2", bundle, None, RunFacts(), is_champion=False)

    with pytest.raises(UsageError, match=told):
        require_comparable(a, b)


def test_a_version_is_told_with_what_its_training_recorded(
    tmp_path: Path, mlflow_settings: Settings, server_layout: Layout
) -> None:
    """Parameters, images, time and the most memory come back from MLflow as they were measured."""
    layout, settings = Layout(tmp_path), mlflow_settings
    run = open_run(server_layout, settings, "told", "told #1", {}, {"train": {"lr": 0.002}})
    log_dataset(run, "told", "d" * 64, {"path": "data"}, {"images": 240, "classes": 2})
    rows = [
        {"nimg": 1000, "kimg": 1.0, "seconds": 5.0, "memory_mb": 300.0},
        {"nimg": 2000, "kimg": 2.0, "seconds": 10.0, "memory_mb": 250.0},
    ]
    log_stats(run, rows)
    bundle = pack_untrained(tmp_path / "bundle", CLASSES)
    register(settings, "told", bundle.folder, run, {"data_version": "abc.dir"})
    set_alias(settings, "told", "champion", 1)

    model = open_model(layout, settings, Reference("told", "champion"))
    assert model.name == "told v1 (champion)"
    assert model.bundle.digest == bundle.digest
    assert model.run == RunFacts({"train.lr": "0.002"}, 240, 10.0, 2.0, 300.0)
    assert model.data_facts["data version (DVC)"] == "abc.dir"
    assert [words for words, _ in model.side.links] == ["version", "training run"]
    with pytest.raises(UsageError, match=r"told has no challenger\. Run: ganmill retrain"):
        open_model(layout, settings, Reference("told", "challenger"))
    with pytest.raises(UsageError, match="nothing is trained in this workspace"):
        open_model(layout, settings, Reference("told"))


def test_what_was_measured_is_shown_in_units_of_people(tmp_path: Path) -> None:
    """Hours, speed and memory; what nobody measured stays empty."""
    card = pack_untrained(tmp_path, CLASSES, kimg=1500.0).card
    facts = cost_facts(card, RunFacts({}, 240, 4520.0, 1500.0, 1234.0))

    assert facts["training time"] == "1 h 15 min"
    assert facts["images shown"] == "1,500 kimg"
    assert facts["speed, measuring included"] == "332 images/s"
    assert facts["peak memory"] == "1.23 GB"
    assert facts["peak GPU memory"] == ""
    assert cost_facts(card, RunFacts())["training time"] == ""


def test_both_get_the_same_latents(tmp_path: Path) -> None:
    """Of each class there is a strip of 8 images, equal for equal weights; one class has rows."""
    one, two = (pack_untrained(tmp_path / x, CLASSES, seed=2) for x in "ab")
    strips, note = fixed_strips(one, two)
    assert [strip.name for strip in strips] == list(CLASSES)
    assert all(strip.a == strip.b for strip in strips)
    assert note == "The images of a column come from one latent: A above, B below."
    with Image.open(io.BytesIO(strips[0].a)) as picture:
        assert picture.size == (8 * (64 + 2) - 2, 64)

    alone = pack_untrained(tmp_path / "c", ["dots"], seed=3)
    strips, _ = fixed_strips(alone, alone)
    assert strips[0].name == "dots, row 1"
    assert len({strip.a for strip in strips}) == len(strips) > 1

    many = pack_untrained(tmp_path / "d", [f"class {n}" for n in range(30)], seed=4)
    strips, note = fixed_strips(many, many)
    assert len(strips) == 24
    assert note.endswith("24 of 30 classes are shown.")


@pytest.fixture(scope="module")
def changed_root(
    mill_root: Path, first_retrain: Done, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Return a copy of the workspace in which another bundle lies where training leaves one."""
    root = tmp_path_factory.mktemp("changed") / "workspace"
    shutil.copytree(mill_root, root, ignore=shutil.ignore_patterns(".ganmill", ".git"))
    layout = Layout(root)
    shutil.rmtree(layout.bundle("tiny"))
    told = json.loads(first_retrain.stdout)
    champion = open_bundle(Layout(mill_root).bundle_store / told["bundle"])
    card = champion.card.model_copy(update={"gamma": 0.5, "train": {"lr": 9.0}})
    untrained = pack_untrained(root / "untrained", card.classes, seed=5)
    pack(layout.bundle("tiny"), untrained.generator(), untrained.critic(), card)
    return root


@pytest.fixture(scope="module")
def compare(ganmill: Run, changed_root: Path, mill_settings: Settings) -> Run:
    """Return a function that runs `ganmill compare` in that copy, against the same servers."""
    assert ganmill("up").returncode == 0
    servers = {
        "MLFLOW_TRACKING_URI": mill_settings.mlflow_url,
        "PREFECT_API_URL": f"{mill_settings.prefect_url}/api",
        "GANMILL_PREFECT_PORT": "9",  # these servers are another workspace's
        "GANMILL_MLFLOW_PORT": "10",
    }

    def run(*words: str) -> Done:
        return ganmill("compare", *words, cwd=changed_root, **servers)

    return run


def test_two_models_make_one_page(
    compare: Run, changed_root: Path, mill_settings: Settings
) -> None:
    """A trained model is told from another, with what is known of both; again it is the same."""
    done = compare("tiny", ":1", "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    path = Path(told["page"])
    page = path.read_text()

    name = f"{told['a']['bundle'][:12]}-against-v1.html"
    assert path == Layout(changed_root).comparison("tiny") / name
    distance = told["metrics"][0]
    lower = "A" if distance["a"]["value"] < distance["b"]["value"] else "B"
    assert told["headline"].startswith(f"{lower} is better: fd_domain lower by ")
    assert distance["better"] == lower
    assert {"name", "a", "b", "difference", "less_is_better"} <= set(told["metrics"][0])
    assert told["headline"] in page
    assert "tiny v1" in page
    assert "not registered, in the workspace" in page
    assert f"{mill_settings.mlflow_url}/#/models/tiny/versions/1" in page
    assert ">train.lr<" in page  # what the cards differ in, for only one is registered
    assert ">gamma chosen<" in page
    facts = dict(re.findall(r'rowheader">([^<]+)</th>(.*?)</tr>', page))
    of_a, of_b = re.findall(r"<span>(.*?)</span>", facts["training time"])
    assert of_a == "&ndash;"  # nobody measured it
    assert of_b.endswith(" s") or " min" in of_b
    assert page.count("<img ") == 2 * len(set(re.findall(r"<h3>(.*?)</h3>", page)))

    again = compare("tiny", "tiny:1")
    assert path.read_text() == page
    assert again.stdout.splitlines()[2] == told["headline"]
    assert f"Page: reports/tiny/compare/{name}" in again.stdout


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("tiny:1", "tiny:1"), "are the same bundle"),
        (("tiny:99",), "tiny has no version v99. There: "),
        (("tyni",), "no recipe 'tyni'. Did you mean tiny?"),
    ],
)
def test_a_slip_is_one_line(compare: Run, words: tuple[str, ...], told: str) -> None:
    """Exit code 2, and what was meant or is there."""
    done = compare(*words)

    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert told in done.stderr.strip().splitlines()[-1]
