"""What the data contract said of the images: the content of `verdict.json`."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """The answer of one expectation.

    Attributes:
        name: Its name, for machines.
        success: Whether the data meet it.
        observed: The figure found; None when there is none.
        wanted: The limit in words, say "at least 100".
        says: One plain sentence with both.
    """

    name: str
    success: bool
    observed: float | None
    wanted: str
    says: str


@dataclass(frozen=True)
class Verdict:
    """The answer of the data contract; the content of `verdict.json`.

    Attributes:
        success: Whether every expectation was met.
        images: Number of images that were looked at.
        accepted: Number of images that training may see.
        classes: Accepted images by class.
        rejected: Images set aside, by reason code.
        expectations: The findings, in the contract's order.
    """

    success: bool
    images: int
    accepted: int
    classes: dict[str, int]
    rejected: dict[str, int]
    expectations: list[Finding]
