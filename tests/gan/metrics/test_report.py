"""The report of a model, and the pairing of two."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load, save

from gan.bundle import Bundle, open_bundle
from gan.durable import write_sums
from gan.errors import DivergedError, UsageError
from gan.image.dataset import Dataset
from gan.metrics.domain import train_extractor
from gan.metrics.extractors import Extractor, load_extractor
from gan.metrics.report import compare, evaluate, metric_id
from gan.metrics.sampling import generated, noise, read_real
from gan.sections import EvaluateSpec

CLASSES = ["bars", "checks", "dots"]
SPEC = EvaluateSpec(samples=300, seed=3)
Draw = Callable[..., Dataset]
MakeBundle = Callable[..., Bundle]


def test_the_report_has_each_figure_with_its_interval(
    bundle: Bundle, data: Dataset, extractor: Extractor, tmp_path: Path
) -> None:
    """metrics.json has the promised keys, and an untrained model lies between floor and ceiling."""
    report = evaluate(bundle, data, extractor, SPEC, tmp_path)
    document = json.loads((tmp_path / "metrics.json").read_text())
    metrics = document["metrics"]

    assert document["metric_id"] == report.metric_id == metric_id(extractor, data, SPEC)
    assert document["bundle_digest"] == bundle.digest
    assert document["samples"] == 300
    assert set(metrics) == {
        "fd_domain",
        "fd_domain_real",
        "fd_domain_noise",
        "fd_domain_share",
        "fd_domain_worst_class",
        "class_accuracy",
    }
    for name in set(metrics) - {"fd_domain_worst_class"}:
        assert 0.0 <= metrics[name]["low"] <= metrics[name]["value"] <= metrics[name]["high"]
    assert metrics["fd_domain"]["n"] == 300
    assert metrics["fd_domain"]["low_rank"] is False
    assert metrics["fd_domain_real"]["low_rank"] is True  # 120 images for 128 dims
    assert metrics["fd_domain_worst_class"]["class"] in CLASSES
    assert metrics["fd_domain"]["value"] > metrics["fd_domain_real"]["value"]
    for name in ("grid.png", "samples.png"):
        with Image.open(tmp_path / name) as picture:
            assert min(picture.size) > 100


def test_the_same_evaluation_gives_the_same_bytes(
    bundle: Bundle, data: Dataset, extractor: Extractor, tmp_path: Path
) -> None:
    """Nothing in the folder depends on the time or on chance."""
    for name in ("a", "b"):
        evaluate(bundle, data, extractor, SPEC, tmp_path / name)

    for name in ("metrics.json", "grid.png", "samples.png"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_a_sample_is_the_same_image_whatever_the_number(
    bundle: Bundle, data: Dataset, extractor: Extractor
) -> None:
    """The first 200 of 300 samples are the 200 samples."""
    few = EvaluateSpec(samples=200, seed=3)
    long, short = (
        np.concatenate([images for images, _ in generated(bundle, data, extractor, spec)])
        for spec in (SPEC, few)
    )

    np.testing.assert_array_equal(long[:200], short)


def test_generated_classes_have_the_shares_of_the_data(
    bundle: Bundle, data: Dataset, extractor: Extractor
) -> None:
    """A model is asked for each class as often as the data has it."""
    spec = EvaluateSpec(samples=240, seed=3)
    labels = np.concatenate([c for _, c in generated(bundle, data, extractor, spec)])

    np.testing.assert_array_equal(np.sort(labels), np.sort(data.labels))


def test_metric_ids_differ_where_figures_cannot_be_compared(
    data: Dataset, extractor: Extractor
) -> None:
    """Another number of samples, seed or data set is another metric."""
    other = dataclasses.replace(data, digest="f" * 64)
    ids = {
        metric_id(extractor, data, SPEC),
        metric_id(extractor, data, EvaluateSpec(samples=301, seed=3)),
        metric_id(extractor, data, EvaluateSpec(samples=300, seed=4)),
        metric_id(extractor, other, SPEC),
    }

    assert len(ids) == 4


def test_a_model_compared_with_itself_differs_by_nothing(
    bundle: Bundle, data: Dataset, extractor: Extractor
) -> None:
    """The paired difference of equal models is exactly zero, with an interval of zero width."""
    pairing = compare(bundle, bundle, data, extractor, SPEC)

    assert (pairing.difference.low, pairing.difference.value, pairing.difference.high) == (0, 0, 0)
    assert pairing.candidate == pairing.champion


def test_the_pairing_agrees_with_the_reports(
    bundle: Bundle, data: Dataset, extractor: Extractor, make_bundle: MakeBundle, tmp_path: Path
) -> None:
    """Both values are those of the single reports, and swapping the roles turns the sign."""
    other = make_bundle(tmp_path / "other", data, seed=2)
    pairing = compare(bundle, other, data, extractor, SPEC)
    swapped = compare(other, bundle, data, extractor, SPEC)
    alone = evaluate(bundle, data, extractor, SPEC, tmp_path / "report")

    assert pairing.metric_id == alone.metric_id
    assert pairing.candidate.value == pytest.approx(alone.metrics["fd_domain"]["value"], rel=1e-5)
    assert pairing.difference.value == pytest.approx(-swapped.difference.value)
    assert pairing.difference.low == pytest.approx(-swapped.difference.high, rel=0.2)
    assert pairing.difference.low <= pairing.difference.value <= pairing.difference.high


def test_one_class_has_no_class_accuracy(
    draw: Draw, make_bundle: MakeBundle, tmp_path: Path
) -> None:
    """Without classes the report leaves out what it cannot know."""
    single = draw(60, ["all"], channels=1)
    train_extractor(single, tmp_path / "extractor", 1, images_shown=256)
    bundle = make_bundle(tmp_path / "bundle", single, seed=1)
    spec = EvaluateSpec(samples=200)
    report = evaluate(
        bundle, single, load_extractor(tmp_path / "extractor"), spec, tmp_path / "report"
    )

    assert "class_accuracy" not in report.metrics
    assert report.metrics["fd_domain_worst_class"]["class"] == "all"


def test_a_model_of_other_data_is_refused(
    data: Dataset, extractor: Extractor, draw: Draw, make_bundle: MakeBundle, tmp_path: Path
) -> None:
    """Unlike channels or classes are one line, not a number."""
    grey = make_bundle(tmp_path / "grey", draw(9, CLASSES, channels=1), seed=1)
    few = make_bundle(tmp_path / "few", draw(9, CLASSES[:2]), seed=1)

    with pytest.raises(UsageError, match="cannot be compared"):
        compare(grey, grey, data, extractor, SPEC)
    with pytest.raises(UsageError, match="no class 'dots'"):
        compare(few, few, data, extractor, SPEC)


def test_a_model_with_its_classes_in_another_order_is_measured_alike(
    data: Dataset, extractor: Extractor, bundle: Bundle
) -> None:
    """Classes are matched by name, never by number."""
    turned = dataclasses.replace(data, classes=CLASSES[::-1], labels=len(CLASSES) - 1 - data.labels)
    plain = next(generated(bundle, data, extractor, SPEC))[0]

    np.testing.assert_array_equal(plain, next(generated(bundle, turned, extractor, SPEC))[0])


def test_a_model_that_makes_nan_is_refused(
    bundle: Bundle, data: Dataset, extractor: Extractor, tmp_path: Path
) -> None:
    """Weights whose images overflow end in one line that names the bundle."""
    for path in bundle.folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    weights = load((tmp_path / "generator.safetensors").read_bytes())
    broken = {name: torch.full_like(value, 6e4) for name, value in weights.items()}
    (tmp_path / "generator.safetensors").write_bytes(save(broken))
    (tmp_path / "SHA256SUMS").unlink()
    write_sums(tmp_path)
    forged = open_bundle(tmp_path)

    with pytest.raises(DivergedError, match=forged.digest[:8]):
        evaluate(forged, data, extractor, SPEC, tmp_path / "report")
    assert not (tmp_path / "report" / "metrics.json").exists()


def test_four_channels_are_measured_as_they_are(
    draw: Draw, make_bundle: MakeBundle, tmp_path: Path
) -> None:
    """RGBA has its own extractor, report and pictures; noise is RGBA that can be shown."""
    data = draw(120, CLASSES, channels=4)
    np.minimum(data.images, data.images[:, 3:], out=data.images)
    train_extractor(data, tmp_path / "extractor", 1, images_shown=1280)
    extractor = load_extractor(tmp_path / "extractor")
    bundle = make_bundle(tmp_path / "bundle", data, 1)
    metrics = evaluate(bundle, data, extractor, SPEC, tmp_path / "report").metrics
    real = read_real(data, extractor, SPEC, lambda _: None)
    noisy = np.concatenate([images for images, _ in noise(real, data, SPEC)])

    assert extractor.card.channels == 4
    assert metrics["fd_domain_noise"]["value"] > metrics["fd_domain_real"]["value"]
    assert noisy.shape == (300, 4, 16, 16)
    assert np.all(noisy[:, :3] <= noisy[:, 3:])
    with Image.open(tmp_path / "report" / "grid.png") as picture:
        assert picture.mode == "RGB"
