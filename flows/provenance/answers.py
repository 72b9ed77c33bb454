"""What is said of a file: one verdict, and what each layer of marks gave."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

Verdict = Literal[
    "ours, unchanged", "ours, altered", "probably ours", "claims to be ours", "no mark of ours"
]
LayerName = Literal["manifest", "credentials", "metadata", "watermark", "looks"]
# proof: a digest or a signature fits. mark: only who has our key could have made it. hint: speaks
# for it, but could be brought about by others. claim: anybody could have written it. none: nothing.
Weight = Literal["proof", "mark", "hint", "claim", "none"]


@dataclass(frozen=True)
class Layer:
    """What one kind of mark gave.

    Attributes:
        name: The kind.
        weight: What it counts for the file being ours.
        says: A sentence for people.
        confidence: In its own measure, 0..1: 1 of a proof, the share of the watermark's bits that
            were heard right, the share of bits in which two perceptual hashes agree, 0 of a claim.
        asset: Which asset it points to, or "".
    """

    name: LayerName
    weight: Weight
    says: str
    confidence: float = 0.0
    asset: str = ""


@dataclass(frozen=True)
class Synthetic:
    """What a recipe's detector says of a picture without marks.

    Attributes:
        recipe: Whose detector.
        probability: That it is synthetic, where as many real as synthetic ones are asked about.
        threshold: From which on the detector says so.
        false_positives: Share of real held-out pictures that it calls synthetic, as measured.
        true_positives: Share of the model's own pictures that it calls synthetic, as measured.
        says: All that in a sentence.
    """

    recipe: str
    probability: float
    threshold: float
    false_positives: float
    true_positives: float
    says: str


@dataclass(frozen=True)
class Answer:
    """Whose a file is.

    Attributes:
        path: The file.
        verdict: In one phrase.
        confidence: That of the strongest layer, in its own measure; see `Layer`.
        layers: In the order in which they were asked; those behind a certain answer are not.
        asset: Id of the asset, "" if it is none of ours.
        recipe: Its product line.
        campaign: Of the recipe.
        batch: Its batch.
        class_: The class it was made as.
        model_version: Version of the model in the registry, "" if it was in none.
        model_digest: Digest of the model's bundle.
        seed: Of its request.
        ordinal: Its place in the request.
        request: Of what was asked for, 64 hex digits.
        data_version: What the model was trained on, "" if not known.
        synthetic: What detectors say; empty where the marks answer, or there is no detector.
        problem: Why the picture cannot be looked at, or "".
        notes: What could not be asked: batches and detectors that are not what they were.
    """

    path: Path
    verdict: Verdict
    confidence: float
    layers: tuple[Layer, ...]
    asset: str = ""
    recipe: str = ""
    campaign: str = ""
    batch: str = ""
    class_: str = ""
    model_version: str = ""
    model_digest: str = ""
    seed: int | None = None
    ordinal: int | None = None
    request: str = ""
    data_version: str = ""
    synthetic: tuple[Synthetic, ...] = ()
    problem: str = ""
    notes: tuple[str, ...] = ()

    def document(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        found = asdict(self)
        return {"path": str(found.pop("path")), "class": found.pop("class_"), **found}
