"""What a recipe has, as plain facts, and which of it needs what. Pure: facts in, things out."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from flows.keeping.plan import Thing, id_of


@dataclass(frozen=True)
class Model:
    """A registered version.

    Attributes:
        number: As registered.
        digest: Of its bundle.
        run: The MLflow run that holds its files.
        flow_run: The Prefect run that registered it, or "".
        data: Digest of the data that it was trained on; "" where nothing says it.
        objects: DVC's objects of what it was made from and as.
        pinned: Why it must stay, or "".
    """

    number: int
    digest: str
    run: str
    flow_run: str = ""
    data: str = ""
    objects: frozenset[str] = frozenset()
    pinned: str = ""


@dataclass(frozen=True)
class Batch:
    """A folder of assets.

    Attributes:
        name: Of the folder.
        digest: Of the bundle that it was minted from; "" where its card cannot be read.
        made: When.
        bytes: All of it.
        picture_bytes: Without what is kept of a published one.
        data: Digest of the data behind it, where that is known without its model.
        flow_run: That minted it, or "".
        past: Batches that it is being held against, while it is in the making.
        is_published: Whether any of it went out.
        pinned: Why it must stay, or "".
    """

    name: str
    digest: str
    made: datetime
    bytes: int = 0
    picture_bytes: int = 0
    data: str = ""
    flow_run: str = ""
    past: frozenset[str] = frozenset()
    is_published: bool = False
    pinned: str = ""


@dataclass(frozen=True)
class Run:
    """A training in MLflow; `pinned` and `let_go` say why it must stay, or goes again."""

    id: str
    ended: datetime
    bytes: int = 0
    pinned: str = ""
    let_go: str = ""


@dataclass(frozen=True)
class FlowRun:
    """A run in Prefect that has ended."""

    id: str
    ended: datetime


@dataclass(frozen=True)
class Checkpoints:
    """The folder of one training; `start` is the bundle that it began from, `run` MLflow's."""

    name: str
    changed: datetime
    bytes: int = 0
    start: str = ""
    run: str = ""
    pinned: str = ""


@dataclass(frozen=True)
class Pages:
    """Pictures and figures about a bundle, which begins with `digest`."""

    name: str
    digest: str
    bytes: int = 0


@dataclass(frozen=True)
class Data:
    """A data version: DVC's objects of it, and why it must stay, or ""."""

    digest: str
    objects: frozenset[str] = frozenset()
    pinned: str = ""


@dataclass(frozen=True)
class Facts:
    """All that a recipe has.

    Attributes:
        recipe: Its name.
        models: Versions.
        batches: Folders.
        runs: MLflow's.
        flow_runs: Prefect's.
        checkpoints: Folders of trainings.
        decisions: Of the gate.
        reports: Figures of versions on later data.
        bundles: Digest to bytes, in the local store.
        data: Data versions.
        objects: Name to bytes, in DVC's cache.
        remote: Name to bytes, on DVC's remote, if that is asked for.
        referred: Objects that `dvc.lock` or git refer to.
        start: Digest of the bundle that the next training starts from, or "".
        starts: Those of all recipes; `things` fills it in.
    """

    recipe: str
    models: Sequence[Model] = ()
    batches: Sequence[Batch] = ()
    runs: Sequence[Run] = ()
    flow_runs: Sequence[FlowRun] = ()
    checkpoints: Sequence[Checkpoints] = ()
    decisions: Sequence[Pages] = ()
    reports: Sequence[Pages] = ()
    bundles: dict[str, int] = field(default_factory=dict)
    data: Sequence[Data] = ()
    objects: dict[str, int] = field(default_factory=dict)
    remote: dict[str, int] = field(default_factory=dict)
    referred: frozenset[str] = frozenset()
    start: str = ""
    starts: frozenset[str] = frozenset()


def things(all_facts: Sequence[Facts]) -> list[Thing]:
    """Return the things of all recipes; what several have is one thing of them all."""
    found: dict[str, Thing] = {}
    referred = frozenset(name for facts in all_facts for name in facts.referred)
    starts = frozenset(facts.start for facts in all_facts)
    for facts in (replace(each, referred=referred, starts=starts) for each in all_facts):
        for thing in _of_recipe(facts):
            known = found.get(thing.id)
            found[thing.id] = _both(known, thing) if known else thing
    return list(found.values())


def named(recipe: str, name: str) -> str:
    """Return how a thing is called whose name is a recipe's own."""
    return f"{recipe}/{name}"


def _both(one: Thing, other: Thing) -> Thing:
    return Thing(
        kind=one.kind,
        name=one.name,
        recipes=tuple(dict.fromkeys((*one.recipes, *other.recipes))),
        bytes=max(one.bytes, other.bytes),
        made=one.made,
        needs=one.needs | other.needs,
        must_stay=one.must_stay or other.must_stay,
        must_go=one.must_go if other.must_go else "",
        rank=one.rank,
        follows=one.follows or other.follows,
    )


def _of_recipe(facts: Facts) -> Iterator[Thing]:
    yield from _batches(facts)
    yield from _models(facts)
    yield from _trainings(facts)
    yield from _data(facts)
    for run in facts.flow_runs:
        yield Thing("flow run", run.id, (facts.recipe,), made=run.ended)
    for decision in facts.decisions:
        name = named(facts.recipe, decision.name)
        yield Thing("decision", name, (facts.recipe,), decision.bytes)
    for report in facts.reports:
        yield Thing("report", named(facts.recipe, report.name), (facts.recipe,), report.bytes)


def _batches(facts: Facts) -> Iterator[Thing]:
    numbers = {model.digest: model.number for model in facts.models}
    for batch in facts.batches:
        needs = {id_of("batch", named(facts.recipe, past)) for past in batch.past}
        if batch.flow_run:
            needs.add(id_of("flow run", batch.flow_run))
        if batch.digest:
            needs.add(id_of("bundle", batch.digest))
        if batch.digest in numbers:
            needs.add(id_of("model", named(facts.recipe, f"v{numbers[batch.digest]}")))
        elif not batch.digest:  # it may be of any
            needs |= {id_of("model", named(facts.recipe, f"v{n}")) for n in numbers.values()}
        if batch.data:
            needs.add(id_of("data", named(facts.recipe, batch.data)))
        name, recipes = named(facts.recipe, batch.name), (facts.recipe,)
        if batch.is_published:
            rest = batch.bytes - batch.picture_bytes
            pinned = batch.pinned or "went out: its manifest says whose its files are"
            yield Thing("batch", name, recipes, rest, batch.made, frozenset(needs), pinned)
            if batch.picture_bytes:
                own = frozenset({id_of("batch", name)})
                size, pinned = batch.picture_bytes, batch.pinned
                yield Thing("pictures", name, recipes, size, batch.made, own, pinned)
        else:
            yield Thing(
                "batch", name, recipes, batch.bytes, batch.made, frozenset(needs), batch.pinned
            )


def _models(facts: Facts) -> Iterator[Thing]:
    newest = max((model.number for model in facts.models), default=0)
    for model in facts.models:
        needs = {
            id_of("training run", model.run),
            id_of("bundle", model.digest),
            *_of_data(facts, model.data),
            *(id_of("object", name) for name in model.objects),
            *(id_of("remote object", name) for name in model.objects),
        }
        if model.flow_run:
            needs.add(id_of("flow run", model.flow_run))
        for kind, pages in (("decision", facts.decisions), ("report", facts.reports)):
            about = [each for each in pages if model.digest.startswith(each.digest)]
            needs |= {f"{kind}:{named(facts.recipe, each.name)}" for each in about}
        pinned = model.pinned or ("is the newest" if model.number == newest else "")
        yield Thing(
            "model",
            named(facts.recipe, f"v{model.number}"),
            (facts.recipe,),
            needs=frozenset(needs),
            must_stay=pinned,
            rank=model.number,
        )


def _of_data(facts: Facts, digest: str) -> set[str]:
    """Return the data version that something needs; where nobody knows which, all of them."""
    digests = [digest] if digest else [each.digest for each in facts.data]
    return {id_of("data", named(facts.recipe, each)) for each in digests}


def _trainings(facts: Facts) -> Iterator[Thing]:
    recipes = (facts.recipe,)
    of_models = {model.run for model in facts.models}
    for run in facts.runs:
        yield Thing(
            "training run",
            run.id,
            recipes,
            run.bytes,
            run.ended,
            must_stay=run.pinned,
            must_go=run.let_go,
            follows=run.id in of_models,
        )
    for folder in facts.checkpoints:
        needs = {id_of("bundle", folder.start)} if folder.start else set()
        needs |= {id_of("training run", folder.run)} if folder.run else set()
        name = named(facts.recipe, folder.name)
        size, changed = folder.bytes, folder.changed
        yield Thing("checkpoints", name, recipes, size, changed, frozenset(needs), folder.pinned)
    for digest, size in facts.bundles.items():
        why = "a next training starts from it" if digest in facts.starts else ""
        yield Thing("bundle", digest, recipes, size, must_stay=why)


def _data(facts: Facts) -> Iterator[Thing]:
    recipes = (facts.recipe,)
    for each in facts.data:
        needs = {id_of("object", name) for name in each.objects}
        needs |= {id_of("remote object", name) for name in each.objects}
        name = named(facts.recipe, each.digest)
        yield Thing("data", name, recipes, needs=frozenset(needs), must_stay=each.pinned)
    for name, size in facts.objects.items():
        yield Thing("object", name, recipes, size, must_stay=_referred(facts, name))
    for name, size in facts.remote.items():
        yield Thing("remote object", name, recipes, size, must_stay=_referred(facts, name))


def _referred(facts: Facts, name: str) -> str:
    return "dvc.lock, or git, refers to it" if name in facts.referred else ""
