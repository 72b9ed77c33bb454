"""Batches from the champion, against a real MLflow server and a real Prefect server."""

import json
import shutil
import threading
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows import generate, ledger, minting, registry, release, watch
from flows.commands import minting_outlook
from flows.registry import Version
from flows.settings import Settings
from flows.story import Lineage, Mill
from flows.tracking import open_run
from gan.assets.batch import Minted, mint
from gan.assets.manifest import MANIFEST, read_rows, verify
from gan.assets.request import Request, names
from gan.bundle import Bundle, pack
from gan.durable import run_lock
from gan.errors import ApprovalError, BusyError, DamagedError, GateError, UsageError
from gan.paths import Layout
from gan.recipe import Recipe
from tests.gan.bundles import UNSCREENED, pack_untrained

EVIDENCE = "e" * 64
Run = Callable[..., object]
PAIR = {"segments": {"fans": {"count": 2, "classes": {"b": 1.0}}}}


@pytest.fixture(scope="module")
def online(ganmill: Run, mill_settings: Settings) -> Iterator[Settings]:
    """Return settings of servers that run."""
    ganmill("up")
    with temporary_settings({PREFECT_API_URL: f"{mill_settings.prefect_url}/api"}):
        yield mill_settings


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> list[Bundle]:
    """Return two untrained bundles of unlike weights."""
    return [
        pack_untrained(tmp_path_factory.mktemp("bundle"), ["a", "b"], seed=seed) for seed in (1, 2)
    ]


@pytest.fixture
def mill(request: pytest.FixtureRequest, tmp_path: Path, online: Settings) -> Mill:
    """Return a workspace of this test's own, with a recipe of its own; a batch is eight assets."""
    name = request.node.name.replace("_", "-").removeprefix("test-")[:60].rstrip("-")
    recipe = Recipe.model_validate(
        {
            "name": name,
            "data": {"source": "files", "path": "x"},
            "gate": {"watch": {"min_accepted": 0.0}},
            "assets": {"count": 8, "size_px": 32, **UNSCREENED, "campaigns": {"twins": PAIR}},
        }
    )
    return Mill(Layout(tmp_path / "work"), online, recipe, Lineage("r", "http://r", "a run"))


@pytest.fixture
def made(mill: Mill, bundles: list[Bundle], server_layout: Layout) -> Version:
    """Return a registered version that is champion."""
    found = _register(mill, bundles[0], server_layout)
    _promote(mill, found, None)
    return found


@pytest.fixture
def newer(mill: Mill, made: Version, bundles: list[Bundle], server_layout: Layout) -> Version:
    """Return a version that was registered after the champion."""
    return _register(mill, bundles[1], server_layout)


@pytest.fixture(scope="module")
def blank(bundles: list[Bundle], tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Return a bundle of which every image is one flat colour."""
    network = bundles[0].generator()
    for weight in network.parameters():
        weight.data.zero_()
    folder = tmp_path_factory.mktemp("blank") / "bundle"
    return pack(folder, network, bundles[0].critic(), bundles[0].card)


def _register(mill: Mill, bundle: Bundle, server_layout: Layout) -> Version:
    """Register a bundle with a training run of its own."""
    run = open_run(server_layout, mill.settings, mill.recipe.name, "r", {}, {})
    return registry.register(mill.settings, mill.recipe.name, bundle.folder, run, {})


def _promote(mill: Mill, version: Version, expected: int | None) -> None:
    release.promote(
        mill.layout,
        mill.settings,
        version.recipe,
        version,
        evidence_digest=EVIDENCE,
        actor="ada",
        reason="better",
        expected_champion=expected,
    )


def _request(mill: Mill) -> Request:
    """Return the request of the day's batch."""
    return Request(recipe=mill.recipe.name, spec=mill.recipe.assets.campaign(), slot="day")


def _mint(mill: Mill, bundle: Bundle, progress: Callable[[str], None]) -> Minted:
    """Mint the day's batch as another process would."""
    return mint(
        bundle,
        _request(mill),
        mill.layout.batches(mill.recipe.name),
        minting.marks(mill.layout, mill.settings),
        minting.references(mill, bundle),
        progress=progress,
    )


def _notices(mill: Mill) -> list[str]:
    return [json.loads(line)["event"] for line in mill.layout.notices.read_text().splitlines()]


def test_the_next_batch_uses_the_new_champion(mill: Mill, newer: Version) -> None:
    """After a promotion it is the new one, after a rollback the one before, on the same day too."""
    first, of_first = generate.mint_batch(mill, slot="day")
    _promote(mill, newer, 1)
    second, of_second = generate.mint_batch(mill, slot="day")
    release.rollback(mill.layout, mill.settings, mill.recipe.name, actor="ada", reason="blurred")
    third, of_third = generate.mint_batch(mill, slot="day")

    assert [of_first.number, of_second.number, of_third.number] == [1, 2, 1]
    assert first.folder != second.folder
    assert (third.folder, third.made, third.already) == (first.folder, 0, True)
    assert _notices(mill) == ["batch.delivered"] * 2
    assert [row.version for row in watch.read(mill.layout.watch(mill.recipe.name))] == [1, 2]


def test_a_hold_is_explained_and_resumed(mill: Mill, made: Version) -> None:
    """While production is on hold nothing is minted; the message has who, why, and the way on."""
    name = mill.recipe.name
    minted, _ = generate.mint_batch(mill, slot="before")
    held = release.hold(mill.layout, name, actor="ada", reason="the hearts are blurred")
    with pytest.raises(ApprovalError) as caught:
        generate.mint_batch(mill, slot="after")

    since = held.time_utc[:16].replace("T", " ")
    assert str(caught.value) == (
        f"{name}: production is on hold since {since} UTC, by ada: the hearts are blurred. "
        f'Go on with: ganmill resume {name} --reason "..."'
    )
    assert caught.value.exit_code == 5
    assert verify(minted.folder) == []
    assert [each.name for each in mill.layout.batches(name).iterdir()] == [minted.batch_id]

    release.resume(mill.layout, name, actor="ada", reason="they were not")
    assert generate.mint_batch(mill, slot="after")[0].made == 8


def test_without_a_champion_there_is_nothing_to_mint(mill: Mill) -> None:
    """The message names the command that makes one."""
    with pytest.raises(UsageError, match=r"no champion yet.* Run: ganmill retrain"):
        generate.mint_batch(mill)


def test_a_champion_deleted_behind_our_back_is_not_replaced(mill: Mill, made: Version) -> None:
    """Nothing is minted from another version, and the last good batch stays as it is."""
    minted, _ = generate.mint_batch(mill, slot="before")
    MlflowClient(mill.settings.mlflow_url).delete_model_version(mill.recipe.name, "1")

    with pytest.raises(DamagedError, match=r"v1 .*gone from MLflow"):
        generate.mint_batch(mill, slot="after")
    assert verify(minted.folder) == []
    assert len(list(mill.layout.batches(mill.recipe.name).iterdir())) == 1


def test_an_alias_moved_by_hand_is_not_followed(mill: Mill, newer: Version) -> None:
    """Production uses only what the ledger knows; who moved it is asked to say so."""
    minted, _ = generate.mint_batch(mill, slot="before")
    registry.set_alias(mill.settings, mill.recipe.name, "champion", newer.number)

    with pytest.raises(DamagedError, match="v2"):
        generate.mint_batch(mill, slot="after")
    assert verify(minted.folder) == []
    assert len(list(mill.layout.batches(mill.recipe.name).iterdir())) == 1


def test_a_batch_that_another_process_mints_is_waited_for(
    mill: Mill, made: Version, bundles: list[Bundle], capsys: pytest.CaptureFixture[str]
) -> None:
    """A schedule and a promotion that come together make one batch, and both have it."""
    begun, go_on = threading.Event(), threading.Event()

    def pause(_: str) -> None:
        begun.set()
        go_on.wait(60)

    def other() -> None:
        _mint(mill, bundles[0], pause)

    thread = threading.Thread(target=other)
    thread.start()
    assert begun.wait(60)
    threading.Timer(1.0, go_on.set).start()
    minted, _ = generate.mint_batch(mill, slot="day")
    thread.join()

    assert (minted.made, minted.already, minted.wanted) == (0, True, 8)
    assert verify(minted.folder) == []
    assert "is already at it" in capsys.readouterr().err
    assert len(watch.read(mill.layout.watch(mill.recipe.name))) == 1


def test_waiting_for_another_process_has_an_end(
    mill: Mill, made: Version, bundles: list[Bundle], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that hangs is named after ten minutes; nothing else is touched."""
    monkeypatch.setattr(generate, "_WAIT_SECONDS", 0.5)
    called = names(_request(mill), bundles[0].digest)
    folder = mill.layout.batches(mill.recipe.name) / called.batch_id
    with run_lock(folder / ".lock", "hanging"), pytest.raises(BusyError):
        generate.mint_batch(mill, slot="day")


def test_what_a_kill_left_untold_is_told_by_the_same_command(
    mill: Mill, made: Version, bundles: list[Bundle]
) -> None:
    """A batch that is complete, but without its tag, row and notice, gets them, once."""
    left = _mint(mill, bundles[0], lambda _: None)
    for _ in range(2):
        minted, _ = generate.mint_batch(mill, slot="day")

    assert (minted.already, minted.folder) == (True, left.folder)
    version = registry.by_number(mill.settings, mill.recipe.name, 1)
    assert version.tags[f"batch.{left.batch_id}"] == str(left.folder)
    assert len(watch.read(mill.layout.watch(mill.recipe.name))) == 1
    assert _notices(mill) == ["batch.delivered"]


def test_a_kill_before_the_notice_loses_no_notice(mill: Mill, made: Version) -> None:
    """The batch is watched and tagged, nobody was told: the same command tells, once."""
    generate.mint_batch(mill, slot="day")
    mill.layout.notices.unlink()
    for _ in range(2):
        generate.mint_batch(mill, slot="day")

    assert _notices(mill) == ["batch.delivered"]


@pytest.mark.parametrize(("key", "value"), [("count", 0), ("count", "4"), ("seed", -1)])
def test_what_a_form_may_hold_is_checked(mill: Mill, key: str, value: object) -> None:
    """Prefect's form takes anything; what is impossible is refused before anything is made."""
    given: dict[str, Any] = {"count": None, "seed": None, key: value}
    with pytest.raises(UsageError, match=rf"{key} is {value!r}; it must be"):
        generate.campaign_of("r", mill.recipe.assets, "default", **given)


def test_a_batch_that_strikes_is_held(mill: Mill, blank: Bundle, server_layout: Layout) -> None:
    """The command fails, the notice says held, and production stands until somebody resumes it."""
    name = mill.recipe.name
    _promote(mill, _register(mill, blank, server_layout), None)
    rule = mill.recipe.gate.watch.model_copy(update={"min_accepted": 0.5, "violations": 1})
    gate = mill.recipe.gate.model_copy(update={"watch": rule})
    strict = replace(mill, recipe=mill.recipe.model_copy(update={"gate": gate}))

    with pytest.raises(GateError, match="is held: production is on hold: 1 of the last 1 batches"):
        generate.mint_batch(strict, slot="day")
    assert _notices(mill) == ["batch.held"]
    assert ledger.production_hold(ledger.read(mill.layout.ledger), name) is not None
    with pytest.raises(ApprovalError, match="on hold since"):
        generate.mint_batch(strict, slot="next")


def test_a_named_campaign_gets_what_it_asks_for(mill: Mill, made: Version) -> None:
    """Its segment has its count and taste; the day's own batch is another one."""
    minted, _ = generate.mint_batch(mill, campaign="twins", slot="day")
    rows = [row for row in read_rows(minted.folder / MANIFEST) if row.verdict == "accepted"]

    assert {(row.segment, row.class_, row.campaign) for row in rows} == {("fans", "b", "twins")}
    assert (minted.wanted, minted.accepted, len(rows)) == (2, 2, 2)
    assert generate.mint_batch(mill, slot="day")[0].folder != minted.folder


def test_a_campaign_that_is_not_there_is_named(mill: Mill, made: Version) -> None:
    """So are those that are; a count that the segments set is not overruled."""
    with pytest.raises(UsageError, match=r"campaigns has no 'twin'. Known: default, twins"):
        generate.mint_batch(mill, campaign="twin")
    with pytest.raises(UsageError, match="segments of campaign 'twins' say how many"):
        generate.mint_batch(mill, campaign="twins", count=9)


def test_a_batch_short_of_its_quota_is_delivered_and_told(
    mill: Mill, blank: Bundle, server_layout: Layout
) -> None:
    """What passed is there; how many are missing, and why, is said."""
    _promote(mill, _register(mill, blank, server_layout), None)
    minted, _ = generate.mint_batch(mill, slot="day")

    assert (minted.accepted, minted.short, minted.candidates) == (0, 8, 8)
    assert {row.verdict for row in read_rows(minted.folder / MANIFEST)} == {"blank"}
    assert "0 of 8 assets" in mill.layout.notices.read_text()


def test_a_batch_goes_to_the_sink_of_its_campaign(
    mill: Mill, made: Version, tmp_path: Path
) -> None:
    """It is there when the command ends, and minting again publishes nothing twice."""
    assets = mill.recipe.assets.model_copy(update={"sink": str(tmp_path / "sink"), "form": "zip"})
    with_sink = replace(mill, recipe=mill.recipe.model_copy(update={"assets": assets}))
    minted, _ = generate.mint_batch(with_sink, slot="day")
    (archive,) = (tmp_path / "sink").rglob("*.zip")
    before = archive.stat().st_mtime_ns
    generate.mint_batch(with_sink, slot="day")

    with zipfile.ZipFile(archive) as packed:
        pictures = [name for name in packed.namelist() if name.endswith(".png")]
    assert len(pictures) >= minted.accepted
    assert archive.stat().st_mtime_ns == before


def test_a_batch_that_a_person_must_see_waits(mill: Mill, made: Version) -> None:
    """Nothing is published, the notice and the line on the terminal say which command goes on."""
    assets = mill.recipe.assets.model_copy(
        update={"sink": str(mill.layout.root / "sink"), "review": True}
    )
    strict = replace(mill, recipe=mill.recipe.model_copy(update={"assets": assets}))
    generate.mint_batch(strict, slot="day")

    assert not (mill.layout.root / "sink").exists()
    assert _notices(mill) == ["batch.waiting"]
    assert "ganmill review" in mill.layout.notices.read_text()


def test_a_cluster_makes_the_same_files(mill: Mill, made: Version) -> None:
    """A request that is minted on a Dask cluster has the bytes of threads on this machine."""
    from distributed import LocalCluster

    def files(where: Mill) -> dict[str, str]:
        minted, _ = generate.mint_batch(where, slot="day")
        rows = read_rows(minted.folder / MANIFEST)
        return {file.path: file.sha256 for row in rows for file in row.files}

    here = files(mill)
    with LocalCluster(  # type: ignore[no-untyped-call]
        n_workers=1, processes=False, dashboard_address=None
    ) as cluster:
        settings = mill.settings.model_copy(update={"dask_scheduler": cluster.scheduler_address})
        shutil.rmtree(mill.layout.batches(mill.recipe.name))
        there = files(replace(mill, settings=settings))
    assert here == there
    assert len(here) == 8


def test_a_campaign_may_try_the_challenger(mill: Mill, newer: Version) -> None:
    """Its assets say which version made them, and the watch does not judge production by them."""
    assets = mill.recipe.assets.model_copy(update={"model": "challenger"})
    trial = replace(mill, recipe=mill.recipe.model_copy(update={"assets": assets}))
    with pytest.raises(UsageError, match="no challenger at present"):
        generate.mint_batch(trial, slot="day")
    registry.set_alias(mill.settings, mill.recipe.name, "challenger", newer.number)
    minted, version = generate.mint_batch(trial, slot="day")

    assert version.number == newer.number == 2
    assert {row.model_version for row in read_rows(minted.folder / MANIFEST)} == {"2"}
    assert watch.read(mill.layout.watch(mill.recipe.name)) == []
    assert _notices(mill) == ["batch.delivered"]


def test_what_a_request_would_take_is_told_before(mill: Mill, made: Version) -> None:
    """A dry run names the batch that the same request makes then, and leaves nothing behind."""
    found = minting_outlook.expect(mill, "twins", count=None, seed=None, slot="day")
    assert not mill.layout.batches(mill.recipe.name).exists()
    minted, _ = generate.mint_batch(mill, campaign="twins", slot="day")

    assert (found.batch, found.is_there) == (minted.batch_id, False)
    assert found.wanted == {"fans": {"b": 2}}
    assert found.candidates <= found.most_candidates == 2
    assert found.seconds > 0
    assert found.bytes > 0
    assert minting_outlook.expect(mill, "twins", count=None, seed=None, slot="day").is_there
