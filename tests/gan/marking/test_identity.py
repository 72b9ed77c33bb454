"""Who signs, and that the same data get the same signature."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from gan.errors import DamagedError, UsageError
from gan.marking import identity
from gan.marking.certificates import is_signed_by, read_chain
from gan.marking.identity import Signing, open_identity, read_known
from tests.faults.seam import KILLED, dying_at
from tests.gan.marking.signers import write_signer

_OPEN = """
import sys
from pathlib import Path
from gan.marking.identity import Signing, open_identity
print(open_identity(Signing(Path(sys.argv[1]))).fingerprint)
"""


def _opening(folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", _OPEN, str(folder)], stdout=subprocess.PIPE, text=True
    )


def _open_anew(signing: Signing) -> identity.Identity:
    identity._open.cache_clear()
    return open_identity(signing)


def test_local_identity_is_made_once(tmp_path: Path) -> None:
    """Without a certificate a local one is made; the next call, and process, has the same."""
    signing = Signing(tmp_path / "signing")
    first, second = open_identity(signing), _open_anew(signing)

    assert first.is_local
    assert first.algorithm == "ed25519"
    assert first.fingerprint == second.fingerprint
    assert first.subject == "local signer, ganmill"


def test_nobody_else_can_read_the_key(tmp_path: Path) -> None:
    """The folder is its owner's alone, and so is the file with the key."""
    folder = tmp_path / "signing"
    open_identity(Signing(folder))

    assert folder.stat().st_mode & 0o777 == 0o700
    assert (folder / "local.pem").stat().st_mode & 0o777 == 0o600


def test_processes_that_come_together_get_one_identity(tmp_path: Path) -> None:
    """Of workers that start at the same moment one makes the identity, and all use that one."""
    started = [_opening(tmp_path / "signing") for _ in range(3)]
    prints = {process.communicate(timeout=60)[0] for process in started}

    assert len(prints) == 1
    assert prints != {""}


def test_remains_of_a_killed_process_are_tidied_up(tmp_path: Path) -> None:
    """What a process of another name left, a wide folder, a lock, half a file, hinders nobody."""
    folder = tmp_path / "signing"
    folder.mkdir(mode=0o755)
    (folder / ".making").write_text("12345")
    (folder / ".local.pem.12345.partial").write_bytes(b"-----BEGIN PRIV")
    made = open_identity(Signing(folder))

    assert made.is_local
    assert not list(folder.glob("*.partial"))
    assert not list(folder.glob(".*.partial"))
    assert folder.stat().st_mode & 0o777 == 0o700


def test_identity_survives_death_at_every_change_of_the_disk(tmp_path: Path) -> None:
    """Killed before any change of the disk, the same call finishes with one sound identity."""
    for n in range(1, 40):
        signing = Signing(tmp_path / str(n) / "signing")
        if (child := os.fork()) == 0:
            with dying_at(n):
                _open_anew(signing)
            os._exit(0)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        made = _open_anew(signing)

        assert made.fingerprint == _open_anew(signing).fingerprint
        assert list(made.certificates) == [made.fingerprint]
        if code != KILLED:
            break
    assert n > 8


@pytest.mark.parametrize(
    ("kind", "algorithm", "length"),
    [("ed25519", "ed25519", 64), ("SECP256R1", "es256", 64), ("SECP384R1", "es384", 96),
     ("SECP521R1", "es512", 132)],
)  # fmt: skip
def test_signatures_are_the_same_each_time(
    tmp_path: Path, kind: str, algorithm: str, length: int
) -> None:
    """The user's own key signs equal data with equal bytes, which its certificate verifies."""
    signing = write_signer(tmp_path, kind)
    signer = open_identity(signing)
    assert signing.certificate is not None
    leaf = read_chain(signing.certificate)[0]
    signature = signer.sign(b"data")

    assert (signer.algorithm, signer.is_local, signer.subject) == (algorithm, False, "Jane")
    assert len(signature) == length
    assert signature == _open_anew(signing).sign(b"data")
    assert is_signed_by(leaf, signature, b"data")
    assert not is_signed_by(leaf, signature, b"date")
    assert not is_signed_by(leaf, signature[:-1], b"data")


def test_rsa_is_refused(tmp_path: Path) -> None:
    """A key whose signatures differ each time is refused with what to use instead."""
    with pytest.raises(UsageError, match=r"key of the kind RSA.*Ed25519, P-256"):
        open_identity(write_signer(tmp_path, "rsa"))


def test_unusable_certificates_are_one_line(tmp_path: Path) -> None:
    """Expired, not meant for signing, of another key, locked, missing: each is named."""
    expired = write_signer(tmp_path / "expired", days=-1)
    unmeant = write_signer(tmp_path / "unmeant", usage=False)
    locked = write_signer(tmp_path / "locked", password=b"secret")
    other = write_signer(tmp_path / "other")
    mixed = Signing(tmp_path / "s", other.certificate, write_signer(tmp_path / "own").key)
    missing = Signing(tmp_path / "s", tmp_path / "none.pem", tmp_path / "none.pem")
    for signing, words in (
        (expired, "not now. Renew it"),
        (unmeant, "not made for signing content"),
        (locked, "locked with a passphrase"),
        (mixed, "belongs to another key"),
        (missing, "cannot be read"),
        (Signing(tmp_path / "s", other.certificate), "the key is not set"),
        (Signing(tmp_path / "s", other.key, other.certificate), "no certificate in PEM"),
        (Signing(tmp_path / "s", other.certificate, other.certificate), "no private key in PEM"),
    ):
        with pytest.raises(UsageError, match=words) as caught:
            open_identity(signing)
        assert "\n" not in str(caught.value)
        assert "PRIVATE" not in str(caught.value)


def test_altered_local_identity_is_no_silent_new_one(tmp_path: Path) -> None:
    """A damaged local key is an error with what to do, not a reason to sign with another."""
    signing = Signing(tmp_path / "signing")
    open_identity(signing)
    (signing.folder / "local.pem").write_bytes(b"-----BEGIN")
    identity._open.cache_clear()

    with pytest.raises(DamagedError, match=r"local\.pem.*Bring the local identity back"):
        open_identity(signing)


def test_replaced_certificates_stay_known(tmp_path: Path) -> None:
    """What an earlier certificate signed still counts as ours after another took its place."""
    local = open_identity(Signing(tmp_path / "signing"))
    user = write_signer(tmp_path)
    jane = open_identity(user)

    assert set(jane.certificates) == {local.fingerprint, jane.fingerprint}
    assert set(read_known(Signing(user.folder)).certificates) == set(jane.certificates)


def test_certificates_of_colleagues_can_be_made_known(tmp_path: Path) -> None:
    """A certificate that is put into the folder `known`, by any name, counts as ours."""
    colleague = open_identity(write_signer(tmp_path / "colleague"))
    known = tmp_path / "signing" / "known"
    known.mkdir(parents=True)
    (known / "colleague.pem").write_bytes(colleague.chain_pem)
    (known / "broken.pem").write_bytes(b"")
    with pytest.raises(UsageError, match=r"broken\.pem: holds no certificate"):
        read_known(Signing(tmp_path / "signing"))
    (known / "broken.pem").unlink()

    assert set(read_known(Signing(tmp_path / "signing")).certificates) == {colleague.fingerprint}


def test_asking_who_is_known_makes_nothing(tmp_path: Path) -> None:
    """Verifying in a workspace that never signed leaves it as it is; a set certificate counts."""
    folder = tmp_path / "signing"
    expired = write_signer(tmp_path / "user", days=-1)

    assert not read_known(Signing(folder)).certificates
    assert len(read_known(Signing(folder, expired.certificate, expired.key)).certificates) == 1
    assert not folder.exists()
