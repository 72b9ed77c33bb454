"""A C2PA manifest store as bytes: claim, assertions, signature; all a function of their content.

The format is that of C2PA 2.2 (https://spec.c2pa.org/specifications/specifications/2.2/): CBOR
(RFC 8949) in JUMBF boxes (ISO 19566-5), signed by COSE (RFC 9052). C2PA's own library writes the
same with a random salt in each assertion and 10 KB of padding; but an asset that is made again must
have the same bytes, and a sticker of 20 KB has better use for its own. So we write, and that
library reads: it validates what comes out of here, and shares no line with it.
"""

import hashlib
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

from gan.marking.cbor import Tagged, decode, encode
from gan.marking.identity import Identity

HASH_LABEL = "c2pa.hash.data"
_UUID_TAIL = bytes.fromhex("00110010800000aa00389b71")  # of each box type behind its four letters
_STORE, _MANIFEST, _ASSERTIONS, _CLAIM, _SIGNATURE = b"c2pa", b"c2ma", b"c2as", b"c2cl", b"c2cs"
_CBOR, _LABELLED = b"cbor", b"\x03"
_INSTANCE = "xmp:iid:"
_STORE_HEAD = b"jumb\x00\x00\x00\x1ejumd" + _STORE + _UUID_TAIL
_ALGORITHMS = {"ed25519": -8, "es256": -7, "es384": -35, "es512": -36}  # RFC 9053
_ALGORITHM, _CHAIN, _SIGN1 = 1, 33, 18  # two labels of COSE headers, one tag


class Hidden(NamedTuple):
    """The part of a file that holds the store, and so is left out of the file's hash."""

    start: int
    length: int


@dataclass(frozen=True)
class Store:
    """A store as it was found in a file.

    Attributes:
        written: Its bytes.
        begin: Where in the file they begin.
        assertions: Label to content; their hashes are those in the claim.
        leaf: DER of the certificate that is said to have signed.
        signed: What the signature is over.
        signature: As it stands there.
    """

    written: bytes
    begin: int
    assertions: Mapping[str, Any]
    leaf: bytes
    signed: bytes
    signature: bytes


def write_store(
    name: str,
    generator: Mapping[str, str],
    assertions: Mapping[str, Any],
    digest: bytes,
    hidden: Hidden,
    identity: Identity,
) -> bytes:
    """Return a store of one signed manifest, of an even number of bytes.

    Its length depends on the numbers of `hidden` by their own lengths, and not on `digest`.

    Args:
        name: What the manifest's UUID is made from.
        generator: What makes the claim (`claim_generator_info`).
        assertions: Label to content of each but the hash.
        digest: SHA-256 of the file without its hidden part, 32 bytes.
        hidden: Where in the file the store will lie.
        identity: Who signs.
    """
    # The specification wants a random UUID; that of a hash cannot be told from one.
    instance = f"{_INSTANCE}{uuid.UUID(bytes=_sha256(name.encode())[:16], version=4)}"
    binding = {
        "exclusions": [{"start": hidden.start, "length": hidden.length}],
        "name": "jumbf manifest",
        "alg": "sha256",
        "hash": digest,
    }

    def store(pad: bytes) -> bytes:
        everything = {**assertions, HASH_LABEL: {**binding, "pad": pad}}
        return _manifest(instance, generator, everything, identity)

    found = store(b"")
    return found if len(found) % 2 == 0 else store(b"\0")  # WebP knows no odd chunk


def read_store(payload: bytes) -> Store | None:
    """Return the store in a file, exactly as `write_store` writes it, or None.

    No signature is verified. But every byte either is signed, or could be no other: a store in
    which one was changed is no store of ours.
    """
    begin = payload.find(_STORE_HEAD) - 4
    if begin < 0:
        return None
    written = payload[begin : begin + int.from_bytes(payload[begin : begin + 4], "big")]
    try:
        (parts,) = map(_boxes, _boxes(_boxes(written)["c2pa"]).values())
        claim, cose = (_cbor_of(parts[each]) for each in ("c2pa.claim.v2", "c2pa.signature"))
        said, (_, (protected, _, _, signature)) = decode(claim), decode(cose)
        chain = decode(protected)[_CHAIN]
        boxes = _boxes(parts["c2pa.assertions"])
        assertions = {label: decode(_cbor_of(box)) for label, box in boxes.items()}
        listed = [{"url": _address(each), "hash": _sha256(box)} for each, box in boxes.items()]
        again = _assembled(said["instanceID"], assertions, claim, protected, signature)
        leaf = chain if isinstance(chain, bytes) else chain[0]
        is_ours = again == written and listed == said["created_assertions"]
    except (ValueError, KeyError, TypeError, IndexError, AttributeError):
        return None
    if not (is_ours and isinstance(leaf, bytes) and isinstance(signature, bytes)):
        return None
    return Store(written, begin, assertions, leaf, _signed(protected, claim), signature)


def _manifest(
    instance: str,
    generator: Mapping[str, str],
    assertions: Mapping[str, Any],
    identity: Identity,
) -> bytes:
    boxes = {each: _labelled(_CBOR, each, encode(said)) for each, said in assertions.items()}
    claim = encode(
        {
            "instanceID": instance,
            "claim_generator_info": generator,
            "signature": f"self#jumbf=/c2pa/{_label(instance)}/c2pa.signature",
            "created_assertions": [
                {"url": _address(each), "hash": _sha256(box[8:])} for each, box in boxes.items()
            ],
            "alg": "sha256",
        }
    )
    protected = encode({_ALGORITHM: _ALGORITHMS[identity.algorithm], _CHAIN: _chain(identity)})
    signature = identity.sign(_signed(protected, claim))
    return _assembled(instance, assertions, claim, protected, signature)


def _assembled(
    instance: str, assertions: Mapping[str, Any], claim: bytes, protected: bytes, signature: bytes
) -> bytes:
    """Return the boxes of a store around what it says."""
    boxes = (_labelled(_CBOR, each, encode(said)) for each, said in assertions.items())
    cose = encode(Tagged(_SIGN1, [protected, {}, None, signature]))
    parts = (
        _superbox(_ASSERTIONS, "c2pa.assertions", b"".join(boxes)),
        _labelled(_CLAIM, "c2pa.claim.v2", claim),
        _labelled(_SIGNATURE, "c2pa.signature", cose),
    )
    return _superbox(_STORE, "c2pa", _superbox(_MANIFEST, _label(instance), b"".join(parts)))


def _label(instance: str) -> str:
    """Return what the manifest is called that has an instance id."""
    return f"urn:c2pa:{instance.removeprefix(_INSTANCE)}"


def _sha256(content: bytes) -> bytes:
    return hashlib.sha256(content).digest()


def _signed(protected: bytes, claim: bytes) -> bytes:
    """Return what is signed (RFC 9052, 4.4): the claim is no part of the signature's own bytes."""
    return encode(["Signature1", protected, b"", claim])


def _chain(identity: Identity) -> bytes | list[bytes]:
    chain = _chain_of(identity.chain_pem)
    return chain[0] if len(chain) == 1 else list(chain)


@lru_cache(maxsize=8)
def _chain_of(pem: bytes) -> tuple[bytes, ...]:
    from cryptography.hazmat.primitives.serialization import Encoding
    from cryptography.x509 import load_pem_x509_certificates

    return tuple(each.public_bytes(Encoding.DER) for each in load_pem_x509_certificates(pem))


def _address(label: str) -> str:
    return f"self#jumbf=c2pa.assertions/{label}"


def _labelled(kind: bytes, label: str, content: bytes) -> bytes:
    return _superbox(kind, label, _box(_CBOR, content))


def _superbox(kind: bytes, label: str, content: bytes) -> bytes:
    described = kind + _UUID_TAIL + _LABELLED + label.encode() + b"\0"
    return _box(b"jumb", _box(b"jumd", described) + content)


def _box(kind: bytes, content: bytes) -> bytes:
    return (8 + len(content)).to_bytes(4, "big") + kind + content


def _boxes(payload: bytes) -> dict[str, bytes]:
    """Return the superboxes that lie side by side, label to content (their description first).

    Raises:
        ValueError: They are not of this form, or two have one label.
    """
    found: dict[str, bytes] = {}
    at = 0
    if payload[4:8] == b"jumd":  # the description of the box that these lie in
        at = int.from_bytes(payload[:4], "big")
    while at < len(payload):
        length, kind = int.from_bytes(payload[at : at + 4], "big"), payload[at + 4 : at + 8]
        content = payload[at + 8 : at + length]
        described = content[8 : int.from_bytes(content[:4], "big")]
        label, ending, rest = described[17:].partition(b"\0")
        if kind != b"jumb" or len(content) != length - 8 or not ending or rest:
            raise ValueError("JUMBF: a box that is not as it is written here")
        if found.setdefault(label.decode(), content) is not content:
            raise ValueError("JUMBF: two boxes with one label")
        at += length
    return found


def _cbor_of(content: bytes) -> bytes:
    """Return the CBOR behind the description in a box's content."""
    begin = int.from_bytes(content[:4], "big")
    length, kind = int.from_bytes(content[begin : begin + 4], "big"), content[begin + 4 : begin + 8]
    if kind != _CBOR or begin + length != len(content):
        raise ValueError("JUMBF: a box that holds other things than CBOR")
    return content[begin + 8 :]
