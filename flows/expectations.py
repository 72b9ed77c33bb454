"""The `validate` stage: is this data fit to train on? The one door to Great Expectations.

    python -m flows.expectations RECIPE

Facts of every image, near duplicates marked, the recipe's contract over them as a Great
Expectations checkpoint, a report to read, a verdict. It ends with 0, or with 3 and a line for each
expectation that failed.
"""

import argparse
import logging
import math
import os
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from flows.contract import COLUMNS, Clause, class_counts, clauses, contract_table, wrong_with
from flows.data_docs import CHECKS, CONTRACT, plain_pages, written_pages
from flows.settings import QUIET, load_settings, workspace
from gan.durable import record_failure, write_atomically, write_json
from gan.errors import ContractError, GanmillError, SourceError
from gan.image.examples import Examples
from gan.image.facts import FACTS, VERDICT, collect, write_facts
from gan.image.report import data_report
from gan.image.similar import mark_near
from gan.image.verdict import Finding, Verdict
from gan.paths import Layout
from gan.recipe import load_recipe
from gan.sections import ContractSpec

_EXAMPLES = 12
_SITE = Path("gx/uncommitted/data_docs/local_site")  # in a file context's project folder
_PAGES = (
    (CHECKS, "Data Docs: what Great Expectations observed"),
    (CONTRACT, "Data Docs: the contract"),
)


@dataclass(frozen=True)
class ContractOutcome:
    """What became of one validation.

    Attributes:
        success: Whether the data meet the contract.
        images: Number of images that were looked at.
        accepted: Number of images that training may see.
        failed: One plain sentence for each expectation that failed.
        report: The page to read.
    """

    success: bool
    images: int
    accepted: int
    failed: list[str]
    report: Path


def validate(layout: Layout, recipe: str, workers: int | None = None) -> ContractOutcome:
    """Look at every image of a recipe and hold the contract over them; write facts and report.

    Raises:
        RecipeError: There is no such recipe.
        SourceError: Nothing was ingested.
        DamagedError: The shards are not what was ingested.
    """
    data = load_recipe(layout.params, recipe).data
    raw, facts, report = layout.raw(recipe), layout.facts(recipe), layout.data_report(recipe)
    (facts / VERDICT).unlink(missing_ok=True)
    frame = collect(
        raw,
        workers,
        data.background,
        data.contract.min_side_px,
        channels=data.channels,
        cluster=load_settings().dask_scheduler,
    )
    if frame.empty:
        raise SourceError(f"{raw}: holds no image. Run: python -m gan ingest {recipe}")
    frame = mark_near(frame, data.near_distance, data.near_duplicates)
    write_facts(facts / FACTS, frame)
    with tempfile.TemporaryDirectory(prefix="ganmill-docs-") as project:
        findings = check(frame, data.contract, Path(project))
        site = written_pages(Path(project) / _SITE)
    verdict = _verdict(frame, findings)
    shutil.rmtree(report, ignore_errors=True)
    with Examples(raw, data.background) as examples:
        docs = plain_pages(site, recipe, findings, examples, columns=COLUMNS)
        page = data_report(recipe, raw, frame, verdict, examples, pages=_PAGES)
    for name, text in {**docs, "index.html": page}.items():
        write_atomically(report / name, text.encode())
    write_json(facts / VERDICT, asdict(verdict))
    failed = [finding.says for finding in findings if not finding.success]
    return ContractOutcome(
        verdict.success, verdict.images, verdict.accepted, failed, report / "index.html"
    )


def check(
    facts: pd.DataFrame, contract: ContractSpec, project: Path | None = None
) -> list[Finding]:
    """Run the contract over a table of facts with Great Expectations.

    Args:
        facts: The table, near duplicates marked.
        contract: What to ask for.
        project: An empty folder for Data Docs; None writes none.

    Returns:
        The findings in the contract's order.

    Raises:
        GanmillError: Great Expectations answered fewer expectations than it was asked.
    """
    return _ask("data contract", contract_table(facts), clauses(contract, facts), project)


def check_figures(
    title: str, figures: Mapping[str, float | None], limits: Mapping[str, float]
) -> list[Finding]:
    """Hold limits over figures with Great Expectations: each may be its limit, and no more.

    Args:
        title: What the figures are of; it begins each sentence.
        figures: By name. None and what is not a number are not measured, and so failed.
        limits: The largest figure allowed, by name; figures without one are not asked for.

    Returns:
        A finding for each limit, in the order of `limits`.

    Raises:
        GanmillError: Great Expectations answered fewer expectations than it was asked.
    """

    def clause(name: str, limit: float) -> Clause:
        return Clause(
            name, "ExpectColumnMaxToBeBetween", {"column": name, "max_value": limit},
            f"at most {limit:g}",
            lambda value: f"{title}: {name} is {value or 0:.3g}; at most {limit:g} is allowed.",
        )  # fmt: skip

    if not limits:
        return []
    row = {name: figures.get(name) for name in limits}
    known = {name: math.nan if value is None else float(value) for name, value in row.items()}
    asked = [clause(name, limit) for name, limit in limits.items()]
    return _ask(title, pd.DataFrame([known]), asked)


def _ask(
    title: str, table: pd.DataFrame, wanted: Sequence[Clause], project: Path | None = None
) -> list[Finding]:
    """Return a finding for each clause, in their order; Data Docs lie at `_SITE` of `project`."""
    answers = _checkpoint(title, table, wanted, project)
    if set(answers) != {clause.name for clause in wanted}:
        raise GanmillError("Great Expectations left expectations unanswered. Install it again.")
    return [_finding(clause, answers[clause.name], table) for clause in wanted]


def _checkpoint(
    title: str, table: pd.DataFrame, wanted: Sequence[Clause], project: Path | None
) -> dict[str, Any]:
    """Return each expectation's validation result by name."""
    os.environ["GX_ANALYTICS_ENABLED"] = QUIET["GX_ANALYTICS_ENABLED"]  # read at import
    import great_expectations as gx  # 4 to 8 seconds
    from great_expectations import expectations
    from great_expectations.checkpoint.actions import UpdateDataDocsAction
    from great_expectations.data_context.types.base import ProgressBarsConfig

    context = (
        gx.get_context(mode="file", project_root_dir=project)
        if project
        else gx.get_context(mode="ephemeral")
    )
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    batch = (
        context.data_sources.add_pandas("images")
        .add_dataframe_asset("facts")
        .add_batch_definition_whole_dataframe("all")
    )
    suite = gx.ExpectationSuite(
        name=title,
        expectations=[
            getattr(expectations, clause.kind)(**clause.arguments, meta={"name": clause.name})
            for clause in wanted
        ],
    )
    definition = gx.ValidationDefinition(name=title, data=batch, suite=context.suites.add(suite))
    checkpoint = gx.Checkpoint(
        name=title,
        validation_definitions=[context.validation_definitions.add(definition)],
        actions=[UpdateDataDocsAction(name="docs")] if project else [],
        result_format={"result_format": "SUMMARY"},
    )
    outcome = context.checkpoints.add(checkpoint).run(batch_parameters={"dataframe": table})
    results = [result for run in outcome.run_results.values() for result in run.results]
    asked = [(result.expectation_config, result) for result in results]
    return {config.meta["name"]: result for config, result in asked if config and config.meta}


def _finding(clause: Clause, answer: Any, table: pd.DataFrame) -> Finding:
    """Translate one validation result; one that could not be evaluated has failed."""
    observed = _observed(answer.result or {})
    success = bool(answer.success) and observed is not None
    says = clause.says(observed)
    if observed is None:
        says = f"{clause.name} could not be evaluated: there is nothing to measure."
    examples: dict[str, str] = {}
    column = clause.arguments["column"]
    if clause.breaks and not success and column in table:
        examples = wrong_with(table[clause.breaks(table)].head(_EXAMPLES), column)
    return Finding(clause.name, success, observed, clause.wanted, says, examples)


def _observed(result: Mapping[str, Any]) -> float | None:
    """Return the figure of a result: an aggregate, else how many rows or wanted values fail."""
    found = result.get("observed_value")
    if found is None:
        found = result.get("unexpected_count", result.get("missing_count"))
    return None if found is None or pd.isna(found) else float(found)


def _verdict(facts: pd.DataFrame, findings: list[Finding]) -> Verdict:
    rejected = facts.loc[facts["reason"] != "", "reason"].value_counts().sort_index()
    return Verdict(
        success=bool(findings) and all(finding.success for finding in findings),
        images=len(facts),
        accepted=int((facts["reason"] == "").sum()),
        classes=class_counts(facts),
        rejected={str(reason): int(count) for reason, count in rejected.items()},
        expectations=findings,
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the stage for the recipe named on the command line; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m flows.expectations", description=__doc__)
    parser.add_argument("recipe", help="a recipe of params.yaml")
    recipe = parser.parse_args(arguments).recipe
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    logging.getLogger("gan").setLevel(logging.INFO)
    layout = workspace()
    try:
        outcome = validate(layout, recipe)
        if not outcome.success:
            for sentence in outcome.failed:
                sys.stderr.write(f"failed: {sentence}\n")
            raise ContractError(
                f"{recipe}: {len(outcome.failed)} of the data contract's expectations failed: "
                f"{outcome.failed[0]} Read {outcome.report}"
            )
    except GanmillError as error:
        sys.stderr.write(f"{error}\n")
        record_failure(layout.failure("validate", recipe), error)
        return error.exit_code
    sys.stderr.write(  # stdout is kept for `ganmill ... --json`
        f"{recipe}: {outcome.accepted:,} of {outcome.images:,} images accepted; the data contract "
        f"is met. Report: {outcome.report}\n"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
