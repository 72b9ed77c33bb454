"""The engine's verbs, one per stage.

    python -m gan ingest | prepare | extractor | train | evaluate RECIPE
    python -m gan canary BUNDLE --out FOLDER --recipe RECIPE

DVC runs the stages and the gate the canary; `ganmill` is the command for people. A failure is one
line on stderr, and of a stage the same line in `.ganmill/errors/`, where the flow that started it
finds it.
"""

import argparse
import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from gan.durable import read_json, record_failure
from gan.errors import GanmillError, PeerError, UsageError
from gan.paths import Layout
from gan.recipe import Recipe, check_name, load_recipe

if TYPE_CHECKING:
    from gan.metrics.tracking import Tracker


def ingest(layout: Layout, recipe: Recipe) -> None:
    """Bring the source images in, as packed shards and an index."""
    from gan.image.sources import ingest as bring_in

    done = bring_in(recipe.data, layout.root, layout.raw(recipe.name))
    skipped = f", {sum(done.skipped.values())} left out" if done.skipped else ""
    news = not done.is_first and done.changes.any
    changes = f"; since the last time {done.changes}" if news else ""
    _say(f"ingest {recipe.name}: {done.images} images in {done.seconds:.1f} s{skipped}{changes}")


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
    """Pin the feature network of the Frechet distance: train ours, or copy what was added."""
    name, wanted = recipe.name, recipe.evaluate.extractor
    if wanted == "domain":
        from gan.hardware import use_idle_processors
        from gan.metrics.domain import train_extractor
        from gan.modality import modality

        use_idle_processors()
        data = modality("image").open_dataset(layout.train_data(name))
        digest = train_extractor(data, layout.extractor(name), EXTRACTOR_SEED)
    else:
        from gan.metrics.weights import copy_extractor

        digest = copy_extractor(wanted, layout.extractor_store(wanted), layout.extractor(name))
    _say(f"extractor {name}: {wanted}@{digest[:8]}")


def train(layout: Layout, recipe: Recipe) -> None:
    """Train the GAN, on so many processes as the recipe says; killed, the same command resumes."""
    from gan.training.distributed import is_worker, join, launch
    from gan.training.guards import StopRequest

    with StopRequest() as stop:  # before the imports: they take seconds, and a signal may come
        if recipe.train.gpus > 1 and not is_worker():
            launch(layout, recipe, stop)
            return
        with join(layout, recipe) as team:
            from gan.training.loop import train as run_training

            measure = _tracker(layout, recipe).measure if team.leads else None
            bundle = run_training(layout, recipe, stop, measure=measure, team=team)
    if team.leads:
        _say(f"train {recipe.name}: bundle {bundle.digest[:12]} after {bundle.card.kimg:g} kimg")


def _tracker(layout: Layout, recipe: Recipe) -> "Tracker":
    """Return what measures the generator while it is trained."""
    import torch

    from gan.hardware import has_fast_bf16
    from gan.metrics.extractors import load_extractor
    from gan.metrics.tracking import open_tracker
    from gan.modality import modality

    room = modality("image")
    data = room.open_dataset(layout.train_data(recipe.name))
    wanted = recipe.evaluate.extractor
    fast = wanted != "domain" and has_fast_bf16(torch.device("cpu"))
    precision = torch.bfloat16 if fast else torch.float32  # these figures are for watching alone
    extractor = load_extractor(layout.extractor(recipe.name), precision=precision, wanted=wanted)
    z_dim = room.z_dim(recipe.model.preset)
    return open_tracker(extractor, data, recipe.train.seed, z_dim)


def evaluate(layout: Layout, recipe: Recipe) -> None:
    """Measure the bundle; a Dask cluster reads the images where the environment names one."""
    from gan.bundle import open_bundle
    from gan.hardware import use_idle_processors
    from gan.image.workers import CLUSTER
    from gan.metrics.meter import open_meter
    from gan.metrics.report import evaluate as measure

    use_idle_processors()
    name = recipe.name
    history = read_json(layout.history(name))
    bundle = open_bundle(layout.bundle(name))
    meter = open_meter(layout, recipe, cluster=os.environ.get(CLUSTER))
    report = measure(bundle, meter, layout.evaluation(name), history)
    distance = report.document["distance"]
    found = report.document["metrics"][distance]
    interval = f"[{found['low']:.2f}, {found['high']:.2f}]"
    _say(f"evaluate {name}: {distance} {found['value']:.2f} {interval}, N {found['n']}")


def canary(layout: Layout, recipe: Recipe, bundle: Path, out: Path) -> None:
    """Mint a few assets from any bundle, and answer on stdout what came out and how fast."""
    from gan.assets.canary import attend
    from gan.marking.identity import Signing

    # The machine's own signature: a canary never leaves it.
    signing = Signing(layout.signing)
    attend(bundle, recipe.name, recipe.assets, signing, out, sys.stdin, sys.stdout)


def dry_run(layout: Layout, recipe: Recipe) -> None:
    """Measure what the training would take, and print it; nothing of the training is changed."""
    from gan.training.forecast import forecast

    for line in forecast(layout, recipe).lines():
        print(line)


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
    parser = _parser()
    chosen = parser.parse_args(arguments)
    if chosen.verb not in {"canary", "train"} and chosen.dry_run:
        parser.error("--dry-run goes with train alone")
    leaves_nothing = chosen.verb == "canary" or chosen.dry_run  # not even a record
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    logging.getLogger("gan").setLevel(logging.INFO)
    layout = Layout(Path.cwd())
    try:
        check_name(chosen.recipe, layout.params)
    except GanmillError as error:  # a name that is a path names no file for the record either
        _say(str(error))
        return error.exit_code
    try:
        _work(layout, chosen)
    except GanmillError as error:
        if leaves_nothing:
            _say(str(error))
            return error.exit_code
        return _failed(layout, chosen.verb, chosen.recipe, error)
    except PermissionError as error:
        refused = UsageError(f"{error.filename}: no permission. Mend its owner or mode.")
        return _failed(layout, chosen.verb, chosen.recipe, refused)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m gan", description=__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True)
    for verb, work in VERBS.items():
        stage = verbs.add_parser(verb, description=work.__doc__)
        stage.add_argument("recipe", help="a recipe of params.yaml")
        stage.add_argument(
            "--dry-run", action="store_true", help="of train: measure what it would take, and stop"
        )
    look = verbs.add_parser("canary", description=canary.__doc__)
    look.add_argument("bundle", type=Path, help="the folder of a bundle")
    look.add_argument("--out", type=Path, required=True, help="becomes the folder of the assets")
    look.add_argument("--recipe", required=True, help="a recipe of params.yaml: their size")
    return parser


def _work(layout: Layout, chosen: argparse.Namespace) -> None:
    recipe = load_recipe(layout.params, chosen.recipe)
    if chosen.verb == "canary":
        canary(layout, recipe, chosen.bundle, chosen.out)
    else:
        work = dry_run if chosen.dry_run else VERBS[chosen.verb]
        work(layout, recipe)


def _failed(layout: Layout, verb: str, recipe: str, error: GanmillError) -> int:
    """Say and record an error, and return the exit code."""
    from gan.training.distributed import failure_path, is_launched

    is_ours = verb == "train" and is_launched()
    if is_ours and not isinstance(error, PeerError):  # once for all, by the process that launched
        record_failure(failure_path(layout, recipe), error)
        return 0
    _say(str(error))
    if not is_ours:
        record_failure(layout.failure(verb, recipe), error)
    return error.exit_code


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
