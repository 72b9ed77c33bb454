"""The data card tells what the images are, where they come from, and what is missing."""

import re
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from flows.datasets import data_card
from flows.datasets.catalog import DatasetRecord, read_facts
from flows.datasets.portrait import portray
from gan.durable import read_json
from gan.image.dataset import META, Meta
from gan.paths import Layout
from gan.recipe import Recipe
from tests.flows.browser import headless
from tests.flows.datasets.records import PARAMS, again, drawings, keep, recipe_of

STRANGE = "<b>cats</b> | [x](y)"


@dataclass(frozen=True)
class Version:
    """A recorded version and what its card is written from."""

    layout: Layout
    recipe: Recipe
    record: DatasetRecord
    facts: pd.DataFrame
    meta: Meta

    @property
    def card(self) -> Path:
        """The folder of its card."""
        return self.record.folder / data_card.CARD


@pytest.fixture(scope="module")
def version(tmp_path_factory: pytest.TempPathFactory) -> Version:
    """Return a version with a small and a strangely named class, twins, near copies and rubbish."""
    layout = Layout(tmp_path_factory.mktemp("card"))
    layout.params.write_text(PARAMS)
    files = drawings(120)
    files |= {f"{STRANGE}/{n}.png": files.pop(f"cats/{2 + 14 * n:04d}.png") for n in range(3)}
    first = next(iter(files))
    files |= {"dice/twin.png": again(files[first], "PNG", compress_level=1)}
    files |= {"dice/near.jpg": again(files[first], "JPEG", quality=85), "dice/cut.png": b"\x89PNG"}
    recipe = recipe_of("pets", licence="unknown", removed={"a" * 64: "the artist asked for it"})
    record = keep(layout, recipe, files)
    meta = Meta(**read_json(layout.train_data("pets") / META))
    return Version(layout, recipe, record, read_facts(record), meta)


def test_card_says_what_is_in_it_and_what_is_not(version: Version) -> None:
    """Counts, licence, removals, near copies and small classes stand on the page in words."""
    for name in (data_card.PAGE, data_card.TEXT):
        text = (version.card / name).read_text()
        for words in (
            f"{version.record.accepted:,} images in",
            version.record.digest,
            "Small classes",
            "look much like another one, in",
            "The licence of 123 images is unknown",
            "the artist asked for it (1)",
            "the same pixels as an earlier image",
            "Not known, because nobody recorded it",
            f"ganmill data checkout pets@{version.record.digest[:12]}",
        ):
            assert words in text, f"{name} lacks: {words}"


def test_gaps_are_only_told_where_they_are(version: Version) -> None:
    """A version without a fault claims none, beside what nobody recorded."""
    facts = version.facts[version.facts["reason"] == ""].assign(
        licence="CC0 1.0", label="cats", cluster="", width=64, height=64, alpha_share=0.0
    )
    recipe = recipe_of("pets")
    meta = Meta(["cats"], 32, 3, len(facts), "0" * 64, "f" * 64)
    told = portray(recipe, facts, meta).gaps
    assert len(told) == 2
    assert told[0].startswith("The images are of one class")
    assert told[1].startswith("Not known")
    wide = portray(recipe, facts.assign(width=90, height=20, alpha_share=0.5), meta).gaps
    assert sum(words in gap for gap in wide for words in ("enlarged", "square", "laid on")) == 3


def test_names_are_text_and_nothing_is_fetched(version: Version) -> None:
    """A class may be called anything; the page has no script and no outside reference."""
    page = (version.card / data_card.PAGE).read_text()
    assert "<b>cats" not in page
    assert "&lt;b&gt;cats" in page
    assert not re.search(r"<script|src=\"(?!data:)|href=\"(?!#)|url\(", page)
    assert "default-src 'none'" in page
    assert "<b>" not in (version.card / data_card.TEXT).read_text()


def test_pictures_are_there(version: Version) -> None:
    """Each class shows images as a training sees them, on the page and beside the text."""
    page = (version.card / data_card.PAGE).read_text()
    assert page.count("data:image/png;base64,") == len(version.meta.classes)
    with Image.open(version.card / data_card.EXAMPLES) as picture:
        assert min(picture.size) > 300
    assert f"({data_card.EXAMPLES})" in (version.card / data_card.TEXT).read_text()


def test_same_version_has_the_same_card(version: Version) -> None:
    """Written again, not one byte differs: a card can be compared and kept in git."""
    before = {path.name: path.read_bytes() for path in version.card.iterdir()}
    data_card.write_card(
        version.layout, version.recipe, version.record.folder, version.facts, version.meta
    )
    assert {path.name: path.read_bytes() for path in version.card.iterdir()} == before


def test_card_is_readable_in_a_browser(version: Version, tmp_path: Path) -> None:
    """A real browser shows the whole page, wide and on a phone, without a sideways scroll."""
    for width in (1280, 390):
        shot = tmp_path / f"{width}.png"
        headless(tmp_path / "profile")(
            version.card / data_card.PAGE, f"--window-size={width},2400", f"--screenshot={shot}"
        )
        with Image.open(shot) as picture:
            assert picture.width == width
            assert len(picture.convert("RGB").resize((64, 64)).getcolors(1 << 12) or ()) > 20
