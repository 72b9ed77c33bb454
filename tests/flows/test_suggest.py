"""A proposed contract: met by the data it was proposed from, and readable."""

from pathlib import Path

import pytest
from ruamel.yaml import YAML

from flows.expectations import check
from flows.suggest import as_yaml, suggest
from gan.errors import SourceError
from gan.image.facts import FACTS, write_facts
from gan.paths import Layout
from gan.recipe import load_recipe
from gan.sections import ContractSpec
from tests.flows.fact_rows import sound_facts

# Great Expectations 1.24 imports what Python calls deprecated.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """Return a workspace whose validate stage left facts with a few faults behind."""
    (tmp_path / "params.yaml").write_text(
        "recipes: {pets: {data: {source: files, path: in.zip, licence: CC0}}}\n"
    )
    facts = sound_facts()
    facts.loc[:3, "reason"] = "TRUNCATED"
    facts.loc[4:9, "cluster"] = "cats/4.png"
    facts.loc[50, ["width", "mode"]] = (48, "L")
    write_facts(Layout(tmp_path).facts("pets") / FACTS, facts)
    return Layout(tmp_path)


def test_a_proposal_is_met_by_the_images_it_is_made_from(layout: Layout) -> None:
    """Whoever takes it over has a contract that passes, and fails once the data change much."""
    contract = ContractSpec.model_validate(
        {line.key: line.value for line in suggest(layout, "pets")}
    )
    facts = sound_facts()
    facts.loc[:3, "reason"] = "TRUNCATED"
    facts.loc[4:9, "cluster"] = "cats/4.png"
    met = check(facts, contract)
    facts["mode"], facts["licence"], facts["width"] = "CMYK", "none", 31
    failed = check(facts, contract)

    assert [finding.name for finding in met if not finding.success] == []
    assert {"modes", "licences", "sizes", "min_side_px"} <= {
        finding.name for finding in failed if not finding.success
    }


def test_a_proposal_reads_as_the_recipe_it_is_meant_for(layout: Layout, tmp_path: Path) -> None:
    """It is YAML to paste: every key with its reason above it, and what holds today."""
    text = as_yaml("pets", suggest(layout, "pets"))
    contract = YAML(typ="safe").load(text)["recipes"]["pets"]["data"]["contract"]
    whole = YAML(typ="safe").load((tmp_path / "params.yaml").read_text())
    whole["recipes"]["pets"]["data"]["contract"] = contract
    with (tmp_path / "params.yaml").open("w") as file:
        YAML(typ="safe").dump(whole, file)

    assert list(contract) == list(ContractSpec.model_fields)
    assert contract["labels"] == ["cats", "dogs"]
    assert contract["licences"] == ["CC0"]
    assert contract["max_side_px"] == 48
    assert "# 96 are accepted now; a fifth of them may go. (Now: 100.)" in text
    assert text.count("# ") >= len(contract)
    assert max(map(len, text.splitlines())) <= 160
    assert load_recipe(layout.params, "pets").data.contract.min_images == contract["min_images"]


def test_a_licence_that_nobody_knows_is_not_proposed(layout: Layout) -> None:
    """To allow `unknown` would be to ask for nothing; the proposal says what to do instead."""
    facts = sound_facts()
    facts["licence"] = "unknown"
    write_facts(layout.facts("pets") / FACTS, facts)
    licences = next(line for line in suggest(layout, "pets") if line.key == "licences")

    assert licences.value is None
    assert "data.licence" in licences.why


def test_before_the_images_were_looked_at_the_next_command_is_named(tmp_path: Path) -> None:
    """There is nothing to propose from, and one line says how to get it."""
    (tmp_path / "params.yaml").write_text(
        "recipes: {pets: {data: {source: files, path: in.zip}}}\n"
    )

    with pytest.raises(SourceError, match="Run: ganmill validate pets"):
        suggest(Layout(tmp_path), "pets")
