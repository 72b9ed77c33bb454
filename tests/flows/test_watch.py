"""What happens when batches of production get worse: a row each, a rule, a hold or a rollback."""

import io
import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageChops

from flows import ledger, registry, release, watch
from flows.gate.records import CANARY, RECORD
from flows.ledger import Entry
from flows.registry import Version
from flows.settings import Settings
from flows.story import Lineage, Mill
from flows.tracking import open_run
from flows.watch import Row
from gan.assets.batch import Minted
from gan.assets.canary import attend
from gan.assets.manifest import BATCH, MANIFEST, read_batch, read_rows
from gan.bundle import Bundle
from gan.durable import sha256, write_atomically, write_json
from gan.errors import DamagedError, GanmillError
from gan.marking.identity import Signing, open_identity
from gan.marking.statement import sign_statement
from gan.paths import Layout
from gan.recipe import Recipe
from gan.sections import AssetsSpec, WatchSpec
from tests.gan.bundles import pack_untrained

NAME = "stickers"
EVIDENCE = "e" * 64


def _recipe(name: str = NAME, **rule: Any) -> Recipe:
    """Return a recipe whose watch has the given rule; its canary may not deviate at all."""
    rule = {"max_deviation": 0.0, **rule}
    return Recipe.model_validate(
        {
            "name": name,
            "data": {"source": "files", "path": "x"},
            "gate": {"watch": rule},
            "assets": {"count": 8, "size_px": 32},
        }
    )


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """Return a workspace with an empty ledger."""
    return Layout(tmp_path / "work")


@pytest.fixture
def alone(settings_on: Callable[..., Settings]) -> Settings:
    """Return settings of servers that are away: most of the watch needs none."""
    away = {
        "prefect_api_url": "http://127.0.0.1:9/api",
        "mlflow_tracking_uri": "http://127.0.0.1:9",
    }
    return settings_on().model_copy(update=away)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Return an untrained bundle."""
    return pack_untrained(tmp_path_factory.mktemp("bundle"), ["a", "b"], recipe=NAME)


def _mill(layout: Layout, settings: Settings, recipe: Recipe) -> Mill:
    return Mill(layout, settings, recipe, Lineage("run", "http://run", "a run"))


def _version(digest: str = "a" * 64, number: int = 1, recipe: str = NAME) -> Version:
    return Version(recipe, number, digest, "", "", {})


def _champion(layout: Layout, version: Version, evidence: str = EVIDENCE) -> Entry:
    """Write that a version became champion."""
    entry = Entry(
        event="done",
        recipe=version.recipe,
        actor="ganmill",
        reason="better",
        to_version=version.number,
        to_digest=version.digest,
        evidence_digest=evidence,
    )
    return ledger.append(layout.ledger, entry)


def _minted(name: str, accepted: int = 8, rejection: float = 0.0) -> Minted:
    """Return a batch of 8."""
    folder = Path("/assets") / name
    return Minted(
        batch_id=name,
        folder=folder,
        wanted=8,
        accepted=accepted,
        passed=accepted,
        candidates=8,
        rejection=rejection,
        made=8,
        already=False,
        seconds=0.1,
    )


def _row(number: int = 0, *, violated: bool = True) -> Row:
    return Row(
        batch=f"b{number}",
        version=1,
        bundle_digest="a" * 64,
        since=1,
        time_utc="",
        accepted_share=1.0,
        canary_deviation=None,
        violated=violated,
        reasons=[],
    )


@pytest.mark.parametrize(
    ("rows", "window", "violations", "strikes"),
    [
        ("", 5, 2, False),
        (".", 5, 1, False),
        ("x", 5, 1, True),
        ("x", 5, 2, False),
        ("xx", 5, 2, True),
        ("xx.", 5, 2, False),  # the latest is good again
        ("x...x", 5, 2, True),
        ("x....x", 5, 2, False),  # the first left the window
        ("xxxx.x", 2, 2, False),
        (".....xx", 2, 2, True),
        ("xx..x", 5, 3, True),
        ("xx..x", 4, 3, False),
        ("x", 1, 1, True),
        ("x.", 1, 1, False),
    ],
)
def test_the_rule(rows: str, window: int, violations: int, *, strikes: bool) -> None:
    """So many of the last so many, the latest among them; `x` is a batch that breaks a bound."""
    spec = WatchSpec(window=window, violations=violations)

    given = [_row(number, violated=mark == "x") for number, mark in enumerate(rows)]
    assert watch.verdict(given, spec) is strikes


def test_a_good_batch_leaves_a_row(layout: Layout, alone: Settings, bundle: Bundle) -> None:
    """It says which batch, of which version, and how it fared; asked again it stays one row."""
    version = _version(bundle.digest)
    _champion(layout, version)
    mill = _mill(layout, alone, _recipe())

    first = watch.observe(mill, version, bundle.folder, _minted("one"))
    again = watch.observe(mill, version, bundle.folder, _minted("one"))

    (row,) = watch.read(layout.watch(NAME))
    assert (first.is_new, again.is_new, first.then) == (True, False, "delivered")
    assert first.row == again.row == row
    assert (row.batch, row.version, row.bundle_digest) == ("one", 1, bundle.digest)
    assert (row.accepted_share, row.canary_deviation, row.violated) == (1.0, None, False)


def test_one_bad_batch_is_delivered_and_told(layout: Layout, alone: Settings) -> None:
    """What was found and wanted is said, and how far it is from a hold."""
    version = _version()
    _champion(layout, version)
    seen = watch.observe(
        _mill(layout, alone, _recipe()), version, Path("x"), _minted("one", accepted=3)
    )

    assert (seen.then, seen.row.violated) == ("delivered", True)
    assert seen.says == (
        "watch: batch one: 3 of 8 candidates pass, wanted are at least 80% (violation 1 in the "
        "last 1 batches; 2 of 5 end in hold)"
    )
    assert ledger.production_hold(ledger.read(layout.ledger), NAME) is None


def test_a_strike_holds_production(layout: Layout, alone: Settings) -> None:
    """The ledger says that ganmill held it and over which batch; the version stays champion."""
    version = _version()
    _champion(layout, version)
    mill = _mill(layout, alone, _recipe())
    for name, accepted in (("one", 3), ("two", 8), ("three", 8)):
        assert watch.observe(mill, version, Path("x"), _minted(name, accepted)).then == "delivered"
    seen = watch.observe(mill, version, Path("x"), _minted("four", accepted=0))

    held = ledger.production_hold(ledger.read(layout.ledger), NAME)
    assert held is not None
    assert (seen.then, held.actor) == ("held", "ganmill")
    assert held.reason.startswith("2 of the last 4 batches of v1 break a bound; the latest, four: ")
    assert held.reason in seen.says


def test_a_person_who_resumes_begins_the_count_anew(layout: Layout, alone: Settings) -> None:
    """The next bad batch is the first again; what was judged already does not count twice."""
    version = _version()
    _champion(layout, version)
    mill = _mill(layout, alone, _recipe())
    thens = [watch.observe(mill, version, Path("x"), _minted(n, 0)).then for n in ("a", "b")]
    release.resume(layout, NAME, actor="ada", reason="the filter was broken")
    thens += [watch.observe(mill, version, Path("x"), _minted(n, 0)).then for n in ("b", "c", "d")]

    assert thens == ["delivered", "held", "delivered", "delivered", "held"]


def test_only_batches_since_the_version_became_champion_count(
    layout: Layout, alone: Settings
) -> None:
    """Another version, or the same one before it was champion again, has a count of its own."""
    first, second = _version(), _version("b" * 64, number=2)
    mill = _mill(layout, alone, _recipe())
    thens = []
    for number, version in enumerate((first, second, first)):
        _champion(layout, version)
        thens.append(watch.observe(mill, version, Path("x"), _minted(f"{number}", 0)).then)

    assert thens == ["delivered"] * 3
    assert watch.observe(mill, first, Path("x"), _minted("last", 0)).then == "held"


def test_a_late_batch_of_a_former_champion_moves_nothing(layout: Layout, alone: Settings) -> None:
    """Who was minting while the champion changed does not hold the new one."""
    first, second = _version(), _version("b" * 64, number=2)
    _champion(layout, first)
    mill = _mill(layout, alone, _recipe())
    watch.observe(mill, first, Path("x"), _minted("one", 0))
    _champion(layout, second)

    assert watch.observe(mill, first, Path("x"), _minted("two", 0)).then == "delivered"
    assert ledger.production_hold(ledger.read(layout.ledger), NAME) is None


def test_a_row_without_its_consequence_is_judged_again(layout: Layout, alone: Settings) -> None:
    """A kill between the row and the hold is made good by the same command."""
    version = _version()
    line = _champion(layout, version)
    rows = [_row(n).model_copy(update={"since": line.seq}) for n in (1, 2)]
    layout.watch(NAME).parent.mkdir(parents=True)
    layout.watch(NAME).write_text("".join(f"{row.model_dump_json()}\n" for row in rows))
    seen = watch.observe(_mill(layout, alone, _recipe()), version, Path("x"), _minted("b2", 0))

    assert (seen.is_new, seen.then) == (False, "held")
    assert watch.read(layout.watch(NAME)) == rows


def test_two_processes_at_once_lose_no_row(layout: Layout, alone: Settings) -> None:
    """Each waits for its turn; the same batch from both is one row."""
    version = _version()
    _champion(layout, version)
    mill = _mill(layout, alone, _recipe())
    names = ["one", "two", "three", "one"]
    threads = [
        threading.Thread(target=watch.observe, args=(mill, version, Path("x"), _minted(name)))
        for name in names
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(row.batch for row in watch.read(layout.watch(NAME))) == sorted(set(names))


def test_a_damaged_row_stops_the_watch(layout: Layout, alone: Settings) -> None:
    """A row that cannot be read might be a violation: it is named, not left out."""
    layout.watch(NAME).parent.mkdir(parents=True)
    row = _row().model_dump_json()
    layout.watch(NAME).write_text(f"{row}\n{row[:40]}\n")

    with pytest.raises(DamagedError, match=r"stickers\.jsonl: line 2 is no row of the watch"):
        watch.observe(_mill(layout, alone, _recipe()), _version(), Path("x"), _minted("b"))


@pytest.fixture
def decided(layout: Layout, bundle: Bundle) -> tuple[Version, Path]:
    """Return a champion, and the canary that the gate's decision on it kept on this machine."""
    room = layout.gate(NAME) / "decision"
    digest = write_json(room / RECORD, {"a": "decision"})
    folder = room.rename(room.with_name(f"{bundle.digest[:12]}-{digest[:12]}"))
    spec, signing = AssetsSpec(size_px=32), Signing(layout.signing)
    attend(bundle.folder, NAME, spec, signing, folder / CANARY, io.StringIO(), io.StringIO())
    version = _version(bundle.digest)
    _champion(layout, version, digest)
    return version, folder / CANARY


def test_a_picky_campaign_is_no_violation(layout: Layout, alone: Settings) -> None:
    """What the critic was asked to set aside does not count; what fails beyond it does."""
    version, mill = _version(), _mill(layout, alone, _recipe())
    _champion(layout, version)
    picky = _minted("picky", accepted=5, rejection=0.25)  # 63 %, of 75 % that can pass
    few = _minted("few", accepted=4, rejection=0.25)

    assert not watch.observe(mill, version, Path("x"), picky).row.violated
    assert "wanted are at least 60%" in watch.observe(mill, version, Path("x"), few).says


def test_the_canary_of_the_gate_is_minted_again(
    layout: Layout, alone: Settings, bundle: Bundle, decided: tuple[Version, Path]
) -> None:
    """The same bundle on the same machine makes the same bytes: it deviates by nothing."""
    mill = _mill(layout, alone, _recipe())
    row = watch.observe(mill, decided[0], bundle.folder, _minted("one")).row

    assert (row.canary_deviation, row.violated) == (0.0, False)


def test_a_canary_that_comes_out_otherwise_is_a_violation(
    layout: Layout, alone: Settings, bundle: Bundle, decided: tuple[Version, Path]
) -> None:
    """Say after an update of a library: the difference is told in levels, with what is allowed."""
    version, kept = decided
    rows = read_rows(kept / MANIFEST)
    (file,) = rows[0].files
    asset = kept / file.path
    with Image.open(asset) as image:
        ImageChops.invert(image.convert("RGB")).save(asset)
    altered = file.model_copy(update={"sha256": sha256(asset)})
    rows[0] = rows[0].model_copy(update={"files": [altered]})
    digest = write_atomically(kept / MANIFEST, "".join(row.line() for row in rows).encode())
    card = read_batch(kept)
    card = card.model_copy(update={"digests": {**card.digests, MANIFEST: digest}})
    document = card.model_dump(mode="json", exclude={"signature"})
    write_json(kept / BATCH, sign_statement(document, open_identity(Signing(layout.signing))))
    row = watch.observe(
        _mill(layout, alone, _recipe(max_deviation=1.5)), version, bundle.folder, _minted("one")
    ).row

    assert row.violated
    assert row.canary_deviation is not None
    assert 1.5 < row.canary_deviation < 255 / 16
    levels = f"{row.canary_deviation:.1f} levels of 255"
    (said,) = row.reasons
    assert said == (
        f"the canary assets deviate by {levels} from those of the gate, allowed are 1.5"
    )


@pytest.mark.parametrize("harm", ["kept", "bundle"])
def test_a_canary_that_cannot_be_compared_is_a_violation(
    layout: Layout, alone: Settings, bundle: Bundle, decided: tuple[Version, Path], harm: str
) -> None:
    """Not knowing whether the model still makes what was approved is no sign of health."""
    folder = bundle.folder
    if harm == "kept":
        asset = next(decided[1].glob("[0-9a-f]*.png"))
        asset.write_bytes(asset.read_bytes()[:-1])
    else:
        folder = layout.root / "nothing"
    row = watch.observe(_mill(layout, alone, _recipe()), decided[0], folder, _minted("one")).row

    assert (row.canary_deviation, row.violated) == (None, True)
    assert row.reasons[0].startswith("the canary assets could not be compared: ")


@pytest.fixture
def made(
    request: pytest.FixtureRequest,
    layout: Layout,
    mlflow_settings: Settings,
    server_layout: Layout,
    make_bundle: Callable[[str], Path],
) -> list[Version]:
    """Return three versions of a recipe of this test's own, two of them champion one by one."""
    recipe = request.node.name.replace("_", "-")[:60].rstrip("-")
    found = []
    for word in ("one", "two"):
        run = open_run(server_layout, mlflow_settings, recipe, word, {}, {})
        found.append(registry.register(mlflow_settings, recipe, make_bundle(word), run, {}))
    expected = None
    for version in found:
        release.promote(
            layout,
            mlflow_settings,
            recipe,
            version,
            evidence_digest=EVIDENCE,
            actor="ada",
            reason="better",
            expected_champion=expected,
        )
        expected = version.number
    return found


def test_by_recipe_a_strike_takes_the_champion_back(
    layout: Layout, mlflow_settings: Settings, made: list[Version]
) -> None:
    """The one before it serves again, by alias and ledger; generation is told and follows."""
    first, second = made
    recipe = _recipe(second.recipe, then="rollback", violations=1)
    seen = watch.observe(_mill(layout, mlflow_settings, recipe), second, Path("x"), _minted("b", 0))

    serving = release.serving(layout, mlflow_settings, second.recipe)
    assert serving is not None
    assert (seen.then, serving.number) == ("rolled back", first.number)
    last = ledger.read(layout.ledger)[-1]
    assert (last.event, last.actor) == ("rollback", "ganmill")
    notice = json.loads(layout.notices.read_text().splitlines()[-1])
    assert notice["event"] == "model.rolled_back"
    assert notice["payload"] == {"version": 1, "digest": first.digest, "from": 2}
    assert ledger.production_hold(ledger.read(layout.ledger), second.recipe) is None


def test_without_an_earlier_champion_it_holds_instead(
    layout: Layout, mlflow_settings: Settings, made: list[Version]
) -> None:
    """There is nothing to go back to, and a bad model goes on making assets otherwise."""
    first, second = made
    release.rollback(layout, mlflow_settings, second.recipe, actor="ada", reason="blurred")
    recipe = _recipe(second.recipe, then="rollback", violations=1)
    seen = watch.observe(_mill(layout, mlflow_settings, recipe), first, Path("x"), _minted("b", 0))

    held = ledger.production_hold(ledger.read(layout.ledger), second.recipe)
    assert held is not None
    assert seen.then == "held"
    assert "no earlier champion" in held.reason


def test_a_hold_that_cannot_be_written_is_no_delivery(layout: Layout, alone: Settings) -> None:
    """Where the ledger takes no line, the caller hears of it."""
    version = _version()
    _champion(layout, version)
    mill = _mill(layout, alone, _recipe(violations=1))
    layout.ledger.with_suffix(".lock").unlink()
    layout.ledger.with_suffix(".lock").mkdir()

    with pytest.raises(GanmillError):
        watch.observe(mill, version, Path("x"), _minted("b", 0))
    layout.ledger.with_suffix(".lock").rmdir()
    assert watch.observe(mill, version, Path("x"), _minted("b", 0)).then == "held"
