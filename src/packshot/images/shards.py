"""A packed split of the dataset: pixels, uint8 (N, 3, S, S), in one .npy, and an index in Parquet with one row a picture.

Files are named by what they hold, `train-pixels-<digest>.npy`, and dataset.json, written last, names those that belong together:
a reader sees the old version whole or the new one whole.
"""

from __future__ import annotations

import hashlib
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

from packshot.errors import IntegrityError, MissingArtifact
from packshot.images.conditions import encode_conditions
from packshot.records import Dataset, StoredFile, file_digest, file_draft, write_bytes

SplitName = Literal["train", "val", "test"]
SPLITS: tuple[SplitName, ...] = get_args(SplitName)

INDEX = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("category", pa.int64(), nullable=False),
        pa.field("group", pa.string(), nullable=False),
        pa.field("path", pa.string(), nullable=False),
        pa.field("generation", pa.int32(), nullable=False),
        pa.field("stored", pa.string(), nullable=False),
        pa.field("packed", pa.string(), nullable=False),
    ]
)
"""`id` is the sha256 of the photo's file, `category` its number in Dataset.categories, `group` its group's anchor; `stored` is
the digest of the pixels that ingest stored, `packed` of those that stand here. The attributes named as conditions follow."""


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
def draft_pixels(folder: Path, name: SplitName, count: int, side: int) -> Iterator[NDArray[np.uint8]]:
    """Fill a split's pixels in place, picture by picture and larger than memory: uint8 (count, 3, side, side).

    When the block ends well, `keep_pixels` gives the file its name; otherwise nothing is left.
    Raises OutOfResources on a full disk.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with file_draft(_part(folder, name), count * 3 * side * side) as draft:
        pixels = np.lib.format.open_memmap(draft, mode="w+", dtype=np.uint8, shape=(count, 3, side, side))
        with draft.open("r+b") as file:
            # Take the room now: a page that finds none when it is written ends the process with SIGBUS. (macOS cannot.)
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file.fileno(), 0, draft.stat().st_size)
            yield pixels
            pixels.flush()
            os.fsync(file.fileno())


def keep_pixels(folder: Path, name: SplitName) -> StoredFile:
    """Name the pixels that were drafted by what they hold."""
    part = _part(folder, name)
    stored = _named(f"{name}-pixels", ".npy", part.stat().st_size, file_digest(part))
    part.replace(folder / stored.name)
    return stored


def save_table(folder: Path, stem: str, table: pa.Table) -> StoredFile:
    """Write a table, all or nothing, under a name that begins with `stem` and says what it holds. Raises OutOfResources."""
    sink = io.BytesIO()
    pq.write_table(table.combine_chunks(), sink, compression="zstd", row_group_size=65_536)
    content = sink.getvalue()
    stored = _named(stem, ".parquet", len(content), hashlib.sha256(content).hexdigest())
    write_bytes(folder / stored.name, content)
    return stored


def find_file(dataset: Dataset, stem: str) -> StoredFile | None:
    """The file of a dataset whose name begins with `stem`: 'train-pixels', 'train-index' ..."""
    return next((file for file in dataset.files if file.name.rsplit("-", 1)[0] == stem), None)


def verify_file(folder: Path, file: StoredFile) -> None:
    """Raise IntegrityError where a file is missing or its bytes are not those that were written."""
    path = folder / file.name
    if not path.is_file() or path.stat().st_size != file.size or file_digest(path) != file.sha256:
        raise _broken(path, "its bytes have changed" if path.is_file() else "it is missing")


def open_pixels(folder: Path, dataset: Dataset, name: SplitName) -> NDArray[np.uint8]:
    """A split's pixels as a read-only memory map, verified. Raises IntegrityError."""
    path = _verified(folder, dataset, f"{name}-pixels")
    try:
        pixels = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise _broken(path, error) from error
    if pixels.dtype != np.uint8 or pixels.ndim != 4 or pixels.shape[1:] != dataset.image.shape:
        raise _broken(path, f"{pixels.dtype} {pixels.shape} where {dataset.image.shape} pictures were packed")
    return pixels  # type: ignore[no-any-return]


def open_index(folder: Path, dataset: Dataset, name: SplitName, columns: Sequence[str] | None = None) -> pa.Table:
    """A split's index, verified. Raises IntegrityError."""
    path = _verified(folder, dataset, f"{name}-index")
    try:
        table = pq.read_table(path, columns=list(columns) if columns is not None else None)
    except (pa.ArrowException, OSError) as error:
        raise _broken(path, error) from error
    wanted = columns if columns is not None else [*INDEX.names, *(condition.name for condition in dataset.conditions)]
    if missing := [column for column in wanted if column not in table.column_names]:
        raise _broken(path, f"it lacks {', '.join(missing)}")
    return table


def load_split(folder: Path, name: SplitName) -> Split:
    """Read a split that prepare packed; the pixels are a read-only memory map.

    Raises MissingArtifact where the split was never packed, IntegrityError where its files are not those that dataset.json names.
    """
    dataset = Dataset.read(folder / "dataset.json")
    images, index = open_pixels(folder, dataset, name), open_index(folder, dataset, name)
    if len(images) != index.num_rows:
        raise _broken(folder / name, f"{len(images)} pictures and an index of {index.num_rows} rows")
    columns = {condition.name: index[condition.name].to_pylist() for condition in dataset.conditions}
    return Split(
        images=images,
        categories=index["category"].to_numpy().astype(np.int64),
        ids=tuple(index["id"].to_pylist()),
        groups=tuple(index["group"].to_pylist()),
        conditions=encode_conditions(dataset.conditions, columns, index.num_rows),
    )


def require_unchanged(folder: Path, dataset: Dataset, name: SplitName) -> None:
    """Raise IntegrityError where what `load_split` read is no longer what stands there."""
    try:
        same = Dataset.read(folder / "dataset.json") == dataset
        for stem in (f"{name}-pixels", f"{name}-index"):
            _verified(folder, dataset, stem)
    except (MissingArtifact, IntegrityError):
        same = False
    if not same:
        advice = "bring the data back and run it again: it goes on from where it stood; or let prepare and train run anew"
        raise IntegrityError("the data changed while they were trained on", where=str(folder), advice=advice)


def remove_strays(folder: Path, dataset: Dataset) -> None:
    """Remove what `dataset` does not name: earlier versions and the drafts of killed runs. What DVC keeps there stays."""
    named = {"dataset.json", ".gitignore", *(file.name for file in dataset.files)}
    for path in folder.iterdir():
        if path.name not in named and not path.is_dir():
            path.unlink()


def _part(folder: Path, name: SplitName) -> Path:
    return folder / f"{name}-pixels.part"


def _named(stem: str, suffix: str, size: int, digest: str) -> StoredFile:
    return StoredFile(name=f"{stem}-{digest[:12]}{suffix}", size=size, sha256=digest)


def _verified(folder: Path, dataset: Dataset, stem: str) -> Path:
    file = find_file(dataset, stem)
    if file is None:
        raise _broken(folder / stem, "dataset.json names no such file")
    verify_file(folder, file)
    return folder / file.name


def _broken(path: Path, why: object) -> IntegrityError:
    return IntegrityError(f"not a packed split: {why}", where=str(path), advice=f"run the stage '{path.parent.name}' again")
