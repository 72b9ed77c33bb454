"""The data contract: each expectation can fail, and a person can read why."""

import hashlib
import io
import os
import re
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from flows.contract import clauses
from flows.expectations import check, validate
from gan.durable import read_json
from gan.errors import DamagedError
from gan.image.facts import SCHEMA, read_facts
from gan.image.sources import ingest
from gan.paths import Layout
from gan.recipe import load_recipe
from gan.sections import ContractSpec

REPOSITORY = Path(__file__).resolve().parents[2]
SHARED = REPOSITORY.parent / "shared/data"
# Great Expectations 1.24 imports what Python calls deprecated.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
CONTRACT = ContractSpec(min_images=50, min_images_per_class=20)


def sound_facts() -> pd.DataFrame:
    """Return the facts of 100 sound images in two classes; no real file is behind them."""
    rows = []
    for number in range(100):
        digest = hashlib.sha256(str(number).encode()).hexdigest()
        label = "cats" if number < 50 else "dogs"
        rows.append(
            (f"{label}/{number}.png", label, digest, 900, "in.zip", "CC0", 32, 32, "RGB", "PNG",
             0.5, 0.2, digest, "", "", "")
        )  # fmt: skip
    return pd.DataFrame(rows, columns=SCHEMA.names)


def fewer(facts: pd.DataFrame) -> pd.DataFrame:
    """Leave 42 images, still enough in each class."""
    return facts.iloc[29:71]


def small_class(facts: pd.DataFrame) -> pd.DataFrame:
    """Leave ten images in one class."""
    return facts.iloc[:60]


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
    "max_blank_share": set_value("reason", "BLANK", 2),
    "min_side_px": set_value("height", 7, 1),
    "accepted_distinct": set_value("pixels_sha256", "0" * 64, 2),
    "keys_distinct": set_value("key", "cats/0.png", 2),
    "files_identified": set_value("sha256", "none", 1),
    "licence_recorded": set_value("licence", "", 1),
    "reasons_known": set_value("reason", "WHIM", 1),
}


def test_sound_facts_meet_every_expectation() -> None:
    """The contract holds for what is fit to train on."""
    findings, _ = check(sound_facts(), CONTRACT)

    assert [finding.name for finding in findings if not finding.success] == []
    assert len(findings) == len(clauses(CONTRACT, sound_facts()))


@pytest.mark.parametrize("name", FAULTS)
def test_each_expectation_can_fail(name: str) -> None:
    """A planted fault is found by its own expectation, and by no other."""
    facts = FAULTS[name](sound_facts())
    findings, _ = check(facts, CONTRACT)
    failed = [finding for finding in findings if not finding.success]

    assert [finding.name for finding in failed] == [name]
    assert failed[0].says.endswith(".")
    assert failed[0].observed is not None


def test_every_expectation_has_its_planted_fault() -> None:
    """A check that was never seen to fail is one that nobody should trust."""
    assert [clause.name for clause in clauses(CONTRACT, sound_facts())] == list(FAULTS)


@pytest.mark.parametrize(
    ("reason", "share"),
    [("DUPLICATE_EXACT", "max_duplicate_share"), ("BLANK", "max_blank_share")],
)
def test_shares_at_their_limit_are_met(reason: str, share: str) -> None:
    """The words `at most` include the limit itself."""
    contract = CONTRACT.model_copy(update={share: 0.02})
    findings, _ = check(set_value("reason", reason, 2)(sound_facts()), contract)

    assert {finding.name: finding.success for finding in findings}[share]


def test_facts_without_one_accepted_image_fail() -> None:
    """Nothing to measure is a failure, not a pass."""
    facts = sound_facts()
    facts["reason"] = "TRUNCATED"
    findings, _ = check(facts, CONTRACT)
    failed = {finding.name: finding for finding in findings if not finding.success}

    assert {"min_images", "min_images_per_class", "max_rejected_share", "min_side_px"} <= set(
        failed
    )
    assert "nothing to measure" in failed["min_side_px"].says


def test_a_missing_column_fails_its_expectation() -> None:
    """What cannot be evaluated has failed."""
    facts = sound_facts().drop(columns="licence")
    findings, _ = check(facts, CONTRACT)

    assert [finding.name for finding in findings if not finding.success] == ["licence_recorded"]


def workspace_of(root: Path, broken: int, minimum: int = 20) -> Layout:
    """Make a workspace with one recipe of 24 images in two classes, some of them broken."""
    with zipfile.ZipFile(root / "in.zip", "w") as archive:
        for number in range(24):
            values = np.random.default_rng(number).integers(0, 256, (16, 16, 3), dtype=np.uint8)
            file = io.BytesIO()
            Image.fromarray(values).save(file, "PNG")
            payload = file.getvalue()[:100] if number < broken else file.getvalue()
            label = "cats & <dogs>" if number % 2 else "birds"
            archive.writestr(f"{label}/{number:02d}.png", payload)
    (root / "params.yaml").write_text(
        "recipes: {pets: {data: {source: files, path: in.zip, licence: CC0, "
        f"contract: {{min_images: {minimum}, max_rejected_share: 0.1}}}}}}}}\n"
    )
    layout = Layout(root)
    ingest(load_recipe(layout.params, "pets").data, root, layout.raw("pets"))
    return layout


OUTSIDE = re.compile(
    r"(src|href|url|@import)\W{0,3}(https?:)?//|<script|<link|<iframe", re.IGNORECASE
)


def test_a_passing_contract_leaves_facts_verdict_and_report(tmp_path: Path) -> None:
    """All three are there, agree, and the report opens offline."""
    layout = workspace_of(tmp_path, broken=2)
    outcome = validate(layout, "pets", workers=1)
    verdict = read_json(layout.facts("pets") / "verdict.json")
    facts = read_facts(layout.facts("pets") / "facts.parquet")
    pages = {path.name: path.read_text() for path in layout.data_report("pets").iterdir()}

    assert (outcome.success, outcome.images, outcome.accepted) == (True, 24, 22)
    assert verdict["success"] is True
    assert verdict["classes"] == {"birds": 11, "cats & <dogs>": 11}
    assert verdict["rejected"] == {"TRUNCATED": 2}
    assert len(facts) == 24
    assert set(pages) == {"index.html", "checks.html", "contract.html"}
    assert [name for name, page in pages.items() if OUTSIDE.search(page)] == []


def test_the_report_reads_well(tmp_path: Path) -> None:
    """Sentences, counts, the classes, pictures of accepted images and names of bad ones."""
    layout = workspace_of(tmp_path, broken=2)
    validate(layout, "pets", workers=1)
    page = (layout.data_report("pets") / "index.html").read_text()

    assert "24 images were looked at: 22 accepted, 2 set aside, in 2 classes." in page
    assert "2 of 24 images (8.33 %) are broken or unfit; at most 10 % may be." in page
    assert "cats &amp; &lt;dogs&gt;/01.png" in page
    assert "<dogs>" not in page
    assert page.count("data:image/png;base64,") >= 16
    assert "sum must be greater than" in (layout.data_report("pets") / "checks.html").read_text()


def test_a_failing_contract_ends_with_three_and_a_line_for_each_failure(tmp_path: Path) -> None:
    """The command says what failed and where to read more; the report is there to read."""
    layout = workspace_of(tmp_path, broken=4, minimum=21)
    done = subprocess.run(
        [sys.executable, "-m", "flows.expectations", "pets"],
        check=False, capture_output=True, text=True, cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
    )  # fmt: skip
    lines = done.stderr.splitlines()

    assert done.returncode == 3
    assert lines[0] == "failed: 20 images are accepted; the contract asks for at least 21."
    assert lines[1].startswith("failed: 4 of 24 images (16.67 %) are broken or unfit")
    assert lines[2].startswith("pets: 2 of the data contract's expectations failed: ")
    assert len(lines) == 3
    assert read_json(layout.facts("pets") / "verdict.json")["success"] is False
    assert "Not fit to train on" in (layout.data_report("pets") / "index.html").read_text()


@pytest.mark.parametrize(("recipe", "code"), [("pest", 2), ("pets", 1)])
def test_a_mistake_of_the_user_is_one_line(recipe: str, code: int, tmp_path: Path) -> None:
    """A misspelt recipe, or a stage run before its time, gives no traceback."""
    layout = workspace_of(tmp_path, broken=0)
    (layout.raw("pets") / "index.parquet").unlink()
    done = subprocess.run(
        [sys.executable, "-m", "flows.expectations", recipe],
        check=False, capture_output=True, text=True, cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
    )  # fmt: skip

    assert done.returncode == code
    assert done.stderr.count("\n") == 1


def test_an_older_verdict_does_not_outlive_a_broken_run(tmp_path: Path) -> None:
    """When the shards are damaged, no verdict of earlier images is left to be believed."""
    layout = workspace_of(tmp_path, broken=0)
    validate(layout, "pets", workers=1)
    shard = layout.raw("pets") / "shard-00000.tar"
    shard.write_bytes(shard.read_bytes()[:3000])

    with pytest.raises(DamagedError):
        validate(layout, "pets", workers=1)
    assert not (layout.facts("pets") / "verdict.json").exists()


@pytest.mark.skipif(not SHARED.exists(), reason="the shared data sets are not here")
def test_the_bad_inputs_are_refused_with_a_report(tmp_path: Path) -> None:
    """A folder full of hostile files ends in a readable no."""
    (tmp_path / "params.yaml").write_text(
        f"recipes: {{bad: {{data: {{source: files, path: {SHARED / 'bad_inputs.zip'}}}}}}}\n"
    )
    layout = Layout(tmp_path)
    ingest(load_recipe(layout.params, "bad").data, tmp_path, layout.raw("bad"))
    outcome = validate(layout, "bad", workers=1)
    page = outcome.report.read_text()

    assert not outcome.success
    assert "20 of 80 images (25.00 %) are broken or unfit; at most 1 % may be." in outcome.failed
    assert "DECOMPRESSION_BOMB" in page
    assert "EXTENSION_NOT_ALLOWED" in page
    assert OUTSIDE.search(page) is None
