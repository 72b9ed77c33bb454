"""Open the screens that a campaign asks for, once in a process."""

import hashlib
import threading
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gan.bundle import Bundle
from gan.durable import SUMS
from gan.metrics.store import FeatureStore
from gan.screening.copies import open_copies
from gan.screening.critic import Critic
from gan.screening.eyes import Eyes, open_eyes
from gan.screening.looking import Screens
from gan.screening.moderation import open_classifier, open_moderator
from gan.screening.references import References
from gan.sections import CampaignSpec

_AT_MOST = 4  # opened screens of one process: each holds two networks
_opened: dict[tuple[str, ...], Screens] = {}
_lock = threading.Lock()


def open_screens(bundle: Bundle, spec: CampaignSpec, references: References) -> Screens:
    """Return the screens of a campaign; what was opened before in this process is used again.

    A screen that is asked for and has nothing to look by is left out, and a note says so. What the
    first opening reads is kept in `references.store`: the next one takes a moment.

    Args:
        bundle: Whose candidates are looked at.
        spec: `rejection` and `screens` say what is asked.
        references: What they are held against.

    Raises:
        DamagedError: Extractor, prepared data or critic are there but altered.
        DivergedError: The generator makes values that are not finite.
        UsageError: There is no such classifier, label or moderator.
    """
    asked = (spec.screens.model_dump_json(), repr(spec.rejection), repr(references))
    there = (
        _state(references.extractor),
        _state(references.training),
        _files(_classifier(spec, references)),
    )
    key = (bundle.digest, *asked, *there)
    with _lock:
        if key not in _opened:
            while len(_opened) >= _AT_MOST:
                del _opened[next(iter(_opened))]
            _opened[key] = _open(bundle, spec, references)
        return _opened[key]


def _open(bundle: Bundle, spec: CampaignSpec, references: References) -> Screens:
    asked, notes, card = spec.screens, list[str](), bundle.card
    store = FeatureStore(references.store)
    asks_class = asked.off_class > 0 and len(card.classes) > 1
    eyes = None
    if asks_class or asked.copies > 0:
        eyes, note = _open_eyes(bundle, references.extractor)
        notes += [f"class and features were not looked at: {note}."] if note else []
    columns, classifier = None, _classifier(spec, references)
    if asks_class and eyes:
        columns, note = _columns(card.classes, eyes)
        notes += [f"off-class was not asked of all: {note}."] if note else []
    copies = None
    if asked.copies > 0:
        copies, note = open_copies(bundle, references.training, eyes, store, asked.copies)
        notes += [f"copies of training images: {note}."] if note else []
    return Screens(
        notes=notes,
        critic=Critic(bundle, spec.rejection, store) if spec.rejection > 0 else None,
        eyes=eyes,
        columns=columns,
        off_class=asked.off_class,
        copies=copies,
        classifier=open_classifier(classifier, asked.refuse) if classifier else None,
        moderator=open_moderator(references.moderator) if references.moderator else None,
    )


def _classifier(spec: CampaignSpec, references: References) -> Path | None:
    """Return the folder of the classifier that is asked, if any."""
    named = spec.screens.moderation
    return references.workspace / named if named else None


def _open_eyes(bundle: Bundle, folder: Path | None) -> tuple[Eyes | None, str]:
    """Return the extractor, or why there is none."""
    if folder is None or not (folder / SUMS).is_file():
        return None, "there is no extractor"
    found = open_eyes(folder, bundle.card.resolution, bundle.card.channels)
    return (None, found) if isinstance(found, str) else (found, "")


def _columns(classes: Iterable[str], eyes: Eyes) -> tuple[NDArray[np.int64] | None, str]:
    """Return the extractor's number of each class, -1 for an unknown one, and what to note."""
    if eyes.card.task != "classes":
        return None, "the extractor was not trained to tell classes"
    known = {name: number for number, name in enumerate(eyes.card.classes)}
    columns = np.array([known.get(name, -1) for name in classes], np.int64)
    unknown = [name for name in classes if name not in known]
    return columns, f"the extractor does not know {', '.join(unknown)}" if unknown else ""


def _state(folder: Path | None) -> str:
    """Return what changes when what lies in a sealed folder does."""
    if folder is None or not (folder / SUMS).is_file():
        return ""
    return hashlib.sha256((folder / SUMS).read_bytes()).hexdigest()


def _files(folder: Path | None) -> str:
    """Return what changes when a file of a classifier does; nobody sealed that folder.

    Where files are given the time and the size of those before, the time of their change tells.
    """
    if folder is None:
        return ""
    here = folder.resolve()
    stats = sorted((path.name, path.stat()) for path in here.glob("*") if path.is_file())
    return repr((here, [(name, s.st_size, s.st_mtime_ns, s.st_ctime_ns) for name, s in stats]))
