"""A key and a certificate of this machine's own, made once, for whoever has none to give.

What it signs shows that nothing was altered since; it does not show the world who made it.
"""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gan.changes import explained, make_folder
from gan.durable import drop_partials, replacing, run_lock

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

_LOCK = ".making"
_DAYS_VALID = 3650
_WAIT_SECONDS = 30.0


def make_once(path: Path) -> None:
    """Write a new identity (key, certificate, authority) into `path`, unless one is there.

    One file, so that no kill leaves a key without its certificate. Of processes that come at the
    same time one makes it and the others wait.

    Raises:
        BusyError: Another process has been making it for half a minute.
        GanmillError: The folder cannot be written.
    """
    make_private(path.parent)
    if path.exists():
        return
    lock = path.parent / _LOCK
    with run_lock(lock, "making the local identity", patience_seconds=_WAIT_SECONDS):
        drop_partials(path.parent, path.name)
        if not path.exists():
            _write_secret(path, _new_identity())


def make_private(folder: Path) -> None:
    """Make a folder that nobody else can look into, or make it so.

    Raises:
        GanmillError: It cannot be made.
    """
    with explained(folder, "made private"):
        make_folder(folder)
        folder.chmod(0o700)


def _write_secret(path: Path, secret: bytes) -> None:
    """Write a file that nobody else can read, not even while it is written."""
    with replacing(path) as partial:
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(secret)


def _new_identity() -> bytes:
    """Return a new key, its certificate, and that of the authority which signed it, as PEM.

    Readers of content credentials refuse a certificate that signed itself. The authority's key is
    forgotten at once: it has no second certificate to sign.
    """
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    above, key = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
    secret = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    made = (_certificate(key.public_key(), above), _certificate(above.public_key(), above))
    return secret + b"".join(each.public_bytes(serialization.Encoding.PEM) for each in made)


def _certificate(public: Any, above: Any) -> "Certificate":
    """Return a certificate by the authority's key `above`: its own, or that of what signs."""
    from cryptography import x509
    from cryptography.x509.oid import ExtendedKeyUsageOID

    is_authority = public == above.public_key()
    begin = datetime.now(UTC) - timedelta(days=1)  # for readers whose clock is behind
    usage = x509.KeyUsage(
        digital_signature=not is_authority,
        key_cert_sign=is_authority,
        crl_sign=is_authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
    issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(above.public_key())
    builder = (
        x509.CertificateBuilder()
        .subject_name(_name("local authority" if is_authority else "local signer"))
        .issuer_name(_name("local authority"))
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(begin + timedelta(days=_DAYS_VALID))
        .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(issuer, critical=False)
    )
    if not is_authority:
        purpose = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION])
        builder = builder.add_extension(purpose, critical=False)
    return builder.sign(above, None)


def _name(common: str) -> Any:
    from cryptography import x509

    oid = x509.NameOID
    parts = ((oid.ORGANIZATION_NAME, "ganmill"), (oid.COMMON_NAME, common))
    return x509.Name([x509.NameAttribute(*part) for part in parts])
