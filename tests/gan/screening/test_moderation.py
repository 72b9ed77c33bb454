"""A local classifier and a callable of the user's set pictures aside, and neither can do more."""

import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor

from gan.bundle import Bundle
from gan.errors import UsageError
from gan.screening.moderation import Classifier, open_classifier, open_moderator
from gan.screening.references import References
from gan.screening.screens import open_screens
from gan.sections import CampaignSpec
from tests.gan.screening.patterns import drawn

HERE = "tests.gan.screening.test_moderation"


Weights = dict[str, Tensor]


def changed(classifier: Path, folder: Path, change: Callable[[Weights], object]) -> Path:
    """Return a copy of a classifier whose weights were changed."""
    shutil.copytree(classifier, folder)
    weights = load_file(folder / "model.safetensors")
    change(weights)
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    return folder


def asking(folder: Path | str) -> CampaignSpec:
    """Return a campaign that asks this classifier alone, and refuses all pictures of gore."""
    screens = {"off_class": 0, "copies": 0, "moderation": str(folder), "refuse": {"gore": 0.0}}
    return CampaignSpec.model_validate({"rejection": 0, "screens": screens})


def refuses_dark(images: NDArray[np.uint8]) -> list[str | None]:
    """Refuse pictures [N, H, W, 3] that are dark."""
    assert images.shape[1:] == (16, 16, 3)
    return ["too dark" if image.mean() < 128 else None for image in images]


def fails(images: NDArray[np.uint8]) -> list[str | None]:
    """Fail."""
    raise RuntimeError("no answer today")


def answers_once(images: NDArray[np.uint8]) -> Sequence[str | None]:
    """Answer for one picture alone."""
    return [None]


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a tiny transformer, untrained, with three labels."""
    folder = tmp_path_factory.mktemp("classifier")
    labels = {0: "fine", 1: "gore", 2: "nude"}
    torch.manual_seed(1)
    config = transformers.ViTConfig(
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        image_size=32,
        patch_size=8,
        id2label=labels,
        label2id={name: number for number, name in labels.items()},
    )
    network = transformers.ViTForImageClassification(config)
    weight = network.classifier.weight
    assert isinstance(weight, Tensor)
    torch.nn.init.normal_(weight)
    network.save_pretrained(folder)
    transformers.ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def opened(classifier: Path) -> Classifier:
    """Return it with two refused labels."""
    return open_classifier(classifier, {"nude": 0.9, "gore": 0.3})


def test_a_refused_label_sets_aside(bundle: Bundle, classifier: Path, tmp_path: Path) -> None:
    """From its score on, a label is a verdict that names label, score and limit."""
    images, labels = drawn(40, seed=1)
    scores, _ = open_classifier(classifier, {"gore": 1.0}).judge(images)
    limit = float(np.median(scores))
    spec = CampaignSpec.model_validate(
        {
            "rejection": 0,
            "screens": {
                "off_class": 0,
                "copies": 0,
                "moderation": str(classifier),
                "refuse": {"gore": limit, "nude": 1.0},
            },
        }
    )

    looks = open_screens(bundle, spec, References(None, None, tmp_path)).look(images, labels)

    aside = [look for look in looks if look.verdict == "moderated"]
    assert 0 < len(aside) < len(looks)
    assert all("the classifier says gore" in look.reason for look in aside)
    assert all((look.scores.moderation or 0) >= limit for look in aside)


def test_scores_are_those_of_the_model(classifier: Path, opened: Classifier) -> None:
    """A score is the probability that the model itself gives to the label in the picture."""
    images, _ = drawn(3, seed=2)
    pipe = transformers.pipeline("image-classification", model=str(classifier), device="cpu")
    from PIL import Image

    for image, score in zip(images, opened.judge(images)[0], strict=True):
        said = pipe(Image.fromarray(image.transpose(1, 2, 0)), top_k=3)
        wanted = max(each["score"] for each in said if each["label"] != "fine")
        assert score == pytest.approx(wanted, abs=0.005)


def test_scores_do_not_depend_on_neighbours(opened: Classifier) -> None:
    """A picture has the same score alone and among others."""
    images, _ = drawn(40, seed=3)
    together = opened.judge(images)[0]

    assert [float(opened.judge(images[place, None])[0][0]) for place in (0, 39)] == [
        together[0], together[39],
    ]  # fmt: skip


def test_pickled_weights_are_refused(classifier: Path, tmp_path: Path) -> None:
    """A model whose weights are a pickle is not opened, and nothing in it is run."""
    for path in classifier.iterdir():
        if path.suffix == ".json":
            (tmp_path / path.name).write_bytes(path.read_bytes())
    torch.save({"weight": torch.zeros(1)}, tmp_path / "pytorch_model.bin")

    with pytest.raises(UsageError, match="safetensors"):
        open_classifier(tmp_path, {"gore": 0.5})


def test_code_beside_a_model_is_not_run(tmp_path: Path) -> None:
    """A model that brings its own code is refused."""
    (tmp_path / "config.json").write_text(
        '{"model_type": "own", "auto_map": {"AutoConfig": "own.Config"}}'
    )
    (tmp_path / "own.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nclass Config: ...\n")

    with pytest.raises(UsageError, match="without code of its own"):
        open_classifier(tmp_path, {"gore": 0.5})
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda weights: weights.pop("classifier.weight"), "lack 'classifier.weight'"),
        (
            lambda weights: [weights.pop(f"classifier.{each}") for each in ("bias", "weight")],
            "lack 'classifier.bias' and 1 more",
        ),
        (lambda weights: weights.update(own=torch.zeros(1)), "nothing of its weights 'own'"),
        (
            lambda weights: weights.update({"classifier.bias": torch.zeros(4)}),
            "another shape than config.json says in 'classifier.bias'",
        ),
    ],
    ids=["one missing", "no head", "unexpected", "mismatched"],
)
def test_weights_that_are_not_the_models_are_refused(
    classifier: Path,
    tmp_path: Path,
    change: Callable[[Weights], object],
    says: str,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Random numbers never stand in for weights: folder and key are named, in one line."""
    folder = changed(classifier, tmp_path / "part", change)

    with pytest.raises(UsageError, match=says) as refused:
        open_classifier(folder, {"gore": 0.5})

    assert str(folder) in str(refused.value)
    assert "\n" not in str(refused.value)
    assert capfd.readouterr().err == ""


def test_a_torn_file_of_weights_is_named(classifier: Path, tmp_path: Path) -> None:
    """A download that stopped half way is told as what it is, without a traceback."""
    shutil.copytree(classifier, tmp_path / "torn")
    weights = tmp_path / "torn" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])

    with pytest.raises(UsageError, match="torn cannot be used"):
        open_classifier(tmp_path / "torn", {"gore": 0.5})


@pytest.mark.parametrize("problem", ["single_label_classification", "multi_label_classification"])
@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_scores_that_are_not_finite_pass_nothing(
    bundle: Bundle, classifier: Path, tmp_path: Path, problem: str, value: float
) -> None:
    """A classifier whose weights broke is an error with its folder, and does not refuse nothing."""
    folder = changed(
        classifier, tmp_path / "broken", lambda weights: weights["classifier.bias"].fill_(value)
    )
    transformers.ViTConfig.from_pretrained(folder, problem_type=problem).save_pretrained(folder)
    screens = open_screens(bundle, asking(folder), References(None, None, tmp_path / "store"))

    with pytest.raises(UsageError, match="broken cannot be used: its weights are not finite"):
        screens.look(*drawn(3, seed=6))


def test_a_replaced_classifier_is_opened_again(
    bundle: Bundle, classifier: Path, tmp_path: Path
) -> None:
    """A process that runs on asks the classifier that lies there now, though it seems as old."""
    folder = tmp_path / "classifier"
    shutil.copytree(classifier, folder)
    references, spec = References(None, None, tmp_path / "store"), asking(folder)
    first = open_screens(bundle, spec, references)
    assert open_screens(bundle, spec, references) is first
    images, labels = drawn(3, seed=7)
    before = [look.scores.moderation for look in first.look(images, labels)]

    old = (folder / "model.safetensors").stat()
    shutil.rmtree(folder)
    changed(classifier, folder, lambda weights: weights["classifier.weight"].neg_())
    os.utime(folder / "model.safetensors", ns=(old.st_atime_ns, old.st_mtime_ns))
    assert (folder / "model.safetensors").stat().st_size == old.st_size

    later = open_screens(bundle, spec, references).look(images, labels)
    scores = open_classifier(folder, {"gore": 0.0}).judge(images)[0].tolist()
    assert [look.scores.moderation for look in later] == scores != before


def test_a_relative_folder_is_one_of_the_workspace(
    bundle: Bundle, classifier: Path, tmp_path: Path
) -> None:
    """Wherever the command is typed; the line about a wrong one says where it was looked for."""
    shutil.copytree(classifier, tmp_path / "models" / "nsfw")
    store, spec = tmp_path / "store", asking("models/nsfw")
    open_screens(bundle, spec, References(None, None, store, workspace=tmp_path))

    other = tmp_path / "other"
    with pytest.raises(UsageError, match="relative to the workspace") as refused:
        open_screens(bundle, spec, References(None, None, store, workspace=other))
    assert str(other / "models" / "nsfw" / "config.json") in str(refused.value)


def test_names_of_hubs_are_no_folders(tmp_path: Path) -> None:
    """What is no local folder is refused: nothing is ever fetched."""
    with pytest.raises(UsageError, match="no folder of a classifier"):
        open_classifier(Path("someone/nsfw-detector"), {"gore": 0.5})


def test_an_unknown_label_is_named_with_the_known_ones(classifier: Path) -> None:
    """A label that the classifier does not know would never set anything aside."""
    with pytest.raises(UsageError, match="no label 'violence'; it knows fine, gore, nude"):
        open_classifier(classifier, {"violence": 0.5})


def test_a_callable_says_why(bundle: Bundle, tmp_path: Path) -> None:
    """What the user's function refuses is set aside with its own words, the rest passes."""
    spec = CampaignSpec.model_validate({"rejection": 0, "screens": {"off_class": 0, "copies": 0}})
    references = References(None, None, tmp_path, moderator=f"{HERE}:refuses_dark")
    images, labels = drawn(60, seed=4)

    looks = open_screens(bundle, spec, references).look(images, labels)

    found = {(look.verdict, look.reason) for look in looks}
    assert found == {("accepted", ""), ("moderated", "too dark")}


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("fails", "RuntimeError: no answer today"),
        ("answers_once", "gave 1 answers to 2 pictures"),
    ],
)
def test_a_callable_that_fails_is_named(name: str, says: str) -> None:
    """Pictures that nobody judged do not pass as judged."""
    judge = open_moderator(f"{HERE}:{name}")

    with pytest.raises(UsageError, match=says):
        judge(drawn(2, seed=5)[0])


@pytest.mark.parametrize("name", ["nowhere.to.be:found", f"{HERE}:nothing", "json", ""])
def test_a_callable_that_is_not_there_is_named(name: str) -> None:
    """A wrong name is told before anything is minted."""
    with pytest.raises(UsageError, match=r"package\.module:function"):
        open_moderator(name)
