"""What the gate does, situation by situation, against a real MLflow server: nothing slips through.

Many are ways in which published promotion steps let a model out that nobody had found good: a
champion that was looked for in the wrong place, a missing figure taken for none, an error taken for
a yes, a person's no that left no trace. Each ends with the word that a user sees: `pass`, `fail`,
`unknown`, or the refusal; and but for a pass the champion is what it was.
"""

import json
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load, save
from torch import nn

from flows import approval, deciding, ledger, registry, release
from flows.gate import judging
from flows.gate.judging import Judged
from flows.registry import Version
from flows.settings import Settings
from flows.tracking import open_run
from gan.bundle import GENERATOR, open_bundle
from gan.durable import write_sums
from gan.errors import GanmillError
from gan.metrics.meter import open_meter
from gan.paths import Layout
from gan.recipe import Recipe, load_recipes
from tests.flows import worlds
from tests.gan.bundles import pack_untrained

Outcome = str
PRESENT, BETTER, WORSE = "present", "better", "worse"
UNMEASURABLE = {"not finite", "other classes"}


def _lose_a_class(generator: nn.Module) -> None:
    """Draw chess pieces where dice are asked for."""
    embed = generator.get_parameter("embed")
    with torch.no_grad():
        embed[4] = embed[3]


def _repeat(generator: nn.Module) -> None:
    """Draw nearly the same image of a class, whatever the latents are."""
    scale = generator.get_parameter("scale")
    with torch.no_grad():
        scale[:, : scale.shape[1] // 2] *= 0.05


def _blank(generator: nn.Module) -> None:
    """Draw one flat colour."""
    with torch.no_grad():
        generator.get_parameter("paint.weight").zero_()


def _not_finite(folder: Path) -> None:
    weights = load((folder / GENERATOR).read_bytes())
    weights["embed"][0, 0] = torch.nan
    (folder / GENERATOR).write_bytes(save(weights))
    write_sums(folder)


def _bundles(home: Path, data_digest: str, classes: list[str]) -> dict[str, Path]:
    """Return folders of bundles by what they are; all but the present champion are candidates."""
    made = {
        PRESENT: worlds.noisy(home / PRESENT, 0.25),
        BETTER: worlds.noisy(home / BETTER, 0.05),
        WORSE: worlds.noisy(home / WORSE, 0.5),
        "degraded": worlds.noisy(home / "degraded", 0.05, seed=2, status="degraded"),
        "one class lost": worlds.altered(home / "lost", _lose_a_class),
        "one image a class": worlds.altered(home / "repeat", _repeat),
        "blank": worlds.altered(home / "blank", _blank),
        "not finite": worlds.noisy(home / "nan", 0.05, seed=3),
        "other classes": pack_untrained(
            home / "other", ["cats", "dogs"], resolution=32, data_digest=data_digest
        ),
        "untrained": pack_untrained(
            home / "untrained", classes, resolution=32, data_digest=data_digest
        ),
    }
    _not_finite(made["not finite"].folder)
    return {name: bundle.folder for name, bundle in made.items()}


RECIPE = "situations"


@dataclass
class World:
    """A workspace with data, an extractor and bundles, and the registry that all workspaces use.

    Bundles are registered and measured once; what was decided once is known to every workspace.
    """

    settings: Settings
    artifacts: Path  # where MLflow keeps files
    template: Layout
    bundles: dict[str, Path]
    known: dict[str, Version] = field(default_factory=dict)

    def mill(self, *, undecided: bool = False, **gate: object) -> "Mill":
        """Return a workspace of its own, whose recipe has no champion.

        Args:
            undecided: Whether it knows of no decision.
            gate: Keys of the recipe's gate.
        """
        mill = self._mill(RECIPE, gate)
        if undecided:
            shutil.rmtree(mill.layout.gate(RECIPE), ignore_errors=True)
        mill.known = self.known
        for version in [registry.by_alias(self.settings, RECIPE, release.CHAMPION)]:
            if version:
                registry.drop_alias(self.settings, RECIPE, release.CHAMPION, version.number)
        return mill

    def apart(self, **gate: object) -> "Mill":
        """Return a workspace whose recipe has registered versions of its own, to be damaged."""
        mill = self._mill(f"apart-{len(list(self.template.root.parent.iterdir()))}", gate)
        shutil.rmtree(mill.layout.gate(mill.name), ignore_errors=True)
        return mill

    def _mill(self, name: str, gate: dict[str, object]) -> "Mill":
        layout = Layout(Path(tempfile.mkdtemp(dir=self.template.root.parent)))
        for part in (Layout.train_data, Layout.extractor, Layout.gate):
            if part(self.template, RECIPE).exists():
                shutil.copytree(part(self.template, RECIPE), part(layout, name))
        layout.state.mkdir()
        layout.features.symlink_to(self.template.features)  # what was read once is known
        (layout.root / "gan").symlink_to(worlds.REPOSITORY / "gan")
        layout.params.write_text(json.dumps({"recipes": {name: _SECTION}}))
        return Mill(self, layout, worlds.recipe_of(name, **gate))

    def report(self, bundle: str, layout: Layout, name: str) -> Path:
        """Give a workspace the report of a bundle, which is measured once."""
        digest = open_bundle(self.bundles[bundle]).digest
        made = self.template.version_report(RECIPE, digest)
        if not made.exists():
            judging.measure(self.template, worlds.recipe_of(RECIPE), self.bundles[bundle])
        there = layout.version_report(name, digest)
        if not there.exists():
            shutil.copytree(made, there)
        return there / "metrics.json"


_SECTION = {
    "data": {"source": "glyphs", "path": "gan/image/glyphs.py", "glyphs": {"count": 700}},
    "evaluate": {"samples": 420},
}


@dataclass
class Mill:
    """One recipe with its registered versions."""

    world: World
    layout: Layout
    recipe: Recipe
    known: dict[str, Version] = field(default_factory=dict)
    settled: int | None = None  # the champion that stays unless there is a pass

    @property
    def settings(self) -> Settings:
        """Where the servers are."""
        return self.world.settings

    @property
    def name(self) -> str:
        """The recipe's name."""
        return self.recipe.name

    def version(self, bundle: str) -> Version:
        """Return the version of a bundle, registered now if it is not."""
        if bundle not in self.known:
            run = open_run(self.layout, self.settings, self.name, bundle, {}, {})
            folder = self.world.bundles[bundle]
            tags = {"data_version": "1.dir"}
            self.known[bundle] = registry.register(self.settings, self.name, folder, run, tags)
        return self.known[bundle]

    def with_champion(self, bundle: str = PRESENT) -> "Mill":
        """Make a version champion without asking whether it is any good."""
        champion = release.serving(self.layout, self.settings, self.name)
        release.promote(
            self.layout,
            self.settings,
            self.name,
            self.version(bundle),
            evidence_digest="e" * 64,
            actor="Ada",
            reason="to begin with",
            expected_champion=champion.number if champion else None,
        )
        self.settled = self.champion()
        return self

    def judge(self, bundle: str) -> Judged:
        """Judge a version against the champion of now."""
        champion = release.serving(self.layout, self.settings, self.name)
        self._measured(bundle)
        return judging.judge(
            self.layout, self.settings, self.recipe, self.version(bundle), champion
        )

    def _measured(self, bundle: str) -> None:
        if bundle not in UNMEASURABLE:
            self.world.report(bundle, self.layout, self.name)

    def promote(self, bundle: str) -> Outcome:
        """Judge a version and promote it on a pass, as `ganmill promote` does; return the word."""
        champion, alias = deciding.standing(self.layout, self.settings, self.name)
        self._measured(bundle)
        judged = deciding.decide(
            self.layout, self.settings, self.recipe, self.version(bundle), champion
        )
        if judged.verdict.outcome == "pass":
            deciding.promote(
                self.layout, self.settings, self.version(bundle), alias, judged,
                actor="Ada", reason="it passed",
            )  # fmt: skip
        return judged.verdict.outcome

    def ask(self, bundle: str) -> Judged:
        """Have a person asked about a version that passed."""
        champion = release.serving(self.layout, self.settings, self.name)
        judged = self.judge(bundle)
        version = self.version(bundle)
        approval.ask(self.layout, self.settings, self.recipe, version, champion, judged)
        return judged

    def answer(self, decision: approval.Decision, digest: str | None = None) -> Outcome:
        """Give a person's word; return what became of it."""
        done = approval.decide(
            self.layout,
            self.settings,
            self.recipe,
            decision=decision,
            actor="Ada",
            reason="looked at every picture",
            evidence_digest=digest,
        )
        return "pass" if isinstance(done, release.Promoted) else done.event

    def champion(self) -> int | None:
        """Return the version that the alias points to."""
        found = registry.by_alias(self.settings, self.name, release.CHAMPION)
        return found.number if found else None

    def serving(self) -> int | None:
        """Return the champion by the ledger."""
        moves = [e for e in ledger.read(self.layout.ledger) if e.event in {"done", "rollback"}]
        return moves[-1].to_version if moves else None

    def last(self) -> ledger.Entry:
        """Return the ledger's last line."""
        return ledger.read(self.layout.ledger)[-1]


Situation = Callable[[World], tuple[Outcome, Mill]]
SITUATIONS: dict[str, tuple[Outcome, Situation]] = {}
LONG: set[str] = set()


def situation(
    says: str, outcome: Outcome, *, is_long: bool = False
) -> Callable[[Situation], Situation]:
    """Enter a situation into the table; a long one is for `make faults` alone."""

    def enter(what: Situation) -> Situation:
        SITUATIONS[says] = (outcome, what)
        if is_long:
            LONG.add(says)
        return what

    return enter


def _refused(mill: Mill, act: Callable[[], object]) -> Outcome:
    """Return the name of the error that a user would see, whose line names what to do."""
    with pytest.raises(GanmillError) as caught:
        act()
    assert "\n" not in str(caught.value)
    return type(caught.value).__name__


# --- the models themselves


@situation("better than the champion", "pass")
def _(world: World) -> tuple[Outcome, Mill]:
    mill = world.mill().with_champion()
    return mill.promote(BETTER), mill


@situation("worse than the champion", "fail")
def _(world: World) -> tuple[Outcome, Mill]:
    mill = world.mill().with_champion()
    outcome = mill.promote(WORSE)
    assert (mill.last().event, mill.last().actor) == ("reject", "ganmill")
    record = judging.find_record(mill.layout, mill.name, mill.last().evidence_digest)
    assert judging.read_record(record)["verdict"]["outcome"] == "fail"
    return outcome, mill


@situation("the first model clears the floor", "pass", is_long=True)
def _(world: World) -> tuple[Outcome, Mill]:
    mill = world.mill()
    return mill.promote(PRESENT), mill


@situation(
    "the first model misses the floor: no `first deployment, auto-promoted`", "fail", is_long=True
)
def _(world: World) -> tuple[Outcome, Mill]:
    mill = world.mill(max_fd_share=0.01)
    return mill.promote(WORSE), mill


@situation("better than a bad champion, but over the floor", "fail", is_long=True)
def _(world: World) -> tuple[Outcome, Mill]:
    mill = world.mill(max_fd_share=0.01).with_champion("untrained")
    return mill.promote(WORSE), mill


@situation("no class but one is worse", "fail", is_long=True)
def _(world: World) -> tuple[Outcome, Mill]:
    mill = world.mill(margin=1.0).with_champion(BETTER)
    outcome = mill.promote("one class lost")
    judged = mill.judge("one class lost").verdict
    assert any("class 'dice'" in reason for reason in judged.reasons), judged.reasons
    return outcome, mill


@situation("one image for each class, again and again", "fail", is_long=True)
def _(world: World) -> tuple[Outcome, Mill]:
    mill = world.mill(margin=None, worst_class=None, max_fd_share=1.0).with_champion()
    return mill.promote("one image a class"), mill


@situation("blank assets in the canary", "fail", is_long=True)
def _(world: World) -> tuple[Outcome, Mill]:
    mill = world.mill(max_fd_share=1.0, min_accepted=0.9, memorisation=False)
    outcome = mill.promote("blank")
    assert any("0 of them accepted" in reason for reason in mill.judge("blank").verdict.reasons)
    return outcome, mill


@situation("a training that the guards gave up on", "fail", is_long=True)
def _(world: World) -> tuple[Outcome, Mill]:
    mill = world.mill()
    return mill.promote("degraded"), mill


@situation("weights that are not finite: load-and-query is no echo", "fail", is_long=True)
def _(world: World) -> tuple[Outcome, Mill]:
    mill = world.mill()
    return mill.promote("not finite"), mill


@situation("many times the champion's time", "fail", is_long=True)
def _(world: World) -> tuple[Outcome, Mill]:
    mill = world.mill(resources=2.0).with_champion()
    slow = world.template.root / "slow"
    if not slow.exists():
        _pack_slow(slow, world)
    world.bundles["slow"] = slow
    outcome = mill.promote("slow")
    assert any("too much time" in reason for reason in mill.judge("slow").verdict.reasons)
    return outcome, mill


def _pack_slow(folder: Path, world: World) -> None:
    card = open_bundle(world.bundles[PRESENT]).card
    pack_untrained(
        folder, card.classes, preset="small", resolution=32, data_digest=card.data_digest
    )


# --- evidence that is missing, unlike or broken


@situation("other classes than the champion", "unknown", is_long=True)
def _(world: World) -> tuple[Outcome, Mill]:
    mill = world.mill(max_fd_share=1.0).with_champion()
    return mill.promote("other classes"), mill


@situation("the champion's files are gone", "unknown", is_long=True)
def _(world: World) -> tuple[Outcome, Mill]:
    mill = world.apart().with_champion()
    _lose_files(mill, mill.version(PRESENT))
    outcome = mill.promote(BETTER)
    assert mill.last().event == "hold"
    return outcome, mill


@situation("the candidate's files were altered after it was registered", "unknown")
def _(world: World) -> tuple[Outcome, Mill]:
    mill = world.mill(undecided=True).with_champion()
    folder = registry.fetch(mill.settings, mill.version(BETTER), mill.layout.bundle_store)
    weights = folder / GENERATOR
    weights.write_bytes(weights.read_bytes()[:-1] + b"\0")
    return mill.promote(BETTER), mill


@situation("the candidate's files were altered after the gate let it pass", "DamagedError")
def _(world: World) -> tuple[Outcome, Mill]:
    mill = world.mill().with_champion()
    assert mill.judge(BETTER).verdict.outcome == "pass"
    folder = registry.fetch(mill.settings, mill.version(BETTER), mill.layout.bundle_store)
    weights = folder / GENERATOR
    weights.write_bytes(weights.read_bytes()[:-1] + b"\0")
    return _refused(mill, lambda: mill.promote(BETTER)), mill


@situation("the feature network was altered", "unknown")
def _(world: World) -> tuple[Outcome, Mill]:
    mill = world.mill(undecided=True).with_champion()
    weights = next(mill.layout.extractor(mill.name).glob("*.safetensors"))
    weights.write_bytes(weights.read_bytes()[:-1] + b"\1")
    return mill.promote(BETTER), mill


@situation("there is no feature network", "unknown", is_long=True)
def _(world: World) -> tuple[Outcome, Mill]:
    mill = world.mill(undecided=True).with_champion()
    shutil.rmtree(mill.layout.extractor(mill.name))
    return mill.promote(BETTER), mill


@situation("the images to compare with are gone", "unknown", is_long=True)
def _(world: World) -> tuple[Outcome, Mill]:
    mill = world.mill(undecided=True).with_champion()
    shutil.rmtree(mill.layout.train_data(mill.name))
    return mill.promote(BETTER), mill


@situation("a report without the figure that is asked for", "unknown", is_long=True)
def _(world: World) -> tuple[Outcome, Mill]:
    mill = world.mill(undecided=True).with_champion()
    report = _report(mill, BETTER)
    document = json.loads(report.read_text())
    del document["metrics"]["fd_domain_share"]
    report.write_text(json.dumps(document))
    return mill.promote(BETTER), mill


@situation("a figure that is no number", "unknown", is_long=True)
def _(world: World) -> tuple[Outcome, Mill]:
    mill = world.mill(undecided=True).with_champion()
    report = _report(mill, BETTER)
    document = json.loads(report.read_text())
    document["metrics"]["fd_domain_share"]["value"] = "NaN"
    report.write_text(json.dumps(document))
    return mill.promote(BETTER), mill


@situation("the report of another model in its place: it is measured anew", "fail", is_long=True)
def _(world: World) -> tuple[Outcome, Mill]:
    mill = world.mill().with_champion()
    good = _report(mill, BETTER)
    place = mill.layout.version_report(mill.name, mill.version(WORSE).digest)
    shutil.copytree(good.parent, place)
    return mill.promote(WORSE), mill


@situation("a report of copies, where copies are asked about", "fail", is_long=True)
def _(world: World) -> tuple[Outcome, Mill]:
    mill = world.mill(undecided=True).with_champion()
    report = _report(mill, BETTER)
    document = json.loads(report.read_text())
    document["is_copying"] = True
    report.write_text(json.dumps(document))
    return mill.promote(BETTER), mill


@situation("too few images to know whether it copies", "unknown", is_long=True)
def _(world: World) -> tuple[Outcome, Mill]:
    mill = world.mill(undecided=True).with_champion()
    report = _report(mill, BETTER)
    document = json.loads(report.read_text())
    document |= {"held_out": 0, "is_copying": None}
    report.write_text(json.dumps(document))
    return mill.promote(BETTER), mill


@situation("MLflow does not answer", "unknown")
def _(world: World) -> tuple[Outcome, Mill]:
    mill = world.mill(undecided=True).with_champion()
    candidate, champion = mill.version(BETTER), mill.version(PRESENT)
    away = mill.settings.model_copy(update={"mlflow_tracking_uri": "http://127.0.0.1:9"})
    judged = judging.judge(mill.layout, away, mill.recipe, candidate, champion)
    return judged.verdict.outcome, mill


@situation("an empty gate", "RecipeError")
def _(world: World) -> tuple[Outcome, Mill]:
    mill = world.mill()
    section = {**_SECTION, "gate": {}}
    mill.layout.params.write_text(json.dumps({"recipes": {mill.name: section}}))
    return _refused(mill, lambda: load_recipes(mill.layout.params)), mill


# --- the champion is not what it seems


@situation(
    "the champion is looked for where MLflow has it, not in a list that lacks it",
    "fail",
    is_long=True,
)
def _(world: World) -> tuple[Outcome, Mill]:
    mill = world.mill().with_champion()
    mill.version(BETTER)  # a newer version must not be taken for the one in production
    judged = mill.judge(WORSE)
    document = judging.read_record(judged.record)
    assert document["evidence"]["champion_digest"] == mill.version(PRESENT).digest
    return judged.verdict.outcome, mill


@situation("the champion was deleted behind our back", "DamagedError")
def _(world: World) -> tuple[Outcome, Mill]:
    mill = world.apart().with_champion()
    _delete(mill, PRESENT)
    return _refused(mill, lambda: mill.judge(BETTER)), mill


@situation("the alias was moved by hand", "DamagedError")
def _(world: World) -> tuple[Outcome, Mill]:
    mill = world.mill().with_champion()
    number = mill.version(WORSE).number
    registry.set_alias(mill.settings, mill.name, release.CHAMPION, number)
    return _refused(mill, lambda: mill.judge(BETTER)), mill


@situation(
    "a model was moved in by hand and is gated now, against the ledger's champion",
    "fail",
    is_long=True,
)
def _(world: World) -> tuple[Outcome, Mill]:
    mill = world.mill().with_champion()
    number = mill.version(WORSE).number
    registry.set_alias(mill.settings, mill.name, release.CHAMPION, number)
    return mill.promote(WORSE), mill


@situation(
    "an alias that the ledger has no word of is gated like a first model", "pass", is_long=True
)
def _(world: World) -> tuple[Outcome, Mill]:
    mill = world.mill()
    registry.set_alias(mill.settings, mill.name, release.CHAMPION, mill.version(PRESENT).number)
    return mill.promote(PRESENT), mill


@situation("the champion changed between verdict and promotion", "ApprovalError")
def _(world: World) -> tuple[Outcome, Mill]:
    mill = world.mill().with_champion()
    judged = mill.judge(BETTER)
    old = mill.champion()
    mill.with_champion("degraded")

    def promote() -> None:
        deciding.promote(
            mill.layout, mill.settings, mill.version(BETTER), old, judged,
            actor="Ada", reason="it passed",
        )  # fmt: skip

    return _refused(mill, promote), mill


@situation("no evidence at all: absence is no blessing", "ApprovalError")
def _(world: World) -> tuple[Outcome, Mill]:
    mill = world.mill().with_champion()

    def promote() -> None:
        release.promote(
            mill.layout, mill.settings, mill.name, mill.version(BETTER), evidence_digest="",
            actor="Ada", reason="trust me", expected_champion=mill.champion(),
        )  # fmt: skip

    return _refused(mill, promote), mill


@situation("a ledger line was altered", "DamagedError")
def _(world: World) -> tuple[Outcome, Mill]:
    mill = world.mill().with_champion()
    path = mill.layout.ledger
    path.write_bytes(path.read_bytes().replace(b"Ada", b"Eve"))
    return _refused(mill, lambda: mill.judge(BETTER)), mill


# --- a person's word


@situation("a person approves what passed", "pass")
def _(world: World) -> tuple[Outcome, Mill]:
    mill = world.mill().with_champion()
    judged = mill.ask(BETTER)
    return mill.answer("approve", judged.digest), mill


@situation("a person rejects what passed: it is recorded", "reject")
def _(world: World) -> tuple[Outcome, Mill]:
    mill = world.mill().with_champion()
    judged = mill.ask(BETTER)
    outcome = mill.answer("reject")
    last = mill.last()
    assert (last.actor, last.evidence_digest) == ("Ada", judged.digest)
    assert release.refused(mill.layout, mill.name, mill.version(BETTER).number) == last
    return outcome, mill


@situation("a person approves what failed: there is no such word", "GateError", is_long=True)
def _(world: World) -> tuple[Outcome, Mill]:
    mill = world.mill().with_champion()
    return _refused(mill, lambda: mill.ask(WORSE)), mill


@situation("a person approves other evidence than waits", "ApprovalError")
def _(world: World) -> tuple[Outcome, Mill]:
    mill = world.mill().with_champion()
    mill.ask(BETTER)
    return _refused(mill, lambda: mill.answer("approve", "f" * 64)), mill


@situation("the champion changed while it waited for a person", "ApprovalError")
def _(world: World) -> tuple[Outcome, Mill]:
    mill = world.mill().with_champion()
    judged = mill.ask(BETTER)
    rival = mill.version("degraded")
    registry.set_alias(mill.settings, mill.name, release.CHAMPION, rival.number)
    entry = ledger.read(mill.layout.ledger)[1]
    moved = replace(entry, to_version=rival.number, to_digest=rival.digest)
    ledger.append(mill.layout.ledger, moved)  # as another process would
    mill.settled = rival.number
    return _refused(mill, lambda: mill.answer("approve", judged.digest)), mill


@situation("the evidence was edited while it waited", "ApprovalError")
def _(world: World) -> tuple[Outcome, Mill]:
    mill = world.mill().with_champion()
    record = mill.ask(BETTER).record
    record.write_text(record.read_text().replace("is not seen", "is never seen"))
    return _refused(mill, lambda: mill.answer("approve")), mill


@situation("the recipe's gate changed while it waited", "ApprovalError")
def _(world: World) -> tuple[Outcome, Mill]:
    mill = world.mill().with_champion()
    mill.ask(BETTER)
    mill.recipe = worlds.recipe_of(mill.name, margin=0.5)
    return _refused(mill, lambda: mill.answer("approve")), mill


@situation("nobody answers in time", "hold")
def _(world: World) -> tuple[Outcome, Mill]:
    mill = world.mill(approval_hours=1e-6).with_champion()
    mill.ask(BETTER)
    _refused(mill, lambda: mill.answer("approve"))
    return mill.last().event, mill


@situation(
    "the margin is used up again and again: the best so far still counts", "fail", is_long=True
)
def _(world: World) -> tuple[Outcome, Mill]:
    mill = world.mill(margin=0.9, diversity=None, worst_class=None)
    assert mill.promote(BETTER) == "pass"
    usual = mill.recipe
    mill.recipe = worlds.recipe_of(mill.name, margin=None, diversity=None, worst_class=None)
    mill.world.bundles["a step down"] = _a_step_down(mill.world)
    assert mill.promote("a step down") == "pass"
    mill.recipe, mill.settled = usual, mill.champion()
    mill.world.bundles["another"] = _another_step(mill.world)
    outcome = mill.promote("another")
    reasons = mill.judge("another").verdict.reasons
    assert [each[:4] for each in reasons if "against the champion's" in each][:1] == ["pass"]
    assert any("best champion's so far" in each for each in reasons if each.startswith("fail"))
    return outcome, mill


def _a_step_down(world: World) -> Path:
    folder = world.template.root / "step"
    return folder if folder.exists() else worlds.noisy(folder, 0.2, seed=5).folder


def _another_step(world: World) -> Path:
    folder = world.template.root / "another"
    return folder if folder.exists() else worlds.noisy(folder, 0.2, seed=6).folder


# --- the table


@pytest.fixture(scope="module")
def world(
    mlflow_settings: Settings, server_layout: Layout, tmp_path_factory: pytest.TempPathFactory
) -> World:
    """Return the world that the situations share."""
    home = tmp_path_factory.mktemp("situations")
    template = Layout(home / "template")
    template.root.mkdir()
    worlds.furnish(template, RECIPE)
    template.features.mkdir(parents=True)
    data = open_meter(template, worlds.recipe_of(RECIPE)).data
    bundles = _bundles(tmp_path_factory.mktemp("bundles"), data.digest, data.classes)
    artifacts = server_layout.root / "mlflow-alone/.ganmill/mlflow/artifacts"
    made = World(mlflow_settings, artifacts, template, bundles)
    mill = made.mill().with_champion()
    mill.judge(BETTER)  # most begin here
    shutil.copytree(mill.layout.gate(RECIPE), template.gate(RECIPE))
    return made


@pytest.mark.parametrize(
    "says",
    [pytest.param(each, marks=pytest.mark.faults if each in LONG else ()) for each in SITUATIONS],
)
def test_the_gate_in(says: str, world: World) -> None:
    """The outcome is that of the table, and only a pass moves the champion."""
    wanted, act = SITUATIONS[says]
    outcome, mill = act(world)

    assert outcome == wanted
    if outcome == "pass":
        assert mill.champion() == ledger.read(mill.layout.ledger)[-1].to_version
    elif mill.layout.ledger.exists() and outcome != "DamagedError":
        assert mill.serving() == mill.settled


def _lose_files(mill: Mill, version: Version) -> None:
    """Remove a version's files from MLflow's store and from ours."""
    shutil.rmtree(mill.layout.bundle_store, ignore_errors=True)
    (store,) = mill.world.artifacts.glob(f"*/{version.run_id}")
    shutil.rmtree(store)


def _delete(mill: Mill, bundle: str) -> None:
    from mlflow import MlflowClient

    number = str(mill.version(bundle).number)
    MlflowClient(mill.settings.mlflow_url).delete_model_version(mill.name, number)


def _report(mill: Mill, bundle: str) -> Path:
    """Return the candidate's report in the workspace."""
    return mill.world.report(bundle, mill.layout, mill.name)
