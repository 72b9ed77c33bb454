"""Release folders: complete, repeatable, honest about what is not known."""

import json
import re
import tomllib
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from flows import registry
from flows.gate import decision
from flows.gate.decision import Evidence, Interval
from flows.gate.judging import Judged
from flows.papers.folder import write_release
from flows.registry import Version
from flows.settings import Settings
from flows.tracking import open_run
from gan.durable import SUMS, sha256, verify_sums, write_atomically, write_json
from gan.errors import DamagedError
from gan.paths import Layout
from gan.recipe import Recipe
from gan.sections import DataSpec
from tests.gan.bundles import pack_untrained

REPO = Path(__file__).parents[3]
NAMES = ["cats", "a | b\n# <img src=x onerror=y> `c`"]
SECRET = "hunter2"  # noqa: S105  # of nobody
METRIC_ID = "0123456789ab"
RECIPE = Recipe(
    name="pets",
    data=DataSpec(source="files", path=f"s3://me:{SECRET}@host/pets", licence="CC0 | [x](y)"),
)
WHOLE = {
    "model_card.md", "metrics.json", "gate.json", "gate.html", "grid.png", "candidate.png",
    "lineage.json", "licences.json", "sbom.cdx.json", SUMS,
}  # fmt: skip


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """Return a workspace in which a bundle was trained and evaluated."""
    layout = Layout(tmp_path / "work")
    bundle = pack_untrained(layout.bundle("pets"), NAMES, recipe="pets")
    found = {"value": 1.5, "low": 1.0, "high": 2.0, "n": 200, "id": METRIC_ID}
    report = {
        "format": 2, "metric_id": METRIC_ID, "distance": "fd_domain", "kernel": "kd_domain",
        "extractor": {"name": "domain", "digest": "e" * 64, "dims": 8, "standard": False},
        "data_digest": "d" * 64, "bundle_digest": bundle.digest, "samples": 200, "seed": 7,
        "reals": 700, "held_out": 64, "is_copying": False,
        "metrics": {"fd_domain": found, "memorisation": {**found, "value": 0.5}},
        "classes": {name: {"coverage": 0.1 + n, "distance": None} for n, name in enumerate(NAMES)},
    }  # fmt: skip
    write_json(layout.evaluation("pets") / "metrics.json", report)
    write_atomically(layout.evaluation("pets") / "grid.png", b"a picture")
    return layout


@pytest.fixture
def version(layout: Layout) -> Version:
    """Return a version of that bundle, which lies in the store as if it had been fetched."""
    digest = verify_sums(layout.bundle("pets"))
    layout.bundle_store.mkdir(parents=True)
    (layout.bundle_store / digest).symlink_to(layout.bundle("pets"))
    url = f"http://me:{SECRET}@127.0.0.1:5000/#/models/pets/versions/3"
    tags = {
        "data_version": "1.dir",
        "git_revision": "abc-dirty",
        "flow_run": "f",
        "flow_run_url": "http://127.0.0.1:4200/f",
        "mlflow_run_url": "http://127.0.0.1:5000/r",
    }
    return Version("pets", 3, digest, "r" * 32, url, tags)


@pytest.fixture
def nowhere(settings_on: Callable[..., Settings]) -> Settings:
    """Return settings that lead to no server."""
    return settings_on()


def _judge(layout: Layout, digest: str, share: float = 0.1) -> Judged:
    """Write a decision on a bundle at a cold start."""
    evidence = Evidence(
        "pets", digest, None, METRIC_ID, Interval(share, 0.0, share), None, {"loads": True}
    )
    verdict = decision.decide(evidence, RECIPE.gate)
    folder = layout.gate("pets") / f"{share}"
    pictures = {"candidate.png": write_atomically(folder / "candidate.png", b"8 latents")}
    if share > 0.1:
        pictures = {"real.png": write_atomically(folder / "real.png", b"real ones")}
    document = decision.record(evidence, RECIPE.gate, verdict, pictures)
    record = folder / "gate.json"
    written = write_json(record, document)
    write_atomically(folder / "index.html", b"<!doctype html>")
    return Judged(verdict, record, written, is_new=True)


def _bytes(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_registered_version_has_all_that_goes_with_it(
    layout: Layout, mlflow_settings: Settings, server_layout: Layout
) -> None:
    """From a real registry: every part is there, sealed, and names the version's own ids."""
    run = open_run(server_layout, mlflow_settings, "pets", "first", {}, {})
    bundle = layout.bundle("pets")
    tags = {"data_version": "1.dir", "git_revision": "abc"}
    version = registry.register(mlflow_settings, "pets", bundle, run, tags)
    judged = _judge(layout, version.digest)

    folder = write_release(layout, mlflow_settings, RECIPE, version, judged)

    assert folder == layout.release("pets", version.number)
    assert set(_bytes(folder)) == WHOLE
    verify_sums(folder)
    assert sha256(folder / "gate.json") == judged.digest
    found = json.loads((folder / "lineage.json").read_text())
    assert found["bundle_digest"] == version.digest
    assert found["code"] == {"git_revision": "abc", "uncommitted_changes": False}
    assert found["runs"]["mlflow_run"] == run.run_id
    assert found["runs"]["mlflow_run_url"] == run.url
    assert found["training"]["preset"] == "tiny"
    assert found["machine"]["python"].startswith("3.")


def test_the_same_again_changes_no_byte_and_a_kill_is_mended(
    layout: Layout, version: Version, nowhere: Settings
) -> None:
    """What was cut short is written again as it would have been, and leftovers go."""
    judged = _judge(layout, version.digest)
    folder = write_release(layout, nowhere, RECIPE, version, judged)
    first, times = _bytes(folder), (folder / "gate.html").stat().st_mtime_ns
    write_release(layout, nowhere, RECIPE, version, judged)

    assert _bytes(folder) == first
    assert (folder / "gate.html").stat().st_mtime_ns == times
    for name in (SUMS, "sbom.cdx.json"):
        (folder / name).unlink()
    (folder / ".gate.json.1.partial").write_bytes(b"half")
    write_release(layout, nowhere, RECIPE, version, judged)
    assert _bytes(folder) == first


def test_what_it_was_made_with_stays_when_it_is_judged_again(
    layout: Layout, version: Version, nowhere: Settings
) -> None:
    """A later decision replaces the earlier one; lineage, licences and bill are of the making."""
    folder = write_release(layout, nowhere, RECIPE, version, _judge(layout, version.digest))
    before = _bytes(folder)
    retagged = replace(version, tags={"batches": "7"}, url="http://elsewhere/")
    later = _judge(layout, version.digest, share=0.9)
    write_release(layout, nowhere, RECIPE, retagged, later)
    after = _bytes(folder)

    assert set(after) == WHOLE - {"candidate.png"} | {"real.png"}
    for name in ("lineage.json", "licences.json", "sbom.cdx.json"):
        assert after[name] == before[name]
    assert after["gate.json"] == later.record.read_bytes()
    assert b"It **fails**" in after["model_card.md"]
    (folder / "lineage.json").write_text("{}")  # altered by hand: it is not believed
    write_release(layout, nowhere, RECIPE, version, later)
    assert _bytes(folder)["lineage.json"] == before["lineage.json"]


@pytest.mark.parametrize("name", ["gate.json", "candidate.png"])
def test_evidence_that_was_altered_is_refused(
    layout: Layout, version: Version, nowhere: Settings, name: str
) -> None:
    """A release never carries another decision or picture than the one that was made."""
    judged = _judge(layout, version.digest)
    folder = write_release(layout, nowhere, RECIPE, version, judged)
    before, path = _bytes(folder), judged.record.with_name(name)
    path.write_bytes(path.read_bytes().replace(b"8", b"9"))

    with pytest.raises(DamagedError, match=f"{name}: SHA-256 is .*, the decision says"):
        write_release(layout, nowhere, RECIPE, version, judged)
    assert _bytes(folder) == before


def test_what_is_not_known_is_null_with_a_reason(
    layout: Layout, version: Version, nowhere: Settings
) -> None:
    """No tag, no report, no decision, a damaged bundle: none of it is invented, none is fatal."""
    bare = replace(version, tags={})
    (layout.evaluation("pets") / "metrics.json").unlink()
    (layout.bundle("pets") / "card.json").write_text("{}")
    folder = write_release(layout, nowhere, RECIPE, bare, None)
    found = json.loads((folder / "lineage.json").read_text())
    said = (folder / "model_card.md").read_text()

    assert {"gate.json", "metrics.json"}.isdisjoint(_bytes(folder))
    for place in (
        "code.git_revision", "code.uncommitted_changes", "data.digest", "data.dvc_version",
        "start_bundle", "training", "dvc_lock", "lock_file.sha256", "runs.flow_run",
    ):  # fmt: skip
        value = found
        for part in place.split("."):
            value = value[part]
        assert value is None
        assert len(found["missing"][place]) > 5
    assert "No gate has judged this version." in said
    assert "It was not measured" in said
    assert "None" not in said


def test_the_entries_of_dvc_lock_are_kept_while_they_are_about_it(
    layout: Layout, version: Version, nowhere: Settings
) -> None:
    """They tell how to restore the data and the model; another model's are not taken for them."""
    stage = {"cmd": "python -m gan train pets", "outs": [{"path": "x", "md5": "1.dir"}]}
    lock = {"schema": "2.0", "stages": {"train@pets": stage, "train@other": {"cmd": "x"}}}
    (layout.root / "dvc.lock").write_text(json.dumps(lock))
    folder = write_release(layout, nowhere, RECIPE, version, None)
    newer = pack_untrained(layout.root / "newer", NAMES, recipe="pets", seed=2)
    (layout.bundle_store / newer.digest).symlink_to(newer.folder)
    another = replace(version, number=4, digest=newer.digest)
    other = write_release(layout, nowhere, RECIPE, another, None)

    assert json.loads((folder / "lineage.json").read_text())["dvc_lock"] == {"train": stage}
    found = json.loads((other / "lineage.json").read_text())
    assert found["dvc_lock"] is None
    assert "another bundle" in found["missing"]["dvc_lock"]


def test_no_secret_goes_along_and_names_stay_words(
    layout: Layout,
    version: Version,
    nowhere: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The environment is not written down, logins are cut from addresses, no name is markup."""
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    folder = write_release(layout, nowhere, RECIPE, version, _judge(layout, version.digest))
    said = (folder / "model_card.md").read_text()

    for name, payload in _bytes(folder).items():
        assert SECRET.encode() not in payload, name
    assert "CC0 \\| \\[x\\](y)" in said
    prose = re.sub(r"```.*?```", "", said, flags=re.DOTALL)
    assert "<img" not in prose
    assert "\n# &lt;" not in prose
    rows = [line for line in said.splitlines() if line.startswith("| `")]
    assert len(rows) == 2  # one a metric
    fenced = re.findall(r"```python\n(.*?)\n```", said, re.DOTALL)
    compile(fenced[0], "card", "exec")


def test_the_bill_is_cyclonedx_and_names_every_dependency(
    layout: Layout, version: Version, nowhere: Settings
) -> None:
    """What CycloneDX 1.6 requires is there; all that pyproject asks for, as it is installed."""
    folder = write_release(layout, nowhere, RECIPE, version, None)
    bill = json.loads((folder / "sbom.cdx.json").read_text())
    model, parts = bill["metadata"]["component"], bill["components"]

    assert (bill["bomFormat"], bill["specVersion"], bill["version"]) == ("CycloneDX", "1.6", 1)
    assert re.fullmatch(r"urn:uuid:[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", bill["serialNumber"])
    assert model["type"] == "machine-learning-model"
    assert model["hashes"] == [{"alg": "SHA-256", "content": version.digest}]
    weights = sha256(layout.bundle("pets") / "generator.safetensors")
    assert {"alg": "SHA-256", "content": weights} in [e["hashes"][0] for e in model["components"]]
    assert all(part["type"] == "library" and part["name"] and part["version"] for part in parts)
    for part in parts:
        for licence in part.get("licenses", []):
            assert bool(licence.get("expression")) != bool(licence.get("license", {}).get("name"))
    refs = [model["bom-ref"], *(part["bom-ref"] for part in parts)]
    assert len(set(refs)) == len(refs)
    assert [each["ref"] for each in bill["dependencies"]] == refs
    assert {ref for each in bill["dependencies"] for ref in each["dependsOn"]} <= set(refs)

    asked = tomllib.loads((REPO / "pyproject.toml").read_text())["project"]["dependencies"]
    wanted = {canonicalize_name(Requirement(line).name) for line in asked}
    there = {canonicalize_name(each.metadata["Name"]): each.version for each in distributions()}
    for name in wanted:
        assert f"pkg:pypi/{name}@{there[name]}".replace("+", "%2B") in refs
    assert "pkg:pypi/pytest" not in str(refs)  # what only tests need is not part of it
    licences: dict[str, Any] = json.loads((folder / "licences.json").read_text())
    assert licences["data"]["licence"] == "CC0 | [x](y)"
    assert len(licences["packages"]) == len(parts)
    assert licences["model"] is None
    assert licences["missing"]["model"]
