"""The page of a gate decision: what a person looks at before a model is let out."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from flows.gate.page_album import STYLE, album
from flows.gate.page_basis import basis
from flows.gate.page_figures import (
    CLASSES_SHOWN,
    Figure,
    check_of,
    class_table,
    figures,
    interval,
    legend,
    of_classes,
    plot,
    reach_of,
)
from flows.gate.records import PAGE
from flows.page_style import cell, frame, head, next_steps, plain, table, text
from flows.page_style import links as linked
from flows.registry import Version
from gan.durable import write_atomically

_STATES = {"pass": ("&#10003;", "passes"), "fail": ("&#10007;", "fails")}
_UNKNOWN = ("?", "unknown")
_STYLE = """
:root { --good: #15723b; --bad: #b3261e; --open: #8a5a00; }
@media screen and (prefers-color-scheme: dark) { :root { --good: #6ddc96; --bad: #ff9a91;
  --open: #f2c05e; } }
.pass { color: var(--good); } .fail { color: var(--bad); } .unknown { color: var(--open); }
.verdict.pass { border-left-color: var(--good); } .verdict.fail { border-left-color: var(--bad); }
.verdict.unknown { border-left-color: var(--open); } .verdict p { color: var(--ink); }
.verdict h1 { font-size: 30px; } .verdict { margin: 0; }
.checks tbody th { width: 19%; } .checks td.says { width: 46%; }
.checks .mark { font-size: 13px; } .models tbody th { width: 30%; }
svg { width: 220px; height: 28px; margin: 2px 0 6px; max-width: 100%; }
svg .beyond { fill: var(--bad); opacity: 0.13; } svg .limit { stroke: var(--bad);
  stroke-width: 2; } svg .zero { stroke: var(--faded); stroke-dasharray: 2 3; }
svg .span { stroke: currentColor; stroke-width: 2; fill: none; } svg circle { fill: currentColor; }
.figure { color: var(--ink); font-size: 13px; } td .figure small { display: inline; }
.classtable tbody th { width: 30%; } .basis thead { display: none; }
.basis tbody > tr:first-child > * { border: 0; }
@media (max-width: 700px) { .verdict h1 { font-size: 24px; } .checks td.says { width: auto; }
  .checks tbody th, .classtable tbody th, .models tbody th { width: auto; }
  .checks td, .classtable td, .basis td { display: block; }
  .basis td small { display: block; }
  .checks td::before, .classtable td::before, .basis td::before { content: none; } }
"""


def write_page(
    folder: Path,
    document: Mapping[str, Any],
    candidate: Version | None,
    champion: Version | None,
    links: Mapping[str, str],
) -> Path:
    """Write the page of the decision in a folder that holds `gate.json`, pictures and canary.

    A picture whose bytes are not those that the decision names is not shown.

    Args:
        folder: Of the decision.
        document: Its `gate.json`.
        candidate: The version that was judged; None: its bundle is in no version.
        champion: What it was held against; None: there is none, or it is in no version.
        links: Further pages, URL by words.

    Returns:
        The page's path.

    Raises:
        OSError: `gate.json` is not there.
        GanmillError: The page cannot be written.
    """
    evidence, gate = document["evidence"], document["gate"]
    recipe, state = str(evidence["recipe"]), str(document["verdict"]["outcome"])
    name = _name(candidate, evidence["candidate_digest"])
    shown = figures(evidence, gate)
    classes = of_classes(evidence, gate)
    reach = reach_of([*shown, *classes[:CLASSES_SHOWN]])
    body = (
        f"{_verdict(document, name)}"
        f"{_models(evidence, candidate, champion, links)}"
        f"<h2>What the gate looked at</h2>\n"
        f"{_checks(document['verdict']['reasons'], shown, reach)}"
        f'<p class="faded">{legend(shown)}</p>\n'
        f"{album(folder, document)}"
        f"{class_table(classes, gate, reach)}"
        f"{basis(folder, document)}"
        f"{next_steps(_next(recipe, state, candidate))}"
    )
    path = folder / PAGE
    write_atomically(path, frame(f"{recipe} {name}: gate {state}", body, _STYLE + STYLE).encode())
    return path


def summary(document: Mapping[str, Any]) -> str:
    """Return the decision in short, as Markdown for forms and artifacts."""
    evidence, verdict = document["evidence"], document["verdict"]
    against = evidence["champion_digest"]
    said = f"champion `{against[:12]}`" if against else "no champion"
    reasons = "\n".join(f"- {_bold(plain(each))}" for each in verdict["reasons"])
    return (
        f"**Gate: {verdict['outcome']}.** {plain(_deciding(verdict))}\n\n"
        f"{plain(evidence['recipe'])}: bundle `{evidence['candidate_digest'][:12]}` against "
        f"{said}\n\n{reasons}\n"
    )


def _bold(line: str) -> str:
    state, _, says = line.partition(": ")
    return f"**{state}**: {says}"


def _name(version: Version | None, digest: str) -> str:
    return f"v{version.number}" if version else f"bundle {digest[:12]}"


def _deciding(verdict: Mapping[str, Any]) -> str:
    """Return in one sentence why the outcome is what it is."""
    reasons, outcome = verdict["reasons"], verdict["outcome"]
    of_it = [each.partition(": ")[2] for each in reasons if each.startswith(f"{outcome}: ")]
    if outcome == "pass":
        return f"All {len(reasons)} checks hold."
    said = _capital(of_it[0]) if of_it else "No check says why."
    more = {"fail": "fail", "unknown": "are unknown"}.get(outcome, "say so")
    return f"{said} {len(of_it)} of {len(reasons)} checks {more}." if len(of_it) > 1 else said


def _capital(sentence: str) -> str:
    is_name = "_" in sentence.partition(" ")[0]  # of a metric
    return sentence if is_name else sentence[:1].upper() + sentence[1:]


def _verdict(document: Mapping[str, Any], name: str) -> str:
    evidence, state = document["evidence"], str(document["verdict"]["outcome"])
    recipe, role = evidence["recipe"], "replace the champion"
    if evidence["champion_digest"] is None:
        role = "become the first champion"
    sign, word = _STATES.get(state, _UNKNOWN)
    says = {"pass": f"{name} may {role}", "fail": f"{name} must not {role}"}.get(
        state, f"{name}: whether it may {role} is not known"
    )
    return (
        f'<div class="verdict {_class(state)}"><h1><span class="{_class(state)}">{sign} '
        f"{word.capitalize()}:</span> {text(recipe)} {text(says)}</h1>"
        f"<p>{text(_deciding(document['verdict']))}</p></div>\n"
    )


def _class(state: str) -> str:
    return state if state in _STATES else "unknown"


def _models(
    evidence: Mapping[str, Any],
    candidate: Version | None,
    champion: Version | None,
    pages: Mapping[str, str],
) -> str:
    sides = [("Challenger", candidate, evidence["candidate_digest"])]
    if evidence["champion_digest"] is not None:
        sides.append(("Champion", champion, evidence["champion_digest"]))
    rows = "".join(
        f'<tr role="row">{head(f"{role}<small>{text(_name(version, digest))}</small>")}'
        f"{cell('Bundle', f'<code>{text(digest[:12])}</code>')}"
        f"{cell('Pages', ' &middot; '.join(linked(_of_version(version))) or '&ndash;')}</tr>\n"
        for role, version, digest in sides
    )
    more = " &middot; ".join(_more(pages))
    return (
        f"<h2>The models</h2>\n{table(('Model', 'Bundle', 'Pages'), rows, 'models')}"
        f"{f'<p>{more}</p>' if more else ''}\n"
    )


def _more(pages: Mapping[str, str]) -> Iterable[str]:
    """Yield links to further pages; one beside this page is given by its relative path."""
    for words, url in pages.items():
        if url.startswith("../") and ":" not in url:
            yield f'<a href="{text(quote(url))}">{text(words)}</a>'
        else:
            yield from linked([(words, url)])


def _of_version(version: Version | None) -> list[tuple[str, str]]:
    if version is None:
        return []
    named = {
        f"version {version.number}": version.url,
        "training run": version.tags.get("mlflow_run_url", ""),
        "flow run": version.tags.get("flow_run_url", ""),
    }
    return [(words, url) for words, url in named.items() if url]


def _checks(reasons: Sequence[str], shown: Sequence[Figure], reach: float) -> str:
    """Return the checks in the order in which people ask, the ones that did not pass first."""
    told = sorted(reasons, key=lambda each: ("fail", "unknown", "pass").index(_state(each)))
    rows = ""
    for reason in told:
        state, says = _state(reason), reason.partition(": ")[2]
        check, (sign, word) = check_of(says), _STATES.get(state, _UNKNOWN)
        drawn = "".join(
            f'<div class="figure">{interval(each)}</div>{plot(each, state, reach)}'
            for each in shown
            if each.check == check
        )
        mark = f'<span class="mark {state}">{sign} {word}</span>'
        rows += (
            f'<tr role="row">{head(text(check) or "Check")}{cell("State", mark)}'
            f'<td role="cell" class="says"><span>{text(_capital(says))}</span></td>'
            f"{cell('Figures', drawn)}</tr>\n"
        )
    return table(("Check", "State", "What was found", "Against the limit"), rows, "checks")


def _state(reason: str) -> str:
    return _class(reason.partition(": ")[0])


def _next(recipe: str, state: str, candidate: Version | None) -> list[tuple[str, str]]:
    """Return what a person may do: (why, command)."""
    number = candidate.number if candidate else None
    version = f" --version {number}" if number else ""
    look = ("See both models with all their metrics:", f"ganmill compare {recipe}")
    if number:
        look = (look[0], f"ganmill compare {recipe}:{number}")
    if state == "pass":
        return [
            ("If it waits for your word, let it out:", f'ganmill approve {recipe} --reason "..."'),
            ("or turn it down; the champion stays:", f'ganmill reject {recipe} --reason "..."'),
            look,
        ]
    if state == "fail":
        return [
            ("The champion stays. Train again from it:", f"ganmill retrain {recipe} --force"),
            look,
        ]
    why = "The champion stays. Mend what is named above, then judge it again:"
    return [(why, f"ganmill gate {recipe}{version}"), look]
