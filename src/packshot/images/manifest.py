"""The manifest, one row an accepted photo, and the pairs of copies among them: Parquet tables with declared schemas."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from packshot.errors import IntegrityError
from packshot.images.fingerprint import LAYOUT_SIDE
from packshot.images.measure import SHAPE_BYTES, Measures
from packshot.records import Attribute, AttributeKind, file_draft, require_artifact

_MEASURES = {"float": pa.float64(), "int": pa.int64(), "bool": pa.bool_()}

_ATTRIBUTES: dict[AttributeKind, pa.DataType] = {
    "label": pa.string(),
    "text": pa.string(),
    "number": pa.float64(),
    "date": pa.date32(),
    "flag": pa.bool_(),
}

MEASURES = tuple(one.name for one in fields(Measures))

SEEN = pa.schema(
    [
        pa.field("sha256", pa.string(), nullable=False),
        pa.field("pixels", pa.string(), nullable=False),
        pa.field("format", pa.string(), nullable=False),
        pa.field("width", pa.int32(), nullable=False),
        pa.field("height", pa.int32(), nullable=False),
        pa.field("file_bytes", pa.int64(), nullable=False),
        pa.field("stored_bytes", pa.int64(), nullable=False),
        pa.field("phash", pa.uint64(), nullable=False),
        pa.field("phash_mirrored", pa.uint64(), nullable=False),
        pa.field("layout", pa.binary(3 * LAYOUT_SIDE**2), nullable=False),
        pa.field("shape", pa.binary(SHAPE_BYTES), nullable=False),
        *(pa.field(one.name, _MEASURES[str(one.type)], nullable=False) for one in fields(Measures)),
    ]
)
"""What the bytes of a photo alone decide. `sha256` is the file's (a drawing's pixels'), `pixels` the digest of the pixels as they
are stored, in PNG of `stored_bytes`; width and height are the upright original's."""

OFFERED = pa.schema(
    [
        pa.field("path", pa.string(), nullable=False),
        pa.field("sku", pa.string(), nullable=False),
        pa.field("category", pa.string(), nullable=False),
        pa.field("generation", pa.int32(), nullable=False),
        pa.field("licence", pa.string()),
        pa.field("source", pa.string()),
        pa.field("consent", pa.bool_()),
        pa.field("expiry", pa.date32()),
    ]
)
"""What the source says of a photo, besides its attributes."""

PLACE = pa.schema([pa.field("shard", pa.string(), nullable=False), pa.field("row", pa.int32(), nullable=False)])
"""Where a photo is stored: the shard beside the manifest, and its row there."""

COPIES = pa.schema([pa.field("a", pa.string(), nullable=False), pa.field("b", pa.string(), nullable=False)])
"""Photos (sha256) that show one picture: a < b, each pair once, sorted."""

GROUP_ROWS = 16_384

CORE_COLUMNS = (*SEEN.names, *OFFERED.names, *PLACE.names)
"""Names that no attribute may have."""

_FIRST = ("sha256", "pixels", *OFFERED.names[:4])
_RADIUS = b"packshot.radius"


def manifest_schema(attributes: Sequence[Attribute]) -> pa.Schema:
    """The columns of the manifest of a catalogue with these attributes. Its rows are sorted by sha256.

    Raises ValueError where an attribute has the name of a column that is always there.
    """
    if taken := [one.name for one in attributes if one.name in CORE_COLUMNS]:
        raise ValueError(f"attributes cannot be named {', '.join(taken)}: the manifest has columns of these names")
    core = {one.name: one for schema in (SEEN, OFFERED, PLACE) for one in schema}
    seen = [core[name] for name in SEEN.names if name not in _FIRST]
    rights = [core[name] for name in OFFERED.names[4:]]
    return pa.schema([*(core[name] for name in _FIRST), *seen, *rights, *attribute_fields(attributes), *PLACE])


def attribute_fields(attributes: Sequence[Attribute]) -> list[pa.Field]:
    """One column an attribute; null where it is not known."""
    return [pa.field(one.name, _ATTRIBUTES[one.kind]) for one in attributes]


def write_manifest(path: Path, pieces: Iterable[pa.Table], attributes: Sequence[Attribute], *, size: int = 0) -> None:
    """Write the manifest, all or nothing, about `size` bytes in pieces of GROUP_ROWS rows, of which the last may be shorter.

    Equal rows give equal bytes. Raises OutOfResources on a full disk.
    """
    _write(path, pieces, manifest_schema(attributes), size)


def read_manifest(path: Path, columns: Sequence[str] | None = None) -> pa.Table:
    """The manifest, or some columns of it, in its order.

    Raises MissingArtifact where there is none, IntegrityError where it is none, lacks a column or its bytes have changed.
    """
    table = _read(path, columns)
    wanted = {one.name: one.type for one in manifest_schema(())}
    missing = [name for name in (columns or wanted) if name not in table.column_names]
    other = [name for name in table.column_names if name in wanted and table.schema.field(name).type != wanted[name]]
    if missing or other:
        raise _broken(path, f"its columns are others: {', '.join([*missing, *other])}")
    return table


class CatalogHasher:
    """The digest of a catalogue: of its photos' pixels, names, categories, rights and attributes, in the manifest's order.

    Neither of generations nor of shards, prints and measures: the same photos give the same digest.
    """

    def __init__(self, attributes: Sequence[Attribute]) -> None:
        self._columns = ["sha256", "pixels", *(name for name in OFFERED.names if name != "generation")]
        self._columns += [one.name for one in attributes]
        self._hasher = hashlib.sha256()

    def update(self, piece: pa.Table) -> None:
        """Take in the next piece, of GROUP_ROWS rows where it is not the last."""
        for name in self._columns:
            column = pa.concat_arrays(piece[name].chunks)
            self._hasher.update(f"{name} {column.type} {len(column)}\n".encode())
            self._hasher.update(np.packbits(column.is_valid().to_numpy(zero_copy_only=False)).tobytes())
            for part in _bytes_of(column):
                self._hasher.update(part)

    def hexdigest(self) -> str:
        return self._hasher.hexdigest()


def write_copies(path: Path, pairs: pa.Table, radius: int) -> None:
    """Write the pairs of copies, all or nothing, and by how many bits of their hashes they were found."""
    pieces = (pairs.slice(start, GROUP_ROWS) for start in range(0, pairs.num_rows, GROUP_ROWS))
    _write(path, pieces, COPIES.with_metadata({_RADIUS: str(radius)}), pairs.nbytes)


def read_copies(path: Path) -> pa.Table:
    """The pairs of copies: columns a and b. Raises as `read_manifest` does."""
    table = _read(path, None)
    if not table.schema.equals(COPIES):
        raise _broken(path, "its columns are others")
    return table


def copies_radius(pairs: pa.Table) -> int | None:
    """The radius by which the pairs that `read_copies` gave were found."""
    told = (pairs.schema.metadata or {}).get(_RADIUS)
    return int(told) if told else None


def _write(path: Path, pieces: Iterable[pa.Table], schema: pa.Schema, size: int) -> None:
    """One row group a piece; its pages depend on the rows alone, not on the chunks that they were gathered from."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with file_draft(path, size) as draft, draft.open("wb") as file:
        with pq.ParquetWriter(file, schema, compression="zstd", write_page_checksum=True) as writer:
            for piece in pieces:
                writer.write_table(piece.select(schema.names).cast(schema).combine_chunks())
        file.flush()
        os.fsync(file.fileno())


def _bytes_of(column: pa.Array) -> Iterator[bytes | memoryview]:
    """The values of a column, nulls as nothing or zero: lengths and letters of text, or little-endian numbers."""
    if pa.types.is_string(column.type):
        filled = column.fill_null("")
        ends = np.frombuffer(filled.buffers()[1], np.int32)[filled.offset : filled.offset + len(filled) + 1]
        yield np.diff(ends).astype("<i4").tobytes()
        yield memoryview(filled.buffers()[2] or b"")[ends[0] : ends[-1]]
    elif pa.types.is_date32(column.type):
        yield from _bytes_of(column.cast(pa.int32()))
    else:
        values = column.fill_null(pa.scalar(0).cast(column.type)).to_numpy(zero_copy_only=False)
        yield values.astype(values.dtype.newbyteorder("<")).tobytes()


def _read(path: Path, columns: Sequence[str] | None) -> pa.Table:
    require_artifact(path)
    try:
        return pq.read_table(path, columns=list(columns) if columns else None, page_checksum_verification=True)
    except (pa.ArrowException, OSError) as error:
        raise _broken(path, error) from error


def _broken(path: Path, why: object) -> IntegrityError:
    return IntegrityError(f"not what ingest writes: {why}", where=str(path), advice=f"run the stage '{path.parent.name}' again")
