"""What the gate is told about a bundle, beside its distances."""

from typing import Any

import pytest

from flows.evidence import checks_of

CARD = {"status": "healthy"}
REPORT = {"bundle_digest": "ab" * 32, "held_out": 224, "is_copying": False}


def test_a_sound_bundle_holds_every_check() -> None:
    """Healthy, measured itself, and no copier."""
    assert checks_of(CARD, REPORT, "ab" * 32) == {
        "training ended healthy": True,
        "metrics are of this bundle": True,
        "copies no training image": True,
    }


@pytest.mark.parametrize(
    ("card", "report", "failed"),
    [
        ({"status": "degraded"}, {}, "training ended healthy"),
        ({}, {"bundle_digest": "cd" * 32}, "metrics are of this bundle"),
        ({}, {"is_copying": True}, "copies no training image"),
        ({}, {"is_copying": None}, "copies no training image"),
    ],
)
def test_each_fault_fails_its_check(
    card: dict[str, Any], report: dict[str, Any], failed: str
) -> None:
    """A degraded training, another model's figures and a copier are refused by name."""
    checks = checks_of({**CARD, **card}, {**REPORT, **report}, "ab" * 32)

    assert [name for name, held in checks.items() if not held] == [failed]


def test_without_held_out_images_copies_are_not_asked_for() -> None:
    """A small folder has no image to spare: the check is absent, not passed."""
    checks = checks_of(CARD, {**REPORT, "held_out": 0, "is_copying": None}, "ab" * 32)

    assert "copies no training image" not in checks
