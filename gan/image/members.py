"""What a file of somebody else's source must be to be taken in, by its name and size alone.

Nothing is ever written under a name that the source chose, so a hostile name can do no harm here;
it is refused all the same, because an archive that tries it is not what its owner believes it is.
Links are never followed. Caps on size, number and expansion stop bombs before they take memory.
"""

import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from gan.errors import SourceError

SUFFIXES = frozenset(
    {".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".gif", ".webp", ".bmp", ".tif", ".tiff"}
)
LABELS = "labels.csv"
FOLDER = "folder"  # the column of a member whose key does not say in which folder it belongs

MAX_MEMBER_BYTES = 64 << 20
MAX_TOTAL_BYTES = 64 << 30
MAX_MEMBERS = 2_000_000
MAX_EXPANSION = 500  # times the archive's own size; photographs reach 2, CIFAR's tar.xz 10
_FREE_EXPANSION_BYTES = 64 << 20  # small archives of flat drawings may expand a lot
_MAX_NAME_BYTES, _MAX_KEY_BYTES = 255, 1024
_LONG_NAME_BYTES = 200  # with a folder before it, over the 260 characters of a path on Windows
_EXAMPLES = 20
_MAX_COLUMNS = 256  # of those that a message names

_NESTED = frozenset({".zip", ".tar", ".gz", ".tgz", ".xz", ".txz", ".bz2", ".7z", ".rar", ".zst"})
_UNSUPPORTED = frozenset({".avif", ".heic", ".heif", ".ico", ".jp2", ".jxl", ".psd", ".raw"})
_ACTIVE = frozenset({".svg", ".svgz"})
_CLUTTER_SUFFIXES = frozenset({".csv", ".md", ".txt", ".json", ".html", ".part", ".ini", ".db"})
_CLUTTER_STEMS = frozenset({"license", "licence", "copying", "notice", "readme"})
_BIDI_CONTROLS = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
# What a shell, a spreadsheet or Windows would take for something else than a name.
_ODD_CHARACTERS = frozenset("$`;|&<>*?:\\")
_ODD_STARTS = ("-", "=", "+", "@")
_WINDOWS_NAMES = frozenset({"con", "prn", "aux", "nul"}) | {
    f"{port}{number}" for port in ("com", "lpt") for number in range(1, 10)
}
_MAGIC = {b"\x89PNG": "PNG", b"\xff\xd8\xff": "JPEG", b"GIF8": "GIF", b"BM": "BMP"}
_FORMATS = {
    ".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".jpe": "JPEG", ".jfif": "JPEG", ".gif": "GIF",
    ".webp": "WEBP", ".bmp": "BMP", ".tif": "TIFF", ".tiff": "TIFF",
}  # fmt: skip


@dataclass(frozen=True)
class Member:
    """One image file of a source.

    Attributes:
        key: Its posix path inside the source.
        read: Returns its bytes; to be called before the next member is asked for.
        columns: What the source itself says of it, by name: the other columns of its row, or the
            files beside it in a WebDataset. Empty where a `labels.csv` or the folder does.
    """

    key: str
    read: Callable[[], bytes]
    columns: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def holding(cls, key: str, payload: bytes, columns: Mapping[str, str]) -> Self:
        """Return a member whose bytes were read already."""
        return cls(key, lambda: payload, columns)


@dataclass
class Survey:
    """What was met on the way besides images.

    Attributes:
        clutter: Number of files that are no images and claim to be none (notes, hidden files).
        skipped: Number of files left out, by reason code.
        noted: Number of files taken in although something is odd about them, by reason code.
        examples: Up to 20 escaped names for each reason code of those left out.
        oddities: The same of those noted.
        labels_csv: Bytes of the `labels.csv` at the source's top, or None.
        columns: Names of the columns that members carry, a few hundred at most.
        folders: Keys of the folders met, hidden ones left out.
        filled: Those of them that directly hold a file.
    """

    clutter: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    noted: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[str]] = field(default_factory=dict)
    oddities: dict[str, list[str]] = field(default_factory=dict)
    labels_csv: bytes | None = None
    columns: dict[str, None] = field(default_factory=dict)
    folders: set[str] = field(default_factory=set)
    filled: set[str] = field(default_factory=set)

    def skip(self, reason: str, name: str) -> None:
        """Count a file that is left out, and keep its escaped name as an example."""
        self.skipped[reason] += 1
        _remember(self.examples, reason, name)

    def note(self, reason: str, name: str) -> None:
        """Count a file that is taken in although it is odd, and keep its name as an example."""
        self.noted[reason] += 1
        _remember(self.oddities, reason, name)

    def met_columns(self, names: Mapping[str, str]) -> None:
        """Remember the names of a member's columns, for messages."""
        if len(self.columns) < _MAX_COLUMNS:
            self.columns.update(dict.fromkeys(names))

    def met_folder(self, key: str) -> None:
        """Remember a folder, to tell later whether it held anything."""
        if not is_hidden(key):
            self.folders.add(key)

    def empty_folders(self) -> Iterator[str]:
        """Yield the folders met with no file anywhere below them: classes without images."""
        full = set()
        for folder in self.filled:
            while folder not in full:
                full.add(folder)
                folder = folder.rpartition("/")[0]  # noqa: PLW2901  # up to the top
        yield from sorted(self.folders - full)


def _remember(examples: dict[str, list[str]], reason: str, name: str) -> None:
    names = examples.setdefault(reason, [])
    if len(names) < _EXAMPLES:
        names.append(ascii(name)[1:-1])


def is_wanted(key: str, size: int, survey: Survey) -> bool:
    """Return whether a regular file may be an image to bring in; otherwise note why not.

    A name without a suffix is, until `is_misnamed` has seen its first bytes.
    """
    folder, _, name = key.rpartition("/")
    survey.filled.add(folder)
    stem, suffix = _split(name)
    note = (
        suffix in _CLUTTER_SUFFIXES
        or name.endswith("~")
        or (suffix not in SUFFIXES and (stem or name).lower() in _CLUTTER_STEMS)
    )
    if is_hidden(key) or note:
        survey.clutter += 1
    elif reason := _fault(key, suffix, size):
        survey.skip(reason, key)
    else:
        if oddity := _oddity(name):
            survey.note(oddity, key)
        return True
    return False


def is_usable(key: str) -> bool:
    """Return whether a key that somebody else chose may stand: an image's, and nothing odd."""
    suffix = _split(key.rpartition("/")[2])[1]
    return bool(suffix) and not is_hidden(key) and not _fault(key, suffix, 0)


def is_misnamed(key: str, payload: bytes, survey: Survey) -> bool:
    """Return whether a file without a suffix holds no image; note one of another suffix.

    Raises nothing: whether the bytes are a sound image is the decoder's matter.
    """
    suffix, found = _split(key.rpartition("/")[2])[1], format_of(payload)
    if not suffix and not found:
        survey.skip("EXTENSION_NOT_ALLOWED", key)
        return True
    if found and _FORMATS.get(suffix) != found:
        survey.note("EXTENSION_MISMATCH", key)
    return False


def format_of(payload: bytes) -> str:
    """Return the image format that a file's first bytes announce, as Pillow names it, or ``""``."""
    if payload[:4] == b"RIFF" and payload[8:12] == b"WEBP":
        return "WEBP"
    if payload[:4] in {b"II*\0", b"MM\0*"}:
        return "TIFF"
    return next((name for magic, name in _MAGIC.items() if payload.startswith(magic)), "")


def suffix_of(payload: bytes) -> str:
    """Return the file name suffix that goes with a file's first bytes, or ``""``."""
    found = format_of(payload)
    return next((suffix for suffix, name in _FORMATS.items() if name == found), "")


def _split(name: str) -> tuple[str, str]:
    """Return stem and lower-case suffix of a file name; a dot at its start begins no suffix."""
    stem, dot, suffix = name.rpartition(".")
    return (stem, dot + suffix.lower()) if stem else (name, "")


def is_hidden(key: str) -> bool:
    """Return whether a file is hidden, or lies in a hidden folder."""
    return any(part.startswith(".") or part == "__MACOSX" for part in key.split("/"))


def _fault(key: str, suffix: str, size: int) -> str:
    """Return the reason code for leaving a file out by its name or size alone, or ``""``."""
    if suffix and suffix not in SUFFIXES:
        return _foreign(suffix)
    if not key.isprintable() and any(
        unicodedata.category(c) in {"Cc", "Cs"} or c in _BIDI_CONTROLS for c in key
    ):
        return "UNSAFE_NAME"  # control characters, and bytes that are not UTF-8
    encoded = key.encode()
    if len(encoded) > _MAX_KEY_BYTES or max(map(len, encoded.split(b"/"))) > _MAX_NAME_BYTES:
        return "NAME_TOO_LONG"
    return "FILE_TOO_LARGE" if size > MAX_MEMBER_BYTES else ""


def _foreign(suffix: str) -> str:
    """Return the reason code for a suffix that is none of ours."""
    if suffix in _NESTED:
        return "NESTED_ARCHIVE"
    if suffix in _ACTIVE:
        return "ACTIVE_CONTENT"
    return "UNSUPPORTED_FORMAT" if suffix in _UNSUPPORTED else "EXTENSION_NOT_ALLOWED"


def _oddity(name: str) -> str:
    """Return the reason code for what is odd about a name that is taken all the same, or ``""``."""
    if len(name.encode()) > _LONG_NAME_BYTES:
        return "NAME_TOO_LONG"
    stem = name.partition(".")[0].lower()
    odd = name.startswith(_ODD_STARTS) or stem in _WINDOWS_NAMES or _ODD_CHARACTERS & set(name)
    return "UNSAFE_NAME" if odd else ""


def check_total(path: Path | str, total_bytes: int, archive_bytes: int | None = None) -> None:
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
