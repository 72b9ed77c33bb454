"""What the number of samples can tell apart is found out on what is equal."""

import json
from pathlib import Path

import pytest

from gan.bundle import Bundle
from gan.errors import UsageError
from gan.metrics.calibration import calibrate
from gan.metrics.meter import Meter


def test_equal_models_are_rarely_called_different(
    bundle: Bundle, meter: Meter, tmp_path: Path
) -> None:
    """The intervals keep their promise: about 5 % of the pairs of one model leave out zero."""
    found = calibrate(bundle, meter, 0.1, tmp_path, sets=12)

    assert len(found.differences) == 66
    assert found.false_alarms <= 10
    assert 0.5 * found.expected_spread < found.spread < 2 * found.expected_spread
    assert found.allowed == pytest.approx(0.1 * found.distance)
    assert found.smallest == pytest.approx(2.8016 * 2**0.5 * found.expected_spread, rel=1e-3)
    assert found.can_decide == (found.smallest <= found.allowed)
    kept = json.loads((tmp_path / "calibration.json").read_text())
    assert kept["false_alarms"] == found.false_alarms
    assert (tmp_path / "calibration.png").read_bytes().startswith(b"\x89PNG")


def test_one_set_of_samples_is_refused(bundle: Bundle, meter: Meter, tmp_path: Path) -> None:
    """A difference needs two of them."""
    with pytest.raises(UsageError, match="1 sets of samples; at least 2"):
        calibrate(bundle, meter, 0.1, tmp_path, sets=1)
