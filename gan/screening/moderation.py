"""Pictures that must not go out: a local image classifier, a callable of the user's, or both.

The classifier is any image classification model of transformers (extra `moderation`) in a local
folder, named in full or relative to the workspace. Its weights are safetensors, none of its code is
run, and nothing is fetched. The callable is named `package.module:function`: it takes pictures,
uint8 [N, H, W, 3], and returns a list of N, None for what may pass and a reason in words for what
may not. It should judge each picture alone: which ones come together is not said.
"""

import importlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError

from gan.errors import UsageError
from gan.screening.chunks import chunks
from gan.screening.sight import to_rgb

_INSTALL = "pip install 'ganmill[moderation]'"
_WANTED = "Wanted: an image classifier with safetensors and without code of its own."
# By what transformers calls it: it fills up or leaves out all these, and goes on.
_NOT_WHOLE = {
    "missing_keys": "its weights lack",
    "mismatched_keys": "its weights have another shape than config.json says in",
    "unexpected_keys": "config.json knows nothing of its weights",
}

Images = NDArray[np.uint8]
Floats = NDArray[np.float64]
Moderator = Callable[[Images], Sequence[str | None]]


class Classifier:
    """An image classifier, and from which score of which label on it refuses."""

    def __init__(
        self, folder: Path, processor: Any, network: Any, refuse: Mapping[str, float]
    ) -> None:
        """Take a loaded model of transformers; `open_classifier` is the way to get one."""
        self._folder = folder
        self._processor = processor
        self._network = network.eval()
        self._refuse = dict(sorted(refuse.items()))
        self._columns = [network.config.label2id[label] for label in self._refuse]
        self._is_multi = network.config.problem_type == "multi_label_classification"

    @torch.no_grad()
    def judge(self, images: Images) -> tuple[Floats, list[str]]:
        """Return the highest score of a refused label, [N], and a reason for each, or "".

        Args:
            images: uint8 [N, C, H, W].

        Raises:
            UsageError: A logit is not finite: no comparison would hold, and the image would pass.
        """
        scores = np.empty((len(images), len(self._columns)))
        for some, places in chunks(to_rgb(images)):
            inputs = self._processor(images=list(torch.from_numpy(some)), return_tensors="pt")
            logits = self._network(**inputs).logits.double()[: places.stop - places.start]
            if not logits.isfinite().all():
                raise UsageError(
                    f"assets.screens.moderation: {self._folder} cannot be used: its weights are "
                    "not finite, or make scores that are not. Name another classifier."
                )
            each = logits.sigmoid() if self._is_multi else logits.softmax(dim=1)
            scores[places] = each[:, self._columns].numpy()
        scores = scores.round(4)
        return scores.max(axis=1, initial=0.0), [self._reason(row) for row in scores]

    def _reason(self, scores: Floats) -> str:
        """Return which refused labels a picture reached."""
        reached = [
            f"{label} {score:.2f} (refused from {limit:g})"
            for (label, limit), score in zip(self._refuse.items(), scores, strict=True)
            if score >= limit
        ]
        return f"the classifier says {', '.join(reached)}" if reached else ""


def open_classifier(folder: Path, refuse: Mapping[str, float]) -> Classifier:
    """Return the classifier in a folder.

    Args:
        folder: What `save_pretrained` of a model and of its image processor wrote.
        refuse: Labels, and the score from which on each sets aside, 0..1.

    Raises:
        UsageError: The extra is not installed, there is no such model, it has code of its own or
            no safetensors, its weights are not all there, or it knows no such label.
    """
    if not (folder / "config.json").is_file():
        raise UsageError(
            f"assets.screens.moderation: {folder} is no folder of a classifier "
            f"({folder.absolute() / 'config.json'} is missing). Name a local folder that "
            "`save_pretrained` wrote, in full or relative to the workspace."
        )
    try:
        from transformers import AutoImageProcessor, AutoModelForImageClassification
        from transformers.utils import logging
    except ImportError as error:
        raise UsageError(
            f"assets.screens.moderation: needs transformers ({error}). Run: {_INSTALL}"
        ) from error
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    local = {"local_files_only": True, "trust_remote_code": False}
    try:
        processor = AutoImageProcessor.from_pretrained(  # type: ignore[no-untyped-call]
            folder, **local
        )
        with _without_report(logging):
            network, loading = AutoModelForImageClassification.from_pretrained(
                folder,
                use_safetensors=True,
                dtype=torch.float32,
                output_loading_info=True,
                ignore_mismatched_sizes=True,  # refused below, with the key
                **local,
            )
    except (OSError, ValueError, KeyError, ImportError, RuntimeError, SafetensorError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UsageError(
            f"assets.screens.moderation: {folder} cannot be used: {reason} {_WANTED}"
        ) from error
    _require_whole(folder, loading)
    known = sorted(network.config.label2id)
    if unknown := sorted(set(refuse) - set(known)):
        raise UsageError(
            f"assets.screens.refuse: the classifier in {folder} knows no label {unknown[0]!r}; "
            f"it knows {', '.join(known[:20])}."
        )
    return Classifier(folder, processor, network, refuse)


@contextmanager
def _without_report(logging: Any) -> Iterator[None]:
    """Keep transformers from printing a table of what `_require_whole` says in a line."""
    before = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(before)


def _require_whole(folder: Path, loading: Mapping[str, Collection[Any]]) -> None:
    """Refuse weights that are not those of the model: random ones would stand in for them."""
    for kind, says in _NOT_WHOLE.items():
        # Of one of another shape the shapes come with the name.
        if keys := sorted(each if isinstance(each, str) else each[0] for each in loading[kind]):
            more = f" and {len(keys) - 1} more" if len(keys) > 1 else ""
            raise UsageError(
                f"assets.screens.moderation: {folder} cannot be used: {says} {keys[0]!r}{more}. "
                f"{_WANTED}"
            )


def open_moderator(name: str) -> Callable[[Images], list[str]]:
    """Return what asks the user's callable about images uint8 [N, C, H, W]: a reason each, or "".

    Raises:
        UsageError: There is no such callable; and when asked, it failed or gave no list of N.
    """
    module, _, function = name.partition(":")
    try:
        moderator: Moderator = getattr(importlib.import_module(module), function)
    except (ImportError, ValueError, AttributeError) as error:
        raise UsageError(
            f"moderator {name!r}: cannot be imported ({error}). Wanted: package.module:function, "
            "installed where ganmill runs."
        ) from error

    def judge(images: Images) -> list[str]:
        pictures = np.ascontiguousarray(to_rgb(images).transpose(0, 2, 3, 1))
        try:
            found = list(moderator(pictures))
        except Exception as error:  # the user's own code may raise anything
            raise UsageError(
                f"moderator {name!r}: failed on {len(images)} pictures: "
                f"{type(error).__name__}: {error}"
            ) from error
        sound = len(found) == len(images)
        if not sound or any(not isinstance(each, str | None) for each in found):
            raise UsageError(
                f"moderator {name!r}: gave {len(found)} answers to {len(images)} pictures, or one "
                "that is neither None nor text. Mend the function."
            )
        return [each or "" for each in found]

    return judge
