"""A snapshot as Prometheus reads it: base units, few labels, and nothing where nothing is known.

Labels are recipes, campaigns, flows, pools and words of ours, all of which are few. A figure that
could not be looked at in the last round is absent, rather than old.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from datetime import datetime
from importlib.metadata import version
from typing import TypeVar, get_args

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from flows.drift.checks import Outcome
from flows.monitor import figures
from flows.monitor.alerts import Alert
from flows.monitor.figures import Figure
from flows.monitor.products import DECISIONS
from flows.monitor.snapshot import RUN_STATES, Product, Schedules, Snapshot
from gan.assets.records import Verdict

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_RECIPE = ("recipe",)
_RUN = ("flow", "recipe", "campaign")
_T = TypeVar("_T")
_Values = Iterable[tuple[tuple[str, ...], float | None]]


def text_of(seen: Snapshot, alerts: Collection[Alert]) -> bytes:
    """Return one round in the text format of Prometheus.

    Args:
        seen: What it saw.
        alerts: Those that are open.
    """
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Round(seen, alerts))
    return generate_latest(registry)


class _Round(Collector):
    """One round, as the library asks for it."""

    def __init__(self, seen: Snapshot, alerts: Collection[Alert]) -> None:
        self._seen, self._alerts = seen, alerts

    def collect(self) -> Iterator[Metric]:
        seen = self._seen
        now, alone = seen.time, lambda _: ()
        yield _gauge("info", "The version of ganmill, in a label.", ("version",), [_version()])
        yield from _gauges(figures.MONITOR, now, (), alone, [seen])
        yield _alerts(self._alerts)
        yield from _gauges(figures.SERVERS, now, ("server",), lambda s: (s.name,), seen.servers)
        if seen.schedules:
            yield from _schedules(seen.schedules, now)
        if seen.products is not None:
            yield from _products(seen.products, now)
        if seen.machine:
            yield from _gauges(figures.MACHINE, now, (), alone, [seen.machine])
            folders = sorted(seen.machine.folders.items())
            yield from _gauges(figures.FOLDERS, now, ("folder",), lambda f: (f[0],), folders)
            labels = ("gpu", "name")
            yield from _gauges(
                figures.GPUS, now, labels, lambda g: (str(g.index), g.name), seen.machine.gpus
            )
        if seen.certificates:
            yield from _gauges(
                figures.CERTIFICATES, now, ("file",), lambda c: (c[0],), seen.certificates.items()
            )


def _schedules(known: Schedules, now: datetime) -> Iterator[Metric]:
    yield from _gauges(figures.POOLS, now, ("pool",), lambda pool: (pool.name,), known.pools)
    yield from _gauges(figures.RUNS, now, _RUN, lambda run: run.key, known.last.values())
    yield _states(
        "run_last_state",
        "1 for how the last run ended that was not skipped, 0 for the other ways.",
        (*_RUN, "state"),
        [(run.key, run.state) for run in known.last.values()],
        [state for state in RUN_STATES if state != "skipped"],
    )
    yield from _gauges(
        figures.SUCCESSES, now, _RUN, lambda success: success[0], known.succeeded.items()
    )


def _products(products: Collection[Product], now: datetime) -> Iterator[Metric]:
    yield from _gauges(figures.PRODUCTS, now, _RECIPE, lambda each: (each.name,), products)
    for name, says, value in figures.COUNTERS:
        yield _counter(name, says, _RECIPE, [((p.name,), value(p, now)) for p in products])
    yield _counter(
        "decisions",
        "What the ledger says about versions, by the gate's word or a person's.",
        ("recipe", "decision"),
        [((p.name, word), p.decisions.get(word, 0)) for p in products for word in DECISIONS],
    )
    yield _states(
        "drift_last_outcome",
        "1 for how the last comparison with the champion's images ended, 0 for other ways.",
        ("recipe", "outcome"),
        [((p.name,), p.drift[0]) for p in products if p.drift],
        get_args(Outcome),
    )
    batches = [(p.name, p.batch) for p in products if p.batch]
    yield from _gauges(figures.BATCHES, now, _RECIPE, lambda batch: (batch[0],), batches)
    yield _gauge(
        "batch_last_candidates",
        "Candidates of the last batch by what became of them.",
        ("recipe", "verdict"),
        [
            ((name, word), batch.verdicts.get(word, 0))
            for name, batch in batches
            for word in get_args(Verdict)
        ],
    )
    trainings = [(p.name, p.training) for p in products if p.training]
    yield _gauge(
        "training_running",
        "1: a training goes on, 0: none does.",
        _RECIPE,
        [((name,), training.is_running) for name, training in trainings],
    )
    now_on = [each for each in trainings if each[1].is_running]
    yield from _gauges(figures.TRAININGS, now, _RECIPE, lambda each: (each[0],), now_on)


def _alerts(alerts: Iterable[Alert]) -> Metric:
    counts = Counter((alert.rule, alert.recipe) for alert in alerts)
    says = "Open alerts; ganmill alerts lists them with what to do."
    return _gauge("alerts_open", says, ("rule", "recipe"), sorted(counts.items()))


def _version() -> tuple[tuple[str], float]:
    return (version("ganmill"),), 1.0


def _gauges(
    asked: Iterable[Figure[_T]],
    now: datetime,
    labels: tuple[str, ...],
    label_of: Callable[[_T], tuple[str, ...]],
    items: Collection[_T],
) -> Iterator[Metric]:
    """Yield a family for each figure, with a sample for each item that has it."""
    for name, says, value in asked:
        yield _gauge(name, says, labels, [(label_of(item), value(item, now)) for item in items])


def _gauge(name: str, says: str, labels: tuple[str, ...], values: _Values) -> Metric:
    family = GaugeMetricFamily(f"ganmill_{name}", says, labels=labels)
    for words, value in values:
        if value is not None:
            family.add_metric(words, value)
    return family


def _counter(name: str, says: str, labels: tuple[str, ...], values: _Values) -> Metric:
    """Return a family of counters, whose samples the library names `<name>_total`."""
    family = CounterMetricFamily(f"ganmill_{name}", says, labels=labels)
    for words, value in values:
        family.add_metric(words, value or 0)
    return family


def _states(
    name: str,
    says: str,
    labels: tuple[str, ...],
    found: Iterable[tuple[tuple[str, ...], str]],
    states: Sequence[str],
) -> Metric:
    """Return a family with a sample for each state: 1 for the one that holds."""
    values = [((*words, state), float(state == now)) for words, now in found for state in states]
    return _gauge(name, says, labels, values)
