"""`ganmill evaluate --calibrate`: what the recipe's number of samples can tell apart."""

import json

from rich.console import Console
from rich.table import Table

from flows import evidence
from flows.story import shown
from gan.metrics.calibration import CALIBRATION, Calibration, calibrate
from gan.metrics.calibration_plot import CALIBRATION as PICTURE
from gan.paths import Layout
from gan.recipe import load_recipe

_console = Console(highlight=False, soft_wrap=True)


def measure(layout: Layout, name: str, sets: int) -> Calibration:
    """Measure the recipe's trained model again and again with other seeds, and keep what came out.

    Raises:
        DamagedError: Nothing is trained, or data or extractor are damaged.
        UsageError: There are fewer than 2 sets.
    """
    from gan.bundle import open_bundle

    recipe = load_recipe(layout.params, name)
    bundle = open_bundle(layout.bundle(name))
    meter = evidence.meter(layout, recipe)
    return calibrate(bundle, meter, recipe.gate.margin, layout.calibration(name), sets=sets)


def show(layout: Layout, name: str, found: Calibration, *, as_json: bool) -> None:
    """Print what was found, and what to change where the gate cannot decide."""
    folder = layout.calibration(name)
    if as_json:
        print(json.dumps(json.loads((folder / CALIBRATION).read_bytes()), indent=2))
        return
    pairs, halvings = len(found.differences), len(found.halves_kernel)
    table = Table("question", "answer", box=None, padding=(0, 2))
    rows = {
        f"{found.metric} of the model, N {found.samples:,}, {found.sets} sets of samples": (
            f"{found.distance:.4g}"
        ),
        "the same model twice: called different": (
            f"{found.false_alarms} of {pairs} pairs (5 % is what the intervals promise)"
        ),
        "its spread from set to set, and what the intervals say": (
            f"{found.spread:.3g}, {found.expected_spread:.3g}"
        ),
        "half of the real images against the other half": f"{found.halves:.4g}",
        "their kernel distance: called different from 0": f"{found.halves_missed} of {halvings}",
        "smallest difference that can be seen": f"{found.smallest:.3g}",
        "the gate lets a candidate be worse by": f"{found.allowed:.3g}",
    }
    for question, answer in rows.items():
        table.add_row(question, answer)
    _console.print(table)
    if found.can_decide:
        print(f"N {found.samples:,} is enough for the gate's margin.")
    else:
        wanted = _enough(found)
        print(
            f"N {found.samples:,} is too small for the gate's margin: a difference that the gate "
            f"forbids may not be seen. Set evaluate.samples to about {wanted:,}, or raise "
            "gate.margin."
        )
    print(f"Picture: {shown(folder / PICTURE)}")


def _enough(found: Calibration) -> int:
    """Return the samples at which the smallest visible difference is the margin, in thousands."""
    ratio = found.smallest / found.allowed if found.allowed > 0 else 1.0
    return max(1, round(found.samples * ratio**2 / 1000 + 0.5)) * 1000
