"""The validator of packs: a batch as it is minted passes, each thing done to it is named."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from gan.marking.identity import Identity
from gan.platforms import Member, arrange, companions, pack_problems, platform, platforms
from tests.gan.platforms.making import Images, cut_out, fill, stickers

ONE = "0000000000000001"
SET_NAMES = "it must begin with a letter and be A-Z a-z 0-9 and single _"
EMOJI_NAMES = "it must be 2 or more of A-Z a-z 0-9 _"


def _edit(path: Path, change: Callable[[Any], None]) -> None:
    content = json.loads(path.read_text("utf-8"))
    change(content)
    path.write_text(json.dumps(content), "utf-8")


def _whatsapp(folder: Path, change: Callable[[Any], None]) -> None:
    _edit(folder / "whatsapp/cats-01/contents.json", lambda each: change(each["sticker_packs"][0]))


def _telegram(folder: Path, change: Callable[[Any], None]) -> None:
    _edit(folder / "telegram/cats-01/set.json", change)


def _link(path: Path) -> None:
    path.unlink()
    path.symlink_to("/etc/hostname")


_DONE: dict[str, tuple[Callable[[Path], object], str]] = {
    "a sticker is gone": (
        lambda folder: (folder / f"whatsapp/cats-01/{ONE}.webp").unlink(),
        f"whatsapp/cats-01/{ONE}.webp: is listed but missing",
    ),
    "one more than listed": (
        lambda folder: (folder / f"whatsapp/stars-01/{'f' * 16}.webp").write_bytes(
            (folder / f"whatsapp/cats-01/{ONE}.webp").read_bytes()
        ),
        f"whatsapp/stars-01/{'f' * 16}.webp: is not listed",
    ),
    "an icon of another size": (
        lambda folder: Image.new("RGB", (95, 96)).save(folder / "whatsapp/cats-01/tray.png"),
        "whatsapp/cats-01/tray.png: is 95 x 96 px; whatsapp_tray takes 96 x 96 exactly",
    ),
    "no icon": (
        lambda folder: (folder / "whatsapp/cats-01/tray.png").unlink(),
        "whatsapp/cats-01/tray.png: is missing or no plain file",
    ),
    "an unknown key": (
        lambda folder: _edit(
            folder / "whatsapp/cats-01/contents.json", lambda each: each.update(colour="red")
        ),
        "whatsapp/cats-01/contents.json: colour: extra inputs are not permitted",
    ),
    "no emoji": (
        lambda folder: _whatsapp(folder, lambda pack: pack["stickers"][0].update(emojis=[])),
        f"whatsapp/cats-01/contents.json: {ONE}.webp: 0 emoji; 1 to 3 are taken",
    ),
    "a word for an emoji": (
        lambda folder: _whatsapp(folder, lambda pack: pack["stickers"][0].update(emojis=["cat"])),
        f"whatsapp/cats-01/contents.json: {ONE}.webp: 'cat' is not one emoji",
    ),
    "a long name": (
        lambda folder: _whatsapp(folder, lambda pack: pack.update(name="n" * 129)),
        "whatsapp/cats-01/contents.json: name has 129 letters; 1 to 128 are taken",
    ),
    "another identifier": (
        lambda folder: _whatsapp(folder, lambda pack: pack.update(identifier="../x")),
        "whatsapp/cats-01/contents.json: identifier is '../x', but the folder is 'cats-01'",
    ),
    "a long description": (
        lambda folder: _whatsapp(
            folder, lambda pack: pack["stickers"][0].update(accessibility_text="\U0001f431" * 63)
        ),
        f"whatsapp/cats-01/contents.json: {ONE}.webp: accessibility_text is too long",
    ),
    "listed twice": (
        lambda folder: _telegram(folder, lambda each: each["stickers"].append(each["stickers"][0])),
        f"telegram/cats-01/set.json: lists {ONE}.webp twice",
    ),
    "no listing": (
        lambda folder: (folder / "telegram/cats-01/set.json").write_text("{"),
        "telegram/cats-01/set.json: is missing or no JSON",
    ),
    "a name that Telegram refuses": (
        lambda folder: _telegram(folder, lambda each: each.update(name="cats__1")),
        f"telegram/cats-01/set.json: name is 'cats__1'; {SET_NAMES}",
    ),
    "a file of another kind": (
        lambda folder: (folder / "telegram/cats-01/notes.txt").write_text("hello"),
        "telegram/cats-01/notes.txt: does not belong here; pictures end in .webp",
    ),
    "a file beside the packs": (
        lambda folder: (folder / "telegram/notes.txt").write_text("hello"),
        "telegram/notes.txt: belongs to no pack",
    ),
    "a short name": (
        lambda folder: _edit(
            folder / "discord_sticker/stickers.json", lambda each: each[0].update(name="c")
        ),
        f"discord_sticker/stickers.json: {ONE}.png: name has 1 letters; 2 to 30 are taken",
    ),
    "a name with a space": (
        lambda folder: _edit(
            folder / "discord_emoji/emojis.json", lambda each: each[0].update(name="a cat")
        ),
        f"discord_emoji/emojis.json: {ONE}.png: name is 'a cat'; {EMOJI_NAMES}",
    ),
    "a link": (
        lambda folder: _link(folder / f"discord_emoji/{ONE}.png"),
        f"discord_emoji/{ONE}.png: is missing or no plain file",
    ),
}


def test_packs_as_they_are_minted_have_nothing_wrong(packs: Path) -> None:
    """With every mark on each file, four platforms take all of it."""
    assert pack_problems(packs) == []
    assert len(list(packs.glob("whatsapp/*/*.webp"))) == 7
    assert len(list(packs.glob("whatsapp/*/tray.png"))) == 2


@pytest.mark.parametrize("name", list(_DONE))
def test_each_thing_done_to_a_pack_is_named(packs: Path, name: str) -> None:
    """What would be refused at upload is a line with the file's path."""
    do, said = _DONE[name]

    do(packs)

    assert said in pack_problems(packs)


def test_too_few_for_a_pack_are_named(
    tmp_path: Path, images: Images, members: list[Member], who: Identity
) -> None:
    """A batch too small for WhatsApp says so before it is published."""
    fill(tmp_path, images, members[:2], ["whatsapp"], who)

    assert pack_problems(tmp_path) == ["whatsapp/mixed-01: has 2 pictures; whatsapp takes 3 to 30"]


def test_plain_pictures_must_be_of_one_size(tmp_path: Path) -> None:
    """The side of `png` is the recipe's; a picture of another size among them is named."""
    (tmp_path / "png").mkdir()
    for number, side in enumerate((64, 64, 63)):
        Image.new("RGB", (side, side), "red").save(tmp_path / f"png/{number:016x}.png")

    assert pack_problems(tmp_path) == [
        f"png/{2:016x}.png: is 63 x 63 px; png takes 64 x 64 exactly"
    ]


def test_long_and_odd_names_are_made_to_fit() -> None:
    """Whatever classes and campaigns are called, texts keep to their limits and stay readable."""
    odd = "\u732b \U0001f431" * 60
    members = [Member(f"{n:016x}", odd, "", "\U0001f431" * 40) for n in range(3)]

    for name in ("whatsapp", "telegram", "discord_sticker", "discord_emoji"):
        to = platform(name, 256)
        for pack in arrange(to, members):
            (text,) = companions(to, pack, title="t" * 300, publisher="p" * 300).texts.values()
            content = json.loads(text)
            listed = content["sticker_packs"][0] if name == "whatsapp" else content
            assert to.pack is not None
            for key, most in to.pack.chars.items():
                for each in [listed] if isinstance(listed, dict) else listed:
                    value = each.get(key, "")
                    assert len(value.encode("utf-16-le")) // 2 <= most, (name, key)


def test_a_cut_out_passes_on_every_platform(tmp_path: Path, who: Identity) -> None:
    """Images with transparency become right files everywhere, also where none is taken."""
    members = [Member(ONE, "cats", "", "")]

    fill(tmp_path, cut_out()[None], members, list(platforms()), who)

    assert pack_problems(tmp_path) == ["whatsapp/mixed-01: has 1 pictures; whatsapp takes 3 to 30"]


@pytest.mark.slow
def test_two_hundred_assets_pass_on_every_platform(tmp_path: Path, who: Identity) -> None:
    """Two hundred assets in every pack: nothing is wrong with any of 2,000 files and their packs.

    It prints the table of pixels, bytes and limits: `pytest -m slow -s tests/gan/platforms`.
    """
    images, classes = stickers(200)
    members = [Member(f"{n:016x}", kind, "", "") for n, kind in enumerate(classes)]

    sizes = fill(tmp_path, images, members, list(platforms()), who)

    print("\nplatform            pixels     files  bytes least / mean / most   limit   share")
    for name, to in platforms().items():
        most = max(sizes[name])
        limit = f"{to.max_bytes:,}" if to.max_bytes else "none"
        share = f"{most / to.max_bytes:.0%}" if to.max_bytes else ""
        mean = sum(sizes[name]) // len(sizes[name])
        print(
            f"{name:19} {to.width_px:>4}x{to.height_px:<4} {len(sizes[name]):6}  "
            f"{min(sizes[name]):>7,} {mean:>7,} {most:>7,} {limit:>10} {share:>5}"
        )
    assert pack_problems(tmp_path) == []
    assert all(len(sizes[name]) == 200 for name in platforms())
