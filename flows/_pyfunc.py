"""A bundle in the form that `mlflow.pyfunc` loads: its plain files, and what they take and give.

    model/MLmodel         the loader (`gan.serving`), the signature, the bundle's digest
    model/data/bundle/    the bundle as it is
    model/requirements.txt, input_example.json, ...

Private to `registry.py`.
"""

from importlib.metadata import version
from pathlib import Path

from gan.durable import read_json

MODEL, BUNDLE = "model", "data/bundle"


def save(bundle: Path, digest: str, room: Path) -> Path:
    """Write `room/model` for a bundle, and return it; nothing is inferred, run or pickled.

    Args:
        bundle: A verified bundle.
        digest: Its digest, which the loader insists on.
        room: An empty folder.
    """
    import numpy as np
    import pandas as pd
    from mlflow.models import ModelSignature
    from mlflow.pyfunc import save_model
    from mlflow.types import ColSpec, DataType, Schema, TensorSpec

    card = read_json(bundle / "card.json")
    side, channels = card.get("resolution", -1), card.get("channels", -1)  # -1: any
    labels = [*card.get("classes", []), "", ""][:2]
    label = ColSpec(DataType.string, "label", required=False)
    images = TensorSpec(np.dtype(np.uint8), (-1, side, side, channels))
    link = room / Path(BUNDLE).name  # MLflow copies the folder under the name that it has
    link.symlink_to(bundle.resolve())
    save_model(
        room / MODEL,
        loader_module="gan.serving",
        data_path=str(link),
        signature=ModelSignature(Schema([ColSpec(DataType.long, "seed"), label]), Schema([images])),
        input_example=pd.DataFrame({"seed": [1, 2], "label": labels}),
        pip_requirements=[f"ganmill=={version('ganmill')}"],
        metadata={"bundle_digest": digest},
        model_config={"bundle_digest": digest},
    )
    return room / MODEL
