"""The manifest: one row an accepted photo, in Parquet with a declared schema; and the shards that hold the photos themselves."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from packshot.errors import IntegrityError
from packshot.records import require_artifact, write_bytes

MANIFEST = pa.schema(
    [
        pa.field("sha256", pa.string(), nullable=False),
        pa.field("pixels", pa.string(), nullable=False),
        pa.field("path", pa.string(), nullable=False),
        pa.field("sku", pa.string(), nullable=False),
        pa.field("category", pa.string(), nullable=False),
        pa.field("format", pa.string(), nullable=False),
        pa.field("width", pa.int32(), nullable=False),
        pa.field("height", pa.int32(), nullable=False),
        pa.field("file_bytes", pa.int64(), nullable=False),
        pa.field("phash", pa.uint64(), nullable=False),
        pa.field("phash_mirrored", pa.uint64(), nullable=False),
        pa.field("layout", pa.binary(192), nullable=False),
        pa.field("sharpness", pa.float64(), nullable=False),
        pa.field("brightness", pa.float64(), nullable=False),
        pa.field("contrast", pa.float64(), nullable=False),
        pa.field("whiteness", pa.float64(), nullable=False),
        pa.field("fill", pa.float64(), nullable=False),
        pa.field("colour", pa.string()),
        pa.field("pattern", pa.string()),
        pa.field("caption", pa.string()),
        pa.field("shard", pa.string(), nullable=False),
        pa.field("row", pa.int32(), nullable=False),
    ]
)

PHOTOS = pa.schema([pa.field("sha256", pa.string(), nullable=False), pa.field("png", pa.binary(), nullable=False)])


@dataclass(frozen=True, slots=True)
class Row:
    """One accepted photo. Sizes are of the upright original, in pixels and bytes; measures are those of images.measure."""

    sha256: str
    """Of the file's bytes; of the pixels where there is no file."""
    pixels: str
    """Digest of the pixels as they are stored."""
    path: str
    sku: str
    category: str
    format: str
    width: int
    height: int
    file_bytes: int
    phash: int
    phash_mirrored: int
    layout: bytes
    sharpness: float
    brightness: float
    contrast: float
    whiteness: float
    fill: float
    colour: str | None
    pattern: str | None
    caption: str | None
    shard: str
    """The file beside the manifest that holds the photo."""
    row: int
    """Its row there."""


def write_manifest(path: Path, rows: Sequence[Row]) -> None:
    """Write the manifest, all or nothing."""
    columns = list(zip(*map(astuple, rows), strict=True)) if rows else [()] * len(MANIFEST)
    arrays = [pa.array(column, type=field.type) for column, field in zip(columns, MANIFEST, strict=True)]
    write_bytes(path, _parquet(pa.Table.from_arrays(arrays, schema=MANIFEST), "zstd"))


def read_manifest(path: Path) -> list[Row]:
    """Read back what `write_manifest` wrote. Raises MissingArtifact, or IntegrityError where it is no such table."""
    table = _read(path, MANIFEST)
    columns = [table[field.name].to_pylist() for field in fields(Row)]
    return [Row(*values) for values in zip(*columns, strict=True)]


def write_photos(path: Path, photos: Sequence[tuple[str, bytes]]) -> None:
    """Write one shard of (sha256, PNG) pairs, all or nothing."""
    names, pictures = zip(*photos, strict=True) if photos else ((), ())
    write_bytes(path, _parquet(pa.Table.from_arrays([pa.array(names), pa.array(pictures, pa.binary())], schema=PHOTOS), "none"))


def read_photos(path: Path) -> Iterator[tuple[str, bytes]]:
    """The (sha256, PNG) pairs of one shard in their order, a few megabytes at a time. Raises as `read_manifest` does."""
    require_artifact(path)
    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=64, columns=PHOTOS.names):
                yield from zip(batch["sha256"].to_pylist(), batch["png"].to_pylist(), strict=True)
    except (pa.ArrowException, OSError, KeyError) as error:
        raise _broken(path, error) from error


def _parquet(table: pa.Table, compression: str) -> bytes:
    sink = io.BytesIO()
    pq.write_table(table, sink, compression=compression, row_group_size=4096)
    return sink.getvalue()


def _read(path: Path, schema: pa.Schema) -> pa.Table:
    require_artifact(path)
    try:
        table = pq.read_table(path)
    except (pa.ArrowException, OSError) as error:
        raise _broken(path, error) from error
    if not table.schema.equals(schema):
        raise _broken(path, "its columns are others")
    return table


def _broken(path: Path, why: object) -> IntegrityError:
    return IntegrityError(f"not what ingest writes: {why}", where=str(path), advice=f"run the stage '{path.parent.name}' again")
