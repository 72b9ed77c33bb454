"""What goes and what stays: by age, and never what something that stays was made from."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.keeping.facts import (
    Batch,
    Checkpoints,
    Data,
    Facts,
    FlowRun,
    Model,
    Pages,
    Run,
    things,
)
from flows.keeping.plan import ORDER, Fate, plan
from gan.sections import KeepSpec

NOW = datetime(2026, 11, 22, tzinfo=UTC)
RECIPE = "stickers"
ALL = KeepSpec(batches_days=10, flow_runs_days=10, training_runs_days=10, versions=0)
OLD, YOUNG = NOW - timedelta(days=30), NOW - timedelta(days=1)


def _planned(facts: Facts, keep: KeepSpec = ALL) -> dict[str, Fate]:
    return {fate.thing.id: fate for fate in plan(things([facts]), {facts.recipe: keep}, NOW)}


def _gone(facts: Facts, keep: KeepSpec = ALL) -> set[str]:
    return {name for name, fate in _planned(facts, keep).items() if fate.goes}


def _facts(**more: Any) -> Facts:
    """Return a recipe with three models; v3 is champion, v1 and v2 are nothing any more."""
    given: dict[str, Any] = {
        "models": [
            Model(n, f"{n}" * 64, f"run{n}", f"flow{n}", f"data{n}", frozenset({f"object{n}"}))
            for n in (1, 2)
        ]
        + [Model(3, "3" * 64, "run3", "flow3", "data3", frozenset({"object3"}), "is champion")],
        "runs": [Run(f"run{n}", OLD, 100) for n in (1, 2, 3)],
        "flow_runs": [FlowRun(f"flow{n}", OLD) for n in (1, 2, 3)],
        "bundles": {f"{n}" * 64: 10 for n in (1, 2, 3)},
        "data": [Data(f"data{n}", frozenset({f"object{n}", "shared"})) for n in (1, 2, 3)],
        "objects": {"object1": 1, "object2": 2, "object3": 3, "shared": 4},
        "decisions": [Pages(f"{n}" * 12 + "-x", f"{n}" * 12, 7) for n in (1, 2, 3)],
    }
    return Facts(RECIPE, **{**given, **more})


def _of(number: int) -> set[str]:
    """Return what goes with a model."""
    return {
        f"model:{RECIPE}/v{number}",
        f"training run:run{number}",
        f"flow run:flow{number}",
        f"bundle:{str(number) * 64}",
        f"data:{RECIPE}/data{number}",
        f"object:object{number}",
        f"decision:{RECIPE}/{str(number) * 12}-x",
    }


def test_old_models_go_with_all_that_is_theirs_alone() -> None:
    """Version, run, flow run, bundle, data, objects, pages; what the champion shares stays."""
    assert _gone(_facts()) == _of(1) | _of(2)


def test_so_many_of_the_newest_stay_besides_those_that_are_needed() -> None:
    """`versions: 1` keeps v2 beside the champion; the champion does not count."""
    keep = ALL.model_copy(update={"versions": 1})
    assert _gone(_facts(), keep) == _of(1)


def test_no_limit_means_for_good() -> None:
    """With null nothing of that kind goes, nor what follows models."""
    keep = KeepSpec(flow_runs_days=None)
    assert _gone(_facts(batches=[Batch("monday", "1" * 64, OLD)]), keep) == set()


def test_a_batch_that_is_kept_keeps_its_model_and_data() -> None:
    """From a young batch one comes to its model, training, data and flow run."""
    facts = _facts(batches=[Batch("monday", "1" * 64, YOUNG, 5, flow_run="flow2")])
    assert _gone(facts) == _of(2) - {"flow run:flow2"}


def test_an_old_batch_goes_and_its_model_with_it() -> None:
    """A batch that never went out is past its age."""
    facts = _facts(batches=[Batch("monday", "1" * 64, OLD, 5)])
    assert _gone(facts) == _of(1) | _of(2) | {f"batch:{RECIPE}/monday"}


def test_a_published_batch_loses_its_pictures_alone() -> None:
    """Its manifest stays for good, and with it what the assets out there were made from."""
    batch = Batch("monday", "1" * 64, OLD, 50, 45, is_published=True)
    assert _gone(_facts(batches=[batch])) == _of(2) | {f"pictures:{RECIPE}/monday"}
    young = Batch("monday", "1" * 64, YOUNG, 50, 45, is_published=True)
    assert _gone(_facts(batches=[young])) == _of(2)


@pytest.mark.parametrize("pinned", ["production is on hold", "waits for a person to look at it"])
def test_a_batch_that_waits_stays(pinned: str) -> None:
    """Held, or waiting for a review, a batch stays whatever its age, and with it its model."""
    fates = _planned(_facts(batches=[Batch("monday", "1" * 64, OLD, 5, pinned=pinned)]))
    assert fates[f"batch:{RECIPE}/monday"].why == pinned
    assert not fates[f"model:{RECIPE}/v1"].goes


def test_a_batch_in_the_making_keeps_those_that_it_is_held_against() -> None:
    """It could not be finished to the same bytes without their manifests."""
    begun = Batch("today", "3" * 64, OLD, past=frozenset({"monday"}), pinned="is in the making")
    facts = _facts(batches=[begun, Batch("monday", "1" * 64, OLD, 5)])
    assert f"batch:{RECIPE}/monday" not in _gone(facts)


def test_a_batch_that_cannot_be_read_keeps_every_model() -> None:
    """It may be of any."""
    batch = Batch("monday", "", OLD, 5, pinned="its card cannot be read")
    assert _gone(_facts(batches=[batch])) == set()


def test_a_model_whose_data_nobody_knows_keeps_all_data() -> None:
    """What is not known is not let go."""
    models = [Model(3, "3" * 64, "run3", pinned="is champion")]
    gone = _gone(_facts(models=models))
    assert not [name for name in gone if name.startswith(("data:", "object:shared"))]


def test_trainings_without_a_model_go_by_their_age() -> None:
    """A failed training goes when it is old; one that goes on stays, as do its checkpoints."""
    facts = Facts(
        RECIPE,
        runs=[Run("failed", OLD, 9), Run("late", YOUNG, 9), Run("going", OLD, 9, "goes on")],
        checkpoints=[
            Checkpoints("old", OLD, 99),
            Checkpoints("open", OLD, 99, "d", "failed2", "its training has not ended"),
        ],
        bundles={"d": 1, "e": 1},
    )
    assert _gone(facts) == {"training run:failed", f"checkpoints:{RECIPE}/old", "bundle:e"}


def test_a_run_whose_model_went_before_goes_although_it_is_young() -> None:
    """A kill between a version and its run is mended by the next call."""
    facts = Facts(RECIPE, runs=[Run("half", YOUNG, 9, let_go="its version v2 was let go")])
    keep = KeepSpec(versions=0)
    assert _gone(facts, keep) == {"training run:half"}


def test_what_another_recipe_keeps_stays() -> None:
    """An object of two recipes goes only when both let it go; so does a run of all."""
    one = Facts("a", objects={"both": 1, "mine": 1}, flow_runs=[FlowRun("all", OLD)])
    other = Facts("b", objects={"both": 1, "theirs": 1}, flow_runs=[FlowRun("all", OLD)])
    keeps = {"a": ALL, "b": KeepSpec(flow_runs_days=100)}
    gone = {fate.thing.id for fate in plan(things([one, other]), keeps, NOW) if fate.goes}
    assert gone == {"object:mine"}


def test_what_dvc_lock_or_git_refers_to_stays() -> None:
    """Also where no model needs it."""
    facts = Facts(RECIPE, objects={"now": 1, "old": 1}, referred=frozenset({"now"}))
    assert _gone(facts) == {"object:old"}


def _model(number: int, **more: Any) -> Model:
    return Model(number, f"{number}" * 64, **more)


def _batch(**given: Any) -> Batch:
    """Return a batch; only one in the making, which stays, is held against others."""
    past = given.pop("past") if given["pinned"] else frozenset()
    return Batch(**{**given, "past": past})


def _worlds() -> st.SearchStrategy[Facts]:
    """Return random recipes: anything may be made from anything that is there, or from nothing."""
    numbers = st.integers(1, 6)
    digests = numbers.map(lambda n: f"{n}" * 64)
    objects = st.frozensets(st.integers(1, 8).map(lambda n: f"object{n}"), max_size=4)
    moments = st.sampled_from([OLD, YOUNG])
    pins = st.sampled_from(["", "", "must stay"])
    models = st.builds(
        _model,
        number=numbers,
        run=numbers.map(lambda n: f"run{n}"),
        flow_run=numbers.map(lambda n: f"flow{n}"),
        data=st.sampled_from(["", "data1", "data2", "data3"]),
        objects=objects,
        pinned=pins,
    )
    batches = st.builds(
        _batch,
        name=st.sampled_from("abcdef"),
        digest=st.one_of(digests, st.just("")),
        made=moments,
        bytes=st.integers(10, 20),
        picture_bytes=st.integers(0, 9),
        data=st.sampled_from(["", "data1", "data2"]),
        flow_run=numbers.map(lambda n: f"flow{n}"),
        past=st.frozensets(st.sampled_from("abcdef"), max_size=2),
        is_published=st.booleans(),
        pinned=pins,
    )
    runs = st.builds(
        Run,
        id=numbers.map(lambda n: f"run{n}"),
        ended=moments,
        bytes=st.integers(0, 9),
        pinned=pins,
        let_go=pins,
    )
    return st.builds(
        Facts,
        recipe=st.sampled_from(["a", "b"]),
        models=st.lists(models, max_size=6, unique_by=lambda model: model.number),
        batches=st.lists(batches, max_size=5, unique_by=lambda batch: batch.name),
        runs=st.lists(runs, max_size=6, unique_by=lambda run: run.id),
        flow_runs=st.lists(
            st.builds(FlowRun, numbers.map(lambda n: f"flow{n}"), moments),
            max_size=6,
            unique_by=lambda run: run.id,
        ),
        checkpoints=st.lists(
            st.builds(Checkpoints, st.sampled_from("xyz"), moments, start=digests, pinned=pins),
            max_size=3,
            unique_by=lambda folder: folder.name,
        ),
        decisions=st.lists(
            numbers.map(lambda n: Pages(f"{n}-x", f"{n}" * 12, 7)), unique=True, max_size=4
        ),
        bundles=st.dictionaries(digests, st.integers(1, 9), max_size=6),
        data=st.lists(
            st.builds(Data, st.sampled_from(["data1", "data2", "data3"]), objects, pins),
            max_size=3,
            unique_by=lambda data: data.digest,
        ),
        objects=st.dictionaries(st.integers(1, 8).map(lambda n: f"object{n}"), st.integers(1, 9)),
        referred=objects,
        start=st.one_of(digests, st.just("")),
    )


def _keeps() -> st.SearchStrategy[KeepSpec]:
    days = st.sampled_from([None, 10.0, 1000.0])
    return st.builds(
        KeepSpec,
        batches_days=days,
        flow_runs_days=days,
        training_runs_days=days,
        versions=st.sampled_from([None, 0, 1, 3]),
    )


@settings(max_examples=100, deadline=None)
@given(st.lists(_worlds(), max_size=2, unique_by=lambda facts: facts.recipe), _keeps(), _keeps())
def test_nothing_goes_that_the_lineage_of_what_stays_needs(
    worlds: list[Facts], one: KeepSpec, other: KeepSpec
) -> None:
    """Whatever there is and whatever the rule: from all that stays, every way back is there."""
    fates = plan(things(worlds), {"a": one, "b": other}, NOW)
    gone = {fate.thing.id for fate in fates if fate.goes}
    there = {fate.thing.id for fate in fates}
    for facts in worlds:
        assert not {need for need in _lineage(facts, gone) if need in gone & there}
    places = {fate.thing.id: place for place, fate in enumerate(fates)}
    for fate in fates:
        later = [places[need] for need in fate.thing.needs & gone]
        if fate.goes:  # a kill leaves nothing whose need is gone
            assert all(place > places[fate.thing.id] for place in later)
        assert fate.why
    kinds = [ORDER.index(fate.thing.kind) for fate in fates]
    assert kinds == sorted(kinds)


def _lineage(facts: Facts, gone: set[str]) -> Iterator[str]:
    """Yield the ids that must be there, written anew from what the facts mean."""
    recipe = facts.recipe
    for model in facts.models:
        if model.pinned or f"model:{recipe}/v{model.number}" not in gone:
            yield f"model:{recipe}/v{model.number}"
            yield from (f"training run:{model.run}", f"bundle:{model.digest}")
            yield f"flow run:{model.flow_run}"
            yield from (f"object:{name}" for name in model.objects)
            known = [model.data] if model.data else [data.digest for data in facts.data]
            yield from (f"data:{recipe}/{digest}" for digest in known)
    for data in facts.data:
        if f"data:{recipe}/{data.digest}" not in gone:
            yield from (f"object:{name}" for name in data.objects)
    for batch in facts.batches:
        if batch.is_published or batch.pinned or f"batch:{recipe}/{batch.name}" not in gone:
            yield from _behind(facts, batch)
    for folder in facts.checkpoints:
        if f"checkpoints:{recipe}/{folder.name}" not in gone:
            yield f"bundle:{folder.start}"
    yield from (f"object:{name}" for name in facts.referred)
    yield f"bundle:{facts.start}"


def _behind(facts: Facts, batch: Batch) -> Iterator[str]:
    """Yield a batch with what it was made from; of one that cannot be read, any model."""
    recipe = facts.recipe
    yield f"batch:{recipe}/{batch.name}"
    for model in facts.models:
        if batch.digest in {model.digest, ""}:
            yield f"model:{recipe}/v{model.number}"
    yield from (f"bundle:{batch.digest}", f"data:{recipe}/{batch.data}")
    yield f"flow run:{batch.flow_run}"
    yield from (f"batch:{recipe}/{past}" for past in batch.past)
