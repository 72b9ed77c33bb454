"""Which class and audience each candidate is drawn for."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gan.assets.quota import cells, most_candidates, plan
from gan.errors import UsageError
from gan.sections import CampaignSpec, SegmentSpec

CLASSES = ["cats", "hearts", "stars"]


def wanted(spec: CampaignSpec) -> dict[tuple[str, str], int]:
    """Return what is wanted of each class, by segment."""
    return {(cell.segment, cell.class_): cell.wanted for cell in cells(spec, CLASSES)}


def test_without_weights_all_classes_are_alike() -> None:
    """What does not divide goes to the first classes."""
    assert wanted(CampaignSpec(count=8)) == {("", "cats"): 3, ("", "hearts"): 3, ("", "stars"): 2}


def test_weights_share_by_largest_remainder() -> None:
    """A class that is not named gets nothing, the others their share to the nearest whole."""
    spec = CampaignSpec(count=10, classes={"stars": 1.0, "cats": 2.0})

    assert wanted(spec) == {("", "cats"): 7, ("", "stars"): 3}


def test_segments_have_counts_and_tastes() -> None:
    """Each has its own count; where it names no taste it has that of the campaign."""
    spec = CampaignSpec(
        classes={"hearts": 1.0},
        segments={"teens": SegmentSpec(count=4, classes={"cats": 3.0, "stars": 1.0}),
                  "parents": SegmentSpec(count=2)},
    )  # fmt: skip

    assert wanted(spec) == {
        ("teens", "cats"): 3,
        ("teens", "stars"): 1,
        ("parents", "hearts"): 2,
    }


def test_an_unknown_class_is_named() -> None:
    """The line says where in the recipe, which class, and which there are."""
    spec = CampaignSpec(segments={"teens": SegmentSpec(count=4, classes={"dogs": 1.0})})

    with pytest.raises(UsageError, match=r"assets\.segments\.teens\.classes.*'dogs'.*cats, hearts"):
        cells(spec, CLASSES)


@given(
    count=st.integers(1, 500),
    weights=st.dictionaries(st.sampled_from(CLASSES), st.floats(1e-3, 1e6), min_size=1),
)
def test_counts_always_add_up(count: int, weights: dict[str, float]) -> None:
    """Whatever the weights, as many assets are wanted as were asked for, each within one."""
    spec = CampaignSpec(count=count, classes=weights)
    shares = {cell.class_: cell.wanted for cell in cells(spec, CLASSES)}
    total = sum(weights.values())

    assert sum(shares.values()) == count
    for name, weight in weights.items():
        assert abs(shares.get(name, 0) - count * weight / total) < 1 + 1e-6


def test_the_first_round_draws_what_is_wanted_spread_evenly() -> None:
    """Every part of the round holds all cells in their share."""
    asked = cells(CampaignSpec(count=80, classes={"cats": 3.0, "stars": 1.0}), CLASSES)
    first = plan(asked, [0, 0], [0, 0], 1000)

    assert Counter(first) == {0: 60, 1: 20}
    assert Counter(first[:8]) == {0: 6, 1: 2}


def test_later_rounds_draw_the_shortfall_over_the_rate() -> None:
    """A class of which half passed is drawn about twice as often as it is short."""
    asked = cells(CampaignSpec(count=200, classes={"cats": 1.0, "stars": 1.0}), CLASSES)
    later = Counter(plan(asked, [100, 100], [50, 99], 1000))

    assert 95 <= later[0] <= 105
    assert later[1] in {1, 2}


@given(
    counts=st.lists(st.tuples(st.integers(1, 40), st.floats(0.0, 1.0)), min_size=1, max_size=4),
    budget=st.floats(1.0, 6.0),
)
def test_rounds_end_with_the_quota_or_with_the_budget(
    counts: list[tuple[int, float]], budget: float
) -> None:
    """Whatever passes, a request is met, or its budget is used to the last candidate."""
    names = [f"c{i}" for i in range(len(counts))]
    spec = CampaignSpec(
        segments={name: SegmentSpec(count=n, classes={name: 1.0}) for name, (n, _) in
                  zip(names, counts, strict=True)},
        budget=budget,
    )  # fmt: skip
    asked, most = cells(spec, names), most_candidates(spec)
    made, passed = [0] * len(asked), [0] * len(asked)
    while drawn := plan(asked, made, passed, most - sum(made)):
        for cell in drawn:
            made[cell] += 1
            if made[cell] % 100 < counts[cell][1] * 100 and passed[cell] < asked[cell].wanted:
                passed[cell] += 1

    assert sum(made) <= most
    is_met = all(good == cell.wanted for good, cell in zip(passed, asked, strict=True))
    assert is_met or sum(made) == most
