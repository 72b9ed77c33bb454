"""From a clone to a batch with the network cut: no command and no page tries to leave the machine.

The work is done on a host whose routes and whose name server look like any other's, and lead to a
cable with nobody at its other end: there every packet is written down, names that are asked for
included. Not one may come.
"""

import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from gan.durable import read_json
from gan.paths import Layout
from tests.faults import visit
from tests.faults.hosts import Host, Outside, missing, watched_host
from tests.flows.browser import find_browser
from tests.flows.conftest import RECIPES

_WHY = missing()
pytestmark = [
    pytest.mark.skipif(_WHY is not None, reason=_WHY or ""),
    pytest.mark.timeout(3000),
]

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
MLFLOW, PREFECT = "http://127.0.0.1:5000", "http://127.0.0.1:4200"  # it has all ports to itself


@dataclass
class Alone:
    """A workspace, cloned on a host that is alone.

    Attributes:
        host: The host.
        outside: Where it is written down what it sends.
        layout: The workspace.
        said: What the commands said.
        home: Of a user who has no settings yet.
    """

    host: Host
    outside: Outside
    layout: Layout
    said: Path
    home: Path
    seen: int = field(default=0)

    def run(self, *command: str, cwd: Path | None = None) -> None:
        """Run a command to its good end; neither it nor what runs beside it may send anything."""
        inherited = ("PATH", "LANG", "OMP_NUM_THREADS", "TMPDIR")
        kept = {name: os.environ[name] for name in inherited if name in os.environ}
        plain = ["env", "-i", *(f"{name}={value}" for name, value in kept.items())]
        # The clone's code, not that of the installation; `python` of a stage is the present one.
        plain += [f"HOME={self.home}", f"PYTHONPATH={self.layout.root}", "COLUMNS=100"]
        plain += [f"PATH={BIN}:{os.environ['PATH']}"]
        done = self.host.start(*plain, *command, cwd=cwd or self.layout.root, said=self.said)
        assert done.wait() == 0, f"{command}\n{self.said.read_text()[-3000:]}"
        assert self.new() == [], command

    def new(self) -> list[dict[str, object]]:
        """Return what was sent since the last question."""
        asked = self.outside.asked()
        new, self.seen = asked[self.seen :], len(asked)
        return new


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Alone]:
    """Return the host with a fresh clone of this repository, and a recipe of few small stickers."""
    folder = tmp_path_factory.mktemp("offline")
    (folder / "home").mkdir()
    with watched_host(folder) as (host, outside):
        layout = Layout(folder / "clone")
        found = Alone(host, outside, layout, folder / "said.txt", folder / "home")
        safe = ["-c", f"safe.directory={ROOT}", "-c", f"safe.directory={ROOT}/.git"]
        found.run("git", *safe, "clone", "-q", str(ROOT), str(layout.root), cwd=folder)
        layout.params.write_text(RECIPES)
        yield found


def test_the_detector_detects(tmp_path: Path) -> None:
    """A name that is asked for, a connection, a datagram, by IPv4 or IPv6: each is seen.

    A host that does nothing sends nothing.
    """
    planted = {
        "name": "import socket; socket.getaddrinfo('stats.example.com', 443)",
        "tcp": "import socket; socket.create_connection(('192.0.2.7', 443), timeout=0.2)",
        "tcp6": "import socket; socket.create_connection(('2001:db8::7', 443), timeout=3)",
        "udp": "import socket as s; s.socket(type=s.SOCK_DGRAM).sendto(b'x', ('192.0.2.8', 9))",
    }
    with watched_host(tmp_path) as (host, outside):
        assert outside.asked() == []
        for code in planted.values():
            host.start(sys.executable, "-c", code, cwd=tmp_path, said=tmp_path / "said").wait()
        found = outside.asked()

    assert {row.get("name") for row in found} == {"stats.example.com", None}
    places = {(row["to"], row["port"]) for row in found if "name" not in row}
    assert places == {("192.0.2.7", 443), ("2001:db8::7", 443), ("192.0.2.8", 9)}


def test_stages_by_hand_stay_on_the_machine(alone: Alone) -> None:
    """`dvc repro` in a fresh clone, by a user without settings: nothing leaves, no statistics.

    Great Expectations, DVC and its search for updates are there without ganmill's own commands.
    """
    alone.run("dvc", "repro", "-q", "prepare@tiny")
    alone.run("dvc", "status", "-q", "prepare@tiny")


@pytest.mark.faults
def test_from_a_clone_to_a_batch_nothing_leaves(alone: Alone) -> None:
    """Servers, the whole retraining, a batch and its check: not one packet, then nor later."""
    alone.run("ganmill", "up")
    alone.run("ganmill", "retrain", "tiny")
    alone.run("ganmill", "generate", "tiny", "--count", "6", "--slot", "offline")
    alone.run("ganmill", "verify", "assets/tiny")
    alone.run("ganmill", "status")
    alone.run("sleep", "20")  # servers, worker and monitor go on beside it
    alone.run("ganmill", "down")

    assert list(alone.layout.batches("tiny").glob("*/batch.json"))
    assert alone.host.pids() == []


@pytest.mark.faults
def test_no_page_asks_the_outside(alone: Alone, tmp_path: Path) -> None:
    """The pages of both servers and of our reports show what they have, and ask only this machine.

    Prefect's pages would fetch a configuration of its analytics, and its page of the API a script:
    our server lets no page ask others. A page of a stranger with a picture from elsewhere is seen.
    """
    find_browser()
    alone.run("ganmill", "up")
    alone.run("ganmill", "retrain", "tiny")
    files = _pages(alone.layout)
    planted = tmp_path / "planted.html"
    planted.write_text("planted <img src='https://pictures.example.com/a.png'>")
    pages = [*_server_pages(), *(path.as_uri() for path in files)]
    visited = [*pages, planted.as_uri()]
    opening = (sys.executable, "-m", "tests.faults.visit", str(tmp_path), *visited)
    browser = alone.host.start(*opening, cwd=ROOT, said=alone.said)
    assert browser.wait() == 0, alone.said.read_text()[-3000:]

    record = tmp_path / visit.RECORD
    assert visit.asked_by_pages(record) == {"https://pictures.example.com/a.png"}
    own = visit.asked_by_the_browser(record)  # of the browser's maker
    names = {row.get("name") for row in alone.new() if row.get("name") not in own}
    assert names == {"pictures.example.com"}
    shown = read_json(tmp_path / visit.PAGES)
    empty = [address for address in pages if not shown[address].strip()]
    assert empty == [f"{PREFECT}/docs"]  # all of it comes from elsewhere
    alone.run("ganmill", "down")


def _server_pages() -> list[str]:
    ours = [f"{MLFLOW}/#/{place}" for place in ("experiments", "models", "models/tiny/versions/1")]
    ours += [f"{MLFLOW}/#/experiments/1/runs?compareRunsMode=CHART"]
    places = ("dashboard", "runs", "flows", "deployments", "work-pools", "automations", "settings")
    return [*ours, *(f"{PREFECT}/{place}" for place in (*places, "docs"))]


def _pages(layout: Layout) -> list[Path]:
    """Return the pages that are files: one of each kind."""
    kinds = ["assets/tiny/*/index.html", "reports/tiny/data/index.html"]
    kinds += ["reports/tiny/data/*/*.html", "reports/tiny/gate/*/index.html"]
    kinds += ["reports/tiny/drift/index.html", "reports/tiny/datasets/*/card/index.html"]
    found = [next(layout.root.glob(kind), None) for kind in kinds]
    pages = [path for path in found if path is not None]
    assert len(pages) >= 5, found
    return pages
