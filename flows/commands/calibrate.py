"""`ganmill evaluate --calibrate`: what the recipe's number of samples can tell apart."""

import json

from flows.gate import judging
from flows.story import shown
from gan.errors import UsageError
from gan.metrics.calibration import CALIBRATION, Calibration, calibrate
from gan.metrics.calibration_plot import CALIBRATION as PICTURE
from gan.paths import Layout
from gan.recipe import load_recipe


def measure(layout: Layout, name: str, sets: int) -> Calibration:
    """Measure the recipe's trained model again and again with other seeds, and keep what came out.

    Raises:
        DamagedError: Nothing is trained, or data or extractor are damaged.
        UsageError: There are fewer than 2 sets, or the recipe's gate has no margin to decide.
    """
    from gan.bundle import open_bundle

    recipe = load_recipe(layout.params, name)
    margin = recipe.gate.margin
    if margin is None:
        raise UsageError(
            f"{name}: gate.margin is null, so there is nothing that the samples must tell apart. "
            "Set gate.margin, say to 0.1."
        )
    bundle = open_bundle(layout.bundle(name))
    meter = judging.meter(layout, recipe)
    return calibrate(bundle, meter, margin, layout.calibration(name), sets=sets)


def show(layout: Layout, name: str, found: Calibration, *, as_json: bool) -> None:
    """Print what was found, and what to change where the gate cannot decide."""
    folder = layout.calibration(name)
    if as_json:
        print(json.dumps(json.loads((folder / CALIBRATION).read_bytes()), indent=2))
        return
    pairs, halvings = len(found.differences), len(found.halves_kernel)
    rows = {
        f"{found.metric} at N {found.samples:,}, mean of {found.sets} sets of samples": (
            f"{found.distance:.4g}"
        ),
        "the same model twice: called different (5 % are promised)": (
            f"{found.false_alarms} of {pairs} pairs"
        ),
        "its spread from set to set, and what the intervals say": (
            f"{found.spread:.3g}, {found.expected_spread:.3g}"
        ),
        "half of the real images against the other half": f"{found.halves:.4g}",
        "their kernel distance: called different from 0": f"{found.halves_missed} of {halvings}",
        "smallest difference that independent samples can show": f"{found.smallest:.3g}",
        "the gate lets a candidate be worse by at most": f"{found.allowed:.3g}",
    }
    for question, answer in rows.items():
        print(f"  {question:<60} {answer}")
    if found.can_decide:
        print(f"N {found.samples:,} is enough for the gate's margin.")
    else:
        print(
            f"N {found.samples:,} is small for the gate's margin: no worse model passes for that, "
            f"but one that is as good may be refused. Set evaluate.samples to about "
            f"{_enough(found):,}, or raise gate.margin."
        )
    print(f"Picture: {shown(folder / PICTURE)}")


def _enough(found: Calibration) -> int:
    """Return the samples at which the smallest visible difference is the margin, by 1,000 up."""
    ratio = found.smallest / found.allowed if found.allowed > 0 else 1.0
    return max(1, round(found.samples * ratio**2 / 1000 + 0.5)) * 1000
