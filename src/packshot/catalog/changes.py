"""What changed between two versions of the catalogue."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pydantic import Field

from packshot.catalog.snapshot import Snapshot
from packshot.images.measure import Measures
from packshot.records import BadPhoto, Digest, Record
from packshot.sources.drift import count_bins, describe_column, stability_index
from packshot.sources.folder import escape

Kind = Literal["added", "removed", "changed", "moved", "renamed", "retold"]
KINDS: tuple[Kind, ...] = ("added", "removed", "changed", "moved", "renamed", "retold")
"""added, removed · changed: another picture under the same name · moved: the same picture in another category · renamed: the same
picture under another name in its category · retold: the same picture and name, other attributes, rights or product."""

MOST_LISTED = 10_000
"""Photos of each kind, and quarantined files, that are listed by name; all are counted."""

_TOLD = ("sku", "licence", "source", "consent", "expiry")


class Side(Record):
    """One of the two versions."""

    name: str
    commit: str
    digest: Digest
    photos: int
    quarantined: int


class PhotoChange(Record):
    """What became of one photo."""

    kind: Kind
    path: str
    """After; before, of one that was removed."""
    category: str
    sha256: Digest
    was_path: str = ""
    was_category: str = ""
    was_sha256: str = ""
    """Where they were others before."""
    retold: tuple[str, ...] = ()
    """Which attributes and rights are others."""


class KindCount(Record):
    kind: Kind
    photos: int = Field(ge=0)


class CategoryChange(Record):
    """One category before and after: after = before + added - removed + moved in - moved out."""

    category: str
    before: int
    after: int
    added: int
    removed: int
    changed: int


class AttributeChange(Record):
    """How many photos have an attribute, before and after, and for how many of those in both it is another."""

    attribute: str
    before: int
    after: int
    changed: int


class ReasonChange(Record):
    reason: str
    before: int
    after: int


class MeasureDrift(Record):
    """How a measure's values moved."""

    measure: str
    before: float
    """The median."""
    after: float
    index: float
    """The population stability index (sources.drift): 0.1 is a shift, 0.25 a large one."""


class Diff(Record):
    """What changed from one version of the ingested photos to another."""

    before: Side
    after: Side
    counts: tuple[KindCount, ...]
    categories: tuple[CategoryChange, ...]
    attributes: tuple[AttributeChange, ...]
    reasons: tuple[ReasonChange, ...]
    drift: tuple[MeasureDrift, ...]
    photos: tuple[PhotoChange, ...]
    """The first 10,000 of each kind, by path."""
    quarantined: tuple[BadPhoto, ...]
    """Files that are quarantined now and were not."""
    released: tuple[BadPhoto, ...]
    """Files that were quarantined and are no more."""

    @property
    def same(self) -> bool:
        """Whether nothing changed."""
        return not (any(found.photos for found in self.counts) or self.quarantined or self.released)

    def count(self, kind: Kind) -> int:
        return next((found.photos for found in self.counts if found.kind == kind), 0)


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


def compare(before: Snapshot, after: Snapshot, found: Changes) -> Diff:
    """All that differs between two versions, `found` by `find_changes`; equal versions give a Diff that is `same`."""
    was, now = ({(bad.path, bad.reason): bad for bad in one.catalog.quarantined} for one in (before, after))
    return Diff(
        before=_side(before),
        after=_side(after),
        counts=tuple(KindCount(kind=kind, photos=len(found.kinds[kind])) for kind in KINDS),
        categories=tuple(_categories(found)),
        attributes=tuple(_attributes(found)),
        reasons=tuple(_reasons(before, after)),
        drift=tuple(_drift(found.before, found.after)),
        photos=tuple(change for kind in KINDS for change in _changes(found, kind)),
        quarantined=tuple(now[key] for key in sorted(now.keys() - was.keys()))[:MOST_LISTED],
        released=tuple(was[key] for key in sorted(was.keys() - now.keys()))[:MOST_LISTED],
    )


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


def _changes(found: Changes, kind: Kind) -> Iterator[PhotoChange]:
    """The first of a kind, by path."""
    core = ["path", "category", "sha256"]
    pairs = found.kinds[kind][:MOST_LISTED]
    side, table = (0, found.before) if kind == "removed" else (1, found.after)
    now = table.select(core).take(pa.array(pairs[:, side])).to_pylist()
    was = found.before.select(core).take(pa.array(pairs[:, 0])).to_pylist() if kind not in {"added", "removed"} else now
    for row, old, pair in zip(now, was, pairs.tolist(), strict=True):
        told = () if kind in {"added", "removed"} else tuple(name for name, rows in found.told.items() if pair[1] in rows)
        yield PhotoChange(
            kind=kind,
            path=escape(row["path"]),
            category=escape(row["category"]),
            sha256=row["sha256"],
            was_path=escape(old["path"]) if old["path"] != row["path"] else "",
            was_category=escape(old["category"]) if old["category"] != row["category"] else "",
            was_sha256=old["sha256"] if old["sha256"] != row["sha256"] else "",
            retold=told,
        )


def _side(snapshot: Snapshot) -> Side:
    catalog = snapshot.catalog
    return Side(
        name=snapshot.name,
        commit=snapshot.commit,
        digest=catalog.digest,
        photos=snapshot.rows.num_rows,
        quarantined=len(catalog.quarantined),
    )


def _categories(found: Changes) -> Iterator[CategoryChange]:
    """Every category that is in either version."""
    was, now = (_tally(table["category"]) for table in (found.before, found.after))
    added = _tally(found.after["category"].take(pa.array(found.kinds["added"][:, 1])))
    removed = _tally(found.before["category"].take(pa.array(found.kinds["removed"][:, 0])))
    changed = _tally(found.after["category"].take(pa.array(found.kinds["changed"][:, 1])))
    for name in sorted(was.keys() | now.keys()):
        yield CategoryChange(
            category=escape(name),
            before=was[name],
            after=now[name],
            added=added[name],
            removed=removed[name],
            changed=changed[name],
        )


def _tally(column: pa.ChunkedArray) -> Counter[str]:
    return Counter({pair["values"]: pair["counts"] for pair in pc.value_counts(column).to_pylist()})


def _attributes(found: Changes) -> Iterator[AttributeChange]:
    for name in found.attributes:
        was, now = (
            table.num_rows - table[name].null_count if name in table.column_names else 0 for table in (found.before, found.after)
        )
        yield AttributeChange(attribute=name, before=was, after=now, changed=len(found.told[name]))


def _reasons(before: Snapshot, after: Snapshot) -> Iterator[ReasonChange]:
    was, now = (Counter(bad.reason for bad in one.catalog.quarantined) for one in (before, after))
    for reason in sorted(was.keys() | now.keys(), key=lambda reason: (-max(was[reason], now[reason]), reason)):
        yield ReasonChange(reason=reason, before=was[reason], after=now[reason])


def _drift(before: pa.Table, after: pa.Table) -> Iterator[MeasureDrift]:
    """Of every measure that both versions have; the furthest first."""
    found = []
    for field in fields(Measures):
        if field.name not in before.column_names or not before.num_rows or not after.num_rows:
            continue
        was, now = (table[field.name].to_pandas().astype(np.float64) for table in (before, after))
        shape = describe_column(field.name, was, "number")
        index = stability_index(count_bins(now, shape.edges, ()), np.asarray(shape.counts))
        medians = (round(float(was.median()), 6), round(float(now.median()), 6))
        found.append(MeasureDrift(measure=field.name, before=medians[0], after=medians[1], index=round(index, 4)))
    yield from sorted(found, key=lambda one: (-one.index, one.measure))
