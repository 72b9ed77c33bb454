"""Small pictures of images in the shards, as `data:` URIs: what a report shows of them."""

import io
from base64 import b64encode
from collections.abc import Iterable
from html import escape
from pathlib import Path
from typing import Self

from PIL import Image

from gan.image.decode import Rejected, decode, flatten
from gan.image.shards import Shards, places, read_index

_THUMBNAIL_PX = 64
_LARGEST_BYTES = 4 << 20


class Examples:
    """Read pictures of ingested images; a context manager that keeps the shards open."""

    def __init__(self, raw: Path, background: str) -> None:
        """Read below `raw`; transparent parts are laid over the colour `background`."""
        index = read_index(raw)
        self._places = dict(zip(index["key"], places(index), strict=True))
        self._shards, self._background = Shards(raw), background

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the shards."""
        self._shards.close()

    def tile(self, key: str) -> str:
        """Return the HTML of one picture, or of an empty frame when it cannot be shown.

        Raises:
            DamagedError: The shards are not what was ingested.
        """
        place = self._places.get(key)
        if place is None:
            return "<div class=none>not here</div>"
        if place.size_bytes > _LARGEST_BYTES:
            return "<div class=none>too large</div>"
        try:
            image = flatten(decode(self._shards.read(place)).image, self._background)
        except Rejected:
            return "<div class=none>no picture</div>"
        image.thumbnail((_THUMBNAIL_PX, _THUMBNAIL_PX), Image.Resampling.LANCZOS)
        file = io.BytesIO()
        image.save(file, "PNG")
        return f'<img alt="" src="data:image/png;base64,{b64encode(file.getvalue()).decode()}">'

    def tiles(self, keys: Iterable[str]) -> str:
        """Return pictures in a row, without captions."""
        return f"<div class=tiles>{''.join(map(self.tile, keys))}</div>"

    def figures(self, captioned: Iterable[tuple[str, str]]) -> str:
        """Return pictures in a row, each over its key and a note, from (key, note) pairs."""
        figures = []
        for key, note in captioned:
            caption = escape(key) + (f"<br>{escape(note)}" if note else "")
            figures.append(f"<figure>{self.tile(key)}<figcaption>{caption}</figcaption></figure>")
        return f"<div class=tiles>{''.join(figures)}</div>"
