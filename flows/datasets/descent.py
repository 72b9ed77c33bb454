"""Which models and batches descend from which data: by what each of them says of itself.

A bundle's card names the data that it was trained on and the bundle that it went on from, so a
model descends from all that its ancestors were trained on. Cards lie in the workspace, in the
store of bundles, in the papers of each release, and in MLflow, which is asked if it answers.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from flows import ledger, registry, succession
from flows.papers.folder import LINEAGE
from flows.registry import Version
from flows.release import CHAMPION
from flows.settings import Settings
from gan.assets.manifest import BATCH, begun, read_batch
from gan.assets.request import read_request
from gan.durable import SUMS, read_json, sha256, verify_sums
from gan.errors import DamagedError, ServiceError, UsageError
from gan.paths import Layout

# How a model stands to a set of images, the strongest first.
Tie = Literal["trained", "inherited", "unknown", "measured"]
_CARD = "card.json"


@dataclass(frozen=True)
class Model:
    """A bundle and what it says of itself.

    Attributes:
        recipe: Of its training.
        digest: The bundle's.
        number: The version it is registered as; None where it is not.
        data_digest: What it was trained on; "" where nothing that is at hand says it.
        start: Digest of the bundle that it went on from; "" for none, or not known.
        is_champion: Whether production uses it.
    """

    recipe: str
    digest: str
    number: int | None
    data_digest: str
    start: str
    is_champion: bool

    @property
    def name(self) -> str:
        """What it is called where it is read."""
        number = f"v{self.number}" if self.number is not None else "not registered"
        return f"{self.recipe} {number} ({self.digest[:12]})"


@dataclass(frozen=True)
class Descendant:
    """A model, how it came by the images, and the batches that were minted from it.

    Attributes:
        model: The model.
        tie: `trained` on them; `inherited`: it goes on from a model that was; `unknown`: nothing
            at hand says what it, or a model that it goes on from, was made of; `measured`: they
            were held out from its training.
        through: Of `inherited`: the ancestor that was trained on them.
        batches: Folders, complete or begun.
    """

    model: Model
    tie: Tie
    through: str
    batches: list[str]


def models(layout: Layout, settings: Settings, recipe: str) -> tuple[list[Model], str]:
    """Return every model of a recipe that is known, and why MLflow was not asked, or "".

    Raises:
        DamagedError: The ledger is not what it was.
    """
    cards = _cards_here(layout, recipe)
    try:
        known = registry.versions(settings, recipe)
        champion = registry.by_alias(settings, recipe, CHAMPION)
        serving = champion.number if champion else None
        for version in known:
            if version.digest not in cards:
                cards[version.digest] = _card_there(layout, settings, version)
        numbers = {version.digest: version.number for version in reversed(known)}
        unasked = ""
    except ServiceError as error:
        line = succession.champions(ledger.read(layout.ledger), recipe)
        serving = line[-1].to_version if line else None
        numbers, unasked = _released(layout, recipe), str(error)
    numbers = {**_released(layout, recipe), **numbers}
    found = [
        Model(
            recipe=recipe,
            digest=digest,
            number=numbers.get(digest),
            data_digest=made.get("data_digest") or "",
            start=made.get("start_digest") or "",
            is_champion=serving is not None and numbers.get(digest) == serving,
        )
        for digest, made in cards.items()
    ]
    return sorted(found, key=lambda model: (model.number or 1 << 30, model.digest)), unasked


def descendants(
    layout: Layout, recipe: str, known: Iterable[Model], trained: set[str], held_out: set[str]
) -> list[Descendant]:
    """Return the models that descend from images, and those of which it is not known.

    Args:
        layout: The workspace.
        recipe: The models' recipe.
        known: As `models` has them.
        trained: Digests of the data versions that train on the images.
        held_out: Of those that hold them out.
    """
    by_digest = {model.digest: model for model in known}
    minted, _ = batches(layout, recipe)
    found = []
    for model in by_digest.values():
        line, is_whole = _ancestors(model, by_digest)
        guilty = next((each for each in line if each.data_digest in trained), None)
        tie: Tie
        if model.data_digest in trained:
            tie = "trained"
        elif guilty is not None:
            tie = "inherited"
        elif not is_whole:
            tie = "unknown"
        elif model.data_digest in held_out:
            tie = "measured"
        else:
            continue
        through = guilty.name if guilty is not None and tie == "inherited" else ""
        found.append(Descendant(model, tie, through, minted.get(model.digest, [])))
    return found


def data_of(layout: Layout, settings: Settings, recipe: str, word: str) -> str:
    """Return the digest of the data that a model was trained on.

    Args:
        layout: The workspace.
        settings: Where MLflow is.
        recipe: The model's.
        word: `champion`, or a version as `v3`.

    Raises:
        UsageError: There is no such model, or nothing says what it was trained on.
    """
    known, unasked = models(layout, settings, recipe)
    wanted = word.removeprefix("v")
    for model in known:
        if model.is_champion if word == CHAMPION else str(model.number) == wanted:
            if model.data_digest:
                return model.data_digest
            raise UsageError(f"{model.name}: nothing at hand says which data it was trained on.")
    there = ", ".join(f"v{m.number}" for m in known if m.number is not None) or "none"
    hint = f" MLflow did not answer; ganmill up starts it. ({unasked})" if unasked else ""
    raise UsageError(f"{recipe}: has no {word}; registered: {there}.{hint}")


def _ancestors(model: Model, by_digest: Mapping[str, Model]) -> tuple[list[Model], bool]:
    """Return a model and what it went on from, and whether all of them say their data."""
    line, start = [model], model.start
    while start in by_digest and by_digest[start] not in line:
        line.append(by_digest[start])
        start = line[-1].start
    is_whole = start in {"", *(each.digest for each in line)}
    return line, is_whole and all(each.data_digest for each in line)


def _cards_here(layout: Layout, recipe: str) -> dict[str, dict[str, Any]]:
    """Return what bundles and papers in the workspace say, by bundle digest."""
    cards: dict[str, dict[str, Any]] = {}
    for lineage in _papers(layout, recipe):
        made = {
            "data_digest": lineage["data"]["digest"],
            "start_digest": lineage["start_bundle"],
        }
        cards[lineage["bundle_digest"]] = made
    store = sorted(layout.bundle_store.glob(f"*/{_CARD}"))
    shipped, trained = layout.shipped_bundle(recipe), layout.bundle(recipe)
    for path in (*store, shipped / _CARD, trained / _CARD):
        card = _card(path.parent) if path.is_file() else None
        if card is not None and card.get("recipe") == recipe:
            cards[sha256(path.parent / SUMS)] = card
    return cards


def _card(folder: Path) -> dict[str, Any] | None:
    """Return a bundle's card; None where the bundle is damaged: it may say anything."""
    try:
        verify_sums(folder)
        card: dict[str, Any] = read_json(folder / _CARD)
    except DamagedError:
        return None
    return card


def _card_there(layout: Layout, settings: Settings, version: Version) -> dict[str, Any]:
    """Return the card of a version's bundle, fetched; nothing where it is damaged or gone."""
    try:
        return _card(registry.fetch(settings, version, layout.bundle_store)) or {}
    except DamagedError:
        return {}


def _papers(layout: Layout, recipe: str) -> list[dict[str, Any]]:
    home = layout.release(recipe, 1).parent
    return [read_json(path) for path in sorted(home.glob(f"v*/{LINEAGE}"))]


def _released(layout: Layout, recipe: str) -> dict[str, int]:
    """Return the numbers of versions that have papers, by bundle digest."""
    return {each["bundle_digest"]: int(each["version"]) for each in _papers(layout, recipe)}


def batches(layout: Layout, recipe: str) -> tuple[dict[str, list[str]], list[str]]:
    """Return names of batches by the digest of the bundle that they were minted from.

    Returns:
        Those, complete or begun, and the names of damaged ones, which may be of any bundle.
    """
    home = layout.batches(recipe)
    found: dict[str, list[str]] = {}
    damaged = []
    for folder in sorted([*(path.parent for path in home.glob(f"*/{BATCH}")), *begun(home)]):
        try:
            card = read_batch(folder) if (folder / BATCH).exists() else read_request(folder)
            found.setdefault(card.bundle_digest, []).append(folder.name)
        except DamagedError:
            damaged.append(folder.name)
    return found, damaged
