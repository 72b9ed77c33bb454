"""What deserves a person's attention, and what does not."""

from dataclasses import replace
from datetime import timedelta

import pytest

from flows.monitor.rules import Finding, findings
from flows.monitor.snapshot import Late, Machine, Server, Snapshot, Totals, Waiting
from gan.sections.production import AlertsSpec
from tests.flows.monitor.sights import (
    GIGABYTE,
    KEY,
    NOW,
    ago,
    product,
    run,
    schedules,
    snapshot,
)


def _found(seen: Snapshot, kind: str) -> list[Finding]:
    """Return what the rule of a kind finds, with no other rule finding anything."""
    by_kind = findings(seen)
    assert not [name for name, found in by_kind.items() if found and name != kind]
    found = by_kind[kind]
    assert found is not None
    return found


def test_where_all_is_well_nothing_is_found() -> None:
    """A mill that works raises no alert of any kind."""
    assert not any(findings(snapshot()).values())


def test_what_cannot_be_looked_at_is_neither_well_nor_ill() -> None:
    """A rule whose facts are away says that it cannot tell, and the rules of the rest go on."""
    dark = snapshot(schedules=None, products=None, machine=None, certificates=None)

    by_kind = findings(dark)
    unknown = {kind for kind, found in by_kind.items() if found is None}

    assert unknown == {
        "no-batch", "old-champion", "approval", "failing", "late", "worker", "disk", "certificate",
    }  # fmt: skip
    assert by_kind["server"] == []


@pytest.mark.parametrize(("hours", "is_found"), [(23.9, False), (24.0, True)])
def test_no_batch_by_the_hour(*, hours: float, is_found: bool) -> None:
    """A recipe that wants a batch a day is told of from the hour on that a day is over."""
    wanted = product(
        alerts=AlertsSpec(no_batch_hours=24), totals=Totals(delivered=ago(hours=hours))
    )

    found = _found(snapshot(products=(wanted,)), "no-batch")

    assert bool(found) == is_found
    if found:
        assert found[0].recipe == "stickers"
        assert "the last batch was delivered 2027-02-28 12:00 UTC" in found[0].says
        assert found[0].mend.endswith("ganmill generate stickers")


def test_no_batch_ever_counts_from_the_champion_or_from_the_first_look() -> None:
    """A recipe that never delivered anything is no less silent than one that stopped."""
    wanted = AlertsSpec(no_batch_hours=24)
    never = product(alerts=wanted, totals=Totals())
    new = product(alerts=wanted, totals=Totals(), champion=None, watched=ago(hours=3))

    assert "no batch was delivered" in _found(snapshot(products=(never,)), "no-batch")[0].says
    assert not _found(snapshot(products=(new,)), "no-batch")


def test_a_silent_recipe_on_hold_says_that_it_is_on_hold() -> None:
    """The mend of a missing batch is to resume, where somebody held production."""
    held = product(
        alerts=AlertsSpec(no_batch_hours=1),
        totals=Totals(delivered=ago(hours=5)),
        held=ago(hours=4),
    )

    (found,) = _found(snapshot(products=(held,)), "no-batch")

    assert "on hold since 2027-03-01 08:00 UTC" in found.says
    assert "ganmill resume stickers" in found.mend


@pytest.mark.parametrize(("days", "is_found"), [(1.9, True), (2.1, False)])
def test_a_champion_older_than_wanted(*, days: float, is_found: bool) -> None:
    """A recipe may ask to be told when its champion gets old."""
    wanted = product(alerts=AlertsSpec(champion_days=days))

    assert bool(_found(snapshot(products=(wanted,)), "old-champion")) == is_found


def test_an_approval_that_waits() -> None:
    """A version that waits for a person for twelve hours is told of, by default."""
    old = product(waiting=Waiting(5, ago(hours=12)))
    new = product(waiting=Waiting(5, ago(hours=11)))
    never = product(waiting=Waiting(5, ago(days=9)), alerts=AlertsSpec(approval_hours=None))

    (found,) = _found(snapshot(products=(old, replace(new, name="a"), replace(never, name="b"))),
                      "approval")  # fmt: skip

    assert "v5 passed the gate" in found.says
    assert "ganmill approve stickers" in found.mend


def test_a_scheduled_run_that_failed_is_told_with_its_reason_and_the_last_success() -> None:
    """Nobody watches a schedule: how it ended, why, and since when it has not worked."""
    message = "Flow run encountered an exception: ContractError: 3 images are broken"
    failed = run("failed", message=message)

    (found,) = _found(snapshot(schedules=schedules(failed)), "failing")

    assert found.key == "failing/retrain stickers"
    assert found.says == (
        "stickers: the last retrain failed 2027-03-01 09:00 UTC: ContractError: 3 images are "
        "broken (the last that succeeded ended 2027-02-28 12:00 UTC)."
    )
    assert found.mend == "Mend the cause, then: ganmill retrain stickers"


@pytest.mark.parametrize(
    "told",
    [
        run("failed", is_by_hand=True),
        run("cancelled"),
        run("failed", message="Flow run encountered an exception: GateError: v4 is worse"),
        run("failed", message="Flow run encountered an exception: ApprovalError: on hold"),
    ],
)
def test_what_somebody_knows_already_is_not_told_again(told: object) -> None:
    """A run by hand, one that a person cancelled, and the gate's own word have told themselves."""
    assert not _found(snapshot(schedules=schedules(told)), "failing")  # type: ignore[arg-type]


def test_each_campaign_is_told_by_its_own_command() -> None:
    """A failing campaign is named, and so is how to mint it by hand."""
    failed = run("crashed", key=("generate", "stickers", "chat"))

    (found,) = _found(snapshot(schedules=schedules(failed)), "failing")

    assert found.says.startswith("stickers:chat: the last generate crashed")
    assert found.mend.endswith("ganmill generate stickers --campaign chat")


def test_a_slot_that_passed_without_a_run() -> None:
    """A run that is due for ten minutes, with nothing running in its place, is told once."""
    first = Late(KEY, ago(minutes=90), is_queued=False)
    second = Late(KEY, ago(minutes=30), is_queued=False)
    fresh = Late(("drift", "stickers", ""), ago(minutes=9), is_queued=False)
    queued = Late(("generate", "stickers", ""), ago(hours=9), is_queued=True)

    late = (second, first, fresh, queued)
    (found,) = _found(snapshot(schedules=schedules(late=late)), "late")

    assert found.says == "stickers: retrain was due 2027-03-01 10:30 UTC and has not begun."


def test_a_pool_with_schedules_and_without_workers() -> None:
    """Where no worker lives nothing scheduled begins; a restart of a worker is no alert."""
    (found,) = _found(snapshot(schedules=schedules(workers=0)), "worker")

    assert found.about == "ganmill"
    assert found.patience_seconds >= 120


def test_a_server_that_is_away() -> None:
    """A server that does not answer is told, and where its last words are."""
    servers = (Server("prefect", "http://127.0.0.1:4200", None),)

    (found,) = _found(snapshot(servers=servers, schedules=None), "server")

    assert found.says == "prefect at http://127.0.0.1:4200 does not answer."
    assert ".ganmill/logs/prefect.log" in found.mend


@pytest.mark.parametrize(
    ("free", "total", "is_found"),
    [
        (19, 2000, True),  # 20 GB are enough for any disk
        (21, 2000, False),
        (4, 100, True),  # a twentieth of a disk of 100 GB
        (6, 100, False),
        (1.9, 8, True),  # 2 GB at least
        (2.1, 8, False),
    ],
)
def test_a_disk_nearly_full(*, free: float, total: float, is_found: bool) -> None:
    """Below a twentieth of the disk, but never for more than 20 GB nor for less than 2 GB."""
    machine = Machine(round(free * GIGABYTE), round(total * GIGABYTE))

    assert bool(_found(snapshot(machine=machine), "disk")) == is_found


def test_a_certificate_that_ends_within_a_month() -> None:
    """There is time to get the next one before nothing can be signed any more."""
    ends = {"a.pem": NOW + timedelta(days=29), "b.pem": NOW + timedelta(days=31)}

    (found,) = _found(snapshot(certificates=ends), "certificate")

    assert found.about == "a.pem"


def test_what_cannot_be_read_is_told() -> None:
    """A damaged ledger or a mistake in params.yaml is an alert: others may wait for it."""
    (found,) = _found(snapshot(problems={"ledger": "line 3 was altered."}), "unreadable")

    assert found.says == "ledger cannot be read: line 3 was altered."


def test_a_finding_reads_the_same_as_long_as_it_lasts() -> None:
    """No finding counts the hours: what is told again is the same sentence."""
    wanted = product(alerts=AlertsSpec(no_batch_hours=1), totals=Totals(delivered=ago(hours=5)))
    seen = snapshot(products=(wanted,), schedules=schedules(run("failed")))

    later = replace(seen, time=NOW + timedelta(hours=2))

    assert findings(seen) == findings(later)
