"""The installed command, driven as a user drives it: real servers, real training, real files."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from PIL import Image

from flows.settings import Settings
from gan.assets.manifest import LOCK
from gan.durable import read_json
from gan.paths import Layout

COMMAND = Path(sys.executable).parent / "ganmill"
Done = subprocess.CompletedProcess[str]
Run = Callable[..., Done]
COMMANDS = (
    *("demo", "up", "down", "init", "recipes", "validate", "retrain", "evaluate", "promote"),
    *("rollback", "generate", "status", "reconcile", "summary", "compare", "gate", "approve"),
    *("reject", "hold", "resume", "ledger", "doctor", "deploy", "worker", "schedule", "metrics"),
    *("alerts", "backup", "restore", "retain", "upgrade", "report"),
)


def _ask(url: str, body: dict[str, Any] | None = None) -> Any:
    """Return what a server's HTTP interface answers."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=30) as answer:
        return json.load(answer)


def _mlflow(settings: Settings, path: str, body: dict[str, Any] | None = None) -> Any:
    return _ask(f"{settings.mlflow_url}/api/2.0/mlflow/{path}", body)


def _versions(settings: Settings) -> list[dict[str, Any]]:
    found = _mlflow(settings, "model-versions/search?filter=name%3D%27tiny%27")
    versions: list[dict[str, Any]] = found["model_versions"]
    return sorted(versions, key=lambda version: int(version["version"]))


def _champion(settings: Settings) -> int:
    found = _mlflow(settings, "registered-models/alias?name=tiny&alias=champion")
    return int(found["model_version"]["version"])


def _tags(entity: dict[str, Any]) -> dict[str, str]:
    return {tag["key"]: tag["value"] for tag in entity["tags"]}


def _edit(root: Path, pattern: str, text: str) -> None:
    """Change one place of params.yaml, as a person would."""
    params = root / "params.yaml"
    changed, count = re.subn(pattern, text, params.read_text(), count=1)
    assert count == 1
    params.write_text(changed)


def _is_clear(done: Done, code: int, *words: str) -> None:
    """Hold an error to the rules: exit code, one last line with the words, no traceback."""
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("ganmill: ")
    for word in words:
        assert word in last


@pytest.fixture(scope="session")
def told(first_retrain: Done) -> Any:
    """Return what the first retraining printed for scripts."""
    return json.loads(first_retrain.stdout)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself_with_an_example(ganmill: Run, command: str) -> None:
    """`--help` says what a command does and shows it in use."""
    shown = ganmill(command, "--help")
    assert shown.returncode == 0
    assert f"ganmill {command}" in shown.stdout.partition("Example:")[2]


def test_first_retrain_makes_a_champion_and_a_batch(
    told: Any, mill_root: Path, mill_settings: Settings
) -> None:
    """On a fresh workspace one command ends with champion v1 and a complete batch made from it."""
    assert told["champion"] == 1
    assert [step["state"] for step in told["steps"] if step["name"] == "promote"] == ["promoted"]
    assert _champion(mill_settings) == 1
    folder = Path(told["batch"])
    assert folder.parent == Layout(mill_root).batches("tiny")
    assert len(list(folder.glob("png/*.png"))) == 8
    assert (Path(told["links"]["data report"])).is_file()
    assert (Path(told["links"]["contact sheet"])).is_file()


def test_batch_version_run_and_flow_run_name_each_other(
    told: Any, mill_root: Path, mill_settings: Settings
) -> None:
    """From an asset one comes to its model, training, flow run and data, and back."""
    manifest = (Path(told["batch"]) / "manifest.jsonl").read_text().splitlines()
    asset = json.loads(manifest[0])
    version = next(v for v in _versions(mill_settings) if v["version"] == asset["model_version"])
    of_version = _tags(version)
    assert of_version["bundle_digest"] == asset["bundle_digest"]
    assert of_version[f"batch.{Path(told['batch']).name}"] == told["batch"]
    assert version["run_id"] == asset["mlflow_run"]

    run = _mlflow(mill_settings, f"runs/get?run_id={asset['mlflow_run']}")["run"]
    of_run = _tags(run["data"])
    assert run["info"]["status"] == "FINISHED"
    assert run["info"]["run_name"] == "tiny v1"
    assert of_run["model_version"] == asset["model_version"]
    assert of_run["bundle_digest"] == asset["bundle_digest"]
    assert {"evaluation/fd_domain", "train/loss_g"} <= {m["key"] for m in run["data"]["metrics"]}

    flow_run = _ask(f"{mill_settings.prefect_url}/api/flow_runs/{asset['flow_run']}")
    assert flow_run["name"] == "retrain-tiny"
    assert flow_run["state_type"] == "COMPLETED"
    assert of_version["flow_run"] == of_run["flow_run"] == flow_run["id"]
    assert flow_run["id"] in told["links"]["flow run"]

    lock = (mill_root / "dvc.lock").read_text()
    assert asset["data_version"] in lock
    assert asset["data_version"] == of_version["data_version"] == of_run["data_version"]


def test_a_run_carries_its_data_and_their_card(
    told: Any, mill_root: Path, mill_settings: Settings
) -> None:
    """MLflow has the images as an input with their digest, and the data card among the files."""
    (version,) = (v for v in _versions(mill_settings) if v["version"] == str(told["champion"]))
    run = _mlflow(mill_settings, f"runs/get?run_id={version['run_id']}")["run"]
    (given,) = run["inputs"]["dataset_inputs"]
    source = json.loads(given["dataset"]["source"])
    record = json.loads((mill_root / source["record"] / "dataset.json").read_text())
    assert record["digest"].startswith(given["dataset"]["digest"])
    listed = _mlflow(mill_settings, f"artifacts/list?run_id={version['run_id']}&path=data")
    files = {file["path"] for file in listed["files"]}
    assert {"data/index.html", "data/croissant.json"} <= files
    assert "/artifacts/data/index.html?" in _tags(run["data"])["mlflow.note.content"]


def test_flow_run_shows_what_people_look_for(told: Any, mill_settings: Settings) -> None:
    """The flow run's page holds verdict, metrics, gate, batch, steps and progress."""
    flow_run = told["links"]["flow run"].rpartition("/")[2]
    rule = {"flow_runs": {"id": {"any_": [flow_run]}}}
    found = _ask(f"{mill_settings.prefect_url}/api/artifacts/filter", rule)
    shown = {one["key"]: one for one in found}
    names = ("data-contract", "metrics", "pictures", "gate", "batch", "steps", "training", "links")
    assert {f"tiny-{name}" for name in names} <= set(shown)
    assert shown["tiny-training"]["data"] == 100.0
    assert all(one["description"] for one in found)


def test_second_retrain_does_nothing_and_says_so(
    told: Any, ganmill: Run, mill_settings: Settings
) -> None:
    """Without a change nothing is trained, registered or minted again."""
    again = ganmill("retrain", "tiny")
    assert again.returncode == 0, again.stderr
    assert "Nothing changed, nothing was done again." in again.stdout
    assert told["batch"].rpartition("/")[2] in again.stdout
    assert len(_versions(mill_settings)) == 1
    places = [line.split() for line in again.stdout.splitlines() if "://" in line]
    assert [words[-1].startswith("http://") for words in places] == [True] * 3  # never wrapped


def test_dvc_by_hand_shares_the_work(told: Any, mill_root: Path) -> None:
    """`dvc status` is clean after a flow, and `dvc repro` finds nothing to do."""
    dvc = [sys.executable, "-m", "dvc"]
    here = {**os.environ, "PATH": f"{COMMAND.parent}{os.pathsep}{os.environ['PATH']}"}

    def say(*words: str) -> str:
        done = subprocess.run(
            [*dvc, *words], cwd=mill_root, env=here, check=True, capture_output=True, text=True
        )
        return done.stdout

    assert "up to date" in say("status")
    assert "Running stage" not in say("repro", "train@tiny")


def test_same_request_gives_the_same_bytes(told: Any, ganmill: Run, mill_root: Path) -> None:
    """A repeated request returns its batch; another slot is another batch of other assets."""

    def mint(slot: str) -> tuple[Path, dict[str, bytes]]:
        done = ganmill("generate", "tiny", "--count", "5", "--seed", "3", "--slot", slot)
        assert done.returncode == 0, done.stderr
        folder = Path(done.stdout.partition("Contact sheet: ")[2].strip()).parent
        paths = (path for path in folder.rglob("*") if path.is_file() and path.name != LOCK)
        return folder, {str(path.relative_to(folder)): path.read_bytes() for path in paths}

    folder, files = mint("noon")
    assert mint("noon") == (folder, files)
    other, _ = mint("dusk")
    assert other != folder
    shutil.rmtree(folder)
    again, anew = mint("noon")
    pictures = [name for name in files if name.startswith("png/")]
    assert again == folder
    assert len(pictures) == 5
    assert all(anew[name] == files[name] for name in pictures)


def test_whose_a_file_is_and_the_same_again(
    told: Any, ganmill: Run, mill_root: Path, tmp_path: Path
) -> None:
    """From a file alone one comes to its model, and from its id to the same bytes again."""
    picture = next((Path(told["batch"]) / "png").iterdir())
    (tmp_path / "found.png").write_bytes(picture.read_bytes())
    answer = json.loads(ganmill("verify", str(tmp_path / "found.png"), "--json").stdout)
    assert (answer["verdict"], answer["asset"]) == ("ours, unchanged", picture.stem)
    assert answer["model_digest"] == told["bundle"]

    again = ganmill("regenerate", picture.stem, "--out", str(tmp_path / "again"))
    assert "the same, byte for byte" in again.stdout, again.stderr
    assert (tmp_path / "again" / "png" / picture.name).read_bytes() == picture.read_bytes()


@pytest.fixture(scope="session")
def second(told: Any, ganmill: Run, mill_root: Path) -> Any:
    """Return what `retrain --json` said after the seed was changed: a second model, promoted."""
    _edit(mill_root, r"seed: 1, batch", "seed: 2, batch")
    return json.loads(ganmill("retrain", "tiny", "--json").stdout)


def test_changed_parameter_trains_from_the_champion(
    told: Any, second: Any, ganmill: Run, mill_root: Path, mill_settings: Settings
) -> None:
    """A new seed trains a second model from the first, in a run of its own, and it is promoted."""
    card = read_json(Layout(mill_root).bundle("tiny") / "card.json")
    assert card["start_digest"] == told["bundle"]
    one, two = _versions(mill_settings)
    assert one["run_id"] != two["run_id"]
    assert (second["champion"], _champion(mill_settings)) == (2, 2)
    status = json.loads(ganmill("status", "--json").stdout)
    assert [row["challenger"] for row in status["recipes"]] == ["-"]  # nobody waits any more
    assert second["batch"] != told["batch"]
    ran = [s["name"] for s in second["steps"] if s["state"] == "ran"]
    assert ran == ["train", "evaluate"]


def test_rollback_makes_the_one_before_champion_again(
    second: Any, ganmill: Run, mill_root: Path, mill_settings: Settings
) -> None:
    """A rollback names who and why in the ledger, and a retraining does not undo it."""
    assert (second["champion"], _champion(mill_settings)) == (2, 2)
    done = ganmill("rollback", "tiny", "--by", "ada", "--reason", "too bright")
    assert done.returncode == 0, done.stderr
    assert _champion(mill_settings) == 1
    last = json.loads(Layout(mill_root).ledger.read_text().splitlines()[-1])
    assert (last["event"], last["actor"], last["to_version"]) == ("rollback", "ada", 1)
    night = ganmill("retrain", "tiny", "--json")
    assert night.returncode == 0, night.stderr
    states = {step["name"]: step["state"] for step in json.loads(night.stdout)["steps"]}
    assert (states["train"], states["gate"], states["promote"]) == ("unchanged", "held", "held")
    assert _champion(mill_settings) == 1
    back = ganmill("promote", "tiny", "--version", "2", "--by", "ada", "--reason", "it was fine")
    assert back.returncode == 0, back.stderr
    assert _champion(mill_settings) == 2


def test_gate_refuses_what_is_not_shown_to_be_good(
    told: Any, ganmill: Run, mill_root: Path, mill_settings: Settings
) -> None:
    """An unmet floor ends with exit code 4, a record and a ledger line; the champion stays."""
    before = _champion(mill_settings)
    _edit(mill_root, r"max_fd_share: 1.0", "max_fd_share: 0.0")
    _edit(mill_root, r"seed: \d+, batch", "seed: 5, batch")
    try:
        refused = ganmill("retrain", "tiny")
    finally:
        _edit(mill_root, r"max_fd_share: 0.0", "max_fd_share: 1.0")
    _is_clear(refused, 4, "the gate says fail", "The champion stays", "Evidence:")
    assert _champion(mill_settings) == before
    last = json.loads(Layout(mill_root).ledger.read_text().splitlines()[-1])
    assert last["event"] == "reject"
    page = mill_root / refused.stderr.strip().rpartition("Evidence: ")[2]
    assert "must not replace the champion" in page.read_text()
    assert read_json(page.with_name("gate.json"))["verdict"]["outcome"] == "fail"


def test_a_person_lets_out_what_passed(
    told: Any, ganmill: Run, mill_root: Path, mill_settings: Settings
) -> None:
    """With `approval: person` a pass waits; a word on the terminal promotes, and batches follow."""
    _edit(mill_root, r"gate:\n      {", "gate:\n      {approval: person, ")
    try:
        asked = ganmill("retrain", "tiny", "--json")
        assert asked.returncode == 0, asked.stderr
        first = json.loads(asked.stdout)
        number = first["waiting"]
        assert number != first["champion"] == _champion(mill_settings)
        assert [s["state"] for s in first["steps"] if s["name"] == "promote"] == ["waiting"]
        (row,) = json.loads(ganmill("status", "--json").stdout)["recipes"]
        assert row["waiting"] == number
        _is_clear(ganmill("approve", "tiny", "--reason", "ok"), 5, "at least 10 characters")
        word = ganmill("approve", "tiny", "--by", "ada", "--reason", "looked at every picture")
        assert word.returncode == 0, word.stderr
        assert _champion(mill_settings) == number
        _is_clear(ganmill("reject", "tiny", "--reason", "changed my mind"), 5, "already decided")
        minted = ganmill("generate", "tiny", "--slot", "after-approval")
        assert minted.returncode == 0, minted.stderr
        batch = Path(minted.stdout.partition("Contact sheet: ")[2].strip()).parent
        lineage = read_json(batch / "batch.json")["lineage"]
        assert lineage["model_version"] == str(number)
    finally:
        _edit(mill_root, "approval: person, ", "")


def test_production_holds_and_goes_on(told: Any, ganmill: Run) -> None:
    """On hold nothing is minted, by name of who and why; then it goes on."""
    assert ganmill("hold", "tiny", "--by", "ada", "--reason", "odd cats").returncode == 0
    refused = ganmill("generate", "tiny", "--slot", "held")
    _is_clear(refused, 5, "on hold", "ada", "odd cats", "ganmill resume tiny")
    assert ganmill("resume", "tiny", "--reason", "the cats are fine").returncode == 0
    assert ganmill("generate", "tiny", "--slot", "held").returncode == 0


def test_the_ledger_is_shown_checked_and_exported(told: Any, ganmill: Run, mill_root: Path) -> None:
    """One command shows who let what out; a line that was altered or lost is found by it."""
    shown = ganmill("ledger", "tiny")
    assert shown.returncode == 0, shown.stderr
    assert "The chain holds" in shown.stdout
    entries = json.loads(ganmill("ledger", "tiny", "--json").stdout)
    assert {"done", "rollback", "reject", "ask", "hold-production"} <= {e["event"] for e in entries}
    ledger = Layout(mill_root).ledger
    kept = ledger.read_bytes()
    try:
        ledger.write_bytes(kept.replace(b"too bright", b"too dark"))
        _is_clear(ganmill("ledger"), 1, "was altered")
        last = max(e["seq"] for e in entries if e["event"] in {"done", "rollback"})
        ledger.write_bytes(b"".join(kept.splitlines(keepends=True)[: last - 1]))
        _is_clear(ganmill("ledger"), 1, "are gone")
    finally:
        ledger.write_bytes(kept)
    commit = ["git", "-c", "user.name=t", "-c", "user.email=t@t", "commit", "-qm", "begin"]
    subprocess.run([*commit, "--allow-empty"], cwd=mill_root, check=True)
    tagged = ganmill("ledger", "--tags")
    assert tagged.returncode == 0, tagged.stderr


@pytest.mark.faults
def test_killed_retraining_is_finished_by_the_same_command(
    told: Any,
    ganmill: Run,
    mill_root: Path,
    mill_settings: Settings,
    mill_environment: dict[str, str],
) -> None:
    """SIGKILL in the middle of training costs nothing: one run, one version, from where it was.

    Meanwhile other parameters are refused by name; `--fresh` trains with them, and the killed
    training still goes on once its own are back.
    """
    _edit(mill_root, r"kimg: \d}, (.*)seed: \d+, batch", r"kimg: 2}, \1seed: 9, batch")
    runs = Layout(mill_root).run("tiny")
    before = set(runs.iterdir())
    victim = subprocess.Popen(
        [str(COMMAND), "retrain", "tiny"],
        cwd=mill_root,
        env=mill_environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 120
    while not [f for f in set(runs.iterdir()) - before if (f / "stats.jsonl").exists()]:
        assert victim.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    children = psutil.Process(victim.pid).children(recursive=True)
    victim.send_signal(signal.SIGKILL)
    victim.wait()
    psutil.wait_procs(children, timeout=30)
    (folder,) = set(runs.iterdir()) - before

    _edit(mill_root, r"start: champion, seed: 9", "start: champion, lr: 0.001, seed: 9")
    refused = ganmill("retrain", "tiny")
    _is_clear(refused, 2, "train.lr was 0.002, is 0.001", "ganmill retrain tiny --fresh")
    anew = ganmill("retrain", "tiny", "--fresh")
    assert anew.returncode in {0, 4}, anew.stderr
    assert f"is left in runs/tiny/{folder.name}" in anew.stderr
    _edit(mill_root, r"lr: 0.001, ", "")

    again = ganmill("retrain", "tiny")
    assert again.returncode in {0, 4}, again.stderr
    assert "resuming at" in again.stderr
    rule = {"experiment_ids": ["1"], "filter": f"tags.training_key = '{folder.name}'"}
    (run,) = _mlflow(mill_settings, "runs/search", rule)["runs"]
    assert run["info"]["status"] == "FINISHED"
    steps = _mlflow(
        mill_settings,
        f"metrics/get-history?run_id={run['info']['run_id']}&metric_key=kimg&max_results=1000",
    )["metrics"]
    assert len({metric["step"] for metric in steps}) == len(steps)
    digests = [_tags(version)["bundle_digest"] for version in _versions(mill_settings)]
    assert len(set(digests)) == len(digests)
    running = {"flow_runs": {"state": {"type": {"any_": ["RUNNING"]}}}}
    assert _ask(f"{mill_settings.prefect_url}/api/flow_runs/filter", running) == []


def test_status_and_recipes_speak_json(told: Any, ganmill: Run, mill_settings: Settings) -> None:
    """Scripts read servers, champion, last batch and recipes."""
    status = json.loads(ganmill("status", "--json").stdout)
    assert status["servers"]["mlflow"] == {"state": "up", "url": mill_settings.mlflow_url}
    (row,) = [row for row in status["recipes"] if row["recipe"] == "tiny"]
    assert row["champion"] == f"v{_champion(mill_settings)}"
    recipes = json.loads(ganmill("recipes", "--json").stdout)
    assert recipes["tiny"]["data"]["resolution"] == 16


def test_unmet_data_contract_is_exit_code_3(
    ganmill: Run, make_workspace: Callable[[str], Path], mill_root: Path
) -> None:
    """Every failed expectation is a line of its own, and the report is named."""
    params = (mill_root / "params.yaml").read_text()
    root = make_workspace(params.replace("min_images: 100", "min_images: 999"))
    failed = ganmill("validate", "tiny", cwd=root)
    _is_clear(failed, 3, "999", "index.html")
    assert [line for line in failed.stdout.splitlines() if "FAILED" in line and "999" in line]
    assert "The data contract FAILED" in failed.stdout


def test_promote_of_an_unknown_version_names_those_that_are_there(told: Any, ganmill: Run) -> None:
    """A wrong number is a usage error with the right ones in it."""
    refused = ganmill("promote", "tiny", "--version", "99", "--by", "ada", "--reason", "why not")
    _is_clear(refused, 2, "v99", "v1")


def test_killed_mlflow_is_started_again(told: Any, ganmill: Run, mill_root: Path) -> None:
    """When a server died, the next command brings it back with everything it knew."""
    record = read_json(Layout(mill_root).state / "stack.json")["mlflow"]
    os.killpg(record["pid"], signal.SIGKILL)
    minted = ganmill("generate", "tiny", "--slot", "after")
    assert minted.returncode == 0, minted.stderr
    assert "starting MLflow ..." in minted.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("retrain", "tinny"), ("no recipe 'tinny'", "Did you mean tiny?")),
        (("generate", "nothing-like-it"), ("no recipe", "Known: tiny")),
        (("init", "Bad Name", "--images", "empty"), ("Bad Name",)),
        (("init", "pets", "--images", "nowhere"), ("nowhere",)),
        (("init", "pets", "--images", "empty"), ("empty",)),
        (("init", "pets", "--images", "one"), ("one image only", "2 are needed")),
        (("init", "pets", "--images", "torn.zip"), ("torn.zip",)),
        (("init", "tiny", "--images", "one"), ("'tiny'", "there already")),
    ],
)
def test_wrong_words_are_one_clear_line(
    ganmill: Run, mill_root: Path, tmp_path: Path, words: tuple[str, ...], said: tuple[str, ...]
) -> None:
    """What a person types wrong ends with code 2 and the name of what is wrong."""
    (tmp_path / "params.yaml").write_bytes((mill_root / "params.yaml").read_bytes())
    (tmp_path / "empty").mkdir()
    (tmp_path / "one").mkdir()
    Image.new("RGB", (32, 32), "red").save(tmp_path / "one" / "a.png")
    (tmp_path / "torn.zip").write_bytes(b"PK\x03\x04 and then nothing")
    _is_clear(ganmill(*words, cwd=tmp_path), 2, *said)


def test_misspelt_key_is_named_with_the_right_one(
    ganmill: Run, mill_root: Path, tmp_path: Path
) -> None:
    """A typing error in params.yaml is found before anything starts."""
    text = (mill_root / "params.yaml").read_text()
    (tmp_path / "params.yaml").write_text(text.replace("resolution:", "resolutoin:"))
    refused = ganmill("retrain", "tiny", cwd=tmp_path)
    _is_clear(refused, 2, "recipes.tiny.data.resolutoin", "Did you mean resolution?")


def test_outside_of_a_workspace_it_says_so(ganmill: Run, tmp_path: Path) -> None:
    """Without params.yaml here or above there is nothing to do, and that is said."""
    _is_clear(ganmill("status", cwd=tmp_path), 2, "params.yaml")


def test_busy_port_is_named_with_its_setting(ganmill: Run, mill_root: Path, tmp_path: Path) -> None:
    """A port that another program holds is one line with the variable to set."""
    (tmp_path / "params.yaml").write_bytes((mill_root / "params.yaml").read_bytes())
    with socket.socket() as taken, socket.socket() as free:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        free.bind(("127.0.0.1", 0))
        port, other = taken.getsockname()[1], free.getsockname()[1]
        free.close()
        ports = {"GANMILL_PREFECT_PORT": str(port), "GANMILL_MLFLOW_PORT": str(other)}
        refused = ganmill("up", cwd=tmp_path, **ports)
    _is_clear(refused, 2, str(port), "GANMILL_PREFECT_PORT")


def test_missing_write_permission_is_one_line(
    mill_root: Path, mill_environment: dict[str, str], tmp_path: Path
) -> None:
    """In a folder that one may not write to, the command names the path."""
    (tmp_path / "params.yaml").write_bytes((mill_root / "params.yaml").read_bytes())
    mortal: list[str] = []
    if os.getuid() == 0:  # root may write everywhere, unless it gives that up
        if not shutil.which("setpriv"):
            pytest.skip("root cannot give up its rights without setpriv")
        mortal = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"]
    tmp_path.chmod(0o555)
    refused = subprocess.run(
        [*mortal, str(COMMAND), "up"],
        cwd=tmp_path,
        env=mill_environment,
        capture_output=True,
        text=True,
        check=False,
    )
    tmp_path.chmod(0o755)
    _is_clear(refused, 2, str(tmp_path), "no permission")
