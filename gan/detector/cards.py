"""What a detector says of itself: what it was shown, and what it can and cannot tell, measured."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from gan.bundle import Bundle
from gan.durable import SUMS, read_json, verify_sums
from gan.errors import DamagedError
from gan.metrics.intervals import Interval

WEIGHTS, EXAMPLES, CARD = "detector.safetensors", "examples.npy", "card.json"

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Probability = Annotated[float, Field(ge=0.0, le=1.0)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ModelShown(_Part):
    """A bundle that the detector learnt from."""

    digest: Sha256
    start_digest: str | None  # what it was trained from: a near relative
    total_kimg: float

    @classmethod
    def of(cls, bundle: Bundle) -> "ModelShown":
        """Return what is kept of a bundle."""
        card = bundle.card
        return cls(digest=bundle.digest, start_digest=card.start_digest, total_kimg=card.total_kimg)


class Rate(_Part):
    """A figure 0..1 with its 95 % interval, and of how many images."""

    value: Probability
    low: Probability
    high: Probability
    n: int = Field(ge=1)

    @classmethod
    def of(cls, found: Interval, n: int) -> "Rate":
        """Return an interval of `n` images."""
        return cls(value=found.value, low=found.low, high=found.high, n=n)


class Condition(_Part):
    """How often it says "synthetic" after one journey: of real images, and of the models' own."""

    name: str
    real: Rate  # false positives
    champion: Rate  # true positives, of the newest model
    older: Rate | None  # true positives, of the others together; None where there is no other


class Unseen(_Part):
    """What a detector that was not shown a model says of it.

    `is_relative` tells that one which it was shown was trained from this one, or this from it.
    """

    digest: Sha256
    average_precision: Rate  # real and generated weigh alike: 0.5 is chance
    true_positives: Rate
    is_relative: bool


class Bin(_Part):
    """Images of about one probability, and how many of them are synthetic indeed."""

    probability: Probability
    share: Probability
    weight: Probability


class Example(_Part):
    """A picture of `examples.npy`, in order: whose it is, and what was said of it."""

    kind: Literal["real", "synthetic"]
    digest: str  # of the model; "" for a real image
    journey: str
    probability: Probability


class Measures(_Part):
    """What a detector can tell, and how its answers are scaled.

    `probability` of a picture is that of being synthetic where as many real as synthetic pictures
    are asked about. From `threshold` on it says "synthetic": 5 % of real images pass it, or fewer.
    """

    temperature: float = Field(gt=0)
    offset: float
    threshold: Probability
    surest: Probability  # no probability is nearer to 1, nor its complement to 0
    conditions: list[Condition] = Field(min_length=1)
    unseen: list[Unseen]  # empty where there is one model alone
    spectrum_auc: Rate  # of the radial spectrum alone: near 1 is an artefact of the champion
    calibration_error: Rate  # over all journeys
    roc: list[tuple[Probability, Probability]]  # (false, true positive rate), as delivered
    reliability: list[Bin]
    examples: list[Example]


class DetectorCard(Measures):
    """A detector: how to build it, what it was shown, what it can tell."""

    format: Literal[1] = 1
    modality: Literal["image"] = "image"
    channels: Literal[1, 3]
    resolution: int = Field(ge=8)
    width: int = Field(ge=8)
    data_digest: Sha256
    models: list[ModelShown] = Field(min_length=1)  # the champion first
    spec: dict[str, Any]  # the recipe's section, as a record
    seed: int
    images_shown: int
    real: dict[str, int]  # real images: learnt, calibration, measured
    precision: str
    torch: str
    notes: list[str]


def read_card(folder: Path) -> tuple[str, DetectorCard]:
    """Return the digest and the card of the detector in `folder`, after checking every byte of it.

    Raises:
        DamagedError: A file is missing, extra or altered, or the card is none.
    """
    if not (folder / SUMS).is_file():
        raise DamagedError(
            f"{folder}: no detector here ({SUMS} is missing). Train it: ganmill detector RECIPE"
        )
    digest = verify_sums(folder)
    try:
        return digest, DetectorCard.model_validate(read_json(folder / CARD))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise DamagedError(
            f"{folder / CARD}: {place}: {first['msg']}. Was it made by another version? "
            "Train it anew: ganmill detector RECIPE"
        ) from error
