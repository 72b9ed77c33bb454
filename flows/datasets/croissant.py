"""A data version as Croissant, the metadata format for data sets of MLCommons, version 1.0.

    https://docs.mlcommons.org/croissant/docs/croissant-spec.html

It lies beside the tables that it describes, so that `mlcroissant` reads them from there; the images
themselves lie in the version's checkout, which `ganmill data checkout` makes.
"""

import os
from pathlib import Path
from typing import Any

import pandas as pd

from flows.datasets.portrait import Portrait, is_unknown, portray
from gan.croissant import TERMS
from gan.durable import read_json, sha256
from gan.image.dataset import Meta
from gan.paths import Layout
from gan.recipe import Recipe

_FACTS, _SUMS, _PARQUET = "facts.parquet", "sums.json", "application/x-parquet"
_SHARD_FILES = "shard-files"
# Columns of the table of facts: what they hold, and their type.
_COLUMNS = {
    "key": ("Path of the image in its source; unique.", "sc:Text"),
    "label": ("Its class; empty for an image that has none.", "sc:Text"),
    "sha256": ("SHA-256 of the file.", "sc:Text"),
    "bytes": ("Size of the file.", "sc:Integer"),
    "source": ("Where it comes from.", "sc:Text"),
    "licence": ("Under which licence it is.", "sc:Text"),
    "group": ("Images of one group belong together; empty where nobody said so.", "sc:Text"),
    "conditions": ("JSON object of the columns that its class is made of, or empty.", "sc:Text"),
    "width": ("Width in px.", "sc:Integer"),
    "height": ("Height in px.", "sc:Integer"),
    "mode": ("Pillow's name of its kind of pixels.", "sc:Text"),
    "format": ("Format of the file.", "sc:Text"),
    "luminance": ("Mean brightness, 0 to 1.", "sc:Float"),
    "contrast": ("Standard deviation of the brightness, 0 to 0.5.", "sc:Float"),
    "sharpness": ("Variance of the Laplacian of the brightness.", "sc:Float"),
    "entropy": ("Entropy of the brightness in bits, 0 to 8.", "sc:Float"),
    "alpha_share": ("Share of pixels that are not opaque.", "sc:Float"),
    "cluster": ("Key of the image that it looks much like; empty when alone.", "sc:Text"),
    "duplicate_of": ("Key of the image that it repeats, if it does.", "sc:Text"),
    "reason": ("Why it was set aside; empty for an accepted image.", "sc:Text"),
}


def croissant(
    layout: Layout, recipe: Recipe, folder: Path, facts: pd.DataFrame, meta: Meta
) -> dict[str, Any]:
    """Return the JSON-LD document of the version that is prepared now.

    Args:
        layout: The workspace.
        recipe: As the version was prepared with.
        folder: The record of the version, with `facts.parquet` and `sums.json` in it.
        facts: The table of facts of every image, sorted by key.
        meta: What `prepare` wrote.

    Raises:
        DamagedError: The record has no such files yet.
    """
    portrait = portray(recipe, facts, meta)
    licences = [o.licence for o in portrait.origins if not is_unknown(o.licence)]
    return {
        "@context": TERMS,
        "@type": "sc:Dataset",
        "conformsTo": [
            "http://mlcommons.org/croissant/1.0",
            "http://mlcommons.org/croissant/RAI/1.0",
        ],
        "name": recipe.name,
        "description": portrait.lead,
        "identifier": meta.digest,
        **({"license": licences[0] if len(licences) == 1 else licences} if licences else {}),
        "rai:dataCollection": "; ".join(
            f"{each.images:,} images from {each.source}" for each in portrait.origins
        ),
        "rai:dataLimitations": portrait.gaps,
        "distribution": _distribution(layout, portrait, folder),
        "recordSet": [_images(), _classes(portrait)],
    }


def _distribution(layout: Layout, portrait: Portrait, folder: Path) -> list[dict[str, Any]]:
    """Return the table of facts, and the shards in the version's checkout."""
    home = layout.checkout(portrait.recipe.name, portrait.meta.digest)
    sums = read_json(folder / _SUMS)
    shards = sorted(path for path in sums if path.startswith("raw/") and path.endswith(".tar"))
    return [
        {
            "@type": "cr:FileObject",
            "@id": _FACTS,
            "name": _FACTS,
            "description": "A row for every image that was looked at, accepted or set aside.",
            "contentUrl": _FACTS,
            "encodingFormat": _PARQUET,
            "sha256": sha256(folder / _FACTS),
        },
        *(
            {
                "@type": "cr:FileObject",
                "@id": path,
                "name": path,
                "description": "Images as they came, in a plain tar; made by: ganmill data "
                f"checkout {portrait.version}",
                "contentUrl": Path(os.path.relpath(home / path, folder)).as_posix(),
                "encodingFormat": "application/x-tar",
                "sha256": sums[path],
            }
            for path in shards
        ),
        {
            "@type": "cr:FileSet",
            "@id": _SHARD_FILES,
            "name": _SHARD_FILES,
            "description": "The images of the shards; SHA-256 leads to their rows of facts.",
            "containedIn": [{"@id": path} for path in shards],
            "encodingFormat": "image/*",
            "includes": ["*"],
        },
    ]


def _images() -> dict[str, Any]:
    """Return the record set of the table of facts."""
    return {
        "@type": "cr:RecordSet",
        "@id": "images",
        "name": "images",
        "description": "Every image that was looked at; accepted ones have no reason.",
        "key": {"@id": "images/key"},
        "field": [
            {
                "@type": "cr:Field",
                "@id": f"images/{column}",
                "name": f"images/{column}",
                "description": says,
                "dataType": kind,
                "source": {"fileObject": {"@id": _FACTS}, "extract": {"column": column}},
            }
            for column, (says, kind) in _COLUMNS.items()
        ],
    }


def _classes(portrait: Portrait) -> dict[str, Any]:
    """Return the record set of the classes, their counts in the document itself."""
    fields = (("name", "Of the class.", "sc:Text"), ("images", "Accepted images.", "sc:Integer"))
    return {
        "@type": "cr:RecordSet",
        "@id": "classes",
        "name": "classes",
        "description": "The classes, in the order of the labels that a training sees.",
        "key": {"@id": "classes/name"},
        "field": [
            {
                "@type": "cr:Field",
                "@id": f"classes/{name}",
                "name": f"classes/{name}",
                "description": says,
                "dataType": kind,
            }
            for name, says, kind in fields
        ],
        "data": [
            {"classes/name": name, "classes/images": images}
            for name, images in portrait.classes.items()
        ],
    }
