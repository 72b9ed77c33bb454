"""A local classifier and a callable of the user's set pictures aside, and neither can do more."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from gan.bundle import Bundle
from gan.errors import UsageError
from gan.screening.moderation import Classifier, open_classifier, open_moderator
from gan.screening.references import References
from gan.screening.screens import open_screens
from gan.sections import CampaignSpec
from tests.gan.screening.patterns import drawn

transformers = pytest.importorskip("transformers")
HERE = "tests.gan.screening.test_moderation"


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
    torch.nn.init.normal_(network.classifier.weight)
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
