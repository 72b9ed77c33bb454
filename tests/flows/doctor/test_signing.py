"""Tests of what the doctor says of certificates and keys."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from flows.doctor import signing
from flows.doctor.finding import Finding
from flows.settings import Settings
from gan.marking.local_identity import make_once
from gan.paths import Layout

Make = Callable[..., Settings]


@pytest.fixture
def judged(tmp_path: Path, workspace: Layout, settings_of: Make) -> Callable[..., list[Finding]]:
    """Return a function that says what the doctor says of a certificate that ends on some day."""

    def judge(days: float, *, another: bool = False, mode: int = 0o600) -> list[Finding]:
        key, end = Ed25519PrivateKey.generate(), datetime.now(UTC) + timedelta(days=days)
        chain, secret = tmp_path / "chain.pem", tmp_path / "key.pem"
        chain.write_bytes(_certificate(key, end).public_bytes(Encoding.PEM))
        used = Ed25519PrivateKey.generate() if another else key
        plain = (Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        secret.write_bytes(used.private_bytes(*plain))
        secret.chmod(mode)
        names = {"GANMILL_SIGNING_CERTIFICATE": str(chain), "GANMILL_SIGNING_KEY": str(secret)}
        return signing.signing(workspace, settings_of(**names))

    return judge


def _certificate(key: Ed25519PrivateKey, end: datetime) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a studio")])
    usage = x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )
    purpose = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION])
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(end - timedelta(days=90))
        .not_valid_after(end)
        .add_extension(usage, critical=True)
        .add_extension(purpose, critical=False)
        .sign(key, None)
    )


def test_without_settings_a_local_one_is_made_later(workspace: Layout, settings_of: Make) -> None:
    """A fresh workspace has no certificate yet, and looking makes none; a made one is sound."""
    (line,) = signing.signing(workspace, settings_of())
    assert (line.state, workspace.signing.exists()) == ("ok", False)
    make_once(workspace.signing / "local.pem")
    (line,) = signing.signing(workspace, settings_of())
    assert line.state == "ok"
    assert line.says.startswith("local signer, ganmill, until ")


def test_an_expired_certificate_is_bad_and_one_that_ends_soon_a_warning(
    judged: Callable[..., list[Finding]],
) -> None:
    """The line has the day on which it ends."""
    (late,) = judged(-2)
    assert (late.state, "not now" in late.says) == ("bad", True)
    assert "GANMILL_SIGNING_CERTIFICATE" in late.mend
    (soon,) = judged(5.5)
    assert (soon.state, "5 days" in soon.says) == ("warn", True)
    (fine,) = judged(80)
    assert (fine.state, "a studio, until " in fine.says) == ("ok", True)


def test_a_key_that_does_not_fit_or_is_open_is_bad(judged: Callable[..., list[Finding]]) -> None:
    """Another certificate's key is told, and one that others of the machine may read."""
    (line,) = judged(80, another=True)
    assert (line.state, "belongs to another key" in line.says) == ("bad", True)
    certificate, key = judged(80, mode=0o644)
    assert certificate.state == "ok"
    assert (key.state, key.mend.startswith("chmod 600 ")) == ("bad", True)


def test_a_damaged_local_identity_has_its_mend(workspace: Layout, settings_of: Make) -> None:
    """It is put aside, not deleted: what it signed stays known."""
    workspace.signing.mkdir(parents=True)
    (workspace.signing / "local.pem").write_text("no key")
    (line,) = signing.signing(workspace, settings_of())
    assert (line.state, line.mend.startswith("mv ")) == ("bad", True)


def test_the_key_of_the_watermark_is_looked_at(
    tmp_path: Path, workspace: Layout, settings_of: Make
) -> None:
    """A key file that is gone, empty or open is told; nothing of it is shown."""
    (line,) = signing.watermark(workspace, settings_of())
    assert (line.state, "public" in line.says) == ("ok", True)
    path = tmp_path / "watermark.key"
    given = settings_of(GANMILL_WATERMARK_KEY=str(path))
    assert signing.watermark(workspace, given)[0].state == "bad"
    path.write_text("\n")
    assert "is empty" in signing.watermark(workspace, given)[0].says
    path.write_text("0123456789abcdef0123456789abcdef\n")
    path.chmod(0o604)
    assert signing.watermark(workspace, given)[0].mend == f"chmod 600 {path}"
    path.chmod(0o600)
    (line,) = signing.watermark(workspace, given)
    assert (line.state, "0123" in line.says) == ("ok", False)
