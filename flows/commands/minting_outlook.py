"""What `ganmill generate --dry-run` prints: which assets, of which model, and what they would take.

A few real assets are minted into a temporary folder and measured; nothing else is changed.
"""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from flows import generate, minting, registry
from flows.registry import Version
from flows.story import Mill, say, shown
from gan.errors import DamagedError
from gan.sections import CampaignSpec

_SAMPLE = 16


@dataclass(frozen=True)
class Expected:
    """What a request would give.

    Attributes:
        recipe: The product line.
        campaign: Its campaign.
        version: That would be minted from.
        batch: The batch's name.
        is_there: Whether it is complete already.
        wanted: Accepted assets, by segment (or "") and class.
        platforms: Packs that each asset is made for.
        pass_share: Candidates that pass, of all, in the batches of this model so far, or of the
            sample where there is none.
        candidates: How many would be drawn.
        most_candidates: How many the budget allows.
        seconds: Estimated, from the sample.
        bytes: Likewise, of all files.
        sink: Where they would be published, or None.
        notes: What could not be looked at, and why.
    """

    recipe: str
    campaign: str
    version: int
    batch: str
    is_there: bool
    wanted: dict[str, dict[str, int]]
    platforms: list[str]
    pass_share: float
    candidates: int
    most_candidates: int
    seconds: float
    bytes: int
    sink: str | None
    notes: list[str]

    def lines(self) -> Iterator[str]:
        """Yield what a person reads."""
        total = sum(count for classes in self.wanted.values() for count in classes.values())
        yield f"{self.recipe} v{self.version}, campaign {self.campaign}: batch {self.batch}"
        if self.is_there:
            yield "It is there already; the command would return it."
        yield f"{total} assets for {', '.join(self.platforms)}:"
        for segment, classes in self.wanted.items():
            shares = ", ".join(f"{name} {count}" for name, count in classes.items())
            yield f"  {segment + ': ' if segment else ''}{shares}"
        yield (
            f"About {self.candidates} candidates ({self.pass_share:.0%} pass), at most "
            f"{self.most_candidates}; about {self.seconds:.0f} s and {self.bytes / 1e6:.1f} MB."
        )
        yield from (f"Not looked at: {note}" for note in self.notes)
        if self.sink:
            yield f"Published to: {self.sink}"


def expect(
    mill: Mill, campaign: str, *, count: int | None, seed: int | None, slot: str | None
) -> Expected:
    """Return what `mint_batch` of the same arguments would do now.

    Raises:
        UsageError: There is no such model or campaign, or a class that the model does not know.
        DamagedError: Champion, ledger and registered files do not agree.
        ServiceError: MLflow did not answer.
    """
    from gan.assets.batch import mint
    from gan.assets.manifest import BATCH, read_batch
    from gan.assets.quota import cells, most_candidates
    from gan.assets.request import names
    from gan.bundle import open_bundle

    layout, recipe = mill.layout, mill.recipe
    spec = generate.campaign_of(recipe.name, recipe.assets, campaign, count=count, seed=seed)
    version = generate.version_of(mill, spec)
    bundle = open_bundle(registry.fetch(mill.settings, version, layout.bundle_store))
    request = generate.request_of(mill, spec, campaign, version, slot)
    wanted: dict[str, dict[str, int]] = {}
    for cell in cells(spec, bundle.card.classes):
        wanted.setdefault(cell.segment, {})[cell.class_] = cell.wanted
    batch = names(request, bundle.digest).batch_id
    with TemporaryDirectory(prefix="ganmill-outlook-") as room:
        sample = mint(
            bundle,
            generate.request_of(mill, _sample(spec), campaign, version, "dry-run"),
            Path(room),
            minting.marks(layout, mill.settings),
            minting.references(mill, bundle),
            progress=lambda _: None,
        )
        notes = read_batch(sample.folder).notes
        size = sum(each.stat().st_size for each in sample.folder.rglob("*") if each.is_file())
    share = _pass_share(mill, version) or sample.passed / sample.candidates
    candidates = min(round(spec.wanted / max(share, 0.01)), most_candidates(spec))
    return Expected(
        recipe=recipe.name,
        campaign=campaign,
        version=version.number,
        batch=batch,
        is_there=(layout.batches(recipe.name) / batch / BATCH).exists(),
        wanted=wanted,
        platforms=list(spec.platforms),
        pass_share=share,
        candidates=candidates,
        most_candidates=most_candidates(spec),
        seconds=sample.seconds / sample.candidates * candidates,
        bytes=round(size / sample.candidates * candidates),
        sink=spec.sink,
        notes=notes,
    )


def show(found: Expected, *, as_json: bool) -> None:
    """Print it."""
    if as_json:
        print(json.dumps(asdict(found), indent=2, ensure_ascii=False))
        return
    for line in found.lines():
        print(line)


def _sample(spec: CampaignSpec) -> CampaignSpec:
    """Return the campaign for a few assets of every kind alike."""
    return spec.model_copy(update={"count": _SAMPLE, "segments": None})


def _pass_share(mill: Mill, version: Version) -> float | None:
    """Return which share of candidates passed in the last batches of a version; None without."""
    from gan.assets.manifest import read_batch

    passed = candidates = 0
    for folder in minting.past_batches(mill.layout, mill.recipe.name, 10):
        try:
            card = read_batch(folder)
        except DamagedError as error:
            say(f"  {shown(folder)} does not count: {error}")
            continue
        if card.bundle_digest == version.digest:
            passed += card.accepted + card.verdicts.get("spare", 0)
            candidates += card.candidates
    return passed / candidates if candidates else None
