"""Content credentials: a C2PA manifest in the file that says "made by a trained algorithm".

EU AI Act, article 50(2), and its code of practice ask for signed, machine-readable marks; C2PA is
what readers understand (digitalSourceType `trainedAlgorithmicMedia` of IPTC). It binds to every
byte of the file: sign last, and never encode again. It has no thumbnail and no time stamp.
"""

import hashlib
import io
import json
from dataclasses import dataclass, fields, replace
from functools import lru_cache, partial
from typing import Any

from gan.errors import UsageError
from gan.marking.certificates import is_signed_by
from gan.marking.containers import media_type, with_store
from gan.marking.identity import Identity, Known
from gan.marking.manifest_store import HASH_LABEL, Hidden, Store, read_store, write_store

SYNTHETIC = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
# What `sign` adds at most. It is 2 KB with the local identity; a user's chain may have 4 KiB.
OVERHEAD_BYTES, _USUAL_BYTES = 8192, 2048
_ACTIONS, _OURS = "c2pa.actions.v2", "ganmill.asset"
_MAKER = {"name": "ganmill"}


@dataclass(frozen=True)
class Origin:
    """Where an asset comes from: all that it takes to find its row and to make it again.

    Attributes:
        asset: Id, 16 hex digits.
        recipe: Product line.
        campaign: What it was made for.
        batch: Name of the batch's folder.
        request: What was asked for, 64 hex digits.
        seed: Of the request.
        ordinal: Place in the request.
        class_: Class drawn, "" without classes.
        model_digest: Digest of the bundle, 64 hex digits.
        model_version: Version in the registry, "" if it is in none.
        data_version: What it was trained on, "" if not known.
    """

    asset: str
    recipe: str
    campaign: str
    batch: str
    request: str
    seed: int
    ordinal: int
    class_: str
    model_digest: str
    model_version: str
    data_version: str


@dataclass(frozen=True)
class Credentials:
    """What the content credentials of a file say, and whether they hold.

    Attributes:
        is_whole: Signature and hashes fit: not a byte was changed since somebody signed.
        is_ours: One of the known certificates signed what they say; False without any known.
        signer: Whom the certificate names.
        maker: What made the claim, say `ganmill`.
        source_type: Digital source type of the first action that has one, or "".
        origin: What we say of our own assets; None in a file of anybody else's.
        problems: What does not fit, in C2PA's own words.
    """

    is_whole: bool
    is_ours: bool
    signer: str
    maker: str
    source_type: str
    origin: Origin | None
    problems: tuple[str, ...]


def sign(payload: bytes, media: str, origin: Origin, identity: Identity) -> bytes:
    """Return a file with content credentials: the same bytes for the same arguments.

    Args:
        payload: PNG, WebP or JPEG without credentials.
        media: Its media type, `image/png` and so on.
        origin: What the credentials say of the asset.
        identity: Who signs.

    Raises:
        UsageError: The file is none of the three, not what `media` says, or its origin is told in
            more than `OVERHEAD_BYTES`.
    """
    if media_type(payload) != media:
        found = media_type(payload) or "none that can be signed"
        raise UsageError(f"content credentials: the file is {found}, not {media}.")
    name = f"{origin.asset} {hashlib.sha256(payload).hexdigest()}"
    said = _assertions(origin)
    # A store tells its own place and length, and is longer where these are longer numbers; what
    # is around it may tell its length too.
    hidden, digest = Hidden(len(with_store(payload, b"").before), _USUAL_BYTES), bytes(32)
    while True:
        parts = with_store(payload, write_store(name, _MAKER, said, digest, hidden, identity))
        told = hidden, digest
        hidden = Hidden(len(parts.before), len(parts.part))
        digest = hashlib.sha256(parts.before + parts.after).digest()
        if (hidden, digest) == told:
            break
    if hidden.length > OVERHEAD_BYTES:
        raise UsageError(
            f"content credentials: {hidden.length:,} bytes for asset {origin.asset}; "
            f"{OVERHEAD_BYTES:,} at most. The class or a name of its origin is too long."
        )
    return b"".join(parts)


def read(payload: bytes, identity: Known | None = None) -> Credentials | None:
    """Return what a file's content credentials say, or None where it has none.

    C2PA's own library reads them, offline. Whether they are ours it cannot say: it knows trusted
    authorities, and here it is about single certificates; so our own form is verified by ourselves.

    Args:
        payload: A file's bytes, of anybody's.
        identity: Whose signatures count as ours.
    """
    import c2pa

    media = media_type(payload)
    if not media:
        return None
    try:
        with c2pa.Reader(media, io.BytesIO(payload), context=_context()) as reader:
            found = _credentials(json.loads(reader.json()))
    except c2pa.C2paError.ManifestNotFound:
        return None
    except (c2pa.C2paError, ValueError, TypeError, AttributeError, LookupError) as error:
        detail = " ".join(str(error).split())[:200]
        found = _UNREADABLE(problems=(f"cannot be read: {detail}",))
    store = read_store(payload)
    if store is None or identity is None or not _is_known(store, identity):
        return found
    origin = _origin(store.assertions.get(_OURS))
    is_whole = found.is_whole and _is_bound(payload, store)
    return replace(found, is_ours=True, is_whole=is_whole, origin=origin)


def _assertions(origin: Origin) -> dict[str, Any]:
    said = {each.name.rstrip("_"): getattr(origin, each.name) for each in fields(origin)}
    agent = {"name": f"ganmill {origin.recipe}"}
    if origin.model_version:
        agent["version"] = origin.model_version
    action = {"action": "c2pa.created", "softwareAgent": agent, "digitalSourceType": SYNTHETIC}
    return {_ACTIONS: {"actions": [action]}, _OURS: said}


@lru_cache(maxsize=1)
def _context() -> Any:
    """Return settings of the library under which reading a file asks nobody on the network."""
    import c2pa

    return c2pa.Context.from_dict({"verify": {"remote_manifest_fetch": False, "ocsp_fetch": False}})


def _credentials(found: dict[str, Any]) -> Credentials:
    """Return what the library's report says; it calls a signer unknown to it no failure of ours."""
    manifest = found["manifests"][found["active_manifest"]]
    codes = found["validation_results"]["activeManifest"]
    problems = [each for each in codes["failure"] if each["code"] != "signingCredential.untrusted"]
    said = {each["label"]: each.get("data") for each in manifest.get("assertions", [])}
    actions = (said.get(_ACTIONS) or said.get("c2pa.actions") or {}).get("actions", [])
    types = [each.get("digitalSourceType") for each in actions]
    signature = manifest.get("signature_info") or {}
    names = (signature.get("common_name"), signature.get("issuer"))
    makers = [each.get("name") for each in manifest.get("claim_generator_info") or []]
    success = {each["code"] for each in codes["success"]}
    return Credentials(
        is_whole=not problems and "claimSignature.validated" in success,
        is_ours=False,
        signer=", ".join(str(name) for name in names if name),
        maker=str(next(filter(None, makers), "")),
        source_type=str(next(filter(None, types), "")),
        origin=_origin(said.get(_OURS)),
        problems=tuple(f"{each['code']}: {each.get('explanation', '')}" for each in problems),
    )


def _is_known(store: Store, known: Known) -> bool:
    """Return whether one of the known certificates signed a store's claim."""
    from cryptography.x509 import load_pem_x509_certificate

    pem = known.certificates.get(hashlib.sha256(store.leaf).hexdigest())
    leaf = load_pem_x509_certificate(pem) if pem else None
    return leaf is not None and is_signed_by(leaf, store.signature, store.signed)


def _is_bound(payload: bytes, store: Store) -> bool:
    """Return whether a store is in its place in the file that its hash is of, to the last byte."""
    match store.assertions.get(HASH_LABEL):
        case {"exclusions": [{"start": int(start), "length": int(length)}], "hash": bytes(digest)}:
            around = payload[:start] + payload[start + length :]
            is_right = hashlib.sha256(around).digest() == digest
            return is_right and b"".join(with_store(around, store.written)) == payload
    return False


def _origin(said: Any) -> Origin | None:
    """Return the origin that an assertion of ours tells, or None if it tells none."""
    told = {each.name: each.name.rstrip("_") for each in fields(Origin)}
    if not isinstance(said, dict) or not set(told.values()) <= set(said):
        return None
    kinds = {each.name: int if each.name in {"seed", "ordinal"} else str for each in fields(Origin)}
    values = {name: said[key] for name, key in told.items()}
    if any(not isinstance(value, kinds[name]) for name, value in values.items()):
        return None
    return Origin(**values)


_UNREADABLE = partial(
    Credentials, is_whole=False, is_ours=False, signer="", maker="", source_type="", origin=None
)
