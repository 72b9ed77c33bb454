"""What a bundle makes itself, as the measure of what is broken and of what its critic likes least.

A critic's logits have no scale of their own, so they are held against those of 1,024 candidates of
the same bundle, class by class where each class has enough of them (discriminator rejection in its
plainest form: Azadi 2019). Noise is rough, but a recipe may be about rough pictures: so broken is
what is rougher than noise nearly is, and rougher than nearly all that the bundle makes.
"""

import numpy as np
import torch
from numpy.typing import NDArray

from gan.bundle import Bundle, latents
from gan.errors import DivergedError
from gan.metrics.store import FeatureStore, What
from gan.modality import modality
from gan.screening.chunks import CHUNK, chunks
from gan.screening.sight import roughness

_CANDIDATES = 1024
_LEAST_OF_CLASS = 32  # below so many the least liked of a class say nothing; all are taken as one
_SEED = 0
_ROUGH, _ROUGHEST = 0.9, 0.99
_DEFINITION = 1  # raised when candidates of the same bundle come to be others

Images = NDArray[np.uint8]
Floats = NDArray[np.float64]


class Critic:
    """The critic of a bundle, and what of the bundle's own images it sets aside.

    Attributes:
        limits: The lowest logit that passes, by class, [K].
        roughest: The highest roughness that passes.
    """

    def __init__(self, bundle: Bundle, rejection: float, store: FeatureStore) -> None:
        """Load it, and make the candidates if nobody did before.

        Args:
            bundle: Whose critic.
            rejection: Share of the bundle's own candidates to set aside, above 0 and up to 1.
            store: Where the candidates' figures are kept.

        Raises:
            DamagedError: The weights do not fit their card.
            DivergedError: The generator makes values that are not finite.
        """
        self._bundle = bundle
        self._network = bundle.critic()
        self._room = modality(bundle.card.modality)
        what: What = {"of": "candidates", "bundle": bundle.digest, "definition": _DEFINITION}
        own = store.arrays(what, self._of_candidates)
        self.limits = _limits(own["critic"], len(bundle.card.classes), rejection)
        self.roughest = max(_ROUGH, float(np.quantile(own["roughness"], _ROUGHEST)))

    @torch.no_grad()
    def logits(self, images: Images, classes: NDArray[np.int64]) -> Floats:
        """Return the logits of images [N, C, H, W] uint8, [N], four decimals."""
        found = np.empty(len(images))
        for some, places in chunks(images):
            count = places.stop - places.start
            asked = np.zeros(len(some), np.int64)
            asked[:count] = classes[places]
            inputs = self._room.from_uint8(torch.from_numpy(some))
            found[places] = self._network(inputs, torch.from_numpy(asked))[:count].numpy()
        return found.round(4)

    @torch.no_grad()
    def _of_candidates(self) -> dict[str, Floats]:
        """Return figures of the bundle's own candidates, of which number i is of class i modulo K.

        Raises:
            DivergedError: A value is not finite.
        """
        bundle, network = self._bundle, self._bundle.generator()
        liked, rough = [], []
        for start in range(0, _CANDIDATES, CHUNK):
            classes = np.arange(start, start + CHUNK) % len(bundle.card.classes)
            z = latents(_SEED, "screening", start, count=CHUNK, z_dim=bundle.card.z_dim)
            try:
                images = self._room.to_uint8(network(z, torch.from_numpy(classes)))
            except DivergedError as error:
                raise DivergedError(
                    f"bundle {bundle.digest[:8]}: {error} Nothing is minted from it; "
                    "promote another version."
                ) from error
            liked.append(self.logits(images, classes))
            rough.append(roughness(images))
        return {"critic": np.concatenate(liked), "roughness": np.concatenate(rough)}


def _limits(logits: Floats, classes: int, rejection: float) -> Floats:
    """Return the lowest logit that passes in each class, [K], of candidates dealt out in turn."""
    if len(logits) // classes < _LEAST_OF_CLASS:
        return np.full(classes, _quantile(logits, rejection))
    return np.array([_quantile(logits[number::classes], rejection) for number in range(classes)])


def _quantile(logits: Floats, share: float) -> float:
    """Return what `share` of new logits are below of, on average (Weibull 1939)."""
    return float(np.quantile(logits, share, method="weibull"))
