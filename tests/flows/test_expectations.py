"""The validate stage: facts, verdict and pages that a person can read."""

import io
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from flows.expectations import validate
from gan.durable import read_json
from gan.errors import DamagedError
from gan.image.facts import read_facts
from gan.image.sources import ingest
from gan.paths import Layout
from gan.recipe import load_recipe

REPOSITORY = Path(__file__).resolve().parents[2]
SHARED = REPOSITORY.parent / "shared/data"
# Great Expectations 1.24 imports what Python calls deprecated.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


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
    checks = (layout.data_report("pets") / "checks.html").read_text()
    assert "What the data contract found in pets" in checks
    assert "1 for an image that is broken or unfit, 0 for every other" in checks
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
    pages = [
        (layout.data_report("pets") / name).read_text() for name in ("index.html", "checks.html")
    ]
    assert ["Not fit to train on" in page for page in pages] == [True, True]
    assert "cats &amp; &lt;dogs&gt;/01.png<br>cut short" in pages[1]


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


@pytest.mark.parametrize(("rule", "accepted"), [("keep", 25), ("drop", 24)])
def test_near_duplicates_are_found_shown_and_kept_to_one_by_rule(
    rule: str, accepted: int, tmp_path: Path
) -> None:
    """An enlarged copy is no exact one, yet found; `drop` keeps the larger, the page says so."""
    layout = workspace_of(tmp_path, broken=0)
    with zipfile.ZipFile(tmp_path / "in.zip", "a") as archive:
        with Image.open(io.BytesIO(archive.read("birds/04.png"))) as image:
            file = io.BytesIO()
            image.resize((32, 32), Image.Resampling.NEAREST).save(file, "PNG")
        archive.writestr("birds/large.png", file.getvalue())
    text = layout.params.read_text().replace(
        "source: files", f"source: files, near_duplicates: {rule}"
    )
    layout.params.write_text(text)
    ingest(load_recipe(layout.params, "pets").data, tmp_path, layout.raw("pets"))
    outcome = validate(layout, "pets", workers=1)
    facts = read_facts(layout.facts("pets") / "facts.parquet").set_index("key")
    page = outcome.report.read_text()

    assert (outcome.success, outcome.accepted) == (True, accepted)
    assert facts.loc[["birds/04.png", "birds/large.png"], "cluster"].tolist() == [
        "birds/large.png", "birds/large.png",
    ]  # fmt: skip
    assert (facts["cluster"] != "").sum() == 2
    assert facts.loc["birds/04.png", "reason"] == ("DUPLICATE_NEAR" if rule == "drop" else "")
    assert "2 images in 1 cluster</b> are nearly one another over again" in page
    assert ("much like birds/large.png" in page) == (rule == "drop")


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
    broken = f"20 of {outcome.images} images ({2000 / outcome.images:.2f} %) are broken or unfit"
    assert f"{broken}; at most 1 % may be." in outcome.failed
    assert "DECOMPRESSION_BOMB" in page
    assert "EXTENSION_NOT_ALLOWED" in page
    assert OUTSIDE.search(page) is None
