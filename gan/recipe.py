"""`params.yaml` -> `Recipe`: frozen, strict sections. Other code takes the section it needs.

Read with ruamel.yaml, the parser DVC uses, so that our code and DVC see the same values (PyYAML
reads `3e-4` as a string, `no` as False, and keeps the last of two equal keys).
"""

import difflib
import io
import re
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from gan.durable import write_atomically
from gan.errors import RecipeError

NAME_PATTERN = re.compile(r"[a-z0-9](?:[a-z0-9._-]{0,62}[a-z0-9])?")

Resolution = Literal[16, 32, 64, 128, 256]
Share = Annotated[float, Field(ge=0.0, le=1.0)]


class Section(BaseModel):
    """A part of a recipe: immutable, nothing coerced silently, unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class GlyphsSpec(Section):
    """How many stickers are drawn from the DejaVu glyphs, and from which seed."""

    count: int = Field(default=6000, ge=2, le=1_000_000)
    seed: int = Field(default=1, ge=0)


class ContractSpec(Section):
    """The data contract: what makes a folder of images fit to train on."""

    min_images: int = Field(default=100, ge=2)
    min_images_per_class: int = Field(default=5, ge=1)
    max_rejected_share: Share = 0.01
    max_duplicate_share: Share = 0.05
    max_blank_share: Share = 0.01
    min_side_px: int = Field(default=8, ge=1)


class DataSpec(Section):
    """Where the images come from and the shape that training sees."""

    source: Literal["glyphs", "files"]
    path: str = Field(min_length=1)
    label_from: str = Field(default="folder", min_length=1)
    licence: str = Field(default="unknown", min_length=1)
    resolution: Resolution = 32
    channels: Literal[1, 3] = 3
    background: str = Field(default="#ffffff", pattern=r"^#[0-9a-fA-F]{6}$")
    fit: Literal["crop", "pad"] = "crop"
    resize: Literal["lanczos", "nearest"] = "lanczos"
    glyphs: GlyphsSpec | None = None
    contract: ContractSpec = ContractSpec()

    @model_validator(mode="after")
    def _glyphs_go_with_their_source(self) -> "DataSpec":
        if (self.source == "glyphs") != (self.glyphs is not None):
            raise ValueError("`glyphs` is given exactly when source is glyphs")
        return self


class ModelSpec(Section):
    """Which networks: a preset of `gan/image/networks/`."""

    preset: Literal["tiny"] = "tiny"


class TrainSpec(Section):
    """The training budget and the R3GAN schedule; images are counted in thousands (kimg)."""

    kimg: float = Field(default=40.0, gt=0, le=1_000_000)
    start: Literal["champion", "scratch"] = "champion"
    seed: int = Field(default=1, ge=0)
    batch_size: int = Field(default=16, ge=4, le=4096)
    lr: float = Field(default=2e-3, gt=0, le=0.1)
    gamma: float = Field(default=4.0, gt=0, le=1000)
    ema_kimg: float = Field(default=2.0, ge=0)
    augment: Share = 0.3
    flip: bool = False
    device: Literal["auto", "cpu", "cuda"] = "auto"
    precision: Literal["auto", "bf16", "float32"] = "auto"

    @field_validator("batch_size")
    @classmethod
    def _quarter_is_whole(cls, value: int) -> int:
        if value % 4:
            raise ValueError("must be a multiple of 4: the penalty is taken on a quarter of it")
        return value


class EvaluateSpec(Section):
    """How the model is measured."""

    extractor: Literal["domain"] = "domain"
    samples: int = Field(default=5000, ge=200, le=1_000_000)
    seed: int = Field(default=7, ge=0)


class GateSpec(Section):
    """What a challenger must show before it replaces the champion.

    `max_fd_share` is the absolute floor: its distance may be at most this share of what noise
    scores, so that one figure fits every data set. `margin` is how much worse than the champion
    the upper bound of the paired difference may be, as a share of the champion's distance.
    """

    max_fd_share: Share = 0.5
    margin: Share = 0.1


class AssetsSpec(Section):
    """What a batch is: how many assets, how large."""

    count: int = Field(default=64, ge=1, le=1_000_000)
    size_px: int = Field(default=256, ge=16, le=4096)
    upscale: Literal["lanczos", "nearest"] = "lanczos"
    seed: int = Field(default=1, ge=0)


class ScheduleSpec(Section):
    """When it runs: cron lines in one time zone."""

    retrain: str | None = None
    generate: str | None = None
    timezone: str = "UTC"


class Recipe(Section):
    """One product line: a data set, a model, its gates, the assets it makes, its schedule."""

    name: str
    data: DataSpec
    model: ModelSpec = ModelSpec()
    train: TrainSpec = TrainSpec()
    evaluate: EvaluateSpec = EvaluateSpec()
    gate: GateSpec = GateSpec()
    assets: AssetsSpec = AssetsSpec()
    schedule: ScheduleSpec = ScheduleSpec()


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
    place = [str(part) for part in first["loc"]]
    key = ".".join(["recipes", name, *place])
    if first["type"] == "extra_forbidden":
        known = list(_fields_at(place[:-1]))
        return f"{params.name}: unknown key {key}.{_nearest(place[-1], known)}"
    if first["type"] == "missing":
        return f"{params.name}: {key} is missing; it must be given."
    rule = first["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
    value = first["input"]
    shown = f" is {value!r}" if isinstance(value, str | int | float | bool | None) else ""
    return f"{params.name}: {key}{shown}; it must be: {rule}."


def _fields_at(place: list[str]) -> list[str]:
    """Return the keys that are allowed at a dotted place inside a recipe."""
    model: type[BaseModel] = Recipe
    for part in place:
        field = model.model_fields[part].annotation
        options = [field, *get_args(field)]
        model = next(o for o in options if isinstance(o, type) and issubclass(o, BaseModel))
    return [key for key in model.model_fields if key != "name"]


def _nearest(word: str, known: list[str]) -> str:
    """Return ` Did you mean ...?` or the list of what is there."""
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    return f" Did you mean {close[0]}?" if close else f" Known: {', '.join(known)}."
