"""The visible label: legible at every size, and nothing else of the picture changes."""

import numpy as np
import pytest

from gan.errors import UsageError
from gan.marking.label import draw_label

SIZES = [(128, 128), (256, 256), (512, 512), (1080, 1080), (1350, 1080), (627, 1200)]


def _changed(before: np.ndarray, after: np.ndarray) -> tuple[slice, slice]:
    """Return the rectangle in which two pictures differ."""
    differs = (before != after).any(axis=2)
    rows, columns = (np.flatnonzero(differs.any(axis=axis)) for axis in (1, 0))
    return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("channels", [3, 4])
def test_label_is_light_on_dark_in_the_lower_right_corner(
    size: tuple[int, int], channels: int
) -> None:
    """On a light picture as on a dark or transparent one the words stand out, in one corner."""
    for level in (0, 255):
        picture = np.full((*size, channels), level, np.uint8)

        labelled = draw_label(picture, "AI generated")

        rows, columns = _changed(picture, labelled)
        plate = labelled[rows, columns, :3]
        assert labelled.shape == picture.shape
        assert rows.start > size[0] / 2
        assert columns.stop > 0.9 * size[1]
        assert 8 <= plate.shape[0] <= 0.4 * size[0]
        assert np.median(plate) < 80, "the plate is dark"
        assert plate.max() > 230, "the letters are light"
        if channels == 4:
            assert labelled[rows, columns, 3].min() in {0, 255}  # round corners stay as they were
            assert np.median(labelled[rows, columns, 3]) > 200


def test_long_label_is_broken_into_lines() -> None:
    """Forty letters fit into a picture of 128 px, in more lines than one."""
    picture = np.zeros((128, 128, 3), np.uint8)

    short, long = (
        draw_label(picture, text)
        for text in ("Made by AI", "Made by a machine, not by any hand at all")
    )

    heights = [_changed(picture, each)[0] for each in (short, long)]
    assert heights[1].stop - heights[1].start > 1.5 * (heights[0].stop - heights[0].start)


def test_label_of_another_alphabet_is_drawn() -> None:
    """Greek and Cyrillic words are drawn, each character as itself."""
    picture = np.zeros((256, 256, 3), np.uint8)

    drawn = {draw_label(picture, text).tobytes() for text in ("сделано ИИ", "сделано ИН", "από ΤΝ")}

    assert len(drawn) == 3


@pytest.mark.parametrize(
    ("text", "found"), [("由AI生成", "has no '由'"), ("  ", "empty"), ("AI" * 40, "does not fit")]
)
def test_label_that_cannot_be_read_is_refused(text: str, found: str) -> None:
    """No empty boxes, no words that are cut off: the error says what is wrong with the label."""
    with pytest.raises(UsageError, match=found):
        draw_label(np.zeros((128, 128, 3), np.uint8), text)
