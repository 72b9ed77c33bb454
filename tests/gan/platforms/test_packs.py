"""Packs: every asset once, sizes that platforms take, the same names every time."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gan.errors import RecipeError
from gan.platforms import Member, arrange, platform, require_emojis
from gan.platforms.emojis import split_emojis


def _members(**counts: int) -> list[Member]:
    kinds = [kind for kind, count in counts.items() for _ in range(count)]
    return [Member(f"{number:016x}", kind, "", "") for number, kind in enumerate(kinds)]


def _sizes(name: str, members: list[Member]) -> dict[str, int]:
    return {pack.name: len(pack.members) for pack in arrange(platform(name, 256), members)}


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["cats", "a b", "a-b", "\u732b", "mixed"]),
            st.sampled_from(["", "fans"]),
        ),
        min_size=3,
        max_size=140,
    )
)
@settings(max_examples=60, deadline=None)
def test_every_asset_is_in_one_pack_of_a_size_that_whatsapp_takes(
    kinds: list[tuple[str, str]],
) -> None:
    """However classes and segments fall, none is lost or doubled, no pack too small or large."""
    members = [
        Member(f"{number:016x}", kind, segment, "") for number, (kind, segment) in enumerate(kinds)
    ]

    packs = arrange(platform("whatsapp", 256), members)

    assert sorted(each.asset for pack in packs for each in pack.members) == sorted(
        each.asset for each in members
    )
    assert all(3 <= len(pack.members) <= 30 for pack in packs)
    assert len({pack.folder for pack in packs}) == len(packs)
    assert packs == arrange(platform("whatsapp", 256), members)


def test_packs_are_of_a_class_and_nearly_equal() -> None:
    """31 cats are 15 and 16, not 30 and one that WhatsApp refuses."""
    assert _sizes("whatsapp", _members(cats=31, stars=4)) == {
        "cats-01": 15,
        "cats-02": 16,
        "stars-01": 4,
    }
    assert _sizes("telegram", _members(cats=121)) == {"cats-01": 60, "cats-02": 61}


def test_classes_too_small_for_a_pack_share_one() -> None:
    """Two hearts and one star make a mixed pack; two hearts alone join the smallest pack."""
    assert _sizes("whatsapp", _members(cats=5, hearts=2, stars=1)) == {"cats-01": 5, "mixed-01": 3}
    assert _sizes("whatsapp", _members(cats=5, dice=3, hearts=2)) == {"cats-01": 5, "mixed-01": 5}


def test_a_segment_is_a_pack_of_its_own() -> None:
    """What was made for an audience is packed for it, whatever the classes."""
    members = [Member(f"{n:016x}", "cats" if n % 2 else "stars", "fans", "") for n in range(6)]

    (pack,) = arrange(platform("whatsapp", 256), members)

    assert (pack.name, pack.theme, len(pack.members)) == ("fans-01", "fans", 6)
    assert pack.path(members[0].asset) == "whatsapp/fans-01/0000000000000000.webp"


def test_too_few_for_any_pack_are_packed_all_the_same() -> None:
    """A batch of two is made; what is wrong with it is said when it is checked."""
    assert _sizes("whatsapp", _members(cats=2)) == {"mixed-01": 2}


def test_platforms_without_packs_have_one_folder() -> None:
    """Posts and Discord's files lie side by side."""
    (pack,) = arrange(platform("png", 256), _members(cats=40))

    assert pack.path("00000000000000ff") == "png/00000000000000ff.png"
    assert arrange(platform("png", 256), []) == []


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("\U0001f431", 1),
        ("\u2764\ufe0f \u2b50", 2),
        ("\U0001f468\u200d\U0001f469\u200d\U0001f467", 1),  # a family
        ("\U0001f44d\U0001f3fd", 1),  # a skin tone
        ("\U0001f1e8\U0001f1ed\U0001f1eb\U0001f1f7", 2),  # two flags
        ("\U0001f3f4\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f", 1),  # Scotland
        ("1\ufe0f\u20e3", 1),
    ],
)
def test_emoji_are_counted_as_people_count_them(text: str, count: int) -> None:
    """Joined, toned and tagged emoji are one each."""
    assert len(split_emojis(text) or []) == count


def test_what_is_no_emoji_is_refused_with_its_key() -> None:
    """A recipe that names a word or a digit is stopped before anything is made."""
    require_emojis({"cats": "\U0001f431\U0001f63a"})
    for text in ("cat", "7", "", "\U0001f431 cat"):
        with pytest.raises(RecipeError, match=r"^assets\.emoji\.cats: .* is not emoji alone"):
            require_emojis({"cats": text})
