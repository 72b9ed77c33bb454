"""Certificates of many kinds as files, and one origin, for tests of what is signed."""

import io
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from PIL import Image, PngImagePlugin

from gan.marking import xmp
from gan.marking.credentials import Origin
from gan.marking.identity import Signing

ORIGIN = Origin(
    asset="0123456789abcdef",
    recipe="stickers",
    campaign="daily",
    batch="2026-11-22-01234567",
    request="a" * 64,
    seed=1,
    ordinal=5,
    class_='cats & "co", é',
    model_digest="b" * 64,
    model_version="3",
    data_version="c" * 64,
)
MEDIA = ("image/png", "image/webp", "image/jpeg")


def new_key(kind: str) -> Any:
    """Return a new private key: ed25519, rsa, or the name of a curve."""
    if kind == "ed25519":
        return Ed25519PrivateKey.generate()
    if kind == "rsa":
        return rsa.generate_private_key(65537, 2048)
    return ec.generate_private_key(getattr(ec, kind)())


def write_signer(
    folder: Path,
    kind: str = "ed25519",
    *,
    days: int = 10,
    usage: bool = True,
    password: bytes | None = None,
) -> Signing:
    """Write a user's certificate, its issuer and its key; return where they are.

    Args:
        folder: Of the files; the local folder is below it.
        kind: Of the key, as in `new_key`.
        days: How long it is valid from now; negative for an expired one.
        usage: Whether it is made for signing content.
        password: Of the key file.
    """
    folder.mkdir(parents=True, exist_ok=True)
    above, key = Ed25519PrivateKey.generate(), new_key(kind)
    leaf, root = _certificate("Jane", key, above, days, usage=usage), _root(above)
    pem = serialization.Encoding.PEM
    locked = (
        serialization.BestAvailableEncryption(password)
        if password
        else serialization.NoEncryption()
    )
    (folder / "chain.pem").write_bytes(leaf.public_bytes(pem) + root.public_bytes(pem))
    secret = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, locked)
    (folder / "key.pem").write_bytes(secret)
    return Signing(folder / "signing", folder / "chain.pem", folder / "key.pem")


def picture_file(media: str, *, side_px: int = 48, origin: Origin | None = None) -> bytes:
    """Return a file of noise, with XMP of an origin if there is one."""
    pixels = np.random.default_rng(1).integers(0, 255, (side_px, side_px, 3), dtype=np.uint8)
    file, packet = io.BytesIO(), xmp.packet(origin) if origin else ""
    image = Image.fromarray(pixels)
    if media == "image/png":
        info = PngImagePlugin.PngInfo()
        if packet:
            info.add_itxt("XML:com.adobe.xmp", packet)
        image.save(file, "PNG", pnginfo=info)
    else:
        image.save(file, media.removeprefix("image/"), xmp=packet.encode())
    return file.getvalue()


def _root(key: Ed25519PrivateKey) -> x509.Certificate:
    return _certificate("an authority", key, key, 20, usage=False, is_root=True)


def _certificate(
    common: str, key: Any, above: Any, days: int, *, usage: bool, is_root: bool = False
) -> x509.Certificate:
    now, public = datetime.now(UTC), key.public_key()
    issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "an authority")])
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)]))
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=30))
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=is_root, path_length=None), critical=True)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(above.public_key()), critical=False
        )
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
    )
    if usage or is_root:
        flags = x509.KeyUsage(
            digital_signature=usage,
            key_cert_sign=is_root,
            content_commitment=False,
            key_encipherment=False,
            data_encipherment=False,
            key_agreement=False,
            crl_sign=is_root,
            encipher_only=False,
            decipher_only=False,
        )
        builder = builder.add_extension(flags, critical=True)
    if usage:
        purpose = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION])
        builder = builder.add_extension(purpose, critical=False)
    algorithm = None if isinstance(above, Ed25519PrivateKey) else hashes.SHA256()
    return builder.sign(above, algorithm)
