"""What a change did to recipes and metrics, read from a real git and a real DVC."""

import json
import math
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from flows import versions
from flows.report.page import code, markdown, plain, text
from flows.report.report import Report, compare, report
from flows.report.trial import shrink
from flows.revisions import changed_recipes, revision
from gan.errors import RecipeError, UsageError
from gan.paths import Layout
from gan.recipe import load_recipe

REPO = Path(__file__).resolve().parents[3]
COMMAND = Path(sys.executable).parent / "ganmill"

# Each stage writes what the real one would, as small as can be; `said.json` is what is measured.
WORK = """
import json, pathlib, sys
stage, recipe, *outs = sys.argv[1:]
said = json.loads(pathlib.Path(f"said-{recipe}.json").read_text())
written = {
    "validate": ("verdict.json", {"success": True, "images": said["images"] + 3,
                                  "accepted": said["images"]}),
    "prepare": ("meta.json", {"count": said["images"], "classes": ["cats", "dogs"],
                              "digest": said["data_digest"]}),
    "evaluate": ("metrics.json", said["metrics"]),
}
for out in outs:
    path = pathlib.Path(out)
    if path.suffix:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(stage)
        continue
    path.mkdir(parents=True)
    name, document = written.get(stage, ("file", stage))
    (path / name).write_text(json.dumps(document))
"""
OUTS = {
    "ingest": ["data/${key}/raw"],
    "validate": ["data/${key}/facts", "reports/${key}/data"],
    "prepare": ["data/${key}/train", "data/${key}/kind.json"],
    "extractor": ["models/${key}/extractor"],
    "train": ["models/${key}/bundle", "models/${key}/history.json"],
    "evaluate": ["reports/${key}/evaluation"],
}
DEPS = {
    "prepare": ["said-${key}.json"],
    "train": ["models/${key}/start.json"],
    "evaluate": ["said-${key}.json"],
}
SECTIONS = {"ingest": ["data"], "train": ["model", "train"], "evaluate": ["evaluate"]}
PARAMS = """\
recipes:
  cats:
    data: {source: glyphs, path: gan/glyphs.py, resolution: 32, glyphs: {count: 240, seed: 1}}
    model: {preset: small}  # a comment that stays
    train: {budget: {kimg: 60}, seed: 1}
    evaluate: {samples: 5000}
  dogs:
    data: {source: glyphs, path: gan/glyphs.py, resolution: 32, glyphs: {count: 240, seed: 1}}
    model: {preset: tiny}
    train: {budget: {kimg: 60}, seed: 1}
    evaluate: {samples: 1000}
"""


def _pipeline() -> str:
    stages = {}
    for stage, outs in OUTS.items():
        stages[stage] = {
            "foreach": "${recipes}",
            "do": {
                "cmd": f"python work.py {stage} ${{key}} {' '.join(outs)}",
                "deps": [*DEPS.get(stage, ()), "gan/code.py"],
                "params": [f"recipes.${{key}}.{each}" for each in SECTIONS.get(stage, ())],
                "outs": outs,
            },
        }
    return json.dumps({"stages": stages})  # JSON is YAML


def _metrics(value: float, half: float = 0.02, *, data: str = "a", model: str = "m") -> dict:  # type: ignore[type-arg]
    """Return a `metrics.json` whose distance is `value` with an interval of `half` on each side."""
    bounds = {"value": value, "low": value - half, "high": value + half, "n": 5000}
    share = {"value": 0.5, "low": 0.4, "high": 0.6, "n": 5000}
    return {
        "format": 2,
        "distance": "fd_domain",
        "kernel": "kd_domain",
        "extractor": {"digest": "e" * 64},
        "data_digest": data * 64,
        "bundle_digest": model * 64,
        "samples": 5000,
        "seed": 7,
        "is_copying": False,
        "metrics": {
            "coverage": {**share, "id": f"c{data}"},
            "diversity": {**bounds, "id": f"v{data}"},
            "fd_domain": {**bounds, "id": f"f{data}"},
            "fd_domain_noise": {**bounds, "id": f"n{data}"},
            "fd_domain_worst_class": {"value": 3.0, "n": 9, "class": "tools", "id": f"w{data}"},
        },
    }


def _say(layout: Layout, recipe: str, metrics: dict, images: int = 1200) -> None:  # type: ignore[type-arg]
    said = {"images": images, "data_digest": metrics["data_digest"], "metrics": metrics}
    (layout.root / f"said-{recipe}.json").write_text(json.dumps(said))


def _run(layout: Layout, recipe: str, *stages: str) -> None:
    for stage in stages or versions.STAGES:
        versions.reproduce(layout, stage, recipe)


def _lay(layout: Layout, recipe: str, metrics: dict) -> None:  # type: ignore[type-arg]
    """Put figures into the workspace as if they had been measured."""
    path = layout.evaluation(recipe) / "metrics.json"
    path.unlink(missing_ok=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(metrics))


def _git(layout: Layout, *words: str) -> None:
    who = ("-c", "user.name=t", "-c", "user.email=t@example.com")
    subprocess.run(["git", *who, *words], cwd=layout.root, check=True, capture_output=True)


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Layout:
    """Return a git and DVC workspace with two recipes, both measured and committed as `main`."""
    root = tmp_path_factory.mktemp("measured") / "workspace"
    (root / ".dvc").mkdir(parents=True)
    for name in (".dvc/config", ".dvc/.gitignore", ".gitignore"):
        (root / name).write_bytes((REPO / name).read_bytes())
    (root / "dvc.yaml").write_text(_pipeline())
    (root / "params.yaml").write_text(PARAMS)
    (root / "work.py").write_text(WORK)
    (root / "gan").mkdir()
    (root / "gan" / "code.py").write_text("1")
    layout = Layout(root)
    _git(layout, "init", "-qb", "main")
    for recipe in ("cats", "dogs"):
        layout.pin(recipe).parent.mkdir(parents=True)
        layout.pin(recipe).write_text('{"bundle": null}')
        _say(layout, recipe, _metrics(0.34))
        _run(layout, recipe)
    _git(layout, "add", "-A")
    _git(layout, "commit", "-qm", "one")
    return layout


@pytest.fixture
def layout(measured: Layout, tmp_path: Path) -> Layout:
    """Return a workspace of its own, as `measured` with its cache."""
    root = tmp_path / "workspace"
    subprocess.run(["cp", "-a", str(measured.root), str(root)], check=True)
    return Layout(root)


def _report(layout: Layout, *names: str, since: str = "main") -> Report:
    return report(layout, revision(layout, since), names)


def test_nothing_is_different_of_what_nobody_touched(layout: Layout) -> None:
    """A report against the present commit says of each recipe that it is the same model."""
    found = _report(layout)

    assert [each.recipe for each in found.recipes] == ["cats", "dogs"]
    assert {each.verdict for each in found.recipes} == {"The same model, measured alike."}
    assert not any(each.rows or each.parameters or each.notes for each in found.recipes)
    assert changed_recipes(revision(layout, "main")) == {}


def test_a_difference_beyond_the_intervals_has_a_direction(layout: Layout) -> None:
    """A distance that rose by more than both intervals explain is worse; one that fell, better."""
    _lay(layout, "cats", _metrics(0.44, model="n"))
    _say(layout, "dogs", _metrics(0.24, model="n"), images=1300)
    _run(layout, "dogs", "prepare", "evaluate")

    cats, dogs = _report(layout).recipes

    assert (cats.word, dogs.word) == ("worse", "better")
    assert cats.verdict == "Worse: fd_domain 0.34 -> 0.44, beyond the intervals."
    assert cats.rows[0].metric == "fd_domain"
    difference = cats.rows[0].difference
    assert difference is not None
    assert difference.value == pytest.approx(0.1)
    assert difference.high - difference.value == pytest.approx(math.hypot(0.02, 0.02))
    assert {row.metric: row.word for row in cats.rows} == {
        "fd_domain": "worse",
        "coverage": "no difference seen",
        "diversity": "differs",  # 1 is its best: neither more nor less is better
        "fd_domain_worst_class": "shown",
    }
    assert ("images", "1,200", "1,300") in dogs.facts
    assert ("set aside", "3", "3") in dogs.facts
    assert ("model", "m" * 12, "n" * 12) in dogs.facts


def test_a_difference_within_the_intervals_is_none(layout: Layout) -> None:
    """What two honest intervals cover is not called better or worse."""
    _lay(layout, "cats", _metrics(0.36, model="n"))

    (cats,) = _report(layout, "cats").recipes

    assert cats.word == "no difference seen"
    assert "within the intervals" in cats.verdict


def test_figures_of_unlike_metric_ids_are_never_compared(layout: Layout) -> None:
    """Other images make another metric: the report shows both values, and no difference."""
    _lay(layout, "cats", _metrics(0.1, data="d", model="n"))

    (cats,) = _report(layout, "cats").recipes

    assert cats.word == "not comparable"
    assert "against other images" in cats.verdict
    assert {row.difference for row in cats.rows} == {None}
    assert {row.word for row in cats.rows} == {"not comparable"}
    assert "*not comparable*" in markdown(_report(layout, "cats"))


def test_figures_come_from_git_where_they_are_in_git(layout: Layout) -> None:
    """Who keeps metrics.json in git, not in DVC, has the same report."""
    _lay(layout, "cats", _metrics(0.2))
    _git(layout, "add", "-f", "reports/cats/evaluation/metrics.json")
    _git(layout, "commit", "-qm", "metrics in git")
    _lay(layout, "cats", _metrics(0.3, model="n"))

    (cats,) = _report(layout, "cats").recipes

    assert cats.verdict == "Worse: fd_domain 0.2 -> 0.3, beyond the intervals."


def test_figures_come_from_the_remote_where_the_cache_lost_them(layout: Layout) -> None:
    """A machine of CI with an empty cache reads what `ganmill data` or a run had pushed."""
    versions.push(layout, "cats")
    shutil.rmtree(layout.root / ".dvc" / "cache")
    _lay(layout, "cats", _metrics(0.24, model="n"))

    (cats,) = _report(layout, "cats").recipes

    assert cats.word == "better"


def test_lost_figures_are_named_and_block_nothing(layout: Layout) -> None:
    """With neither cache nor remote the report tells why it cannot compare, and what is now."""
    shutil.rmtree(layout.root / ".dvc" / "cache")
    _git(layout, "rm", "-q", "--cached", "dvc.lock")
    _git(layout, "commit", "-qm", "no lock")

    cats, dogs = (_report(layout, "cats", since=each).recipes[0] for each in ("main~1", "main"))

    assert "missing in the DVC cache" in cats.notes[0]
    assert "dvc.lock is not in git at main" in dogs.notes[0]
    assert {each.verdict for each in (cats, dogs)} == {"Measured now, with nothing to compare."}
    assert "- | 0.34" in markdown(_report(layout, "cats"))


def test_figures_of_other_parameters_are_called_that(layout: Layout) -> None:
    """Who edits a recipe and forgets to run it is told that the figures are not of it."""
    _edit(layout, "kimg: 60", "kimg: 50")

    (cats,) = _report(layout, "cats").recipes

    assert [(each.key, each.before, each.now) for each in cats.parameters] == [
        ("train.budget.kimg", "60", "50")
    ]
    assert "train would run (train.budget.kimg: 60 -> 50)" in cats.notes[0]


def _edit(layout: Layout, old: str, new: str) -> None:
    layout.params.write_text(layout.params.read_text().replace(old, new, 1))


@pytest.mark.parametrize(
    ("path", "changed"),
    [
        ("params.yaml", {"cats": ["train.budget.kimg"]}),
        ("models/dogs/start.json", {"dogs": ["models/dogs/start.json"]}),
        ("gan/code.py", {"cats": ["gan/code.py"], "dogs": ["gan/code.py"]}),
        ("dvc.yaml", {"cats": ["dvc.yaml"], "dogs": ["dvc.yaml"]}),
        ("README.md", {}),
    ],
)
def test_the_recipes_that_a_change_touches(
    layout: Layout, path: str, changed: dict[str, list[str]]
) -> None:
    """A parameter touches its recipe, a pin too; code of the stages touches all; a text none."""
    if path == "params.yaml":
        _edit(layout, "kimg: 60", "kimg: 50")
    else:
        with (layout.root / path).open("a") as file:
            file.write("\n")

    assert changed_recipes(revision(layout, "main")) == changed


def test_what_only_assets_or_schedules_change_touches_no_stage(layout: Layout) -> None:
    """A schedule does not train anything; it is told among the parameters all the same."""
    _edit(
        layout,
        "    evaluate: {samples: 5000}",
        "    evaluate: {samples: 5000}\n    gate: {margin: 0.2}",
    )

    (cats,) = _report(layout, "cats").recipes

    assert changed_recipes(revision(layout, "main")) == {}
    assert [(each.key, each.before, each.now) for each in cats.parameters] == [
        ("gate.margin", "unset", "0.2")
    ]


def test_new_and_removed_recipes_are_told(layout: Layout) -> None:
    """A recipe that was not there is new, one that is gone is said to be gone."""
    _edit(layout, "  dogs:", "  birds:")
    layout.pin("birds").parent.mkdir()
    layout.pin("birds").write_text('{"bundle": null}')
    _say(layout, "birds", _metrics(0.5))

    found = {each.recipe: each for each in _report(layout).recipes}

    assert (found["birds"].state, found["dogs"].state) == ("new", "removed")
    assert "not measured here yet; run: ganmill evaluate birds" in found["birds"].verdict
    assert changed_recipes(revision(layout, "main"))["birds"][0] == "a new recipe"


def test_a_trial_is_small_and_git_brings_the_recipe_back(layout: Layout) -> None:
    """A trial keeps data, seed and comments, and shrinks the network, the budget, the samples."""
    layout.pin("cats").unlink()
    shrink(layout, ["cats"], 4)

    cats, dogs = (load_recipe(layout.params, name) for name in ("cats", "dogs"))
    assert (cats.model.preset, cats.train.budget.kimg, cats.train.start) == ("tiny", 4, "scratch")
    assert (cats.evaluate.samples, dogs.evaluate.samples) == (2000, 1000)
    assert dogs.train.budget.kimg == 60
    assert cats.data.glyphs is not None
    assert cats.data.glyphs.count == 240
    assert json.loads(layout.pin("cats").read_text()) == {"bundle": None}
    with pytest.raises(UsageError, match="not committed"):
        shrink(layout, ["cats"], 4)
    _git(layout, "checkout", "-q", "params.yaml")
    assert layout.params.read_text() == PARAMS


def test_markdown_of_strangers_stays_text(layout: Layout) -> None:
    """No value of a proposed recipe mentions anybody, links anywhere or breaks the table."""
    hostile = "x | @everyone `<img src=x>` [a](http://example.com)"
    _edit(layout, "seed: 1}\n    evaluate: {samples: 5000}", f"seed: {json.dumps(hostile)}}}")

    told = markdown(_report(layout, "cats", since="main"))

    (line,) = [line for line in told.splitlines() if "everyone" in line and line.startswith("|")]
    assert line.replace("\\|", "").count("|") == 4
    assert line.count("`") == 6
    assert plain("@ada *b* <i>") == "@\u200bada \\*b\\* \\<i>"
    assert code("a\nb`c") == "`a b'c`"


def test_unlike_kinds_of_files_compare_to_nothing() -> None:
    """An empty metrics.json, or one with a metric more, is no error."""
    document = _metrics(0.3)

    assert [row.word for row in compare({}, document)] == ["shown"] * 4
    assert compare(document, document) == []


def test_the_command_line(layout: Layout) -> None:
    """`ganmill report` prints a text, Markdown or JSON; what it cannot do is one line."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("GANMILL_")}

    def run(*words: str) -> "subprocess.CompletedProcess[str]":
        command = [str(COMMAND), *words]
        return subprocess.run(
            command, cwd=layout.root, env=environment, capture_output=True, text=True, check=False
        )

    _edit(layout, "kimg: 60", "kimg: 50")
    assert run("report", "--changed").stdout == "cats\n"
    assert run("report", "cats", "--md").stdout.startswith("## Recipes, against `HEAD`")
    assert json.loads(run("report", "cats", "--json").stdout)["recipes"][0]["recipe"] == "cats"
    for words, said in (
        (("report", "--md", "--json"), "--md or --json"),
        (("trial", "cats"), "not committed"),
    ):
        done = run(*words)
        assert (done.returncode, said in done.stderr, done.stdout) == (2, True, "")
        assert done.stderr.count("\n") == 1


def test_a_shallow_or_foreign_revision_is_an_error_of_one_line(layout: Layout) -> None:
    """A word that is no revision, or a params.yaml of then that is no YAML, is named."""
    for word in ("nowhere", "--help"):
        with pytest.raises(UsageError, match=f"{word}: no revision"):
            revision(layout, word)
    with pytest.raises(RecipeError, match="no recipe 'cat'"):
        _report(layout, "cat")
    layout.params.write_text("recipes: [")
    _git(layout, "commit", "-qam", "broken")
    layout.params.write_text(PARAMS)
    with pytest.raises(RecipeError, match=r"params\.yaml at HEAD: is not valid YAML"):
        _report(layout, since="HEAD")
    assert "cats" in text(_report(layout, "cats", since="HEAD~1"))
