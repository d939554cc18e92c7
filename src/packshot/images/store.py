"""Sharded tables: blobs keyed by sha256, in Parquet files whose layout is a function of the set of rows alone.

A shard holds all rows whose sha256 begins with the bits of its prefix, in their order. A prefix is split by its next bit where it
would hold more than SHARD_ROWS rows or SHARD_BYTES of blobs: linear hashing's idea (Litwin 1980) without its history, so that one
new blob changes one shard, and a table built up day by day is byte for byte the one that is written at once.

A shard's file carries a part of its own digest in its name: a new version never overwrites an old one, and the record that names
the shards, replaced last, makes the switch.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from packshot.errors import IntegrityError
from packshot.failpoints import failpoint
from packshot.records import Shard, file_digest, file_draft, require_artifact, sync_folder

SHARD_ROWS = 4096
SHARD_BYTES = 128 * 1024 * 1024
"""A prefix that would hold more of either is split."""

GROUP_ROWS = 64
GROUP_BYTES = 4 * 1024 * 1024
"""A row group ends at whichever comes first: that much is read for the sake of one blob."""

BLOBS = pa.schema([pa.field("sha256", pa.string(), nullable=False), pa.field("content", pa.binary(), nullable=False)])

Names = NDArray[np.bytes_]
"""(N,) of 64 bytes: a sha256 each, in hexadecimal; b"" where it is not known."""

_KEYS = b"packshot.keys"
_OVERHEAD = 64 * 1024


class Leaf(NamedTuple):
    """A shard to be: its prefix, and the slice of the sorted rows that it holds."""

    prefix: str
    start: int
    stop: int


def plan_shards(keys: NDArray[np.uint64], sizes: NDArray[np.int64]) -> list[Leaf]:
    """The shards of N rows in their order, from the rows alone: sorted keys (the first 64 bits of each sha256) and bytes."""
    ends = np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes, dtype=np.int64)])
    leaves: list[Leaf] = []
    waiting = [Leaf("", 0, len(keys))] if len(keys) else []
    while waiting:
        leaf = waiting.pop()
        rows, size, bit = leaf.stop - leaf.start, ends[leaf.stop] - ends[leaf.start], len(leaf.prefix)
        if rows <= 1 or bit == 64 or (rows <= SHARD_ROWS and size <= SHARD_BYTES):
            leaves.append(leaf)
            continue
        first_one = np.uint64((int(leaf.prefix or "0", 2) << 1 | 1) << (63 - bit))
        middle = leaf.start + int(np.searchsorted(keys[leaf.start : leaf.stop], first_one))
        halves = (Leaf(leaf.prefix + "1", middle, leaf.stop), Leaf(leaf.prefix + "0", leaf.start, middle))
        waiting += [half for half in halves if half.stop > half.start]
    return leaves


def write_shards(
    folder: Path, blobs: pa.Table, read: Callable[[str], bytes], *, previous: Sequence[Shard] = ()
) -> tuple[Shard, ...]:
    """Make `folder` hold exactly these blobs, and give back the shards that name them, in the order of their rows.

    `blobs` has the columns sha256 (64 hexadecimal digits, no two alike) and size (bytes), in any order. Shards of `previous`
    stand in `folder` and are trusted (`verify_shards`): they stay where they are right, and what they hold is copied; `read`
    gives the blobs that they do not hold. Nothing is removed: `remove_strays` does that once the record naming the shards is
    written. Raises OutOfResources on a full disk, IntegrityError where a blob has another size than was said.
    """
    ordered = blobs.select(["sha256", "size"]).sort_by("sha256").combine_chunks()
    names, sizes = ordered["sha256"], ordered["size"].to_numpy()
    earlier = {shard.prefix: shard for shard in previous}
    folder.mkdir(parents=True, exist_ok=True)
    shards = []
    for leaf in plan_shards(sort_keys(as_names(names)), sizes):
        wanted = names.slice(leaf.start, leaf.stop - leaf.start).to_pylist()
        digest = _digest_keys(wanted)
        kept = earlier.get(leaf.prefix)
        if kept is None or kept.rows != len(wanted) or _written_keys(folder / kept.name) != digest:
            near = sorted((one for one in previous if _overlap(one.prefix, leaf.prefix)), key=lambda one: one.prefix)
            content = _collect(folder, near, wanted, sizes[leaf.start : leaf.stop].tolist(), read)
            kept = _write_shard(folder, leaf.prefix, digest, content, int(sizes[leaf.start : leaf.stop].sum()))
        failpoint(f"{folder.name}.shard")
        shards.append(kept)
    sync_folder(folder)
    return tuple(shards)


def locate_rows(blobs: Sequence[str] | pa.ChunkedArray, shards: Sequence[Shard]) -> tuple[pa.Array, pa.Array]:
    """The shard's name and the row in it of each sha256 of the sorted `blobs`, which are all that `shards` hold: two columns."""
    counts = [shard.rows for shard in shards]
    if sum(counts) != len(blobs):
        raise ValueError(f"{sum(counts)} rows in shards for {len(blobs)} blobs")
    numbers = np.repeat(np.arange(len(shards), dtype=np.int32), counts)
    rows = np.concatenate([np.arange(count, dtype=np.int32) for count in counts]) if counts else np.zeros(0, np.int32)
    names = pa.array([shard.name for shard in shards], pa.string())
    return names.take(pa.array(numbers)), pa.array(rows)


def read_blobs(folder: Path, name: str) -> Iterator[tuple[str, bytes]]:
    """The (sha256, content) pairs of one shard in their order, a few megabytes at a time.

    Raises MissingArtifact where there is no such shard, IntegrityError where it is none.
    """
    require_artifact(folder / name)
    try:
        with _open(folder / name) as file:
            for group in range(file.num_row_groups):
                yield from _pairs(file.read_row_group(group, columns=BLOBS.names))
    except (pa.ArrowException, OSError, KeyError) as error:
        raise _broken(folder / name, error) from error


def read_some(folder: Path, wanted: Mapping[str, Sequence[int]]) -> Iterator[tuple[str, bytes]]:
    """The (sha256, content) pairs of some rows, by shard: shards in their order, rows in theirs, each once.

    Reads only the row groups that hold them. Raises as `read_blobs` does.
    """
    for name in sorted(wanted):
        require_artifact(folder / name)
        try:
            with _open(folder / name) as file:
                starts = _starts(file)
                rows = np.unique(np.asarray(wanted[name], dtype=np.int64))
                groups = np.searchsorted(starts, rows, side="right") - 1
                for group in np.unique(groups).tolist():
                    table = file.read_row_group(group, columns=BLOBS.names)
                    yield from _pairs(table.take(pa.array(rows[groups == group] - starts[group])))
        except (pa.ArrowException, OSError, KeyError) as error:
            raise _broken(folder / name, error) from error


def read_blob(folder: Path, name: str, row: int) -> tuple[str, bytes]:
    """The (sha256, content) of one row. Quick for neighbours: the last row groups that a process read stay in memory."""
    require_artifact(folder / name)
    try:
        starts = _opened(folder / name)[1]
        group = int(np.searchsorted(starts, row, side="right")) - 1
        table = _group(folder / name, group)
        at = row - int(starts[group])
        return table["sha256"][at].as_py(), table["content"][at].as_py()
    except (pa.ArrowException, OSError, KeyError, IndexError) as error:
        raise _broken(folder / name, error) from error


def verify_shards(folder: Path, shards: Sequence[Shard]) -> None:
    """Raise IntegrityError, and name it, where a shard is missing or its bytes are not those that were written."""
    for shard in shards:
        path = folder / shard.name
        if not path.is_file() or path.stat().st_size != shard.size or file_digest(path) != shard.sha256:
            raise _broken(path, "its bytes have changed" if path.is_file() else "it is missing")


def remove_strays(folder: Path, shards: Sequence[Shard]) -> None:
    """Remove shards that are not among `shards`, and drafts of shards that a killed process left."""
    named = {shard.name for shard in shards}
    for pattern in ("photos-*.parquet", "photos-*.part", ".photos-*.draft"):
        for path in folder.glob(pattern):
            if path.name not in named:
                path.unlink()


def as_names(column: pa.ChunkedArray | pa.Array) -> Names:
    """A column of sha256s, none of them null, as an array."""
    chunks = column.chunks if isinstance(column, pa.ChunkedArray) else [column]
    parts = [np.frombuffer(one.buffers()[2] or b"", np.uint8)[_span(one)].view("S64") for one in chunks if len(one)]
    return np.concatenate(parts) if parts else np.zeros(0, "S64")


def as_column(names: Names) -> pa.Array:
    """An array of sha256s, all of them known, as a column."""
    offsets = np.arange(0, 64 * len(names) + 1, 64, dtype=np.int32)
    return pa.Array.from_buffers(
        pa.string(), len(names), [None, pa.py_buffer(offsets), pa.py_buffer(np.ascontiguousarray(names))]
    )


def sort_keys(names: Names) -> NDArray[np.uint64]:
    """The first 64 bits of each sha256: they sort as the names do."""
    letters = np.ascontiguousarray(names).view(np.uint8).reshape(-1, 64)[:, :16]
    digits = np.where(letters >= ord("a"), letters - (ord("a") - 10), letters - ord("0")).reshape(-1, 8, 2)
    return np.ascontiguousarray(digits[:, :, 0] << 4 | digits[:, :, 1]).view(">u8")[:, 0].astype(np.uint64)


def _span(column: pa.Array) -> slice:
    """Where the letters of a column of sha256s lie in its buffer."""
    first = int(np.frombuffer(column.buffers()[1], np.int32)[column.offset])
    return slice(first, first + 64 * len(column))


class _Tally:
    """A file that is written once from its beginning to its end, and hashed on the way."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._hasher, self.size, self.closed = file, hashlib.sha256(), 0, False

    def write(self, content: bytes) -> int:
        self._hasher.update(content)
        self.size += len(content)
        return self._file.write(content)

    def tell(self) -> int:
        return self.size

    def flush(self) -> None:
        self._file.flush()

    def close(self) -> None:
        self.closed = True

    def digest(self) -> str:
        return self._hasher.hexdigest()


def _write_shard(folder: Path, prefix: str, keys: bytes, content: Iterator[tuple[str, bytes]], size: int) -> Shard:
    """Write one shard under the name that its bytes give it."""
    place = folder / f"photos-{prefix or 'all'}.part"
    rows = 0
    with file_draft(place, size + _OVERHEAD) as draft, draft.open("wb") as file:
        tally = _Tally(file)
        schema = BLOBS.with_metadata({_KEYS: keys})
        options = {"compression": "none", "use_dictionary": False, "write_statistics": ["sha256"], "write_page_checksum": True}
        with pq.ParquetWriter(pa.PythonFile(tally, mode="w"), schema, **options) as writer:
            for group in _groups(content):
                names, blobs = zip(*group, strict=True)
                writer.write_table(pa.Table.from_arrays([pa.array(names), pa.array(blobs, pa.binary())], schema=schema))
                rows += len(group)
        file.flush()
        os.fsync(file.fileno())
    shard = Shard(
        name=f"photos-{prefix or 'all'}-{tally.digest()[:12]}.parquet",
        prefix=prefix,
        rows=rows,
        size=tally.size,
        sha256=tally.digest(),
    )
    place.replace(folder / shard.name)
    return shard


def _groups(content: Iterator[tuple[str, bytes]]) -> Iterator[list[tuple[str, bytes]]]:
    group: list[tuple[str, bytes]] = []
    size = 0
    for pair in content:
        if group and (len(group) == GROUP_ROWS or size + len(pair[1]) > GROUP_BYTES):
            yield group
            group, size = [], 0
        group.append(pair)
        size += len(pair[1])
    if group:
        yield group


def _collect(
    folder: Path, near: Sequence[Shard], wanted: Sequence[str], sizes: Sequence[int], read: Callable[[str], bytes]
) -> Iterator[tuple[str, bytes]]:
    """The wanted blobs in their order: from the shards `near`, which are sorted as they are, or else from `read`."""
    there = (pair for shard in near for pair in read_blobs(folder, shard.name))
    held = next(there, None)
    for name, size in zip(wanted, sizes, strict=True):
        while held is not None and held[0] < name:
            held = next(there, None)
        content = held[1] if held is not None and held[0] == name else read(name)
        if len(content) != size:
            raise IntegrityError(
                f"a blob of {len(content):,} bytes where {size:,} were promised",
                where=name,
                advice="run it again from the source",
            )
        yield name, content


def _overlap(one: str, other: str) -> bool:
    return one.startswith(other) or other.startswith(one)


def _digest_keys(names: Sequence[str]) -> bytes:
    return hashlib.sha256("".join(names).encode()).hexdigest().encode()


def _written_keys(path: Path) -> bytes:
    """The digest of the keys that a shard says it holds; nothing where there is no such shard."""
    try:
        return bytes((pq.read_metadata(path).metadata or {}).get(_KEYS, b""))
    except (pa.ArrowException, OSError):
        return b""


def _pairs(table: pa.Table) -> Iterator[tuple[str, bytes]]:
    return zip(table["sha256"].to_pylist(), table["content"].to_pylist(), strict=True)


def _open(path: Path) -> pq.ParquetFile:
    return pq.ParquetFile(path, page_checksum_verification=True)


def _starts(file: pq.ParquetFile) -> NDArray[np.int64]:
    """The first row of each row group."""
    counts = [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)]
    return np.cumsum([0, *counts[:-1]], dtype=np.int64)


@lru_cache(maxsize=4)
def _opened(path: Path) -> tuple[pq.ParquetFile, NDArray[np.int64]]:
    file = _open(path)
    return file, _starts(file)


@lru_cache(maxsize=2)
def _group(path: Path, group: int) -> pa.Table:
    return _opened(path)[0].read_row_group(group, columns=BLOBS.names)


def _broken(path: Path, why: object) -> IntegrityError:
    return IntegrityError(f"not a shard as it was written: {why}", where=str(path), advice="restore it, or run it again")
