"""The example workflow for pull requests: what it may, and its commands, run as CI runs them."""

import http.server
import json
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

REPOSITORY = Path(__file__).resolve().parents[2]
WORKFLOWS = REPOSITORY / ".github" / "workflows"
WORKFLOW: dict[str, Any] = YAML(typ="safe", pure=True).load(WORKFLOWS / "recipes.yml")
JOBS = WORKFLOW["jobs"]
SMALL = """\
recipes:
  tiny:
    data:
      source: glyphs
      path: gan/image/glyphs.py
      resolution: 16
      glyphs: {count: 240, seed: 1}
      contract: {min_images: 100, min_images_per_class: 5}
    model: {preset: tiny}
    train: {budget: {kimg: 40}, seed: 1, batch_size: 32, device: cpu}
    evaluate: {samples: 200}
"""


def _steps(job: str, *, named: str | None = None) -> list[dict[str, Any]]:
    steps = JOBS[job]["steps"]
    return [each for each in steps if "run" in each and named in {None, each["name"]}]


def test_what_a_stranger_proposes_has_no_rights() -> None:
    """The job that runs a pull request's code may read and has no secret; no other runs any."""
    assert WORKFLOW["permissions"] == {}
    assert JOBS["measure"]["permissions"] == {"contents": "read"}
    assert JOBS["post"]["permissions"] == {"pull-requests": "write"}
    assert set(WORKFLOW["on"]) == {"pull_request"}  # never pull_request_target
    text = (WORKFLOWS / "recipes.yml").read_text()
    assert "secrets." not in text
    (checkout,) = [each for each in JOBS["measure"]["steps"] if "checkout" in each.get("uses", "")]
    assert checkout["with"]["persist-credentials"] is False
    assert "github.token" not in json.dumps(JOBS["measure"])
    uses = [each["uses"] for each in JOBS["post"]["steps"] if "uses" in each]
    assert uses == ["actions/download-artifact@v4"]
    assert "head.repo.full_name == github.repository" in JOBS["post"]["if"]


def test_no_word_of_a_stranger_becomes_a_command() -> None:
    """What comes from outside reaches a shell as a variable, never as part of its text."""
    for job in JOBS.values():
        assert job["timeout-minutes"] <= 60
        for step in job["steps"]:
            assert "${{" not in step.get("run", "")


def test_actions_are_pinned_as_in_ci() -> None:
    """Every action has a version, and those that CI uses too have the same one."""
    pattern = re.compile(r"uses: (\S+)@(\S+)")
    ci = dict(pattern.findall((WORKFLOWS / "ci.yml").read_text()))
    for action, version in pattern.findall((WORKFLOWS / "recipes.yml").read_text()):
        assert re.fullmatch(r"v\d+|[0-9a-f]{40}", version)
        assert ci.get(action, version) == version


def test_what_it_runs_is_there() -> None:
    """The files and targets that its commands name exist."""
    said = "\n".join(each["run"] for each in _steps("measure"))

    for path in re.findall(r"tests/[\w/.]+", said):
        assert (REPOSITORY / path).exists()
    assert ".venv/develops:" in (REPOSITORY / "Makefile").read_text()
    for step in [*_steps("measure"), *_steps("post")]:
        subprocess.run(["bash", "-n", "-c", step["run"]], check=True)


@dataclass
class Runner:
    """Runs the steps of a job one after the other, as GitHub's runner does."""

    root: Path
    environment: dict[str, str]
    outputs: dict[str, str] = field(default_factory=dict)

    def step(self, step: dict[str, Any]) -> str:
        """Run one step in bash with `-e`, with its variables filled in; return what it prints."""
        told = {name: self._filled(value) for name, value in step.get("env", {}).items()}
        files = {name: str(self.root.parent / name.lower()) for name in ("GITHUB_OUTPUT",)}
        files["GITHUB_STEP_SUMMARY"] = str(self.root.parent / "summary.md")
        done = subprocess.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]],
            cwd=self.root,
            env={**self.environment, **files, **told},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{step['name']}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        written = Path(files["GITHUB_OUTPUT"])
        lines = written.read_text().splitlines() if written.exists() else []
        self.outputs |= dict(line.split("=", 1) for line in lines)
        return done.stdout + done.stderr

    def _filled(self, value: str) -> str:
        return re.sub(
            r"\$\{\{ steps\.changed\.outputs\.(\w+) \}\}", lambda m: self.outputs[m[1]], value
        )


def _git(root: Path, *words: str) -> None:
    who = ("-c", "user.name=ada", "-c", "user.email=ada@example.com")
    subprocess.run(["git", *who, *words], cwd=root, check=True, capture_output=True)


@pytest.fixture
def runner(tmp_path: Path) -> Runner:
    """Return a runner in a checkout of a pull request that changes a recipe and adds another."""
    root = tmp_path / "checkout"
    for name in ("gan", "flows", "tests"):
        ignored = shutil.ignore_patterns("__pycache__", "shipped")
        shutil.copytree(REPOSITORY / name, root / name, ignore=ignored)
    (root / ".dvc").mkdir()
    files = ("dvc.yaml", ".dvcignore", ".gitignore", ".dvc/config", ".dvc/.gitignore")
    for name in (*files, "pyproject.toml"):
        shutil.copy(REPOSITORY / name, root / name)
    (root / "params.yaml").write_text(SMALL)
    _git(root, "init", "-qb", "main")
    _git(root, "add", "-A")
    _git(root, "commit", "-qm", "base")
    _git(root, "checkout", "-qb", "change")
    changed = SMALL.replace("seed: 1, batch_size: 32", "seed: 2, batch_size: 64")
    added = SMALL.removeprefix("recipes:\n").replace("  tiny:", "  fresh:")
    (root / "params.yaml").write_text(changed + added)
    _git(root, "commit", "-qam", "change")
    _git(root, "checkout", "-q", "main")
    _git(root, "merge", "-q", "--no-ff", "change", "-m", "merge")
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("GANMILL_", "PREFECT_"))}
    path = f"{Path(sys.executable).parent}:{kept['PATH']}"
    return Runner(root, {**kept, "PATH": path, "KIMG": "0.64"})


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_pull_request_is_measured_and_told(runner: Runner) -> None:
    """Its commands find the changed recipes, train both sides small, and write the comparison."""
    for step in _steps("measure"):
        if step["name"] != "install":
            runner.step(step)

    assert runner.outputs["recipes"].split() == ["tiny", "fresh"]
    told = (runner.root / "report.md").read_text()
    assert "| `train.batch_size` | `32` | `64` |" in told
    assert re.search(r"\| `fd_domain` \| [\d.]+ \[.+\] \| [\d.]+ \[.+\] \| [-+][\d.]+ \[", told)
    assert "### `fresh`: new" in told or "A new recipe." in told
    assert "What lies here is not of these parameters" not in told
    assert told in (runner.root.parent / "summary.md").read_text()


class _Comments(http.server.BaseHTTPRequestHandler):
    """The comments of one pull request, as GitHub's API has them."""

    kept: list[dict[str, Any]]
    asked: list[str]

    def do_GET(self) -> None:
        """List them."""
        self._answer(self.kept)

    def do_POST(self) -> None:
        """Add one, by the bot."""
        place = self.headers["Host"]
        url = f"http://{place}/one/{len(self.kept)}"
        self.kept.append({"url": url, "user": {"type": "Bot"}, **self._body()})
        self._answer(self.kept[-1])

    def do_PATCH(self) -> None:
        """Write one anew."""
        self.kept[int(self.path.rpartition("/")[2])].update(self._body())
        self._answer({})

    def _body(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        return found

    def _answer(self, document: object) -> None:
        self.asked.append(f"{self.command} {self.headers['Authorization']}")
        body = json.dumps(document).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *words: object) -> None:
        """Say nothing."""


@pytest.fixture
def comments() -> Iterator[int]:
    """Yield the port of an API with one comment of a person, who quotes the mark."""
    mark = "<!-- ganmill report -->\nmine"
    _Comments.kept = [{"url": "http://127.0.0.1:9/", "user": {"type": "User"}, "body": mark}]
    _Comments.asked = []
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Comments) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


@pytest.mark.skipif(not (shutil.which("curl") and shutil.which("jq")), reason="needs curl and jq")
def test_the_comment_is_one_and_is_renewed(comments: int, tmp_path: Path) -> None:
    """The first report is a new comment, later ones write it anew; no other comment is touched."""
    (step,) = _steps("post")
    environment = {
        "PATH": os.environ["PATH"],
        "GITHUB_API_URL": f"http://127.0.0.1:{comments}",
        "GITHUB_REPOSITORY": "ada/mill",
        "NUMBER": "7",
        "TOKEN": "canary",
        "no_proxy": "*",
    }
    root = tmp_path / "job"
    root.mkdir()
    runner = Runner(root, environment)
    for said in ('one `$(touch /tmp/x)` "quoted"', "two " + "x" * 70_000):
        (root / "report.md").write_text(said)
        printed = runner.step({**step, "env": {}})
        assert "canary" not in printed

    assert [each.split()[0] for each in _Comments.asked] == ["GET", "POST", "GET", "PATCH"]
    assert {each.split(" ", 1)[1] for each in _Comments.asked} == {"Bearer canary"}
    theirs, ours = (each["body"] for each in _Comments.kept)
    assert theirs.endswith("mine")
    assert ours.startswith("<!-- ganmill report -->\ntwo xxx")
    assert len(ours) < 65_536  # GitHub's limit
