"""The engine's verbs, one per stage.

    python -m gan ingest | prepare | extractor | train | evaluate RECIPE

DVC runs these; `ganmill` is the command for people. A failure is one line on stderr, and the same
line in `.ganmill/errors/`, where the flow that started the stage finds it.
"""

import argparse
import logging
import sys
from collections.abc import Callable
from pathlib import Path

from gan.durable import record_failure
from gan.errors import GanmillError, UsageError
from gan.paths import Layout
from gan.recipe import Recipe, check_name, load_recipe


def ingest(layout: Layout, recipe: Recipe) -> None:
    """Bring the source images in, as packed shards and an index."""
    from gan.image.sources import ingest as bring_in

    done = bring_in(recipe.data, layout.root, layout.raw(recipe.name))
    skipped = f", {sum(done.skipped.values())} left out" if done.skipped else ""
    _say(f"ingest {recipe.name}: {done.images} images in {done.seconds:.1f} s{skipped}")


def prepare(layout: Layout, recipe: Recipe) -> None:
    """Write the arrays that training reads."""
    from gan.image.dataset import prepare as write_arrays

    name = recipe.name
    meta = write_arrays(layout.raw(name), layout.facts(name), recipe.data, layout.train_data(name))
    _say(
        f"prepare {name}: {meta.count} images of {meta.resolution} px in {len(meta.classes)} "
        f"classes; data digest {meta.digest[:12]}"
    )


def extractor(layout: Layout, recipe: Recipe) -> None:
    """Train the feature network of the Frechet distance."""
    from gan.hardware import use_idle_processors
    from gan.metrics.domain import train_extractor
    from gan.modality import modality

    use_idle_processors()
    data = modality("image").open_dataset(layout.train_data(recipe.name))
    digest = train_extractor(data, layout.extractor(recipe.name), EXTRACTOR_SEED)
    _say(f"extractor {recipe.name}: domain@{digest[:8]}")


def train(layout: Layout, recipe: Recipe) -> None:
    """Train the GAN; killed, the same command resumes."""
    from gan.training.guards import StopRequest

    with StopRequest() as stop:
        from gan.training.loop import train as run_training  # seconds: a signal may come in them

        bundle = run_training(layout, recipe, stop)
    _say(f"train {recipe.name}: bundle {bundle.digest[:12]} after {bundle.card.kimg:g} kimg")


def evaluate(layout: Layout, recipe: Recipe) -> None:
    """Measure the bundle."""
    from gan.bundle import open_bundle
    from gan.hardware import use_idle_processors
    from gan.metrics.extractors import load_extractor
    from gan.metrics.report import evaluate as measure
    from gan.modality import modality

    use_idle_processors()
    name = recipe.name
    report = measure(
        open_bundle(layout.bundle(name)),
        modality("image").open_dataset(layout.train_data(name)),
        load_extractor(layout.extractor(name)),
        recipe.evaluate,
        layout.evaluation(name),
    )
    found = report.metrics["fd_domain"]
    interval = f"[{found['low']:.2f}, {found['high']:.2f}]"
    _say(f"evaluate {name}: fd_domain {found['value']:.2f} {interval}, N {found['n']}")


EXTRACTOR_SEED = 1  # one network for one data set: no setting renews it

VERBS: dict[str, Callable[[Layout, Recipe], None]] = {
    "ingest": ingest,
    "prepare": prepare,
    "extractor": extractor,
    "train": train,
    "evaluate": evaluate,
}


def main(arguments: list[str] | None = None) -> int:
    """Run one verb on one recipe; return the exit code of `gan.errors`."""
    parser = argparse.ArgumentParser(prog="python -m gan", description=__doc__)
    parser.add_argument("verb", choices=VERBS, help="the stage to run")
    parser.add_argument("recipe", help="a recipe of params.yaml")
    chosen = parser.parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    logging.getLogger("gan").setLevel(logging.INFO)
    layout = Layout(Path.cwd())
    try:
        check_name(chosen.recipe, layout.params)
    except GanmillError as error:  # a name that is a path names no file for the record either
        _say(str(error))
        return error.exit_code
    try:
        VERBS[chosen.verb](layout, load_recipe(layout.params, chosen.recipe))
    except GanmillError as error:
        _say(str(error))
        record_failure(layout.failure(chosen.verb, chosen.recipe), error)
        return error.exit_code
    except PermissionError as error:
        refused = UsageError(f"{error.filename}: no permission. Mend its owner or mode.")
        _say(str(refused))
        record_failure(layout.failure(chosen.verb, chosen.recipe), refused)
        return refused.exit_code
    return 0


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
