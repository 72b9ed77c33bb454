"""`params.yaml`: what is wrong is one line with file, key, value and rule; nothing else passes."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from gan.errors import RecipeError
from gan.recipe import Recipe, add_recipe, load_recipe, load_recipes
from gan.sections import (
    AssetsSpec,
    DataSpec,
    EvaluateSpec,
    GateSpec,
    ModelSpec,
    ScheduleSpec,
    TrainSpec,
)

GOOD = """\
recipes:
  cats:
    data: {source: files, path: images}
    train:
      budget: {kimg: 40}
"""


def _load(folder: Path, text: str | bytes) -> Recipe:
    path = folder / "params.yaml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return load_recipe(path, "cats")


def _with(line: str) -> str:
    """Return the good file with one more line in `train`."""
    return f"{GOOD}      {line}\n"


def test_defaults_fill_what_is_not_said(tmp_path: Path) -> None:
    """A recipe needs to say where its images are, and nothing else."""
    recipe = _load(tmp_path, "recipes: {cats: {data: {source: files, path: images}}}")

    assert recipe.data == DataSpec(source="files", path="images")
    assert (recipe.train, recipe.model) == (TrainSpec(), ModelSpec())
    assert (recipe.evaluate, recipe.gate) == (EvaluateSpec(), GateSpec())
    assert (recipe.assets, recipe.schedule) == (AssetsSpec(), ScheduleSpec())


def test_the_shipped_file_is_valid() -> None:
    """A fresh clone's recipes load."""
    assert "stickers" in load_recipes(Path(__file__).parents[2] / "params.yaml")


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("batchsize: 64", "unknown key recipes.cats.train.batchsize. Did you mean batch_size?"),
        ("zzz: 1", "unknown key recipes.cats.train.zzz. Known: budget, start, seed, batch_size,"),
        ("batch_size: -4", "recipes.cats.train.batch_size is -4; it must be: greater than or"),
        ("batch_size: 0", "recipes.cats.train.batch_size is 0; it must be: greater than or equal"),
        ("batch_size: 62", "train.batch_size is 62; it must be: must be a multiple of 4"),
        ("batch_size: '64'", "recipes.cats.train.batch_size is '64'; it must be: a valid integer"),
        ("batch_size: 64.0", "recipes.cats.train.batch_size is 64.0; it must be: a valid integer"),
        ("batch_size: true", "recipes.cats.train.batch_size is True; it must be: a valid integer"),
        ("batch_size: [64]", "recipes.cats.train.batch_size; it must be: a valid integer"),
        ("batch_size:", "recipes.cats.train.batch_size is None; it must be: a valid integer"),
        ("lr: .nan", "recipes.cats.train.lr is nan; it must be: "),
        ("lr: .inf", "recipes.cats.train.lr is inf; it must be: "),
        ("lr: 1e400", "recipes.cats.train.lr is inf; it must be: "),
        ("lr: 0", "recipes.cats.train.lr is 0; it must be: greater than 0"),
        ("augment: 1.1", "recipes.cats.train.augment is 1.1; it must be: less than or equal to 1"),
        ("flip: no", "recipes.cats.train.flip is 'no'; it must be: a valid boolean"),
        (
            "start: champ",
            "recipes.cats.train.start is 'champ'; it must be: 'champion' or 'scratch'",
        ),
        ("1: 2", "recipes.cats.train.1"),
        ("kimg: 40", "unknown key recipes.cats.train.kimg. Did you mean budget.kimg?"),
        (
            "gamma: strong",
            "recipes.cats.train.gamma is 'strong'; it must be: a valid number or 'auto'",
        ),
        ("gpus: 3", "batch_size must be a multiple of 4 times gpus"),
        ("loss: hinge", "train.loss is 'hinge'; it must be: 'relativistic', 'minimax' or"),
    ],
)
def test_a_wrong_value_is_one_line(tmp_path: Path, line: str, says: str) -> None:
    """The line names the file, the dotted key, the value and the rule or the nearest key."""
    with pytest.raises(RecipeError) as caught:
        _load(tmp_path, _with(line))

    message = str(caught.value)
    assert message.startswith("params.yaml: ")
    assert says in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("section", "says"),
    [
        ("datas: {source: files, path: x}", "unknown key recipes.cats.datas. Did you mean data?"),
        ("name: dogs\n    data: {source: files, path: x}", "recipes.cats"),
        ("train: {budget: {kimg: 1}}", "recipes.cats.data is missing"),
        ("data: {source: files}", "recipes.cats.data.path is missing"),
        ("data: {source: files, path: ''}", "recipes.cats.data.path is ''"),
        ("data: {source: glyphs, path: x}", "`glyphs` is given exactly when source is glyphs"),
        (
            "data: {source: files, path: x, resolution: 33}",
            "data.resolution is 33; it must be: 16,",
        ),
        ("data: {source: files, path: x, background: red}", "data.background is 'red'"),
        (
            "data: {source: files, path: x, contract: {min_image: 3}}",
            "unknown key recipes.cats.data.contract.min_image. Did you mean min_images?",
        ),
        (
            "data: {source: glyphs, path: x, glyphs: {cuont: 3}}",
            "unknown key recipes.cats.data.glyphs.cuont. Did you mean count?",
        ),
        ("data: 3", "recipes.cats.data is 3"),
    ],
)
def test_a_wrong_section_is_one_line(tmp_path: Path, section: str, says: str) -> None:
    """The same holds for whole sections, missing ones, and those inside others."""
    with pytest.raises(RecipeError) as caught:
        _load(tmp_path, f"recipes:\n  cats:\n    {section}\n")

    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_numbers_are_read_as_dvc_reads_them(tmp_path: Path) -> None:
    """`3e-4` is a number, an integer serves as a float, and an anchor changes nothing."""
    assert _load(tmp_path, _with("lr: 3e-4")).train.lr == 0.0003
    assert _load(tmp_path, _with("gamma: 2")).train.gamma == 2.0
    assert _load(tmp_path, _with("flip: &mirror true")).train.flip is True
    assert _load(tmp_path, _with("seed: &seed 5")).train.seed == 5
    assert _load(tmp_path, _with("precision: &how bf16")).train.precision == "bf16"


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"recipes: {cats: {}, cats: {}}", "is not valid YAML: .*duplicate key"),
        (_with("budget: {kimg: 5}").encode(), "is not valid YAML: .*duplicate key"),
        (b"recipes: {a: \xff}", r"is not UTF-8 \(byte 13\)"),
        (b"recipes: {a: \x00}", "is not valid YAML"),
        (b"recipes: {cats: {", "is not valid YAML"),
        (b"\t- x", "is not valid YAML"),
        (b"[" * 5000, "is not valid YAML"),
        (b"", "needs a mapping `recipes`"),
        (b"# nothing\n", "needs a mapping `recipes`"),
        (b"recipes:\n", "needs a mapping `recipes`"),
        (b"recipes: {}\n", "needs a mapping `recipes`"),
        (b"recipes: [cats]\n", "needs a mapping `recipes`"),
        (b"- recipes\n", "needs a mapping `recipes`"),
        (b"just words\n", "needs a mapping `recipes`"),
        (b"recipes: {cats: 3}\n", "recipes.cats must be a mapping"),
        (b"recipes: {cats: }\n", "recipes.cats must be a mapping"),
        (b"recipes: {dogs: {data: {source: files, path: x}}}", "no recipe 'cats'"),
        (b"recipes: {1: {data: {source: files, path: x}}, '1': {}}", "recipe '1' is there twice"),
    ],
)
def test_a_file_that_is_no_recipe_file_says_so(tmp_path: Path, content: bytes, says: str) -> None:
    """Broken YAML, other bytes, and other structures end in one line as well."""
    with pytest.raises(RecipeError, match=says) as caught:
        _load(tmp_path, content)

    assert "\n" not in str(caught.value)


def test_a_missing_file_and_a_misspelt_recipe_are_told(tmp_path: Path) -> None:
    """The nearest recipe is offered; a missing file names the command's place."""
    with pytest.raises(RecipeError, match=r"missing\. Run ganmill in the folder"):
        load_recipes(tmp_path / "params.yaml")
    _load(tmp_path, GOOD)
    with pytest.raises(RecipeError, match=r"no recipe 'cat'\. Did you mean cats"):
        load_recipe(tmp_path / "params.yaml", "cat")


@pytest.mark.timeout(20)
def test_an_alias_bomb_does_no_harm(tmp_path: Path) -> None:
    """Ten to the power of nine nodes by aliases are refused in a moment."""
    lines = [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    bomb = "\n".join(
        ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]", *lines, "recipes: {cats: {data: *a8}}"]
    )

    with pytest.raises(RecipeError, match=r"recipes\.cats\.data"):
        _load(tmp_path, bomb)


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        "a..b",
        "-a",
        "a-",
        "Cats",
        "a b",
        "a/b",
        "\u00e4",
        "a" * 65,
        "a\n",
        "~",
        "a@b",
    ],
)
def test_a_name_must_serve_as_folder_stage_and_model(tmp_path: Path, name: str) -> None:
    """A name that is no safe file name is refused in the file and when it is added."""
    section: dict[str, Any] = {"data": {"source": "files", "path": "x"}}
    path = tmp_path / "params.yaml"
    with path.open("w") as file:
        YAML().dump({"recipes": {name: section}}, file)

    with pytest.raises(RecipeError, match="must be 1 to 64 of a-z 0-9"):
        load_recipes(path)
    with pytest.raises(RecipeError, match="must be 1 to 64 of a-z 0-9"):
        add_recipe(path, name, section)


def test_adding_keeps_what_people_wrote(tmp_path: Path) -> None:
    """A new recipe goes behind the others; comments stay; a taken name is refused."""
    path = tmp_path / "params.yaml"
    path.write_text(f"# ours\n{GOOD}      seed: 3  # lucky\n")
    section: dict[str, Any] = {"data": {"source": "files", "path": "dogs.zip"}}

    assert add_recipe(path, "dogs", section) == load_recipe(path, "dogs")
    assert path.read_text().startswith("# ours\n")
    assert "# lucky" in path.read_text()
    assert list(load_recipes(path)) == ["cats", "dogs"]
    with pytest.raises(RecipeError, match="'dogs' is there already"):
        add_recipe(path, "dogs", section)
    before = path.read_bytes()
    with pytest.raises(RecipeError, match=r"unknown key recipes\.birds\.dota"):
        add_recipe(path, "birds", {**section, "dota": 1})
    assert path.read_bytes() == before


@pytest.mark.parametrize("content", [None, "", "# nothing yet\n", "recipes:\n", "recipes: {}\n"])
def test_the_first_recipe_can_be_added(tmp_path: Path, content: str | None) -> None:
    """A file without a recipe, or no file, takes its first one."""
    path = tmp_path / "params.yaml"
    if content is not None:
        path.write_text(content)

    add_recipe(path, "cats", {"data": {"source": "files", "path": "x"}})
    assert list(load_recipes(path)) == ["cats"]


@pytest.mark.parametrize("content", ["- x\n", "words\n", "recipes: [x]\n"])
def test_adding_to_something_else_is_refused(tmp_path: Path, content: str) -> None:
    """A file of another structure is not overwritten."""
    path = tmp_path / "params.yaml"
    path.write_text(content)

    with pytest.raises(RecipeError, match="needs a mapping `recipes`"):
        add_recipe(path, "cats", {"data": {"source": "files", "path": "x"}})
    assert path.read_text() == content


_KEYS = sorted(
    {key for model in (Recipe, DataSpec, TrainSpec, AssetsSpec) for key in model.model_fields}
)
_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(_KEYS) | st.integers() | st.none(), inner, max_size=3)
    ),
    max_leaves=6,
)


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    keys=st.lists(st.sampled_from([*_KEYS, "recipes", "cats", 1, None]), min_size=1, max_size=4),
    value=_VALUES,
)
def test_whatever_is_in_the_file_it_is_a_recipe_or_one_line(
    tmp_path: Path, keys: list[Any], value: object
) -> None:
    """A mutated file gives recipes or a RecipeError, never another exception."""
    document: dict[Any, Any] = {
        "recipes": {
            "cats": {"data": {"source": "files", "path": "x"}, "train": {"budget": {"kimg": 1.0}}}
        }
    }
    place = document
    for key in keys[:-1]:
        place = place[key] if isinstance(place.get(key), dict) else place
    place[keys[-1]] = value
    path = tmp_path / "params.yaml"
    with path.open("w") as file:
        YAML().dump(document, file)

    try:
        assert all(isinstance(recipe, Recipe) for recipe in load_recipes(path).values())
    except RecipeError as error:
        assert "\n" not in str(error)  # noqa: PT017  # either is right


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(position=st.integers(0, len(GOOD) - 1), junk=st.binary(max_size=4), cut=st.integers(0, 4))
def test_a_typing_slip_is_a_recipe_or_one_line(
    tmp_path: Path, position: int, junk: bytes, cut: int
) -> None:
    """A file with a few bytes wrong gives recipes or a RecipeError, never another exception."""
    path = tmp_path / "params.yaml"
    good = GOOD.encode()
    path.write_bytes(good[:position] + junk + good[position + cut :])

    try:
        load_recipes(path)
    except RecipeError as error:
        assert "\n" not in str(error)  # noqa: PT017  # either is right


def test_a_textbook_network_is_trained_as_the_textbook_does(tmp_path: Path) -> None:
    """`model: conv28` alone takes batch, rate and loss of its accounts; what is given wins."""
    text = GOOD.replace("    train:", "    model: conv28\n    train:")
    recipe = _load(tmp_path, text + "      loss: least_squares\n")
    train = recipe.train

    assert recipe.model.preset == "conv28"
    assert (train.batch_size, train.lr, train.beta1, train.gamma) == (32, 2e-4, 0.5, 0.0)
    assert (train.loss, train.decay, train.ema_kimg) == ("least_squares", False, 0.0)
    assert train.budget.kimg == 40
    assert _load(tmp_path, text.replace("conv28", "dense32")).train.batch_size == 128
    assert _load(tmp_path, text.replace("conv28", "small")).train == _load(tmp_path, GOOD).train


def test_a_budget_has_an_end_and_says_so(tmp_path: Path) -> None:
    """Images, minutes, or both; a budget without an end is refused."""
    both = _load(tmp_path, GOOD.replace("{kimg: 40}", "{kimg: 40, minutes: 30, patience: 3}"))
    assert both.train.budget.shown == "40 kimg or 30 minutes"
    late = _load(tmp_path, GOOD.replace("{kimg: 40}", "{minutes: 0.5}"))
    assert (late.train.budget.kimg, late.train.budget.shown) == (None, "0.5 minutes")
    with pytest.raises(
        RecipeError, match=r"train\.budget; it must be: give kimg, minutes, or both"
    ):
        _load(tmp_path, GOOD.replace("{kimg: 40}", "{patience: 3}"))
