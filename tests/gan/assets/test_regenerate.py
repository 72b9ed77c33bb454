"""Any asset made again from its row."""

from collections.abc import Callable
from pathlib import Path

import pytest

from gan.assets.batch import Marks, mint
from gan.assets.manifest import MANIFEST, read_batch, read_rows
from gan.assets.regenerate import regenerate
from gan.bundle import Bundle
from gan.errors import DamagedError, UsageError
from gan.marking.identity import Signing
from gan.screening.references import References
from tests.gan.assets.conftest import asking


def test_every_asset_comes_out_byte_for_byte(
    bundle: Bundle, marks: Marks, references: References, tmp_path: Path
) -> None:
    """From its row, its card and the model alone, on all platforms, label and truncation too."""
    request = asking(
        18,
        platforms=["png", "thumbnail"],
        size_px=128,
        label="AI",
        truncation=0.8,
        classes={"stars": 1.0},
    )
    folder = mint(bundle, request, tmp_path, marks, references).folder
    card, rows = read_batch(folder), read_rows(folder / MANIFEST)
    for row in (rows[3], rows[17]):
        again = regenerate(bundle, row, card, marks, tmp_path / "again")

        assert (again.identical, again.deviation) == (True, 0.0)
        for file in row.files:
            assert (tmp_path / "again" / file.path).read_bytes() == (
                folder / file.path
            ).read_bytes()


def test_another_signer_gives_other_bytes_of_the_same_picture(
    bundle: Bundle, batch: Path, tmp_path: Path
) -> None:
    """Then the files differ, and the deviation says that the picture does not."""
    card, (row, *_) = read_batch(batch), read_rows(batch / MANIFEST)
    other = Marks(Signing(tmp_path / "other"))
    again = regenerate(bundle, row, card, other, tmp_path / "again", batch=batch)

    assert (again.identical, again.deviation) == (False, 0.0)


def test_other_pixels_are_measured(
    bundle: Bundle, batch: Path, marks: Marks, tmp_path: Path
) -> None:
    """Where a machine draws otherwise, the mean difference to the batch's own files is told."""
    card, (first, second, *_) = read_batch(batch), read_rows(batch / MANIFEST)
    forged = first.model_copy(update={"pixels": second.pixels})
    unknown = regenerate(bundle, forged, card, marks, tmp_path / "again")
    measured = regenerate(bundle, forged, card, marks, tmp_path / "again", batch=batch)

    assert (unknown.identical, unknown.deviation) == (False, None)
    assert (measured.identical, measured.deviation) == (False, 0.0)
    swapped = first.model_copy(update={"pixels": second.pixels, "files": second.files})
    assert (
        regenerate(bundle, swapped, card, marks, tmp_path / "x", batch=batch).deviation or 0
    ) > 0


def test_only_the_model_that_made_it_makes_it_again(
    make_bundle: Callable[..., Bundle], batch: Path, marks: Marks, tmp_path: Path
) -> None:
    """Another bundle is refused in a line that names both; so is a campaign of another version."""
    card, (row, *_) = read_batch(batch), read_rows(batch / MANIFEST)
    other = make_bundle(tmp_path / "other", seed=2)
    with pytest.raises(UsageError, match="Fetch version 3"):
        regenerate(other, row, card, marks, tmp_path / "again")
    odd = card.model_copy(update={"spec": {**card.spec, "mood": "gay"}})
    same = make_bundle(tmp_path / "same", seed=1)
    with pytest.raises(DamagedError, match="mood"):
        regenerate(same, row, odd, marks, tmp_path / "again")
