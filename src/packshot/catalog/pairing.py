"""Which photos of two versions belong together, and what differs between them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from packshot.catalog.snapshot import Snapshot

Kind = Literal["added", "removed", "changed", "moved", "renamed", "retold"]
KINDS: tuple[Kind, ...] = ("added", "removed", "changed", "moved", "renamed", "retold")
"""added, removed · changed: another picture under the same name · moved: the same picture in another category · renamed: the same
picture under another name in its category · retold: the same picture and name, other attributes, rights or product."""

_TOLD = ("sku", "licence", "source", "consent", "expiry")


@dataclass(frozen=True, slots=True)
class Pairing:
    """Rows of two manifests that belong together: the same bytes first, then, of what is left, the same path."""

    same: NDArray[np.int64]
    """(N, 2): rows with the same sha256."""
    replaced: NDArray[np.int64]
    """(M, 2): rows with the same path and another sha256."""
    removed: NDArray[np.int64]
    added: NDArray[np.int64]


def pair_rows(before: pa.Table, after: pa.Table) -> Pairing:
    """Pair the rows of two manifests (columns sha256 and path, each unique)."""
    same = _matches(before["sha256"], after["sha256"])
    left_before = np.setdiff1d(np.arange(before.num_rows), same[:, 0])
    left_after = np.setdiff1d(np.arange(after.num_rows), same[:, 1])
    found = _matches(before["path"].take(pa.array(left_before)), after["path"].take(pa.array(left_after)))
    replaced = np.stack([left_before[found[:, 0]], left_after[found[:, 1]]], axis=1)
    return Pairing(same, replaced, np.setdiff1d(left_before, replaced[:, 0]), np.setdiff1d(left_after, replaced[:, 1]))


@dataclass(frozen=True, slots=True)
class Changes:
    """The rows that differ, by what differs."""

    before: pa.Table
    after: pa.Table
    kinds: Mapping[Kind, NDArray[np.int64]]
    """Pairs of rows, (N, 2), by the path that the photo has now; -1 stands where a side has none."""
    told: Mapping[str, frozenset[int]]
    """Of each attribute and right: the rows, after, that say something else than before."""
    attributes: tuple[str, ...]


def find_changes(before: Snapshot, after: Snapshot) -> Changes:
    """Pair the photos of two versions and say of each pair what differs."""
    pairs = pair_rows(before.rows, after.rows)
    declared = {attribute.name for one in (before, after) for attribute in one.catalog.attributes}
    attributes = tuple(sorted(declared))
    others = {name: _differ(before.rows, after.rows, pairs.same, name) for name in (*_TOLD, *attributes)}
    category, path = (_differ(before.rows, after.rows, pairs.same, name) for name in ("category", "path"))
    told = np.logical_or.reduce([*others.values(), np.zeros(len(pairs.same), np.bool_)])
    kinds: dict[Kind, NDArray[np.int64]] = {
        "added": np.stack([np.full_like(pairs.added, -1), pairs.added], axis=1),
        "removed": np.stack([pairs.removed, np.full_like(pairs.removed, -1)], axis=1),
        "changed": pairs.replaced,
        "moved": pairs.same[category],
        "renamed": pairs.same[path & ~category],
        "retold": pairs.same[told & ~path & ~category],
    }
    ordered = {kind: _by_path(before.rows, after.rows, rows) for kind, rows in kinds.items()}
    rows = {name: frozenset(pairs.same[differ, 1].tolist()) for name, differ in others.items()}
    return Changes(before.rows, after.rows, ordered, rows, attributes)


def _matches(before: pa.ChunkedArray, after: pa.ChunkedArray) -> NDArray[np.int64]:
    """Rows of equal values, (N, 2), in the order of `after`."""
    at = pc.fill_null(pc.index_in(after, value_set=before), -1).to_numpy().astype(np.int64)
    known = np.flatnonzero(at >= 0)
    return np.stack([at[known], known], axis=1)


def _differ(before: pa.Table, after: pa.Table, pairs: NDArray[np.int64], name: str) -> NDArray[np.bool_]:
    """Of each pair: whether the column says something else; a column that one side lacks says nothing there."""
    one, other = (
        table[name].take(pa.array(pairs[:, side])) if name in table.column_names else pa.chunked_array([pa.nulls(len(pairs))])
        for side, table in enumerate((before, after))
    )
    if one.type != other.type:
        one, other = (values.cast(pa.string()) for values in (one, other))
    if pa.types.is_null(one.type):
        return np.zeros(len(pairs), dtype=np.bool_)
    unequal = pc.is_in(pc.not_equal(one, other), value_set=pa.array([True]))  # null where either side is
    appeared = pc.xor(pc.is_null(one), pc.is_null(other))
    return np.asarray(pc.or_(unequal, appeared).to_numpy(), dtype=np.bool_)


def _by_path(before: pa.Table, after: pa.Table, pairs: NDArray[np.int64]) -> NDArray[np.int64]:
    side, table = (1, after) if (pairs[:, 1] >= 0).all() else (0, before)
    order = pc.sort_indices(table["path"].take(pa.array(pairs[:, side])))
    return np.asarray(pairs[order.to_numpy()], dtype=np.int64)
