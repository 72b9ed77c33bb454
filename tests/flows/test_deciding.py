"""When a pass is enough, and when a person has to say so too."""

import pytest

from flows.deciding import needs_person
from flows.registry import Version
from gan.sections import GateSpec

CHAMPION = Version("stickers", 1, "a" * 64, "", "", {})


@pytest.mark.parametrize(
    ("approval", "cold_start", "champion", "needed"),
    [
        ("auto", "auto", CHAMPION, False),
        ("auto", "auto", None, False),
        ("auto", "person", CHAMPION, False),
        ("auto", "person", None, True),
        ("person", "auto", CHAMPION, True),
        ("person", "auto", None, True),
        ("person", "person", CHAMPION, True),
    ],
)
def test_a_person_is_asked_when_the_recipe_says_so(
    approval: str, cold_start: str, champion: Version | None, *, needed: bool
) -> None:
    """`approval` asks for one always, `cold_start` for the first champion alone."""
    gate = GateSpec.model_validate({"approval": approval, "cold_start": cold_start})

    assert needs_person(gate, champion) is needed
