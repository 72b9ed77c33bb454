"""What MLflow's pages say of a recipe: its experiment, its registered model. Pure.

Each begins with the line that `tracking` and `registry` begin a new page with: by it a text is
known as ours, and what a person wrote instead stays.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from flows.compare.facts import meaning

_SECTIONS = (
    ("`evaluation/`", "the finished model, measured on the recipe's data: what models compare by"),
    ("`interval/`", "the ends of the 95 % interval of each of them"),
    ("`measured/`", "the average of the weights, measured along the training with fewer images"),
    ("`train/`", "losses, gradients and what the critic thinks"),
    ("`tuning/`", "what the training sets itself as it goes on"),
    ("`system/`", "memory, processors and GPU"),
)


@dataclass(frozen=True)
class Places:
    """Addresses that the texts lead to.

    Attributes:
        deployment: Of the retraining, in Prefect.
        model: The registered model.
        charts: All trainings of the recipe, compared.
    """

    deployment: str
    model: str
    charts: str


def experiment_text(
    recipe: str, places: Places, distance: str = "", better: Mapping[str, str] | None = None
) -> str:
    """Return the description of a recipe's experiment.

    Args:
        recipe: Its name.
        places: Where to go on.
        distance: What the recipe's Frechet distance is called; "" where nothing was measured yet.
        better: What is better by metric, say {"recall": "more"}.
    """
    decides = f"`evaluation/{distance}`" if distance else "the distance under `evaluation/`"
    points = f"""
- One run is one training, started by [retrain/{recipe} in Prefect]({places.deployment}) or by hand;
  it is named after the version that it became.
- What production uses is `@champion` of the [registered model]({places.model}).
- To compare, open the [charts of all trainings]({places.charts}), or tick runs here: {decides}
  decides, less is better, and its 95 % interval is under `interval/`. Only runs of the same tag
  `metric_id` compare. Every axis counts real images shown.
- Two models side by side, with paired intervals and pictures: `ganmill compare {recipe}`.
"""
    parts = [
        f"Trainings of the recipe `{recipe}`.",
        _unbroken(points),
        _table(("section", "what is in it"), _SECTIONS),
    ]
    known = sorted((better or {}).items())
    if rows := [(f"`{name}`", word, meaning(name)) for name, word in known]:
        parts.append(_table(("metric", "better", "what it says"), rows))
    return "\n\n".join(parts)


def model_text(recipe: str, places: Places) -> str:
    """Return the description of a recipe's registered model."""
    points = f"""
- `@champion` has passed the gate and is minted from; `@challenger` is judged next. Move neither by
  hand: promotions are kept in the ledger, and an alias that does not agree with it is refused. Go
  back with `ganmill rollback {recipe}`.
- Versions are made by [retrain/{recipe} in Prefect]({places.deployment}); compare them on the
  [charts of all trainings]({places.charts}).
- The tags of a version say its data (DVC), its code (git), its flow run, what the gate said, and
  every batch that was minted from it. Its papers are among the artifacts of its training, under
  `release/`.
- In Python: `mlflow.pyfunc.load_model("models:/{recipe}@champion")`.
"""
    opening = f"Bundles of the recipe `{recipe}`; production reads `@champion`."
    return f"{opening}\n\n{_unbroken(points)}"


def _unbroken(points: str) -> str:
    """Return a list with each point on one line: MLflow's pages show a broken line as two."""
    return points.strip().replace("\n  ", " ")


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
