"""What assets are signed and marked with: certificate, its key, the watermark's key."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from flows.doctor.finding import Finding, bad, ok, warn
from flows.doctor.secrecy import is_open
from flows.settings import Settings
from gan.errors import UsageError
from gan.marking import certificates
from gan.paths import Layout

_SOON_DAYS = 30
_RENEW = "export GANMILL_SIGNING_CERTIFICATE=... GANMILL_SIGNING_KEY=...   (of a new one)"


def signing(layout: Layout, settings: Settings) -> list[Finding]:
    """Look at the certificate that signs, and its key."""
    local = layout.signing / "local.pem"
    path, key = settings.signing_certificate or local, settings.signing_key or local
    if path == local and not local.exists():
        return [ok("certificate", "a local one is made with the first batch")]
    try:
        leaf = certificates.read_chain(path)[0]
        private = certificates.read_key(key)
        certificates.signer_of(private, key)
        certificates.check(leaf, private, path)
    except UsageError as error:
        again = f"mv {local} {local}.old   (a new one is made; the old stays known)"
        return [bad("certificate", str(error), again if path == local else _RENEW)]
    ends = leaf.not_valid_after_utc
    days = (ends - datetime.now(UTC)).days
    says = f"{certificates.subject(leaf)}, until {ends:%Y-%m-%d}"
    found = [warn("certificate", f"{says}: {days} days", _RENEW)] if days < _SOON_DAYS else []
    return [*(found or [ok("certificate", says)]), *_private(key)]


def watermark(layout: Layout, settings: Settings) -> list[Finding]:  # noqa: ARG001  # called alike
    """Look at the key of the watermark."""
    path = settings.watermark_key
    if path is None:
        return [ok("watermark key", "the public one: everybody can read the mark")]
    new = f"openssl rand -hex 32 > {path}; chmod 600 {path}"
    try:
        key = path.read_bytes().strip()
    except OSError as error:
        return [bad("watermark key", f"{path}: cannot be read ({error.strerror or error})", new)]
    if not key:
        return [bad("watermark key", f"{path}: is empty", new)]
    return [*_private(path)] or [ok("watermark key", f"{path}, {len(key)} bytes")]


def _private(key: Path) -> Iterator[Finding]:
    if is_open(key):
        says = f"{key} may be read by others of this machine"
        yield bad("key", says, f"chmod 600 {key}")
