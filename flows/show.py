"""What the commands print: tables for people, JSON for scripts."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from flows.schedules import slots
from flows.story import headline, shown
from gan.durable import read_json
from gan.paths import Layout
from gan.recipe import Recipe

if TYPE_CHECKING:
    from flows.retrain import Retrained
    from flows.settings import Settings
    from flows.stack import Stack
    from gan.image.sources import SourceSummary

# States of a step that did nothing.
_AT_REST = {"unchanged", "skipped", "held", "waiting", "no-baseline"}
_console = Console(highlight=False, soft_wrap=True)


def servers(stack: "Stack") -> None:
    """Print where the servers are."""
    table = Table("server", "state", "address", box=None, padding=(0, 2))
    for server in (stack.prefect, stack.mlflow, *stack.others):
        table.add_row(server.name, server.state, server.url)
    _console.print(table)


def proposal(recipe: Recipe, seen: "SourceSummary") -> None:
    """Print what `init` saw and wrote, and what comes next."""
    classes = f"{len(seen.labels)} classes" if len(seen.labels) > 1 else "one class"
    print(
        f"{recipe.name}: {seen.count:,} images, {classes}, "
        f"mostly {seen.width_px}x{seen.height_px} px"
    )
    for label, count in sorted(seen.labels.items(), key=lambda item: -item[1])[:12]:
        print(f"  {label or '(no class)':<28} {count:>7,}")
    if len(seen.labels) > 12:
        print(f"  ... and {len(seen.labels) - 12} more")
    left_out = sum(seen.skipped.values())
    if left_out:
        print(f"  left out: {', '.join(f'{n} {code}' for code, n in seen.skipped.items())}")
    print(
        f"Written to params.yaml: trained at {recipe.data.resolution} px, "
        f"{recipe.train.budget.shown}."
    )
    if not recipe.gate.memorisation:
        print("Too few images to hold some out: nobody can tell whether a model copies them.")
    print(f"Next: ganmill retrain {recipe.name}")


def recipes(found: Mapping[str, Recipe], *, as_json: bool) -> None:
    """Print the recipes."""
    if as_json:
        print(json.dumps({name: recipe.model_dump() for name, recipe in found.items()}, indent=2))
        return
    table = Table("recipe", "images", "size", "training", "schedule", box=None, padding=(0, 2))
    for name, recipe in found.items():
        data = recipe.data
        drawn = f"{data.glyphs.count:,} drawn" if data.glyphs else ""
        source = drawn or data.url or data.dataset or shown(Path(data.path))
        crons = {each.label: each.entry.cron for each in slots.timings(recipe)}
        when = "\n".join(f"{what} {cron}" for what, cron in crons.items())
        table.add_row(
            name, source, f"{data.resolution} px", recipe.train.budget.shown, when or "by hand"
        )
    _console.print(table)


def verdict(layout: Layout, recipe: str, *, as_json: bool) -> None:
    """Print what the data contract said, if it said anything."""
    path = layout.facts(recipe) / "verdict.json"
    if not path.exists():
        return
    found = read_json(path)
    if as_json:
        print(json.dumps(found, indent=2))
        return
    for each in found["expectations"]:
        print(f"  {'ok    ' if each['success'] else 'FAILED'} {each['says']}")
    state = "is met" if found["success"] else "FAILED"
    print(
        f"The data contract {state}: {found['accepted']:,} of {found['images']:,} images accepted."
    )
    print(f"Report: {layout.data_report(recipe) / 'index.html'}")


def suggestion(layout: Layout, recipe: str, *, as_json: bool) -> None:
    """Print a data contract that the images at hand meet, to copy into params.yaml."""
    from flows.suggest import as_yaml, suggest

    proposed = suggest(layout, recipe)
    if as_json:
        print(json.dumps([asdict(line) for line in proposed], indent=2))
        return
    print(as_yaml(recipe, proposed), end="")
    print(f"# Copy what you want of it into params.yaml, then: ganmill validate {recipe}")


def metrics(layout: Layout, recipe: str, *, as_json: bool) -> None:
    """Print the trained model's metrics."""
    found = read_json(layout.evaluation(recipe) / "metrics.json")
    if as_json:
        print(json.dumps(found, indent=2))
        return
    width = max(map(len, found["metrics"])) + 2
    print(f"  {'metric':<{width}}{'value':>10}  {'95 % interval':<24} N")
    first, second = found["distance"], found["kernel"]
    names = sorted(found["metrics"], key=lambda n: (not n.startswith(first), second not in n, n))
    for name in names:
        each = found["metrics"][name]
        interval = f"[{each['low']:.4g}, {each['high']:.4g}]" if "low" in each else ""
        notes = [each["class"]] if "class" in each else []
        notes += ["fewer than the features have dims"] if each.get("low_rank") else []
        line = f"  {name:<{width}}{each['value']:>10.4g}  {interval:<24} {each['n']:<7,}"
        print(f"{line} {', '.join(notes)}".rstrip())
    if not found["held_out"]:
        print("memorisation is not measured: there are too few images to hold some out.")
    print(f"metric id {found['metric_id']}; pictures: {shown(layout.evaluation(recipe))}")
    print(
        f"Next: ganmill compare {recipe}    how much N can tell: "
        f"ganmill evaluate {recipe} --calibrate"
    )


def outcome(layout: Layout, settings: "Settings", done: "Retrained", *, as_json: bool) -> None:
    """Print what a retraining left: the champion, its distance, the assets, and where to look."""
    from flows import registry

    places = {
        **({"model": done.champion.url} if done.champion else {}),
        "compare runs": registry.comparison_url(settings, done.recipe),
        "flow run": done.flow_run_url,
        "data report": str(layout.data_report(done.recipe) / "index.html"),
        **({"contact sheet": str(done.batch / "index.html")} if done.batch else {}),
    }
    if as_json:
        document = {
            "recipe": done.recipe,
            "champion": done.champion.number if done.champion else None,
            "bundle": done.champion.digest if done.champion else None,
            "waiting": done.waiting,
            "metrics": done.report.get("metrics", {}),
            "batch": str(done.batch) if done.batch else None,
            "steps": [vars(step) for step in done.steps],
            "links": places,
        }
        print(json.dumps(document, indent=2))
        return
    lines = {**_champion_lines(done), **places}
    print(f"\n{done.recipe}: what you have now")
    for name, value in lines.items():  # never wrapped: an address must stay whole to be copied
        print(f"  {name:<14} {value}")
    print('Open any of them with: python3 -m webbrowser "ADDRESS"')
    ran = [step.name for step in done.steps if step.state not in _AT_REST]
    print(f"\nDone: {', '.join(ran)}." if ran else "\nNothing changed, nothing was done again.")
    if done.waiting:
        print(f"v{done.waiting} waits for a person's word:")
        for word in ("approve", "reject"):
            print(f'  ganmill {word} {done.recipe} --reason "..."')
    else:
        print(f"Next: ganmill generate {done.recipe} --count 200 --slot extra    ganmill down")


def _champion_lines(done: "Retrained") -> dict[str, str]:
    if done.champion is None:
        return {"champion": "none yet"}
    name, distance = headline(done.report)
    lines = {
        "champion": f"v{done.champion.number}, bundle {done.champion.digest[:12]}",
        name: f"{distance['value']:.3f} [{distance['low']:.3f}, {distance['high']:.3f}], "
        f"N {distance['n']}; less is better",
    }
    return lines | ({"assets": shown(done.batch)} if done.batch else {})
