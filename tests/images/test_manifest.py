from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import fields
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from packshot.errors import IntegrityError, MissingArtifact
from packshot.images.manifest import (
    COPIES,
    CORE_COLUMNS,
    CatalogHasher,
    copies_radius,
    manifest_schema,
    read_copies,
    read_manifest,
    write_copies,
    write_manifest,
)
from packshot.images.measure import Measures
from packshot.records import Attribute

ATTRIBUTES = (
    Attribute(name="colour", kind="label"),
    Attribute(name="price", kind="number"),
    Attribute(name="since", kind="date"),
    Attribute(name="sale", kind="flag"),
    Attribute(name="caption", kind="text"),
)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
VALUES = {
    "label": TEXT,
    "text": TEXT,
    "number": st.floats(allow_nan=False, allow_infinity=False),
    "date": st.dates(),
    "flag": st.booleans(),
}


def rows_of(count: int, **columns: object) -> pa.Table:
    """Rows that differ in everything; `columns` stand in place of what is made up."""
    schema = manifest_schema(ATTRIBUTES)
    arrays = [pa.array(columns.get(one.name, [_value(one, index) for index in range(count)]), one.type) for one in schema]
    return pa.Table.from_arrays(arrays, schema=schema)


def _value(field: pa.Field, index: int) -> object:
    if pa.types.is_fixed_size_binary(field.type):
        return bytes([index % 256]) * field.type.byte_width
    if pa.types.is_string(field.type):
        return f"{field.name} {index}" if field.name not in {"sha256", "pixels"} else f"{index:064x}"
    if pa.types.is_boolean(field.type):
        return index % 2 == 0
    return date(2030, 1, 1 + index % 28) if pa.types.is_date(field.type) else index


def pieces_of(table: pa.Table, rows: int) -> Iterator[pa.Table]:
    return (table.slice(start, rows) for start in range(0, table.num_rows, rows))


def digest_of(table: pa.Table) -> str:
    hasher = CatalogHasher(ATTRIBUTES)
    hasher.update(table)
    return hasher.hexdigest()


def test_every_measure_and_every_attribute_has_its_column() -> None:
    schema = manifest_schema(ATTRIBUTES)
    measures = [one.name for one in fields(Measures)]
    assert [name for name in schema.names if name in measures] == measures
    assert [schema.field(one.name).type for one in ATTRIBUTES] == [
        pa.string(),
        pa.float64(),
        pa.date32(),
        pa.bool_(),
        pa.string(),
    ]
    assert all(schema.field(one.name).nullable for one in ATTRIBUTES)
    assert schema.names[-2:] == ["shard", "row"]
    assert set(CORE_COLUMNS) == set(manifest_schema(()).names)


@pytest.mark.parametrize("name", ["path", "sharpness", "licence", "row", "layout"])
def test_an_attribute_cannot_take_a_column_that_is_always_there(name: str) -> None:
    with pytest.raises(ValueError, match=name):
        manifest_schema([Attribute(name=name, kind="text")])


@settings(max_examples=40, deadline=None)
@given(st.data(), st.integers(1, 9))
def test_rows_come_back_as_they_were_written_whatever_pieces_they_came_in(data: st.DataObject, count: int) -> None:
    columns = {one.name: data.draw(st.lists(st.none() | VALUES[one.kind], min_size=count, max_size=count)) for one in ATTRIBUTES}
    columns["path"] = data.draw(st.lists(TEXT, min_size=count, max_size=count))
    table = rows_of(count, **columns)
    scattered = pa.concat_tables(pieces_of(table, data.draw(st.integers(1, count))))
    with TemporaryDirectory() as folder:
        one, other = Path(folder) / "one.parquet", Path(folder) / "other.parquet"
        write_manifest(one, [table], ATTRIBUTES)
        write_manifest(other, [scattered.select(sorted(scattered.column_names))], ATTRIBUTES)
        assert read_manifest(one).equals(table)
        assert one.read_bytes() == other.read_bytes()
    assert digest_of(table) == digest_of(scattered)


def test_some_columns_are_read_alone(tmp_path: Path) -> None:
    write_manifest(tmp_path / "manifest.parquet", [rows_of(5)], ATTRIBUTES)
    assert read_manifest(tmp_path / "manifest.parquet", ["price", "path"]).column_names == ["price", "path"]
    with pytest.raises(IntegrityError, match="weight"):
        read_manifest(tmp_path / "manifest.parquet", ["weight", "path"])


@pytest.mark.parametrize("name", ["sha256", "pixels", "path", "sku", "category", "licence", "expiry", "consent", "price", "sale"])
def test_the_digest_hears_of_what_a_photo_is(name: str) -> None:
    table = rows_of(3)
    at = table.column_names.index(name)
    values = table[name].to_pylist()
    swapped = table.set_column(at, table.schema.field(name), pa.array([*values[1:], values[0]], table.schema.field(name).type))
    assert digest_of(swapped) != digest_of(table)
    if table.schema.field(name).nullable:
        nothing = table.set_column(at, table.schema.field(name), pa.nulls(3, table.schema.field(name).type))
        assert digest_of(nothing) not in {digest_of(table), digest_of(swapped)}


def test_the_digest_does_not_hear_of_what_was_computed_of_it() -> None:
    table = rows_of(3)
    same = table
    for name in ("generation", "shard", "row", "sharpness", "phash", "layout"):
        column = table[name].take(pa.array([2, 0, 1]))
        same = same.set_column(same.column_names.index(name), same.schema.field(name), column)
    assert digest_of(same) == digest_of(table)


def test_nothing_and_an_empty_text_are_not_the_same() -> None:
    empty, unknown = rows_of(2, colour=["", "x"]), rows_of(2, colour=[None, "x"])
    moved = rows_of(2, colour=["x", ""])
    assert len({digest_of(empty), digest_of(unknown), digest_of(moved)}) == 3


def test_copies_come_back_with_their_radius(tmp_path: Path) -> None:
    pairs = pa.table({"a": [f"{index:064x}" for index in range(5)], "b": [f"{index + 9:064x}" for index in range(5)]})
    write_copies(tmp_path / "copies.parquet", pairs, 7)
    found = read_copies(tmp_path / "copies.parquet")
    assert found.equals(pairs.cast(COPIES))
    assert copies_radius(found) == 7
    write_copies(tmp_path / "none.parquet", COPIES.empty_table(), 0)
    assert (read_copies(tmp_path / "none.parquet").num_rows, copies_radius(read_copies(tmp_path / "none.parquet"))) == (0, 0)


def test_what_ingest_has_not_written_names_ingest(tmp_path: Path) -> None:
    for read in (read_manifest, read_copies):
        with pytest.raises(MissingArtifact, match="'ingest': run it first"):
            read(tmp_path / "ingest" / "table.parquet")


def test_what_is_no_manifest_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "manifest.parquet"
    path.write_bytes(b"PAR1 but not really")
    for read in (read_manifest, read_copies):
        with pytest.raises(IntegrityError):
            read(path)
    pq.write_table(pa.table({"sha256": ["a"]}), path)
    for read in (read_manifest, read_copies):
        with pytest.raises(IntegrityError, match="columns"):
            read(path)
    pq.write_table(rows_of(2).set_column(3, "sku", pa.array([1, 2])), path)
    with pytest.raises(IntegrityError, match="sku"):
        read_manifest(path)


def test_a_flipped_bit_is_found_when_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "manifest.parquet"
    write_manifest(path, [rows_of(200)], ATTRIBUTES)
    sound, table = path.read_bytes(), read_manifest(path)
    for place in range(4, len(sound), len(sound) // 25):
        content = bytearray(sound)
        content[place] ^= 4
        path.write_bytes(content)
        found = None
        with suppress(IntegrityError):
            found = read_manifest(path)
        assert found is None or found.equals(table), "or the bit said nothing"


def test_a_manifest_is_written_row_group_by_row_group(tmp_path: Path) -> None:
    write_manifest(tmp_path / "manifest.parquet", pieces_of(rows_of(10), 4), ATTRIBUTES)
    with pq.ParquetFile(tmp_path / "manifest.parquet") as file:
        assert [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)] == [4, 4, 2]
