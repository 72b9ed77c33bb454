"""Who signs: the user's own certificate, or a local one that is made the first time.

<folder>/local.pem           key, certificate and authority of this machine, in one file
<folder>/known/<sha256>.pem  every certificate that ever signed here: what it signed stays ours
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType

from gan.durable import write_atomically
from gan.errors import DamagedError, UsageError
from gan.marking import certificates, local_identity

_LOCAL, _KNOWN = "local.pem", "known"


@dataclass(frozen=True)
class Signing:
    """Where the identity lies; never the key itself, so that it may travel to a worker.

    Attributes:
        folder: Of the local identity and of the certificates known here.
        certificate: PEM of the user's certificate, its issuers after it; None for the local one.
        key: PEM of its private key, without a passphrase.
    """

    folder: Path
    certificate: Path | None = None
    key: Path | None = None


@dataclass(frozen=True)
class Known:
    """Whose signatures count as ours.

    Attributes:
        certificates: Fingerprint to PEM, of all that ever signed in this workspace.
    """

    certificates: Mapping[str, bytes]


@dataclass(frozen=True)
class Identity(Known):
    """Someone who can sign.

    Attributes:
        chain_pem: The certificate that signs, then its issuers, without a self-signed root.
        algorithm: ed25519, es256, es384 or es512.
        fingerprint: SHA-256 of the certificate's DER, 64 hex digits.
        subject: Whom the certificate names, for people.
        is_local: Made on this machine: shows that nothing was altered since, not who made it.
    """

    chain_pem: bytes
    algorithm: str
    fingerprint: str
    subject: str
    is_local: bool
    _signer: Callable[[bytes], bytes] = field(repr=False, compare=False)

    def sign(self, data: bytes) -> bytes:
        """Return the signature over `data`, the same each time; of ECDSA r and s side by side."""
        return self._signer(data)


def open_identity(signing: Signing) -> Identity:
    """Return who signs; a local identity is made where none is given and none is there.

    It is kept for the life of the process. Killed anywhere, the same call finishes.

    Raises:
        UsageError: The certificate or key is missing, unreadable, expired, or cannot be used.
        DamagedError: The local identity was altered.
        GanmillError: The folder cannot be written.
    """
    if (signing.certificate is None) != (signing.key is None):
        lacking = "key" if signing.key is None else "certificate"
        raise UsageError(f"signing: the {lacking} is not set; give a certificate and its key both.")
    return _open(signing)


def read_known(signing: Signing) -> Known:
    """Return whose signatures count as ours, without making or writing anything.

    Expired certificates are among them: what they signed before is no less ours.

    Raises:
        UsageError: The certificate that is set, or one of the known, cannot be read.
    """
    from cryptography.hazmat.primitives.serialization import Encoding

    known = _known(signing.folder)
    if signing.certificate is not None:
        leaf = certificates.read_chain(signing.certificate)[0]
        known[certificates.fingerprint(leaf)] = leaf.public_bytes(Encoding.PEM)
    return Known(MappingProxyType(known))


@lru_cache(maxsize=8)
def _open(signing: Signing) -> Identity:
    from cryptography.hazmat.primitives.serialization import Encoding

    local = signing.folder / _LOCAL
    if signing.key is None:
        local_identity.make_once(local)
    path = signing.certificate or local
    try:
        chain, private = certificates.read_chain(path), certificates.read_key(signing.key or local)
        algorithm, signer = certificates.signer_of(private, signing.key or local)
        certificates.check(chain[0], private, path)
    except UsageError as error:
        if path == local:
            raise DamagedError(
                f"{error} Bring the local identity back from a copy, or delete this file: a new "
                "one is made then, and what the old one signed stays known."
            ) from error
        raise
    fingerprint = certificates.fingerprint(chain[0])
    record = signing.folder / _KNOWN / f"{fingerprint}.pem"
    if not record.exists():
        local_identity.make_private(signing.folder)
        write_atomically(record, chain[0].public_bytes(Encoding.PEM))
    return Identity(
        certificates=MappingProxyType(_known(signing.folder)),
        chain_pem=b"".join(each.public_bytes(Encoding.PEM) for each in chain),
        algorithm=algorithm,
        fingerprint=fingerprint,
        subject=certificates.subject(chain[0]),
        is_local=path == local,
        _signer=signer,
    )


def _known(folder: Path) -> dict[str, bytes]:
    """Return the certificates of the folder `known`; a user may have put one there, by any name."""
    from cryptography.hazmat.primitives.serialization import Encoding

    leaves = [certificates.read_chain(path)[0] for path in sorted((folder / _KNOWN).glob("*.pem"))]
    return {certificates.fingerprint(leaf): leaf.public_bytes(Encoding.PEM) for leaf in leaves}
