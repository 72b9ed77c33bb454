"""`ganmill data trace`: what became of one source image, from the data versions to the batches.

From the versions that have it (`sightings`) it goes on to the models that were trained on them, or
go on from such models, and to what was minted from those (`descent`).
"""

from collections.abc import Sequence
from dataclasses import dataclass

from flows.datasets import catalog, descent, removal
from flows.datasets.descent import Descendant
from flows.datasets.removal import Removal
from flows.datasets.sightings import Sample, Sighting, Use, identify, look, with_payload
from flows.settings import Settings
from gan.paths import Layout


@dataclass(frozen=True)
class Trace:
    """What became of an image.

    Attributes:
        sample: The image.
        sightings: Where it was seen, by recipe, the oldest version first.
        descendants: Models that it was trained into, by recipe.
        resembling: Models that were trained on nothing but near copies of it.
        removals: What was removed of it before.
        notes: What could not be looked at, and why.
    """

    sample: Sample
    sightings: list[Sighting]
    descendants: dict[str, list[Descendant]]
    resembling: dict[str, list[Descendant]]
    removals: list[Removal]
    notes: list[str]

    def files(self, *, near: bool) -> dict[str, dict[str, str]]:
        """Return what a removal takes out: the newest key by SHA-256, by recipe.

        The file itself and every file of the same pixels, and with `near` its near copies.
        """
        newest_first = sorted(self.sightings, key=lambda each: each.created_utc, reverse=True)
        found: dict[str, dict[str, str]] = {}
        for each in newest_first:
            if near or each.how != "near copy":
                found.setdefault(each.recipe, {}).setdefault(each.sha256, each.key)
        return found

    @property
    def is_removed(self) -> bool:
        """Whether every recipe that had it leaves it out from now on."""
        done = {(each.recipe, each.sha256) for each in self.removals}
        files = self.files(near=False)
        return all((name, each) in done for name, theirs in files.items() for each in theirs)


def trace(layout: Layout, settings: Settings, recipes: Sequence[str], word: str) -> Trace:
    """Return what became of an image in some recipes.

    Args:
        layout: The workspace.
        settings: Where MLflow is; without it the papers of releases and bundles at hand answer.
        recipes: Those to look in.
        word: A path of an image file, the beginning of a file's SHA-256, or an image's key.

    Raises:
        UsageError: No version has such an image, or the word fits several.
        DamagedError: A record, or the ledger, is not what it was.
    """
    known = [each for recipe in recipes for each in catalog.records(layout, recipe)]
    named, notes = identify(known, word)
    sample = with_payload(layout, recipes, named)
    sightings, is_whole = look(known, sample)
    if not is_whole:
        notes.append(
            "some versions see images with other channels or another background; they were "
            "searched for the same file alone. Give the file itself to search them for its like"
        )
    descendants, resembling = {}, {}
    for recipe in recipes:
        seen = [each for each in sightings if each.recipe == recipe]
        if not seen:
            continue
        models, unasked = descent.models(layout, settings, recipe)
        if unasked:
            notes.append(
                f"{recipe}: {unasked.partition(' (')[0].rstrip('.')}, so models that only MLflow "
                "knows are missing. Ask again after: ganmill up"
            )
        _, damaged = descent.batches(layout, recipe)
        notes += [f"{recipe}: batch {name} does not say its model" for name in damaged]
        exact = [each for each in seen if each.how != "near copy"]
        trained, spared = _versions(exact, "trained on"), _versions(exact, "held out")
        found = descent.descendants(layout, recipe, models, trained, spared)
        digests = {each.model.digest for each in found if each.tie != "unknown"}
        near = _versions(seen, "trained on") - trained
        others = [model for model in models if model.digest not in digests]
        alike = descent.descendants(layout, recipe, others, near, set())
        descendants[recipe] = found
        resembling[recipe] = [each for each in alike if each.tie in {"trained", "inherited"}]
    hashes = {each.sha256 for each in sightings} | {sample.sha256}
    done = [
        each
        for recipe in recipes
        for each in removal.removals(layout, recipe)
        if each.sha256 in hashes
    ]
    return Trace(sample, sightings, descendants, resembling, done, notes)


def _versions(sightings: Sequence[Sighting], use: Use) -> set[str]:
    return {each.version for each in sightings if each.use == use}
