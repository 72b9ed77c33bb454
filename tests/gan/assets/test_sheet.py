"""The contact sheet and the page."""

import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

from PIL import Image

from gan.assets.batch import mint
from gan.assets.manifest import Request, read_rows
from gan.assets.sheet import _thumb
from gan.bundle import Bundle
from gan.sections import AssetsSpec

SPEC = AssetsSpec(size_px=32)
LINEAGE = {
    "model_version": "7",
    "model_version_url": "http://127.0.0.1:5000/#/models/stickers/versions/7",
    "flow_run": "run<b>",
    "flow_run_url": "javascript:alert(1)",
}


class Links(HTMLParser):
    """Collects what a page points to."""

    def __init__(self) -> None:
        """Start with nothing."""
        super().__init__()
        self.sources: list[str] = []
        self.targets: list[str] = []
        self.tags: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note a tag and its links."""
        self.tags.add(tag)
        for name, value in attrs:
            if name == "src" and value:
                self.sources.append(value)
            if name == "href" and value:
                self.targets.append(value)


def test_the_page_shows_each_asset_and_where_it_came_from(bundle: Bundle, tmp_path: Path) -> None:
    """Every asset is there with id, class and model version; links lead to files beside it."""
    folder = mint(bundle, SPEC, Request("stickers", 9, 1, "slot", LINEAGE), tmp_path).folder
    page = (folder / "index.html").read_text()
    links = Links()
    links.feed(page)
    rows = read_rows(folder / "manifest.jsonl")

    assert sorted(links.sources) == sorted(row.file for row in rows)
    assert all(row.asset in page for row in rows)
    assert page.count("model 7") == 9
    assert "hearts &amp; co" in page
    assert "http://127.0.0.1:5000/#/models/stickers/versions/7" in links.targets
    beside = [t for t in links.targets if not t.startswith(("#", "http"))]
    assert all((folder / target).is_file() for target in beside)
    assert {"manifest.jsonl", "batch.json", "contact_sheet.png"} <= set(beside)
    anchors = {t[1:] for t in links.targets if t.startswith("#")}
    assert all(f'id="{anchor}"' in page for anchor in anchors)


def test_the_page_runs_nothing_and_fetches_nothing(
    make_bundle: Callable[..., Bundle], tmp_path: Path
) -> None:
    """Names are text, whatever they hold: no script, no foreign source, no odd scheme."""
    hostile = make_bundle(tmp_path / "b", 1, ['<script>alert("x")</script>', '"><img src=//e.vil>'])
    folder = mint(hostile, SPEC, Request("stickers", 4, 1, "slot", LINEAGE), tmp_path).folder
    page = (folder / "index.html").read_text()
    links = Links()
    links.feed(page)

    assert "script" not in links.tags
    assert all(re.fullmatch(r"[0-9a-f]{16}\.png", source) for source in links.sources)
    assert not any(target.startswith("javascript:") for target in links.targets)


def test_the_contact_sheet_holds_the_assets(bundle: Bundle, tmp_path: Path) -> None:
    """It grows with the batch up to 200 assets, and opens as a picture."""
    heights = []
    for count in (1, 9, 30):
        folder = mint(bundle, SPEC, Request("stickers", count, 1, "slot"), tmp_path).folder
        with Image.open(folder / "contact_sheet.png") as picture:
            heights.append(picture.size[1])

    assert heights == sorted(set(heights))


def test_alpha_is_shown_over_a_checkerboard(
    make_bundle: Callable[..., Bundle], tmp_path: Path
) -> None:
    """On the sheet and on the page, so that a cut-out asset looks like one."""
    clear = make_bundle(tmp_path / "b", 1, channels=4)
    folder = mint(clear, SPEC, Request("stickers", 3, 1, "slot"), tmp_path).folder
    row = read_rows(folder / "manifest.jsonl")[0]
    with Image.open(folder / row.file) as picture:
        picture.putalpha(0)
        picture.save(folder / row.file)

    thumb = _thumb(folder / row.file)

    assert {value for _, value in thumb.getcolors() or []} == {(232,) * 3, (255,) * 3}
    assert "conic-gradient" in (folder / "index.html").read_text()
