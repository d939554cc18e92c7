"""What changed between two versions of the catalogue."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import fields

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pydantic import Field

from packshot.catalog.pairing import KINDS, Changes, Kind
from packshot.catalog.snapshot import Snapshot
from packshot.images.measure import Measures
from packshot.records import BadPhoto, Digest, Record
from packshot.sources.drift import chance_index, count_bins, describe_column, stability_index
from packshot.sources.folder import escape

MOST_LISTED = 10_000
"""Photos of each kind, and quarantined files, that are listed by name; all are counted."""


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
    """One category: after = before + added - removed + moved_in - moved_out."""

    category: str
    before: int
    after: int
    added: int
    removed: int
    moved_in: int
    moved_out: int
    changed: int

    @property
    def numbers(self) -> tuple[int, ...]:
        """As a line of a table."""
        return (self.before, self.after, self.added, self.removed, self.moved_in, self.moved_out, self.changed)

    @property
    def touched(self) -> bool:
        return any(self.numbers[2:])


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
    chance: float
    """What the index exceeds once in a hundred times although nothing moved: few photos prove little."""

    @property
    def shifted(self) -> bool:
        return self.index > max(0.1, self.chance)


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
    added = _tally(_take(found.after, found.kinds["added"][:, 1]))
    removed = _tally(_take(found.before, found.kinds["removed"][:, 0]))
    changed = _tally(_take(found.after, found.kinds["changed"][:, 1]))
    staying = np.concatenate([found.kinds["moved"], found.kinds["changed"]])
    old, new = _take(found.before, staying[:, 0]), _take(found.after, staying[:, 1])
    crossed = pc.not_equal(old, new)
    moved_out, moved_in = _tally(old.filter(crossed)), _tally(new.filter(crossed))
    for name in sorted(was.keys() | now.keys()):
        yield CategoryChange(
            category=escape(name),
            before=was[name],
            after=now[name],
            added=added[name],
            removed=removed[name],
            moved_in=moved_in[name],
            moved_out=moved_out[name],
            changed=changed[name],
        )


def _take(table: pa.Table, rows: NDArray[np.int64]) -> pa.ChunkedArray:
    """The categories of these rows."""
    return table["category"].take(pa.array(rows))


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
        bins, earlier = count_bins(now, shape.edges, ()), np.asarray(shape.counts)
        found.append(
            MeasureDrift(
                measure=field.name,
                before=round(float(was.median()), 6),
                after=round(float(now.median()), 6),
                index=round(stability_index(bins, earlier), 4),
                chance=round(chance_index(bins, earlier), 4),
            )
        )
    yield from sorted(found, key=lambda one: (-one.index, one.measure))
