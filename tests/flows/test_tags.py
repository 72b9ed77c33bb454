"""The ledger as git tags: in real repositories, made by real git."""

import os
import subprocess
from pathlib import Path

import pytest

from flows import ledger, tags
from flows.ledger import Entry
from gan.errors import UsageError
from gan.paths import Layout

_PERSON = ("-c", "user.name=Ada", "-c", "user.email=ada@example.org")


def _git(root: Path, *words: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(root), *words], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """Return a workspace in a git repository of two commits."""
    _git(tmp_path, "init", "-q")
    _git(tmp_path, "config", "user.name", "Ada")
    _git(tmp_path, "config", "user.email", "ada@example.org")
    for words in ("one", "two"):
        _git(tmp_path, "commit", "-q", "--allow-empty", "-m", words)
    return Layout(tmp_path)


def _entry(
    layout: Layout, event: ledger.Event, number: int, revision: str, recipe: str = "cats"
) -> Entry:
    entry = Entry(
        event=event, recipe=recipe, actor="Bo", reason="# sharper\nby far", from_version=7,
        to_version=number, to_digest="d" * 64, evidence_digest="e" * 64, git_revision=revision,
    )  # fmt: skip
    return ledger.append(layout.ledger, entry)


def test_each_promotion_becomes_a_tag_once(layout: Layout) -> None:
    """Tags count per recipe, are at the model's commit, and say all that the ledger line says."""
    first, second = _git(layout.root, "rev-parse", "HEAD~1", "HEAD").split()
    _entry(layout, "intend", 1, first)
    done = _entry(layout, "done", 1, f"{first}-dirty")
    other = _entry(layout, "done", 4, second, recipe="dogs")
    back = _entry(layout, "rollback", 3, second[:9])
    lost = _entry(layout, "done", 5, "0123456789")
    wild = _entry(layout, "done", 6, "--delete")
    entries = ledger.read(layout.ledger)

    said = tags.export(layout, entries)

    assert [line.split()[0] for line in said] == [
        "cats#production#1", "dogs#production#1",
        "cats#production#2", "cats#production#3", "cats#production#4",
    ]  # fmt: skip
    assert f"line {lost.seq} has revision 0123456789, which is not in this clone" in said[3]
    assert "skipped" in said[4]
    assert wild.digest not in tags.digests(layout)
    assert _git(layout.root, "rev-parse", "cats#production#1^{commit}") == first
    assert _git(layout.root, "rev-parse", "cats#production#2^{commit}") == second
    message = _git(layout.root, "tag", "-l", "--format=%(contents)", "cats#production#2")
    assert message.startswith("cats v3 rolled back to, from v7, by Bo\n\n# sharper\nby far\n")
    for word in ("d" * 64, "e" * 64, f"Ledger-Line: {back.seq} of {back.time_utc}", back.digest):
        assert word in message
    assert tags.digests(layout) == {done.digest, other.digest, back.digest}
    assert all(" is there" in line for line in tags.export(layout, entries)[:3])


def test_a_cut_off_ledger_is_found_by_its_tags(layout: Layout) -> None:
    """A ledger that lost its newest lines has a chain that holds, but the tags know more."""
    head = _git(layout.root, "rev-parse", "HEAD")
    _entry(layout, "done", 1, head)
    whole = layout.ledger.read_bytes()
    newest = _entry(layout, "done", 2, head)
    tags.export(layout, ledger.read(layout.ledger))
    assert ledger.missing_end(ledger.read(layout.ledger), tags.digests(layout)) == []

    layout.ledger.write_bytes(whole)
    assert ledger.missing_end(ledger.read(layout.ledger), tags.digests(layout)) == [newest.digest]
    _entry(layout, "done", 3, head)  # history goes on otherwise: the tag stays what it was
    said = tags.export(layout, ledger.read(layout.ledger))
    assert said[1] == "cats#production#2 is there for another ledger; left as it is"


def test_without_git_nothing_is_tagged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Outside of a repository, and where git knows nobody, the refusal is one line."""
    layout = Layout(tmp_path / "plain")
    layout.root.mkdir()
    done = _entry(layout, "done", 1, "")
    with pytest.raises(UsageError, match="no git repository"):
        tags.export(layout, [done])
    assert tags.digests(layout) == set()

    _git(layout.root, "init", "-q")
    _git(layout.root, *_PERSON, "commit", "-q", "--allow-empty", "-m", "one")
    nobody = {"HOME": str(tmp_path), "GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": os.devnull}
    for name, value in nobody.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("GIT_COMMITTER_NAME", "")
    head = _git(layout.root, "rev-parse", "HEAD")
    with pytest.raises(UsageError, match="git config user"):
        tags.export(layout, [_entry(layout, "done", 2, head)])
