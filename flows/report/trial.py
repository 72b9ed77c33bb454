"""A small form of a recipe, for a trial in minutes: what CI runs to see what a change does."""

import io
from collections.abc import Sequence
from typing import Any

from ruamel.yaml import YAML

from flows.revisions import revision
from gan.durable import write_atomically, write_json
from gan.errors import UsageError
from gan.paths import Layout
from gan.recipe import load_recipe

_SAMPLES = 2000  # enough to see a broken model, and seconds to draw
_ONE_MACHINE = ("gpus", "device", "precision")


def shrink(layout: Layout, names: Sequence[str], kimg: float) -> None:
    """Rewrite recipes in `params.yaml`: the network `tiny`, few images, from scratch, one machine.

    Everything else stays: the images, the contract, the other parameters of training. A recipe
    without a pin gets one, as `dvc repro` alone makes none.

    Raises:
        RecipeError: There is no such recipe, or it is impossible.
        UsageError: `params.yaml` has changes that git could not bring back.
    """
    written = layout.params.read_bytes() if layout.params.exists() else b""
    for name in names:
        load_recipe(layout.params, name)
    if revision(layout, "HEAD").read(layout.params.name) != written:
        raise UsageError(
            "params.yaml: has changes that are not committed, and a trial writes over them. "
            "Commit them first; git checkout params.yaml brings the recipes back afterwards."
        )
    yaml = YAML()
    yaml.width = 120
    document = yaml.load(written.decode())
    for name in names:
        _shrink(document["recipes"][name], kimg)
        if not layout.pin(name).exists():
            write_json(layout.pin(name), {"bundle": None})
    text = io.StringIO()
    yaml.dump(document, text)
    write_atomically(layout.params, text.getvalue().encode())


def _shrink(section: dict[str, Any], kimg: float) -> None:
    section["model"] = {"preset": "tiny"}
    train, evaluate = (section.setdefault(key, {}) for key in ("train", "evaluate"))
    train.update({"budget": {"kimg": kimg}, "start": "scratch"})
    for key in _ONE_MACHINE:
        train.pop(key, None)
    evaluate["samples"] = min(evaluate.get("samples", _SAMPLES), _SAMPLES)
    evaluate["extractor"] = "domain"  # another one's weights are not on a machine of CI
