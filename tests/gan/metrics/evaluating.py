"""A workspace that is ready to be evaluated."""

from pathlib import Path

from ruamel.yaml import YAML

from gan.durable import write_json
from gan.image.dataset import open_dataset
from gan.paths import Layout
from tests.gan.bundles import pack_untrained
from tests.gan.training.conftest import make_workspace


def to_evaluate(root: Path) -> Layout:
    """Return a workspace with an untrained model of `tiny`, to be measured with 600 samples."""
    layout = make_workspace(root)
    params = YAML(typ="safe", pure=True).load(layout.params)
    params["recipes"]["tiny"]["evaluate"] = {"samples": 600}
    write_json(layout.params, params)  # JSON is YAML
    data = open_dataset(layout.train_data("tiny"))
    pack_untrained(
        layout.bundle("tiny"),
        data.classes,
        seed=1,
        resolution=16,
        channels=3,
        recipe="tiny",
        data_digest=data.digest,
    )
    write_json(layout.history("tiny"), {"rows": [], "events": []})
    return layout
