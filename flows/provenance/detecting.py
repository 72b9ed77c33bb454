"""What the recipes' detectors say of a picture that carries no mark."""

from functools import cached_property
from typing import TYPE_CHECKING

from flows.provenance.answers import Synthetic
from flows.provenance.views import pixels
from gan.durable import SUMS
from gan.errors import DamagedError
from gan.paths import Layout

if TYPE_CHECKING:
    from PIL import Image

    from gan.detector.cards import DetectorCard
    from gan.detector.opening import Detector


class Detectors:
    """Every detector of the workspace, opened when first asked."""

    def __init__(self, layout: Layout) -> None:
        """Take the workspace."""
        self._layout = layout
        self.notes: list[str] = []

    @cached_property
    def _opened(self) -> "dict[str, Detector]":
        """Recipe to its detector; those that are not what was trained go into the notes."""
        recipes = sorted(path.name for path in (self._layout.root / "models").glob("*"))
        places = {recipe: self._layout.detector(recipe) for recipe in recipes}
        there = {recipe: place for recipe, place in places.items() if (place / SUMS).is_file()}
        if not there:
            return {}
        from gan.detector.opening import open_detector

        opened = {}
        for recipe, place in there.items():
            try:
                opened[recipe] = open_detector(place)
            except DamagedError as error:
                self.notes.append(f"the detector of {recipe} is not asked: {error}")
        return opened

    def ask(self, picture: "Image.Image") -> tuple[Synthetic, ...]:
        """Return what each says, the surest of it being synthetic first."""
        said = [
            _said(recipe, detector.card, float(detector.probability([pixels(picture)])[0]))
            for recipe, detector in self._opened.items()
        ]
        return tuple(sorted(said, key=lambda each: -each.probability))


def _said(recipe: str, card: "DetectorCard", probability: float) -> Synthetic:
    from gan.detector.measuring import USUAL

    usual = next(each for each in card.conditions if each.name == USUAL)
    real, ours = usual.real, usual.champion
    says = (
        f"{probability:.0%} probable that a model of {recipe} made it, where as many real as "
        f"synthetic pictures are asked about; from {card.threshold:.0%} on it says so, also of "
        f"{real.value:.1%} [{real.low:.1%}, {real.high:.1%}] of {real.n:,} real pictures, and of "
        f"{ours.value:.0%} [{ours.low:.0%}, {ours.high:.0%}] of the model's own"
    )
    return Synthetic(recipe, probability, card.threshold, real.value, ours.value, says)
