from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from packshot.errors import IntegrityError, MissingArtifact
from packshot.images.manifest import MANIFEST, Row, read_manifest, read_photos, write_manifest, write_photos
from tests.images.test_split import row

TEXT = st.text(st.characters(blacklist_categories=["Cs"]), max_size=20)


def test_the_schema_and_the_row_name_the_same_columns() -> None:
    assert [field.name for field in fields(Row)] == MANIFEST.names


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50, deadline=None)
@given(st.lists(st.tuples(TEXT, st.none() | TEXT, st.integers(0, 2**64 - 1)), max_size=8))
def test_rows_come_back_as_they_were_written(tmp_path: Path, values: list[tuple[str, str | None, int]]) -> None:
    rows = [replace(row(path, phash), caption=caption, layout=bytes(range(192))) for path, caption, phash in values]
    write_manifest(tmp_path / "manifest.parquet", rows)
    assert read_manifest(tmp_path / "manifest.parquet") == rows


def test_photos_come_back_in_their_order(tmp_path: Path) -> None:
    photos = [(f"{index:064x}", bytes([index % 256]) * index) for index in range(300)]
    write_photos(tmp_path / "photos.parquet", photos)
    assert list(read_photos(tmp_path / "photos.parquet")) == photos


def test_what_ingest_has_not_written_names_ingest(tmp_path: Path) -> None:
    with pytest.raises(MissingArtifact, match="'ingest': run it first"):
        read_manifest(tmp_path / "ingest" / "manifest.parquet")
    with pytest.raises(MissingArtifact):
        list(read_photos(tmp_path / "ingest" / "photos-00000.parquet"))


def test_what_is_no_manifest_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "manifest.parquet"
    path.write_bytes(b"PAR1 but not really")
    with pytest.raises(IntegrityError):
        read_manifest(path)
    with pytest.raises(IntegrityError):
        list(read_photos(path))
    pq.write_table(pa.table({"sha256": ["a"]}), path)
    with pytest.raises(IntegrityError, match="columns"):
        read_manifest(path)
