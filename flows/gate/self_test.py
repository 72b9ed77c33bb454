"""`ganmill gate RECIPE --self-test`: proof on the recipe's own data that the gate can say no.

Three plants go through the very code that measures and judges a candidate: a worse model, a broken
evaluator, a copying model. All that is made lies in a temporary folder; registry and ledger are
not touched.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from flows import registry, release
from flows.gate import checks, decision
from flows.gate.checks import Check, Outcome
from flows.gate.gathering import Contenders, Parts, weigh
from flows.gate.reports import METRICS, meter
from flows.settings import Settings
from gan.durable import read_json
from gan.paths import Layout
from gan.recipe import Recipe

if TYPE_CHECKING:
    from gan.bundle import Bundle
    from gan.metrics.meter import Meter

# The plants are gross: few samples tell, and a limit that they clear, many would not hold either.
_SAMPLES = 2000


@dataclass(frozen=True)
class Trial:
    """What the gate said of a plant.

    Attributes:
        name: The plant.
        expected: What the gate must say.
        found: What it said; where it came to the expected by other checks than those that the plant
            is for, what these said.
        says: The sentence that decided.
    """

    name: str
    expected: Outcome
    found: Outcome
    says: str


def self_test(layout: Layout, settings: Settings, recipe: Recipe) -> list[Trial]:
    """Try the gate on a worse model, a broken evaluator and a copying model.

    The plants are made from the champion, else from the model trained in the workspace, and are
    held against it. Each is tried on what it is for; none is minted from in a process of its own.

    Raises:
        DamagedError: There is no model, or the data or the extractor are damaged as they are.
        ServiceError: MLflow did not answer.
    """
    from gan.bundle import open_bundle

    champion = release.serving(layout, settings, recipe.name)
    folder = (
        registry.fetch(settings, champion, layout.bundle_store)
        if champion
        else layout.bundle(recipe.name)
    )
    return try_out(layout, recipe, open_bundle(folder))


def try_out(layout: Layout, recipe: Recipe, model: "Bundle") -> list[Trial]:
    """Return the trials of plants that are made from `model`, which is the champion to them.

    Copies are looked for even where the recipe leaves that out: what is tried is whether they are
    seen. Where no image is held out, they cannot be, and `unknown` is what must come out.

    Raises:
        DamagedError: The data or the extractor are damaged as they are.
    """
    from flows.gate.plants import Copier, broken_workspace, worsened
    from gan.split import split

    gate = recipe.gate.model_copy(update={"memorisation": True})
    recipe = recipe.model_copy(update={"gate": gate})
    with TemporaryDirectory(prefix="ganmill-self-test-") as name:
        room = Path(name)
        judge = _Judge(recipe, model, room)
        measuring = _afresh(meter(layout, recipe), room)
        data = measuring.data
        knows = len(split(len(data), data.digest, data.groups)[1]) > 0
        worse, copier = worsened(model, room / "worse"), Copier.of(model, data)
        broken = broken_workspace(layout, recipe.name, room / "broken")
        against = [
            checks.floor,
            checks.against_champion,
            checks.diversity,
            checks.worst_class,
        ]
        return [
            judge.trial("a worse model", "fail", against, worse, lambda: measuring),
            judge.trial(
                "a broken evaluator",
                "unknown",
                [checks.nothing_is_amiss],
                model,
                lambda: meter(broken, recipe),
            ),
            judge.trial(
                "a copying model",
                "fail" if knows else "unknown",
                [checks.memorisation],
                copier,
                lambda: measuring,
            ),
        ]


def _afresh(measuring: "Meter", room: Path) -> "Meter":
    """Return the same meter with few samples, which reads every image anew: the proof is of now."""
    from gan.metrics.meter import Meter
    from gan.metrics.store import FeatureStore

    samples = min(_SAMPLES, measuring.spec.samples)
    spec = measuring.spec.model_copy(update={"samples": samples})
    store = FeatureStore(room / "features", _quiet)
    return Meter(measuring.data, measuring.extractor, spec, store, _quiet)


def _quiet(line: str) -> None:
    del line


@dataclass(frozen=True)
class _Judge:
    """Judges candidates of a recipe against one model, and writes into `room` alone."""

    recipe: Recipe
    model: "Bundle"
    room: Path

    def trial(
        self,
        name: str,
        expected: Outcome,
        checks: Sequence[Check],
        candidate: "Bundle",
        open_meter: "Callable[[], Meter]",
    ) -> Trial:
        """Return what the gate says of a candidate.

        Args:
            name: The plant.
            expected: What it must say, by one of these checks at least.
            checks: Those that the plant is for.
            candidate: It, or a sound model where the plant is elsewhere.
            open_meter: Gives what measures it.
        """
        from gan.metrics.report import evaluate

        parts, contenders = Parts(), self._contenders(candidate)
        measuring = parts.find("the data and the extractor", open_meter)
        report = None
        if measuring:
            folder = self.room / f"report of {name}"
            written = parts.find(
                "the candidate's report", lambda: evaluate(candidate, measuring, folder)
            )
            report = read_json(folder / METRICS) if written else None
        evidence = weigh(parts, self.recipe.name, contenders, measuring, report, (None, None))
        gate = self.recipe.gate
        whole = decision.decide(evidence, gate)
        findings = [found for check in checks if (found := check(evidence, gate)) is not None]
        findings.sort(key=lambda found: found[0] != expected)
        if whole.outcome != expected or not findings:
            return Trial(name, expected, whole.outcome, whole.summary)
        outcome, said = findings[0]
        return Trial(name, expected, outcome, f"{outcome}: {said}")

    def _contenders(self, candidate: "Bundle") -> Contenders:
        return Contenders(candidate.digest, self.model.digest, candidate, self.model)
