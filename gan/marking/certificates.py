"""Certificates and keys as files: read, held against what signing needs, named for people.

Every signature must be a function of the key and the data alone, so that an asset that is made
again has the same bytes: Ed25519, or ECDSA with the nonce of RFC 6979. RSA-PSS draws a salt.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gan.errors import UsageError

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

# Each asset holds the chain, of which some may have few bytes; a certificate is 0.5 to 1.7 KB.
MAX_CHAIN_BYTES = 4096
_COORDINATE_BYTES = {"es256": 32, "es384": 48, "es512": 66}
_CURVES = {"secp256r1": "es256", "secp384r1": "es384", "secp521r1": "es512"}


def read_chain(path: Path) -> list["Certificate"]:
    """Return the certificates of a file, the one that signs first, without a self-signed root.

    Raises:
        UsageError: The file cannot be read, holds none, or too many to go into each asset.
    """
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding

    try:
        chain = x509.load_pem_x509_certificates(_bytes_of(path))
    except ValueError as error:
        raise UsageError(f"{path}: holds no certificate in PEM ({error}).") from error
    chain = [each for n, each in enumerate(chain) if n == 0 or each.subject != each.issuer]
    length = sum(len(each.public_bytes(Encoding.DER)) for each in chain)
    if length > MAX_CHAIN_BYTES:
        raise UsageError(
            f"{path}: the chain has {length:,} bytes; {MAX_CHAIN_BYTES:,} at most, since each "
            "asset holds it. Leave out what the first certificate does not need."
        )
    return chain


def read_key(path: Path) -> Any:  # any private key of the library
    """Return the private key in a file.

    Raises:
        UsageError: The file cannot be read, holds none, or is locked with a passphrase.
    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        return load_pem_private_key(_bytes_of(path), password=None)
    except TypeError as error:
        raise UsageError(
            f"{path}: is locked with a passphrase, and nobody is there to type it. Write it "
            "without one, where only this user can read it: openssl pkey -in FILE -out FILE"
        ) from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise UsageError(f"{path}: holds no private key in PEM that can be used.") from error


def signer_of(private: Any, path: Path) -> tuple[str, Callable[[bytes], bytes]]:
    """Return the algorithm of a key (ed25519, es256, es384, es512), and what signs with it.

    Raises:
        UsageError: Its signatures would differ each time, or content credentials know no such key.
    """
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519
    from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

    if isinstance(private, ed25519.Ed25519PrivateKey):
        return "ed25519", private.sign
    curve = private.curve.name if isinstance(private, ec.EllipticCurvePrivateKey) else ""
    if curve not in _CURVES:
        kind = curve or type(private).__name__.lstrip("_").removesuffix("PrivateKey")
        raise UsageError(
            f"{path}: is a key of the kind {kind}; a signature that is the same each time needs "
            "Ed25519, P-256, P-384 or P-521 (RSA draws a salt). Get a certificate for such a key."
        )
    algorithm = _CURVES[curve]
    digest = {"es256": hashes.SHA256(), "es384": hashes.SHA384(), "es512": hashes.SHA512()}
    rule = ec.ECDSA(digest[algorithm], deterministic_signing=True)
    length = _COORDINATE_BYTES[algorithm]

    def sign(data: bytes) -> bytes:
        r, s = decode_dss_signature(private.sign(data, rule))
        return r.to_bytes(length, "big") + s.to_bytes(length, "big")

    return algorithm, sign


def is_signed_by(leaf: "Certificate", signature: bytes, data: bytes) -> bool:
    """Return whether `signature` is over `data` by a certificate's key, as `signer_of` signs."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519
    from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

    public = leaf.public_key()
    try:
        if isinstance(public, ed25519.Ed25519PublicKey):
            public.verify(signature, data)
            return True
        if isinstance(public, ec.EllipticCurvePublicKey) and public.curve.name in _CURVES:
            algorithm = _CURVES[public.curve.name]
            length = _COORDINATE_BYTES[algorithm]
            parts = (signature[:length], signature[length:])
            digest = {"es256": hashes.SHA256(), "es384": hashes.SHA384(), "es512": hashes.SHA512()}
            encoded = encode_dss_signature(*(int.from_bytes(part, "big") for part in parts))
            public.verify(encoded, data, ec.ECDSA(digest[algorithm]))
            return len(parts[1]) == length
    except InvalidSignature:
        return False
    return False


def check(leaf: "Certificate", private: Any, path: Path) -> None:
    """Refuse a certificate that readers of content credentials would not accept.

    Raises:
        UsageError: It is another key's, not valid now, or not made for signing content.
    """
    from cryptography import x509
    from cryptography.x509.oid import ExtensionOID

    if leaf.public_key() != private.public_key():
        raise UsageError(f"{path}: the first certificate belongs to another key than the one set.")
    begin, end = leaf.not_valid_before_utc, leaf.not_valid_after_utc
    if not begin <= datetime.now(UTC) <= end:
        raise UsageError(
            f"{path}: is valid from {begin:%Y-%m-%d} to {end:%Y-%m-%d}, not now. Renew it."
        )
    extensions = {extension.oid: extension.value for extension in leaf.extensions}
    usage = extensions.get(ExtensionOID.KEY_USAGE)
    is_meant = isinstance(usage, x509.KeyUsage) and usage.digital_signature
    if not is_meant or ExtensionOID.EXTENDED_KEY_USAGE not in extensions:
        raise UsageError(
            f"{path}: is not made for signing content: it needs the key usage digitalSignature and "
            "an extended key usage, as emailProtection or documentSigning. Ask for such a one."
        )


def fingerprint(certificate: "Certificate") -> str:
    """Return the SHA-256 of a certificate's DER, 64 hex digits."""
    from cryptography.hazmat.primitives.hashes import SHA256

    return certificate.fingerprint(SHA256()).hex()


def subject(certificate: "Certificate") -> str:
    """Return whom a certificate names: common name and organisation, as far as there are any."""
    from cryptography.x509 import NameOID

    oids = (NameOID.COMMON_NAME, NameOID.ORGANIZATION_NAME)
    found = [each for oid in oids for each in certificate.subject.get_attributes_for_oid(oid)]
    names = [str(each.value) for each in found]
    return ", ".join(names) or certificate.subject.rfc4514_string()


def _bytes_of(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror}); signing needs it.") from error
