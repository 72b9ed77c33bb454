"""A JSON document with a signature in it: `batch.json` says whose it is and that it is unchanged.

    {..., "signature": {"algorithm": "ed25519", "certificates": "PEM ...", "value": "hex"}}

The signature is over the rest as JSON of one spelling (keys sorted, no spaces, ASCII), behind a
line that no other signature of ours begins with.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gan.errors import DamagedError
from gan.marking.certificates import fingerprint, is_signed_by, subject
from gan.marking.identity import Identity, Known

SIGNATURE = "signature"
_CONTEXT = b"ganmill statement 1\n"


@dataclass(frozen=True)
class Signer:
    """Who signed a document.

    Attributes:
        subject: Whom the certificate names.
        fingerprint: SHA-256 of its DER, 64 hex digits.
        is_known: It is one of those that count as ours; False where none were given.
    """

    subject: str
    fingerprint: str
    is_known: bool


def sign_statement(document: Mapping[str, Any], identity: Identity) -> dict[str, Any]:
    """Return a document with its signature, in place of one that it has.

    Raises:
        ValueError: It is no JSON: a number is not finite, say.
    """
    said = {key: value for key, value in document.items() if key != SIGNATURE}
    signature = {
        "algorithm": identity.algorithm,
        "certificates": identity.chain_pem.decode(),
        "value": identity.sign(_spelled(said)).hex(),
    }
    return {**said, SIGNATURE: signature}


def check_statement(document: Mapping[str, Any], identity: Known | None) -> Signer:
    """Return who signed a document, which then is as it was signed.

    Args:
        document: As `sign_statement` gave it.
        identity: Whose signatures count as ours; None asks only whether it is whole.

    Raises:
        DamagedError: There is no signature, it does not fit, or none of ours made it.
    """
    from cryptography.x509 import load_pem_x509_certificates

    match document.get(SIGNATURE):
        case {"certificates": str(pem), "value": str(value)}:
            pass
        case None:
            raise DamagedError("is not signed")
        case _:
            raise DamagedError("has a signature of another form")
    try:
        leaf = load_pem_x509_certificates(pem.encode())[0]
        signature = bytes.fromhex(value)
        said = _spelled({key: each for key, each in document.items() if key != SIGNATURE})
    except ValueError as error:
        raise DamagedError("has a signature that cannot be read") from error
    if not is_signed_by(leaf, signature, said):
        raise DamagedError("is not as it was signed: something in it was changed")
    number = fingerprint(leaf)
    is_known = identity is not None and number in identity.certificates
    if identity is not None and not is_known:
        raise DamagedError(
            f"is signed by {subject(leaf)} ({number[:16]}...), who never signed in this workspace; "
            "whose certificate lies in .ganmill/signing/known counts as ours"
        )
    return Signer(subject(leaf), number, is_known)


def _spelled(document: Mapping[str, Any]) -> bytes:
    """Return a document as the bytes that are signed."""
    text = json.dumps(
        document, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False
    )
    return _CONTEXT + text.encode()
