"""A batch as Croissant, the metadata format for data sets of MLCommons, version 1.1.

    https://docs.mlcommons.org/croissant/docs/croissant-spec-1.1.html

It lies beside the manifests that it describes, and says by which model, from which data the
pictures were made (`prov:wasGeneratedBy`, `prov:wasDerivedFrom`). It holds no time of its own.
"""

from collections.abc import Sequence
from typing import Any

from gan.assets.manifest import MANIFEST, PARQUET, BatchCard, Row
from gan.croissant import TERMS

_SYNTHETIC = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
_MEDIA = {"png": "image/png", "webp": "image/webp", "jpg": "image/jpeg"}
_CONTEXT = {
    **TERMS,
    "containedIn": "cr:containedIn",
    "prov": "http://www.w3.org/ns/prov#",
}
# Columns of the manifest: what they hold, and their type.
_COLUMNS = {
    "asset": ("Its id; unique. Files are named by it.", "sc:Text"),
    "ordinal": ("Its place among the candidates of the request.", "sc:Integer"),
    "class": ("That it was made for.", "sc:Text"),
    "segment": ("Audience that it was made for; empty without one.", "sc:Text"),
    "seed": ("Of the request.", "sc:Integer"),
    "recipe": ("The product line.", "sc:Text"),
    "campaign": ("Of the product line.", "sc:Text"),
    "request": ("Digest of what was asked for; latents follow from it.", "sc:Text"),
    "bundle_digest": ("Digest of the model.", "sc:Text"),
    "model_version": ("Number of the model in its registry.", "sc:Text"),
    "data_version": ("Of the data that the model was trained on.", "sc:Text"),
    "verdict": ("`accepted`, or why it is not for use.", "sc:Text"),
    "reason": ("The same as a sentence; empty for an accepted one.", "sc:Text"),
    "like": ("Asset or training image that it is too near to; empty without.", "sc:Text"),
    "phash": ("Perceptual hash of the picture as generated, 64 bits.", "sc:Integer"),
    "colour": ("Its 4 x 4 thumbnail as hex.", "sc:Text"),
    "pixels": ("SHA-256 of the pixels as generated.", "sc:Text"),
}


def croissant(card: BatchCard, rows: Sequence[Row]) -> dict[str, Any]:
    """Return the JSON-LD document of a batch.

    Args:
        card: Of the batch; its digests hold those of both manifests.
        rows: What the manifests list.
    """
    accepted = sum(row.verdict == "accepted" for row in rows)
    return {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": ["http://mlcommons.org/croissant/1.1", "http://www.w3.org/ns/prov#"],
        "name": f"{card.recipe} {card.batch}",
        "description": f"{accepted:,} synthetic images for the campaign {card.campaign} of "
        f"{card.recipe}, made by a generative model and marked so in each file.",
        "identifier": card.batch,
        "version": "1.0.0",
        "additionalType": _SYNTHETIC,
        "prov:wasGeneratedBy": _generation(card),
        "prov:wasDerivedFrom": _origins(card),
        "rai:dataCollection": "Drawn by a generative adversarial network; no person or place in "
        "them was photographed.",
        "distribution": [*_manifests(card), *_file_sets(rows)],
        "recordSet": [_assets()],
    }


def _generation(card: BatchCard) -> dict[str, Any]:
    """Return the activity that made the pictures, and the model that it used."""
    lineage = card.lineage
    return {
        "@type": "prov:Activity",
        "@id": f"urn:ganmill:request:{card.request}",
        "prov:label": f"campaign {card.campaign}, slot {card.slot}, seed {card.seed}",
        "prov:used": {
            "@type": "prov:Entity",
            "@id": f"urn:sha256:{card.bundle_digest}",
            "prov:label": f"model {card.recipe} {lineage.get('model_version') or 'unregistered'}",
        },
        "prov:wasAssociatedWith": {"@type": "prov:SoftwareAgent", "prov:label": "ganmill"},
    }


def _origins(card: BatchCard) -> list[dict[str, Any]]:
    """Return what the pictures descend from: the model, and the data that it learned from."""
    origins = [{"@type": "prov:Entity", "@id": f"urn:sha256:{card.bundle_digest}"}]
    if data := card.lineage.get("data_version"):
        label = f"data of {card.recipe}, version {data}"
        origins.append(
            {"@type": "prov:Entity", "@id": f"urn:ganmill:data:{data}", "prov:label": label}
        )
    return origins


def _manifests(card: BatchCard) -> list[dict[str, Any]]:
    """Return both manifests as files."""
    kinds = {PARQUET: "application/x-parquet", MANIFEST: "application/jsonlines"}
    return [
        {
            "@type": "cr:FileObject",
            "@id": name,
            "name": name,
            "description": "A row for each candidate, with the files of each accepted asset.",
            "contentUrl": name,
            "encodingFormat": kind,
            "sha256": card.digests[name],
        }
        for name, kind in kinds.items()
    ]


def _file_sets(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Return the pictures of each platform; the manifests list them with their digests."""
    endings = {file.platform: file.path.rpartition(".")[2] for row in rows for file in row.files}
    return [
        {
            "@type": "cr:FileSet",
            "@id": platform,
            "name": platform,
            "description": f"The pictures for {platform}, named by their assets.",
            "encodingFormat": _MEDIA[ending],
            "includes": f"{platform}/**/*.{ending}",
        }
        for platform, ending in sorted(endings.items())
    ]


def _assets() -> dict[str, Any]:
    """Return the record set of the manifest."""
    return {
        "@type": "cr:RecordSet",
        "@id": "assets",
        "name": "assets",
        "description": "Every candidate that the model drew; accepted ones are in the packs.",
        "key": {"@id": "assets/asset"},
        "field": [
            {
                "@type": "cr:Field",
                "@id": f"assets/{column}",
                "name": f"assets/{column}",
                "description": says,
                "dataType": kind,
                "source": {"fileObject": {"@id": PARQUET}, "extract": {"column": column}},
            }
            for column, (says, kind) in _COLUMNS.items()
        ],
    }
