"""`ganmill report`: what a change did to the recipes and to what is measured of their models.

Only figures of one metric id are compared. `metrics.json` does not have what each sample did, so
two models are held apart by their own intervals; `ganmill compare`, which has both models, pairs
them sample by sample and sees smaller differences.
"""

import math
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Literal

from flows import stores, versions
from flows.report.figures import Document, Figures, figures_now, figures_then
from flows.revisions import Change, Revision, differences, parameters_now
from gan.errors import RecipeError
from gan.metrics.intervals import Interval, apart
from gan.paths import Layout

Word = Literal["better", "worse", "differs", "no difference seen", "not comparable", "shown"]
# Of the real images alone: no model moves them.
_OF_THE_DATA = ("_real", "_noise")
_WORST = "_worst_class"  # another class may be the worst one now


@dataclass(frozen=True)
class Figure:
    """One value of `metrics.json`: its bounds are None where it has no interval."""

    value: float
    low: float | None
    high: float | None
    of: str = ""


@dataclass(frozen=True)
class Row:
    """One metric before and now.

    Attributes:
        metric: Its name.
        before: None where it was not measured.
        now: None where it is not measured.
        difference: Now less before, with its 95 % interval; None where they do not compare.
        word: What that says of the model of now.
    """

    metric: str
    before: Figure | None
    now: Figure | None
    difference: Interval | None
    word: Word


@dataclass(frozen=True)
class RecipeReport:
    """What became of one recipe.

    Attributes:
        recipe: Its name.
        state: Whether it is there now, and was then.
        verdict: What the metric that decides says; or why it says nothing.
        word: The verdict in a word.
        parameters: What differs in `params.yaml`.
        facts: What is known besides: (name, before, now).
        rows: The metrics; the first decides.
        notes: What a reader has to know, a sentence each.
    """

    recipe: str
    state: Literal["both", "new", "removed"]
    verdict: str
    word: Word
    parameters: list[Change]
    facts: list[tuple[str, str, str]]
    rows: list[Row]
    notes: list[str]


@dataclass(frozen=True)
class Report:
    """What a change did, recipe by recipe."""

    against: str
    commit: str
    recipes: list[RecipeReport]


def report(layout: Layout, since: Revision, names: Collection[str]) -> Report:
    """Compare what lies in the workspace with a revision.

    Args:
        layout: The workspace.
        since: The revision.
        names: Of recipes; all that are there now or were there then, if none is given.

    Raises:
        RecipeError: There is no such recipe, or `params.yaml` or `dvc.lock` is no YAML.
        ServiceError: The DVC remote does not answer.
        UsageError: The folder is no DVC workspace.
    """
    now, before = parameters_now(layout), since.recipes
    known = dict.fromkeys([*now, *before])
    if unknown := [name for name in names if name not in known]:
        raise RecipeError(f"params.yaml: no recipe {unknown[0]!r}, here or at {since.word}.")
    told = []
    with stores.opened(layout) as opened:
        for name in names or known:
            parameters = differences(before.get(name), now.get(name))
            if name not in now:
                told.append(_removed(name))
                continue
            then = figures_then(since, opened, name) if name in before else Figures()
            told.append(
                _told(
                    name,
                    then,
                    figures_now(layout, name),
                    parameters if name in before else [],
                    is_new=name not in before,
                    stale=_stale(layout, name),
                )
            )
    return Report(since.word, since.short, told)


def compare(before: Document, now: Document) -> list[Row]:
    """Return the metrics of two `metrics.json`, the one that decides first.

    Those of the real images alone are left out; of one and the same model there are none. Pure.
    """
    if before == now:
        return []
    old, new = (each.get("metrics", {}) for each in (before, now))
    first = [str(each.get(key)) for key in ("distance", "kernel") for each in (now, before)]
    names = sorted({*old, *new}, key=lambda name: (*(name != each for each in first), name))
    return [
        _row(name, old.get(name), new.get(name))
        for name in names
        if not name.endswith(_OF_THE_DATA)
    ]


def _row(name: str, old: Document | None, new: Document | None) -> Row:
    before, now = _figure(old), _figure(new)
    if before is None or now is None or old is None or new is None:
        return Row(name, before, now, None, "shown")
    if old["id"] != new["id"]:
        return Row(name, before, now, None, "not comparable")
    intervals = _interval(now), _interval(before)
    if name.endswith(_WORST) or intervals[0] is None or intervals[1] is None:
        return Row(name, before, now, None, "shown")
    difference = apart(intervals[0], intervals[1])
    return Row(name, before, now, difference, _word(name, difference))


def _word(name: str, difference: Interval) -> Word:
    from gan.metrics.scores import less_is_better

    if difference.low <= 0 <= difference.high:
        return "no difference seen"
    less = less_is_better(name)
    if less is None:
        return "differs"
    return "better" if (difference.high < 0) == less else "worse"


def _figure(entry: Document | None) -> Figure | None:
    if entry is None:
        return None
    return Figure(entry["value"], entry.get("low"), entry.get("high"), str(entry.get("class", "")))


def _interval(figure: Figure) -> Interval | None:
    if figure.low is None or figure.high is None:
        return None
    return Interval(figure.value, figure.low, figure.high)


def _told(
    name: str,
    then: Figures,
    now: Figures,
    parameters: list[Change],
    *,
    is_new: bool,
    stale: list[str],
) -> RecipeReport:
    rows = compare(then.metrics, now.metrics)
    word, verdict = _verdict(then, now, rows, is_new=is_new)
    notes = [f"There are no figures from before: {then.absent}."] if then.absent else []
    notes += [f"What lies here is not of these parameters: {'; '.join(stale)}."] if stale else []
    return RecipeReport(
        name, "new" if is_new else "both", verdict, word, parameters, _facts(then, now), rows, notes
    )


def _removed(name: str) -> RecipeReport:
    verdict = "The recipe is gone; its models and batches are not touched by that."
    return RecipeReport(name, "removed", verdict, "shown", [], [], [], [])


def _verdict(then: Figures, now: Figures, rows: list[Row], *, is_new: bool) -> tuple[Word, str]:
    """Return what the metric that decides says, in a word and in a sentence."""
    if not now.metrics:
        return "shown", f"Nothing to tell: {now.absent}."
    if not then.metrics:
        return "shown", "A new recipe." if is_new else "Measured now, with nothing to compare."
    if not rows:
        return "no difference seen", "The same model, measured alike."
    row = rows[0]
    why = " and ".join(_unlike(then.metrics, now.metrics)) or "by another definition"
    before, after = (each.value if each else math.nan for each in (row.before, row.now))
    moved = f"{row.metric} {before:.4g} -> {after:.4g}"
    sentences = {
        "shown": f"{row.metric} was not measured both times.",
        "not comparable": f"Measured {why}: the figures of then and now do not compare.",
        "no difference seen": f"No difference can be seen: {moved}, within the intervals.",
    }
    return row.word, sentences.get(
        row.word, f"{row.word.capitalize()}: {moved}, beyond the intervals."
    )


def _unlike(before: Document, now: Document) -> list[str]:
    """Return in which ways two measurements were not alike."""
    network = before.get("extractor", {}).get("digest") != now.get("extractor", {}).get("digest")
    ways = {
        "in another feature network": network,
        "against other images": before.get("data_digest") != now.get("data_digest"),
        "on other samples": any(before.get(key) != now.get(key) for key in ("samples", "seed")),
    }
    return [way for way, differs in ways.items() if differs]


def _facts(then: Figures, now: Figures) -> list[tuple[str, str, str]]:
    """Return what is known of the images and the model, before and now."""
    pairs: list[tuple[str, Any, Any]] = [
        ("images", then.images.get("count"), now.images.get("count")),
        ("classes", len(then.images.get("classes", ())), len(now.images.get("classes", ()))),
        ("data digest", then.images.get("digest"), now.images.get("digest")),
        ("data contract", _met(then.verdict), _met(now.verdict)),
        ("set aside", _aside(then.verdict), _aside(now.verdict)),
        ("model", then.metrics.get("bundle_digest"), now.metrics.get("bundle_digest")),
        ("samples", then.metrics.get("samples"), now.metrics.get("samples")),
        ("copies images", _copies(then.metrics), _copies(now.metrics)),
    ]
    return [(name, _said(name, before), _said(name, now)) for name, before, now in pairs]


def _met(verdict: Document) -> str | None:
    return ("met" if verdict.get("success") else "FAILED") if verdict else None


def _aside(verdict: Document) -> int | None:
    known = {"images", "accepted"} <= verdict.keys()
    return int(verdict["images"]) - int(verdict["accepted"]) if known else None


def _copies(metrics: Document) -> str | None:
    copying = metrics.get("is_copying")
    return None if copying is None else "yes" if copying else "no"


def _said(name: str, value: Any) -> str:
    if value is None or (name == "classes" and not value):
        return "-"
    if name in {"data digest", "model"}:
        return str(value)[:12]
    return f"{value:,}" if isinstance(value, int) else str(value)


def _stale(layout: Layout, recipe: str) -> list[str]:
    """Return the stages that would run now, with the first reason of each."""
    found = {stage: versions.changed(layout, stage, recipe) for stage in versions.STAGES}
    return [f"{stage} would run ({why[0]})" for stage, why in found.items() if why]
