"""The page of a batch: what was asked for and came, every asset by class, and what was set aside.

It lies in the batch's folder and needs nothing from elsewhere: styles inside, pictures and files by
relative link, no script. Filters are radio buttons that rules of `:has()` look at.
"""

import html
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from gan.assets.manifest import MANIFEST, SET_ASIDE, BatchCard, Row
from gan.assets.page_facts import facts
from gan.assets.page_style import STYLE
from gan.assets.thumbnails import Cell

ACCEPTED = "accepted"
# What each verdict is called, and what it says.
VERDICTS = {
    ACCEPTED: ("accepted", "In the packs."),
    "spare": ("spare", "Passed every screen; the quota was met without them."),
    "broken": ("broken", "Not a picture that could be used."),
    "blank": ("blank", "Nothing, or nearly nothing, to see."),
    "outlier": ("outlier", "The critic likes them least."),
    "off_class": ("off class", "Not taken for one of its class."),
    "near_batch": ("seen in this batch", "Nearly the same as another one of this batch."),
    "near_past": ("seen before", "Nearly the same as one of an earlier batch."),
    "copy": ("copy", "Too near to an image of the training data, shown beside."),
    "moderated": ("moderated", "Refused by the moderation."),
}


class Marks:
    """Short class names of an asset's figure, by which the filters find it."""

    def __init__(self, rows: Iterable[Row]) -> None:
        """Number what occurs in the rows, sorted by name; accepted comes first of the verdicts."""
        rows = list(rows)
        self.classes = Counter(row.class_ for row in rows)
        self.segments = Counter(row.segment for row in rows)
        self.platforms = Counter(name for row in rows for name in _platforms(row))
        self.verdicts: Counter[str] = Counter(row.verdict for row in rows)
        self._groups: list[tuple[str, str, list[str], Mapping[str, int]]] = [
            ("Class", "c", sorted(self.classes), self.classes),
            ("Audience", "s", sorted(self.segments), self.segments),
            ("Verdict", "v", [name for name in VERDICTS if name in self.verdicts], self.verdicts),
            ("Platform", "p", sorted(self.platforms), self.platforms),
        ]
        self._short = {
            (letter, name): f"{letter}{place}"
            for _, letter, names, _ in self._groups
            for place, name in enumerate(names)
        }

    def of(self, row: Row) -> list[str]:
        """Return the marks of one asset."""
        named = [("c", row.class_), ("s", row.segment), ("v", row.verdict)]
        named += [("p", platform) for platform in _platforms(row)]
        return [self._short[each] for each in named]

    def filters(self) -> str:
        """Return the radio buttons; a group of one choice has none."""
        groups = [each for each in self._groups if len(each[2]) > 1]
        sets = "".join(self._fieldset(*group) for group in groups)
        return f'<form class="filters" aria-label="Filters">{sets}</form>\n' if sets else ""

    def rules(self) -> str:
        """Return the style rules that hide what is not asked for."""
        chosen = [short for short in self._short.values() if len(self._group(short[0])) > 1]
        return "".join(
            f"main:has(#f-{short}:checked) .m:not(.{short}){{display:none}}\n" for short in chosen
        )

    def _group(self, letter: str) -> list[str]:
        return next(names for _, each, names, _ in self._groups if each == letter)

    def _fieldset(
        self, title: str, letter: str, names: Sequence[str], counts: Mapping[str, int]
    ) -> str:
        chips = [_chip(letter, f"f-{letter}", "all", None, checked=True)]
        for name in names:
            words = VERDICTS[name][0] if letter == "v" else name or "(none)"
            chips.append(_chip(letter, f"f-{self._short[letter, name]}", words, counts[name]))
        return f"<fieldset><legend>{title}</legend>{''.join(chips)}</fieldset>"


def page(
    card: BatchCard,
    rows: Sequence[Row],
    cells: Mapping[str, Cell],
    companions: Mapping[str, Sequence[str]],
) -> str:
    """Return the page as HTML.

    Args:
        card: Of the batch.
        rows: All of them.
        cells: Where the thumbnails lie, by asset, and by `like:<asset>` those of look-alikes; an
            asset without one is not shown but counted.
        companions: Files of each pack's folder that are no assets, by the folder.
    """
    shown = [row for row in rows if row.asset in cells]
    marks = Marks(shown)
    title = f"{text(card.recipe)} <code>{text(card.batch)}</code>"
    accepted = [row for row in shown if row.verdict == ACCEPTED]
    aside = [row for row in shown if row.verdict != ACCEPTED]
    body = (
        f"<h1>{title}</h1>\n<p class='lead'>{_lead(card)}</p>\n{facts(card, rows, companions)}"
        f"{marks.filters()}{_by_class(accepted, cells, marks)}{_set_aside(aside, cells, marks)}"
        f"{_rest(rows, shown)}"
        "<footer>Made by a generative model. Each file says so itself: by content credentials "
        "(C2PA), in its XMP packet (IPTC digital source type <code>trainedAlgorithmicMedia</code>)"
        " and by a watermark that nobody sees.</footer>\n"
    )
    return frame(f"{card.recipe} {card.batch}", body, STYLE + marks.rules())


def frame(title: str, body: str, style: str) -> str:
    """Return a whole document: a title as plain text, HTML, and style rules."""
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; '
        "img-src 'self' file:; style-src 'unsafe-inline'\">\n"
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{text(title)}</title>\n<style>{style}</style>\n</head>\n<body>\n<main>\n{body}"
        "</main>\n</body>\n</html>\n"
    )


def text(value: str) -> str:
    """Return words as HTML that shows them, whatever they hold."""
    return html.escape(value, quote=True)


def thumb(cell: Cell, alt: str, where: str = "") -> str:
    """Return a thumbnail; `where` is put before the sprite's path."""
    return (
        f'<span class="t" style="--x:{cell.column};--y:{cell.line}">'
        f'<img src="{where}{cell.sprite}" loading="lazy" alt="{text(alt)}"></span>'
    )


def _lead(card: BatchCard) -> str:
    got = f"<b>{card.accepted:,}</b> of {card.wanted:,} assets that were asked for"
    short = card.wanted - card.accepted
    missing = f", <b class='alarm'>{short:,} short</b> when the budget ended" if short else ""
    return f"{got}{missing}, out of {card.candidates:,} that the model drew."


def _by_class(rows: Sequence[Row], cells: Mapping[str, Cell], marks: Marks) -> str:
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(row.class_, []).append(row)
    return "".join(_section(text(n), "", groups[n], cells, marks) for n in sorted(groups))


def _set_aside(rows: Sequence[Row], cells: Mapping[str, Cell], marks: Marks) -> str:
    """Return a section for each verdict but `accepted`, what it means below its name."""
    sections = []
    for verdict, (name, says) in VERDICTS.items():
        if group := [row for row in rows if row.verdict == verdict]:
            title = f"Set aside: {name}" if verdict != "spare" else "Spare"
            sections.append(_section(title, says, group, cells, marks))
    return "".join(sections)


def _section(
    title: str, says: str, rows: Sequence[Row], cells: Mapping[str, Cell], marks: Marks
) -> str:
    """Return a heading and the figures below it; it has the marks of all, and goes with them."""
    union = sorted({mark for row in rows for mark in marks.of(row)})
    figures = "\n".join(_figure(row, cells, marks.of(row)) for row in rows)
    lead = f"<p class='faded'>{says}</p>" if says else ""
    return (
        f'<section class="m {" ".join(union)}">\n<h2>{title}<small>{len(rows):,}</small></h2>'
        f'{lead}\n<div class="assets">\n{figures}\n</div>\n</section>\n'
    )


def _figure(row: Row, cells: Mapping[str, Cell], marks: Sequence[str]) -> str:
    """Return one asset; one that is too near to another has that beside it."""
    picture = thumb(cells[row.asset], f"Synthetic image, {row.class_}")
    target = row.files[0].path if row.files else f"{SET_ASIDE}/{row.asset}.png"
    picture = f'<a href="{text(target)}">{picture}</a>'
    beside = cells.get(f"like:{row.asset}")
    if beside is not None:
        named = f"what it is like: {row.like}"
        picture = f'<div class="pair">{picture}{thumb(beside, named)}</div>'
    is_accepted = row.verdict == ACCEPTED
    why = "" if is_accepted else f"<b>{text(row.class_)}</b>{_why(row)}"
    return (
        f'<figure id="a-{row.asset}" class="a m {" ".join(marks)}'
        f'{" wide" if beside is not None else ""}">{picture}<figcaption>{why}'
        f"<details><summary><code>{row.asset[:8]}</code></summary>{_details(row)}</details>"
        "</figcaption></figure>"
    )


def _why(row: Row) -> str:
    is_named = row.like in row.reason
    like = "" if is_named else f" <small>like {text(row.like)}</small>"
    return f'<span class="why">{text(row.reason)}{like}</span>' if row.reason or like else ""


def _details(row: Row) -> str:
    """Return what unfolds below an asset: its name, place, scores and files."""
    scores = row.scores
    parts = [f"<code>{row.asset}</code>", f"ordinal {row.ordinal}, seed {row.seed}"]
    if row.segment:
        parts.append(f"for {text(row.segment)}")
    named = (
        ("contrast", scores.contrast),
        ("critic", scores.critic),
        ("own class", scores.class_probability),
        ("training ratio", scores.training_ratio),
        ("moderation", scores.moderation),
    )
    parts += [f"{name} {value:.3g}" for name, value in named if value is not None]
    files = "".join(f'<a href="{text(f.path)}">{text(f.platform)}</a>' for f in row.files)
    return "<br>".join([*parts, *([files] if files else [])])


def _rest(rows: Sequence[Row], shown: Sequence[Row]) -> str:
    more = len(rows) - len(shown)
    return f"<p>{more:,} more are listed in <code>{MANIFEST}</code>.</p>\n" if more else ""


def _platforms(row: Row) -> list[str]:
    return sorted({file.platform for file in row.files})


def _chip(letter: str, ident: str, words: str, count: int | None, *, checked: bool = False) -> str:
    number = f"<small>{count:,}</small>" if count is not None else ""
    return (
        f'<label class="chip"><input type="radio" name="{letter}" id="{ident}"'
        f"{' checked' if checked else ''}><span>{text(words)}{number}</span></label>"
    )
