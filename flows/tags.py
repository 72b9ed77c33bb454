"""Promotions as annotated git tags, `<recipe>#production#<n>`, for whoever reads git.

Each is at the commit that the model was trained with, and carries the digest of its ledger line: a
ledger whose end was cut off is found by the tags that know more.
"""

import os
import re
import subprocess

from flows.ledger import Entry
from gan.errors import GanmillError, UsageError
from gan.paths import Layout

_STAGE = "production"
_DIGEST = "Ledger-Digest"
_COMMIT = re.compile(r"[0-9a-f]{7,64}")


def export(layout: Layout, entries: list[Entry]) -> list[str]:
    """Write a tag for each promotion and rollback that has none; return a line about each.

    Args:
        layout: The workspace, in a git repository.
        entries: The ledger from its beginning; a recipe's tags are numbered through it.

    Raises:
        UsageError: The workspace is in no git repository, or git does not know who tags.
        GanmillError: git refused for another reason.
    """
    if _git(layout, "rev-parse", "--git-dir").returncode:
        raise UsageError(f"{layout.root}: no git repository, so there is nothing to tag.")
    known = _known(layout)
    counts: dict[str, int] = {}
    said = []
    for entry in entries:
        if entry.event in {"done", "rollback"}:
            count = counts[entry.recipe] = counts.get(entry.recipe, 0) + 1
            said.append(_tag(layout, f"{entry.recipe}#{_STAGE}#{count}", entry, known))
    return said


def digests(layout: Layout) -> set[str]:
    """Return the digests of ledger lines that the tags carry; none outside of a git repository."""
    return set(_known(layout).values())


def _tag(layout: Layout, name: str, entry: Entry, known: dict[str, str]) -> str:
    """Write one tag if need be, and return what became of it."""
    if name in known:
        same = known[name] == entry.digest
        return f"{name} is there" if same else f"{name} is there for another ledger; left as it is"
    commit = entry.git_revision.removesuffix("-dirty")
    is_known = (
        _COMMIT.fullmatch(commit)
        and not _git(layout, "cat-file", "-e", f"{commit}^{{commit}}").returncode
    )
    if not is_known:
        found = f"revision {commit[:12]}" if commit else "no revision"
        return f"{name} skipped: ledger line {entry.seq} has {found}, which is not in this clone"
    # As it is, because git takes lines that begin with # for comments.
    words = ["tag", "--annotate", "--cleanup=verbatim", "--message", _message(entry), name, commit]
    done = _git(layout, *words)
    if done.returncode:
        reason = (done.stderr.strip() or "no reason given").splitlines()[-1]
        if "empty ident" in done.stderr or "tell me who you are" in done.stderr:
            raise UsageError("git does not know who tags. Set: git config user.name, user.email.")
        raise GanmillError(f"{layout.root}: git could not tag {name} ({reason}). Mend it, go on.")
    return f"{name} is v{entry.to_version} at {commit[:12]}"


def _message(entry: Entry) -> str:
    did = "promoted" if entry.event == "done" else f"rolled back to, from v{entry.from_version},"
    return (
        f"{entry.recipe} v{entry.to_version} {did} by {entry.actor}\n\n"
        f"{entry.reason}\n\n"
        f"Bundle-Digest: {entry.to_digest}\n"
        f"Evidence-Digest: {entry.evidence_digest or 'none'}\n"
        f"Data-Version: {entry.data_version or 'none'}\n"
        f"Ledger-Line: {entry.seq} of {entry.time_utc}\n"
        f"{_DIGEST}: {entry.digest}\n"
    )


def _known(layout: Layout) -> dict[str, str]:
    """Return the ledger digest of each of our tags, by its name."""
    form = f"%(refname:strip=2) %(contents:trailers:key={_DIGEST},valueonly,separator=)"
    done = _git(layout, "for-each-ref", f"--format={form}", f"refs/tags/*#{_STAGE}#*")
    rows = [line.rpartition(" ") for line in done.stdout.splitlines() if not done.returncode]
    return {name: digest for name, _, digest in rows if name}


def _git(layout: Layout, *words: str) -> "subprocess.CompletedProcess[str]":
    command = ["git", "-C", str(layout.root), *words]
    try:
        return subprocess.run(
            command,
            env={**os.environ, "LC_ALL": "C"},  # what it says of its user is looked for
            capture_output=True,
            text=True,
            check=False,
        )
    except FileNotFoundError as error:
        return subprocess.CompletedProcess(command, 127, "", str(error))
