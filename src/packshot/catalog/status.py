"""status: what the data is now, whether it is versioned, ingested and accepted, and what to do next."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import date
from typing import TYPE_CHECKING, Literal, TypeVar

import pyarrow as pa
import pyarrow.compute as pc

from packshot.adapters.revisions import outdated, uncommitted
from packshot.adapters.versioning import data_version
from packshot.catalog.pending import Pending, find_pending, list_offer
from packshot.errors import PackshotError
from packshot.images.manifest import read_copies, read_manifest
from packshot.layout import Layout
from packshot.pages import plural
from packshot.records import AttributeKind, Catalog, CategoryCount, Digest, Record, ValidationReport

if TYPE_CHECKING:
    from packshot.params import Params

T = TypeVar("T")

_RIGHTS = ("licence", "source", "consent", "expiry")


class AttributeFact(Record):
    """How many photos have an attribute, and how many values there are."""

    name: str
    kind: AttributeKind | Literal["right"]
    known: int
    values: int


class ReasonCount(Record):
    reason: str
    files: int


class Ingested(Record):
    """What stands in data/ingest."""

    digest: Digest
    photos: int
    generation: int
    """The last delivery, where the source keeps a history; else 0."""
    categories: tuple[CategoryCount, ...]
    original_bytes: int
    stored_bytes: int
    attributes: tuple[AttributeFact, ...]
    quarantined: tuple[ReasonCount, ...]
    copies: int
    """Pairs of near-duplicates."""


class Validated(Record):
    """The last verdict on the data."""

    passed: bool
    current: bool
    """Whether it is of the photos that stand in data/ingest."""
    kept: int
    expectations: int
    broken: tuple[str, ...]
    """Critical ones first."""
    valid_until: date | None


class Step(Record):
    """What to do next."""

    command: str
    why: str


class Status(Record):
    """Where the data of a project stands."""

    source: str
    version: str
    """DVC's hash of the data; empty outside DVC."""
    committed: bool
    """Whether Git's last commit names this version."""
    ingested: Ingested | None
    pending: Pending | None
    """None where that cannot be told: `notes` say why."""
    validated: Validated | None
    outdated: tuple[str, ...]
    """What DVC would do again, and why."""
    notes: tuple[str, ...]
    next: Step


_UNREAD = "ingest: {source: {kind: catalog, path: data/catalog}}"
_UNREAD_STEP = Step(command="$EDITOR params.yaml", why=f"data/catalog is not what it names: {_UNREAD}")


def status(params: Params, layout: Layout) -> Status:
    """Look at the source, at what was ingested and judged, and at what DVC and Git know; changes nothing.

    What cannot be looked at becomes a note: a status is told in any state of a project.
    """
    notes: list[str] = []
    source, folder = params.ingest.source, layout.stage("ingest")
    catalog = _try(lambda: Catalog.read(folder / "catalog.json"), notes) if (folder / "catalog.json").is_file() else None
    rows = _try(lambda: read_manifest(folder / "manifest.parquet"), notes) if catalog else None
    copies = _try(lambda: read_copies(folder / "copies.parquet").num_rows, notes) if catalog else None
    offer = _try(lambda: list_offer(source, layout.root), notes)
    unread = (layout.catalog / "pack.json").is_file() and layout.root / source.path != layout.catalog
    if unread:
        notes.append(f"data/catalog holds a packed catalogue, which params.yaml does not name: {_UNREAD}")
    pointer = layout.catalog.with_name("catalog.dvc")
    relative = pointer.relative_to(layout.root).as_posix()
    targets = [*([relative] if pointer.is_file() else []), "ingest", "validate"]
    stale = _try(lambda: outdated(layout, targets), notes)
    kept = [path for path in (relative, "data/.gitignore", "dvc.lock", "params.yaml") if (layout.root / path).is_file()]
    changed = uncommitted(layout, kept)
    # A packed catalogue has a version before it is ingested; any other source's is that of what was ingested.
    versioned = {relative} if layout.root / source.path == layout.catalog else {relative, "ingest"}
    ingested = _ingested(catalog, rows, copies or 0) if catalog and rows is not None else None
    pending = find_pending(offer, rows, catalog) if catalog and rows is not None and offer is not None else None
    validated = _validated(layout, catalog, notes)
    return Status(
        source=source.describe(),
        version=data_version(layout),
        committed=stale is not None and not changed and not stale.keys() & versioned,
        ingested=ingested,
        pending=pending,
        validated=validated,
        outdated=tuple(f"{target}: {', '.join(why)}" for target, why in (stale or {}).items()),
        notes=tuple(notes),
        next=_UNREAD_STEP
        if unread and ingested is None
        else _next(
            offer is not None,
            pointer.is_file(),
            relative in (stale or {}) and layout.catalog.exists(),
            ingested,
            pending,
            validated,
            bool(stale),
            changed,
        ),
    )


def _try(look: Callable[[], T], notes: list[str]) -> T | None:
    """What is seen, or None and a note."""
    try:
        return look()
    except PackshotError as error:
        notes.append(str(error))
        return None


def _ingested(catalog: Catalog, rows: pa.Table, copies: int) -> Ingested:
    facts: list[tuple[str, AttributeKind | Literal["right"]]] = [(one.name, one.kind) for one in catalog.attributes]
    facts += [(name, "right") for name in _RIGHTS]
    counted = [
        AttributeFact(name=name, kind=kind, known=len(known), values=pc.count_distinct(known).as_py())
        for name, kind in facts
        for known in [rows[name].drop_null()]
        if len(known) or kind != "right"
    ]
    reasons = Counter(bad.reason for bad in catalog.quarantined)
    return Ingested(
        digest=catalog.digest,
        photos=rows.num_rows,
        generation=pc.max(rows["generation"]).as_py() or 0,
        categories=catalog.counts,
        original_bytes=pc.sum(rows["file_bytes"]).as_py() or 0,
        stored_bytes=sum(shard.size for shard in catalog.shards),
        attributes=tuple(counted),
        quarantined=tuple(ReasonCount(reason=name, files=count) for name, count in reasons.most_common()),
        copies=copies,
    )


def _validated(layout: Layout, catalog: Catalog | None, notes: list[str]) -> Validated | None:
    path = layout.stage("validate") / "report.json"
    report = _try(lambda: ValidationReport.read(path), notes) if path.is_file() else None
    if report is None:
        return None
    broken = sorted((one for one in report.expectations if one.broken), key=lambda one: one.severity != "critical")
    applicable = sum(one.applicable for one in report.expectations)
    return Validated(
        passed=report.passed,
        current=catalog is not None and report.catalog == catalog.digest,
        kept=applicable - len(broken),
        expectations=applicable,
        broken=tuple(f"{one.name}: {one.observed}, expected {one.expected}" for one in broken),
        valid_until=report.valid_until,
    )


def _next(
    offered: bool,
    versioned: bool,
    drifted: bool,
    ingested: Ingested | None,
    pending: Pending | None,
    validated: Validated | None,
    stale: bool,
    changed: tuple[str, ...],
) -> Step:
    """The first thing that is missing on the way to data that can be trained on."""
    if drifted:
        why = "data/catalog is not what data/catalog.dvc says: undo that, or add what you want with 'packshot catalog add'"
        return Step(command="dvc checkout data/catalog.dvc", why=why)
    if not offered:
        if versioned:
            return Step(command="dvc pull data/catalog.dvc", why="the photos of this version are not here")
        return Step(command="packshot catalog add SOURCE", why="the source that params.yaml names has no photos here")
    if ingested is None:
        return Step(command="dvc repro validate", why="nothing is ingested yet")
    if pending and pending.total:
        return Step(command="dvc repro validate", why=f"not ingested as it is now: {plural(pending.total, 'photo')}")
    if validated is None or not validated.current or stale:
        return Step(command="dvc repro validate", why="the last verdict is not of this data, these expectations or this code")
    if not validated.passed:
        return Step(command="packshot catalog show", why="the data is rejected; data/validate/report.html shows by what")
    if changed:
        return Step(command=f"git add {' '.join(changed)} && git commit", why="this version of the data is in no commit")
    return Step(command="dvc repro", why="the data is accepted and committed: train on it")
