"""The manifest as Parquet: the rows of manifest.jsonl, a column for each key.

Equal rows give equal bytes on one version of pyarrow.
"""

import io
from collections.abc import Sequence
from typing import Any

from gan.assets.records import Row
from gan.errors import DamagedError

_TEXTS = (
    "recipe",
    "campaign",
    "request",
    "bundle_digest",
    "model_version",
    "mlflow_run",
    "flow_run",
    "data_version",
    "verdict",
    "reason",
    "like",
)
_SCORES = ("contrast", "critic", "class_probability", "training_ratio", "moderation")


def parquet(rows: Sequence[Row]) -> bytes:
    """Return the rows as a Parquet file."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.Table.from_pylist([row.model_dump(by_alias=True) for row in rows], _schema())
    file = io.BytesIO()
    pq.write_table(table, file, compression="zstd")
    return file.getvalue()


def rows_of(payload: bytes) -> list[Row]:
    """Return the rows of such a file.

    Raises:
        DamagedError: It is not one.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        found = pq.read_table(io.BytesIO(payload)).to_pylist()
        return [Row.model_validate(row) for row in found]
    except (pa.ArrowException, OSError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise DamagedError(
            f"manifest.parquet: is no manifest of assets ({reason}). Mint the batch again."
        ) from error


def _schema() -> Any:  # pyarrow has no types
    import pyarrow as pa

    file = pa.struct(
        [
            ("platform", pa.string()),
            ("path", pa.string()),
            ("sha256", pa.string()),
            ("bytes", pa.int64()),
            ("width_px", pa.int32()),
            ("height_px", pa.int32()),
            ("watermark", pa.float64()),
            ("is_read", pa.bool_()),
        ]
    )
    return pa.schema(
        [
            ("asset", pa.string()),
            ("ordinal", pa.int64()),
            ("class", pa.string()),
            ("segment", pa.string()),
            ("seed", pa.int64()),
            *((name, pa.string()) for name in _TEXTS),
            ("scores", pa.struct([(name, pa.float64()) for name in _SCORES])),
            ("phash", pa.int64()),
            ("colour", pa.string()),
            ("pixels", pa.string()),
            ("files", pa.list_(file)),
        ]
    )
