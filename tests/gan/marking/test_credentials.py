"""Content credentials: the same bytes each time, valid to C2PA's own library, never fooled."""

import hashlib
import io
import json
from dataclasses import replace
from typing import Any

import c2pa
import numpy as np
import pytest
from PIL import Image

from gan.errors import UsageError
from gan.marking import cbor, xmp
from gan.marking.containers import media_type
from gan.marking.credentials import OVERHEAD_BYTES, SYNTHETIC, read, sign
from gan.marking.identity import Identity, Known, Signing, open_identity
from gan.marking.manifest_store import read_store
from tests.gan.marking.signers import MEDIA, ORIGIN, picture_file, write_signer

_KINDS = ("ed25519", "SECP256R1", "SECP384R1", "SECP521R1")


@pytest.fixture(scope="module")
def signer(tmp_path_factory: pytest.TempPathFactory) -> Identity:
    """Return a local identity."""
    return open_identity(Signing(tmp_path_factory.mktemp("signing")))


@pytest.fixture(scope="module")
def users(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Identity]:
    """Return a user's identity for each kind of key."""
    folder = tmp_path_factory.mktemp("users")
    return {kind: open_identity(write_signer(folder / kind, kind)) for kind in _KINDS}


def _report(payload: bytes) -> dict[str, Any]:
    """Return what C2PA's own library says of a file."""
    report: dict[str, Any] = json.loads(
        c2pa.Reader(media_type(payload), io.BytesIO(payload)).json()
    )
    return report


@pytest.mark.parametrize("media", MEDIA)
@pytest.mark.parametrize("kind", _KINDS)
def test_files_are_valid_to_the_reference_reader(
    users: dict[str, Identity], kind: str, media: str
) -> None:
    """Another implementation finds signature and hashes right, for each format and kind of key."""
    signed = sign(picture_file(media, origin=ORIGIN), media, ORIGIN, users[kind])
    report = _report(signed)
    codes = [each["code"] for each in report["validation_results"]["activeManifest"]["failure"]]

    assert report["validation_state"] == "Valid"
    assert codes == ["signingCredential.untrusted"]  # by authorities of the world; rightly so
    assert report["manifests"][report["active_manifest"]]["signature_info"]["common_name"] == "Jane"


def test_credentials_say_that_an_algorithm_made_it(signer: Identity) -> None:
    """The one action is `c2pa.created` by a trained algorithm; our own part names model and all."""
    report = _report(sign(picture_file("image/png"), "image/png", ORIGIN, signer))
    manifest = report["manifests"][report["active_manifest"]]
    said = {each["label"]: each["data"] for each in manifest["assertions"]}
    (action,) = said["c2pa.actions.v2"]["actions"]

    assert (action["action"], action["digitalSourceType"]) == ("c2pa.created", SYNTHETIC)
    assert action["softwareAgent"] == {"name": "ganmill stickers", "version": "3"}
    assert said["ganmill.asset"]["asset"] == ORIGIN.asset
    assert said["ganmill.asset"]["model_digest"] == ORIGIN.model_digest
    assert "thumbnail" not in json.dumps(report)


@pytest.mark.parametrize("media", MEDIA)
def test_signing_is_deterministic_and_small(signer: Identity, media: str) -> None:
    """The same picture, origin and key give the same bytes; another asset gives others."""
    for side_px in (16, 100, 101, 102, 300):  # lengths and places of 1 to 3 bytes
        plain = picture_file(media, side_px=side_px)
        signed = sign(plain, media, ORIGIN, signer)

        assert signed == sign(plain, media, ORIGIN, signer)
        assert _report(signed)["validation_state"] == "Valid"
        assert len(signed) - len(plain) < 2500
    assert signed != sign(plain, media, replace(ORIGIN, asset="f" * 16), signer)


@pytest.mark.parametrize("media", MEDIA)
def test_pictures_are_untouched(signer: Identity, media: str) -> None:
    """Pixels and metadata come through as they were."""
    plain = picture_file(media, origin=ORIGIN)
    signed = sign(plain, media, ORIGIN, signer)
    before, after = (np.asarray(Image.open(io.BytesIO(each))) for each in (plain, signed))

    assert (before == after).all()
    assert xmp.read(signed) == xmp.read(plain) != {}


@pytest.mark.parametrize("media", MEDIA)
def test_own_files_are_recognised(signer: Identity, users: dict[str, Identity], media: str) -> None:
    """We tell our own signature, with all that it says, from that of somebody unknown."""
    signed = sign(picture_file(media), media, ORIGIN, signer)
    ours, theirs, nobodys = read(signed, signer), read(signed, users["ed25519"]), read(signed)

    assert ours is not None
    assert (ours.is_ours, ours.is_whole, ours.origin, ours.problems) == (True, True, ORIGIN, ())
    for other in (theirs, nobodys, read(signed, Known({}))):
        assert other is not None
        assert (other.is_ours, other.is_whole, other.origin) == (False, True, ORIGIN)


@pytest.mark.parametrize("media", MEDIA)
def test_every_changed_byte_is_found(signer: Identity, media: str) -> None:
    """No byte of a file can be changed, left out or added without its being told."""
    signed = sign(picture_file(media, side_px=16), media, ORIGIN, signer)
    places = np.random.default_rng(2).choice(len(signed), 150, replace=False).tolist()
    unnoticed = []
    for place in places:
        altered = bytearray(signed)
        altered[place] ^= 1 << place % 8
        found = read(bytes(altered), signer)
        if found is not None and found.is_ours and found.is_whole:
            unnoticed.append(place)
    longer, shorter = read(signed + b"x", signer), read(signed[:-1], signer)

    assert unnoticed == []
    assert longer is None or not longer.is_whole
    assert shorter is None or not shorter.is_whole


@pytest.mark.parametrize("media", MEDIA)
def test_credentials_of_another_file_do_not_fit(signer: Identity, media: str) -> None:
    """Copied from an asset of ours onto another picture, they are ours, and tell the change."""
    mine = sign(picture_file(media, side_px=64), media, ORIGIN, signer)
    store = read_store(mine)
    assert store is not None
    length = int.from_bytes(mine[store.begin : store.begin + 4], "big")
    theirs = sign(picture_file(media, side_px=80), media, ORIGIN, signer)
    other = read_store(theirs)
    assert other is not None
    moved = theirs[: other.begin] + mine[store.begin :][:length] + theirs[other.begin + length :]
    found = read(moved, signer)

    assert found is not None
    assert not found.is_whole


def test_decoy_of_our_store_does_not_make_a_stranger_ours(
    signer: Identity, users: dict[str, Identity]
) -> None:
    """Our signed bytes, hidden in a file that somebody else signed, do not make it ours and whole.

    That they are in the file is told; that it is unchanged since we signed it is not.
    """
    mine = read_store(sign(picture_file("image/png"), "image/png", ORIGIN, signer))
    assert mine is not None
    genuine = sign(picture_file("image/png"), "image/png", ORIGIN, signer)
    decoy = genuine[mine.begin : mine.begin + int.from_bytes(genuine[mine.begin :][:4], "big")]
    evil = replace(ORIGIN, asset="e" * 16)
    plain = picture_file("image/jpeg")
    comment = b"\xff\xfe" + (2 + len(decoy)).to_bytes(2, "big") + decoy
    for place in (20, len(plain) - 2):
        carrier = plain[:place] + comment + plain[place:]
        found = read(sign(carrier, "image/jpeg", evil, users["ed25519"]), signer)

        assert found is not None
        assert not (found.is_ours and found.is_whole)


def test_files_without_credentials_have_none(signer: Identity) -> None:
    """A plain file, one encoded anew, and what is no picture have no credentials."""
    signed = sign(picture_file("image/png"), "image/png", ORIGIN, signer)
    file = io.BytesIO()
    Image.open(io.BytesIO(signed)).save(file, "PNG")

    assert read(picture_file("image/png"), signer) is None
    assert read(file.getvalue(), signer) is None
    assert read(b"", signer) is None
    assert read(b"GIF89a", signer) is None


def test_hostile_files_raise_nothing(signer: Identity) -> None:
    """Cut, mixed and repeated bytes of signed files are an answer, never an exception."""
    random = np.random.default_rng(3)
    for media in MEDIA:
        signed = sign(picture_file(media, side_px=16), media, ORIGIN, signer)
        for _ in range(60):
            cut, other = sorted(random.integers(8, len(signed), 2).tolist())
            for hostile in (
                signed[:cut],
                signed[:other] + signed[cut:],
                signed[:cut] + b"\xff" * 9,
            ):
                found = read(hostile, signer)

                assert found is None or not (found.is_ours and found.is_whole)


def test_what_cannot_be_signed_is_refused(signer: Identity) -> None:
    """Another format, a wrong media type and an endless class name are one line each."""
    with pytest.raises(UsageError, match="none that can be signed, not image/png"):
        sign(b"GIF89a", "image/png", ORIGIN, signer)
    with pytest.raises(UsageError, match="the file is image/jpeg, not image/png"):
        sign(picture_file("image/jpeg"), "image/png", ORIGIN, signer)
    endless = replace(ORIGIN, class_="c" * OVERHEAD_BYTES)
    with pytest.raises(UsageError, match="too long"):
        sign(picture_file("image/png"), "image/png", endless, signer)


def test_overhead_is_a_bound(users: dict[str, Identity]) -> None:
    """Whatever the key, what signing adds is below the bound that encoders leave room for."""
    for user in users.values():
        plain = picture_file("image/webp")

        assert len(sign(plain, "image/webp", ORIGIN, user)) - len(plain) < OVERHEAD_BYTES


def test_hash_is_that_of_the_file_around_the_store(signer: Identity) -> None:
    """Told apart by hand: the digest in the claim is the SHA-256 of the file without our chunk."""
    signed = sign(picture_file("image/png"), "image/png", ORIGIN, signer)
    chunk = 12 + int.from_bytes(signed[33:37], "big")  # behind signature and IHDR
    store = read_store(signed)
    assert store is not None

    assert signed[37:41] == b"caBX"
    assert store.assertions["c2pa.hash.data"] == {
        "exclusions": [{"start": 33, "length": chunk}],
        "name": "jumbf manifest",
        "alg": "sha256",
        "hash": hashlib.sha256(signed[:33] + signed[33 + chunk :]).digest(),
        "pad": store.assertions["c2pa.hash.data"]["pad"],
    }


@pytest.mark.parametrize(
    ("value", "written"),
    [  # RFC 8949, appendix A
        (0, "00"), (23, "17"), (24, "1818"), (1000, "1903e8"), (1000000, "1a000f4240"),
        (18446744073709551615, "1bffffffffffffffff"), (-1, "20"), (-1000, "3903e7"),
        (False, "f4"), (True, "f5"), (None, "f6"), (b"\1\2\3\4", "4401020304"),
        ("ü", "62c3bc"), ([1, [2, 3]], "8201820203"), ({"a": 1, "b": [2]}, "a2616101616281 02"),
        (cbor.Tagged(32, "a"), "d8206161"),
    ],
)  # fmt: skip
def test_cbor_is_that_of_its_specification(value: Any, written: str) -> None:
    """The examples of RFC 8949 are written and read as they stand there."""
    assert cbor.encode(value) == bytes.fromhex(written)
    assert cbor.decode(bytes.fromhex(written)) == value


@pytest.mark.parametrize(
    "payload",
    ["", "18", "1bff", "44aa", "9bffffffffffffffff", "a1f600", "a2616100616100", "f97e00", "0000",
     "81" * 100, "62ff00", "ff", "9fff", "a1"],
)  # fmt: skip
def test_cbor_of_strangers_is_refused(payload: str) -> None:
    """Cut, endless, nested without end: a ValueError, and no memory taken for what is announced."""
    with pytest.raises(ValueError, match=r"CBOR|utf-8"):
        cbor.decode(bytes.fromhex(payload))
