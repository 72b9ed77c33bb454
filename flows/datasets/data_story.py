"""What `ganmill data` says: data versions, traces and removals, for people and for scripts."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from flows.datasets.catalog import DatasetRecord
from flows.datasets.comparing import Change, DatasetDiff
from flows.datasets.descent import Descendant, Model
from flows.datasets.removal import Removal
from flows.datasets.sightings import Sighting
from flows.datasets.tracing import Trace
from flows.datasets.verifying import Damage
from gan.image.facts import REASONS
from gan.paths import Layout

_TIES = {
    "trained": "trained on it",
    "inherited": "goes on from {through}, which was trained on it",
    "unknown": "nothing at hand says what it, or a model that it goes on from, was trained on",
    "measured": "not trained on it; it was held out, to measure the model by",
}
_SHOWN = 12  # lines of a kind


def listed(known: Sequence[DatasetRecord], models: Sequence[Model], *, as_json: bool) -> None:
    """Print the data versions of a recipe, oldest first, and the models trained on each."""
    trained = {each.digest: _numbers(models, each.digest) for each in known}
    if as_json:
        told = [{**_plain(each), "models": trained[each.digest]} for each in known]
        print(json.dumps(told, indent=2))
        return
    for each in known:
        names = f"   trained: {', '.join(trained[each.digest])}" if trained[each.digest] else ""
        print(
            f"  {each.recipe}@{each.digest[:12]}  {each.created_utc[:16].replace('T', ' ')}  "
            f"{each.accepted:>7,} of {each.images:,} images accepted, "
            f"{len(each.classes)} classes{names}"
        )


def differing(old: DatasetRecord, new: DatasetRecord, found: DatasetDiff, *, as_json: bool) -> None:
    """Print what became different from one data version to another."""
    if as_json:
        print(json.dumps(asdict(found), indent=2))
        return
    print(f"From {old.recipe}@{old.digest[:12]} to {new.recipe}@{new.digest[:12]}:")
    if found.is_empty:
        print("  no image differs")
    for says, rows in (
        ("added", found.added),
        ("removed", found.removed),
        ("of another label", [f"{e.key}: {e.before} -> {e.after}" for e in found.relabelled]),
        ("of other pixels under the same name", [each.key for each in found.changed]),
        ("of other bytes, the same pixels", [each.key for each in found.rewritten]),
        ("under another name", [f"{each.before} -> {each.after}" for each in found.moved]),
        ("judged otherwise", [f"{e.key}: {_judged(e)}" for e in found.judged]),
    ):
        if rows:
            print(f"{len(rows):,} {says}:")
            _lines(rows)
    rows = [
        f"{each.name}  {each.before:,} -> {each.after:,}"
        for each in found.classes
        if each.before != each.after
    ]
    if rows:
        print(f"Accepted images of {len(rows)} of {len(found.classes)} classes:")
        _lines(rows)
    rows = [
        f"{each.fact:<12} {_spread(each.before)}  ->  {_spread(each.after)}"
        for each in found.facts
        if each.before != each.after
    ]
    if rows:
        print("Facts of the accepted images, median (9 of 10 lie in):")
        _lines(rows)


def verified(found: Sequence[tuple[DatasetRecord, Sequence[Damage]]], *, as_json: bool) -> None:
    """Print for each data version what is not as it was."""
    if as_json:
        told = {each.digest: [asdict(one) for one in damage] for each, damage in found}
        print(json.dumps(told, indent=2))
        return
    for each, damage in found:
        says = (
            f"{len(damage):,} files are not as they were" if damage else "every byte is as it was"
        )
        print(f"{each.recipe}@{each.digest[:12]}: {says}")
        _lines([f"{one.place}: {one.state}: {one.file} ({one.path})" for one in damage])
    if not found:
        print("There is no data version yet.")


def traced(found: Trace, *, as_json: bool) -> None:
    """Print what became of an image."""
    if as_json:
        document = asdict(found)
        document["sample"] = {"word": found.sample.word, "sha256": found.sample.sha256}
        print(json.dumps(document, indent=2))
        return
    print(f"{found.sample.word}  (SHA-256 {found.sample.sha256[:16]})")
    if not found.sightings:
        print("No data version has it, nor anything much like it.")
    for title, rows in (
        ("In the data versions", [_sighting(each) for each in found.sightings]),
        ("Models", _models(found.descendants)),
        ("Models trained on near copies alone: look whether those are it", _near_models(found)),
        ("Batches minted from these models", _batches(found)),
        ("Removed before", [_removal(each) for each in found.removals]),
        ("Not looked at", found.notes),
    ):
        if rows:
            print(f"{title}:")
            _lines(rows)


def removed(
    layout: Layout,
    found: Trace,
    made: Sequence[Removal],
    files: Mapping[str, Mapping[str, str]],
    *,
    as_json: bool,
) -> None:
    """Print what was removed, what is left elsewhere, and what to run.

    Args:
        layout: The workspace.
        found: The trace of the image, from before.
        made: What is new on the record.
        files: What a recipe leaves out now: keys by SHA-256, by recipe.
        as_json: For scripts.
    """
    if as_json:
        left = {name: list(theirs) for name, theirs in files.items()}
        print(json.dumps({"removed": left, "new": [asdict(each) for each in made]}, indent=2))
        return
    if not made:
        print("It was removed already; nothing changed.")
    for each in made:
        print(f"{each.recipe}: removed {each.key or 'a file'} ({each.sha256[:16]}), by {each.by}")
    kept = [each for each in found.sightings if each.sha256 not in files.get(each.recipe, {})]
    if kept:
        print("Near copies stay. Look at them; if they are it, too: the same with --near")
        _lines([_sighting(each) for each in kept])
    for recipe, models in found.descendants.items():
        _descending(recipe, [e for e in models if e.tie in {"trained", "inherited"}])
    _older(layout, found)
    for recipe in files:
        print(f"Next: ganmill retrain {recipe}")


def _descending(recipe: str, models: Sequence[Descendant]) -> None:
    """Print what was made from an image, which stays until somebody acts."""
    if not models:
        return
    print(f"{recipe}: what descends from it stays until you say otherwise:")
    _lines(_models({recipe: list(models)}) + _batches_of(models))
    if any(each.model.is_champion for each in models):
        print(
            f'Stop production meanwhile: ganmill hold {recipe} --reason "..."\n'
            "A training that goes on from the champion keeps what that learnt from it. To begin "
            f"anew, set recipes.{recipe}.train.start to scratch in params.yaml."
        )


def _older(layout: Layout, found: Trace) -> None:
    """Print which data versions and checkouts still hold an image."""
    versions = sorted({(each.recipe, each.version) for each in found.sightings})
    if versions:
        print(
            f"{len(versions)} data versions hold it still, in DVC's cache and remote. After the "
            "retraining, commit dvc.lock and params.yaml; then `dvc gc --workspace --cloud` "
            "deletes every older version, of all recipes."
        )
    for recipe, version in versions:
        if (home := layout.checkout(recipe, version)).is_dir():
            print(f"A checkout holds it, too; delete {home}")


def _sighting(each: Sighting) -> str:
    how = f"near copy, {each.bits} of 64 bits apart" if each.how == "near copy" else each.how
    reason = f": {REASONS.get(each.reason, each.reason)}" if each.reason else ""
    return (
        f"{each.recipe}@{each.version[:12]}  {each.created_utc[:10]}  {each.use}{reason}  "
        f"{each.key} ({how})"
    )


def _models(by_recipe: dict[str, list[Descendant]]) -> list[str]:
    return [
        f"{each.model.name}{', champion' if each.model.is_champion else ''}: "
        f"{_TIES[each.tie].format(through=each.through)}"
        for models in by_recipe.values()
        for each in models
    ]


def _near_models(found: Trace) -> list[str]:
    every = [each for models in found.resembling.values() for each in models]
    return [f"{each.model.name}{', champion' * each.model.is_champion}" for each in every]


def _batches(found: Trace) -> list[str]:
    return [row for models in found.descendants.values() for row in _batches_of(_tied(models))]


def _tied(models: Sequence[Descendant]) -> list[Descendant]:
    return [each for each in models if each.tie in {"trained", "inherited", "unknown"}]


def _batches_of(models: Sequence[Descendant]) -> list[str]:
    return [
        f"assets/{each.model.recipe}/{name}  from {each.model.name}"
        for each in models
        for name in each.batches
    ]


def _removal(each: Removal) -> str:
    when = each.time_utc[:16].replace("T", " ")
    return f"{each.recipe}  {each.sha256[:16]}  {when}  by {each.by}: {each.reason}"


def _judged(change: Change) -> str:
    return " -> ".join(word or "accepted" for word in (change.before, change.after))


def _spread(values: tuple[float, float, float]) -> str:
    low, middle, high = values
    return f"{middle:.4g} ({low:.4g} to {high:.4g})"


def _numbers(models: Sequence[Model], digest: str) -> list[str]:
    return [
        f"v{each.number}{' (champion)' if each.is_champion else ''}"
        for each in models
        if each.data_digest == digest and each.number is not None
    ]


def _plain(record: DatasetRecord) -> dict[str, Any]:
    return {**asdict(record), "folder": str(record.folder)}


def _lines(rows: Sequence[str]) -> None:
    for row in rows[:_SHOWN]:
        print(f"  {row}")
    if len(rows) > _SHOWN:
        print(f"  and {len(rows) - _SHOWN} more; --json has them all")
