"""The report of a model, and the pairing of two."""

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load, save

from gan.bundle import Bundle, open_bundle
from gan.durable import write_sums
from gan.errors import DivergedError, GanmillError, UsageError
from gan.image.dataset import Dataset
from gan.metrics.domain import train_extractor
from gan.metrics.extractors import Extractor, load_extractor
from gan.metrics.meter import Meter
from gan.metrics.report import ALL_CLASSES, compare, evaluate
from gan.metrics.sampling import generated_portions
from gan.sections import EvaluateSpec
from tests.gan.metrics.portions import drawn

CLASSES = ["bars", "checks", "dots"]
SPEC = EvaluateSpec(samples=300, seed=3)
PICTURES = {"grid.png", "samples.png", "pairs.png", "map.png"}
Draw = Callable[..., Dataset]
MakeBundle = Callable[..., Bundle]
MakeMeter = Callable[..., Meter]


def test_the_report_has_each_figure_with_its_interval(
    bundle: Bundle, meter: Meter, tmp_path: Path
) -> None:
    """Every metric has bounds, N and an id; an untrained model lies between floor and ceiling."""
    report = evaluate(bundle, meter, tmp_path)
    document = json.loads((tmp_path / "metrics.json").read_text())
    metrics = document["metrics"]

    assert document == report.document
    assert document["metric_id"] == meter.metric_id() == metrics["fd_domain"]["id"]
    assert document["bundle_digest"] == bundle.digest
    assert (document["distance"], document["kernel"]) == ("fd_domain", "kd_domain")
    assert (document["samples"], document["reals"], document["held_out"]) == (300, 240, 0)
    assert set(metrics) == {
        "fd_domain",
        "fd_domain_real",
        "fd_domain_noise",
        "fd_domain_share",
        "fd_domain_worst_class",
        "kd_domain",
        "kd_domain_real",
        "precision",
        "recall",
        "density",
        "coverage",
        "class_coverage",
        "class_coverage_worst_class",
        "diversity",
        "class_accuracy",
    }
    for name in set(metrics) - {"fd_domain_worst_class"}:
        assert metrics[name]["low"] <= metrics[name]["value"] <= metrics[name]["high"], name
        assert metrics[name]["low"] >= 0.0 or name.startswith("kd_")
        assert len(metrics[name]["id"]) == 12
    assert len({metric["id"] for metric in metrics.values()}) == len(metrics)
    assert metrics["fd_domain"]["n"] == 300
    assert metrics["fd_domain"]["low_rank"] is False
    assert metrics["fd_domain_real"]["low_rank"] is True  # 120 images for 128 dims
    assert metrics["fd_domain_worst_class"]["class"] in CLASSES
    assert metrics["fd_domain"]["value"] > metrics["fd_domain_real"]["value"]
    assert metrics["fd_domain"]["value"] < metrics["fd_domain_noise"]["value"]
    assert set(document["classes"]) == set(CLASSES)
    assert document["classes"]["bars"]["reals"] == 80


def test_real_images_against_themselves_are_near_nothing(meter: Meter) -> None:
    """The kernel distance of the halves has an interval that holds zero; it is unbiased."""
    halves = [meter.halve(number).kernel.interval() for number in range(5)]

    assert sum(each.low <= 0.0 <= each.high for each in halves) >= 4


def test_the_same_evaluation_gives_the_same_bytes(
    bundle: Bundle, data: Dataset, extractor: Extractor, make_meter: MakeMeter, tmp_path: Path
) -> None:
    """Nothing in the folder depends on the time, on chance, or on what was kept before."""
    history = {"rows": [{"nimg": 500, "kimg": 0.5, "fd": 3.0, "samples": 1000.0}], "events": []}
    for name in ("a", "b"):
        evaluate(bundle, make_meter(data, extractor), tmp_path / name, history)

    names = {path.name for path in (tmp_path / "a").iterdir()}
    assert names == {*PICTURES, "distance.png", "metrics.json"}
    for name in names:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
        if name.endswith(".png"):
            with Image.open(tmp_path / "a" / name) as picture:
                assert min(picture.size) > 100


def test_metric_ids_differ_where_figures_cannot_be_compared(
    data: Dataset, extractor: Extractor, make_meter: MakeMeter
) -> None:
    """Another number of samples, seed or data set is another metric."""
    other = dataclasses.replace(data, digest="f" * 64)
    ids = {
        make_meter(data, extractor).metric_id(),
        make_meter(data, extractor).metric_id("recall"),
        make_meter(data, extractor, samples=301).metric_id(),
        make_meter(data, extractor, seed=4).metric_id(),
        make_meter(other, extractor).metric_id(),
    }

    assert len(ids) == 5


def test_a_model_compared_with_itself_differs_by_nothing(bundle: Bundle, meter: Meter) -> None:
    """The paired difference of equal models is zero; that of the distance has no width either."""
    found = compare(bundle, bundle, meter)
    distance = found.distance.difference

    assert (distance.low, distance.value, distance.high) == (0, 0, 0)
    for row in found.rows:
        assert row.difference.low <= row.difference.value == 0 <= row.difference.high
        assert row.a == row.b
    for each in found.classes.values():
        assert each.difference.low <= each.difference.value == 0 <= each.difference.high


def test_the_pairing_agrees_with_the_reports(
    bundle: Bundle, data: Dataset, meter: Meter, make_bundle: MakeBundle, tmp_path: Path
) -> None:
    """Both values are those of the single reports, and swapping the roles turns the sign."""
    other = make_bundle(tmp_path / "other", data, seed=2)
    found, swapped = compare(bundle, other, meter), compare(other, bundle, meter)
    alone = evaluate(bundle, meter, tmp_path / "report").document

    assert found.distance.name == "fd_domain"
    for row, turned in zip(found.rows, swapped.rows, strict=True):
        entry = alone["metrics"][row.name]
        assert row.metric_id == entry["id"]
        assert row.a.value == pytest.approx(entry["value"], rel=1e-5)
        assert row.difference.value == pytest.approx(-turned.difference.value)
        assert row.difference.low == pytest.approx(-turned.difference.high)
        assert row.difference.low <= row.difference.value <= row.difference.high
    better = {row.name: row.less_is_better for row in found.rows}
    assert better["fd_domain"]
    assert better["kd_domain"]
    assert better["recall"] is False
    assert better["diversity"] is None


def test_the_pairing_tells_class_by_class(
    bundle: Bundle, data: Dataset, meter: Meter, make_bundle: MakeBundle, tmp_path: Path
) -> None:
    """Each class with enough images has the coverage of the reports, and a paired difference."""
    other = make_bundle(tmp_path / "other", data, seed=2)
    found = compare(bundle, other, meter)
    ours, theirs = (
        evaluate(each, meter, tmp_path / each.digest).document["classes"]
        for each in (bundle, other)
    )

    assert set(found.classes) == set(CLASSES)
    for name, row in found.classes.items():
        assert row.b == pytest.approx(theirs[name]["coverage"], rel=1e-5)
        both = ours[name]["coverage"] - theirs[name]["coverage"]
        assert row.difference.value == pytest.approx(both, abs=1e-5)
        assert row.difference.low < row.difference.value < row.difference.high


def test_classes_with_few_images_are_left_out_of_the_pairing(
    draw: Draw, extractor: Extractor, make_bundle: MakeBundle, make_meter: MakeMeter, tmp_path: Path
) -> None:
    """A class with under 25 images has no coverage; where none has, there is that of all."""
    few = draw(240, CLASSES, seed=5)
    labels = few.labels.copy()
    labels[labels == 1] = 0
    labels[:20] = 1
    mixed = dataclasses.replace(few, labels=labels, digest="5" * 64)
    bundle, other = (make_bundle(tmp_path / str(n), few, n) for n in (1, 2))
    rare = draw(60, CLASSES, seed=6)

    assert set(compare(bundle, other, make_meter(mixed, extractor)).classes) == {"bars", "dots"}
    found = compare(bundle, other, make_meter(rare, extractor))
    whole = next(row for row in found.rows if row.name == "class_coverage")
    assert list(found.classes) == [ALL_CLASSES]
    assert found.classes[ALL_CLASSES].b == whole.b.value
    assert found.classes[ALL_CLASSES].difference == whole.difference


def test_a_second_model_costs_only_what_is_new(
    bundle: Bundle,
    data: Dataset,
    extractor: Extractor,
    make_meter: MakeMeter,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What was read for a report is not read again for the comparison with it."""
    make_meter(data, extractor).score(bundle)

    def refuse(*_: object) -> None:
        raise AssertionError("an image was read again")

    monkeypatch.setattr(Extractor, "read", refuse)
    found = compare(bundle, bundle, make_meter(data, extractor))

    assert found.distance.difference.value == 0


def test_one_class_has_no_class_accuracy(
    draw: Draw, make_bundle: MakeBundle, make_meter: MakeMeter, tmp_path: Path
) -> None:
    """Without classes the report leaves out what it cannot know."""
    single = draw(60, ["all"], channels=1)
    train_extractor(single, tmp_path / "extractor", 1, images_shown=256)
    bundle = make_bundle(tmp_path / "bundle", single, seed=1)
    meter = make_meter(single, load_extractor(tmp_path / "extractor"), samples=200)
    metrics = evaluate(bundle, meter, tmp_path / "report").document["metrics"]

    assert "class_accuracy" not in metrics
    assert metrics["fd_domain_worst_class"]["class"] == "all"


def test_what_was_held_out_measures_memorisation(
    draw: Draw, make_bundle: MakeBundle, make_meter: MakeMeter, tmp_path: Path
) -> None:
    """With enough images the report says how near the fakes are to what was trained on."""
    many = draw(700, CLASSES)
    train_extractor(many, tmp_path / "extractor", 1, images_shown=1280)
    bundle = make_bundle(tmp_path / "bundle", many, seed=1)
    meter = make_meter(many, load_extractor(tmp_path / "extractor"), samples=200)
    report = evaluate(bundle, meter, tmp_path / "report")

    assert report.document["held_out"] == 64
    assert report.document["is_copying"] is False
    for name in ("memorisation", "copied_share", "feature_memorisation", "feature_copied_share"):
        entry = report.document["metrics"][name]
        assert 0.0 <= entry["low"] <= entry["value"] <= entry["high"] <= 1.0
    assert "pairs.png" in {path.name for path in report.pictures}


def test_a_model_of_other_data_is_refused(
    meter: Meter, draw: Draw, make_bundle: MakeBundle, tmp_path: Path
) -> None:
    """Unlike channels or classes are one line, not a number."""
    grey = make_bundle(tmp_path / "grey", draw(9, CLASSES, channels=1), seed=1)
    few = make_bundle(tmp_path / "few", draw(9, CLASSES[:2]), seed=1)

    with pytest.raises(UsageError, match="cannot be compared"):
        compare(grey, grey, meter)
    with pytest.raises(UsageError, match="no class 'dots'"):
        compare(few, few, meter)


def test_too_few_or_equal_images_are_refused(
    data: Dataset,
    extractor: Extractor,
    bundle: Bundle,
    draw: Draw,
    make_meter: MakeMeter,
    tmp_path: Path,
) -> None:
    """Where no figure could mean anything, there is none."""
    with pytest.raises(UsageError, match="3 real images; at least 4"):
        make_meter(draw(3, CLASSES), extractor)
    same = dataclasses.replace(
        data, images=np.repeat(data.images[:1], 240, axis=0), digest="e" * 64
    )
    with pytest.raises(GanmillError, match="alike"):
        evaluate(bundle, make_meter(same, extractor), tmp_path / "report")
    assert not (tmp_path / "report" / "metrics.json").exists()


def test_a_model_with_its_classes_in_another_order_is_measured_alike(
    data: Dataset, bundle: Bundle
) -> None:
    """Classes are matched by name, never by number."""
    turned = dataclasses.replace(data, classes=CLASSES[::-1], labels=len(CLASSES) - 1 - data.labels)
    plain = drawn(generated_portions(bundle, data, SPEC), data)

    np.testing.assert_array_equal(plain, drawn(generated_portions(bundle, turned, SPEC), turned))


def test_a_model_that_makes_nan_is_refused(bundle: Bundle, meter: Meter, tmp_path: Path) -> None:
    """Weights whose images overflow end in one line that names the bundle."""
    folder = tmp_path / "forged"
    shutil.copytree(bundle.folder, folder)
    weights = load((folder / "generator.safetensors").read_bytes())
    broken = {name: torch.full_like(value, 6e4) for name, value in weights.items()}
    (folder / "generator.safetensors").write_bytes(save(broken))
    (folder / "SHA256SUMS").unlink()
    write_sums(folder)
    forged = open_bundle(folder)

    with pytest.raises(DivergedError, match=forged.digest[:8]):
        evaluate(forged, meter, tmp_path / "report")
    assert not (tmp_path / "report" / "metrics.json").exists()


def test_four_channels_are_measured_as_they_are(
    draw: Draw, make_bundle: MakeBundle, make_meter: MakeMeter, tmp_path: Path
) -> None:
    """RGBA has its own extractor, report and pictures."""
    data = draw(120, CLASSES, channels=4)
    np.minimum(data.images, data.images[:, 3:], out=data.images)
    train_extractor(data, tmp_path / "extractor", 1, images_shown=1280)
    extractor = load_extractor(tmp_path / "extractor")
    bundle = make_bundle(tmp_path / "bundle", data, 1)
    report = evaluate(bundle, make_meter(data, extractor), tmp_path / "report")
    metrics = report.document["metrics"]

    assert extractor.card.kind == "domain"
    assert extractor.card.channels == 4
    assert metrics["fd_domain_noise"]["value"] > metrics["fd_domain_real"]["value"]
    with Image.open(tmp_path / "report" / "grid.png") as picture:
        assert picture.mode == "RGB"
