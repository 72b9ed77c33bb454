"""The page of a comparison, as bytes and in a real browser."""

import html
import io
import json
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from flows.compare.facts import Fact, Page, Side, Strip, better, headline
from flows.compare.page import render
from gan.metrics.intervals import Interval
from gan.metrics.report import Row
from tests.flows.browser import headless

RED, BLUE = (200, 16, 32), (16, 32, 200)


def _row(name: str, difference: tuple[float, float, float], *, less_is_better: bool) -> Row:
    """Return a metric with a difference (value, low, high) and plain values of 12.5 for B."""
    value = 12.5 + difference[0]
    return Row(
        name=name,
        metric_id="0123456789ab",
        a=Interval(value, value - 0.5, value + 0.5),
        b=Interval(12.5, 12.0, 13.0),
        difference=Interval(*difference),
        less_is_better=less_is_better,
    )


ROWS = [
    _row("fd_domain", (0.041, 0.012, 0.070), less_is_better=True),
    _row("kd_domain", (0.003, -0.012, 0.018), less_is_better=True),
    _row("recall", (0.05, 0.02, 0.08), less_is_better=False),
    _row("copied_share", (0.0, 0.0, 0.0), less_is_better=True),
]


def _png(colour: tuple[int, int, int]) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (526, 64), colour).save(file, "PNG")
    return file.getvalue()


def _page(words: str) -> Page:
    """Return a page with `words` in every place that somebody else fills."""
    return Page(
        a=Side(f"tiny v2 {words}", "a" * 64, [("training run", words), ("v2", "http://[::1]/2")]),
        b=Side("tiny v1 (champion)", "b" * 64),
        rows=ROWS,
        samples=10_000,
        measured=[("metric id", words)],
        strips=[Strip(name, _png(RED), _png(BLUE)) for name in ("cats", words, "x" * 120)],
        strips_note=words,
        parameters=[Fact("train.lr", "0.002", "0.0002"), Fact(words, words, "")],
        equal_parameters=21,
        data=[Fact("data digest", "f" * 64, "e" * 64), Fact("classes", "3", "3")],
        data_note=words,
        cost=[Fact("training time", "1 h 15 min", "")],
        commands=[(words, words)],
    )


@pytest.fixture(scope="module")
def outside() -> Iterator[tuple[str, list[str]]]:
    """Return the address of a web server and what it was asked for."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *words: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}", asked
    server.shutdown()


@pytest.fixture(scope="module")
def hostile(outside: tuple[str, list[str]]) -> str:
    """Return a name that would run a script and fetch from the server, were it not text."""
    url = outside[0]
    return (
        f"</style></title><script src={url}/a></script><img src={url}/b onerror=alert(1)>"
        f"\"'&amp;{{}}<link rel=stylesheet href={url}/c>"
    )


@pytest.fixture
def browser(tmp_path: Path) -> Callable[..., str]:
    """Return a function that opens a file in a headless browser and returns what it printed."""
    return headless(tmp_path / "profile")


UNSEEN = (
    "No difference can be seen at N 10,000: kd_domain of A minus that of B is "
    "+0.003 [-0.012, +0.018]; the smallest that could be seen is about 0.015."
)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (ROWS[0], "B is better: fd_domain lower by 0.041 [0.012, 0.070]."),
        (ROWS[2], "A is better: recall higher by 0.050 [0.020, 0.080]."),
        (
            _row("fid", (-0.5, -0.9, -0.1), less_is_better=True),
            "A is better: fid lower by 0.50 [0.10, 0.90].",
        ),
        (ROWS[1], UNSEEN),
    ],
)
def test_the_verdict_is_one_plain_sentence(row: Row, said: str) -> None:
    """It names the better model only where the interval leaves out 0, else what could be seen."""
    assert headline([row], 10_000) == said


def test_a_bound_at_zero_makes_nobody_better() -> None:
    """An interval that touches 0, and one of no width, show no difference."""
    assert better(_row("fid", (0.5, 0.0, 1.0), less_is_better=True)) == ""
    assert better(ROWS[3]) == ""


def test_the_metric_table_says_all_of_each_metric() -> None:
    """Values, intervals, difference, direction, meaning, and a mark only where one is better."""
    page = render(_page("plain"))
    found = re.findall(r'<tr role="row"><th[^>]*>(\w+)<small>(.*?)</small></th>(.*?)</tr>', page)
    rows = {
        name: (said, html.unescape(re.sub("<[^>]+>", " ", cells))) for name, said, cells in found
    }

    assert list(rows) == [row.name for row in ROWS]
    assert rows["recall"][0].endswith("more is better")
    assert "Frechet distance" in rows["fd_domain"][0]
    assert " ".join(rows["fd_domain"][1].split()) == (
        "12.54 [12.04, 13.04] 12.50 [12.00, 13.00] +0.041 [+0.012, +0.070] B"
    )
    assert "no difference seen" in rows["kd_domain"][1]
    assert page.count('class="mark') == 2


def test_the_same_comparison_is_the_same_bytes() -> None:
    """A page holds no clock and no chance."""
    assert render(_page("plain")) == render(_page("plain"))


def test_a_comparison_of_one_metric_without_pictures_is_a_page_too() -> None:
    """What is not there is left out or said to be none."""
    bare = replace(
        _page("plain"), rows=ROWS[:1], strips=[], parameters=[], equal_parameters=0, commands=[]
    )
    page = render(bare)

    assert "<img" not in page
    assert "Parameters that differ</h2>\n<p>None.</p>" in page
    assert "nan" not in page


def test_names_are_text_whatever_they_hold(hostile: str) -> None:
    """No name becomes markup, and no address but that of a web page becomes a link."""
    page = render(_page(hostile))

    assert "<script" not in page
    assert page.count("<img") == 6
    assert "<link" not in page
    assert html.escape(hostile) in page
    links = re.findall(r'href="([^"]*)"', render(_page("javascript:alert(1)")))
    assert links == ["http://[::1]/2"]
    sources = re.findall(r' src="([^"]*)"', page)
    assert [each[:22] for each in sources] == ["data:image/png;base64,"] * 6


def test_a_phone_reads_it_and_nothing_is_fetched(
    tmp_path: Path,
    outside: tuple[str, list[str]],
    hostile: str,
    browser: Callable[..., str],
) -> None:
    """In a browser every picture is drawn, names are words, and nothing sticks out at the side."""
    probe = """<script>document.title = JSON.stringify({
      pictures: [...document.images].map(each => each.naturalWidth),
      tables: document.querySelectorAll('table').length,
      heads: document.querySelectorAll('tbody th[scope=row]').length,
      named: [...document.images].every(each => each.alt.length > 20),
      text: document.querySelectorAll('h3')[1].textContent,
      scripts: document.scripts.length, width: document.documentElement.scrollWidth,
      window: window.innerWidth})</script>"""
    # The policy of the page forbids scripts, so the probe can only run in a copy without it; what
    # the server was asked for shows that even then no name is markup.
    plain = render(_page(hostile))
    file = tmp_path / "page.html"
    file.write_text(re.sub(r'<meta http-equiv="Content[^>]*>', "", plain) + probe)
    dom = browser(file, "--window-size=500,900", "--dump-dom")
    title = re.search(r"<title>(\{.*?\})</title>", dom, re.DOTALL)
    assert title is not None
    seen = json.loads(html.unescape(title[1]))

    assert seen["pictures"] == [526] * 6
    assert seen["tables"] == 5
    assert seen["heads"] == len(ROWS) + 2 + 2 + 1 + 2
    assert seen["named"]
    assert seen["text"] == hostile
    assert seen["scripts"] == 1
    assert seen["width"] <= seen["window"]
    assert outside[1] == []


def test_a_browser_draws_the_page_as_it_is_written(
    tmp_path: Path, hostile: str, browser: Callable[..., str]
) -> None:
    """Under the page's own policy both models' pictures are on the screen, in their colours."""
    file, shot = tmp_path / "page.html", tmp_path / "shot.png"
    file.write_text(render(_page(hostile)))
    browser(file, "--window-size=1200,1200", f"--screenshot={shot}")
    with Image.open(shot) as picture:
        drawn = picture.convert("RGB")
        colours = {colour: count for count, colour in drawn.getcolors(1 << 24) or []}

    assert colours[RED] > 3 * 300 * 30
    assert colours[BLUE] > 3 * 300 * 30
    assert len(colours) > 50  # words and lines beside them
