"""What images that are wrong in a known way score by each metric, on the recipes of this folder."""

from pathlib import Path

from gan.hardware import use_idle_processors
from gan.metrics.meter import open_meter
from gan.paths import Layout
from gan.recipe import load_recipes
from tests.gan.metrics.corruptions import figures, wrong_in_known_ways

COUNT = 5000


def main() -> None:
    """Print a table for each recipe that is prepared here and has its extractor."""
    layout = Layout(Path.cwd())
    ready = [
        recipe
        for recipe in load_recipes(layout.params).values()
        if layout.train_data(recipe.name).exists() and layout.extractor(recipe.name).exists()
    ]
    if not ready:
        print("  nothing is prepared here; run: ganmill evaluate stickers")
    use_idle_processors()
    for recipe in ready:
        meter = open_meter(layout, recipe, lambda _: None)
        wrong = wrong_in_known_ways(meter, COUNT)
        found = {name: figures(meter, wrong, name) for name in wrong.sets}
        print(f"\n  {recipe.name}: {COUNT:,} images of each; in brackets the 95 % interval")
        print("  | metric | " + " | ".join(found) + " |")
        print("  |" + " --- |" * (len(found) + 1))
        for metric in found["real"]:
            cells = [
                f"{each.value:.3g} [{each.low:.3g}, {each.high:.3g}]"
                for each in (column[metric] for column in found.values())
            ]
            print(f"  | {metric} | " + " | ".join(cells) + " |")
