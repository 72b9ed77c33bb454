"""What `ganmill retrain --dry-run` prints: which stages would run and why, what training takes.

Nothing is started and nothing is changed.
"""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Literal

from flows.versions import STAGES, changed
from gan.paths import Layout
from gan.recipe import Recipe
from gan.training.identity import run_folder, unfinished

if TYPE_CHECKING:
    from gan.training.forecast import Forecast


@dataclass(frozen=True)
class Expected:
    """What a stage would do.

    Attributes:
        stage: Its name.
        state: It `runs`, it `follows` a stage that runs (and only if that changes what it reads),
            or is `unchanged`.
        because: Why, in plain words.
    """

    stage: str
    state: Literal["runs", "follows", "unchanged"]
    because: list[str]


@dataclass(frozen=True)
class Outlook:
    """What `ganmill retrain` would do.

    Attributes:
        recipe: Its recipe.
        stages: In their order.
        training: What the training takes; None until the data are prepared.
        refused: Whether a stopped training of other data or parameters is in the way.
    """

    recipe: str
    stages: list[Expected]
    training: "Forecast | None"
    refused: bool

    def lines(self) -> Iterator[str]:
        """Yield it for people."""
        for each in self.stages:
            why = f"  {'; '.join(each.because)}" if each.because else ""
            yield f"{each.stage:<12}{each.state:<10}{why}".rstrip()
        yield ""
        if self.training is None:
            yield "The training's figures come once the data are prepared."
        else:
            yield from self.training.lines()
        if self.refused:
            yield (
                "A stopped training of other data or parameters is in the way; to leave it and "
                f"start anew: ganmill retrain {self.recipe} --fresh"
            )


def outlook(layout: Layout, recipe: Recipe) -> Outlook:
    """Return what `ganmill retrain` would do now.

    Raises:
        DamagedError: Prepared data are there, and are not what was written.
        GanmillError: Memory is too small for the training.
    """
    name = recipe.name
    is_prepared = (layout.train_data(name) / "meta.json").exists()
    training, refused = None, False
    if is_prepared:
        from gan.training.forecast import forecast

        training = forecast(layout, recipe)  # first: what DVC loads is no memory of the training
        if layout.pin(name).exists() and (other := unfinished(layout, recipe)):
            refused = other["folder"] != run_folder(layout, recipe)
    return Outlook(name, list(_stages(layout, name)), training, refused)


def show(found: Outlook, *, as_json: bool) -> None:
    """Print it."""
    if as_json:
        print(json.dumps(asdict(found), indent=2))
        return
    for line in found.lines():
        print(line)


def _stages(layout: Layout, recipe: str) -> Iterator[Expected]:
    before = ""
    for stage in STAGES:
        if reasons := changed(layout, stage, recipe):
            yield Expected(stage, "runs", reasons)
            before = before or stage
        elif before:
            yield Expected(stage, "follows", [f"if {before} changes what it reads"])
        else:
            yield Expected(stage, "unchanged", [])
