"""How `ganmill report` is told: a text for the terminal, Markdown for a pull request. Pure.

Names and values come out of files that a stranger may have proposed. In Markdown nothing of them is
markup: nobody is mentioned, nothing is linked, no table breaks.
"""

import re
from collections.abc import Callable, Iterable, Sequence

from flows.report.report import Figure, RecipeReport, Report, Row
from gan.metrics.intervals import Interval

_LONGEST = 80  # letters of a value
_TITLES = ("metric", "before", "now", "now - before", "")
_SIGNS = {"better": "**better**", "worse": "**worse**", "not comparable": "*not comparable*"}
_FOOT = (
    "Intervals are 95 %. A difference counts where the interval of *now* less *before*, joined "
    "from both, leaves 0 out. Figures of unlike metric ids (other images, another feature "
    "network, other samples) are never compared. `ganmill compare` holds two models against each "
    "other on the same samples and sees smaller differences."
)


def text(found: Report) -> str:
    """Return the report for a terminal."""
    lines = [f"against {found.against} ({found.commit})"]
    for each in found.recipes:
        lines += ["", f"{each.recipe}: {each.verdict}"]
        lines += [f"  {one.key}: {one.before} -> {one.now}" for one in each.parameters]
        lines += [f"  {name}: {old} -> {new}" for name, old, new in each.facts if old != new]
        lines += [f"  {note}" for note in each.notes]
        lines += _columns(each.rows)
    return "\n".join(lines)


def markdown(found: Report) -> str:
    """Return the report for a pull request."""
    parts = [f"## Recipes, against {code(found.against)} ({code(found.commit)})"]
    parts += [_section(each) for each in found.recipes] or ["There is no recipe to tell of."]
    if any(each.rows for each in found.recipes):
        parts.append(f"<sub>{_FOOT}</sub>")
    return "\n\n".join(parts)


def code(value: str) -> str:
    """Return any text as a code span that fits into a cell of a table."""
    words = " ".join(value.replace("`", "'").split()) or " "
    words = words if len(words) <= _LONGEST else f"{words[: _LONGEST - 3]}..."
    return f"`{words}`".replace("|", "\\|")


def plain(sentence: str) -> str:
    """Return any text as one line of Markdown in which nothing is markup."""
    words = re.sub(r"([\\`*_\[\]<#|~!])", r"\\\1", " ".join(sentence.split()))
    return words.replace("@", "@\u200b")  # GitHub looks for names after the markup is gone


def _section(each: RecipeReport) -> str:
    parts = [f"### {code(each.recipe)}: {each.word if each.rows else each.state}"]
    parts.append(plain(each.verdict))
    if each.parameters:
        changes = [(code(one.key), code(one.before), code(one.now)) for one in each.parameters]
        parts.append(_table(("parameter", "before", "now"), changes))
    if each.rows:
        cells = [_cells(row, code) for row in each.rows]
        marked = [(code(name), *rest, _SIGNS.get(word, word)) for name, *rest, word in cells]
        parts.append(_table(_TITLES, marked))
    if each.facts:
        facts = [(name, code(old), code(new)) for name, old, new in each.facts]
        parts.append(_table(("", "before", "now"), facts))
    parts += [f"> {plain(note)}" for note in each.notes]
    if each.rows:
        parts.append(
            f"Pictures and pages: {code(f'reports/{each.recipe}/evaluation/')}, "
            f"{code(f'reports/{each.recipe}/data/index.html')}. Both models on the same samples: "
            f"{code(f'ganmill compare {each.recipe}')}"
        )
    return "\n\n".join(parts)


def _table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [titles, ["---"] * len(titles), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _columns(rows: Sequence[Row]) -> list[str]:
    """Return lines with the cells of every row below each other."""
    cells = [_TITLES, *(_cells(row, str) for row in rows)] if rows else []
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    padded = (map(str.ljust, row, widths) for row in cells)
    return [f"  {'  '.join(row)}".rstrip() for row in padded]


def _cells(row: Row, mark: Callable[[str], str]) -> tuple[str, ...]:
    """Return a row in words; `mark` makes the name of a class fit for where it will stand."""
    difference = "" if row.difference is None else _signed(row.difference)
    word = "" if row.word == "shown" else row.word
    return row.metric, _figure(row.before, mark), _figure(row.now, mark), difference, word


def _figure(figure: Figure | None, mark: Callable[[str], str]) -> str:
    if figure is None:
        return "-"
    bounds = "" if figure.low is None else f" [{figure.low:.4g}, {figure.high:.4g}]"
    return f"{figure.value:.4g}{bounds}{f' {mark(figure.of)}' if figure.of else ''}"


def _signed(found: Interval) -> str:
    return f"{found.value:+.3g} [{found.low:+.3g}, {found.high:+.3g}]"
