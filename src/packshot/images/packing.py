"""Filling splits with square pictures: copied from an earlier version where they stand there, else decoded on every core."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from packshot.errors import IntegrityError, MissingArtifact
from packshot.failpoints import failpoint
from packshot.images.colour import Colour, HexColour, parse_colour
from packshot.images.fingerprint import Pixels, pixel_digest
from packshot.images.resize import fit_square
from packshot.images.shards import SPLITS, draft_pixels, find_file, keep_pixels, open_index, open_pixels
from packshot.images.sheet import decode_png
from packshot.images.store import Names, as_names, read_some
from packshot.records import Dataset, StoredFile

VERSION = "1"
"""Of what this module makes of stored pixels. It changes when any packed picture does, and by nothing else."""

Ints = NDArray[np.int64]

_AHEAD = 64
"""Photos under way: enough that no core waits, little enough that memory stays flat."""
_COPIED = 2048
"""Pictures copied at once."""
_PROGRESS_EVERY = 2000

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Square:
    """What a stored photo is packed to."""

    side: int
    background: HexColour
    """What stands beside a photo that is not square."""

    @property
    def recipe(self) -> str:
        """The sha256 of the shape and of this module's VERSION: pictures packed under the same one need no decoding again."""
        return hashlib.sha256(json.dumps([VERSION, self.side, self.background]).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Earlier:
    """The pictures of an earlier version, verified: each photo's id, digests, split and row."""

    dataset: Dataset
    images: tuple[NDArray[np.uint8], ...]
    """By split, in the order of SPLITS."""
    ids: pa.Array
    stored: pa.Array
    packed: Names
    splits: Ints
    rows: Ints


def read_earlier(folder: Path, square: Square) -> Earlier | None:
    """What `folder` holds, where it is whole and packed by the same recipe."""
    try:
        dataset = Dataset.read(folder / "dataset.json")
        if dataset.recipe != square.recipe:
            return None
        images = tuple(open_pixels(folder, dataset, name) for name in SPLITS)
        tables = [open_index(folder, dataset, name, ["id", "stored", "packed"]) for name in SPLITS]
    except MissingArtifact:
        return None
    except IntegrityError as fault:
        log.info("prepare: what stands there is not used again: %s", fault)
        return None
    counts = [table.num_rows for table in tables]
    if counts != [len(pixels) for pixels in images]:
        return None
    table = pa.concat_tables(tables).combine_chunks()
    return Earlier(
        dataset=dataset,
        images=images,
        ids=table["id"],
        stored=table["stored"],
        packed=as_names(table["packed"]),
        splits=np.repeat(np.arange(len(SPLITS)), counts),
        rows=np.concatenate([np.arange(count) for count in counts]),
    )


def pack_splits(
    photos: pa.Table, chosen: Sequence[Ints], source: Path, folder: Path, square: Square
) -> tuple[Names, list[StoredFile]]:
    """Pack photos into the splits' pixel files in `folder`: each packed picture's digest, by photo, and the files.

    `photos` are rows of the manifest of `source`, and `chosen` each split's rows of them, in its order. Raises IntegrityError
    where a photo is not the one that was ingested, OutOfResources on a full disk.
    """
    earlier = read_earlier(folder, square)
    origin = _find_packed(photos, earlier)
    digests = np.zeros(photos.num_rows, dtype="S64")
    kept: dict[int, StoredFile] = {}
    with ExitStack() as drafts:
        places = np.full(photos.num_rows, -1)
        pixels: dict[int, NDArray[np.uint8]] = {}
        for split, rows in enumerate(chosen):
            known = rows[origin[rows] >= 0]
            if earlier is not None:
                digests[known] = earlier.packed[origin[known]]
                if (same := _unchanged(earlier, split, origin[rows])) is not None:
                    kept[split] = same
                    continue
            pixels[split] = drafts.enter_context(draft_pixels(folder, SPLITS[split], len(rows), square.side))
            places[rows] = np.arange(len(rows))
            if earlier is not None:
                _copy(earlier, origin[known], pixels[split], places[known])
        placed = np.concatenate([np.full(len(rows), split) for split, rows in enumerate(chosen)])
        rows = np.concatenate(list(chosen))
        fresh = origin[rows] < 0
        splits = dict(zip(rows[fresh].tolist(), placed[fresh].tolist(), strict=True))
        log.info("prepare: %s photos to pack, %s packed before", f"{len(splits):,}", f"{len(rows) - len(splits):,}")
        for count, (row, picture, digest) in enumerate(_pack_fresh(photos, rows[fresh], source, square), 1):
            pixels[splits[row]][places[row]] = picture.transpose(2, 0, 1)
            digests[row] = digest.encode()
            failpoint("prepare.photo")
            if count % _PROGRESS_EVERY == 0:
                log.info("prepare: %s of %s photos packed", f"{count:,}", f"{len(splits):,}")
    files = []
    for split, name in enumerate(SPLITS):
        files.append(kept.get(split) or keep_pixels(folder, name))
        failpoint("prepare.packed")
    return digests, files


def _find_packed(photos: pa.Table, earlier: Earlier | None) -> Ints:
    """For each photo its place in the earlier version, (N,), -1 where it is not there with the same pixels."""
    if earlier is None or not len(earlier.ids):
        return np.full(photos.num_rows, -1)
    found = pc.index_in(photos["sha256"], value_set=earlier.ids)
    same = pc.fill_null(pc.equal(earlier.stored.take(found), photos["pixels"]), fill_value=False)
    origin: Ints = pc.if_else(same, found, -1).to_numpy().astype(np.int64)
    return origin


def _unchanged(earlier: Earlier, split: int, origin: Ints) -> StoredFile | None:
    """The earlier file of a split that is to hold just the same pictures."""
    if len(origin) != len(earlier.images[split]) or (origin < 0).any():
        return None
    if (earlier.splits[origin] != split).any() or (earlier.rows[origin] != np.arange(len(origin))).any():
        return None
    return find_file(earlier.dataset, f"{SPLITS[split]}-pixels")


def _copy(earlier: Earlier, origin: Ints, pixels: NDArray[np.uint8], places: Ints) -> None:
    for split, images in enumerate(earlier.images):
        mine = np.flatnonzero(earlier.splits[origin] == split)
        for start in range(0, len(mine), _COPIED):
            some = mine[start : start + _COPIED]
            pixels[places[some]] = images[earlier.rows[origin[some]]]


def _pack_fresh(photos: pa.Table, rows: Ints, source: Path, square: Square) -> Iterator[tuple[int, Pixels, str]]:
    """Each photo's row, picture (S, S, 3) and digest, in the order in which they are stored."""
    told = photos.take(pa.array(rows)).select(["sha256", "pixels", "path", "shard", "row"]).append_column("at", pa.array(rows))
    told = told.sort_by([("shard", "ascending"), ("row", "ascending")])
    wanted = {
        name: told.filter(pc.equal(told["shard"], name))["row"].to_pylist() for name in pc.unique(told["shard"]).to_pylist()
    }
    background = parse_colour(square.background)
    facts = zip(*(told[name].to_pylist() for name in ("at", "sha256", "pixels", "path")), strict=True)
    waiting: deque[tuple[int, Future[tuple[Pixels, str]]]] = deque()
    with ThreadPoolExecutor(_cores()) as pool:
        for (at, sha256, digest, path), (name, png) in zip(facts, read_some(source, wanted), strict=True):
            if name != sha256:
                raise _not_as_ingested(path)
            waiting.append((at, pool.submit(_pack, png, digest, path, square.side, background)))
            if len(waiting) >= _AHEAD:
                first, done = waiting.popleft()
                yield (first, *done.result())
        while waiting:
            first, done = waiting.popleft()
            yield (first, *done.result())


def _pack(png: bytes, digest: str, path: str, side: int, background: Colour) -> tuple[Pixels, str]:
    """The photo squared, and proven to be the one that was ingested."""
    try:
        pixels = decode_png(png)
    except ValueError:
        raise _not_as_ingested(path) from None
    if pixel_digest(pixels) != digest:
        raise _not_as_ingested(path)
    picture = fit_square(pixels, side, background)
    return picture, pixel_digest(picture)


def _not_as_ingested(what: str) -> IntegrityError:
    return IntegrityError("the photos are not those that were ingested", where=what, advice="run the stage 'ingest' again")


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
