"""Documents with a signature in them."""

import json
from pathlib import Path
from typing import Any

import pytest

from gan.errors import DamagedError
from gan.marking.identity import Identity, Signing, open_identity
from gan.marking.statement import check_statement, sign_statement
from tests.gan.marking.signers import write_signer

_DOCUMENT = {"batch": "b", "accepted": 3, "share": 0.1, "class": "é", "digests": {"b": 1, "a": 2}}


@pytest.fixture(scope="module")
def signer(tmp_path_factory: pytest.TempPathFactory) -> Identity:
    """Return a local identity."""
    return open_identity(Signing(tmp_path_factory.mktemp("signing")))


def test_signed_documents_survive_a_file(signer: Identity) -> None:
    """Written as JSON in any order and spelling, and read back, it is as it was signed."""
    signed = sign_statement(_DOCUMENT, signer)
    again = json.loads(json.dumps(dict(reversed(signed.items())), indent=4, ensure_ascii=False))
    found = check_statement(again, signer)

    assert (found.fingerprint, found.is_known) == (signer.fingerprint, True)
    assert signed == sign_statement(signed, signer) == sign_statement(_DOCUMENT, signer)


@pytest.mark.parametrize(
    "change",
    [{"accepted": 4}, {"digests": {"b": 1}}, {"more": 1}, {"share": "0.1"}, {"accepted": True}],
)
def test_changed_documents_are_found(signer: Identity, change: dict[str, Any]) -> None:
    """A value, a key more or fewer, another type: the signature does not fit any more."""
    with pytest.raises(DamagedError, match="not as it was signed"):
        check_statement(sign_statement(_DOCUMENT, signer) | change, None)


@pytest.mark.parametrize(
    ("signature", "words"),
    [
        (None, "is not signed"),
        ("x", "of another form"),
        ({"certificates": "x", "value": "00"}, "cannot be read"),
        ({"certificates": "", "value": ""}, "cannot be read"),
    ],
)
def test_documents_without_a_sound_signature_are_refused(
    signer: Identity, signature: Any, words: str
) -> None:
    """No signature, or what is none, is told in a line."""
    with pytest.raises(DamagedError, match=words):
        check_statement({**_DOCUMENT, "signature": signature}, signer)


def test_signature_of_a_stranger_is_not_ours(signer: Identity, tmp_path: Path) -> None:
    """Who changes a document and signs it anew is named, unless only wholeness is asked."""
    stranger = open_identity(write_signer(tmp_path, "SECP256R1"))
    signed = sign_statement(_DOCUMENT, stranger)

    assert not check_statement(signed, None).is_known
    with pytest.raises(DamagedError, match=r"signed by Jane .* never signed in this workspace"):
        check_statement(signed, signer)
