"""The data card of a version: what the images are, where from, what is missing, how to load them.

    card/index.html      to read in a browser; one file, nothing is fetched
    card/README.md       the same in plain text, for git and for hubs
    card/examples.png    images of each class, as a training sees them

It holds no time of its own, so that the same version has the same card, byte for byte.
"""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
from PIL import Image

from flows.datasets import data_card_page
from flows.datasets.portrait import Portrait, portray
from flows.page_style import plain
from gan.durable import write_atomically
from gan.image.dataset import IMAGES, LABELS, Meta
from gan.image.facts import REASONS
from gan.paths import Layout
from gan.recipe import Recipe

CARD = "card"
PAGE, TEXT, EXAMPLES = "index.html", "README.md", "examples.png"
_PER_CLASS = 8
_CLASSES_SHOWN = 60
_TILE_PX = 48


def write_card(
    layout: Layout, recipe: Recipe, folder: Path, facts: pd.DataFrame, meta: Meta
) -> None:
    """Write the card of the version that is prepared now, as `card/` in its record.

    Args:
        layout: The workspace, whose prepared images lend the pictures.
        recipe: As it was prepared with.
        folder: The record of the version.
        facts: The table of facts of every image, sorted by key.
        meta: What `prepare` wrote.

    Raises:
        GanmillError: The folder cannot be written.
    """
    from gan.metrics.sheet import Block, Row, sheet

    portrait = portray(recipe, facts, meta)
    shown = _examples(layout.train_data(recipe.name), meta)
    blocks = [Block(name, [Row(images)]) for name, images in shown.items()]
    note = "Accepted images as a training sees them"
    if len(shown) < len(meta.classes):
        note += f"; {len(shown)} of {len(meta.classes)} classes"
    across = 1 if len(blocks) <= _PER_CLASS else 2
    picture = sheet(f"{portrait.version}: examples", note, blocks, across=across)
    strips = {name: _strip(images) for name, images in shown.items()}
    page = data_card_page.render(portrait, strips, loading(portrait))
    write_atomically(folder / CARD / EXAMPLES, _png(picture))
    write_atomically(folder / CARD / TEXT, _text(portrait).encode())
    write_atomically(folder / CARD / PAGE, page.encode())


def loading(portrait: Portrait) -> list[tuple[str, str]]:
    """Return how to get at the images: (what for, what to type)."""
    meta = portrait.meta
    folder = f"data/{portrait.recipe.name}/checkouts/{meta.digest[:12]}"
    shape = [meta.count, meta.channels, meta.resolution, meta.resolution]
    ours = (
        "from pathlib import Path\n"
        "from gan.image.dataset import open_dataset\n\n"
        f'data = open_dataset(Path("{folder}/train"))\n'
        f"data.images   # uint8 {shape}\n"
        "data.labels   # int64, places in data.classes"
    )
    plainly = (
        "Or without this project: the files as they came lie in plain tars, a row for each of "
        "them in a parquet table, and croissant.json describes both:"
    )
    theirs = (
        "import pandas\n\n"
        f'facts = pandas.read_parquet("{folder}/facts/facts.parquet")\n'
        'accepted = facts[facts["reason"] == ""]'
    )
    again = "Bring exactly this version back, from the cache or the remote, every file checked:"
    return [
        (again, f"ganmill data checkout {portrait.version}"),
        ("Open it in Python, as a training does:", ours),
        (plainly, theirs),
    ]


def _examples(train: Path, meta: Meta) -> dict[str, npt.NDArray[np.uint8]]:
    """Return images uint8 [n, C, H, W], evenly spread over each class shown, by its name."""
    images = np.load(train / IMAGES, mmap_mode="r", allow_pickle=False)
    labels = np.load(train / LABELS, allow_pickle=False)
    shown = np.linspace(0, len(meta.classes) - 1, min(len(meta.classes), _CLASSES_SHOWN))
    found = {}
    for number in shown.round().astype(int):
        members = np.flatnonzero(labels == number)
        chosen = np.linspace(0, len(members) - 1, min(len(members), _PER_CLASS)).round()
        found[meta.classes[number]] = np.asarray(images[members[chosen.astype(int)]])
    return found


def _strip(images: npt.NDArray[np.uint8]) -> bytes:
    """Return images side by side as a PNG file."""
    from gan.metrics.sheet import GAP_PX, tile

    tiles = [tile(image, _TILE_PX) for image in images]
    width, height = tiles[0].size
    strip = Image.new("RGBA", (len(tiles) * (width + GAP_PX) - GAP_PX, height))
    for place, each in enumerate(tiles):
        strip.paste(each, (place * (width + GAP_PX), 0))
    return _png(strip)


def _png(picture: Image.Image) -> bytes:
    file = io.BytesIO()
    picture.save(file, "PNG", optimize=True)
    return file.getvalue()


def _text(portrait: Portrait) -> str:
    """Return the card as Markdown; names in it are text, whatever they hold."""
    digest = f"Data digest `{portrait.meta.digest}`."
    parts = [
        f"# Data card: {plain(portrait.version)}",
        f"{portrait.lead} {digest}",
        f"![Images of each class]({EXAMPLES})",
        "## Known gaps",
        "\n".join(f"- {plain(gap)}" for gap in portrait.gaps),
        "## Where the images come from",
        _table(
            ("source", "licence", "images"),
            [(o.source, o.licence or "unknown", f"{o.images:,}") for o in portrait.origins],
        ),
        "## Classes",
        _table(("class", "accepted images"), _counts(portrait.classes)),
        "## Set aside",
        _table(
            ("images", "why", "code"),
            [(f"{n:,}", REASONS.get(code, code), code) for code, n in portrait.aside.items()],
        )
        if portrait.aside
        else "Nothing: every image was accepted.",
        "## How to load it",
        *(f"{why}\n\n```\n{typed}\n```" for why, typed in loading(portrait)),
    ]
    return "\n\n".join(parts) + "\n"


def _counts(classes: Mapping[str, int]) -> list[tuple[str, str]]:
    return [(name, f"{images:,}") for name, images in classes.items()]


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *([plain(cell) for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
