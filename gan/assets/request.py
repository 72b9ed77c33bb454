"""What is asked for, and what follows from that alone: how the batch and its assets are called.

    request id    of all that the bytes of the assets depend on: recipe, campaign, bundle, slot
    asset id      of the request id and the ordinal of a candidate; so is its latent

So the same request makes the same assets wherever, whenever and by however many it is made. Who
asked, from which run, and where the assets go is kept beside it and changes no name.
"""

import hashlib
import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from gan.assets.manifest import REQUEST, Past, asset_id
from gan.durable import read_json
from gan.errors import DamagedError, UsageError
from gan.recipe import NAME_PATTERN
from gan.sections import DEFAULT_CAMPAIGN, CampaignSpec

_SLOT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_CAMPAIGN = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")


@dataclass(frozen=True)
class Request:
    """What is asked for.

    Attributes:
        recipe: The product line.
        spec: How many of which kind, in which packs, with what quality bar; its seed too.
        slot: The occasion, say the scheduled time `2026-11-21T10-00`; one batch for each.
        campaign: The name that the recipe gives `spec`.
        lineage: What the assets came from: model_version, mlflow_run, flow_run, data_version, and
            web addresses of those under the same names with `_url` at the end.
    """

    recipe: str
    spec: CampaignSpec
    slot: str
    campaign: str = DEFAULT_CAMPAIGN
    lineage: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse what could not be a folder.

        Raises:
            UsageError: The recipe, slot or campaign is not possible.
        """
        if not NAME_PATTERN.fullmatch(self.recipe) or ".." in self.recipe:
            raise UsageError(f"batch: {self.recipe!r} is no recipe name; see params.yaml.")
        if not _CAMPAIGN.fullmatch(self.campaign):
            raise UsageError(f"batch: {self.campaign!r} is no campaign's name; see params.yaml.")
        if not _SLOT.fullmatch(self.slot):
            raise UsageError(
                f"batch: slot is {self.slot!r}; it must be 1 to 64 of A-Z a-z 0-9 . _ - and begin "
                "with a letter or a digit."
            )


@dataclass(frozen=True)
class Names:
    """What a request is called.

    Attributes:
        request_id: Assets are named and drawn by it, 64 hex digits.
        batch_id: `<slot>-<8 hex digits>`, the folder's name.
    """

    request_id: str
    batch_id: str

    def asset(self, ordinal: int) -> str:
        """Return the id of the candidate with this ordinal, 16 hex digits."""
        return asset_id(self.request_id, ordinal)


def names(request: Request, bundle_digest: str) -> Names:
    """Return what a request for assets of a bundle is called."""
    made_of = [request.recipe, request.campaign, bundle_digest, request.slot, request.spec.making]
    text = json.dumps(made_of, ensure_ascii=True, sort_keys=True)
    request_id = hashlib.sha256(text.encode()).hexdigest()
    return Names(request_id, f"{request.slot}-{request_id[:8]}")


class Asked(BaseModel):
    """What a batch in the making was begun with: the same of it all makes the same bytes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[2] = 2
    request: Request
    bundle_digest: str = Field(pattern=r"^[0-9a-f]{64}$")
    past: list[Past]

    @property
    def names(self) -> Names:
        """What the batch and its assets are called."""
        return names(self.request, self.bundle_digest)

    def document(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return self.model_dump(mode="json")


def read_request(folder: Path) -> Asked:
    """Return what a batch in the making was begun with.

    Raises:
        DamagedError: `.request.json` is missing, malformed, or that of another batch.
    """
    path = folder / REQUEST
    try:
        asked = Asked.model_validate(read_json(path))
    except (ValidationError, UsageError) as error:
        raise DamagedError(f"{path}: is no request. Delete it and mint the batch again.") from error
    if asked.names.batch_id != folder.name:
        raise DamagedError(
            f"{path}: asks for batch {asked.names.batch_id}, not for this one. "
            "Delete it and mint the batch again."
        )
    return asked
