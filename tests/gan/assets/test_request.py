"""What is asked for, and the names that follow from it."""

import json
from pathlib import Path

import pytest

from gan.assets.batch import Marks, mint
from gan.assets.manifest import begun, verify
from gan.assets.request import Asked, Request, names, read_request
from gan.bundle import Bundle
from gan.durable import write_json
from gan.errors import DamagedError, UsageError
from gan.screening.references import References
from gan.sections import CampaignSpec, ScreensSpec, SegmentSpec
from tests.gan.assets.conftest import SPEC, asking

DIGEST = "ab" * 32


def test_names_are_golden() -> None:
    """A name never changes from one release to the next: batches out there are found by it."""
    screens = ScreensSpec(off_class=0.02, near_distance=2, past=10, copies=0.002)
    spec = CampaignSpec(rejection=0.02, screens=screens)
    called = names(Request("stickers", spec, "2026-11-21T10-00"), DIGEST)

    assert called.batch_id == "2026-11-21T10-00-faa8f60d"
    assert called.asset(0) == "e8a8997b400a0b83"


def test_all_that_changes_bytes_changes_the_batch() -> None:
    """Another recipe, slot, bundle, or anything of the campaign that shows is another batch."""
    plain = asking(64)
    changes: list[dict[str, object]] = [
        {"count": 63},
        {"seed": 2},
        {"size_px": 64},
        {"upscale": "nearest"},
        {"truncation": 0.7},
        {"rejection": 0.1},
        {"budget": 2.0},
        {"label": "made by AI"},
        {"platforms": ["png", "whatsapp"]},
        {"classes": {"cats": 2.0}},
        {"segments": {"teens": SegmentSpec(count=64)}},
        {"screens": ScreensSpec(copies=0.01)},
        {"background": "#000000"},
        {"emoji": {"cats": "x"}},
    ]
    others = [
        names(Request("stickers", plain.spec.model_copy(update=change), "slot"), DIGEST)
        for change in changes
    ]
    others += [
        names(Request("cards", plain.spec, "slot"), DIGEST),
        names(Request("stickers", plain.spec, "slot2"), DIGEST),
        names(Request("stickers", plain.spec, "slot", "daily"), DIGEST),
        names(plain, "cd" * 32),
        names(plain, DIGEST),
    ]

    assert len({other.batch_id for other in others}) == len(others)
    assert len({other.asset(0) for other in others}) == len(others)


def test_where_it_goes_and_who_asked_changes_no_name() -> None:
    """A retry under another flow run, or with another sink, finds the batch that was begun."""
    plain = names(asking(9), DIGEST)
    sent = asking(9, sink="s3://bucket", form="zip", review=True)
    retried = Request("stickers", asking(9).spec, "slot", lineage={"flow_run": "2"})

    assert names(sent, DIGEST) == plain
    assert names(retried, DIGEST) == plain


@pytest.mark.parametrize("slot", ["", "../up", ".hidden", "a/b", "x" * 65, "new\nline", "-flag"])
def test_a_slot_that_is_no_folder_name_is_refused(slot: str) -> None:
    """Nothing outside the batches' folder can be named."""
    with pytest.raises(UsageError, match="slot"):
        Request("stickers", SPEC, slot)


@pytest.mark.parametrize(("recipe", "campaign"), [("../x", "default"), ("stickers", "../x")])
def test_an_impossible_request_is_refused(recipe: str, campaign: str) -> None:
    """A recipe or a campaign that is no name is one line."""
    with pytest.raises(UsageError):
        Request(recipe, SPEC, "slot", campaign)


def test_a_request_left_by_a_kill_spoils_no_complete_batch(
    bundle: Bundle, batch: Path, marks: Marks, references: References
) -> None:
    """A kill after `batch.json` leaves it; the batch is sound, and the same call removes it."""
    asked = Asked(request=asking(5), bundle_digest=bundle.digest, past=[])
    write_json(batch / ".request.json", asked.document())

    assert read_request(batch) == asked
    assert verify(batch) == []
    assert begun(batch.parent) == []
    assert mint(bundle, asking(5), batch.parent, marks, references).already
    assert not (batch / ".request.json").exists()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"format": 1}, "is no request"),
        ({"request": {"recipe": "stickers", "spec": {"count": 0}, "slot": "s"}}, "is no request"),
        ({"request": {"recipe": "../x", "spec": {}, "slot": "s"}}, "is no request"),
        ({"past": [{"batch": "x"}]}, "is no request"),
        ({"bundle_digest": "ab" * 32}, "not for this one"),
        (None, "not readable JSON"),
    ],
)
def test_a_spoilt_request_is_named(
    batch: Path, bundle: Bundle, change: dict[str, object] | None, says: str
) -> None:
    """Nothing is minted by a request that is damaged, or that lies in another batch's folder."""
    asked = Asked(request=asking(5), bundle_digest=bundle.digest, past=[]).document()
    text = "{" if change is None else json.dumps(asked | change)
    (batch / ".request.json").write_text(text)

    with pytest.raises(DamagedError, match=says):
        read_request(batch)
