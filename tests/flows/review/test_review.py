"""A person's review of a batch: what is kept, for which bytes, and who may reach the form."""

import http.client
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import Queue
from threading import Thread
from typing import Any
from urllib.parse import urlencode, urlsplit

import pytest

from flows.review.review import Review, decide, find_review, reviewable, undecided
from flows.review.server import serve
from gan.assets.manifest import verify
from gan.errors import ApprovalError, DamagedError, UsageError
from tests.flows.devtools import browsing
from tests.gan.assets.batches import mint_batch


@pytest.fixture(scope="module")
def _minted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return mint_batch(tmp_path_factory.mktemp("minted"), 6)[0]


@pytest.fixture
def batch(_minted: Path, tmp_path: Path) -> Path:
    """Return a batch of six assets that nobody looked at."""
    return Path(shutil.copytree(_minted, tmp_path / _minted.name))


@pytest.fixture
def assets(batch: Path) -> list[str]:
    """Return its accepted assets."""
    return [row.asset for row in reviewable(batch)]


@contextmanager
def served(batch: Path) -> Iterator[tuple[str, "Queue[Any]"]]:
    """Serve the form in a thread; yield its address, and where the outcome will be."""
    said: Queue[str] = Queue()
    outcome: Queue[Any] = Queue()
    thread = Thread(
        target=lambda: outcome.put(serve(batch, actor="ada", progress=said.put)), daemon=True
    )
    thread.start()
    address = said.get(timeout=30).split()[-1]
    yield address, outcome
    accepted = urlencode({"rest": "accept", "done": "1"})
    if thread.is_alive():
        send(address, "decide", accepted)
    thread.join(timeout=30)
    assert not thread.is_alive()


def send(address: str, path: str = "", body: str | None = None, **headers: str) -> tuple[int, str]:
    """Send a request as the form does, but for what `headers` change; return status and text."""
    parts = urlsplit(address)
    assert parts.hostname
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=30)
    given = {"Host": parts.netloc}
    if body is not None:
        given |= {"Origin": f"http://{parts.netloc}"}
        given |= {"Content-Type": "application/x-www-form-urlencoded"}
    given |= {name.replace("_", "-"): value for name, value in headers.items()}
    given = {name: value for name, value in given.items() if value}
    connection.request("GET" if body is None else "POST", parts.path + path, body, given)
    answer = connection.getresponse()
    return answer.status, answer.read().decode(errors="replace")


def test_words_are_kept_with_the_batch(batch: Path, assets: list[str]) -> None:
    """Who, when, about which bytes; a later word replaces an earlier one; the batch stays sound."""
    decide(
        batch, accept=assets[:2], reject=[assets[2]], actor="ada", notes={assets[2]: " crooked "}
    )
    review = decide(batch, accept=["all"], reject=[assets[0]], actor="bob", withdraw=[assets[1]])

    assert (
        review
        == find_review(batch)
        == Review.model_validate_json((batch / "review.json").read_text())
    )
    assert review.decisions == {
        **dict.fromkeys(assets[3:], "accept"),
        assets[0]: "reject",
        assets[2]: "reject",
    }
    assert (review.reviewer, review.notes) == ("bob", {assets[2]: "crooked"})
    assert undecided(reviewable(batch), review) == [assets[1]]
    assert verify(batch) == []


def test_words_are_about_accepted_assets_alone(batch: Path, assets: list[str]) -> None:
    """A name that is not one, or both words for one asset, changes nothing."""
    with pytest.raises(UsageError, match="'feed' is not one of its accepted assets"):
        decide(batch, accept=["feed"], actor="ada")
    with pytest.raises(UsageError, match="both accepted and rejected"):
        decide(batch, accept=assets, reject=assets[:1], actor="ada")
    assert find_review(batch) is None


def test_one_word_may_be_about_all_the_rest(batch: Path, assets: list[str]) -> None:
    """`all` means each asset without a word, whichever the word; both at once is refused."""
    decide(batch, accept=assets[:1], actor="ada")
    said = decide(batch, reject=["all"], actor="ada")
    assert said.decisions == {assets[0]: "accept"} | dict.fromkeys(assets[1:], "reject")
    assert decide(batch, withdraw=["all"], actor="ada").decisions == {}
    with pytest.raises(UsageError, match="cannot be both"):
        decide(batch, accept=["all"], reject=["all"], actor="ada")


def test_a_review_that_breaks_under_the_form_is_said(batch: Path) -> None:
    """The page answers with what is wrong, not with an error of the server."""
    with served(batch) as (address, _):
        (batch / "review.json").write_text("{}")
        status, page = send(address)
        (batch / "review.json").unlink()
        send(address, "decide", urlencode({"rest": "accept", "done": "1"}))
    assert (status, "review.json" in page) == (409, True)


def test_a_batch_that_changed_has_no_review(batch: Path, assets: list[str]) -> None:
    """The word was about other bytes; it has to be given again."""
    decide(batch, accept=assets, actor="ada")
    (batch / "batch.json").write_bytes((batch / "batch.json").read_bytes() + b"\n")
    with pytest.raises(ApprovalError, match="changed since"):
        find_review(batch)
    with pytest.raises(ApprovalError, match="changed since"):
        decide(batch, accept=assets, actor="ada")


def test_a_review_that_is_none_is_said(batch: Path) -> None:
    """Neither taken for an empty one nor overwritten."""
    (batch / "review.json").write_text('{"format": 1}')
    with pytest.raises(DamagedError, match=r"review\.json"):
        decide(batch, accept=["all"], actor="ada")


def test_the_form_keeps_what_is_sent(batch: Path, assets: list[str]) -> None:
    """Without a script too: words and notes are kept, and Done ends it once all are decided."""
    with served(batch) as (address, outcome):
        status, page = send(address)
        assert status == 200
        assert all(asset in page for asset in assets)
        picture = page.split('src="files/')[1].split('"')[0]
        assert send(address, f"files/{picture}")[0] == 200

        fields = {f"word-{assets[0]}": "reject", f"note-{assets[0]}": '<b>"no"', "done": "1"}
        status, page = send(address, "decide", urlencode(fields))
        assert status == 200
        assert "5 are undecided" in page
        assert "&lt;b&gt;&quot;no&quot;" in page
        status, page = send(address, "decide", urlencode({"rest": "accept", "done": "1"}))
        assert "5 accepted, 1 rejected" in page
        review = outcome.get(timeout=30)

    assert review.decisions[assets[0]] == "reject"
    assert review.notes == {assets[0]: '<b>"no"'}
    assert review.reviewer == "ada"


def test_nobody_else_reaches_the_form(batch: Path, assets: list[str]) -> None:
    """Without the secret, through another name, or from another page: 403, and nothing is kept."""
    word = urlencode({f"word-{assets[0]}": "reject"})
    with served(batch) as (address, _):
        port = urlsplit(address).port
        elsewhere = f"http://127.0.0.1:{port}/{'x' * 32}/"
        tries = [
            send(elsewhere),
            send(elsewhere, "decide", word),
            send(f"http://127.0.0.1:{port}/"),
            send(address, Host="evil.example"),
            send(address, Host=f"evil.example:{port}"),
            send(address, "decide", word, Origin="https://evil.example"),
            send(address, "decide", word, Origin="null"),
            send(address, "decide", word, Origin=""),
            send(address, "decide", word, Host=f"evil:{port}", Origin=f"http://evil:{port}"),
        ]
        paths = ["files/batch.json", "files/../batch.json", "files/%2e%2e/x", "files//etc/passwd"]
        missing = [send(address, path)[0] for path in [*paths, "openapi.json", "docs"]]

        assert {status for status, _ in tries} == {403}
        assert set(missing) == {404}
        assert find_review(batch) is None


def test_it_listens_on_this_machine_alone(batch: Path) -> None:
    """The address is one of loopback, with a secret that nobody guesses."""
    with served(batch) as (address, _):
        parts = urlsplit(address)
        assert parts.hostname == "127.0.0.1"
        assert len(parts.path.strip("/")) >= 32


def test_a_spoilt_batch_is_not_shown(batch: Path, assets: list[str]) -> None:
    """A person's word must be about what was minted."""
    (batch / "png" / f"{assets[0]}.png").write_bytes(b"another")
    with pytest.raises(DamagedError, match=assets[0]):
        serve(batch, actor="ada")


def test_a_taken_port_is_said(batch: Path) -> None:
    """Which, and that another may be named."""
    with served(batch) as (address, _):
        port = urlsplit(address).port
        assert port
        with pytest.raises(UsageError, match=f"port {port}"):
            serve(batch, actor="ada", port=port)


def test_keys_decide_in_a_real_browser(batch: Path, tmp_path: Path) -> None:
    """`a` and `r` say a word and go on, each is saved at once, and the page says how far it is."""
    order = [row.asset for row in sorted(reviewable(batch), key=lambda r: (r.class_, r.ordinal))]
    with served(batch) as (address, _), browsing(tmp_path / "profile") as tab:
        tab.open(address)
        tab.until("[...document.images].every(i => i.complete && i.naturalWidth)")
        for key in ("a", "r", "ArrowRight", "a"):
            tab.press(key)
        tab.until("document.querySelector('output').value === '3 of 6 decided, 1 rejected'")
        tab.until("waiting.then(() => { window.saved = true; }) && window.saved")
        review = find_review(batch)
        assert review is not None
        assert review.decisions == {order[0]: "accept", order[1]: "reject", order[3]: "accept"}

        tab.press("n")
        for letter in "dull":
            tab.press(letter)
        tab.press("Enter")
        tab.until("window.saved = false, waiting.then(() => { window.saved = true; }), true")
        tab.until("window.saved")
        assert json.loads((batch / "review.json").read_text())["notes"] == {order[4]: "dull"}
        tab.open(address)
        assert tab.ask("document.querySelectorAll('input:checked').length") == 3
