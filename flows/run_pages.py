"""What the page of a flow run says, as Markdown and rows of tables. Pure but for the pictures.

Everything that somebody else wrote (names, sentences, paths) goes through `plain`. Pictures travel
inside, small, so that they show wherever MLflow is and whoever is logged in to it.
"""

import base64
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows.compare.facts import meaning
from flows.page_style import plain, without_login

if TYPE_CHECKING:
    from gan.assets.records import BatchCard

_WIDTH_PX = 900  # as wide as Prefect's page shows them
_QUALITIES = (80, 60, 40, 20)
_PICTURE_BYTES = 90_000  # at most; a run has a few of them, and Prefect's database keeps them
_BETTER = {True: "less", False: "more", None: "1"}
_CLASSES_SHOWN = 30
_LINE_LENGTH = 72
Link = tuple[str, str, str]  # what it is, words, address or ""


def contract_text(verdict: Mapping[str, Any], report: Path) -> str:
    """Return what the data contract asked and found.

    Args:
        verdict: Of the `validate` stage.
        report: The readable report, on this machine.
    """
    state = "The images meet the contract" if verdict["success"] else "The contract is not met"
    said = f"{verdict['accepted']:,} of {verdict['images']:,} images are accepted."
    rows = [
        ("ok" if each["success"] else "**failed**", _wrapped(each["says"]))
        for each in sorted(verdict["expectations"], key=lambda each: bool(each["success"]))
    ]
    parts = [f"# {state}", said, _table(("", "found"), rows)]
    classes = verdict.get("classes", {})
    if len(classes) > 1:
        largest = sorted(classes.items(), key=lambda each: (-each[1], each[0]))[:_CLASSES_SHOWN]
        counted = _table(
            ("class", "accepted images"), [(plain(name), f"{count:,}") for name, count in largest]
        )
        parts += [f"## {len(classes)} classes", counted]
    return "\n\n".join([*parts, f"Report: `{report}`"])


def metric_rows(report: Mapping[str, Any]) -> list[dict[str, str]]:
    """Return a row for each metric of a `metrics.json`, the distances first."""
    better = better_of(report)

    def order(name: str) -> tuple[bool, bool, str]:
        return not name.startswith(report["distance"]), not name.startswith(report["kernel"]), name

    return [
        {
            "metric": name,
            "value": f"{found['value']:.4g}",
            "95 % interval": f"{found['low']:.4g} to {found['high']:.4g}" if "low" in found else "",
            "N": f"{found['n']:,}",
            "better": better[name],
            "what it says": meaning(name) + (f" ({found['class']})" if "class" in found else ""),
        }
        for name, found in sorted(report["metrics"].items(), key=lambda each: order(each[0]))
    ]


def better_of(report: Mapping[str, Any]) -> dict[str, str]:
    """Return for each metric of a `metrics.json` what is better: less, more, or 1."""
    from gan.metrics.scores import less_is_better

    return {name: _BETTER[less_is_better(name)] for name in report["metrics"]}


def gate_text(document: Mapping[str, Any], candidate: str, links: Sequence[Link]) -> str:
    """Return a gate decision with what each check said.

    Args:
        document: A `gate.json`.
        candidate: What the version is called, say v3.
        links: To the page and to both models.
    """
    evidence, verdict = document["evidence"], document["verdict"]
    against = evidence["champion_digest"]
    said = f"against champion `{against[:12]}`" if against else "with no champion yet"
    rows = []
    for reason in verdict["reasons"]:
        outcome, _, words = reason.partition(": ")
        rows.append((outcome if outcome == "pass" else f"**{outcome}**", _wrapped(words)))
    return "\n\n".join(
        (
            f"# {plain(evidence['recipe'])} {candidate}: {verdict['outcome']}",
            f"Bundle `{evidence['candidate_digest'][:12]}` {said}.",
            _table(("", "what was looked at"), rows),
            links_text(links),
        )
    )


def batch_text(card: "BatchCard", folder: Path, links: Sequence[Link], picture: str) -> str:
    """Return what a batch is: counts by class and verdict, its sheet, where it came from.

    Args:
        card: Of the batch.
        folder: Where it lies.
        links: To model, training and data.
        picture: Of the contact sheet, as Markdown.
    """
    what = f"campaign {plain(card.campaign)}, slot {plain(card.slot)}, seed {card.seed}"
    parts = [
        f"# {card.accepted:,} of {card.wanted:,} wanted assets",
        f"Batch `{card.batch}`, {what}, from {card.candidates:,} candidates.",
        "## What became of the candidates",
        _counts("verdict", card.verdicts, card.candidates),
    ]
    if len(card.classes) > 1:
        parts += ["## Accepted by class", _counts("class", card.classes, card.accepted)]
    if card.segments:
        parts += ["## Accepted by segment", _counts("segment", card.segments, card.accepted)]
    parts += [f"- {plain(note)}" for note in card.notes]
    parts += [links_text(links), f"All of it: `{folder / 'index.html'}`", picture]
    return "\n\n".join(part for part in parts if part)


def links_text(links: Iterable[Link]) -> str:
    """Return links as a table; what has no web address is shown as text."""
    rows = [(what, _linked(words, _address(url))) for what, words, url in links if words]
    return _table(("what", "where"), rows)


def picture_text(path: Path, alt: str) -> str:
    """Return a picture as Markdown with its bytes inside, made small; "" where there is none."""
    from PIL import Image

    if not path.exists():
        return ""
    with Image.open(path) as opened:
        image = opened.convert("RGBA" if "A" in opened.getbands() else "RGB")
    image.thumbnail((_WIDTH_PX, 2 * _WIDTH_PX))
    for quality in _QUALITIES:
        file = BytesIO()
        image.save(file, "WEBP", quality=quality)
        if file.tell() <= _PICTURE_BYTES:
            break
    data = base64.b64encode(file.getvalue()).decode()
    return f"![{plain(alt)}](data:image/webp;base64,{data})"


def _wrapped(words: str) -> str:
    """Return a sentence in lines that fit: Prefect's tables never break a line themselves."""
    return "<br>".join(plain(line) for line in textwrap.wrap(words, _LINE_LENGTH))


def _counts(name: str, counts: Mapping[Any, int], whole: int) -> str:
    largest = sorted(counts.items(), key=lambda each: (-each[1], str(each[0])))
    rows = [
        (plain(word), f"{count:,}", f"{count / whole:.1%}" if whole else "")
        for word, count in largest[:_CLASSES_SHOWN]
    ]
    rest = sum(count for _, count in largest[_CLASSES_SHOWN:])
    rows += [("all others", f"{rest:,}", "")] if rest else []
    return _table((name, "number", "share"), rows)


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _linked(words: str, address: str) -> str:
    """Return words as a link, or as they stand in a file or a terminal where there is none."""
    if address:
        return f"[{plain(words)}]({address})"
    return plain(words) if set(words) & set("`|\n") else f"`{words}`"


def _address(url: str) -> str:
    """Return a web address as it can stand in Markdown, "" for what is none."""
    is_web = url.startswith(("http://", "https://")) and not set(url) & set(' ()<>"\\')
    return without_login(url) if is_web else ""
