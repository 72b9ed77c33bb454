"""The data contract's rules: each can fail, by a fault that was planted for it."""

from collections.abc import Callable

import pandas as pd
import pytest

from flows.contract import COLUMNS, clauses, contract_table
from flows.expectations import check, check_figures
from gan.sections import ContractSpec
from tests.flows.fact_rows import sound_facts

# Great Expectations 1.24 imports what Python calls deprecated.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
CONTRACT = ContractSpec(
    min_images=50,
    min_images_per_class=20,
    max_near_duplicate_share=0.02,
    max_side_px=64,
    sizes=["32x32", "64x64", "7x32", "65x32"],
    modes=["RGB", "L"],
    labels=["cats", "dogs"],
    licences=["CC0", "CC BY 4.0"],
)


def fewer(facts: pd.DataFrame) -> pd.DataFrame:
    """Leave 42 images, still enough in each class."""
    return facts.iloc[29:71]


def small_class(facts: pd.DataFrame) -> pd.DataFrame:
    """Leave ten images in one class."""
    return facts.iloc[:60]


def unlisted_class(facts: pd.DataFrame) -> pd.DataFrame:
    """Split a third class off that the contract does not name."""
    facts.loc[:24, "label"] = "mice"
    return facts


def absent_class(facts: pd.DataFrame) -> pd.DataFrame:
    """Leave cats alone."""
    facts["label"] = "cats"
    return facts


def set_value(column: str, value: str | int, count: int) -> Callable[[pd.DataFrame], pd.DataFrame]:
    """Return the fault that puts `value` into the first rows of a column."""

    def plant(facts: pd.DataFrame) -> pd.DataFrame:
        facts.loc[: count - 1, column] = value
        return facts

    return plant


FAULTS = {
    "min_images": fewer,
    "min_images_per_class": small_class,
    "max_rejected_share": set_value("reason", "TRUNCATED", 2),
    "max_duplicate_share": set_value("reason", "DUPLICATE_EXACT", 6),
    "max_near_duplicate_share": set_value("cluster", "cats/9.png", 3),
    "max_blank_share": set_value("reason", "BLANK", 2),
    "min_side_px": set_value("width", 7, 1),
    "max_side_px": set_value("width", 65, 1),
    "sizes": set_value("width", 33, 1),
    "modes": set_value("mode", "CMYK", 1),
    "labels": unlisted_class,
    "labels_present": absent_class,
    "licences": set_value("licence", "CC BY-NC 4.0", 1),
    "accepted_distinct": set_value("pixels_digest", "0" * 64, 2),
    "keys_distinct": set_value("key", "cats/0.png", 2),
    "files_identified": set_value("sha256", "none", 1),
    "licence_recorded": set_value("licence", "", 1),
    "reasons_known": set_value("reason", "WHIM", 1),
}


def test_sound_facts_meet_every_expectation() -> None:
    """The contract holds for what is fit to train on."""
    findings = check(sound_facts(), CONTRACT)

    assert [finding.name for finding in findings if not finding.success] == []
    assert len(findings) == len(clauses(CONTRACT, sound_facts()))


@pytest.mark.parametrize("name", FAULTS)
def test_each_expectation_can_fail(name: str) -> None:
    """A planted fault is found by its own expectation, and by no other."""
    facts = FAULTS[name](sound_facts())
    findings = check(facts, CONTRACT)
    failed = [finding for finding in findings if not finding.success]

    assert [finding.name for finding in failed] == [name]
    assert failed[0].says.endswith(".")
    assert failed[0].observed is not None


def test_every_expectation_has_its_planted_fault() -> None:
    """A check that was never seen to fail is one that nobody should trust."""
    assert [clause.name for clause in clauses(CONTRACT, sound_facts())] == list(FAULTS)


def test_every_column_that_is_asked_about_is_explained() -> None:
    """Data Docs say in words what each column holds, and the examples are what fails."""
    columns = {clause.arguments["column"] for clause in clauses(CONTRACT, sound_facts())}
    facts = FAULTS["max_rejected_share"](sound_facts())
    failed = [finding for finding in check(facts, CONTRACT) if not finding.success]

    assert columns <= set(COLUMNS)
    assert set(COLUMNS) <= set(contract_table(facts).columns)
    assert failed[0].examples == {"cats/0.png": "cut short", "cats/1.png": "cut short"}


@pytest.mark.parametrize(
    ("reason", "share"),
    [("DUPLICATE_EXACT", "max_duplicate_share"), ("BLANK", "max_blank_share")],
)
def test_shares_at_their_limit_are_met(reason: str, share: str) -> None:
    """The words `at most` include the limit itself."""
    contract = CONTRACT.model_copy(update={share: 0.02})
    findings = check(set_value("reason", reason, 2)(sound_facts()), contract)

    assert {finding.name: finding.success for finding in findings}[share]


def test_facts_without_one_accepted_image_fail() -> None:
    """Nothing to measure is a failure, not a pass."""
    facts = sound_facts()
    facts["reason"] = "TRUNCATED"
    findings = check(facts, CONTRACT)
    failed = {finding.name: finding for finding in findings if not finding.success}

    assert {"min_images", "min_images_per_class", "max_rejected_share", "min_side_px"} <= set(
        failed
    )
    assert "nothing to measure" in failed["min_side_px"].says


def test_a_missing_column_fails_its_expectation() -> None:
    """What cannot be evaluated has failed."""
    facts = sound_facts().drop(columns="sha256")
    findings = check(facts, CONTRACT)

    assert [finding.name for finding in findings if not finding.success] == ["files_identified"]


def test_figures_are_held_against_their_limits_by_name() -> None:
    """A limit itself is met; over it, unmeasured or no number is failed, and said in a sentence."""
    figures = {"label shift": 0.25, "fact shift": 0.31, "feature shift": None, "other": 9.0}
    figures["odd"] = float("nan")
    findings = check_figures(
        "drift of pets", figures,
        {"label shift": 0.25, "fact shift": 0.3, "feature shift": 2.0, "odd": 1.0},
    )  # fmt: skip

    assert [finding.name for finding in findings] == [
        "label shift", "fact shift", "feature shift", "odd",
    ]  # fmt: skip
    assert [finding.success for finding in findings] == [True, False, False, False]
    assert findings[1].says == "drift of pets: fact shift is 0.31; at most 0.3 is allowed."
    assert "nothing to measure" in findings[2].says
    assert check_figures("drift of pets", figures, {}) == []


def test_what_a_contract_leaves_out_is_not_asked_for() -> None:
    """`null` asks for nothing: no size, mode, class or licence is too odd then."""
    names = [clause.name for clause in clauses(ContractSpec(), sound_facts())]

    assert not {"sizes", "modes", "labels", "licences", "max_side_px"} & set(names)
    assert "max_near_duplicate_share" not in names
