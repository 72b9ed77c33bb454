"""The names below a workspace."""

from pathlib import Path

from gan.paths import Layout

_BY_RECIPE = (
    "pin", "shipped_bundle", "shipped_history", "raw", "facts", "train_data", "extractor", "bundle",
    "data_report", "evaluation", "gate", "run", "batches",
)  # fmt: skip


def _all(layout: Layout, recipe: str) -> list[Path]:
    named = [getattr(layout, name)(recipe) for name in _BY_RECIPE]
    return [
        *named,
        layout.version_report(recipe, "f" * 64),
        layout.lock(f"train-{recipe}"),
        layout.failure("train", recipe),
    ]


def test_every_name_is_below_the_root_and_used_once() -> None:
    """Nothing is written outside the workspace, and no two parts share a path."""
    root = Path("/srv/shop")
    paths = _all(Layout(root), "cats")

    assert all(path.is_relative_to(root) for path in paths)
    assert len(set(paths)) == len(paths)


def test_recipes_do_not_share_a_path() -> None:
    """One recipe's files are never another's."""
    layout = Layout(Path("/srv/shop"))

    assert not set(_all(layout, "cats")) & set(_all(layout, "dogs"))


def test_what_the_machine_remembers_is_in_one_hidden_folder() -> None:
    """Databases, locks, stores and the ledger are below `.ganmill`; removing it loses no input."""
    layout = Layout(Path("/srv/shop"))

    for path in (layout.lock("x"), layout.failure("a", "b"), layout.bundle_store, layout.ledger):
        assert path.is_relative_to(layout.state)
    assert layout.params == Path("/srv/shop/params.yaml")
