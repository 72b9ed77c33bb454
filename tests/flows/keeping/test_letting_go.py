"""Letting go for real: versions, runs, batches, data and flow runs, on real servers."""

import errno
import json
import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from flows import disposal, ledger, registry, stores, tracking
from flows.commands.regenerating import regenerate
from flows.datasets import verifying
from flows.datasets.catalog import DatasetRecord, records
from flows.keeping.disposing import LINES
from flows.keeping.letting_go import let_go
from flows.keeping.plan import Fate
from flows.keeping.retention import planned
from flows.ledger import Entry
from flows.provenance.looking import look
from flows.registry import Version
from flows.settings import Settings
from flows.versions import reproduce
from gan.assets.batch import Marks, mint
from gan.assets.request import Request
from gan.bundle import open_bundle
from gan.errors import GanmillError, ServiceError
from gan.marking.identity import Signing
from gan.marking.watermark import PUBLIC_KEY
from gan.paths import Layout
from gan.recipe import load_recipe
from gan.screening.references import References
from gan.sections import CampaignSpec, ScreensSpec
from tests.faults.seam import failing_at
from tests.flows.datasets.rooms import change_images, make_room
from tests.flows.worlds import noisy

RECIPE = "kept"
KEEP = "{batches_days: 10, flow_runs_days: 1.0e-9, training_runs_days: 10, versions: 0}"
PARAMS = f"""\
recipes:
  {RECIPE}:
    data: {{source: files, path: images, resolution: 16, licence: CC0-1.0}}
    keep: {KEEP}
"""
_OLD_SECONDS = 30 * 24 * 3600


@dataclass(frozen=True)
class World:
    """A workspace with a past.

    v1 is old and from old data; a batch that was made from v2 went out; v3 is champion; v4 waits
    in the wings. v1 had a batch, too, which never went out.
    """

    layout: Layout
    settings: Settings
    versions: list[Version]
    data: list[DatasetRecord]
    batches: dict[str, Path]
    flow_runs: dict[str, str]

    @property
    def lines(self) -> list[dict[str, Any]]:
        """What was written down."""
        text = (self.layout.state / LINES).read_text()
        return [json.loads(line) for line in text.splitlines()]


def _data(layout: Layout) -> DatasetRecord:
    from flows.datasets.catalog import record
    from flows.versions import push

    reproduce(layout, "prepare", RECIPE)
    made = record(layout, load_recipe(layout.params, RECIPE))
    push(layout, RECIPE)
    return made


def _flow_run(settings: Settings, recipe: str) -> str:
    """Return a run of ours in Prefect that has ended, with an artifact on its page."""
    with httpx.Client(base_url=f"{settings.prefect_url}/api", timeout=60) as client:

        def made(path: str, **body: Any) -> str:
            for _ in range(20):  # a busy SQLite answers 503 now and then
                answer = client.post(path, json=body)
                if answer.status_code != httpx.codes.SERVICE_UNAVAILABLE:
                    break
            assert answer.is_success, answer.text
            return str(answer.json()["id"])

        flow = made("/flows/", name="generate")
        ended = {"type": "COMPLETED"}
        run = made("/flow_runs/", flow_id=flow, parameters={"recipe": recipe}, state=ended)
        made("/artifacts/", key="sheet", type="markdown", data="x", flow_run_id=run)
    return run


def _version(layout: Layout, settings: Settings, number: int, data: str, flow_run: str) -> Version:
    bundle = layout.root / f"made-{number}"
    noisy(bundle, 0.01, seed=number, recipe=RECIPE, data_digest=data, start_digest=None)
    run = tracking.open_run(layout, settings, RECIPE, f"{RECIPE} {number}", {}, {})
    made = registry.register(settings, RECIPE, bundle, run, {"flow_run": flow_run})
    tracking.close_run(run, "FINISHED")
    registry.fetch(settings, made, layout.bundle_store)
    shutil.rmtree(bundle)
    return made


def _batch(layout: Layout, version: Version, slot: str, flow_run: str) -> Path:
    open_screens = ScreensSpec(off_class=0, near_distance=0, past=0, copies=0)
    spec = CampaignSpec(count=2, size_px=32, rejection=0, screens=open_screens)
    lineage = {"flow_run": flow_run, "model_version": str(version.number)}
    minted = mint(
        open_bundle(layout.bundle_store / version.digest),
        Request(RECIPE, spec, slot, lineage=lineage),
        layout.batches(RECIPE),
        Marks(Signing(layout.signing)),
        References(None, None, layout.features),
        progress=lambda _: None,
    )
    then = time.time() - _OLD_SECONDS
    os.utime(minted.folder / "batch.json", (then, then))
    return minted.folder


@pytest.fixture(scope="module")
def world(
    servers: Settings, server_layout: Layout, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    """Return a workspace with a past, whose MLflow and Prefect run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PREFECT_LOGGING_LEVEL", "ERROR")
        layout = make_room(tmp_path_factory.mktemp("kept") / "room")
        layout.params.write_text(PARAMS)
        layout.state.mkdir()
        (layout.state / "mlflow").symlink_to(server_layout.state / "mlflow")
        old = _data(layout)
        change_images(layout.root)
        new = _data(layout)
        runs = {name: _flow_run(servers, RECIPE) for name in ("v1", "v2", "b1", "b2", "b3", "tidy")}
        runs["theirs"] = _flow_run(servers, "of-somebody-else")
        data = {1: old.digest, 2: new.digest, 3: new.digest, 4: new.digest}
        versions = [
            _version(layout, servers, n, digest, runs.get(f"v{n}", ""))
            for n, digest in data.items()
        ]
        for event in ("intend", "done"):
            entry = Entry(event, RECIPE, "ada", "why", to_version=3, to_digest=versions[2].digest)
            ledger.append(layout.ledger, entry)
        registry.set_alias(servers, RECIPE, "champion", 3)
        batches = {
            name: _batch(layout, versions[n - 1], name, runs[f"b{n}"])
            for n, name in ((1, "first"), (2, "second"), (3, "third"))
        }
        (batches["second"] / "published.jsonl").write_text("{}\n")
        os.utime(batches["third"] / "batch.json")
        yield World(layout, servers, versions, [old, new], batches, runs)


def _flow_runs_there(world: World) -> set[str]:
    """Return the names of the runs that Prefect still has, with what their pages show."""
    with httpx.Client(base_url=f"{world.settings.prefect_url}/api", timeout=60) as client:
        runs = {run["id"] for run in client.post("/flow_runs/filter", json={}).json()}
        shown = {each["flow_run_id"] for each in client.post("/artifacts/filter", json={}).json()}
    return {name for name, run in world.flow_runs.items() if run in runs | shown}


def test_a_server_that_is_away_lets_nothing_go(world: World) -> None:
    """Without MLflow nobody knows what is needed: it is an error, and nothing is planned."""
    away = world.settings.model_copy(update={"mlflow_tracking_uri": "http://127.0.0.1:9"})
    with pytest.raises(ServiceError):
        planned(world.layout, away)


def test_a_plan_touches_nothing(world: World) -> None:
    """What `--dry-run` prints is the plan alone, with a reason for each thing."""
    fates = planned(world.layout, world.settings)
    assert not (world.layout.state / LINES).exists()
    assert registry.versions(world.settings, RECIPE)[-1].number == 1
    whys = {fate.thing.id: fate.why for fate in fates if not fate.goes}
    second = world.batches["second"].name
    assert whys[f"model:{RECIPE}/v3"] == "is champion"
    assert whys[f"model:{RECIPE}/v4"] == "is the newest"
    assert whys[f"model:{RECIPE}/v2"] == f"needed by batch {RECIPE}/{second}"
    assert "went out" in whys[f"batch:{RECIPE}/{second}"]
    assert "dvc.lock" in next(why for name, why in whys.items() if name.startswith("object:"))


def test_killed_again_and_again_it_ends_with_what_was_planned(world: World) -> None:
    """A disk that fails ever later: each call goes on where the last one ended, to the plan's end.

    At no time is the champion, or what went out, without what it was made from.
    """
    layout, settings = world.layout, world.settings
    first = planned(layout, settings)
    picture = next(world.batches["second"].glob("png/*.png"))
    published = picture.read_bytes()
    cache = layout.root / ".dvc" / "cache" / "files"
    before = sum(path.stat().st_size for path in cache.rglob("*") if path.is_file())
    for n in range(6, 400, 9):
        fates = planned(layout, settings)
        with failing_at(n, errno.EIO) as passed:
            try:
                done = let_go(layout, settings, fates, actor="ada")
            except GanmillError:
                done = None
        _require_lineage(world)
        if done is not None and len(passed) < n:
            break
    assert done is not None
    assert done.skipped == []

    _is_as_planned(world, first)
    after = sum(path.stat().st_size for path in cache.rglob("*") if path.is_file())
    assert after < before
    assert [fate for fate in planned(layout, settings) if fate.goes] == []
    _is_still_ours(world, published)


def _require_lineage(world: World) -> None:
    """Hold that champion and published batch have all that they were made from."""
    layout, settings = world.layout, world.settings
    for version in world.versions[1:]:
        registry.by_number(settings, RECIPE, version.number)
        shutil.rmtree(layout.state / "again", ignore_errors=True)
        registry.fetch(settings, version, layout.state / "again")
    with stores.opened(layout) as opened:
        names = opened.objects(world.data[1].dvc).values()
        assert {opened.cache.state(name) for name in names} == {"sound"}
    assert (world.batches["second"] / "manifest.jsonl").exists()
    assert (world.batches["third"] / "batch.json").exists()


def _is_as_planned(world: World, fates: list[Fate]) -> None:
    """Hold that what was to go is gone, everywhere, and written down."""
    layout, settings, first = world.layout, world.settings, world.versions[0]
    assert [v.number for v in registry.versions(settings, RECIPE)] == [4, 3, 2]
    assert first.run_id not in {run.id for run in disposal.runs(settings, RECIPE)}
    artifacts = layout.state / "mlflow" / "artifacts"
    assert not [path for path in artifacts.glob(f"*/{first.run_id}/**/*") if path.is_file()]
    assert not (layout.bundle_store / first.digest).exists()
    assert not world.batches["first"].exists()
    assert {path.name for path in world.batches["second"].iterdir()} == {
        "batch.json", "manifest.jsonl", "manifest.parquet", "croissant.json", "published.jsonl",
    }  # fmt: skip
    assert _flow_runs_there(world) == {"v2", "b2", "b3", "theirs"}
    assert {known.digest for known in records(layout, RECIPE)} == {d.digest for d in world.data}
    assert verifying.let_go(layout, world.data[0]) == {"cache"}
    assert verifying.verify(layout, world.data[0]) == []
    told = {(line["kind"], line["name"]) for line in world.lines}
    assert told >= {(fate.thing.kind, fate.thing.name) for fate in fates if fate.goes}
    assert {line["actor"] for line in world.lines} == {"ada"}
    assert not (layout.state / "going").exists()


def _is_still_ours(world: World, published: bytes) -> None:
    """Hold that a file that went out is known, and can be made again."""
    layout = world.layout
    (layout.root / "downloaded.png").write_bytes(published)
    answer = look(layout, Signing(layout.signing), PUBLIC_KEY, layout.root / "downloaded.png")
    assert answer.verdict == "ours, unchanged"
    shutil.rmtree(layout.bundle_store)
    made = regenerate(layout, world.settings, str(answer.asset), layout.root / "again")
    assert made.identical
    assert made.files[0].read_bytes() == published
