"""The page of a drift check, as bytes and in a real browser."""

import html
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from flows.drift.checking import _held, _of_facts, _outcome
from flows.drift.drift_page import commands, render
from flows.drift.findings import Drift, Figures
from flows.drift.samples import Sample, Version
from gan.metrics.drift import feature_shift
from gan.modality import Items
from gan.sections import DriftSpec
from tests.flows.browser import headless

HOSTILE = "</style></title><script>alert(1)</script><img src=http://127.0.0.1:9/b>\"'&amp;{}"
RED, BLUE = (200, 16, 32), (16, 32, 200)
CLASSES = ["cats", HOSTILE, "x" * 150]
SPEC = DriftSpec(max_label_shift=0.25, max_fact_shift=0.3, max_feature_shift=5.0)


def _not_there() -> Items:
    raise AssertionError("the page opens no images")


def _version(seed: int, by: float, kept: int) -> Version:
    """Return 120 images less some of the last class, whose facts are moved by so much."""
    random = np.random.default_rng(seed)
    labels = [name for name in CLASSES for _ in range(40)][:kept]
    names = ("luminance", "contrast", "sharpness", "entropy", "alpha_share")
    facts = {name: random.normal(by, 1.0, kept) for name in names}
    sizes = {"width": np.full(kept, 64), "height": np.full(kept, 64)}
    table = pd.DataFrame({**facts, **sizes})
    return Version(f"{seed}" * 64, table, labels, np.arange(kept, dtype=np.int64), _not_there)


def _sample(version: Version, colour: tuple[int, int, int], by: float) -> Sample:
    count = len(version.labels)
    pictures = np.broadcast_to(np.array(colour, np.uint8)[:, None, None], (count, 3, 16, 16))
    random = np.random.default_rng(1 + int(by))
    features = random.normal(by, 1.0, (count, 8)).astype(np.float32)
    return Sample(np.arange(count), features, pictures, version.labels)


@pytest.fixture(scope="module")
def drifted() -> Drift:
    """Return a check of images that moved in facts and features, and a class that lost some."""
    old, new = _version(1, 0.0, 120), _version(2, 1.0, 90)
    seen = (_sample(old, RED, 0.0), _sample(new, BLUE, 1.0))
    figures = replace(
        _of_facts(old, new),
        features=feature_shift(seen[0].features, seen[1].features, 1),
        seen=seen,
    )
    return _found(figures)


def _found(figures: Figures) -> Drift:
    findings = _held(figures, SPEC)
    outcome = _outcome(findings)
    page = Path("/p.html")
    digests = (figures.new.digest, figures.old.digest)
    return Drift("tiny", outcome, "It is told.", *digests, 3, page, findings, figures)


def test_every_figure_is_told_with_limit_and_answer(drifted: Drift) -> None:
    """Classes are near enough; five facts and what the network sees are too far, shape is not."""
    page = render(drifted, SPEC)
    rows = re.findall(r'<tr role="row"><th[^>]*>([\w ]+)<small>.*?</th>(.*?)</tr>', page)
    answers = {name: re.findall(r">([^<>]+)<", row)[-1] for name, row in rows}

    assert drifted.outcome == "drifted"
    assert len(answers) == 8
    near = {name for name, answer in answers.items() if answer == "near enough"}
    assert near == {"How the classes are shared", "Width by height"}
    assert {answer for name, answer in answers.items() if name not in near} == {"too far"}
    assert "<b>Drifted.</b> It is told." in page
    assert "shift of brightness is" in page


def test_the_same_facts_are_the_same_bytes_and_nothing_is_outside(drifted: Drift) -> None:
    """The page holds no time, no script and no address; every picture is in it."""
    page = render(drifted, SPEC)

    assert page == render(drifted, SPEC)
    assert "<script" not in page
    assert set(re.findall(r'src="([^"]{21})', page)) == {"data:image/png;base64"}
    assert page.count('href="') == 0
    assert html.escape(HOSTILE, quote=True) in page


def test_what_was_not_measured_is_said(drifted: Drift) -> None:
    """Without features there are no pictures, and a reason; the limit on them has no answer."""
    assert drifted.figures is not None
    bare = replace(drifted.figures, features=None, seen=(), absent="the remote is away")
    found = _found(bare)
    page = render(found, SPEC)

    assert "What a network sees was not compared: the remote is away" in page
    assert "not measured</span>" in page
    assert "data:image" not in page
    spec = DriftSpec(max_feature_shift=5.0)
    assert _outcome(_held(bare, spec)) == "unknown"
    assert _outcome(_held(bare, DriftSpec())) == "unjudged"


def test_what_comes_next_depends_on_what_was_found(drifted: Drift) -> None:
    """Other images: what changed, and a retraining; the champion's own: nothing."""
    words = [command for _, command in commands(drifted)]
    same = replace(drifted, outcome="pass", baseline=drifted.data, figures=None)

    digests = (drifted.baseline[:12], drifted.data[:12])
    assert words == ["ganmill data diff tiny@{} @{}".format(*digests), "ganmill retrain tiny"]
    assert commands(same) == []
    assert "<h2>" not in render(same, SPEC)


def test_a_browser_shows_old_and_new_side_by_side(drifted: Drift, tmp_path: Path) -> None:
    """On a phone nothing sticks out and every picture is drawn; both sides are on the screen."""
    browser, page = headless(tmp_path / "profile"), render(drifted, SPEC)
    probe = """<script>document.title = JSON.stringify({
      pictures: [...document.images].map(each => each.naturalWidth),
      text: document.querySelectorAll('h3')[1].textContent,
      scripts: document.scripts.length, width: document.documentElement.scrollWidth,
      window: window.innerWidth})</script>"""
    file, shot = tmp_path / "page.html", tmp_path / "shot.png"
    # The policy of the page forbids scripts, so the probe runs in a copy without it.
    file.write_text(re.sub(r'<meta http-equiv="Content[^>]*>', "", page) + probe)
    dom = browser(file, "--window-size=500,900", "--dump-dom")
    title = re.search(r"<title>(\{.*?\})</title>", dom, re.DOTALL)
    assert title is not None
    seen = json.loads(html.unescape(title[1]))

    wide = 14 * (64 + 2) - 2
    assert seen["pictures"] == [7 * (64 + 2) - 2] * 6 + [wide] * 2
    assert seen["text"] in CLASSES
    assert seen["scripts"] == 1
    assert seen["width"] <= seen["window"]

    file.write_text(page)
    browser(file, "--window-size=1200,2600", f"--screenshot={shot}")
    with Image.open(shot) as picture:
        colours = {c: n for n, c in picture.convert("RGB").getcolors(1 << 24) or []}
    assert colours[RED] > 4 * 300 * 40
    assert colours[BLUE] > 4 * 300 * 40
