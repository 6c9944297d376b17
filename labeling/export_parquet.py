"""Parquet, by pyarrow where that is installed: the native columns, and the pictures inside it if asked."""

import io
import json
from collections.abc import Iterator
from datetime import datetime
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from django.core.exceptions import ValidationError

from labeling.export_pictures import content
from labeling.export_rows import Export, plain
from labeling.export_table import FIGURES

if TYPE_CHECKING:
    import pyarrow as pa

ROWS_A_GROUP = 10_000
# A row group is held in memory until it is full: with pictures it ends earlier.
BYTES_A_GROUP = 64 * 1024**2
MISSING = "Parquet needs pyarrow, which is not installed on this site: pip install pyarrow."


def is_installed() -> bool:
    return find_spec("pyarrow") is not None


def parquet_files(export: Export) -> list[tuple[str, Any]]:
    """Raises ValidationError where there is no pyarrow."""
    if not is_installed():
        raise ValidationError(MISSING)
    return [("labels.parquet", lambda: _parts(export))]


def _schema(export: Export) -> "pa.Schema":
    import pyarrow as pa

    numbers = {"id": pa.int64(), "width": pa.int32(), "height": pa.int32()}
    kinds = numbers | dict.fromkeys(FIGURES, pa.float64()) | {"decided_at": pa.timestamp("us", tz="UTC")}
    fields = [pa.field(name, kinds.get(name, pa.string())) for name in export.columns]
    if not export.pictures:
        return pa.schema(fields)
    image = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    # So that Hugging Face's datasets opens the column as images.
    features = {
        name: {"dtype": str(field.type), "_type": "Value"}
        for name, field in zip(export.columns, fields, strict=True)
    }
    features["image"] = {"_type": "Image"}
    known = {"huggingface": json.dumps({"info": {"features": features}})}
    return pa.schema([*fields, pa.field("image", image)], metadata=known)


def _parts(export: Export) -> Iterator[bytes]:
    import pyarrow as pa
    from pyarrow import parquet

    out, schema = io.BytesIO(), _schema(export)
    with parquet.ParquetWriter(pa.PythonFile(out, mode="w"), schema) as writer:
        yield _taken(out)
        for group in _groups(export):
            writer.write_table(pa.Table.from_pylist(group, schema), row_group_size=ROWS_A_GROUP)
            yield _taken(out)
    yield _taken(out)


def _taken(out: io.BytesIO) -> bytes:
    """What was written; it is empty then. The writer counts by itself how far it is."""
    block = out.getvalue()
    out.seek(0)
    out.truncate()
    return block


def _groups(export: Export) -> Iterator[list[dict[str, Any]]]:
    """Rows, as many as make a row group."""
    size, group = 0, []
    for row in _rows(export):
        group.append(row)
        size += len(row["image"]["bytes"] or b"") if "image" in row else 0
        if len(group) == ROWS_A_GROUP or size > BYTES_A_GROUP:
            yield group
            group, size = [], 0
    if group:
        yield group


def _rows(export: Export) -> Iterator[dict[str, Any]]:
    if export.pictures is None:
        for table in export.tables():
            for cells in zip(*(table[name] for name in export.columns), strict=True):
                yield _typed(dict(zip(export.columns, cells, strict=True)))
        return
    for row in export.all_rows():
        picture = b"".join(content(row.path, row.form, export.pictures)) if row.path else None
        yield _typed(plain(row, export.columns)) | {"image": {"bytes": picture, "path": row.file_name}}


def _typed(row: dict[str, Any]) -> dict[str, Any]:
    at = row.get("decided_at")
    return row | {"decided_at": datetime.fromisoformat(at)} if at else row
