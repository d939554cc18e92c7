"""A packed split of the dataset: `<split>-pixels.npy`, uint8 (N, 3, S, S), and `<split>-index.parquet`, one row a picture."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from packshot.errors import IntegrityError
from packshot.records import file_draft, require_artifact, write_bytes

SplitName = Literal["train", "val", "test"]
SPLITS: tuple[SplitName, ...] = get_args(SplitName)

INDEX = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("category", pa.int64(), nullable=False),
        pa.field("group", pa.string(), nullable=False),
        pa.field("path", pa.string(), nullable=False),
    ]
)
"""`id` is the sha256 of the photo's file, `category` its number in Dataset.categories, `group` its near-duplicates' key."""


@dataclass(frozen=True, slots=True)
class Split:
    """One split in memory; `images` stays on disk until it is read."""

    images: NDArray[np.uint8]
    """(N, 3, S, S)."""
    categories: NDArray[np.int64]
    """(N,)."""
    ids: tuple[str, ...]
    groups: tuple[str, ...]
    conditions: NDArray[np.float32] = field(default_factory=lambda: np.zeros((0, 0), dtype=np.float32))
    """(N, D), as images.conditions encodes them; (N, 0) where there are none."""

    def __post_init__(self) -> None:
        if not self.conditions.size:
            object.__setattr__(self, "conditions", np.zeros((len(self.ids), 0), dtype=np.float32))

    def __len__(self) -> int:
        return len(self.ids)


@contextmanager
def pixel_file(folder: Path, name: SplitName, count: int, side: int) -> Iterator[NDArray[np.uint8]]:
    """Fill `<split>-pixels.npy` in place, picture by picture and larger than memory: uint8 (count, 3, side, side).

    The file appears, durably, when the block ends well; otherwise nothing is left. Raises OutOfResources on a full disk.
    """
    path = folder / f"{name}-pixels.npy"
    folder.mkdir(parents=True, exist_ok=True)
    with file_draft(path, count * 3 * side * side) as draft:
        pixels = np.lib.format.open_memmap(draft, mode="w+", dtype=np.uint8, shape=(count, 3, side, side))
        with draft.open("r+b") as file:
            # Take the room now: a page that finds none when it is written ends the process with SIGBUS. (macOS cannot.)
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file.fileno(), 0, draft.stat().st_size)
            yield pixels
            pixels.flush()
            os.fsync(file.fileno())


def save_index(
    folder: Path, name: SplitName, categories: Sequence[int], ids: Sequence[str], groups: Sequence[str], paths: Sequence[str]
) -> None:
    """Write `<split>-index.parquet`, all or nothing; the four columns are of one length."""
    columns = [ids, categories, groups, paths]
    arrays = [pa.array(column, type=field.type) for column, field in zip(columns, INDEX, strict=True)]
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_arrays(arrays, schema=INDEX), sink, compression="zstd")
    write_bytes(folder / f"{name}-index.parquet", sink.getvalue())


def load_split(folder: Path, name: SplitName) -> Split:
    """Read a split that prepare packed; the pixels are a read-only memory map.

    Raises MissingArtifact where the split was never packed, IntegrityError where its two files do not belong together.
    """
    pixels, index = folder / f"{name}-pixels.npy", folder / f"{name}-index.parquet"
    for path in (pixels, index):
        require_artifact(path)
    try:
        images = np.load(pixels, mmap_mode="r", allow_pickle=False)
        table = pq.read_table(index, schema=INDEX)
    except (ValueError, EOFError, OSError, pa.ArrowException) as error:
        raise IntegrityError(
            f"not a packed split: {error}", where=str(pixels), advice=f"run the stage '{folder.name}' again"
        ) from error
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1] != 3 or len(images) != table.num_rows:
        raise IntegrityError(
            f"pixels {images.dtype} {images.shape} do not fit an index of {table.num_rows} rows",
            where=str(pixels),
            advice=f"run the stage '{folder.name}' again",
        )
    return Split(
        images=images,
        categories=table["category"].to_numpy().astype(np.int64),
        ids=tuple(table["id"].to_pylist()),
        groups=tuple(table["group"].to_pylist()),
    )
