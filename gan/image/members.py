"""What a file of somebody else's source must be to be taken in, by its name and size alone.

Nothing is ever written under a name that the source chose, so a hostile name can do no harm here;
it is refused all the same, because an archive that tries it is not what its owner believes it is.
Links are never followed. Caps on size, number and expansion stop bombs before they take memory.
"""

import unicodedata
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from gan.errors import SourceError

SUFFIXES = frozenset(
    {".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".gif", ".webp", ".bmp", ".tif", ".tiff"}
)
LABELS = "labels.csv"

MAX_MEMBER_BYTES = 64 << 20
MAX_TOTAL_BYTES = 64 << 30
MAX_MEMBERS = 2_000_000
MAX_EXPANSION = 500  # times the archive's own size; photographs reach 2, CIFAR's tar.xz 10
_FREE_EXPANSION_BYTES = 64 << 20  # small archives of flat drawings may expand a lot
_MAX_NAME_BYTES, _MAX_KEY_BYTES = 255, 1024
_EXAMPLES = 20

_NESTED = frozenset({".zip", ".tar", ".gz", ".tgz", ".xz", ".txz", ".bz2", ".7z", ".rar", ".zst"})
_CLUTTER_SUFFIXES = frozenset({".csv", ".md", ".txt", ".json", ".html", ".part", ".ini", ".db"})
_CLUTTER_STEMS = frozenset({"license", "licence", "copying", "notice", "readme"})
_BIDI_CONTROLS = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


@dataclass(frozen=True)
class Member:
    """One image file of a source.

    Attributes:
        key: Its posix path inside the source.
        read: Returns its bytes; of a tar only until the next member is asked for.
    """

    key: str
    read: Callable[[], bytes]


@dataclass
class Survey:
    """What was met on the way besides images.

    Attributes:
        clutter: Number of files that are no images and claim to be none (notes, hidden files).
        skipped: Number of files left out, by reason code.
        examples: Up to 20 escaped names for each reason code.
        labels_csv: Bytes of the `labels.csv` at the source's top, or None.
    """

    clutter: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[str]] = field(default_factory=dict)
    labels_csv: bytes | None = None

    def skip(self, reason: str, name: str) -> None:
        """Count a file that is left out, and keep its escaped name as an example."""
        self.skipped[reason] += 1
        names = self.examples.setdefault(reason, [])
        if len(names) < _EXAMPLES:
            names.append(ascii(name)[1:-1])


def is_wanted(key: str, size: int, survey: Survey) -> bool:
    """Return whether a regular file is an image to bring in; otherwise note why not."""
    *folders, name = key.split("/")
    stem, dot, suffix = name.lower().rpartition(".")
    suffix = dot + suffix if stem else ""
    hidden = any(part.startswith(".") or part == "__MACOSX" for part in (*folders, name))
    note = (
        suffix in _CLUTTER_SUFFIXES
        or name.endswith("~")
        or (suffix not in SUFFIXES and (stem or name).lower() in _CLUTTER_STEMS)
    )
    if hidden or note:
        survey.clutter += 1
    elif reason := _fault(key, suffix, size):
        survey.skip(reason, key)
    else:
        return True
    return False


def _fault(key: str, suffix: str, size: int) -> str:
    """Return the reason code for leaving a file out by its name or size alone, or ``""``."""
    if suffix not in SUFFIXES:
        return "NESTED_ARCHIVE" if suffix in _NESTED else "EXTENSION_NOT_ALLOWED"
    if any(unicodedata.category(c) in {"Cc", "Cs"} or c in _BIDI_CONTROLS for c in key):
        return "UNSAFE_NAME"  # control characters, and bytes that are not UTF-8
    encoded = key.encode()
    if len(encoded) > _MAX_KEY_BYTES or max(map(len, encoded.split(b"/"))) > _MAX_NAME_BYTES:
        return "NAME_TOO_LONG"
    return "FILE_TOO_LARGE" if size > MAX_MEMBER_BYTES else ""


def check_total(path: Path, total_bytes: int, archive_bytes: int | None = None) -> None:
    """Refuse a source that is too large, or that expands like a bomb.

    Raises:
        SourceError: The bytes met so far, or announced, pass a cap.
    """
    limit = MAX_TOTAL_BYTES
    if archive_bytes is not None:
        limit = min(limit, max(_FREE_EXPANSION_BYTES, MAX_EXPANSION * archive_bytes))
    if total_bytes > limit:
        raise SourceError(
            f"{path}: expands to more than {limit >> 20:,} MiB (ARCHIVE_BOMB). Unpack it by hand, "
            "look at it, and point data.path to the folder."
        )
