"""prepare: a leak-free, stable split of the catalogue, packed as square pictures of one size.

What data/prepare holds of an earlier run is used again where it was packed by the same recipe: pictures of photos that have not
changed are copied, not decoded. What comes out is the same as from nothing. New files stand beside the old ones under names of
their own until dataset.json, replaced last, makes the switch.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from packshot.errors import IntegrityError
from packshot.failpoints import failpoint
from packshot.images.conditions import encode_conditions, fit_conditions
from packshot.images.manifest import read_copies, read_manifest
from packshot.images.packing import Square, pack_splits
from packshot.images.shards import INDEX, SPLITS, remove_strays, save_table
from packshot.images.split import LEFT_OUT, Assignment, PrepareParams, assign_splits, check_splits
from packshot.images.store import Names, as_column
from packshot.layout import Layout
from packshot.records import Catalog, CategoryCount, Condition, Dataset, SplitCount

if TYPE_CHECKING:
    from packshot.params import Params

_COLUMNS = ("sha256", "pixels", "path", "sku", "category", "generation", "shard", "row")

log = logging.getLogger(__name__)


def prepare(params: Params, layout: Layout) -> Dataset:
    """Split the ingested photos and pack them: padded to squares on the background, scaled to `prepare.image.size`.

    Writes dataset.json last. Raises DataRejected where a category is too small for a split or a condition cannot be learnt,
    IntegrityError where a photo is not the one that was ingested, OutOfResources on a full disk; the earlier version then stays.
    """
    section, source, folder = params.prepare, layout.stage("ingest"), layout.stage("prepare")
    catalog = Catalog.read(source / "catalog.json")
    named = [attribute.name for attribute in catalog.attributes if attribute.name in section.conditions]
    photos = read_manifest(source / "manifest.parquet", [*_COLUMNS, *named])
    placed = _assign(photos, source, section)
    categories = tuple(sorted(pc.unique(photos["category"]).to_pylist()))
    numbers = _find(photos["category"], pa.array(categories, pa.string()))
    check_splits(categories, numbers, placed.splits, section.min_photos)
    chosen = [np.flatnonzero(placed.splits == place) for place in range(len(SPLITS))]
    conditions = _fit(catalog, section, photos.take(pa.array(chosen[SPLITS.index("train")])))
    square = Square(section.image.size, section.background)
    packed, files = pack_splits(photos, chosen, source, folder, square)
    hasher = hashlib.sha256("\n".join(categories).encode())
    counts = []
    for name, rows in zip(SPLITS, chosen, strict=True):
        index = _index(photos, rows, numbers, placed, packed)
        files.append(save_table(folder, f"{name}-index", index))
        failpoint("prepare.index")
        _digest(hasher, name, index, conditions)
        tally = np.bincount(numbers[rows], minlength=len(categories)).tolist()
        each = tuple(CategoryCount(category=one, photos=count) for one, count in zip(categories, tally, strict=True))
        counts.append(SplitCount(split=name, photos=len(rows), counts=each))
        log.info("prepare: %s photos for %s", f"{len(rows):,}", name)
    left_out = np.flatnonzero(placed.splits == LEFT_OUT)
    if len(left_out):
        files.append(
            save_table(folder, "left-out", photos.select(["sha256", "path", "sku", "category"]).take(pa.array(left_out)))
        )
        log.warning("prepare: %s photos are left out: each would join groups of different splits", f"{len(left_out):,}")
    dataset = Dataset(
        image=section.image,
        categories=categories,
        conditions=conditions,
        left_out=len(left_out),
        splits=tuple(counts),
        files=tuple(files),
        recipe=square.recipe,
        catalog=catalog.digest,
        digest=hasher.hexdigest(),
    )
    dataset.write(folder / "dataset.json")
    failpoint("prepare.dataset")
    remove_strays(folder, dataset)
    return dataset


def _assign(photos: pa.Table, source: Path, section: PrepareParams) -> Assignment:
    copies = read_copies(source / "copies.parquet")
    pairs = np.stack([_find(copies[end], photos["sha256"]) for end in ("a", "b")], axis=1)
    generations = photos["generation"].to_numpy().astype(np.int64)
    return assign_splits(photos["sha256"].to_pylist(), photos["sku"].to_pylist(), generations, pairs, section)


def _find(column: pa.ChunkedArray, among: pa.Array | pa.ChunkedArray) -> NDArray[np.int64]:
    """Where each value stands in `among`. Raises IntegrityError where one does not."""
    found = pc.index_in(column, value_set=among.combine_chunks() if isinstance(among, pa.ChunkedArray) else among)
    if found.null_count:
        raise IntegrityError(
            "pairs of copies that the manifest does not know", where="ingest", advice="run the stage 'ingest' again"
        )
    places: NDArray[np.int64] = found.to_numpy().astype(np.int64)
    return places


def _fit(catalog: Catalog, section: PrepareParams, training: pa.Table) -> tuple[Condition, ...]:
    columns = {name: training[name].to_pylist() for name in section.conditions if name in training.column_names}
    return fit_conditions(section.conditions, catalog.attributes, columns)


def _index(photos: pa.Table, rows: NDArray[np.int64], numbers: NDArray[np.int64], placed: Assignment, packed: Names) -> pa.Table:
    """One split's index: the columns of INDEX, then those of the conditions."""
    chosen = photos.take(pa.array(rows))
    columns = {
        "id": chosen["sha256"],
        "category": pa.array(numbers[rows]),
        "group": photos["sha256"].take(pa.array(placed.anchors[rows])),
        "path": chosen["path"],
        "generation": chosen["generation"],
        "stored": chosen["pixels"],
        "packed": as_column(packed[rows]),
    }
    table = pa.table([columns[name] for name in INDEX.names], schema=INDEX)
    for name in photos.column_names[len(_COLUMNS) :]:
        table = table.append_column(photos.schema.field(name), chosen[name])
    return table


def _digest(hasher: _Hasher, name: str, index: pa.Table, conditions: Sequence[Condition]) -> None:
    """Take in one split: every picture, its category, its name, its group and what its conditions are."""
    fields = ("packed", "category", "id", "group")
    for values in zip(*(index[field].to_pylist() for field in fields), strict=True):
        hasher.update(f"{name} {' '.join(map(str, values))}\n".encode())
    if conditions:
        columns = {condition.name: index[condition.name].to_pylist() for condition in conditions}
        hasher.update(repr(conditions).encode() + encode_conditions(conditions, columns, index.num_rows).tobytes())


class _Hasher(Protocol):
    def update(self, content: bytes, /) -> None: ...
