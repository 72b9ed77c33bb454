"""Promotions against a real registry: refused when stale, mended when others had a hand in it."""

import logging
import shutil
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from mlflow import MlflowClient

from flows import ledger, registry, release
from flows.registry import Version
from flows.settings import Settings
from flows.tracking import TrackedRun, open_run
from gan.durable import verify_sums
from gan.errors import ApprovalError, BusyError, DamagedError, GanmillError, UsageError
from gan.paths import Layout

EVIDENCE = "e" * 64


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """Return a workspace with an empty ledger."""
    return Layout(tmp_path / "work")


@pytest.fixture(scope="module")
def run(mlflow_settings: Settings, server_layout: Layout) -> TrackedRun:
    """Return the training run that all versions here say they come from."""
    return open_run(server_layout, mlflow_settings, "release", "r", {}, {})


@pytest.fixture
def made(
    request: pytest.FixtureRequest,
    layout: Layout,
    mlflow_settings: Settings,
    run: TrackedRun,
    make_bundle: Callable[[str], Path],
) -> list[Version]:
    """Return three versions of a recipe of this test's own, whose files are fetched already."""
    recipe = request.node.name.replace("[", "-").replace("]", "")[:60].rstrip("-_")
    client = _client(mlflow_settings)
    client.create_registered_model(recipe)
    for word in "abc":
        folder = make_bundle(word)
        digest = verify_sums(folder)
        shutil.copytree(folder, layout.bundle_store / digest)
        tags = {"bundle_digest": digest, "data_version": "1.dir", "git_revision": "abc"}
        client.create_model_version(recipe, f"runs:/{run.run_id}/bundle", run.run_id, tags=tags)
    return registry.versions(mlflow_settings, recipe)[::-1]


def _client(settings: Settings) -> MlflowClient:
    """Return MLflow's own client, with which others may do what they like."""
    return MlflowClient(tracking_uri=settings.mlflow_url, registry_uri=settings.mlflow_url)


def _promote(
    layout: Layout, settings: Settings, version: Version, expected: int | None
) -> release.Promoted:
    return release.promote(
        layout,
        settings,
        version.recipe,
        version,
        evidence_digest=EVIDENCE,
        actor="Ada",
        reason="better",
        expected_champion=expected,
    )


def _events(layout: Layout) -> list[str]:
    return [entry.event for entry in ledger.read(layout.ledger)]


def _champion(settings: Settings, version: Version) -> int | None:
    found = registry.by_alias(settings, version.recipe, "champion")
    return found.number if found else None


def test_promote_then_roll_back(
    layout: Layout, mlflow_settings: Settings, made: list[Version]
) -> None:
    """The champion moves forth, and back step by step; the ledger tells all of it."""
    first = _promote(layout, mlflow_settings, made[0], None)
    _promote(layout, mlflow_settings, made[1], 1)
    third = _promote(layout, mlflow_settings, made[2], 2)
    back = release.rollback(layout, mlflow_settings, made[0].recipe, actor="Bo", reason="ugly")
    again = release.rollback(layout, mlflow_settings, made[0].recipe, actor="Bo", reason="worse")

    assert (first.previous, third.previous, back.version, again.version) == (None, 2, 2, 1)
    assert _champion(mlflow_settings, made[0]) == 1
    assert _events(layout) == ["intend", "done"] * 3 + ["intend-rollback", "rollback"] * 2
    done = ledger.read(layout.ledger)[1]
    assert (done.to_digest, done.evidence_digest) == (made[0].digest, EVIDENCE)
    assert (done.data_version, done.git_revision, done.actor) == ("1.dir", "abc", "Ada")
    with pytest.raises(UsageError, match="no earlier champion"):
        release.rollback(layout, mlflow_settings, made[0].recipe, actor="Bo", reason="x")


def test_stale_or_unsigned_is_refused(
    layout: Layout, mlflow_settings: Settings, made: list[Version]
) -> None:
    """Evidence about another champion, no evidence, no name or no reason: nothing moves."""
    _promote(layout, mlflow_settings, made[0], None)
    with pytest.raises(ApprovalError, match="compares with champion none, but it is v1 now"):
        _promote(layout, mlflow_settings, made[1], None)
    for missing in ("evidence_digest", "actor", "reason"):
        words = {"evidence_digest": EVIDENCE, "actor": "A", "reason": "r", missing: ""}
        with pytest.raises(ApprovalError):
            release.promote(
                layout,
                mlflow_settings,
                made[1].recipe,
                made[1],
                evidence_digest=words["evidence_digest"],
                actor=words["actor"],
                reason=words["reason"],
                expected_champion=1,
            )

    release.decline(
        layout, made[1], event="reject", evidence_digest=EVIDENCE, actor="gate", reason="worse"
    )
    assert _champion(mlflow_settings, made[0]) == 1
    assert _events(layout) == ["intend", "done", "reject"]


def test_a_version_that_is_gone_or_another_is_refused(
    layout: Layout, mlflow_settings: Settings, made: list[Version]
) -> None:
    """The version that is promoted is the one that was gated, by digest."""
    registry.tag_version(mlflow_settings, made[1], {"bundle_digest": "f" * 64})
    with pytest.raises(DamagedError, match="another bundle digest"):
        _promote(layout, mlflow_settings, made[1], None)
    gone = Version(made[0].recipe, 99, "a" * 64, "", "", {})
    with pytest.raises(DamagedError, match="v99 is gone"):
        _promote(layout, mlflow_settings, gone, None)
    assert _events(layout) == []


def test_of_two_promotions_at_once_one_wins(
    layout: Layout, mlflow_settings: Settings, made: list[Version]
) -> None:
    """The other one is told, whether it came during or after."""
    results: list[object] = []

    def work(version: Version) -> None:
        try:
            results.append(_promote(layout, mlflow_settings, version, None))
        except (ApprovalError, BusyError) as error:
            results.append(error)

    threads = [threading.Thread(target=work, args=(version,)) for version in made]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    (won,) = [result for result in results if isinstance(result, release.Promoted)]
    assert _champion(mlflow_settings, made[0]) == won.version
    assert _events(layout) == ["intend", "done"]


@pytest.mark.parametrize("alias_moved", [False, True])
def test_both_sides_of_the_alias_are_repaired(
    layout: Layout, mlflow_settings: Settings, made: list[Version], *, alias_moved: bool
) -> None:
    """The exact files that a kill leaves on either side of the alias end as one whole promotion."""
    _promote(layout, mlflow_settings, made[0], None)
    _leave_intent(layout, made[1], 1)
    if alias_moved:
        registry.set_alias(mlflow_settings, made[1].recipe, "champion", 2)

    promoted = _promote(layout, mlflow_settings, made[2], 2)  # finishes v2 first, by itself

    assert promoted.previous == 2
    assert _events(layout) == ["intend", "done"] * 3


def test_an_intent_that_no_longer_holds_is_undone(
    layout: Layout, mlflow_settings: Settings, made: list[Version]
) -> None:
    """If the champion was moved by hand, or the version is gone, the alias is left as it is."""
    _promote(layout, mlflow_settings, made[0], None)
    _leave_intent(layout, made[1], 1)
    registry.set_alias(mlflow_settings, made[0].recipe, "champion", 3)
    assert release.finish(layout, mlflow_settings, made[0].recipe) == "undone"
    assert _champion(mlflow_settings, made[0]) == 3
    _leave_intent(layout, Version(made[0].recipe, 77, "a" * 64, "", "", {}), 3)
    assert release.finish(layout, mlflow_settings, made[0].recipe) == "undone"

    reasons = [entry.reason for entry in ledger.read(layout.ledger) if entry.event == "undone"]
    assert "v3, moved by hand" in reasons[0]
    assert "v77 is gone" in reasons[1]


def test_what_is_let_out_is_what_was_judged_byte_for_byte(
    layout: Layout, mlflow_settings: Settings, made: list[Version]
) -> None:
    """A file altered after the verdict stops the promotion, and a rollback passes over it."""
    _promote(layout, mlflow_settings, made[0], None)
    _promote(layout, mlflow_settings, made[1], 1)
    _promote(layout, mlflow_settings, made[2], 2)
    (layout.bundle_store / made[1].digest / "card.json").write_text("{}")

    with pytest.raises(DamagedError, match=r"card\.json"):
        _promote(layout, mlflow_settings, made[1], 3)
    assert _champion(mlflow_settings, made[0]) == 3
    back = release.rollback(layout, mlflow_settings, made[0].recipe, actor="Bo", reason="ugly")
    assert back.version == 1
    assert "v2 cannot be minted from" in back.skipped[0]


def test_a_damaged_ledger_stops_promotion(
    layout: Layout, mlflow_settings: Settings, made: list[Version]
) -> None:
    """On a ledger whose chain does not hold, nothing is promoted."""
    _promote(layout, mlflow_settings, made[0], None)
    layout.ledger.write_bytes(layout.ledger.read_bytes().replace(b"Ada", b"Eve"))

    with pytest.raises(GanmillError, match="line 1 was altered"):
        _promote(layout, mlflow_settings, made[1], 1)
    assert _champion(mlflow_settings, made[0]) == 1


def _leave_intent(layout: Layout, version: Version, expected: int) -> None:
    entry = ledger.Entry(
        event="intend",
        recipe=version.recipe,
        actor="Ada",
        reason="better",
        from_version=expected,
        to_version=version.number,
        to_digest=version.digest,
    )
    ledger.append(layout.ledger, entry)


def _serving(layout: Layout, settings: Settings, made: list[Version]) -> int | None:
    found = release.serving(layout, settings, made[0].recipe)
    return found.number if found else None


def test_production_gets_what_alias_and_ledger_agree_on(
    layout: Layout, mlflow_settings: Settings, made: list[Version]
) -> None:
    """No champion yet is no error; then it is the version last promoted or rolled back to."""
    assert _serving(layout, mlflow_settings, made) is None
    _promote(layout, mlflow_settings, made[0], None)
    assert _serving(layout, mlflow_settings, made) == 1
    _promote(layout, mlflow_settings, made[1], 1)
    assert _serving(layout, mlflow_settings, made) == 2
    release.rollback(layout, mlflow_settings, made[0].recipe, actor="Bo", reason="ugly")
    assert _serving(layout, mlflow_settings, made) == 1


def test_an_alias_without_a_word_of_the_ledger_is_no_champion(
    layout: Layout, mlflow_settings: Settings, made: list[Version]
) -> None:
    """Set by hand, it serves nothing until somebody has it promoted, the very same version too."""
    registry.set_alias(mlflow_settings, made[0].recipe, "champion", 2)

    with pytest.raises(DamagedError, match=r"v2 champion.* no word of it.* --version 2"):
        _serving(layout, mlflow_settings, made)
    with pytest.raises(ApprovalError, match="champion none, but it is v2 now"):
        _promote(layout, mlflow_settings, made[1], None)
    _promote(layout, mlflow_settings, made[1], 2)

    assert _serving(layout, mlflow_settings, made) == 2
    assert _events(layout) == ["intend", "done"]


def test_an_alias_moved_by_hand_is_found_and_put_back(
    layout: Layout, mlflow_settings: Settings, made: list[Version]
) -> None:
    """The ledger's champion comes back by a rollback, or the other one is promoted by rule."""
    recipe = made[0].recipe
    _promote(layout, mlflow_settings, made[0], None)
    registry.set_alias(mlflow_settings, recipe, "champion", 3)

    with pytest.raises(DamagedError, match=r"v1 is champion by the ledger.* by hand to v3"):
        _serving(layout, mlflow_settings, made)
    back = release.rollback(layout, mlflow_settings, recipe, actor="Bo", reason="who was that?")
    assert (back.version, back.previous) == (1, 3)
    assert _serving(layout, mlflow_settings, made) == 1
    assert release.refused(layout, recipe, 3) == back.entry

    registry.drop_alias(mlflow_settings, recipe, "champion", 1)
    with pytest.raises(DamagedError, match=r"alias is gone, dropped by hand.* --version 1"):
        _serving(layout, mlflow_settings, made)
    _promote(layout, mlflow_settings, made[0], None)
    assert _serving(layout, mlflow_settings, made) == 1


def test_a_deleted_champion_is_found_and_rolled_back(
    layout: Layout, mlflow_settings: Settings, made: list[Version]
) -> None:
    """What was deleted behind our back serves nothing; a rollback passes over what is gone too."""
    recipe = made[0].recipe
    for version, expected in zip(made, (None, 1, 2), strict=True):
        _promote(layout, mlflow_settings, version, expected)
    for number in ("3", "2"):
        _client(mlflow_settings).delete_model_version(recipe, number)

    with pytest.raises(DamagedError, match=r"v3 is champion by the ledger but is gone.*rollback"):
        _serving(layout, mlflow_settings, made)
    back = release.rollback(layout, mlflow_settings, recipe, actor="Bo", reason="lost")

    assert (back.version, back.previous) == (1, 3)
    assert back.skipped == ("v2 is gone from the registry",)
    assert back.entry.reason == "lost (passed over: v2 is gone from the registry)"
    assert _serving(layout, mlflow_settings, made) == 1
    with pytest.raises(UsageError, match="no earlier champion"):
        release.rollback(layout, mlflow_settings, recipe, actor="Bo", reason="more")


def test_a_rollback_from_a_deleted_champion_is_finished_after_a_kill(
    layout: Layout, mlflow_settings: Settings, made: list[Version]
) -> None:
    """With no alias left, the open intent is completed all the same."""
    recipe = made[0].recipe
    _promote(layout, mlflow_settings, made[0], None)
    _promote(layout, mlflow_settings, made[1], 1)
    _client(mlflow_settings).delete_model_version(recipe, "2")
    intent = ledger.read(layout.ledger)[0]
    ledger.append(layout.ledger, replace(intent, event="intend-rollback", from_version=2))

    assert release.finish(layout, mlflow_settings, recipe) == "completed"
    assert _serving(layout, mlflow_settings, made) == 1


def test_another_bundle_under_the_champions_number_is_found(
    layout: Layout, mlflow_settings: Settings, made: list[Version]
) -> None:
    """A rollback leaves it, and passes over a version that a person refused meanwhile."""
    recipe = made[0].recipe
    for version, expected in zip(made, (None, 1, 2), strict=True):
        _promote(layout, mlflow_settings, version, expected)
    registry.tag_version(mlflow_settings, made[2], {"bundle_digest": "f" * 64})
    said = release.decline(
        layout, made[1], event="reject", evidence_digest=EVIDENCE, actor="Bo", reason="blurred"
    )

    with pytest.raises(DamagedError, match=r"v3 is of bundle ffffffffffff.* another bundle digest"):
        _serving(layout, mlflow_settings, made)
    assert release.refused(layout, recipe, 2) == said
    back = release.rollback(layout, mlflow_settings, recipe, actor="Bo", reason="odd")
    assert (back.version, back.skipped) == (1, ("v2 was taken back by Bo",))


def test_what_a_person_refused_stays_refused(
    layout: Layout, mlflow_settings: Settings, made: list[Version]
) -> None:
    """The gate's own `reject` is judged again; a person's, or a rollback, until a promotion."""
    recipe = made[0].recipe
    release.decline(
        layout, made[1], event="reject", evidence_digest=EVIDENCE, actor="ganmill", reason="worse"
    )
    assert release.refused(layout, recipe, 2) is None
    _promote(layout, mlflow_settings, made[0], None)
    _promote(layout, mlflow_settings, made[1], 1)
    back = release.rollback(layout, mlflow_settings, recipe, actor="ganmill", reason="watched")
    assert release.refused(layout, recipe, 2) == back.entry
    assert release.refused(layout, recipe, 1) is None
    _promote(layout, mlflow_settings, made[1], 1)
    assert release.refused(layout, recipe, 2) is None


def test_a_promotion_under_way_is_waited_for(
    layout: Layout, mlflow_settings: Settings, made: list[Version]
) -> None:
    """Who asks between alias and ledger gets the new champion; a dead promotion is named."""
    _promote(layout, mlflow_settings, made[0], None)
    _leave_intent(layout, made[1], 1)
    assert _serving(layout, mlflow_settings, made) == 1  # its alias has not moved
    registry.set_alias(mlflow_settings, made[0].recipe, "champion", 2)
    timer = threading.Timer(0.5, release.finish, (layout, mlflow_settings, made[0].recipe))
    timer.start()
    assert _serving(layout, mlflow_settings, made) == 2
    timer.join()

    _leave_intent(layout, made[2], 2)
    registry.set_alias(mlflow_settings, made[0].recipe, "champion", 3)
    began = time.monotonic()
    with pytest.raises(
        DamagedError, match=r"v3 by Ada was begun and not ended\. Run: ganmill recon"
    ):
        _serving(layout, mlflow_settings, made)
    assert time.monotonic() - began < 5


def test_versions_carry_the_digest_of_their_line(
    layout: Layout,
    mlflow_settings: Settings,
    made: list[Version],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """So a ledger that lost its end is found; a copy that MLflow missed comes with the next try."""
    recipe = made[0].recipe
    first = _promote(layout, mlflow_settings, made[0], None)
    whole = layout.ledger.read_bytes()
    second = _promote(layout, mlflow_settings, made[1], 1)
    tags = registry.by_number(mlflow_settings, recipe, 2).tags
    assert tags["ledger_digest"] == second.entry.digest
    assert tags["evidence_digest"] == EVIDENCE
    assert (tags["promoted_by"], tags["promoted_at"]) == ("Ada", second.entry.time_utc)

    registry.tag_version(mlflow_settings, made[1], {"ledger_digest": first.entry.digest})
    away = mlflow_settings.model_copy(update={"mlflow_tracking_uri": "http://127.0.0.1:9"})
    caplog.set_level(logging.WARNING)
    assert release.finish(layout, away, recipe) == "nothing"  # MLflow away: said, no error
    assert "127.0.0.1:9" in caplog.text
    assert release.finish(layout, mlflow_settings, recipe) == "nothing"
    tags = registry.by_number(mlflow_settings, recipe, 2).tags
    assert tags["ledger_digest"] == second.entry.digest

    layout.ledger.write_bytes(whole)
    with pytest.raises(DamagedError, match=r"v2 carries the digest .*the ledger's end was cut off"):
        _serving(layout, mlflow_settings, made)


def test_production_is_held_and_resumed(layout: Layout) -> None:
    """By somebody and for a reason, once each; other recipes go on."""
    with pytest.raises(ApprovalError, match="cats: a name and a reason are needed"):
        release.hold(layout, "cats", actor=" ", reason="odd")
    with pytest.raises(UsageError, match="not on hold"):
        release.resume(layout, "cats", actor="Bo", reason="fine")
    held = release.hold(layout, "cats", actor="Bo", reason="odd")
    assert ledger.production_hold(ledger.read(layout.ledger), "cats") == held
    assert ledger.production_hold(ledger.read(layout.ledger), "dogs") is None
    with pytest.raises(UsageError, match=r"on hold already, by Bo \(odd\).* ganmill resume cats"):
        release.hold(layout, "cats", actor="Cy", reason="odd")
    release.resume(layout, "cats", actor="Bo", reason="fine")
    assert ledger.production_hold(ledger.read(layout.ledger), "cats") is None
    assert _events(layout) == ["hold-production", "resume-production"]
