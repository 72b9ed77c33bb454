"""What the data contract said of the images: the content of `verdict.json`."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Finding:
    """The answer of one expectation.

    Attributes:
        name: Its name, for machines.
        success: Whether the data meet it.
        observed: The figure found; None when there is none.
        wanted: The limit in words, say "at least 100".
        says: One plain sentence with both.
        examples: Up to 12 images that are in the way, in the order of the table, and what is
            wrong with each in a few words; none where it is met, or where no single one is to
            blame.
    """

    name: str
    success: bool
    observed: float | None
    wanted: str
    says: str
    examples: dict[str, str] = field(default_factory=dict)


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
