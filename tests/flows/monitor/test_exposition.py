"""What Prometheus reads, held against the parser of its own client library."""

import re
from pathlib import Path

import pytest
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families
from ruamel.yaml import YAML

from flows.monitor.alerts import Alert
from flows.monitor.exposition import text_of
from flows.monitor.snapshot import Server, Snapshot
from flows.settings import Settings
from tests.flows.monitor.sights import NOW, ago, product, run, schedules, snapshot

ALERT = Alert("late", "retrain stickers", "stickers", NOW, NOW, "it is late.", "Start a worker.")
UNITS = ("_seconds", "_bytes", "_ratio", "_watts", "_total")


def _families(seen: Snapshot, *alerts: Alert) -> dict[str, Metric]:
    text = text_of(seen, alerts).decode()
    return {family.name: family for family in text_string_to_metric_families(text)}


def _values(family: Metric, label: str) -> dict[str, float]:
    return {sample.labels[label]: sample.value for sample in family.samples}


def test_the_parser_of_prometheus_reads_it() -> None:
    """Every family is named after us, says in words what it is, and has a type."""
    families = _families(snapshot(), ALERT)

    assert len(families) > 40
    for name, family in families.items():
        assert re.fullmatch(r"ganmill(_[a-z]+)+", name)
        assert family.documentation.endswith(".")
        assert family.type in {"gauge", "counter"}
        assert family.type == "gauge" or all(s.name.endswith("_total") for s in family.samples)


def test_units_are_named_and_are_base_units() -> None:
    """A name that ends in seconds, bytes, ratio or watts holds that, and its help text says so."""
    families = _families(snapshot())

    assert families["ganmill_champion_age_seconds"].samples[0].value == 2 * 86_400
    assert families["ganmill_disk_free_bytes"].samples[0].value == 300e9
    assert families["ganmill_gpu_utilisation_ratio"].samples[0].value == 0.97
    assert families["ganmill_gpu_memory_used_bytes"].samples[0].value == 20 << 30
    for name, family in families.items():
        for unit in ("seconds", "bytes", "watts"):
            if name.endswith(f"_{unit}"):
                assert unit in family.documentation


def test_labels_are_few_and_bounded() -> None:
    """Labels are names of recipes, campaigns, flows, pools and servers, or words of ours."""
    families = _families(snapshot(), ALERT)

    labels = {label for family in families.values() for s in family.samples for label in s.labels}

    assert labels == {
        "version", "server", "pool", "flow", "recipe", "campaign", "state", "decision", "outcome",
        "verdict", "folder", "gpu", "name", "file", "rule",
    }  # fmt: skip


def test_each_state_has_a_sample_so_that_a_rule_can_ask_for_it() -> None:
    """Of the ways in which a run or a check may have ended one is 1, and the others are 0."""
    families = _families(snapshot(schedules=schedules(run("crashed"))))

    states = _values(families["ganmill_run_last_state"], "state")
    outcomes = _values(families["ganmill_drift_last_outcome"], "outcome")

    assert states == {"completed": 0, "failed": 0, "crashed": 1, "cancelled": 0}
    assert [name for name, value in outcomes.items() if value] == ["pass"]


def test_what_is_not_known_is_absent() -> None:
    """A figure that could not be looked at in the last round is no number at all."""
    away = (Server("mlflow", "http://127.0.0.1:5000", None),)
    dark = snapshot(servers=away, schedules=None, products=(product(challenger=None, drift=None),))

    families = _families(dark)

    assert "ganmill_queue_runs" not in families
    assert not families["ganmill_challenger_version"].samples
    assert not families["ganmill_drift_last_age_seconds"].samples
    assert families["ganmill_server_up"].samples[0].value == 0
    assert not families["ganmill_server_answer_seconds"].samples


def test_a_training_has_figures_only_while_it_goes_on() -> None:
    """The speed of a training that ended yesterday is nobody's speed."""
    going = _families(snapshot())
    over = product(training=None)

    assert going["ganmill_training_images"].samples[0].value == 30_016
    assert going["ganmill_training_eta_seconds"].samples[0].value == 150.0
    assert not _families(snapshot(products=(over,)))["ganmill_training_images"].samples


def test_alerts_are_counted_by_rule_and_recipe() -> None:
    """Who has an alert manager of their own asks how many are open, of what, about which recipe."""
    (sample,) = _families(snapshot(), ALERT)["ganmill_alerts_open"].samples

    assert (sample.labels, sample.value) == ({"rule": "late", "recipe": "stickers"}, 1)


@pytest.mark.parametrize("name", ['quo"ted', "new\nline", "back\\slash"])
def test_no_name_breaks_the_format(name: str) -> None:
    """Whatever a pool or a file is called, the parser gives back that very name."""
    seen = snapshot(certificates={name: ago(days=-3)})

    (sample,) = _families(seen)["ganmill_certificate_remaining_seconds"].samples

    assert sample.labels["file"] == name
    assert sample.value == 3 * 86_400


def test_the_rules_for_prometheus_ask_for_figures_that_there_are() -> None:
    """Each name in the shipped rules is one that the monitor serves, and the port is its own."""
    infra = Path(__file__).parents[3] / "infra"
    served = set(re.findall(rb"^(ganmill_\w+)", text_of(snapshot(), [ALERT]), re.MULTILINE))

    rules = YAML(typ="safe").load((infra / "prometheus-rules.yml").read_bytes())
    asked = {
        name
        for group in rules["groups"]
        for rule in group["rules"]
        for name in re.findall(r"ganmill_\w+", rule["expr"])
    }
    scrape = YAML(typ="safe").load((infra / "prometheus.yml").read_bytes())

    assert asked
    assert asked <= {name.decode() for name in served}
    port = Settings.model_fields["metrics_port"].default
    assert scrape["scrape_configs"][0]["static_configs"][0]["targets"] == [f"127.0.0.1:{port}"]
