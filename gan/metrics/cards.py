"""What an extractor says of itself: its network, whence its weights, the names of its distances.

`card.json` is one of three kinds. `format` is part of what the digest covers: whoever changes how
an extractor reads images raises it, so that figures of the old and the new way are never compared.
"""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from gan.durable import SUMS, read_json, verify_sums
from gan.errors import DamagedError

WEIGHTS = "extractor.safetensors"
CARD = "card.json"

# The file of the Inception network of 2015-12-05 as PyTorch reads it: 95,628,359 bytes. A distance
# in these very weights is what papers call FID.
STANDARD_SHA256 = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class _Card(BaseModel):
    """What the three kinds share."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[2] = 2
    modality: Literal["image"] = "image"
    dims: int = Field(ge=1)


class DomainCard(_Card):
    """A small network that was trained on the recipe's own images."""

    kind: Literal["domain"] = "domain"
    name: Literal["domain"] = "domain"
    standard: Literal[False] = False
    task: Literal["classes", "rotation"]  # what it was trained to tell
    classes: list[str] = Field(min_length=1)
    resolution: int
    channels: int
    accuracy: float = Field(ge=0.0, le=1.0)  # on the images held out of its training
    held_out: int
    images_shown: int
    seed: int
    data_digest: str
    precision: str
    torch: str

    @property
    def outputs(self) -> int:
        """Number of logits: one a class, or one a quarter turn."""
        return len(self.classes) if self.task == "classes" else 4

    @property
    def distance(self) -> str:
        """Name of the Frechet distance in its features."""
        return "fd_domain"

    @property
    def kernel(self) -> str:
        """Name of the kernel distance in its features."""
        return "kd_domain"


class InceptionCard(_Card):
    """The Inception network of 2015-12-05; only its standard weights make it the FID."""

    kind: Literal["inception"] = "inception"
    name: Literal["inception"] = "inception"
    source: str  # the file's name: neither where it lay nor who may fetch it
    source_sha256: Sha256
    standard: bool

    @property
    def distance(self) -> str:
        """Name of the Frechet distance in its features."""
        return "fid" if self.standard else "fd_inception"

    @property
    def kernel(self) -> str:
        """Name of the kernel distance in its features."""
        return "kid" if self.standard else "kd_inception"

    @model_validator(mode="after")
    def _is_standard_by_its_source_alone(self) -> "InceptionCard":
        if self.standard != (self.source_sha256 == STANDARD_SHA256):
            raise ValueError("standard goes with the source_sha256 of the standard file alone")
        return self


class BackboneCard(_Card):
    """A network of torchvision, with weights of the user's choice."""

    kind: Literal["backbone"] = "backbone"
    name: str = Field(pattern=r"^[a-z0-9_]+$")
    source: str
    source_sha256: Sha256
    standard: Literal[False] = False

    @property
    def distance(self) -> str:
        """Name of the Frechet distance in its features."""
        return f"fd_{self.name}"

    @property
    def kernel(self) -> str:
        """Name of the kernel distance in its features."""
        return f"kd_{self.name}"


ExtractorCard = DomainCard | InceptionCard | BackboneCard
_ADAPTER: TypeAdapter[ExtractorCard] = TypeAdapter(
    Annotated[ExtractorCard, Field(discriminator="kind")]
)


def read_card(folder: Path) -> tuple[str, ExtractorCard]:
    """Return the digest and the card of the extractor in `folder`, after checking every byte of it.

    Raises:
        DamagedError: A file is missing, extra or altered, or the card is none.
    """
    if not (folder / SUMS).is_file():
        raise DamagedError(
            f"{folder}: no extractor here ({SUMS} is missing). Make it with: dvc repro extractor"
        )
    digest = verify_sums(folder)
    try:
        return digest, _ADAPTER.validate_python(read_json(folder / CARD))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "kind"
        raise DamagedError(
            f"{folder / CARD}: {place}: {first['msg']}. Was it made by another version? "
            "Make it anew: ganmill extractor renew RECIPE"
        ) from error
