"""Whether new images are still like those that the champion was trained on, and what follows.

What is compared: how the classes are shared, the facts of the images, and what the recipe's
extractor sees in some of them. The limits are the recipe's (`drift`); Great Expectations holds
them. Without a record of the champion's images there is no answer, and none is made up.
"""

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np

from flows import notices, registry, release
from flows.datasets import catalog
from flows.datasets.catalog import DatasetRecord
from flows.drift import checks, drift_page
from flows.drift.checks import Outcome, Row
from flows.drift.findings import CLASSES, FACTS_COMPARED, FEATURES, TITLE, Drift, Figures
from flows.drift.samples import Version, sample
from flows.expectations import check_figures
from flows.story import Mill, shown
from gan.durable import read_json, write_atomically
from gan.errors import ContractError, GanmillError, UsageError
from gan.image.facts import FACTS
from gan.image.verdict import Finding
from gan.modality import Items, modality
from gan.sections import DataSpec, DriftSpec


def check(mill: Mill) -> Drift:
    """Compare the prepared images with those of the champion, and write the page.

    Raises:
        DamagedError: Data, records, champion or extractor are not what was kept.
        ServiceError: MLflow did not answer.
    """
    layout, recipe = mill.layout, mill.recipe
    champion = release.serving(layout, mill.settings, recipe.name)
    present = read_json(layout.train_data(recipe.name) / "meta.json")["digest"]
    trained_on = ""
    if champion is not None:
        bundle = registry.fetch(mill.settings, champion, layout.bundle_store)
        trained_on = read_json(bundle / "card.json")["data_digest"]
    number = champion.number if champion else None
    page = layout.drift(recipe.name) / drift_page.PAGE
    found = Drift(recipe.name, "no-baseline", "", present, trained_on, number, page)
    records = catalog.records(layout, recipe.name)
    baseline = next((known for known in records if known.digest == trained_on), None)
    if baseline is None:
        found = replace(found, says=_no_baseline(found))
    elif present == trained_on:
        says = f"The images are the very ones that v{number} was trained on."
        found = replace(found, outcome="pass", says=says)
    else:
        figures = _measure(mill, baseline, present)
        findings = _held(figures, recipe.drift)
        outcome = _outcome(findings)
        says = _headline(outcome, findings, number)
        found = replace(found, outcome=outcome, says=says, findings=findings, figures=figures)
    write_atomically(page, drift_page.render(found, recipe.drift).encode())
    return found


def conclude(mill: Mill, found: Drift, *, wants_retrain: bool) -> str:
    """Write the row of a check; where the rule strikes, tell of it. Return what came of it.

    Told is once for the same images against the same champion's. A kill between telling and
    writing tells twice.

    Args:
        mill: The recipe, and where.
        found: The check.
        wants_retrain: Whether a retraining may be started by the telling; False where one runs.

    Returns:
        One sentence, "" where the rule does not strike.

    Raises:
        DamagedError: The rows are not as they were written.
        GanmillError: The row cannot be written.
    """
    spec, path = mill.recipe.drift, mill.layout.drift_checks(found.recipe)
    rows = [row for row in checks.read(path) if row.baseline == found.baseline]
    outcomes: list[Outcome] = [*(row.outcome for row in rows), found.outcome]
    struck = checks.strikes(outcomes, spec)
    says = ""
    if struck:
        recent = outcomes[-spec.window :]
        says = (
            f"{checks.violations(recent)} of the last {len(recent)} checks exceed a limit; "
            f"the latest: {found.reasons[0]}"
        )
        if not any(row.struck and row.data == found.data for row in rows):
            payload: dict[str, str | int] = {
                "data": found.data,
                "baseline": found.baseline,
                "champion": found.champion or 0,
                "then": spec.then,
            }
            notices.announce(
                mill.layout,
                mill.settings,
                "data.drifted",
                found.recipe,
                f"the images of {found.recipe} have drifted: {says}",
                payload,
                wants_retrain=wants_retrain and spec.then == "retrain",
            )
    checks.append(path, _row(found, struck=struck))
    return says


def step(mill: Mill) -> tuple[str, str, None]:
    """Check and conclude inside a retraining: it goes on, unless the recipe says `stop`.

    Raises:
        ContractError: The rule struck, and `drift.then` is `stop`.
        GanmillError: As in `check` and `conclude`.
    """
    found = check(mill)
    struck = conclude(mill, found, wants_retrain=False)
    require_leave(mill, found, struck)
    state = "unchanged" if found.data == found.baseline else found.outcome
    return state, note(found), None


def require_leave(mill: Mill, found: Drift, struck: str) -> None:
    """Refuse to go on where the rule struck and the recipe says so.

    Raises:
        ContractError: With what was found.
    """
    if struck and mill.recipe.drift.then == "stop":
        raise ContractError(
            f"{found.recipe}: the images have drifted and drift.then is stop: {struck} "
            f"Read {shown(found.page)}; to train on them all the same, raise the limit in "
            f"params.yaml, then: ganmill retrain {found.recipe}"
        )


def note(found: Drift) -> str:
    """Return a check on one line: the first limit exceeded, or what was found, and the page."""
    said = found.reasons[0] if found.reasons else found.says
    return f"{said} {shown(found.page)}"


def _no_baseline(found: Drift) -> str:
    if found.champion is None:
        return "There is no champion yet, so nothing to compare the images with."
    return (
        f"The champion v{found.champion} was trained on data {found.baseline[:12]}, of which no "
        "record is kept here, so nobody can tell whether the images have changed."
    )


def _measure(mill: Mill, baseline: DatasetRecord, present: str) -> Figures:
    """Return every figure that can be had; those of classes and facts always can."""
    layout, recipe = mill.layout, mill.recipe

    def open_new() -> Items:
        return modality("image").open_dataset(layout.train_data(recipe.name))

    def open_old() -> Items:
        from flows.datasets.checkout import checkout

        folder = checkout(layout, recipe.name, baseline.digest)
        return modality("image").open_dataset(folder / layout.train_data(recipe.name).name)

    old = Version.of(baseline.digest, baseline.folder / catalog.FACTS, open_old)
    new = Version.of(present, layout.facts(recipe.name) / FACTS, open_new)
    figures = _of_facts(old, new)
    try:
        return _with_features(mill, figures, DataSpec.model_validate(baseline.params))
    except GanmillError as error:  # the remote may be away: what is known here is told
        return replace(figures, absent=str(error))


def _of_facts(old: Version, new: Version) -> Figures:
    from gan.metrics.drift import Side, fact_shift, label_shift

    names = sorted({*old.labels, *new.labels})
    numbers = {name: number for number, name in enumerate(names)}
    labels = [
        Side(np.array([numbers[name] for name in version.labels], np.int64), version.groups)
        for version in (old, new)
    ]
    facts = {
        name: fact_shift(*(Side(version.fact(name), version.groups) for version in (old, new)))
        for name in FACTS_COMPARED
    }
    return Figures(old, new, label_shift(*labels), facts)


def _with_features(mill: Mill, figures: Figures, before: DataSpec) -> Figures:
    """Return the figures with that of the features.

    Raises:
        GanmillError: It cannot be measured.
    """
    from gan.metrics.drift import feature_shift
    from gan.metrics.extractors import load_extractor
    from gan.metrics.store import FeatureStore

    layout, recipe = mill.layout, mill.recipe
    shapes = [(data.channels, data.resolution) for data in (before, recipe.data)]
    if shapes[0] != shapes[1]:
        raise UsageError(
            f"the old images were prepared at {before.resolution} px with {before.channels} "
            f"channels, the new ones at {recipe.data.resolution} px with {recipe.data.channels}."
        )
    extractor = load_extractor(layout.extractor(recipe.name))
    store = FeatureStore(layout.features)
    seen = tuple(
        sample(version, recipe.drift.samples, shapes[0], extractor, store)
        for version in (figures.old, figures.new)
    )
    shift = feature_shift(seen[0].features, seen[1].features, recipe.evaluate.seed)
    return replace(figures, features=shift, seen=seen)


def _held(figures: Figures, spec: DriftSpec) -> list[Finding]:
    """Hold the recipe's limits over the figures; those of the features over what is shown."""
    found: dict[str, float | None] = {CLASSES: figures.labels.interval.value}
    limits: dict[str, float] = {}
    if spec.max_label_shift is not None:
        limits[CLASSES] = spec.max_label_shift
    for name, words in FACTS_COMPARED.items():
        found[f"shift of {words}"] = figures.facts[name].interval.value
        if spec.max_fact_shift is not None:
            limits[f"shift of {words}"] = spec.max_fact_shift
    found[FEATURES] = figures.features.times.low if figures.features else None
    if spec.max_feature_shift is not None:
        limits[FEATURES] = spec.max_feature_shift
    return check_figures(TITLE, found, limits)


def _outcome(findings: list[Finding]) -> Outcome:
    if not findings:
        return "unjudged"
    failed = [finding for finding in findings if not finding.success]
    if any(finding.observed is not None for finding in failed):
        return "drifted"
    return "unknown" if failed else "pass"


def _headline(outcome: Outcome, findings: list[Finding], champion: int | None) -> str:
    limits, failed = len(findings), sum(not finding.success for finding in findings)
    of = f"{failed} of the recipe's {limits} limits" if limits > 1 else "the recipe's limit"
    which = f"{of} {'is' if failed == 1 or limits == 1 else 'are'}"
    return {
        "pass": f"The images are like those that v{champion} was trained on: every limit is kept.",
        "drifted": f"The images differ from those that v{champion} was trained on: {which} "
        "exceeded.",
        "unknown": f"Nobody can tell whether the images are like those that v{champion} was "
        f"trained on: {which} not to be held against anything.",
        "unjudged": f"This is how the images differ from those that v{champion} was trained on; "
        "the recipe sets no limit.",
        "no-baseline": "",
    }[outcome]


def _row(found: Drift, *, struck: bool) -> Row:
    figures = found.figures
    features = figures.features if figures else None
    facts = [shift.interval.value for shift in figures.facts.values()] if figures else []
    return Row(
        time_utc=datetime.now(UTC).isoformat(timespec="milliseconds"),
        data=found.data,
        baseline=found.baseline,
        champion=found.champion,
        outcome=found.outcome,
        struck=struck,
        label_shift=figures.labels.interval.value if figures else None,
        fact_shift=max(facts, default=None),
        feature_shift=features.times.value if features else None,
        feature_shift_shown=features.times.low if features else None,
        reasons=found.reasons,
    )
