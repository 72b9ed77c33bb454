"""Versions and aliases in a real MLflow server: a digest is one version, bytes are checked."""

import json
import os
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from flows import registry
from flows.settings import Settings
from flows.tracking import TrackedRun, open_run
from gan.durable import verify_sums
from gan.errors import DamagedError, ServiceError, UsageError
from gan.paths import Layout
from gan.serving import _load_pyfunc
from tests.gan.bundles import pack_untrained

Make = Callable[[str], Path]


@pytest.fixture
def run(mlflow_settings: Settings, server_layout: Layout) -> TrackedRun:
    """Return a new open run."""
    return open_run(server_layout, mlflow_settings, "registered", "registered #1", {}, {})


def test_one_digest_is_one_version(
    mlflow_settings: Settings, run: TrackedRun, make_bundle: Make
) -> None:
    """Registering again, also from another run, returns the version of the first time."""
    first = registry.register(mlflow_settings, "once", make_bundle("a"), run, {"data_version": "d"})
    again = registry.register(mlflow_settings, "once", make_bundle("b").parent / "a", run, {})
    other = registry.register(mlflow_settings, "once", make_bundle("c"), run, {})

    assert first == again
    assert (first.number, other.number) == (1, 2)
    assert first.tags["data_version"] == "d"
    assert first.digest == verify_sums(make_bundle("d").parent / "a")
    assert [v.number for v in registry.versions(mlflow_settings, "once")] == [2, 1]
    assert registry.by_number(mlflow_settings, "once", 2) == other
    with pytest.raises(UsageError, match="There: v1, v2"):
        registry.by_number(mlflow_settings, "once", 9)


def test_registering_at_once_makes_one_version(
    mlflow_settings: Settings, run: TrackedRun, make_bundle: Make
) -> None:
    """Four at the same time end with a single version of the digest."""
    bundle = make_bundle("raced")
    call: tuple[Any, ...] = (mlflow_settings, "raced", bundle, run, {})
    threads = [threading.Thread(target=registry.register, args=call) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(registry.versions(mlflow_settings, "raced")) == 1


def test_a_missing_alias_is_none_and_nothing_else_is(
    mlflow_settings: Settings, run: TrackedRun, make_bundle: Make
) -> None:
    """No model and no alias are None; an error is an error, never `there is none`."""
    assert registry.by_alias(mlflow_settings, "nobody", "champion") is None
    made = registry.register(mlflow_settings, "aliased", make_bundle("x"), run, {})
    assert registry.by_alias(mlflow_settings, "aliased", "champion") is None
    registry.set_alias(mlflow_settings, "aliased", "champion", made.number)
    registry.tag_version(mlflow_settings, made, {"batches": "b1"})

    found = registry.by_alias(mlflow_settings, "aliased", "champion")
    assert found is not None
    assert (found.number, found.tags["batches"]) == (made.number, "b1")
    with pytest.raises(ServiceError, match="reading aliased@not a name"):
        registry.by_alias(mlflow_settings, "aliased", "not a name!")
    away = mlflow_settings.model_copy(update={"mlflow_tracking_uri": "http://127.0.0.1:9"})
    with pytest.raises(ServiceError, match="ganmill up"):
        registry.by_alias(away, "aliased", "champion")


def test_fetched_bytes_are_the_registered_bytes(
    mlflow_settings: Settings,
    run: TrackedRun,
    make_bundle: Make,
    tmp_path: Path,
    server_layout: Layout,
) -> None:
    """A bundle comes back whole under its digest; an exchanged one is refused and not kept."""
    made = registry.register(mlflow_settings, "fetched", make_bundle("good"), run, {})
    folder = registry.fetch(mlflow_settings, made, tmp_path / "store")
    assert folder == tmp_path / "store" / made.digest
    assert registry.fetch(mlflow_settings, made, tmp_path / "store") == folder

    stored = (server_layout.root / "mlflow-alone").rglob(
        f"{run.run_id}/artifacts/model/data/bundle/gener*"
    )
    next(iter(stored)).write_bytes(b"exchanged")
    with pytest.raises(DamagedError, match=r"generator\.safetensors"):
        registry.fetch(mlflow_settings, made, tmp_path / "other")
    assert list((tmp_path / "other").iterdir()) == []


def test_a_damaged_bundle_is_not_registered(
    mlflow_settings: Settings, run: TrackedRun, make_bundle: Make
) -> None:
    """A bundle whose files differ from its list is refused before anything is sent."""
    bundle = make_bundle("bad")
    (bundle / "card.json").write_text("{}")

    with pytest.raises(DamagedError, match=r"card\.json"):
        registry.register(mlflow_settings, "damaged", bundle, run, {})
    assert registry.versions(mlflow_settings, "damaged") == []


def test_files_that_lie_elsewhere_are_told(
    mlflow_settings: Settings, run: TrackedRun, make_bundle: Make, tmp_path: Path
) -> None:
    """A version of an earlier ganmill, or one whose files are gone, is damaged, not unreachable."""
    from mlflow import MlflowClient

    client, bundle = MlflowClient(mlflow_settings.mlflow_url), make_bundle("early")
    client.log_artifacts(run.run_id, str(bundle), "bundle")
    client.create_registered_model("early")
    tags = {"bundle_digest": verify_sums(bundle)}
    client.create_model_version("early", f"runs:/{run.run_id}/bundle", run.run_id, tags=tags)
    (version,) = registry.versions(mlflow_settings, "early")

    with pytest.raises(DamagedError, match=r"v1: its run .* no model/data/bundle: .*Roll back"):
        registry.fetch(mlflow_settings, version, tmp_path / "store")
    assert list((tmp_path / "store").iterdir()) == []


def test_a_second_version_goes_unless_it_serves(
    mlflow_settings: Settings, run: TrackedRun, make_bundle: Make
) -> None:
    """Twins that a lost answer left are deleted by the next try; one with an alias never is."""
    from mlflow import MlflowClient

    client, bundle = MlflowClient(mlflow_settings.mlflow_url), make_bundle("twin")
    first = registry.register(mlflow_settings, "twins", bundle, run, {})
    source = f"runs:/{run.run_id}/model"
    for _ in range(2):
        tags = {"bundle_digest": first.digest}
        client.create_model_version("twins", source, run.run_id, tags=tags)
    registry.set_alias(mlflow_settings, "twins", "champion", 3)

    assert registry.register(mlflow_settings, "twins", bundle, run, {}).number == 1
    assert [v.number for v in registry.versions(mlflow_settings, "twins")] == [3, 1]


LOADING = """\
import json, sys
import mlflow, pandas
table = pandas.DataFrame({"seed": [1, 2, 3], "label": ["dogs", "cats", ""]})
for _ in sys.stdin:
    try:
        model = mlflow.pyfunc.load_model("models:/loaded@champion")
        print(json.dumps(model.predict(table).tolist()), flush=True)
    except Exception as error:
        print(json.dumps(f"{type(error).__name__}: {error}"), flush=True)
"""


def test_anybody_with_mlflow_can_load_the_champion(
    mlflow_settings: Settings, run: TrackedRun, tmp_path: Path, server_layout: Layout
) -> None:
    """A process that knows MLflow's address alone gets images, or refuses altered weights."""
    made = pack_untrained(tmp_path / "bundle", ["cats", "dogs"], channels=4)
    version = registry.register(mlflow_settings, "loaded", made.folder, run, {})
    registry.set_alias(mlflow_settings, "loaded", "champion", version.number)
    stored = next((server_layout.root / "mlflow-alone").rglob(f"{run.run_id}/artifacts"))
    names = {path.name for path in (stored / "model").rglob("*") if path.is_file()}
    assert {"MLmodel", "SHA256SUMS", "generator.safetensors", "input_example.json"} <= names
    assert not [name for name in names if name.endswith((".pkl", ".pt", ".pth", ".bin"))]

    with subprocess.Popen(
        [sys.executable, "-c", LOADING],
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"], "MLFLOW_TRACKING_URI": mlflow_settings.mlflow_url},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        images = _ask(process)
        weights = stored / "model" / "data" / "bundle" / "generator.safetensors"
        altered = bytearray(weights.read_bytes())
        altered[-1] ^= 1
        weights.write_bytes(altered)
        refusal = _ask(process)
        _, words = process.communicate()

    rows: list[dict[str, Any]] = [{"seed": 1, "label": "dogs"}, {"seed": 2, "label": "cats"}]
    rows.append({"seed": 3})
    assert images == _load_pyfunc(str(made.folder)).predict(rows).tolist()
    assert refusal.startswith("DamagedError: "), refusal
    assert "generator.safetensors: SHA-256 is" in refusal
    assert "Traceback" not in words
    assert "mismatch" not in words  # what the model asks for is what is installed


def test_the_page_of_a_version_can_show_its_signature(
    mlflow_settings: Settings, run: TrackedRun, tmp_path: Path
) -> None:
    """MLflow's page reads it from the version's file over the server, and so may everybody."""
    from mlflow.models import Model

    made = pack_untrained(tmp_path / "bundle", ["cats", "dogs"])
    version = registry.register(mlflow_settings, "signed", made.folder, run, {})
    asked = f"path=MLmodel&name=signed&version={version.number}"
    page = f"{mlflow_settings.mlflow_url}/model-versions/get-artifact?{asked}"
    with urllib.request.urlopen(page, timeout=60) as answer:
        words = answer.read().decode()
    signature = Model.from_dict(YAML(typ="safe", pure=True).load(words)).signature

    assert "loader_module: gan.serving" in words
    assert made.digest in words
    assert signature.inputs.input_names() == ["seed", "label"]
    assert not signature.inputs.inputs[1].required
    assert signature.outputs.inputs[0].shape == (-1, 16, 16, 3)


def _ask(process: "subprocess.Popen[str]") -> Any:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write("go\n")
    process.stdin.flush()
    return json.loads(process.stdout.readline())
