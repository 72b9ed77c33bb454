"""Letting a batch out: what blocks it, what goes, and that it goes once."""

import json
import os
import shutil
from pathlib import Path

import pytest

from flows import ledger
from flows.ledger import Entry
from flows.publish import publish, published
from flows.review.review import decide, reviewable
from gan.assets.files import Marks
from gan.assets.manifest import read_batch, verify
from gan.errors import ApprovalError, DamagedError, UsageError
from gan.marking.identity import Signing, open_identity
from gan.marking.statement import sign_statement
from gan.paths import Layout
from gan.sections import CampaignSpec
from tests.faults.seam import dying_at
from tests.gan.assets.batches import mint_batch

SPEC = CampaignSpec(sink="out", form="folder")
ASKED = SPEC.model_copy(update={"review": True})


@pytest.fixture(scope="module")
def _minted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Marks]:
    return mint_batch(tmp_path_factory.mktemp("minted"), 8, ("png", "whatsapp"))


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """Return a workspace."""
    return Layout(tmp_path)


@pytest.fixture
def batch(_minted: tuple[Path, Marks], layout: Layout) -> Path:
    """Return a batch in it that was not published."""
    name = _minted[0].name
    shutil.copytree(_minted[1].signing.folder, layout.signing)
    return Path(shutil.copytree(_minted[0], layout.batches("stickers") / name))


def out(layout: Layout, batch: Path) -> Path:
    """Return where it goes."""
    return layout.root / "out" / batch.name


def test_a_sound_batch_goes_out_once(layout: Layout, batch: Path) -> None:
    """Who put what where is a line; the same again does nothing and adds none."""
    first = publish(layout, batch, SPEC, actor="ada")
    again = publish(layout, batch, SPEC, actor="bob")
    other = publish(layout, batch, SPEC.model_copy(update={"sink": "more"}), actor="ada")

    assert (first.already, again.already, other.already) == (False, True, False)
    assert (first.line.actor, first.line.assets, first.rejected) == ("ada", 8, 0)
    assert published(batch) == [first.line, other.line]
    assert again.line == first.line
    assert json.loads((out(layout, batch) / "index.json").read_bytes())["batch"] == batch.name


@pytest.mark.parametrize("fault", ["missing", "altered", "extra", "renamed", "listing", "card"])
def test_anything_wrong_with_the_batch_blocks(fault: str, layout: Layout, batch: Path) -> None:
    """It is named, and nothing goes out."""
    path = sorted((batch / "png").iterdir())[2]
    named = path.name
    if fault == "missing":
        path.unlink()
    elif fault == "altered":
        path.write_bytes(path.read_bytes()[:-1] + b"\0")
    elif fault == "extra":
        (batch / "png" / "extra.png").write_bytes(path.read_bytes())
        named = "extra.png"
    elif fault == "renamed":
        path.rename(path.with_name("0" * 16 + ".png"))
    elif fault == "listing":
        named = "contents.json"
        path = batch / "whatsapp" / "cats-01" / named
        path.write_text(path.read_text().replace("cats", "dogs"))
    else:
        named = "batch.json"
        path = batch / named
        path.write_text(path.read_text().replace('"accepted": 8', '"accepted": 9'))

    with pytest.raises(DamagedError, match=named):
        publish(layout, batch, SPEC, actor="ada")
    assert not (layout.root / "out").exists()
    assert published(batch) == []


def test_what_somebody_else_signed_blocks(layout: Layout, batch: Path) -> None:
    """A batch may be altered and signed again, but not by a key of ours."""
    path = batch / "batch.json"
    card = json.loads(path.read_bytes())
    stranger = open_identity(Signing(layout.root / "stranger"))
    path.write_text(json.dumps(sign_statement(card, stranger)))

    assert verify(batch) == []  # whole it is
    with pytest.raises(DamagedError, match=r"batch\.json"):
        publish(layout, batch, SPEC, actor="ada")
    assert not (layout.root / "out").exists()


def test_a_review_that_is_asked_for_must_be_whole(layout: Layout, batch: Path) -> None:
    """Undecided assets block; with the last word it goes, and only what a person let through."""
    assets = [row.asset for row in reviewable(batch)]
    with pytest.raises(ApprovalError, match="8 of 8 assets wait"):
        publish(layout, batch, ASKED, actor="ada")
    decide(batch, accept=assets[1:], actor="eve")
    with pytest.raises(ApprovalError, match=f"1 of 8 assets wait.*{assets[0]}"):
        publish(layout, batch, ASKED, actor="ada")
    assert not (layout.root / "out").exists()

    decide(batch, reject=[assets[0]], actor="eve")
    done = publish(layout, batch, ASKED, actor="ada")
    assert (done.line.assets, done.rejected, done.line.reviewer) == (7, 1, "eve")
    gone = [path for path in out(layout, batch).rglob("*") if assets[0] in path.name]
    assert gone == []


def test_the_last_line_is_what_lies_there(layout: Layout, batch: Path) -> None:
    """Whole, without one, whole again: three lines, and the last says who did it."""
    asset = reviewable(batch)[0].asset
    publish(layout, batch, SPEC, actor="ada")
    decide(batch, reject=[asset], actor="eve")
    publish(layout, batch, SPEC, actor="ada")
    decide(batch, accept=[asset], actor="eve")
    publish(layout, batch, SPEC, actor="bob")

    assert [(line.assets, line.actor) for line in published(batch)] == [
        (8, "ada"), (7, "ada"), (8, "bob"),
    ]  # fmt: skip


def test_nothing_goes_out_while_production_is_on_hold(layout: Layout, batch: Path) -> None:
    """By hand neither; the message says who holds it and how to go on."""
    name = read_batch(batch).recipe
    ledger.append(layout.ledger, Entry("hold-production", name, "Ada", "wrong colours"))
    with pytest.raises(ApprovalError, match=r"on hold by Ada: wrong colours.*ganmill resume"):
        publish(layout, batch, SPEC, actor="bob")
    assert not out(layout, batch).exists()


def test_a_rejection_counts_without_being_asked_for(layout: Layout, batch: Path) -> None:
    """And one after publishing takes the asset back when the batch is published again."""
    assets = [row.asset for row in reviewable(batch)]
    publish(layout, batch, SPEC, actor="ada")
    decide(batch, reject=[assets[5]], actor="eve")
    done = publish(layout, batch, SPEC, actor="ada")

    assert (done.already, done.line.assets) == (False, 7)
    assert not list(out(layout, batch).rglob(f"{assets[5]}*"))
    assert len(published(batch)) == 2


def test_a_review_of_other_bytes_blocks(layout: Layout, batch: Path) -> None:
    """Whether or not one is asked for."""
    decide(batch, accept=["all"], actor="eve")
    review = json.loads((batch / "review.json").read_text())
    (batch / "review.json").write_text(json.dumps({**review, "batch_sha256": "0" * 64}))
    with pytest.raises(ApprovalError, match="changed since"):
        publish(layout, batch, SPEC, actor="ada")


def test_a_campaign_without_a_sink_is_told(layout: Layout, batch: Path) -> None:
    """Which key, and what may stand there."""
    with pytest.raises(UsageError, match=r"assets\.sink"):
        publish(layout, batch, CampaignSpec(), actor="ada")


def test_killed_anywhere_it_is_finished_by_the_same_call(layout: Layout, batch: Path) -> None:
    """The publication is whole and written down once, whatever was left behind."""
    spec = SPEC.model_copy(update={"form": "zip"})
    publish(layout, batch, spec.model_copy(update={"sink": "whole"}), actor="ada")
    whole = {
        path.name: path.read_bytes() for path in (layout.root / "whole" / batch.name).iterdir()
    }
    for nth in range(1, 60, 4):
        shutil.rmtree(layout.root / "out", ignore_errors=True)
        (batch / "published.jsonl").unlink(missing_ok=True)
        if (child := os.fork()) == 0:
            with dying_at(nth):
                publish(layout, batch, spec, actor="ada")
            os._exit(0)
        status = os.waitpid(child, 0)[1]
        publish(layout, batch, spec, actor="ada")
        found = {path.name: path.read_bytes() for path in out(layout, batch).iterdir()}
        assert found == whole
        assert len(published(batch)) == 1
        assert [path.name for path in (layout.root / "out").iterdir()] == [batch.name]
        if status == 0:
            break

    assert status == 0  # it was tried to the end
    assert nth > 10
