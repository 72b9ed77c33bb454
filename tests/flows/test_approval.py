"""A person's word on a version: given once, about what they saw, at a terminal or in a form."""

import hashlib
import json
import re
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest
from mlflow import MlflowClient

from flows import approval, asking, ledger, registry, release
from flows.approve import settle
from flows.gate import judging
from flows.gate.decision import Verdict
from flows.ledger import Entry
from flows.registry import Version
from flows.release import Promoted
from flows.settings import Settings, quiet_environment
from flows.tracking import open_run
from gan.durable import write_atomically, write_json, write_sums
from gan.errors import ApprovalError, GateError, UsageError
from gan.paths import Layout
from gan.recipe import Recipe, load_recipe

REASON = "hearts are clean again"


@dataclass
class Mill:
    """A recipe with three registered versions, the first of them champion."""

    layout: Layout
    settings: Settings
    recipe: Recipe
    made: list[Version]

    def judged(self, candidate: Version, champion: Version | None, outcome: Any = "pass") -> Any:
        """Write a gate decision as the gate keeps it, and return it."""
        document = {
            "format": 1,
            "evidence": {
                "candidate_digest": candidate.digest,
                "champion_digest": champion.digest if champion else None,
            },
            "gate": self.recipe.gate.limits,
            "verdict": {"outcome": outcome, "reasons": [f"{outcome}: the distance, all in all."]},
            "anchor": candidate.digest,
            "pictures": {},
        }
        first = self.layout.gate(self.recipe.name) / "gate.json"
        digest = write_json(first, document)
        record = first.parent / f"{candidate.digest[:12]}-{digest[:12]}" / "gate.json"
        record.parent.mkdir(exist_ok=True)
        first.rename(record)
        assert hashlib.sha256(record.read_bytes()).hexdigest() == digest
        verdict = Verdict(outcome, [f"{outcome}: the distance, all in all."])
        return judging.Judged(verdict, record, digest, is_new=True)

    def ask(self, number: int, champion: int | None = 1) -> Entry:
        """Ask about a version that the gate let pass."""
        candidate = self.made[number - 1]
        against = self.made[champion - 1] if champion else None
        judged = self.judged(candidate, against)
        return approval.ask(self.layout, self.settings, self.recipe, candidate, against, judged)

    def decide(
        self, decision: approval.Decision = "approve", actor: str = "Ada", digest: str | None = None
    ) -> Promoted | Entry:
        """Give a person's word."""
        return approval.decide(
            self.layout,
            self.settings,
            self.recipe,
            decision=decision,
            actor=actor,
            reason=REASON,
            evidence_digest=digest,
        )

    def promote(self, number: int, expected: int | None) -> None:
        """Make a version champion without asking."""
        release.promote(
            self.layout,
            self.settings,
            self.recipe.name,
            self.made[number - 1],
            evidence_digest="e" * 64,
            actor="Cy",
            reason="by hand",
            expected_champion=expected,
        )

    @property
    def events(self) -> Sequence[str]:
        """What the ledger says after the promotion of the first version."""
        return [entry.event for entry in ledger.read(self.layout.ledger)][2:]

    @property
    def champion(self) -> int | None:
        """Its number."""
        found = release.serving(self.layout, self.settings, self.recipe.name)
        return found.number if found else None

    def told(self) -> list[str]:
        """Return the events that were announced."""
        lines = self.layout.notices.read_text().splitlines()
        return [json.loads(line)["event"] for line in lines]


def _mill(root: Path, settings: Settings, name: str, hours: float = 1.0) -> Mill:
    section = {
        "data": {"source": "files", "path": "images", "resolution": 16},
        "gate": {"approval": "person", "approval_hours": hours},
    }
    layout = Layout(root)
    write_json(layout.params, {"recipes": {name: section}})  # JSON is YAML
    run = open_run(layout, settings, name, "r", {}, {})
    client = MlflowClient(tracking_uri=settings.mlflow_url, registry_uri=settings.mlflow_url)
    client.create_registered_model(name)
    for word in "abc":  # their files are fetched already
        folder = layout.bundle_store / word
        write_atomically(folder / "card.json", word.encode())
        digest = write_sums(folder)
        folder.rename(folder.with_name(digest))
        tags = {"bundle_digest": digest, "mlflow_run_url": run.url}
        client.create_model_version(name, f"runs:/{run.run_id}/model", run.run_id, tags=tags)
    made = registry.versions(settings, name)[::-1]
    mill = Mill(layout, settings, load_recipe(layout.params, name), made)
    mill.promote(1, None)
    return mill


@pytest.fixture
def mill(tmp_path: Path, request: pytest.FixtureRequest, mlflow_settings: Settings) -> Mill:
    """Return a workspace of this test's own; no Prefect is there."""
    name = f"approval-{hashlib.sha256(request.node.name.encode()).hexdigest()[:12]}"
    return _mill(tmp_path, mlflow_settings, name)


def test_what_passed_is_asked_about_once_and_promoted_on_a_yes(mill: Mill) -> None:
    """The person's name and reason stand in the ledger; who comes second is told of the first."""
    asked = mill.ask(2)
    judged = mill.judged(mill.made[2], mill.made[0], "fail")
    with pytest.raises(GateError, match="the gate says fail"):
        approval.ask(mill.layout, mill.settings, mill.recipe, mill.made[2], None, judged)
    record = judging.find_record(mill.layout, mill.recipe.name, asked.evidence_digest)
    same = judging.Judged(Verdict("pass", ["pass: x"]), record, asked.evidence_digest, False)  # noqa: FBT003
    args = (mill.layout, mill.settings, mill.recipe, mill.made[1], mill.made[0], same)
    assert approval.ask(*args) == asked

    done = mill.decide(digest=asked.evidence_digest[:8])

    assert isinstance(done, Promoted)
    assert (done.version, done.entry.actor, done.entry.reason) == (2, "Ada", REASON)
    assert done.entry.evidence_digest == asked.evidence_digest
    assert mill.champion == 2
    for digest in (None, asked.evidence_digest):
        with pytest.raises(ApprovalError, match=r"already decided by Ada at .*: v2 promoted"):
            mill.decide("reject", "Bo", digest)
    assert mill.events == ["ask", "intend", "done"]
    assert mill.told() == ["model.waiting"]


def _another_champion(mill: Mill, asked: Entry) -> None:
    mill.promote(3, 1)
    # As a rollback leaves it: no promotion ended the request, but the champion is another.
    ledger.append(mill.layout.ledger, asked)


def _another_gate(mill: Mill, asked: Entry) -> None:
    gate = mill.recipe.gate.model_copy(update={"margin": 0.9})
    mill.recipe = mill.recipe.model_copy(update={"gate": gate})


def _altered_record(mill: Mill, asked: Entry) -> None:
    record = judging.find_record(mill.layout, mill.recipe.name, asked.evidence_digest)
    record.write_bytes(record.read_bytes().replace(b"all in all", b"more or less"))


def _another_bundle(mill: Mill, asked: Entry) -> None:
    registry.tag_version(mill.settings, mill.made[1], {"bundle_digest": "f" * 64})


def _gone(mill: Mill, asked: Entry) -> None:
    client = MlflowClient(mill.settings.mlflow_url, mill.settings.mlflow_url)
    client.delete_model_version(mill.recipe.name, "2")


@pytest.mark.parametrize(
    ("happens", "said"),
    [
        (_another_champion, "the champion changed from bundle [0-9a-f]{12} to v3"),
        (_another_gate, "the recipe's gate changed"),
        (_altered_record, "its evidence cannot be read"),
        (_another_bundle, "its bundle is another"),
        (_gone, "it is gone from the registry"),
    ],
)
def test_a_yes_to_what_changed_meanwhile_is_void(
    mill: Mill, happens: Callable[[Mill, Entry], None], said: str
) -> None:
    """Read afresh, it is put on hold, which says why; the champion stays, and one may ask again."""
    happens(mill, mill.ask(2))
    before = mill.champion

    with pytest.raises(ApprovalError, match=f"is not promoted: {said}.*ganmill retrain"):
        mill.decide()

    held = ledger.read(mill.layout.ledger)[-1]
    assert (held.event, held.actor, held.to_version) == ("hold", "ganmill", 2)
    assert re.search(said, held.reason)
    assert mill.champion == before
    assert release.refused(mill.layout, mill.recipe.name, 2) is None


def test_a_no_needs_a_name_a_reason_and_the_right_evidence(mill: Mill) -> None:
    """A rejected version stays rejected; what is about other evidence changes nothing."""
    with pytest.raises(UsageError, match="nothing waits"):
        mill.decide("reject")
    first = mill.ask(2)
    second = mill.ask(3)
    for actor, reason in ((" ", REASON), ("Ada", "fine")):
        with pytest.raises(ApprovalError, match="at least 10 characters"):
            approval.decide(
                mill.layout, mill.settings, mill.recipe,
                decision="approve", actor=actor, reason=reason, evidence_digest=None,
            )  # fmt: skip
    with pytest.raises(UsageError, match="too short"):
        mill.decide(digest="abc")
    with pytest.raises(
        ApprovalError, match=f"v3 does, with evidence {second.evidence_digest[:12]}"
    ):
        mill.decide(digest="0" * 64)
    with pytest.raises(ApprovalError, match="v3 waits in its place"):
        mill.decide(digest=first.evidence_digest)
    assert ledger.waiting(ledger.read(mill.layout.ledger), mill.recipe.name) == second

    said = mill.decide("reject", "Bo")
    settle(mill.layout, mill.settings, said)
    assert mill.told() == ["model.waiting", "model.waiting", "model.rejected"]
    assert said == release.refused(mill.layout, mill.recipe.name, 3)
    with pytest.raises(ApprovalError, match=r"already decided by Bo at .*: rejected"):
        mill.decide(digest=second.evidence_digest)
    mill.ask(2)
    assert mill.decide("hold") != release.refused(mill.layout, mill.recipe.name, 2)
    assert mill.champion == 1


def test_of_two_decisions_at_once_the_first_counts(mill: Mill) -> None:
    """The other one is told who was quicker."""
    mill.ask(2)
    results: list[Promoted | Entry] = []
    refusals: list[str] = []

    def work(actor: str) -> None:
        try:
            results.append(mill.decide("approve", actor))
        except ApprovalError as error:
            refusals.append(str(error))

    threads = [threading.Thread(target=work, args=(name,)) for name in ("Ada", "Bo")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    (won,) = results
    assert isinstance(won, Promoted)
    assert f"already decided by {won.entry.actor}" in refusals[0]
    assert mill.events == ["ask", "intend", "done"]


def test_nobody_answering_in_time_is_a_hold(mill: Mill) -> None:
    """After `gate.approval_hours` a yes is refused too; the version may be asked about again."""
    asked = mill.ask(2)
    now = datetime.now(UTC)
    assert approval.lapse(mill.layout, mill.recipe, now) is None
    late = approval.lapse(mill.layout, mill.recipe, now + timedelta(hours=1.01))
    assert late
    assert (late.event, late.actor, late.to_version) == ("hold", "ganmill", 2)
    assert approval.lapse(mill.layout, mill.recipe, now + timedelta(hours=2)) is None
    assert mill.ask(3).seq > asked.seq
    gate = mill.recipe.gate.model_copy(update={"approval_hours": 1e-9})
    mill.recipe = mill.recipe.model_copy(update={"gate": gate})
    with pytest.raises(ApprovalError, match="nobody answered until"):
        mill.decide()
    assert mill.events == ["ask", "hold", "ask", "hold"]
    assert mill.champion == 1


def test_without_prefect_there_is_no_form_and_no_error(
    mill: Mill, caplog: pytest.LogCaptureFixture
) -> None:
    """It is said in one line, within seconds."""
    began = time.monotonic()
    assert asking.start(mill.settings, mill.recipe.name, "e" * 64) == ""
    asking.close_waiting(mill.settings, "e" * 64, "approve by Ada")
    assert time.monotonic() - began < 10
    assert "no form in Prefect; use `ganmill approve`" in caplog.text


# The form: a real Prefect server, and the runner that `ganmill up` starts.


def _prefect(settings: Settings, path: str, body: dict[str, Any] | None = None) -> Any:
    request = urllib.request.Request(
        f"{settings.prefect_url}/api/{path}",
        None if body is None else json.dumps(body).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request) as answer:
        return json.load(answer)


def _until(settings: Settings, page: str, *states: str) -> dict[str, Any]:
    """Return the run of a page once it is in one of these states."""
    run_id, deadline = page.rpartition("/")[2], time.monotonic() + 120
    while True:
        run: dict[str, Any] = _prefect(settings, f"flow_runs/{run_id}")
        if run["state_name"] in states:
            return run
        assert time.monotonic() < deadline, run["state"]
        time.sleep(0.3)


_SERVE = """
import asyncio
from prefect.runner import Runner
from prefect.types.entrypoint import EntrypointType
from flows.approve import approve

async def serve():
    runner = Runner(name="ganmill", pause_on_shutdown=False)
    made = approve.to_deployment("asked", entrypoint_type=EntrypointType.MODULE_PATH)
    await runner.aadd_deployment(await made if asyncio.iscoroutine(made) else made)
    print("serving", flush=True)
    await runner.start()

asyncio.run(serve())
"""


@pytest.fixture
def served(tmp_path: Path, servers: Settings) -> Iterator[tuple[Mill, psutil.Process]]:
    """Return a workspace, and the process that serves its `approve` to Prefect."""
    mill = _mill(tmp_path, servers, "asked")
    environment = {**quiet_environment(servers, mill.layout), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", _SERVE]
    process = subprocess.Popen(
        command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    while "serving" not in process.stdout.readline():
        assert process.poll() is None
    yield mill, psutil.Process(process.pid)
    process.terminate()
    process.wait(60)
    client = MlflowClient(servers.mlflow_url, servers.mlflow_url)
    client.delete_registered_model("asked")


def _answer(mill: Mill, page: str, decision: str, reason: str, digest: str) -> Any:
    word = {
        "decision": decision, "approver": "Ada", "reason": reason, "evidence_digest": digest,
    }  # fmt: skip
    run_id = page.rpartition("/")[2]
    return _prefect(mill.settings, f"flow_runs/{run_id}/resume", {"run_input": word})


def test_the_form_in_prefect_does_what_the_command_does(
    served: tuple[Mill, psutil.Process],
) -> None:
    """It waits without a process, shows the verdict, and promotes; decided elsewhere, it ends."""
    mill, runner = served
    settings, name = mill.settings, mill.recipe.name
    asked = mill.ask(2)
    page = asking.start(settings, name, asked.evidence_digest)
    assert asking.start(settings, name, asked.evidence_digest) == page
    run = _until(settings, page, "Suspended")
    deadline = time.monotonic() + 60
    while runner.children(recursive=True):
        assert time.monotonic() < deadline, "a form keeps a process"
        time.sleep(0.3)
    described = _prefect(settings, f"flow_runs/{run['id']}/input/suspended-word-description")
    assert "pass: the distance, all in all." in described
    assert f"{asked.evidence_digest[:12]}/index.html" in described

    refused = _answer(mill, page, "approve", "ok", asked.evidence_digest)
    assert refused["status"] == "REJECT"
    _answer(mill, page, "approve", REASON, asked.evidence_digest)
    run = _until(settings, page, "Completed", "Failed")
    assert run["state"]["message"] == f"{name}: approve by Ada; {REASON}"
    assert mill.champion == 2
    assert mill.told() == ["model.waiting", "model.promoted"]

    runner.suspend()  # nobody takes up what is asked now
    try:
        page = asking.start(settings, name, mill.ask(3, 2).evidence_digest)
        other = asking.start(settings, name, "f" * 64)
        assert _until(settings, page, "Decided")["state"]["type"] == "COMPLETED"
        asking.close_waiting(settings, "f" * 64, "reject by Bo at a terminal")
        message = _until(settings, other, "Decided")["state"]["message"]
        assert message == "reject by Bo at a terminal"
    finally:
        runner.resume()


@pytest.mark.slow
def test_a_stale_form_fails_and_a_late_one_ends(served: tuple[Mill, psutil.Process]) -> None:
    """The run says in one line why; asked again there is a new form; late, the ledger holds."""
    mill, _ = served
    settings, name = mill.settings, mill.recipe.name
    asked = mill.ask(2)
    page = asking.start(settings, name, asked.evidence_digest)
    _until(settings, page, "Suspended")
    _answer(mill, page, "approve", REASON, "0" * 64)
    run = _until(settings, page, "Failed", "Completed")
    assert run["state"]["message"].startswith(f"{name}: evidence 000000000000 is not what waits")
    assert mill.champion == 1

    params = json.loads(mill.layout.params.read_text())
    params["recipes"][name]["gate"]["approval_hours"] = 0.001
    write_json(mill.layout.params, params)
    late = asking.start(settings, name, asked.evidence_digest)
    assert late != page
    assert _until(settings, late, "Failed")["state"]["message"].endswith("never resumed.")
    recipe = load_recipe(mill.layout.params, name)
    assert approval.lapse(mill.layout, recipe, datetime.now(UTC))
