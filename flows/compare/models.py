"""What `ganmill compare` is given: references to models, and what is known of each.

RECIPE@champion  RECIPE@challenger     the version that an alias points to
RECIPE:3                               a registered version
RECIPE                                 the bundle trained in the workspace now
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from flows import registry, release
from flows.compare.facts import Side, data_facts
from flows.registry import Version
from flows.settings import Settings
from flows.tracking import RunFacts, read_run
from gan.durable import SUMS, verify_sums
from gan.errors import UsageError
from gan.paths import Layout
from gan.recipe import load_recipe

if TYPE_CHECKING:
    from gan.bundle import Bundle

_ALIASES = (release.CHAMPION, "challenger")


@dataclass(frozen=True)
class Reference:
    """What a person names: a recipe, and an alias or a number of a version, or neither."""

    recipe: str
    alias: str = ""
    number: int | None = None

    def __str__(self) -> str:
        """Return it as it is typed."""
        number = "" if self.number is None else f":{self.number}"
        return self.recipe + (f"@{self.alias}" if self.alias else number)


@dataclass(frozen=True)
class Model:
    """A bundle, the version that it is registered as, if it is, and its training."""

    recipe: str
    name: str
    bundle: "Bundle"
    version: Version | None
    run: RunFacts
    is_champion: bool

    @property
    def side(self) -> Side:
        """What the page says of it."""
        if self.version is None:
            return Side(self.name, self.bundle.digest)
        tags = self.version.tags
        pages = {
            "version": self.version.url,
            "training run": tags.get("mlflow_run_url", ""),
            "flow run": tags.get("flow_run_url", ""),
        }
        return Side(self.name, self.bundle.digest, [(k, url) for k, url in pages.items() if url])

    @property
    def data_digest(self) -> str:
        """The data that it was trained on."""
        return self.bundle.card.data_digest

    @property
    def data_facts(self) -> dict[str, str]:
        """What it was trained on, in words."""
        tags = self.version.tags if self.version else {}
        return data_facts(self.bundle.card, self.run, tags)

    @property
    def file_name(self) -> str:
        """What the page's file is called by."""
        return f"v{self.version.number}" if self.version else self.bundle.digest[:12]


def parse(text: str, recipe: str = "") -> Reference:
    """Return what a reference names; `recipe` is meant where it names none.

    Raises:
        UsageError: It is not of one of the four forms.
    """
    name, at, alias = text.partition("@")
    name, colon, number = (name, "", "") if at else text.partition(":")
    wanted = "RECIPE, RECIPE@champion, RECIPE@challenger or RECIPE:VERSION"
    if at and alias not in _ALIASES:
        raise UsageError(f"{text!r}: no alias {alias!r}. Wanted: {wanted}.")
    if colon and not number.removeprefix("v").isdecimal():
        raise UsageError(f"{text!r}: {number!r} is no version. Wanted: {wanted}.")
    if not (name or recipe):
        raise UsageError(f"{text!r} names no recipe. Wanted: {wanted}.")
    return Reference(name or recipe, alias, int(number.removeprefix("v")) if colon else None)


def parse_pair(layout: Layout, a: str, b: str | None) -> tuple[Reference, Reference]:
    """Return both references; B is the champion of A's recipe where it is not given.

    Raises:
        UsageError: One is malformed, or names an unknown recipe.
    """
    first = parse(a)
    second = parse(b or f"@{release.CHAMPION}", first.recipe)
    for reference in (first, second):
        load_recipe(layout.params, reference.recipe)
    return first, second


def open_model(layout: Layout, settings: Settings, reference: Reference) -> Model:
    """Return the model that a reference names, with all that is known of it."""
    from gan.bundle import open_bundle

    recipe, version = reference.recipe, _version(layout, settings, reference)
    is_here = not reference.alias and reference.number is None
    folder = layout.bundle(recipe)
    if version and not is_here:
        folder = registry.fetch(settings, version, layout.bundle_store)
    bundle = open_bundle(folder)
    held = [
        alias
        for alias in _ALIASES
        if version
        and (pointed := registry.by_alias(settings, recipe, alias))
        and pointed.number == version.number
    ]
    about = held if version else ["not registered"]
    about = [*about, "in the workspace"] if is_here else about
    number = f" v{version.number}" if version else f" {bundle.digest[:12]}"
    name = f"{recipe}{number}" + (f" ({', '.join(about)})" if about else "")
    run = read_run(settings, version.run_id) if version else RunFacts()
    return Model(recipe, name, bundle, version, run, release.CHAMPION in held)


def _version(layout: Layout, settings: Settings, reference: Reference) -> Version | None:
    """Return the registered version that is meant; None: what the workspace has is in no version.

    Raises:
        UsageError: There is no such version, or nothing was trained.
    """
    recipe = reference.recipe
    if reference.number is not None:
        return registry.by_number(settings, recipe, reference.number)
    if reference.alias:
        version = registry.by_alias(settings, recipe, reference.alias)
        if version is None:
            raise UsageError(
                f"{reference}: {recipe} has no {reference.alias}. Run: ganmill retrain {recipe}"
            )
        return version
    if not (layout.bundle(recipe) / SUMS).is_file():
        raise UsageError(
            f"{recipe}: nothing is trained in this workspace. Run: ganmill retrain {recipe}, or "
            f"name a version, say {recipe}@{release.CHAMPION}."
        )
    digest = verify_sums(layout.bundle(recipe))
    known = registry.versions(settings, recipe)
    return next((version for version in known if version.digest == digest), None)


def require_comparable(a: Model, b: Model) -> None:
    """Refuse what no figure could tell apart, or what makes other images.

    Raises:
        UsageError: Both are the same bundle, or sizes, channels or classes differ.
    """
    if a.bundle.digest == b.bundle.digest:
        raise UsageError(
            f"A, {a.name}, and B, {b.name}, are the same bundle {a.bundle.digest[:12]}: there is "
            f"nothing to compare. Name another version, say {a.recipe}:1."
        )
    ours, theirs = a.bundle.card, b.bundle.card
    for what, one, other in (
        ("resolution", f"{ours.resolution} px", f"{theirs.resolution} px"),
        ("channels", ours.channels, theirs.channels),
        ("number of classes", len(ours.classes), len(theirs.classes)),
        *(("class", repr(i), repr(j)) for i, j in zip(ours.classes, theirs.classes, strict=False)),
    ):
        if one != other:
            raise UsageError(
                f"A, {a.name}, and B, {b.name}, cannot be compared: {what} {one} against {other}. "
                "Name two models of the same kind of images."
            )
