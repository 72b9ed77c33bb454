"""What deserves a person's attention: a snapshot in, findings out. Pure.

A rule that cannot tell returns None, and then an alert of its kind stays as it is. A finding says
what is wrong and since when, and what to do; it reads the same in every round that it lasts.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from flows.monitor.snapshot import Product, RunKey, Snapshot

# What production itself has said already, by other notices: a version that was rejected, a hold.
_TOLD_ELSEWHERE = ("GateError", "ApprovalError")
_PREFIX = "Flow run encountered an exception: "
_LATE = timedelta(minutes=10)
_CERTIFICATE = timedelta(days=30)
_MESSAGE_LENGTH = 300
# Patience, in seconds: what a restart mends by itself is not told.
_SERVER_PATIENCE, _WORKER_PATIENCE, _LATE_PATIENCE = 120.0, 180.0, 300.0
_GIGABYTE = 10**9
_LEAST_BYTES, _ENOUGH_BYTES, _LEAST_SHARE = 2 * _GIGABYTE, 20 * _GIGABYTE, 0.05


@dataclass(frozen=True)
class Finding:
    """Something that is not as it should be.

    Attributes:
        kind: Of the rule.
        about: The recipe, server, pool or file; with the kind it is the finding's name.
        recipe: The product line it is about; "" of what is for all.
        says: One sentence.
        mend: What to do, a sentence with a command.
        patience_seconds: For how long it must last before it is told.
    """

    kind: str
    about: str
    recipe: str
    says: str
    mend: str
    patience_seconds: float = 0.0

    @property
    def key(self) -> str:
        """The name by which it is known as long as it lasts."""
        return f"{self.kind}/{self.about}" if self.about else self.kind


Findings = dict[str, list[Finding] | None]


def findings(seen: Snapshot) -> Findings:
    """Return what each rule finds, by its kind; None where it cannot tell."""
    return {
        kind: None if found is None else list(found)
        for kind, found in ((kind, rule(seen)) for kind, rule in _RULES.items())
    }


def _no_batch(seen: Snapshot) -> list[Finding] | None:
    def found(product: Product) -> Iterator[Finding]:
        hours, name = product.alerts.no_batch_hours, product.name
        told = product.totals.delivered
        since = told or (product.champion.since if product.champion else product.watched)
        if hours is None or seen.time - since < timedelta(hours=hours):
            return
        what = f"the last batch was delivered {_at(told)}" if told else "no batch was delivered"
        why = f"; production is on hold since {_at(product.held)}" if product.held else ""
        mend = (
            f'Go on with: ganmill resume {name} --reason "..."'
            if product.held
            else f"See: ganmill status. By hand: ganmill generate {name}"
        )
        yield Finding("no-batch", name, name, f"{name}: {what}{why}; wanted is one every "
                      f"{hours:g} h.", mend)  # fmt: skip

    return _of_each(seen, found)


def _old_champion(seen: Snapshot) -> list[Finding] | None:
    def found(product: Product) -> Iterator[Finding]:
        days, name, champion = product.alerts.champion_days, product.name, product.champion
        since = champion.since if champion else product.watched
        if days is None or seen.time - since < timedelta(days=days):
            return
        what = f"v{champion.version} is champion" if champion else "there is no champion"
        yield Finding(
            "old-champion",
            name,
            name,
            f"{name}: {what} since {_at(since)}; wanted is a newer one every {days:g} days.",
            f"See why in reports/{name}/gate, or train now: ganmill retrain {name}",
        )

    return _of_each(seen, found)


def _approval(seen: Snapshot) -> list[Finding] | None:
    def found(product: Product) -> Iterator[Finding]:
        hours, name, asked = product.alerts.approval_hours, product.name, product.waiting
        if hours is None or asked is None or seen.time - asked.since < timedelta(hours=hours):
            return
        yield Finding(
            "approval",
            name,
            name,
            f"{name}: v{asked.version} passed the gate and waits for a person's word since "
            f"{_at(asked.since)}.",
            f'Say: ganmill approve {name} --reason "..." (or reject)',
        )

    return _of_each(seen, found)


def _failing(seen: Snapshot) -> list[Finding] | None:
    if seen.schedules is None:
        return None
    found = []
    for key, run in sorted(seen.schedules.last.items()):
        message = run.message.removeprefix(_PREFIX)
        is_told = message.startswith(_TOLD_ELSEWHERE)
        if run.is_by_hand or run.state not in {"failed", "crashed"} or is_told:
            continue
        good = seen.schedules.succeeded.get(key)
        since = f"the last that succeeded ended {_at(good)}" if good else "none has succeeded yet"
        said = f": {message[:_MESSAGE_LENGTH]}" if message else ""
        says = f"{_subject(key)}: the last {key[0]} {run.state} {_at(run.ended)}{said} ({since})."
        mend = f"Mend the cause, then: ganmill {_command(key)}"
        found.append(Finding("failing", _command(key), key[1], says, mend))
    return found


def _late(seen: Snapshot) -> list[Finding] | None:
    if seen.schedules is None:
        return None
    first: dict[RunKey, datetime] = {}
    for run in seen.schedules.late:
        if not run.is_queued and seen.time - run.due >= _LATE:
            first[run.key] = min(run.due, first.get(run.key, run.due))
    return [
        Finding(
            "late",
            _command(key),
            key[1],
            f"{_subject(key)}: {key[0]} was due {_at(due)} and has not begun.",
            "See whether a worker lives: ganmill status. Start one: ganmill up",
            _LATE_PATIENCE,
        )
        for key, due in sorted(first.items())
    ]


def _workers(seen: Snapshot) -> list[Finding] | None:
    if seen.schedules is None:
        return None
    return [
        Finding(
            "worker",
            pool.name,
            "",
            f"no worker of the pool {pool.name} gives a sign of life: nothing scheduled begins.",
            "Start it: ganmill up (on a further machine: ganmill worker).",
            _WORKER_PATIENCE,
        )
        for pool in seen.schedules.pools
        if pool.has_schedules and pool.workers == 0
    ]


def _servers(seen: Snapshot) -> list[Finding] | None:
    return [
        Finding(
            "server",
            server.name,
            "",
            f"{server.name} at {server.url} does not answer.",
            f"Start it: ganmill up. Its last words: .ganmill/logs/{server.name}.log"
            if server.is_ours
            else "Tell who runs it.",
            _SERVER_PATIENCE,
        )
        for server in seen.servers
        if server.answer_seconds is None
    ]


def _disk(seen: Snapshot) -> list[Finding] | None:
    if seen.machine is None:
        return None
    free, total = seen.machine.free_bytes, seen.machine.total_bytes
    least = min(_ENOUGH_BYTES, max(_LEAST_BYTES, _LEAST_SHARE * total))
    if free >= least:
        return []
    return [
        Finding(
            "disk",
            "",
            "",
            f"the workspace's disk has less than {least / _GIGABYTE:.0f} GB left of "
            f"{total / _GIGABYTE:.0f} GB.",
            "See what takes it up: ganmill status. Remove what is old: ganmill retain --dry-run",
        )
    ]


def _certificates(seen: Snapshot) -> list[Finding] | None:
    if seen.certificates is None:
        return None
    return [
        Finding(
            "certificate",
            file,
            "",
            f"the certificate {file} ends {_at(ends)}; then nothing can be minted.",
            "Set GANMILL_SIGNING_CERTIFICATE and GANMILL_SIGNING_KEY to the next ones.",
        )
        for file, ends in sorted(seen.certificates.items())
        if ends - seen.time < _CERTIFICATE
    ]


def _unreadable(seen: Snapshot) -> list[Finding] | None:
    return [
        Finding(
            "unreadable",
            part,
            "",
            f"{part} cannot be read: {why}",
            "See: ganmill doctor",
            _SERVER_PATIENCE,
        )
        for part, why in sorted(seen.problems.items())
    ]


_Rule = Callable[[Snapshot], list[Finding] | None]
_RULES: Mapping[str, _Rule] = {
    "no-batch": _no_batch,
    "old-champion": _old_champion,
    "approval": _approval,
    "failing": _failing,
    "late": _late,
    "worker": _workers,
    "server": _servers,
    "disk": _disk,
    "certificate": _certificates,
    "unreadable": _unreadable,
}


def _of_each(seen: Snapshot, found: Callable[[Product], Iterator[Finding]]) -> list[Finding] | None:
    if seen.products is None:
        return None
    return [finding for product in seen.products for finding in found(product)]


def _subject(key: RunKey) -> str:
    _, recipe, campaign = key
    return f"{recipe}:{campaign}" if campaign else recipe or "ganmill"


def _command(key: RunKey) -> str:
    flow, recipe, campaign = key
    return " ".join([flow, *([recipe] if recipe else []), *_option("--campaign", campaign)])


def _option(name: str, value: str) -> list[str]:
    return [name, value] if value else []


def _at(time: datetime | None) -> str:
    return f"{time.astimezone(UTC):%Y-%m-%d %H:%M} UTC" if time else ""
