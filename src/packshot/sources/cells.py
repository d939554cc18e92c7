"""Photos that stand in a column of a Parquet file, read one by one without holding the column."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePath

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from packshot.images.decode import MAX_BYTES, PictureError
from packshot.sources.base import Encoded

MAGIC = ((b"\xff\xd8\xff", ".jpg"), (b"\x89PNG\r\n\x1a\n", ".png"))
"""What photos begin with, besides WebP's 'RIFF....WEBP'."""

_ROWS = 16
_BUFFER = 1 << 20


@dataclass(frozen=True, slots=True)
class Cell(Encoded):
    """One cell of a Parquet file. Neighbours are quick to read: each thread keeps its place in the last file that it read."""

    path: Path
    column: str
    """Its dotted path: 'photo', or 'image.bytes' for a field of a struct."""
    row: int
    name: str = ""
    """What stands beside it as its name, if anything does."""

    @property
    def suffix(self) -> str:
        """The name's ending; where there is none, the one that the bytes ask for."""
        return PurePath(self.name).suffix or sniff_suffix(self.read())

    def read(self) -> bytes:
        try:
            content = _reader(self.path, self.column).read(self.row)
        except (OSError, pa.ArrowException) as error:
            _place.reader = None
            raise PictureError("UNREADABLE", str(error).splitlines()[0] or type(error).__name__) from error
        if content is None:
            raise PictureError("MISSING", "the cell is empty")
        if len(content) > MAX_BYTES:
            raise PictureError("TOO_LARGE", f"{len(content):,} bytes; {MAX_BYTES:,} are allowed")
        return content


def sniff_suffix(content: bytes) -> str:
    """The ending that a photo's bytes ask for; '' where they are no photo's."""
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return ".webp"
    return next((suffix for start, suffix in MAGIC if content.startswith(start)), "")


_Key = tuple[Path, str, int, int, int]


class _Reader:
    """A place in one column of one file: it moves forwards through a row group and begins a group anew only to go back."""

    def __init__(self, path: Path, column: str, key: _Key) -> None:
        self.key = key
        self._file = pq.ParquetFile(path, buffer_size=_BUFFER, pre_buffer=False)
        self._column = column
        counts = [self._file.metadata.row_group(group).num_rows for group in range(self._file.num_row_groups)]
        self._starts = np.cumsum([0, *counts])
        self._batches: Iterator[pa.RecordBatch] = iter(())
        self._group, self._first = -1, 0
        self._batch: pa.Array | None = None

    def read(self, row: int) -> bytes | None:
        group = int(np.searchsorted(self._starts, row, side="right")) - 1
        if not 0 <= group < len(self._starts) - 1:
            raise pa.ArrowInvalid("the file has no such row")
        if group != self._group or row < self._first:
            self._batches = self._file.iter_batches(batch_size=_ROWS, row_groups=[group], columns=[self._column])
            self._group, self._first, self._batch = group, int(self._starts[group]), None
        while self._batch is None or row >= self._first + len(self._batch):
            self._first += len(self._batch) if self._batch is not None else 0
            found = next(self._batches, None)
            if found is None:
                raise pa.ArrowInvalid("a row group ends early")
            self._batch = found.column(0)
            if pa.types.is_struct(self._batch.type):
                self._batch = self._batch.flatten()[0]
        value: bytes | None = self._batch[row - self._first].as_py()
        return value


class _Place(threading.local):
    reader: _Reader | None = None


_place = _Place()


def _reader(path: Path, column: str) -> _Reader:
    facts = path.stat()
    key = (path, column, facts.st_ino, facts.st_mtime_ns, facts.st_size)
    reader = _place.reader
    if reader is None or reader.key != key:
        reader = _place.reader = _Reader(path, column, key)
    return reader
