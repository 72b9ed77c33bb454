"""The one stage graph: `dvc.yaml`, the flow, the paths, the recipe and the code say the same.

A stage whose code changed must run again, so `dvc.yaml` has to name the code that decides its
bytes. What that is, is computed here from the imports.
"""

import ast
from pathlib import Path
from typing import Any

import grimp
import pytest
from ruamel.yaml import YAML

from flows.versions import STAGES
from gan.image.networks.backbones import BACKBONES
from gan.modality import Modality
from gan.paths import Layout
from gan.recipe import Recipe
from gan.sections import EXTRACTORS, Section

ROOT = Path(__file__).parents[2]
KEY = "some-recipe"

# Where each stage's work begins, and the modules and packages that are the stage's own.
ENTRIES = {
    "ingest": (("gan.image.sources",), ("gan.image",)),
    "validate": (("flows.expectations",), ("flows", "gan.image")),
    "prepare": (("gan.image.dataset",), ("gan.image",)),
    "train": (
        ("gan.training.loop", "gan.metrics.tracking"),  # `python -m gan train` joins them
        ("gan.training", "gan.metrics", "gan.inference", "gan.split"),
    ),
    "evaluate": (("gan.metrics.report",), ("gan.metrics",)),
}

# Made once and pinned, whatever becomes of data and code: `ganmill extractor renew` makes it anew.
PINNED = "extractor"

# Imported, but not what decides the stage's bytes; the reason is the point.
EXEMPT = {
    ("ingest", "gan.image.decode"): "headers alone, for the look of `ganmill init`",
    ("ingest", "gan.image.glyphs"): "a recipe of glyphs names it as its data.path",
    ("validate", "flows.settings"): "where services live, never what comes out",
    ("validate", "gan.image.shards"): "reads what ingest wrote, and ingest names it",
    ("validate", "gan.image.sources"): "lends a file name of what ingest wrote",
    ("validate", "gan.image.workers"): "how many processes, never which bytes",
    ("prepare", "gan.image.examine"): "lends the names of columns",
    ("prepare", "gan.image.facts"): "reads what validate wrote, and validate names it",
    ("prepare", "gan.image.shards"): "reads what ingest wrote, and ingest names it",
    ("prepare", "gan.image.workers"): "how many processes, never which bytes",
    ("train", "gan.image.dataset"): "opens what prepare wrote, and prepare names it",
    ("evaluate", "gan.image.dataset"): "opens what prepare wrote, and prepare names it",
    ("train", "gan.image.encode"): "bytes to [-1, 1]: a fixed format; pictures are no output",
}


def _stages() -> dict[str, Any]:
    stages: dict[str, Any] = YAML(typ="safe", pure=True).load(ROOT / "dvc.yaml")["stages"]
    return {
        name: {**stage["do"], "outs": _names(stage["do"]["outs"])} for name, stage in stages.items()
    }


def _names(outs: list[Any]) -> list[str]:
    """Return outputs without their options."""
    return [name for out in outs for name in (out if isinstance(out, dict) else [out])]


def _of_recipe(entries: list[str]) -> list[str]:
    """Return the entries that name a recipe's files, for one recipe."""
    return [entry.replace("${key}", KEY) for entry in entries if "${key}" in entry]


def test_the_flow_walks_the_stages_of_dvc_in_order() -> None:
    """`dvc repro` by hand and the flow do the same work in the same order."""
    assert tuple(_stages()) == STAGES
    assert set(STAGES) == {*ENTRIES, PINNED}


def test_every_file_of_a_stage_is_a_path_of_the_layout() -> None:
    """What DVC watches and stores is where the code reads and writes."""
    layout = Layout(Path())
    named = {
        str(getattr(layout, name)(KEY))
        for name in (
            "raw", "facts", "train_data", "kind", "extractor", "bundle", "history", "data_report",
            "evaluation", "pin",
        )
    }  # fmt: skip
    used = [
        entry
        for stage in _stages().values()
        for entry in _of_recipe([*stage["deps"], *stage["outs"]])
    ]

    assert set(used) == named


def test_a_stage_reads_what_an_earlier_one_wrote() -> None:
    """The order of the file is an order in which the stages can run; no two write the same."""
    made: list[str] = [str(Layout(Path()).pin(KEY))]
    for stage in _stages().values():
        assert set(_of_recipe(stage["deps"])) <= set(made)
        made += _of_recipe(stage["outs"])

    assert len(set(made)) == len(made)


def test_every_parameter_of_a_stage_is_a_section_of_the_recipe() -> None:
    """DVC hashes sections that exist: a misspelt one would never cause a run."""
    for stage in _stages().values():
        for parameter in stage.get("params", []):
            first, key, *place = parameter.split(".")
            assert (first, key) == ("recipes", "${key}")
            section: Any = Recipe
            for part in place:
                assert issubclass(section, Section)
                assert part in section.model_fields, parameter
                section = section.model_fields[part].annotation


def test_every_code_path_of_a_stage_exists() -> None:
    """A module that was renamed is renamed here too."""
    for stage in _stages().values():
        for entry in stage["deps"]:
            assert "$" in entry or (ROOT / entry).exists(), entry


def _code_paths(stage: dict[str, Any]) -> list[Path]:
    return [Path(entry) for entry in stage["deps"] if "$" not in entry]


def _own_modules(graph: grimp.ImportGraph, name: str) -> set[str]:
    """Return the modules of a stage's own packages that its entries import, however indirectly.

    An exempt module is among them; what only that one imports is not.
    """
    entries, packages = ENTRIES[name]
    found, open_ends = set(entries), list(entries)
    while open_ends:
        for module in graph.find_modules_directly_imported_by(open_ends.pop()):
            is_own = any(f"{module}.".startswith(f"{package}.") for package in packages)
            if is_own and module not in found:
                found.add(module)
                open_ends += [] if (name, module) in EXEMPT else [module]
    return found


def _words(module: str) -> set[str]:
    """Return the names of attributes and the strings in a module's source."""
    path = ROOT / f"{module.replace('.', '/')}.py"
    nodes = list(ast.walk(ast.parse(path.read_text("utf-8"))))
    attributes = {node.attr for node in nodes if isinstance(node, ast.Attribute)}
    return attributes | {
        node.value
        for node in nodes
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }


def _rooms_names() -> dict[str, str]:
    """Return which module of the image room stands behind each name of the modality."""
    tree = ast.parse((ROOT / "gan/image/room.py").read_text("utf-8"))
    origin = {
        alias.asname or alias.name: str(node.module)
        for node in ast.walk(tree)  # some are imported where they are used
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    behind = {name: module for name, module in origin.items() if hasattr(Modality, name)}
    for node in tree.body:
        if isinstance(node, ast.FunctionDef):
            used = {each.id for each in ast.walk(node) if isinstance(each, ast.Name)}
            (behind[node.name],) = {
                origin[name] for name in used if name in origin and "networks" in origin[name]
            }
    return behind


def _forgotten(graph: grimp.ImportGraph, name: str, stage: dict[str, Any]) -> set[str]:
    """Return the modules that decide a stage's bytes and are neither named nor exempt."""
    modules = _own_modules(graph, name)
    asked = set().union(*(_words(module) for module in modules))
    if any("gan.bundle" in graph.find_modules_directly_imported_by(each) for each in modules):
        asked |= _words("gan.bundle")
    if not name.startswith(("ingest", "validate", "prepare")):  # those are the room themselves
        modules |= {module for word, module in _rooms_names().items() if word in asked}
    named = _code_paths(stage)
    return {
        module
        for module in modules
        if (name, module) not in EXEMPT
        and not any(Path(f"{module.replace('.', '/')}.py").is_relative_to(path) for path in named)
    }


@pytest.fixture(scope="module")
def graph() -> grimp.ImportGraph:
    """Return who imports whom."""
    return grimp.build_graph("gan", "flows", cache_dir=None)


@pytest.mark.parametrize("name", ENTRIES)
def test_a_stage_names_the_code_that_decides_its_bytes(graph: grimp.ImportGraph, name: str) -> None:
    """A change of that code makes the stage run again; an exemption states its reason above."""
    assert _forgotten(graph, name, _stages()[name]) == set()


def test_the_extractor_depends_on_the_kind_of_the_images_alone() -> None:
    """New images, new code and new settings leave it as it is, a new shape does not."""
    stage = _stages()[PINNED]

    assert _of_recipe(stage["deps"]) == [str(Layout(Path()).kind(KEY))]
    assert _code_paths(stage) == []
    assert "params" not in stage


def test_a_recipe_may_ask_for_every_network_there_is() -> None:
    """`evaluate.extractor` knows the networks of torchvision that the code can build, by name."""
    assert ("domain", "inception", *BACKBONES) == EXTRACTORS


def test_a_forgotten_module_would_be_found(graph: grimp.ImportGraph) -> None:
    """The test above can fail: without a code path, each stage's entry is missed."""
    for name, (entries, _) in ENTRIES.items():
        assert set(entries) <= _forgotten(graph, name, {**_stages()[name], "deps": []})


def test_no_exemption_is_out_of_date(graph: grimp.ImportGraph) -> None:
    """An exempt module is one that the stage would otherwise have to name."""
    for name, module in EXEMPT:
        known = _own_modules(graph, name) | set(_rooms_names().values())

        assert module in known, (name, module)
        assert Path(f"{module.replace('.', '/')}.py") not in _code_paths(_stages()[name])
