"""The pin: a small file in git that says which bundle the next training starts from.

It is a DVC dependency of `train`, and it is renewed only when that stage is about to run anyway or
by force: a promotion alone never causes the next retraining.
"""

from flows import registry, versions
from flows.registry import Version
from flows.settings import Settings
from gan.durable import read_json, write_json
from gan.errors import DamagedError
from gan.paths import Layout
from gan.recipe import Recipe
from gan.training.identity import is_stopped, run_folder


def read_pin(layout: Layout, recipe: str) -> str | None:
    """Return the pinned bundle's digest, or None for a start from scratch.

    Raises:
        DamagedError: The pin is not `{"bundle": <digest or null>}`.
    """
    pin = layout.pin(recipe)
    if not pin.exists():
        write_pin(layout, recipe, None)
    record = read_json(pin)
    if not isinstance(record, dict) or "bundle" not in record:
        raise DamagedError(f'{pin}: must be {{"bundle": <digest or null>}}. Restore it from git.')
    digest: str | None = record["bundle"]
    return digest


def write_pin(layout: Layout, recipe: str, digest: str | None) -> None:
    """Pin a bundle by digest, or a start from scratch by None."""
    write_json(layout.pin(recipe), {"bundle": digest})


def renew_pin(
    layout: Layout, settings: Settings, recipe: Recipe, champion: Version | None, *, force: bool
) -> list[str]:
    """Pin the champion if training is about to run anyway; return why it is.

    The champion's bundle is fetched into the local store, where training finds it by digest. A
    training that was stopped goes on from its own start.

    Raises:
        DamagedError: The registry's files are not those that were registered.
        ServiceError: MLflow did not answer.
    """
    pinned = read_pin(layout, recipe.name)
    reasons = versions.changed(layout, "train", recipe.name)
    reasons = ["forced", *reasons] if force else reasons
    if is_stopped(run_folder(layout, recipe)):
        return ["resumed", *reasons]  # from the start it had, whoever is champion meanwhile
    if not reasons or recipe.train.start == "scratch":
        return reasons
    if champion is None:
        if pinned and not _is_here(layout, recipe.name, pinned):
            # Pinned where another registry was, say by whoever committed it: nobody has it here.
            write_pin(layout, recipe.name, None)
            reasons.append(f"the pinned bundle {pinned[:12]} is not here; from scratch")
        return reasons
    registry.fetch(settings, champion, layout.bundle_store)
    if pinned != champion.digest:
        write_pin(layout, recipe.name, champion.digest)
    return reasons


def _is_here(layout: Layout, recipe: str, digest: str) -> bool:
    return (layout.bundle_store / digest).is_dir() or layout.shipped_bundle(recipe).is_dir()
