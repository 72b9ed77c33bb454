"""What all sections of a recipe are, and the types that they share."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Resolution = Literal[16, 28, 32, 64, 128, 256]
Share = Annotated[float, Field(ge=0.0, le=1.0)]
ImageSize = Annotated[str, Field(pattern=r"^[1-9][0-9]{0,5}x[1-9][0-9]{0,5}$")]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Reason = Annotated[str, Field(min_length=3, max_length=500)]


class Section(BaseModel):
    """A part of a recipe: immutable, nothing coerced silently, unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)
