"""The page of a batch, its thumbnails, and the contact sheet."""

import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gan.assets.manifest import MANIFEST, BatchCard, Past, Row
from gan.assets.sheet import page_order, write_sheet
from gan.assets.thumbnails import ACROSS, THUMB_PX, cell_at, picture_path, read_thumb
from gan.durable import sha256
from tests.gan.assets.batches import LINEAGE, lay_batch

ASIDE = {"spare": 2, "blank": 1, "outlier": 1, "near_batch": 1, "copy": 1}
RED = np.stack([np.full((16, 16), shade, np.uint8) for shade in (255, 0, 0)])


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


def links_of(folder: Path) -> Links:
    """Return what the page of a batch points to."""
    links = Links()
    links.feed((folder / "index.html").read_text())
    return links


@pytest.fixture(scope="module")
def laid(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, BatchCard, list[Row]]:
    """Return a batch with its pages: accepted ones on two platforms, and some set aside."""
    folder = tmp_path_factory.mktemp("batches") / "slot-abcd1234"
    card, rows = lay_batch(
        folder,
        20,
        aside=ASIDE,
        segments=("teens", "parents"),
        platforms=("png", "whatsapp"),
        likes={"copy": "cats/0001.png"},
    )
    written = write_sheet(folder, card, rows, lambda _key: RED)
    for name in ("batch.json", "croissant.json"):  # written after the page, which links to them
        (folder / name).write_text("{}")

    assert written == ["contact_sheet.png", "index.html", "page/0000.webp"]
    return folder, card, rows


def test_the_page_shows_every_candidate(laid: tuple[Path, BatchCard, list[Row]]) -> None:
    """Accepted ones with their files, set-aside ones with the reason; links lead to what is there.

    The lineage's web addresses are links, and nothing else is.
    """
    folder, _, rows = laid
    page, links = (folder / "index.html").read_text(), links_of(folder)

    assert all(f'id="a-{row.asset}"' in page for row in rows)
    assert all(file.path in links.targets for row in rows for file in row.files)
    assert page.count("It is outlier &lt;here&gt;.") == 1
    assert LINEAGE["model_version_url"] in links.targets
    beside = [each for each in links.targets if not each.startswith("http")]
    assert all((folder / target).exists() for target in beside)
    assert {"batch.json", "manifest.jsonl", "manifest.parquet", "whatsapp/pack-01/"} <= set(beside)


def test_the_page_says_what_was_asked_and_got(laid: tuple[Path, BatchCard, list[Row]]) -> None:
    """By audience and by class, with spares, and what nobody could look at."""
    page = (laid[0] / "index.html").read_text()
    cells = re.findall(r"<tr><th>(?:<a[^>]*>)?(.*?)(?:</a>)?</th>(.*?)</tr>", page)
    table = {name: re.findall(r"<td[^>]*>(.*?)</td>", rest) for name, rest in cells}

    assert table["teens"] == ["10", "10", "all classes alike"]
    assert table["cats"] == ["8", '<b class="alarm">7</b>', "1", "1", "89%"]
    assert table["hearts &amp; co"][:2] == ["6", "7"]
    assert table["png"][:2] == ["20", "48 x 48"]
    assert "Nobody looked for copies" in page


def test_a_lookalike_stands_beside(laid: tuple[Path, BatchCard, list[Row]]) -> None:
    """What is too near to an asset of the batch or to a training image is shown with it."""
    folder, _, rows = laid
    page = (folder / "index.html").read_text()
    pairs = re.findall(r'id="a-(\w+)" class="a m [^"]* wide">', page)

    assert pairs == [row.asset for row in rows if row.verdict in {"near_batch", "copy"}]
    figure = page.split(f'id="a-{pairs[1]}"')[1]  # the copy: its training image is red
    column, line = map(int, re.findall(r"--x:(\d);--y:(\d)", figure)[1])
    with Image.open(folder / "page/0000.webp") as sprite:
        centre = column * THUMB_PX + THUMB_PX // 2, line * THUMB_PX + THUMB_PX // 2
        pixel = sprite.convert("RGB").getpixel(centre)
    assert isinstance(pixel, tuple)
    assert pixel[0] > 240
    assert max(pixel[1:]) < 20


def test_an_asset_like_one_of_the_past_has_that_beside_it(tmp_path: Path) -> None:
    """It is taken from the earlier batch, as long as that is the one it was held against."""
    _, old = lay_batch(tmp_path / "old-1", 3)
    past = Past(batch="old-1", manifest_sha256=sha256(tmp_path / "old-1" / MANIFEST))
    pages = []
    for name, state in (("a-1", past), ("b-1", Past(batch="old-1", manifest_sha256="0" * 64))):
        card, rows = lay_batch(
            tmp_path / name,
            2,
            aside={"near_past": 1},
            past=[state],
            likes={"near_past": old[2].asset},
        )
        rows[2] = rows[2].model_copy(update={"asset": "f" * 16})
        (tmp_path / name / "set_aside" / f"{'f' * 16}.png").write_bytes(
            picture_path(tmp_path / "old-1", old[0]).read_bytes()
        )
        # Of the same request, so that the batch itself has no asset of that name.
        rows[0] = rows[0].model_copy(update={"asset": "e" * 16})
        write_sheet(tmp_path / name, card, rows)
        pages.append((tmp_path / name / "index.html").read_text())

    assert "pair" in pages[0].split("</style>")[1]
    assert "pair" not in pages[1].split("</style>")[1]


def test_the_page_runs_nothing_and_fetches_nothing(tmp_path: Path) -> None:
    """Names are text, whatever they hold: no script, no foreign source, no odd scheme."""
    odd = ['<script>alert("x")</script>', '"><img src=//e.vil>', "c"]
    card, rows = lay_batch(tmp_path / "b-1", 6, classes=odd, aside={"blank": 3})
    write_sheet(tmp_path / "b-1", card, rows)
    links = links_of(tmp_path / "b-1")

    assert "script" not in links.tags
    assert set(links.sources) == {"page/0000.webp"}
    assert not any(target.startswith(("javascript:", "//")) for target in links.targets)
    assert "default-src 'none'" in (tmp_path / "b-1" / "index.html").read_text()


def test_filters_are_for_what_differs(laid: tuple[Path, BatchCard, list[Row]]) -> None:
    """Each class, audience, verdict and platform has a button, and each button a rule."""
    page = (laid[0] / "index.html").read_text()
    idents = re.findall(r'<input type="radio" name="\w" id="(f-\w+)"', page)
    ruled = re.findall(r"main:has\(#(f-\w+):checked\)", page)

    assert len(idents) == len(set(idents)) == 4 + 3 + 2 + 6 + 2  # four are "all"
    assert sorted(ruled) == sorted(set(idents) - {"f-c", "f-s", "f-v", "f-p"})


def test_the_same_batch_gives_the_same_pages(tmp_path: Path) -> None:
    """Page, sprites and sheet hold no time and no chance; half-written ones are swept away."""
    contents = []
    for name in ("a", "b"):
        folder = tmp_path / name / "slot-1"
        card, rows = lay_batch(folder, 70, aside=ASIDE)
        (folder / "page").mkdir()
        (folder / "page" / ".0000.webp.1.partial").write_bytes(b"half")
        written = write_sheet(folder, card, rows)
        contents.append({path: (folder / path).read_bytes() for path in written})
        assert sorted(p.name for p in (folder / "page").iterdir()) == ["0000.webp", "0001.webp"]

    assert contents[0] == contents[1]


def test_thumbnails_lie_where_the_page_looks(tmp_path: Path) -> None:
    """64 to a sprite, in the order of the page; a reader of the rows alone finds them too."""
    card, rows = lay_batch(tmp_path / "b-1", 70)
    write_sheet(tmp_path / "b-1", card, rows)
    last = page_order(rows)[-1]
    cell = cell_at(69)

    assert (cell.sprite, cell.column, cell.line) == ("page/0001.webp", 5, 0)
    with Image.open(tmp_path / "b-1" / cell.sprite) as sprite:
        left, top = cell.column * THUMB_PX, cell.line * THUMB_PX
        found = sprite.convert("RGB").crop((left, top, left + THUMB_PX, top + THUMB_PX))
        assert sprite.size == (ACROSS * THUMB_PX, ACROSS * THUMB_PX)
    wanted = read_thumb(picture_path(tmp_path / "b-1", last)).convert("RGB")
    off = np.abs(np.asarray(found, float) - np.asarray(wanted, float)).mean()
    assert off < 25  # of noise, after WebP


def test_a_thumbnail_is_whole_and_clear_around(tmp_path: Path) -> None:
    """Wide pictures are not cropped, small ones keep hard pixels, alpha stays."""
    Image.new("RGB", (1200, 627), "red").save(tmp_path / "wide.png")
    Image.fromarray(np.eye(32, dtype=np.uint8) * 255).save(tmp_path / "small.png")
    wide = np.asarray(read_thumb(tmp_path / "wide.png"))
    small = np.asarray(read_thumb(tmp_path / "small.png"))

    assert wide.shape == small.shape == (THUMB_PX, THUMB_PX, 4)
    assert wide[:30, :, 3].max() == 0
    assert wide[64].min(axis=0).tolist() == [255, 0, 0, 255]
    assert set(np.unique(small[..., 0])) == {0, 255}


def test_the_contact_sheet_grows_with_the_batch(tmp_path: Path) -> None:
    """It opens as a picture, also of a batch of which nothing was accepted."""
    heights = []
    for count in (0, 1, 9, 30):
        folder = tmp_path / f"b-{count}"
        card, rows = lay_batch(folder, count, aside={"blank": 2})
        write_sheet(folder, card, rows)
        with Image.open(folder / "contact_sheet.png") as picture:
            heights.append(picture.size[1])

    assert heights == sorted(set(heights))
