"""The pinned extractor: it outlives data and code, and changes by its own command alone."""

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from ruamel.yaml import YAML
from safetensors.torch import save_file

from flows import registry, release, versions
from flows.commands import extractors
from flows.settings import Settings
from flows.tracking import open_run
from gan.durable import verify_sums, write_json
from gan.errors import ServiceError, UsageError
from gan.image.dataset import open_dataset
from gan.metrics.cards import BackboneCard
from gan.metrics.domain import train_extractor
from gan.metrics.extractors import write_extractor
from gan.paths import Layout
from gan.recipe import Recipe, load_recipe
from tests.flows.conftest import COMMAND
from tests.gan.bundles import pack_untrained
from tests.gan.training.conftest import CLASSES, write_data

REPO = Path(__file__).resolve().parents[3]
Done = subprocess.CompletedProcess[str]

# Stands for each stage's command: it writes the stage's outputs from what came in, the kind of the
# images from a file, and, as a training may, never the same extractor twice.
WORK = """
import json, os, pathlib, sys
stage, recipe = sys.argv[1:]
outs = json.loads(pathlib.Path("outs.json").read_text())[stage]
with open("ran.log", "a") as log:
    print(stage, file=log)
came = pathlib.Path("images").read_text()
for out in map(pathlib.Path, outs):
    out.parent.mkdir(parents=True, exist_ok=True)
    if out.name == "kind.json":
        out.write_text(pathlib.Path("kind").read_text())
    elif out.suffix:
        out.write_text(stage + came)
    else:
        out.mkdir(exist_ok=True)
        unique = os.urandom(8).hex() if stage == "extractor" else ""
        (out / "file").write_text(stage + came + unique)
"""


@pytest.fixture
def graph(tmp_path: Path) -> Layout:
    """Return a workspace with the stages of our dvc.yaml, their files and a quick command each."""
    root = tmp_path / "graph"
    (root / ".dvc").mkdir(parents=True)
    for name in (".gitignore", ".dvcignore", ".dvc/config", ".dvc/.gitignore"):
        (root / name).write_bytes((REPO / name).read_bytes())
    document = YAML(typ="safe").load((REPO / "dvc.yaml").read_text())
    outs = {}
    for name, stage in document["stages"].items():
        stage["do"]["cmd"] = f"python work.py {name} ${{key}}"
        names = [
            key for out in stage["do"]["outs"] for key in (out if type(out) is dict else [out])
        ]
        outs[name] = [out.replace("${key}", "a") for out in names]
        for code in (each for each in stage["do"]["deps"] if "$" not in each):
            path = root / code if code.endswith(".py") else root / code / "module.py"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("code\n")
    with (root / "dvc.yaml").open("w") as file:
        YAML(typ="safe", pure=True).dump(document, file)
    sections = {"data": {"path": "images"}, "model": {}, "train": {}, "evaluate": {"samples": 200}}
    with (root / "params.yaml").open("w") as file:
        YAML(typ="safe", pure=True).dump({"recipes": {"a": sections}}, file)
    write_json(root / "outs.json", outs)
    (root / "work.py").write_text(WORK)
    (root / "images").write_text("first")
    (root / "kind").write_text("32 px")
    layout = Layout(root)
    write_json(layout.pin("a"), {"bundle": None})
    subprocess.run(["git", "init", "-q", str(root)], check=True)
    return layout


def _walk(layout: Layout) -> dict[str, str]:
    return {name: versions.reproduce(layout, name, "a").state for name in versions.STAGES}


def test_an_extractor_outlives_data_and_code(graph: Layout) -> None:
    """More images and new code make the training and the figures anew, with the same extractor."""
    first = _walk(graph)
    pinned = (graph.extractor("a") / "file").read_bytes()
    (graph.root / "images").write_text("first and more")
    grown = _walk(graph)
    for module in ("gan/metrics/extractors.py", "gan/image/networks/module.py"):
        (graph.root / module).write_text("other code\n")
    recoded = _walk(graph)

    assert set(first.values()) == {"ran"}
    assert grown == {**first, "extractor": "unchanged"}
    assert (recoded["extractor"], recoded["train"], recoded["evaluate"]) == (
        "unchanged",
        "ran",
        "ran",
    )
    assert (graph.extractor("a") / "file").read_bytes() == pinned


def test_only_force_or_another_shape_makes_an_extractor(graph: Layout) -> None:
    """A renewal stays when the folder is deleted; a recipe of another size gets its own."""
    _walk(graph)
    first = (graph.extractor("a") / "file").read_bytes()
    versions.reproduce(graph, "extractor", "a", force=True)
    renewed = (graph.extractor("a") / "file").read_bytes()
    shutil.rmtree(graph.extractor("a"))
    back = versions.reproduce(graph, "extractor", "a")
    kept = (graph.extractor("a") / "file").read_bytes()
    (graph.root / "kind").write_text("64 px")
    (graph.root / "images").write_text("large")
    larger = _walk(graph)

    assert first != renewed == kept
    assert back.state == "restored"
    assert larger["extractor"] == "ran"


def test_dvc_by_hand_does_the_same(graph: Layout) -> None:
    """`dvc repro` from nothing makes all in order; more images leave the extractor as it is."""
    dvc = str(COMMAND.with_name("dvc"))
    path = f"{COMMAND.parent}{os.pathsep}{os.environ['PATH']}"

    def run(*words: str) -> None:
        environment = {**os.environ, "PATH": path, "DVC_NO_ANALYTICS": "1"}
        command = [dvc, *words, "-q"]
        subprocess.run(command, cwd=graph.root, env=environment, check=True)

    run("repro")
    pinned = (graph.extractor("a") / "file").read_bytes()
    (graph.root / "images").write_text("more")
    run("repro")

    ran = (graph.root / "ran.log").read_text().split()
    rest = [name for name in versions.STAGES if name != "extractor"]
    assert ran == [*versions.STAGES, *rest]
    assert (graph.extractor("a") / "file").read_bytes() == pinned


@pytest.fixture
def mill(tmp_path: Path) -> tuple[Layout, Recipe]:
    """Return a workspace with prepared data and an extractor of another training than ours."""
    layout = Layout(tmp_path / "mill")
    (layout.root / ".dvc").mkdir(parents=True)
    for name in (".gitignore", ".dvcignore", ".dvc/config", ".dvc/.gitignore", "dvc.yaml"):
        (layout.root / name).write_bytes((REPO / name).read_bytes())
    (layout.root / "gan").symlink_to(REPO / "gan")
    recipe: dict[str, Any] = {"data": {"source": "files", "path": "images", "resolution": 16}}
    recipe |= {"model": {"preset": "tiny"}, "train": {}, "evaluate": {"samples": 200}}
    with layout.params.open("w") as file:
        YAML(typ="safe", pure=True).dump({"recipes": {"renewed": recipe}}, file)
    write_data(layout.train_data("renewed"))
    write_json(layout.kind("renewed"), {"channels": 3, "resolution": 16})
    data = open_dataset(layout.train_data("renewed"))
    train_extractor(data, layout.extractor("renewed"), 5, lambda _: None, images_shown=128)
    return layout, load_recipe(layout.params, "renewed")


def _crown(layout: Layout, settings: Settings, recipe: str, seed: int) -> registry.Version:
    """Register an untrained bundle and make it champion."""
    folder = layout.root / f"bundle-{seed}"
    digest = open_dataset(layout.train_data(recipe)).digest
    pack_untrained(folder, CLASSES, seed=seed, recipe=recipe, data_digest=digest)
    run = open_run(layout, settings, recipe, f"{recipe} #{seed}", {}, {})
    version = registry.register(settings, recipe, folder, run, {})
    champion = release.serving(layout, settings, recipe)
    release.promote(
        layout,
        settings,
        recipe,
        version,
        evidence_digest="e" * 64,
        actor="Ada",
        reason="to begin with",
        expected_champion=champion.number if champion else None,
    )
    return version


def test_a_renewal_measures_the_champion_again(
    mill: tuple[Layout, Recipe], mlflow_settings: Settings
) -> None:
    """Old and new digest and figure are known; without MLflow the renewal stands until next time.

    The same call then completes it, and makes no third extractor.
    """
    layout, recipe = mill
    champion = _crown(layout, mlflow_settings, "renewed", 1)
    bundle, before = extractors.measure_champion(layout, mlflow_settings, recipe) or ("", {})
    old = verify_sums(layout.extractor("renewed"))
    done = extractors.replace_extractor(layout, recipe)
    nobody = mlflow_settings.model_copy(update={"mlflow_tracking_uri": "http://127.0.0.1:9"})
    with pytest.raises(ServiceError):
        extractors.measure_champion(layout, nobody, recipe)
    again = extractors.replace_extractor(layout, recipe)
    _, after = extractors.measure_champion(layout, mlflow_settings, recipe) or ("", {})
    extractors.forget(layout, "renewed")

    new = verify_sums(layout.extractor("renewed"))
    assert (done.old, done.new) == (old, new)
    assert old != new
    assert again == done
    assert bundle == champion.digest
    figure = {"name": "fd_domain", **before["metrics"]["fd_domain"]}
    assert done.before == {champion.digest: figure}
    assert before["extractor"]["digest"] == old
    assert after["extractor"]["digest"] == new
    assert after["bundle_digest"] == champion.digest
    assert not layout.renewal("renewed").exists()


def test_without_a_champion_nothing_is_measured(
    mill: tuple[Layout, Recipe], mlflow_settings: Settings
) -> None:
    """A recipe that was never trained may renew its extractor too."""
    layout, recipe = mill
    lonely = recipe.model_copy(update={"name": "lonely"})

    assert extractors.measure_champion(layout, mlflow_settings, lonely) is None


def test_a_stopped_renewal_knows_what_it_replaces(mill: tuple[Layout, Recipe]) -> None:
    """The note is there before the old extractor goes, so a second run tells the same story."""
    layout, recipe = mill
    old = verify_sums(layout.extractor("renewed"))
    spec = recipe.evaluate.model_copy(update={"extractor": "mobilenet_v3_small"})
    asked = recipe.model_copy(update={"evaluate": spec})
    document = YAML(typ="safe").load(layout.params.read_text())
    document["recipes"]["renewed"]["evaluate"]["extractor"] = "mobilenet_v3_small"
    with layout.params.open("w") as file:
        YAML(typ="safe", pure=True).dump(document, file)
    with pytest.raises(UsageError, match="ganmill extractor add mobilenet_v3_small"):
        extractors.replace_extractor(layout, asked)
    card = BackboneCard(name="mobilenet_v3_small", dims=576, source="w", source_sha256="0" * 64)
    new = write_extractor(layout.extractor_store("mobilenet_v3_small"), {"w": torch.zeros(3)}, card)
    done = extractors.replace_extractor(layout, asked)

    assert (done.old, done.new) == (old, new)


@pytest.fixture
def ask(tmp_path: Path) -> Callable[..., Done]:
    """Return a function that runs `ganmill extractor` in a workspace of its own."""
    root = tmp_path / "workspace"
    root.mkdir()
    (root / "params.yaml").write_text(
        "recipes: {tiny: {data: {source: files, path: x}, "
        "evaluate: {extractor: mobilenet_v3_small}}}\n"
    )

    def run(*words: str, **environment: str) -> Done:
        command = [str(COMMAND), "extractor", *words]
        given = {**os.environ, **environment, "COLUMNS": "80"}
        return subprocess.run(
            command, cwd=root, env=given, capture_output=True, text=True, check=False
        )

    return run


def test_weights_are_added_pinned_and_shown(ask: Callable[..., Done], tmp_path: Path) -> None:
    """From a file to a recipe's extractor: each step says what it did and what comes next."""
    import torchvision  # type: ignore[import-untyped]  # it has no types

    state = torchvision.models.get_model("mobilenet_v3_small", weights=None).state_dict()
    save_file(state, tmp_path / "mine.safetensors")
    root = tmp_path / "workspace"
    stage = ["python", "-m", "gan", "extractor", "tiny"]
    environment = {**os.environ, "PATH": str(COMMAND.parent), "PYTHONPATH": str(REPO)}
    added = ask("add", "mobilenet_v3_small", "--weights", str(tmp_path / "mine.safetensors"))
    subprocess.run(stage, cwd=root, env=environment, check=True)
    shown = ask("show", "tiny", "--json")

    assert added.returncode == 0, added.stderr
    assert "576 features; its distance is called fd_mobilenet_v3_small" in added.stdout
    assert "ganmill extractor renew RECIPE" in added.stdout
    found = json.loads(shown.stdout)
    assert found["digest"] == verify_sums(root / "models/tiny/extractor")
    assert (found["distance"], found["wanted"]) == ("fd_mobilenet_v3_small", "mobilenet_v3_small")
    assert found["card"]["standard"] is False


def test_a_setting_names_the_standard_file(ask: Callable[..., Done], tmp_path: Path) -> None:
    """`GANMILL_INCEPTION_WEIGHTS` is where inception comes from; a wrong file is refused by digest.

    A password in it is never printed, and what is missing or misspelt is one line.
    """
    torch.save({"weight": torch.zeros(1)}, tmp_path / "fake.pth")
    wrong = ask("add", "inception", GANMILL_INCEPTION_WEIGHTS=str(tmp_path / "fake.pth"))
    secret = ask("add", "inception", GANMILL_INCEPTION_WEIGHTS="ftp://ada:s3cret@host/w.pth")
    none = ask("add", "inception")
    unknown = ask("add", "incepton")
    missing = ask("show", "tiny")

    codes = [each.returncode for each in (wrong, secret, none, unknown, missing)]
    assert codes == [2, 2, 2, 2, 1]
    assert "6726825d0af5f729" in wrong.stderr
    assert "s3cret" not in secret.stderr + secret.stdout
    assert "GANMILL_INCEPTION_WEIGHTS" in none.stderr
    assert "Known: inception, convnext_base" in unknown.stderr
    assert "dvc repro extractor" in missing.stderr
    for each in (wrong, secret, none, unknown, missing):
        assert "Traceback" not in each.stderr


@pytest.mark.slow
def test_the_command_renews_and_the_next_training_is_new(
    first_retrain: Done, ganmill: Callable[..., Done], mill_root: Path
) -> None:
    """After a renewal, made of other images, the champion has a new figure and is retrained."""
    layout = Layout(mill_root)
    old = verify_sums(layout.extractor("tiny"))
    params = layout.params.read_text()
    layout.params.write_text(params.replace("count: 240", "count: 260"))
    done = ganmill("extractor", "renew", "tiny")
    new = verify_sums(layout.extractor("tiny"))
    reasons = versions.changed(layout, "train", "tiny")
    layout.params.write_text(params)

    assert done.returncode == 0, done.stderr
    assert f"extractor {old[:8]} -> {new[:8]}" in done.stdout
    assert "before  fd_domain" in done.stdout
    assert "now     fd_domain" in done.stdout
    assert "Next: ganmill retrain tiny" in done.stdout
    assert "models/tiny/extractor changed" in reasons
