from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from packshot.errors import IntegrityError, MissingArtifact
from packshot.images import store
from packshot.images.store import (
    as_column,
    as_names,
    locate_rows,
    plan_shards,
    read_blob,
    read_blobs,
    read_some,
    remove_strays,
    sort_keys,
    verify_shards,
    write_shards,
)
from packshot.records import Shard, StoredFile

Blobs = Mapping[str, bytes]


@pytest.fixture(autouse=True)
def small_limits() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {"SHARD_ROWS": 6, "SHARD_BYTES": 600, "GROUP_ROWS": 3, "GROUP_BYTES": 200}.items():
            patch.setattr(store, name, value)
        yield


def blobs_of(numbers: range | set[int], size: int = 40) -> dict[str, bytes]:
    contents = [f"blob {number} ".encode() * (1 + (number * 7919) % size // 8) for number in numbers]
    return {hashlib.sha256(content).hexdigest(): content for content in contents}


def table_of(blobs: Blobs) -> pa.Table:
    return pa.table({"sha256": list(blobs), "size": pa.array(map(len, blobs.values()), pa.int64())})


def write(folder: Path, blobs: Blobs, previous: tuple[Shard, ...] = ()) -> tuple[Shard, ...]:
    return write_shards(folder, table_of(blobs), blobs.__getitem__, previous=previous)


def bits(sha256: str) -> str:
    return bin(int("1" + sha256, 16))[3:]


def test_every_blob_stands_once_in_the_shard_of_its_prefix_in_order(tmp_path: Path) -> None:
    blobs = blobs_of(range(200))
    shards = write(tmp_path / "data", blobs)
    found = [(shard, *pair) for shard in shards for pair in read_blobs(tmp_path / "data", shard.name)]
    assert [name for _, name, _ in found] == sorted(blobs)
    assert all(blobs[name] == content and bits(name).startswith(shard.prefix) for shard, name, content in found)
    assert all(shard.rows == len(list(read_blobs(tmp_path / "data", shard.name))) for shard in shards)
    verify_shards(tmp_path / "data", shards)


@settings(deadline=None)
@given(st.sets(st.integers(0, 400), min_size=1, max_size=120))
def test_a_shard_is_split_only_where_it_must_be(numbers: set[int]) -> None:
    blobs = blobs_of(numbers, size=400)
    names = sorted(blobs)
    keys, sizes = sort_keys(np.array([name.encode() for name in names])), np.array([len(blobs[name]) for name in names])
    leaves = plan_shards(keys, sizes)
    assert [leaf.start for leaf in leaves] == [0, *(leaf.stop for leaf in leaves[:-1])]
    assert leaves[-1].stop == len(names)
    for leaf in leaves:
        assert leaf.stop - leaf.start == 1 or (leaf.stop - leaf.start <= 6 and sizes[leaf.start : leaf.stop].sum() <= 600)
        assert all(bits(name).startswith(leaf.prefix) for name in names[leaf.start : leaf.stop])
        above = [len(blobs[name]) for name in names if leaf.prefix and bits(name).startswith(leaf.prefix[:-1])]
        assert not above or len(above) > 6 or sum(above) > 600, "its parent would have held it"


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.sets(st.integers(0, 60), max_size=25)), min_size=1, max_size=4))
def test_the_files_are_a_function_of_the_set_of_blobs(days: list[tuple[bool, set[int]]]) -> None:
    held: set[int] = set()
    with TemporaryDirectory() as root:
        grown, at_once = Path(root) / "grown", Path(root) / "once"
        shards: tuple[Shard, ...] = ()
        for adds, numbers in days:
            held = held | numbers if adds else held - numbers
            known = {name for shard in shards for name, _ in read_blobs(grown, shard.name)}
            blobs, asked = blobs_of(held), list[str]()

            def read(name: str, blobs: Blobs = blobs, asked: list[str] = asked) -> bytes:
                asked.append(name)
                return blobs[name]

            shards = write_shards(grown, table_of(blobs), read, previous=shards)
            remove_strays(grown, shards)
            assert set(asked) == blobs.keys() - known, "only what no shard holds is read"
        assert write(at_once, blobs_of(held)) == shards
        assert {path.name: path.read_bytes() for path in grown.iterdir()} == {
            path.name: path.read_bytes() for path in at_once.iterdir()
        }


def test_one_more_blob_changes_one_shard(tmp_path: Path) -> None:
    shards = write(tmp_path, blobs_of(range(150)))
    kept = {shard.name: (tmp_path / shard.name).stat().st_mtime_ns for shard in shards}
    for number in range(1000, 1020):
        later = write(tmp_path, blobs_of({*range(150), number}), shards)
        fresh = {shard.name for shard in later} - kept.keys()
        assert len(fresh) in {1, 2}, "it, or the two halves that it becomes"
        assert len(kept.keys() - {shard.name for shard in later}) == 1
        assert all((tmp_path / name).stat().st_mtime_ns == when for name, when in kept.items())


def test_a_blob_beyond_every_limit_has_a_shard_of_its_own(tmp_path: Path) -> None:
    blobs = {**blobs_of(range(5)), hashlib.sha256(b"x" * 5000).hexdigest(): b"x" * 5000}
    shards = write(tmp_path, blobs)
    assert {name: content for shard in shards for name, content in read_blobs(tmp_path, shard.name)} == blobs
    assert write(tmp_path, {}) == ()


def test_some_rows_are_found_where_they_are_said_to_be(tmp_path: Path) -> None:
    blobs = blobs_of(range(90))
    shards = write(tmp_path, blobs)
    names = sorted(blobs)
    files, rows = locate_rows(as_column(np.array([name.encode() for name in names])), shards)
    places = list(zip(files.to_pylist(), rows.to_pylist(), strict=True))
    assert [read_blob(tmp_path, *place) for place in places] == [(name, blobs[name]) for name in names]
    wanted: dict[str, list[int]] = {}
    for at in (80, 3, 41, 3):
        wanted.setdefault(places[at][0], []).append(places[at][1])
    assert list(read_some(tmp_path, wanted)) == [(names[at], blobs[names[at]]) for at in (3, 41, 80)]
    with pytest.raises(ValueError, match="89"):
        locate_rows(names[:89], shards)


def test_any_changed_byte_is_found(tmp_path: Path) -> None:
    shards = write(tmp_path, blobs_of(range(20)))
    path = tmp_path / shards[0].name
    sound = path.read_bytes()
    for place in range(0, len(sound), len(sound) // 30):
        content = bytearray(sound)
        content[place] ^= 1
        path.write_bytes(content)
        with pytest.raises(IntegrityError, match=shards[0].name):
            verify_shards(tmp_path, shards)
    path.unlink()
    with pytest.raises(IntegrityError, match="missing"):
        verify_shards(tmp_path, shards)


def test_a_changed_blob_is_never_given_out(tmp_path: Path) -> None:
    blobs = blobs_of(range(6))
    (shard,) = write(tmp_path, blobs)
    path = tmp_path / shard.name
    content = path.read_bytes()
    path.write_bytes(content.replace(b"blob 3", b"blob 4"))
    with pytest.raises(IntegrityError, match="not a shard as it was written"):
        list(read_blobs(tmp_path, shard.name))
    with pytest.raises(IntegrityError):
        list(read_some(tmp_path, {shard.name: list(range(6))}))
    path.write_bytes(b"PAR1 but not really")
    with pytest.raises(IntegrityError):
        list(read_blobs(tmp_path, shard.name))
    path.unlink()
    with pytest.raises(MissingArtifact):
        list(read_blobs(tmp_path, shard.name))


def test_a_blob_of_another_size_than_was_said_is_refused(tmp_path: Path) -> None:
    blobs = blobs_of(range(6))
    with pytest.raises(IntegrityError, match="were promised"):
        write_shards(tmp_path, table_of(blobs), lambda name: blobs[name] + b"!")
    assert not list(tmp_path.iterdir())


def test_strays_go_and_what_is_no_shard_stays(tmp_path: Path) -> None:
    shards = write(tmp_path, blobs_of(range(40)))
    write(tmp_path, blobs_of(range(45)), shards)
    for name in ("photos-01.part", ".photos-01.part.123.draft", "manifest.parquet"):
        (tmp_path / name).touch()
    remove_strays(tmp_path, shards)
    assert {path.name for path in tmp_path.iterdir()} == {"manifest.parquet", *(shard.name for shard in shards)}


@settings(deadline=None)
@given(st.lists(st.binary(min_size=32, max_size=32), max_size=20), st.integers(0, 5))
def test_names_go_from_columns_to_arrays_and_back(digests: list[bytes], skipped: int) -> None:
    names = [digest.hex() for digest in digests]
    column = pa.chunked_array([pa.array(names[:7], pa.string()), pa.array(names[7:], pa.string())]).slice(skipped)
    array = as_names(column)
    assert array.tolist() == [name.encode() for name in names[skipped:]]
    assert as_column(array).to_pylist() == names[skipped:]
    assert sort_keys(array).tolist() == [int(name[:16], 16) for name in names[skipped:]]


@pytest.mark.parametrize("name", ["../photos-all.parquet", "/etc/passwd", "a/b.parquet", "a\\b.parquet", "..", ""])
def test_a_record_names_no_file_beyond_its_folder(name: str) -> None:
    with pytest.raises(ValidationError):
        Shard(name=name, prefix="", rows=1, size=1, sha256="0" * 64)
    with pytest.raises(ValidationError):
        StoredFile(name=name, size=1, sha256="0" * 64)
