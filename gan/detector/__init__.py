"""The detector of synthetic images: did one of our generators draw this picture?

    pictures.py     any picture -> the recipe's own size; what befalls pictures on their way
    network.py      a small residual network on image, high-pass residual and spectrum
    models.py       fresh images of several bundles
    training.py     train it on real images against those, alike degraded
    rates.py        shares, average precision, calibration error: each with its interval
    measuring.py    what it can tell: the table of the card
    cards.py        what a detector says of itself
    opening.py      read it back; probability(pictures)

It is trained on the recipe's real images against what its own models make, so it answers "one of
our generators?" well and "any generator?" badly; its card says by how much (Wang 2020,
CNNDetection: accuracy on unseen generators falls far below that on known ones).
"""

from gan.detector.cards import DetectorCard
from gan.detector.opening import Detector, open_detector
from gan.detector.training import train_detector

__all__ = ["Detector", "DetectorCard", "open_detector", "train_detector"]
