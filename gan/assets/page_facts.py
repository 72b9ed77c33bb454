"""The upper part of a batch's page: where it came from, what was asked and got, packs, checks."""

import html
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePosixPath

from gan.assets.manifest import (
    BATCH,
    CROISSANT,
    MANIFEST,
    PARQUET,
    SHEET,
    BatchCard,
    File,
    Row,
)
from gan.assets.quota import cells
from gan.sections import CampaignSpec

_FEW = 8  # rows of a table that is unfolded from the start
_KIB = 1024
_NUMBER = re.compile(r"(<b[^>]*>)?[0-9,]+( KiB|%)?(</b>)?$|&ndash;$")


def facts(card: BatchCard, rows: Sequence[Row], companions: Mapping[str, Sequence[str]]) -> str:
    """Return the boxes above the assets.

    Args:
        card: Of the batch.
        rows: All of them.
        companions: Files of each pack's folder that are no assets, by the folder.
    """
    packs = _packs(rows, companions)
    parts = [
        f"<dl>{''.join(_origin(card))}</dl>\n",
        _notes(card),
        _part("Asked and got", _quota(card, rows), is_open=len(card.classes) <= _FEW),
        _part("Packs", packs, is_open=packs.count("<tr>") <= _FEW + 1) if packs else "",
        _part("Check it", _checks(card), is_open=False),
    ]
    return "".join(parts)


def _origin(card: BatchCard) -> Iterable[str]:
    """Yield the cells of the box at the top."""
    lineage = card.lineage
    for name, key in (
        ("Model version", "model_version"),
        ("Training run", "mlflow_run"),
        ("Flow run", "flow_run"),
        ("Data version", "data_version"),
    ):
        yield _cell(name, lineage.get(key, ""), lineage.get(f"{key}_url"))
    yield _cell("Bundle", card.bundle_digest[:16])
    yield _cell("Campaign", f"{card.campaign}, slot {card.slot}, seed {card.seed}")
    yield _cell("Signed by", f"{card.marks.subject} ({card.marks.fingerprint[:16]})")
    yield _cell("Watermark", _watermark(card))
    names = (MANIFEST, PARQUET, CROISSANT, BATCH, SHEET)
    files = " &middot; ".join(f'<a href="{name}">{name}</a>' for name in names)
    yield f"<div><dt>Files</dt><dd>{files}</dd></div>"


def _watermark(card: BatchCard) -> str:
    mark = card.watermark
    return f"read back in {mark.read:,} of {mark.files:,} files" if mark.files else ""


def _cell(name: str, value: str, url: str | None = None) -> str:
    shown = _text(value) or "&ndash;"
    if url and url.startswith(("http://", "https://")):  # `javascript:` is an address too
        shown = f'<a href="{_text(url)}">{shown}</a>'
    return f"<div><dt>{name}</dt><dd>{shown}</dd></div>"


def _notes(card: BatchCard) -> str:
    """Return what a reader must know before using anything: screens that did not look."""
    notes = list(card.notes)
    if card.marks.is_local:
        notes.append(
            "Signed with the local development certificate: whole and ours to who has it, but "
            "trusted by nobody else. Set a certificate of your own before publishing widely."
        )
    if not notes:
        return ""
    items = "".join(f"<li>{_text(note)}</li>" for note in notes)
    return f'<div class="box note"><ul>{items}</ul></div>\n'


def _part(title: str, content: str, *, is_open: bool) -> str:
    opened = " open" if is_open else ""
    return (
        f'<details class="part"{opened}><summary>{title}</summary>'
        f'<div class="box scroll">{content}</div></details>\n'
    )


def _quota(card: BatchCard, rows: Sequence[Row]) -> str:
    """Return what was asked for and got: by audience where there are any, and by class."""
    made = Counter((row.class_, row.verdict) for row in rows)
    drawn = Counter(row.class_ for row in rows)
    wanted = _wanted(card, drawn)
    lines = []
    for name in sorted(wanted):
        good, spare = card.classes.get(name, 0), made[name, "spare"]
        aside = drawn[name] - good - spare
        passed = f"{(good + spare) / drawn[name]:.0%}" if drawn[name] else "&ndash;"
        got = f"{good:,}" if good >= wanted[name] else f'<b class="alarm">{good:,}</b>'
        lines.append((_text(name), f"{wanted[name]:,}", got, f"{spare:,}", f"{aside:,}", passed))
    names = ("Class", "Asked", "Accepted", "Spare", "Set aside", "Passed the screens")
    table = _table(names, lines)
    spec = CampaignSpec.model_validate(card.spec)
    audiences = [
        (
            _text(name),
            f"{segment.count:,}",
            f"{card.segments.get(name, 0):,}",
            _taste(segment.classes or spec.classes),
        )
        for name, segment in sorted((spec.segments or {}).items())
    ]
    if not audiences:
        return table
    return _table(("Audience", "Asked", "Accepted", "Taste"), audiences) + f"<br>{table}"


def _wanted(card: BatchCard, drawn: Iterable[str]) -> Counter[str]:
    """Return how many of each class were asked for; exact where classes are in order of name."""
    spec = CampaignSpec.model_validate(card.spec)
    tastes = [spec.classes, *(each.classes for each in (spec.segments or {}).values())]
    known = sorted({*drawn, *card.classes, *(name for taste in tastes for name in taste or ())})
    wanted: Counter[str] = Counter()
    for cell in cells(spec, known) if known else ():
        wanted[cell.class_] += cell.wanted
    return wanted


def _taste(weights: Mapping[str, float] | None) -> str:
    """Return the weights of the classes in words, as HTML."""
    if not weights:
        return "all classes alike"
    whole = sum(weights.values())
    return ", ".join(f"{_text(n)} {w / whole:.0%}" for n, w in sorted(weights.items()))


def _packs(rows: Sequence[Row], companions: Mapping[str, Sequence[str]]) -> str:
    """Return a row for each folder of files: how many, their pixels and sizes."""
    folders: dict[str, list[File]] = {}
    for row in rows:
        for file in row.files:
            folders.setdefault(str(PurePosixPath(file.path).parent), []).append(file)
    lines = []
    for name, files in sorted(folders.items()):
        sizes = sorted({f"{file.width_px} x {file.height_px}" for file in files})
        largest, whole = (
            f"{n / _KIB:,.0f} KiB"
            for n in (max(f.bytes for f in files), sum(f.bytes for f in files))
        )
        beside = ", ".join(
            f'<a href="{_text(path)}">{_text(PurePosixPath(path).name)}</a>'
            for path in companions.get(name, ())
        )
        linked = f'<a href="{_text(name)}/">{_text(name)}</a>'
        lines.append((linked, f"{len(files):,}", ", ".join(sizes), largest, whole, beside))
    names = ("Pack", "Files", "Pixels", "Largest", "Together", "Beside them")
    shown = len(names) if any(line[-1] for line in lines) else len(names) - 1
    return _table(names[:shown], [line[:shown] for line in lines]) if lines else ""


def _checks(card: BatchCard) -> str:
    where = f"assets/{card.recipe}/{card.batch}"
    first = f"ganmill verify {where}"
    return (
        "<p>Whether every byte here is what was minted, and signed so:</p>"
        f"<pre>{_text(first)}</pre>"
        "<p>Where a file comes from that turns up somewhere, altered or not:</p>"
        "<pre>ganmill verify FILE</pre>"
        "<p>Any asset again from its row of the manifest:</p>"
        "<pre>ganmill regenerate ASSET</pre>"
    )


def _table(names: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """Return a table of HTML cells; what is a number stands right."""
    lines = list(lines)
    is_number = [
        bool(lines) and all(_NUMBER.match(line[at]) for line in lines) for at in range(len(names))
    ]
    kinds = [' class="n"' if number else "" for number in is_number]
    head = "".join(f"<th{k}>{name}</th>" for k, name in zip(kinds, names, strict=True))
    rows = []
    for first, *others in lines:
        tds = "".join(f"<td{k}>{each}</td>" for k, each in zip(kinds[1:], others, strict=True))
        rows.append(f"<tr><th>{first}</th>{tds}</tr>")
    body = "".join(rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _text(value: str) -> str:
    return html.escape(value, quote=True)
