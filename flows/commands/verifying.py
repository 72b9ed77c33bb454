"""What `ganmill verify` prints of files: sentences for people, JSON lines for scripts."""

import json
from collections import Counter
from collections.abc import Iterable

from flows.provenance.answers import Answer

_NAMES = {
    "manifest": "manifest",
    "credentials": "content credentials",
    "metadata": "metadata (XMP)",
    "watermark": "watermark",
    "looks": "looks",
}


def show(answer: Answer, *, as_json: bool) -> None:
    """Print whose one file is."""
    if as_json:
        print(json.dumps(answer.document(), indent=2, ensure_ascii=False))
        return
    surest = max(answer.layers, key=lambda layer: layer.confidence, default=None)
    sure = ""
    if surest is not None and surest.confidence:
        sure = f" ({_NAMES[surest.name]}: {surest.confidence:.2f})"
    print(f"{answer.path}: {answer.verdict}{sure}")
    for layer in answer.layers:
        print(f"  {_NAMES[layer.name]:<20} {layer.says}")
    for found in answer.synthetic:
        print(f"  {'detector':<20} {found.says}")
    if answer.problem:
        print(f"  {'the picture':<20} cannot be looked at: {answer.problem}")
    for note in answer.notes:
        print(f"  {'note':<20} {note}")
    for name, value in _made_by(answer).items():
        print(f"  {name:<20} {value}")
    if answer.asset:
        print(f"Next: ganmill regenerate {answer.asset}    makes it again, to compare")
    elif answer.verdict == "no mark of ours" and not answer.synthetic and not answer.problem:
        print("Marks can be lost or removed: this does not say that it is not synthetic.")


def show_all(answers: Iterable[Answer], *, as_json: bool) -> None:
    """Print whose many files are, a line each, and how many of each; JSON has a line for each."""
    verdicts: Counter[str] = Counter()
    unseen = 0
    notes: dict[str, None] = {}
    for answer in answers:
        notes |= dict.fromkeys(answer.notes)
        verdicts[answer.verdict] += 1
        unseen += bool(answer.problem)
        print(json.dumps(answer.document(), ensure_ascii=False) if as_json else _line(answer))
    if not as_json:
        for note in notes:
            print(f"note: {note}")
        counts = ", ".join(f"{number:,} {verdict}" for verdict, number in verdicts.most_common())
        but = f"; {unseen:,} could not be looked at" if unseen else ""
        print(f"{verdicts.total():,} files: {counts}{but}")


def _line(answer: Answer) -> str:
    parts = [f"{answer.verdict:<18} {answer.path}"]
    if answer.asset:
        parts.append(f"asset {answer.asset} of {answer.recipe or 'an unknown recipe'}")
    if answer.synthetic:
        surest = answer.synthetic[0]
        parts.append(f"synthetic with {surest.probability:.0%} by the detector of {surest.recipe}")
    if answer.problem:
        parts.append(answer.problem)
    return "  ".join(parts)


def _made_by(answer: Answer) -> dict[str, str]:
    """Return what made a file, as far as it is known."""
    model = f"v{answer.model_version}, " if answer.model_version else ""
    found = {
        "asset": answer.asset,
        "class": answer.class_,
        "batch": f"{answer.recipe}/{answer.batch}" if answer.batch else "",
        "campaign": answer.campaign,
        "model": f"{model}bundle {answer.model_digest}" if answer.model_digest else "",
        "data version": answer.data_version,
        "request": answer.request,
        "seed, ordinal": "" if answer.seed is None else f"{answer.seed}, {answer.ordinal}",
    }
    return {name: value for name, value in found.items() if value}
