"""What photos became, kept on disk as it comes, so that a killed ingest does not begin again.

Metadata goes into segments: Parquet files of consecutive outcomes, each written when it is full and its pictures, in a file
of their own, are safe. What the process was at when it was killed is taken in once more.
"""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from packshot.errors import IntegrityError
from packshot.failpoints import failpoint
from packshot.images.manifest import MEASURES, SEEN
from packshot.images.store import Names, as_names
from packshot.records import BadPhoto, file_draft, take_room
from packshot.sources.intake import Intake

SEGMENT_ROWS = 1024
"""Outcomes that a kill can cost."""

DECIDED = frozenset(
    {"TRUNCATED", "NOT_AN_IMAGE", "FORMAT", "EXTENSION", "TOO_LARGE", "ANIMATED", "TRAILING", "CORRUPT"}  # images.decode
)
"""Reasons that a file's bytes and ending decide alone. Others may be gone the next time: they are tried again."""

_SEGMENT = pa.schema(
    [
        *(one.with_nullable(one.name != "sha256") for one in SEEN),
        pa.field("offset", pa.int64(), nullable=False),
        pa.field("suffix", pa.string()),
        pa.field("reason", pa.string()),
        pa.field("detail", pa.string()),
    ]
)
"""An accepted photo has no suffix, reason and detail; a refused one nothing else but the sha256."""

_RECIPE = b"packshot.recipe"
_measured = attrgetter(*MEASURES)

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why bytes of a certain ending cannot become a photo."""

    reason: str
    detail: str


Refusals = Mapping[tuple[str, str], Refusal]
"""By sha256 and suffix."""


class Spool:
    """The outcomes under one recipe, in a folder of their own."""

    def __init__(self, folder: Path, recipe: str) -> None:
        self._folder, self._recipe = folder, recipe
        self._segments: list[pa.Table] = []
        self._rows: list[tuple[object, ...]] = []
        folder.mkdir(parents=True, exist_ok=True)
        try:
            paths = sorted(folder.glob("*.parquet"))
            self._segments = [_read_segment(path, recipe) for path in paths]
            self._number = 1 + int(paths[-1].stem) if paths else 0
            self._end = max((_end(table) for table in self._segments), default=0)
            if self._end > (self._pictures.stat().st_size if paths else 0):
                raise ValueError("pictures are missing")
        except (ValueError, OSError, pa.ArrowException) as fault:
            log.info("what an earlier ingest had begun cannot be used: %s", fault)
            shutil.rmtree(folder)
            folder.mkdir()
            self._segments, self._number, self._end = [], 0, 0
        self._file = os.open(self._pictures, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        os.ftruncate(self._file, self._end)
        self._names: Names = np.zeros(0, "S64")
        self._offsets: NDArray[np.int64] = np.zeros(0, np.int64)
        self._sizes: NDArray[np.int64] = np.zeros(0, np.int64)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        os.close(self._file)

    def add(self, outcome: Intake | BadPhoto, suffix: str) -> None:
        """Keep one outcome of a photo with this ending, where its bytes decide it. Raises OutOfResources on a full disk."""
        if isinstance(outcome, BadPhoto):
            if outcome.sha256 and outcome.reason in DECIDED:
                nothing = [None] * (len(SEEN) - 1)
                self._rows.append((outcome.sha256, *nothing, 0, suffix, outcome.reason, outcome.detail))
        else:
            self._rows.append((*_row(outcome), self._end, None, None, None))
            self._append(outcome.png)
        if len(self._rows) >= SEGMENT_ROWS:
            self.flush()

    def flush(self) -> None:
        """Make safe what was added. Raises OutOfResources on a full disk."""
        if not self._rows:
            return
        os.fsync(self._file)
        columns = [pa.array(column, field.type) for column, field in zip(zip(*self._rows, strict=True), _SEGMENT, strict=True)]
        table = pa.Table.from_arrays(columns, schema=_SEGMENT)
        with file_draft(self._folder / f"{self._number:08d}.parquet", table.nbytes) as draft, draft.open("wb") as file:
            pq.write_table(table.replace_schema_metadata({_RECIPE: self._recipe}), file, write_page_checksum=True)
            file.flush()
            os.fsync(file.fileno())
        self._segments.append(table)
        self._number += 1
        self._rows = []
        failpoint("ingest.spooled")

    @property
    def seen(self) -> pa.Table:
        """The accepted photos that are safe: the columns SEEN."""
        return self._accepted().select(SEEN.names).cast(SEEN)

    @property
    def refused(self) -> dict[tuple[str, str], Refusal]:
        """The refused files that are safe."""
        return {
            (row["sha256"], row["suffix"]): Refusal(row["reason"], row["detail"])
            for table in self._segments
            for row in table.filter(table["reason"].is_valid()).select(["sha256", "suffix", "reason", "detail"]).to_pylist()
        }

    def read(self, sha256: str) -> bytes:
        """The stored picture of an accepted photo that is safe. Raises IntegrityError where there is none."""
        if not len(self._names):
            table = self._accepted()
            names = as_names(table["sha256"])
            order = np.argsort(names, kind="stable")
            self._names, self._offsets = names[order], table["offset"].to_numpy()[order]
            self._sizes = table["stored_bytes"].to_numpy()[order]
        name = np.bytes_(sha256)
        at = int(np.searchsorted(self._names, name))
        if at == len(self._names) or self._names[at] != name:
            raise IntegrityError("a photo's picture is nowhere", where=sha256, advice="run the stage 'ingest' again")
        return os.pread(self._file, int(self._sizes[at]), int(self._offsets[at]))

    @property
    def _pictures(self) -> Path:
        return self._folder / "pictures"

    def _accepted(self) -> pa.Table:
        tables = [table.filter(table["reason"].is_null()) for table in self._segments]
        return pa.concat_tables(tables) if tables else _SEGMENT.empty_table()

    def _append(self, content: bytes) -> None:
        with take_room(self._pictures, len(content)):
            written = os.pwrite(self._file, content, self._end)
            while written < len(content):
                written += os.pwrite(self._file, content[written:], self._end + written)
        self._end += len(content)


def _row(photo: Intake) -> tuple[object, ...]:
    """In the order of SEEN."""
    prints = photo.prints
    return (
        photo.sha256,
        photo.pixels,
        photo.format,
        photo.width,
        photo.height,
        photo.file_bytes,
        len(photo.png),
        prints.phash,
        prints.phash_mirrored,
        prints.layout,
        photo.shape,
        *_measured(photo.measures),
    )


def _read_segment(path: Path, recipe: str) -> pa.Table:
    table = pq.read_table(path, page_checksum_verification=True)
    if (table.schema.metadata or {}).get(_RECIPE) != recipe.encode():
        raise ValueError("it was made by another recipe")
    return table.replace_schema_metadata(None).cast(_SEGMENT)


def _end(table: pa.Table) -> int:
    ends = np.add(table["offset"].to_numpy(), table["stored_bytes"].fill_null(0).to_numpy())
    return int(ends.max(initial=0))
