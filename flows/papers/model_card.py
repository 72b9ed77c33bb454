"""The model card of a release: what it is, what it is for, how it fared, what it is not. Markdown.

Written for somebody who did not train it. What was not measured is said to be unknown.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flows.compare.facts import meaning
from flows.page_style import plain, without_login
from gan.recipe import Recipe

_WORST = 5  # classes that are named as the ones that fare worst
_STATES = {"pass": "passes", "fail": "fails", "unknown": "is not known to pass"}


@dataclass(frozen=True)
class Facts:
    """What the card is written from.

    Attributes:
        recipe: As it stands.
        number: Of the version.
        digest: Of its bundle.
        lineage: As `lineage.lineage` has it.
        report: Its `metrics.json`; None where it was never measured on the present data.
        decision: Its `gate.json`; None where no gate judged it.
        evidence_digest: SHA-256 of that file; "" likewise.
        files: What lies beside the card.
    """

    recipe: Recipe
    number: int
    digest: str
    lineage: Mapping[str, Any]
    report: Mapping[str, Any] | None
    decision: Mapping[str, Any] | None
    evidence_digest: str
    files: Sequence[str]


def render(facts: Facts) -> str:
    """Return the card; names in it are text, whatever they hold."""
    parts = [
        f"# {facts.recipe.name} v{facts.number}",
        _lead(facts),
        "![Real images over generated ones, by class](grid.png)" * ("grid.png" in facts.files),
        "## What the gate says",
        _gate(facts),
        "## Intended use",
        _use(facts),
        "## What it was trained on",
        _data(facts),
        "## How it fared",
        _metrics(facts),
        "## Limits",
        _bullets(_limits(facts)),
        "## How to load it",
        _loading(facts),
        "## What lies beside this card",
        _bullets(f"`{name}`: {_FILES[name]}" for name in sorted(_FILES) if name in facts.files),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


_FILES = {
    "metrics.json": "every figure, with its interval, number of samples and metric id",
    "gate.json": "the evidence that the gate decided on, and its verdict",
    "gate.html": "the same as a page, with pictures of champion and challenger",
    "candidate.png": "this model on fixed latents, a row a class",
    "champion.png": "the champion of that moment on the same latents",
    "real.png": "real images of the same classes",
    "grid.png": "real images over generated ones, by class",
    "lineage.json": "code, data, start, parameters, machine and runs that it came from",
    "licences.json": "licences of the data and of the installed packages",
    "sbom.cdx.json": "bill of materials, CycloneDX 1.6",
}


def _lead(facts: Facts) -> str:
    made = facts.lineage["training"]
    size = f"{facts.recipe.data.resolution} px" if made is None else f"{made['resolution']} px"
    classes = "" if made is None else f" of {_count(len(made['classes']), 'class', 'classes')}"
    network = facts.recipe.model.preset if made is None else made["preset"]
    return (
        f"A generative adversarial network (`{network}`) that draws synthetic images of {size}"
        f"{classes}. Bundle `{facts.digest}` (SHA-256 of its `SHA256SUMS`)."
    )


def _gate(facts: Facts) -> str:
    if facts.decision is None:
        return "No gate has judged this version."
    verdict = facts.decision["verdict"]
    reasons = _bullets(plain(each) for each in verdict["reasons"])
    return (
        f"It **{_STATES[verdict['outcome']]}**. Whether it is in production is in the ledger "
        f"(`ganmill ledger {facts.recipe.name}`), not here.\n\n{reasons}\n\n"
        f"Evidence digest `{facts.evidence_digest}`; check it with `sha256sum gate.json`."
    )


def _use(facts: Facts) -> str:
    report = facts.report
    wrong = ""
    accuracy = report["metrics"].get("class_accuracy") if report else None
    if accuracy:
        wrong = (
            f" The class asked for is the class drawn in {accuracy['value']:.0%} of images by the "
            "measuring network; where the class matters, look."
        )
    return (
        "Minting batches of synthetic images of its classes, each marked as synthetic and with its "
        "origin in a manifest, for people who choose from them. Not meant for passing images off "
        "as real or as somebody's work, and not as training data for a classifier." + wrong
    )


def _data(facts: Facts) -> str:
    data, lineage = facts.recipe.data, facts.lineage
    report = facts.report or {}
    source = "glyphs drawn by the code" if data.source == "glyphs" else "files"
    rows = [
        ("source", f"{source}, {_code(without_login(data.path))}"),
        ("licence", plain(data.licence)),
        ("data digest", _code(lineage["data"]["digest"])),
        ("data version (DVC)", _code(lineage["data"]["dvc_version"])),
        ("started from bundle", _code(lineage["start_bundle"]) or "none, from scratch"),
        ("code (git)", _revision(lineage["code"])),
    ]
    if lineage["training"]:
        made = lineage["training"]
        rows.append(("images shown", f"{made['kimg']:,g} kimg, {made['total_kimg']:,g} in all"))
        rows.append(("ended", f"{made['status']}, {made['rollbacks']} roll-backs"))
    if report.get("data_digest") == lineage["data"]["digest"] and report.get("reals"):
        said = f"{report['reals']:,}, of which {report['held_out']:,} were never trained on"
        rows.insert(1, ("images it was measured against", said))
    return _table(("", ""), [(name, said or "unknown") for name, said in rows])


def _revision(code: Mapping[str, Any]) -> str:
    if code["git_revision"] is None:
        return ""
    dirty = " with uncommitted changes" if code["uncommitted_changes"] else ""
    return f"{_code(code['git_revision'])}{dirty}"


def _metrics(facts: Facts) -> str:
    report = facts.report
    if report is None:
        return "It was not measured on the present data."
    rows = [
        (
            _code(name),
            f"{found['value']:.4g}",
            f"{found['low']:.4g} to {found['high']:.4g}" if "low" in found else "none",
            f"{found['n']:,}" if "n" in found else "",
            _meaning(name) + (f" ({plain(found['class'])})" if "class" in found else ""),
        )
        for name, found in sorted(report["metrics"].items())
    ]
    extractor = report["extractor"]
    return (
        f"{_table(('metric', 'value', '95 % interval', 'N', 'what it tells'), rows)}\n\n"
        f"Measured in the features of the network {_code(extractor['name'])} "
        f"(`{extractor['digest'][:12]}`) on data `{report['data_digest'][:12]}`, "
        f"seed {report['seed']}, metric id `{report['metric_id']}`. "
        "Only figures of one metric id may be compared."
    )


def _meaning(name: str) -> str:
    if name == "class_coverage_worst_class":
        return "coverage of the class that is covered least"
    if name.endswith("_noise"):
        return "what noise with the mean and spread of the data scores: the ceiling"
    if name.endswith("_real"):
        return "real images against real images: what a perfect generator scores"
    return meaning(name)


def _limits(facts: Facts) -> Iterable[str]:
    report = facts.report
    if report is None:
        yield "Nothing is known of its quality."
        return
    if not report["extractor"]["standard"]:
        yield (
            f"{_code(report['distance'])} is no FID: another network measures it. It cannot be "
            "held against figures of papers, of other recipes or of another extractor."
        )
    yield (
        f"A distance of {report['samples']:,} samples is higher than one of more samples would "
        "be. Its interval says how far it would move with other samples of this model, not with "
        "another training."
    )
    yield (
        "The figures are about the whole of what it draws. They do not say that any one image is "
        "fit to be shown, inoffensive, or unlike somebody's work or trademark."
    )
    yield from _worst(report)
    yield _copies(report)


def _worst(report: Mapping[str, Any]) -> Iterable[str]:
    classes = report.get("classes", {})
    for key, says, sign in (
        ("coverage", "Covered least", 1),
        ("distance", "Farthest from their real images", -1),
    ):
        known = {name: each[key] for name, each in classes.items() if each.get(key) is not None}
        worst = sorted(known, key=lambda name: (sign * known[name], name))[:_WORST]
        if len(known) > 1:
            yield f"{says}: {', '.join(f'{plain(n)} ({known[n]:.3g})' for n in worst)}."


def _copies(report: Mapping[str, Any]) -> str:
    if report["is_copying"] is None:
        return (
            "Whether it copies training images is unknown: too few images to hold some out. Look "
            "at its most copied images in the evaluation's `pairs.png`."
        )
    found = report["metrics"].get("memorisation", {})
    figure = (
        f" (memorisation {found['value']:.2f} [{found['low']:.2f}, {found['high']:.2f}]; "
        "0.5 is honest)"
        if found
        else ""
    )
    says = "It copies training images" if report["is_copying"] else "No copying was seen"
    return f"{says}{figure}. The test finds copies on average; it can miss a few single ones."


def _loading(facts: Facts) -> str:
    name, number = facts.recipe.name, facts.number
    made = facts.lineage["training"]
    labels = [] if made is None else made["classes"][:2]
    shown = f', "label": {labels!r}' if len(labels) == 2 else ""
    return (
        "With MLflow and this project installed, and `MLFLOW_TRACKING_URI` set:\n\n```python\n"
        "import mlflow, pandas\n"
        f'model = mlflow.pyfunc.load_model("models:/{name}/{number}")\n'
        f'images = model.predict(pandas.DataFrame({{"seed": [1, 2]{shown}}}))'
        "  # uint8 [N, H, W, C]\n```\n\n"
        "With the commands of the project:\n\n```sh\n"
        f"ganmill compare {name}:{number}      # against the champion, on the same latents\n"
        f"ganmill gate {name} --version {number}\n"
        f"ganmill generate {name}       # from the champion, whichever version that is\n```"
    )


def _code(value: object) -> str:
    words = " ".join(str(value).split()).replace("`", "'").replace("|", "\\|")
    return f"`{words}`" if value else ""


def _count(number: int, one: str, many: str) -> str:
    return f"{number:,} {one if number == 1 else many}"


def _bullets(lines: Iterable[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
