"""Open the source that a recipe names, wherever it is; and how messages and the index name it."""

from collections.abc import Iterator
from pathlib import Path

from gan.errors import SourceError
from gan.image.addresses import parse
from gan.image.members import FOLDER, Member, Survey
from gan.image.reading import read_members
from gan.sections import DataSpec, GlyphsSpec

_LEAST_IMAGES = 2


def open_members(spec: DataSpec, root: Path, survey: Survey) -> Iterator[Member]:
    """Yield the images of a recipe's source.

    Raises:
        SourceError: The source is missing, unreadable, damaged, or hostile.
        ServiceError: It is somewhere else, and nobody answers.
    """
    if spec.source == "glyphs":
        return _drawn(spec.glyphs or GlyphsSpec())
    if spec.url is not None:
        from gan.image import remote  # a library for each kind of store

        return remote.members(spec.url, root / spec.path, survey)
    if spec.dataset is not None:
        from gan.image import torchvision_sets  # torch takes a second

        return torchvision_sets.members(spec.dataset, root, survey)
    return read_members(root / spec.path, survey)


def source_name(spec: DataSpec) -> str:
    """Return what the index calls the source: never with a login or a signature in it."""
    if spec.url is not None:
        return parse(spec.url).shown
    if spec.dataset is not None:
        return f"torchvision:{spec.dataset}"
    return "glyphs" if spec.source == "glyphs" else spec.path


def _drawn(glyphs: GlyphsSpec) -> Iterator[Member]:
    """Draw the built-in stickers."""
    from gan.image.glyphs import draw  # only this source needs a font

    for drawing in draw(glyphs.count, glyphs.seed):
        yield Member.holding(drawing.key, drawing.payload, {FOLDER: drawing.label})


def check_count(source: str, count: int, survey: Survey) -> None:
    """Refuse a source of fewer than two images, saying what was met instead.

    Raises:
        SourceError: There are fewer.
    """
    if count >= _LEAST_IMAGES:
        return
    left_out = [f"{number} {reason}" for reason, number in sorted(survey.skipped.items())]
    if survey.clutter:
        left_out.append(f"{survey.clutter} notes or hidden files")
    found = "one image only" if count else "no images"
    if left_out:
        found += f" (left out: {', '.join(left_out)})"
    elif not count:
        found += " (EMPTY_ARCHIVE: nothing at all)"
    raise SourceError(
        f"{source}: {found}; at least {_LEAST_IMAGES} are needed. "
        "Put PNG, JPEG, GIF, WebP, BMP or TIFF files there."
    )
