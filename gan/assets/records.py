"""What the manifest and the card of a batch are made of."""

import json
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

_DIGEST = r"^[0-9a-f]{64}$"
_ASSET = r"^[0-9a-f]{16}$"

Verdict = Literal[
    "accepted",
    "spare",
    "broken",
    "blank",
    "outlier",
    "off_class",
    "near_batch",
    "near_past",
    "copy",
    "moderated",
]


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class File(_Record):
    """One final file of an asset, as it was read back after every mark was on it.

    Attributes:
        platform: What it was made for.
        path: Below the batch's folder.
        sha256: Of its bytes.
        bytes: How many.
        width_px: Of the picture.
        height_px: Of the picture.
        watermark: Share of the watermark's coded bits that read back right, 0 to 1.
        is_read: Whether the watermark gave the asset's own id back.
    """

    platform: str
    path: str = Field(pattern=r"^[a-z0-9_]+(/[A-Za-z0-9][A-Za-z0-9._-]*)+$")
    sha256: str = Field(pattern=_DIGEST)
    bytes: int
    width_px: int
    height_px: int
    watermark: float | None
    is_read: bool


class Scores(_Record):
    """What the screens measured; None where a screen was not asked. See `gan.screening`."""

    contrast: float | None
    critic: float | None
    class_probability: float | None
    training_ratio: float | None
    moderation: float | None


class Row(_Record):
    """One candidate: where it came from, what became of it, and its files.

    Attributes:
        asset: Its id.
        ordinal: Its place among the candidates of the request.
        class_: That it was asked for, by name.
        segment: The audience it was asked for, or "".
        seed: Of the request.
        recipe: The product line.
        campaign: Of the recipe.
        request: The request id.
        bundle_digest: The model's files.
        model_version: As registered, or "".
        mlflow_run: That trained the model, or "".
        flow_run: That minted the batch, or "".
        data_version: That the model was trained on, or "".
        verdict: What became of it; only `accepted` has files.
        reason: Why it is not for use, a sentence, or "".
        like: The asset, or the training image, that it is too near to, or "".
        scores: What the screens measured.
        phash: Perceptual hash of the picture as generated, 64 bit with a sign.
        colour: Its 4 x 4 thumbnail, 48 bytes as hex.
        pixels: SHA-256 of the generated uint8 array.
        files: The final ones.
    """

    asset: str = Field(pattern=_ASSET)
    ordinal: int = Field(ge=0)
    class_: str = Field(alias="class")
    segment: str
    seed: int
    recipe: str
    campaign: str
    request: str = Field(pattern=_DIGEST)
    bundle_digest: str = Field(pattern=_DIGEST)
    model_version: str
    mlflow_run: str
    flow_run: str
    data_version: str
    verdict: Verdict
    reason: str
    like: str
    scores: Scores
    phash: int = Field(ge=-(2**63), lt=2**63)
    colour: str = Field(pattern=r"^[0-9a-f]{96}$")
    pixels: str = Field(pattern=_DIGEST)
    files: list[File]

    def line(self) -> str:
        """Return the row as one line of JSON."""
        return json.dumps(self.model_dump(by_alias=True), ensure_ascii=False, sort_keys=True) + "\n"


class Past(_Record):
    """An earlier batch that this one was held against, and the SHA-256 of its manifest.jsonl."""

    batch: str
    manifest_sha256: str = Field(pattern=_DIGEST)


class MarksCard(_Record):
    """Whose certificate signed the files and the card."""

    algorithm: str
    fingerprint: str
    subject: str
    is_local: bool


class Watermarked(_Record):
    """How many files carry a watermark, and from how many of them the asset's id was read back."""

    files: int
    read: int


class BatchCard(_Record):
    """What `batch.json` says.

    Attributes:
        format: Of this card.
        batch: Its id.
        recipe: The product line.
        campaign: Of the recipe.
        slot: The occasion.
        seed: Of the request.
        request: The request id.
        spec: The campaign as it was asked for.
        wanted: Accepted assets that were asked for.
        accepted: Accepted assets that there are.
        candidates: Of all verdicts.
        verdicts: Candidates by verdict.
        classes: Accepted assets by class.
        segments: Accepted assets by segment; empty without segments.
        bundle_digest: The model's files.
        lineage: As the request has it.
        notes: What a screen could not look at, and why.
        past: Earlier batches that this one was held against.
        marks: Who signed.
        watermark: How the watermarks read back.
        digests: SHA-256 by path of every file but the assets' own and this one.
        signature: Over all the others, see `gan.marking.statement`.
    """

    format: Literal[2] = 2
    batch: str
    recipe: str
    campaign: str
    slot: str
    seed: int
    request: str = Field(pattern=_DIGEST)
    spec: dict[str, Any]
    wanted: int
    accepted: int
    candidates: int
    verdicts: dict[Verdict, int]
    classes: dict[str, int]
    segments: dict[str, int]
    bundle_digest: str = Field(pattern=_DIGEST)
    lineage: dict[str, str]
    notes: list[str]
    past: list[Past]
    marks: MarksCard
    watermark: Watermarked
    digests: dict[str, str] = Field(default_factory=dict)
    signature: dict[str, Any] | None = None
