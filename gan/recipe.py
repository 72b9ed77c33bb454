"""`params.yaml` -> `Recipe`: frozen, strict sections. Other code takes the section it needs.

Read with ruamel.yaml, the parser DVC uses, so that our code and DVC see the same values (PyYAML
reads `3e-4` as a string, `no` as False, and keeps the last of two equal keys).
"""

import difflib
import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel, ValidationError, model_validator
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from gan.durable import write_atomically
from gan.errors import RecipeError
from gan.sections import (
    NETWORK_DEFAULTS,
    AlertsSpec,
    AssetsSpec,
    DataSpec,
    DetectorSpec,
    DriftSpec,
    EvaluateSpec,
    GateSpec,
    KeepSpec,
    ModelSpec,
    ScheduleSpec,
    Section,
    TrainSpec,
)

NAME_PATTERN = re.compile(r"[a-z0-9](?:[a-z0-9._-]{0,62}[a-z0-9])?")


class Recipe(Section):
    """One product line: a data set, a model, its gates, the assets it makes, its schedule."""

    name: str
    data: DataSpec
    model: ModelSpec = ModelSpec()
    train: TrainSpec = TrainSpec()
    evaluate: EvaluateSpec = EvaluateSpec()
    gate: GateSpec = GateSpec()
    drift: DriftSpec = DriftSpec()
    assets: AssetsSpec = AssetsSpec()
    detector: DetectorSpec = DetectorSpec()
    schedule: ScheduleSpec = ScheduleSpec()
    alerts: AlertsSpec = AlertsSpec()
    keep: KeepSpec = KeepSpec()

    @model_validator(mode="after")
    def _campaigns_have_one_name(self) -> "Recipe":
        for name in self.schedule.campaigns:
            if name not in self.assets.campaigns:
                raise ValueError(f"schedule.campaigns: assets.campaigns has no {name!r}")
        return self

    @model_validator(mode="before")
    @classmethod
    def _fill_in(cls, given: Any) -> Any:
        """Read `model: conv28` as its preset, and take what trains that network where not given.

        Raises:
            ValueError: The gate is there but asks for nothing.
        """
        if not isinstance(given, dict):
            return given
        if "gate" in given and not given["gate"]:
            raise ValueError("an empty gate asks for nothing; leave it out to have the defaults")
        filled = dict(given)
        if isinstance(filled.get("model"), str):
            filled["model"] = {"preset": filled["model"]}
        model, train = filled.get("model"), filled.get("train", {})
        preset = model.get("preset") if isinstance(model, dict) else None
        if isinstance(preset, str) and isinstance(train, dict):
            filled["train"] = {**NETWORK_DEFAULTS.get(preset, {}), **train}
        return filled


def load_recipe(params: Path, name: str) -> Recipe:
    """Return the recipe `name` of a params file.

    Raises:
        RecipeError: The file or the recipe is missing, or holds something impossible.
    """
    recipes = load_recipes(params)
    if name not in recipes:
        raise RecipeError(f"{params.name}: no recipe {name!r}.{_nearest(name, list(recipes))}")
    return recipes[name]


def load_recipes(params: Path) -> dict[str, Recipe]:
    """Return every recipe of a params file by name, in the file's order.

    Raises:
        RecipeError: With one line that names the file, the dotted key, the value and the rule.
    """
    document = _read(params, "safe")
    sections = document.get("recipes") if isinstance(document, dict) else None
    if not isinstance(sections, dict) or not sections:
        raise RecipeError(
            f"{params.name}: needs a mapping `recipes` with at least one recipe. "
            "Add one with: ganmill init NAME --images PATH"
        )
    recipes = {}
    for name, section in sections.items():
        check_name(str(name), params)
        if str(name) in recipes:  # 1 and "1" are two keys of YAML
            raise RecipeError(f"{params.name}: recipe {str(name)!r} is there twice. Rename one.")
        if not isinstance(section, dict):
            raise RecipeError(f"{params.name}: recipes.{name} must be a mapping of sections.")
        try:
            recipes[str(name)] = Recipe(name=str(name), **section)
        except (ValidationError, TypeError) as error:
            raise RecipeError(_explain(params, str(name), error)) from error
    return recipes


def add_recipe(params: Path, name: str, section: dict[str, Any]) -> Recipe:
    """Write a new recipe into a params file, keeping its comments; return it, checked.

    Raises:
        RecipeError: The name is taken or not allowed, or the section is impossible.
    """
    check_name(name, params)
    document = (_read(params, "rt") if params.exists() else None) or {}
    recipes = (document.get("recipes") or {}) if isinstance(document, dict) else None
    if not isinstance(recipes, dict):
        raise RecipeError(
            f"{params.name}: needs a mapping `recipes`. Mend it, then run this again."
        )
    if name in recipes:
        raise RecipeError(
            f"{params.name}: recipe {name!r} is there already. Choose another name, or edit it."
        )
    try:
        recipe = Recipe(name=name, **section)
    except ValidationError as error:
        raise RecipeError(_explain(params, name, error)) from error
    recipes[name] = section
    document["recipes"] = recipes
    text = io.StringIO()
    yaml = YAML()
    yaml.width = 120
    yaml.dump(document, text)
    write_atomically(params, text.getvalue().encode())
    return recipe


def check_name(name: str, params: Path) -> None:
    """Refuse a recipe name that could not be a folder, a stage and a registered model.

    Raises:
        RecipeError: It is not 1 to 64 of a-z, 0-9, dot, dash, underscore, or holds `..`.
    """
    if not NAME_PATTERN.fullmatch(name) or ".." in name:
        raise RecipeError(
            f"{params.name}: recipe name {name!r} must be 1 to 64 of a-z 0-9 . _ - "
            "and begin and end with a letter or a digit."
        )


def _read(params: Path, kind: Literal["safe", "rt"]) -> Any:
    """Return whatever the YAML holds: plain values, or (rt) such as keep comments on writing."""
    try:
        return YAML(typ=kind, pure=True).load(params.read_bytes().decode())
    except FileNotFoundError as error:
        raise RecipeError(
            f"{params}: missing. Run ganmill in the folder that holds params.yaml."
        ) from error
    except UnicodeDecodeError as error:
        raise RecipeError(f"{params.name}: is not UTF-8 (byte {error.start}).") from error
    except (YAMLError, OSError, ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())
        raise RecipeError(f"{params.name}: is not valid YAML: {reason}") from error


def _explain(params: Path, name: str, error: ValidationError | TypeError) -> str:
    if isinstance(error, TypeError):
        return f"{params.name}: recipes.{name}: keys must be words ({error})."
    found = error.errors()  # an unknown key explains a missing one
    first = next((each for each in found if each["type"] == "extra_forbidden"), found[0])
    place = _place(first["loc"])
    key = ".".join(["recipes", name, *place])
    if first["type"] == "extra_forbidden":
        return f"{params.name}: unknown key {key}.{_suggestion(place)}"
    if first["type"] == "missing":
        return f"{params.name}: {key} is missing; it must be given."
    rules = [each["msg"] for each in found if _place(each["loc"]) == place]
    rule = " or ".join(
        dict.fromkeys(
            each.removeprefix("Value error, ").removeprefix("Input should be ") for each in rules
        )
    )
    value = first["input"]
    shown = f" is {value!r}" if isinstance(value, str | int | float | bool | None) else ""
    return f"{params.name}: {key}{shown}; it must be: {rule}."


def _place(loc: tuple[int | str, ...]) -> list[str]:
    """Return the keys of an error's place; of a choice of types pydantic adds the type's name."""
    place: list[str] = []
    for part in loc:
        if place and _section_at(place) is None:
            break
        place.append(str(part))
    return place


def _section_at(place: list[str]) -> type[BaseModel] | None:
    """Return the section at a dotted place inside a recipe, or None where there is a value."""
    model: type[BaseModel] = Recipe
    is_name = False  # of one section among several, as a campaign's
    for part in place:
        if is_name:
            is_name = False
            continue
        if part not in model.model_fields:
            return None
        field = model.model_fields[part].annotation
        parts = list(_parts(field))
        is_name = any(get_origin(each) is dict for each in parts)
        inner = [each for each in parts if isinstance(each, type)]
        sections = [o for o in inner if issubclass(o, BaseModel)]
        if not sections:
            return None
        model = sections[0]
    return model


def _parts(annotation: Any) -> Iterator[Any]:
    """Yield a type and all that it is made of: of `dict[str, X] | None` also X."""
    yield annotation
    for each in get_args(annotation):
        yield from _parts(each)


def _suggestion(place: list[str]) -> str:
    """Return what somebody who wrote an unknown key may have meant."""
    section, word = _section_at(place[:-1]), place[-1]
    if section is None:
        return ""
    for key in section.model_fields:  # the key may belong one level down
        inner = _section_at([*place[:-1], key])
        if inner is not None and word in inner.model_fields:
            return f" Did you mean {key}.{word}?"
    return _nearest(word, [key for key in section.model_fields if key != "name"])


def _nearest(word: str, known: list[str]) -> str:
    """Return ` Did you mean ...?` or the list of what is there."""
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    return f" Did you mean {close[0]}?" if close else f" Known: {', '.join(known)}."
