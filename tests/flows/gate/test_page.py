"""The page of a gate decision, as bytes and in a real browser."""

import html
import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from flows.gate import decision, drawing
from flows.gate.decision import Canary, Evidence, Interval, Paired, Relative
from flows.gate.page import summary, write_page
from flows.gate.page_figures import Figure, check_of, figures, plot
from flows.registry import Version
from gan.durable import sha256, write_json
from gan.sections import GateSpec
from tests.flows.browser import headless

OURS, THEIRS, BEST = "a" * 64, "b" * 64, "c" * 64
CANDIDATE = Version("stickers", 2, OURS, "r", "http://me:pw@127.0.0.1:5000/#/2", {})
CHAMPION = Version("stickers", 1, THEIRS, "r", "http://127.0.0.1:5000/#/1", {})
HOSTILE = "</style></title><script src=http://127.0.0.1:9/a></script><img src=x>\"'&amp;{}"
LIKE = Relative(0.5, Interval(0.01, -0.02, 0.04))
PAIRED = Paired(
    OURS, THEIRS, "m" * 12, "m" * 12, 0.4, Interval(0.01, -0.01, 0.03), LIKE, LIKE,
    {"cats": LIKE, "hearts": replace(LIKE, difference=Interval(-0.04, -0.2, 0.1))},
)  # fmt: skip
GOOD = Evidence(
    "stickers", OURS, THEIRS, "m" * 12, Interval(0.1, 0.09, 0.11), PAIRED, {"loads": True},
    copies=False,
    canary=Canary(OURS, 0.01, 400.0, 16, 16, {}),
    champion_canary=Canary(THEIRS, 0.01, 400.0, 16, 16, {}),
)  # fmt: skip
WORSE = replace(PAIRED, difference=Interval(0.3, 0.2, 0.4))
LOST = {"cats": replace(LIKE, difference=Interval(-0.4, -0.45, -0.35))}
CASES = {
    "pass": GOOD,
    "fail": replace(GOOD, paired=WORSE, best=replace(PAIRED, champion_digest=BEST), copies=True),
    "unknown": replace(GOOD, paired=None, canary=None, problems={"champion": "MLflow is away"}),
}
EVERY = [
    *CASES.values(),
    replace(GOOD, champion_digest=None, paired=None, champion_canary=None),
    replace(GOOD, champion_digest=None),
    replace(GOOD, fd_share=None, copies=None, checks={}, champion_canary=None),
    replace(GOOD, fd_share=Interval(float("nan"), 0, 1), checks={"loads": False}),
    replace(GOOD, paired=replace(PAIRED, classes=LOST, recall=None)),
    replace(GOOD, paired=replace(PAIRED, classes={}, champion_metric_id="x")),
    replace(GOOD, paired=replace(PAIRED, classes={})),
    replace(GOOD, best=replace(PAIRED, champion_digest=BEST, champion_metric_id="x")),
    replace(GOOD, canary=Canary(OURS, 0.0, 400.0, 9, 3, {}, "it broke")),
    replace(GOOD, canary=Canary(OURS, 0.9, 400.0, 16, 1, {})),
]


def _noise(count: int, side: int, seed: int = 1) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.random.default_rng(seed).integers(0, 256, (count, 3, side, side), np.uint8)


@pytest.fixture
def decide(tmp_path: Path) -> Callable[..., tuple[Path, dict[str, Any]]]:
    """Return what writes the folder of a decision: evidence -> (folder, document)."""

    def make(
        evidence: Evidence, names: tuple[str, ...] = ("cats", "hearts"), side: int = 16
    ) -> tuple[Path, dict[str, Any]]:
        folder = tmp_path / "reports" / "stickers" / "gate" / f"{len(list(tmp_path.rglob('*')))}"
        (folder / "canary").mkdir(parents=True)
        pictures = {
            name: drawing._write(folder / name, {each: _noise(8, side) for each in names})
            for name in ("candidate.png", "champion.png", "real.png")
        }
        files = {}
        for n in range(4):
            pixels = _noise(1, 4 * side, n)[0].transpose(1, 2, 0)
            Image.fromarray(pixels).save(folder / "canary" / f"{n}.png")
            files[f"{n}.png"] = sha256(folder / "canary" / f"{n}.png")
        canary = evidence.canary and replace(evidence.canary, files=files)
        evidence, gate = replace(evidence, canary=canary), GateSpec()
        verdict = decision.decide(evidence, gate)
        document = decision.record(evidence, gate, verdict, pictures)
        write_json(folder / "gate.json", document)
        return folder, document

    return make


def _page(
    found: tuple[Path, dict[str, Any]],
    candidate: Version | None = CANDIDATE,
    **links: str,
) -> str:
    return write_page(*found, candidate, CHAMPION, links).read_text()


def _words(page: str) -> str:
    return " ".join(html.unescape(re.sub(r"<style>.*?</style>|<[^>]+>", " ", page)).split())


@pytest.mark.parametrize(
    ("outcome", "headline"),
    [
        ("pass", "✓ Passes: stickers v2 may replace the champion All 8 checks hold."),
        ("fail", "✗ Fails: stickers v2 must not replace the champion Distance +0.3 against"),
        ("unknown", "? Unknown: stickers v2: whether it may replace the champion is not known"),
    ],
)
def test_the_verdict_comes_first_and_every_check_is_told(
    decide: Callable[..., tuple[Path, dict[str, Any]]], outcome: str, headline: str
) -> None:
    """One large line, then each check with its state as a word and its whole sentence."""
    folder, document = decide(CASES[outcome])
    page = _page((folder, document))
    said = _words(page)

    assert document["verdict"]["outcome"] == outcome
    assert headline in said
    assert said.index(headline) < said.index("The models")
    words = {"pass": "✓ passes", "fail": "✗ fails", "unknown": "? unknown"}
    for reason in document["verdict"]["reasons"]:
        state, _, sentence = reason.partition(": ")
        assert f"{words[state]} {sentence}".casefold() in said.casefold()
    marks = re.findall(r'class="mark (\w+)"', page)
    states = [reason.partition(":")[0] for reason in document["verdict"]["reasons"]]
    assert marks == sorted(states, key=["fail", "unknown", "pass"].index)
    assert sha256(folder / "gate.json") in said


def test_every_sentence_of_the_gate_has_a_name_and_every_figure_its_check() -> None:
    """No check that the gate can speak of is unknown to the page, and no drawing is lost."""
    for evidence in EVERY:
        for gate in (GateSpec(), GateSpec(min_accepted=None, max_fd_share=0.01)):
            verdict = decision.decide(evidence, gate)
            document = decision.record(evidence, gate, verdict, {})
            named = [check_of(reason.partition(": ")[2]) for reason in verdict.reasons]

            assert all(named), verdict.reasons
            assert len(set(named)) == len(named), verdict.reasons
            if evidence.champion_digest or not evidence.paired:  # else it contradicts itself
                shown = figures(document["evidence"], document["gate"])
                assert {each.check for each in shown} <= set(named)


@pytest.mark.parametrize(
    ("found", "colour", "is_beyond"),
    [
        (Figure("c", "distance", 0.01, -0.01, 0.03, 0.04, more_is_worse=True), "pass", False),
        (Figure("c", "distance", 0.05, 0.03, 0.07, 0.04, more_is_worse=True), "fail", True),
        (Figure("c", "recall", -0.2, -0.3, -0.1, -0.1, more_is_worse=False), "fail", True),
        (Figure("c", "recall", 0.3, 0.2, 0.4, -0.1, more_is_worse=False), "pass", False),
        (Figure("c", "distance", 9e9, 8e9, 1e10, 0.04, more_is_worse=True), "fail", True),
        (Figure("c", "distance", 0.5, 0.4, 0.6, 0.0, more_is_worse=True), "fail", True),
    ],
)
def test_a_drawing_shows_on_which_side_of_the_limit_a_value_is(
    found: Figure,
    colour: str,
    is_beyond: bool,  # noqa: FBT001  # of the table above
) -> None:
    """Right is worse, whatever the metric; the words say the same to who cannot see it."""
    drawn = plot(found, "fail", 2.0)
    place, limit = (
        float(re.search(pattern, drawn)[1])  # type: ignore[index]
        for pattern in (r'circle cx="([\d.]+)"', r'class="limit" d="M([\d.]+)')
    )

    assert (place > limit) == is_beyond
    assert 0 <= place <= 220
    assert f'<svg class="{colour}"' in drawn
    assert f"{found.name}: " in drawn


def test_names_are_text_whatever_they_hold(
    decide: Callable[..., tuple[Path, dict[str, Any]]],
) -> None:
    """No class, reason, tag or address becomes markup; a login in an address is not shown."""
    classes = {HOSTILE: LIKE, "cats": LIKE}
    evil = replace(
        GOOD,
        paired=replace(PAIRED, classes=classes),
        problems={HOSTILE: HOSTILE},
        checks={HOSTILE: False},
    )
    version = replace(CANDIDATE, tags={"mlflow_run_url": HOSTILE, "flow_run_url": "javascript:x"})
    found = decide(evil, names=(HOSTILE, "cats"))
    page = _page(found, version, **{HOSTILE: HOSTILE, "data": "../../data/index.html"})

    assert "<script" not in page
    assert page.count("<img") == 2 * 3 + 4
    assert set(re.findall(r'href="([^"]*)"', page)) == {
        "http://127.0.0.1:5000/#/2",
        "http://127.0.0.1:5000/#/1",
        "../../data/index.html",
    }
    assert {each[:22] for each in re.findall(r' src="([^"]*)"', page)} == {"data:image/png;base64,"}
    assert html.escape(HOSTILE) in page
    assert "me:pw" not in page
    assert "<script" not in summary(found[1])
    assert summary(found[1]).count("\n- ") == len(found[1]["verdict"]["reasons"])


def test_a_picture_that_was_altered_is_not_shown(
    decide: Callable[..., tuple[Path, dict[str, Any]]],
) -> None:
    """What is seen is what the decision names by its digest; what is gone is said to be."""
    folder, document = decide(GOOD)
    better = {name: _noise(8, 16, seed=9) for name in ("cats", "hearts")}
    drawing._write(folder / "champion.png", better)
    (folder / "canary" / "0.png").write_bytes((folder / "canary" / "1.png").read_bytes())
    page = _page((folder, document))

    assert page.count("<img") == 2 * 2 + 3
    assert "Not shown, since altered or gone: champion.png." in page
    assert "1 of the 4 files are altered or gone." in page


def test_the_same_decision_is_the_same_bytes_and_a_page_stays_light(
    decide: Callable[..., tuple[Path, dict[str, Any]]],
) -> None:
    """No clock and no chance; where pictures are heavy they are shrunk."""
    small = decide(GOOD)
    assert _page(small) == _page(small)
    heavy = _page(decide(GOOD, names=tuple(f"class {n}" for n in range(12)), side=64))

    assert heavy.count("<img") == 12 * 3 + 4
    assert len(heavy) < 3_200_000


def test_a_decision_without_champion_version_or_pictures_is_a_page_too(
    decide: Callable[..., tuple[Path, dict[str, Any]]],
) -> None:
    """A cold start, a bundle in no version, and nothing drawn: what is there is shown."""
    folder, document = decide(EVERY[3])
    for picture in folder.glob("*.png"):
        picture.unlink()
    said = _words(write_page(folder, {**document, "pictures": {}}, None, None, {}).read_text())

    assert "Passes: stickers bundle aaaaaaaaaaaa may become the first champion" in said
    assert "There are no pictures of this decision." in said
    assert "Champion " not in said
    assert "None" not in said


def test_a_phone_reads_it_and_nothing_is_fetched(
    tmp_path: Path, decide: Callable[..., tuple[Path, dict[str, Any]]]
) -> None:
    """In a browser every picture is drawn, names are words, and nothing sticks out at the side."""
    open_in = headless(tmp_path / "profile")
    classes = {HOSTILE: LIKE, "x" * 120: LIKE}
    found = decide(
        replace(CASES["fail"], paired=replace(WORSE, classes=classes)), names=tuple(classes)
    )
    probe = """<script>document.title = JSON.stringify({
      pictures: [...document.images].every(each => each.naturalWidth > 0),
      count: document.images.length, text: document.querySelector('h3').textContent,
      named: [...document.images].every(each => each.alt.length > 20),
      drawn: [...document.querySelectorAll('svg circle')].every(
        each => each.getBoundingClientRect().width > 5),
      headline: document.querySelector('h1').getBoundingClientRect().top,
      scripts: document.scripts.length, width: document.documentElement.scrollWidth,
      window: window.innerWidth})</script>"""
    # The page's own policy forbids scripts, so the probe can only run in a copy without it.
    file = tmp_path / "page.html"
    file.write_text(re.sub(r'<meta http-equiv="Content[^>]*>', "", _page(found)) + probe)
    dom = open_in(file, "--window-size=500,900", "--dump-dom")
    title = re.search(r"<title>(\{.*?\})</title>", dom, re.DOTALL)
    assert title is not None
    seen = json.loads(html.unescape(title[1]))

    assert seen["pictures"]
    assert seen["count"] == 2 * 3 + 4
    assert seen["named"]
    assert seen["drawn"]
    assert seen["text"] == HOSTILE
    assert seen["headline"] < 100
    assert seen["scripts"] == 1
    assert seen["width"] <= seen["window"]
