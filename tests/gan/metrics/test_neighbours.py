"""Coverage, its kin and spread on sets whose answer is known, and against the reference package."""

import contextlib
import io

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from prdc import compute_prdc  # type: ignore[import-untyped]
from torch_fidelity.metric_prc import (  # type: ignore[import-untyped]
    calculate_precision_recall_full,
)

from gan.metrics.neighbours import (
    Neighbourhood,
    coverage,
    diversity,
    nearest,
    neighbourhood,
    radii,
    spread,
)

LINE = np.arange(10, dtype=np.float32)[:, None]  # ten points, one apart
NAMES = ("precision", "recall", "density", "coverage")


def _normal(count: int, seed: int, dims: int = 16) -> NDArray[np.float64]:
    return np.random.default_rng(seed).standard_normal((count, dims))


def _values(found: Neighbourhood) -> dict[str, float]:
    return {name: getattr(found, name).value for name in NAMES}


def _reference(real: NDArray[np.float64], fake: NDArray[np.float64], k: int) -> dict[str, float]:
    with contextlib.redirect_stdout(io.StringIO()):
        return {name: float(value) for name, value in compute_prdc(real, fake, k).items()}


def test_a_radius_is_the_distance_to_the_kth_other_row() -> None:
    """A row is not its own neighbour, and rows that are equal are at distance zero exactly."""
    np.testing.assert_array_equal(radii(LINE, 1), np.ones(10))
    np.testing.assert_array_equal(radii(LINE, 2)[:3], [2, 1, 1])
    twins = np.repeat(_normal(20, 1).astype(np.float32), 2, axis=0)
    np.testing.assert_array_equal(radii(twins, 1), np.zeros(40))


def test_coverage_is_the_share_of_reals_with_a_fake_in_reach() -> None:
    """A fake reaches the reals it lies nearer to than their k-th neighbour, the edge apart."""
    assert coverage(LINE, np.array([[0.5]]), k=1) == 0.2  # 0 and 1, each half a step away
    assert coverage(LINE, np.array([[-1.0]]), k=1) == 0.0  # exactly at the radius of 0
    assert coverage(LINE, np.array([[0.5], [5.2], [90.0]]), k=1) == 0.4
    assert coverage(LINE, LINE, k=5) == 1.0


def test_equal_distributions_are_covered_as_theory_says() -> None:
    """Two samples of one distribution and size: about 1 - 2^-5; far ones: nothing."""
    found = coverage(_normal(1500, 1), _normal(1500, 2))

    assert found == pytest.approx(1 - 2**-5, abs=0.015)
    assert coverage(_normal(1500, 1), _normal(1500, 2) + 50) == 0.0


@pytest.mark.parametrize(("reals", "fakes", "k"), [(900, 700, 5), (300, 1100, 3), (40, 40, 1)])
def test_all_four_agree_with_the_reference_package(reals: int, fakes: int, k: int) -> None:
    """The values are those of `prdc` by the authors of density and coverage, to the last sample."""
    real, fake = _normal(reals, 1, 8), _normal(fakes, 2, 8) * 0.8 + 0.2

    ours, theirs = _values(neighbourhood(real, fake, k)), _reference(real, fake, k)

    assert ours == pytest.approx(theirs, abs=1e-12)
    assert coverage(real, fake, k) == ours["coverage"]


def test_precision_and_recall_agree_with_torch_fidelity() -> None:
    """They are torch-fidelity's, whose only difference is that a ball's edge is in it."""
    real, fake = _normal(500, 3, 8), _normal(400, 4, 8) * 0.7
    theirs = calculate_precision_recall_full(torch.from_numpy(fake), torch.from_numpy(real), 3)
    ours = neighbourhood(real, fake, 3)

    assert (ours.precision.value, ours.recall.value) == pytest.approx(theirs, abs=1e-6)


def test_blocks_do_not_change_the_result() -> None:
    """A set of more than one block gives what all pairs at once give."""
    real, fake = _normal(1203, 3, 4), _normal(2700, 4, 4) * 0.7
    gaps = np.linalg.norm(real[:, None] - real[None], axis=2)
    reach = np.sort(gaps, axis=1)[:, 5]
    between = np.linalg.norm(real[:, None] - fake[None], axis=2)

    np.testing.assert_allclose(radii(real), reach, rtol=1e-9)
    assert coverage(real, fake) == pytest.approx(np.mean(between.min(axis=1) < reach), abs=1e-12)
    assert spread(real) == pytest.approx(gaps.sum() / (1203 * 1202), rel=1e-12)
    assert _values(neighbourhood(real, fake)) == pytest.approx(_reference(real, fake, 5))
    found, which = nearest(real, fake, 7)
    order = np.argsort(between, axis=1)[:, :7]
    np.testing.assert_array_equal(which, order)
    np.testing.assert_allclose(found, np.take_along_axis(between, order, 1), rtol=1e-9)


def test_small_distances_keep_their_digits() -> None:
    """A set far from zero and tight, or all but equal rows, are told apart as by subtraction."""
    wide = _normal(300, 5) * 1e3
    twins = (wide + 1e-6 * _normal(300, 6)) + 1e4
    wide = wide + 1e4
    found, which = nearest(twins, wide, 1)

    np.testing.assert_array_equal(which[:, 0], np.arange(300))
    exact = np.linalg.norm(twins - wide, axis=1)
    np.testing.assert_allclose(found[:, 0], exact, rtol=1e-12)
    collapsed = np.repeat(_normal(2, 7), 600, axis=0)  # too many equal pairs to pick out
    assert spread(collapsed) == pytest.approx(
        600 / 1199 * float(np.linalg.norm(collapsed[0] - collapsed[-1])), rel=1e-12
    )


def test_order_and_scale_do_not_matter() -> None:
    """The four are the same whatever the rows' order, their scale and where they lie."""
    real, fake = _normal(400, 1), _normal(300, 2) * 0.8
    shuffled = np.random.default_rng(3).permutation(300)
    found = neighbourhood(real, fake)

    again = neighbourhood(real[::-1], fake[shuffled])
    assert _values(again) == pytest.approx(_values(found))
    np.testing.assert_allclose(again.precision.influence, found.precision.influence[shuffled])
    assert _values(neighbourhood(250 * real + 9, 250 * fake + 9)) == pytest.approx(_values(found))
    single = neighbourhood(real.astype(np.float32), fake.astype(np.float32))
    assert _values(single) == pytest.approx(_values(found), abs=0.003)
    assert diversity(7 * real - 1, 7 * fake - 1).value == pytest.approx(diversity(real, fake).value)


def test_a_set_against_itself_and_swapped() -> None:
    """Copies of the reals are all precise, recalled and covered at density 1; swapping swaps."""
    real, fake = _normal(300, 1), _normal(300, 2) * 0.8
    both, swapped = neighbourhood(real, fake), neighbourhood(fake, real)

    assert _values(neighbourhood(real, real)) == pytest.approx(dict.fromkeys(NAMES, 1.0))
    assert both.precision.value == swapped.recall.value
    assert both.recall.value == swapped.precision.value


def test_intervals_are_as_wide_as_new_samples_differ() -> None:
    """Over fresh draws of both sets the standard error is about that of the values, or wider."""
    random = np.random.default_rng(1)
    found = [
        neighbourhood(random.standard_normal((400, 16)), random.standard_normal((400, 16)) * 1.1)
        for _ in range(40)
    ]
    for name in NAMES:
        real_error = np.std([getattr(each, name).value for each in found])
        ours = np.mean([getattr(each, name).se for each in found])
        assert 0.75 * real_error < ours < 1.8 * real_error, name
        assert abs(float(np.mean(getattr(found[0], name).influence))) < 1e-12


def test_spread_is_the_mean_distance_of_two_rows() -> None:
    """It grows with scale, ignores where the set lies, and is zero for equal rows."""
    points = np.array([[0.0, 0.0], [3.0, 4.0]])

    assert spread(points) == 5.0
    assert spread(3 * points + 100) == pytest.approx(15.0)
    assert spread(np.ones((7, 3))) == 0.0


def test_diversity_is_the_ratio_of_spreads() -> None:
    """Half as wide is 0.5, collapsed is 0 and never below; its error is that of new samples."""
    real = _normal(300, 1)

    assert diversity(real, real / 2).value == pytest.approx(0.5)
    assert diversity(real, np.ones((20, 16))).interval().high == 0.0
    random = np.random.default_rng(2)
    found = [
        diversity(random.standard_normal((100, 3)), random.standard_normal((100, 3)))
        for _ in range(100)
    ]
    spread_of_values = float(np.std([each.value for each in found]))
    assert np.mean([each.se for each in found]) == pytest.approx(spread_of_values, rel=0.25)


def test_too_few_rows_are_refused() -> None:
    """No figure is made of what is not there."""
    with pytest.raises(ValueError, match="5-th nearest of 5"):
        coverage(LINE[:5], LINE)
    with pytest.raises(ValueError, match="5-th nearest of 5"):
        neighbourhood(LINE, LINE[:5])
    with pytest.raises(ValueError, match="0-th nearest of 10"):
        neighbourhood(LINE, LINE, k=0)
    with pytest.raises(ValueError, match="sets of 10 and 0"):
        coverage(LINE, LINE[:0])
    with pytest.raises(ValueError, match="0 nearest of 10"):
        nearest(LINE, LINE, 0)
    with pytest.raises(ValueError, match="no distance"):
        spread(LINE[:1])
    with pytest.raises(ValueError, match="all equal"):
        diversity(np.ones((7, 3)), LINE)
