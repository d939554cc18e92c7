"""validate: Great Expectations over the manifest; a catalogue that breaks a critical one goes no further."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from packshot.errors import DataRejected, IntegrityError
from packshot.failpoints import failpoint
from packshot.images.fingerprint import LAYOUT_SIDE, group
from packshot.images.manifest import read_copies, read_manifest
from packshot.images.measure import SHAPE_BYTES
from packshot.layout import Layout
from packshot.records import AttributeKind, Catalog, Suspicion, ValidationReport, write_bytes
from packshot.sources.drift import champion_profile, describe_catalog
from packshot.sources.expected import Bounds, Judged
from packshot.sources.folder import escape
from packshot.sources.overview import Bound
from packshot.sources.page import draw_page
from packshot.sources.rules import ValidateParams, catalog_rules, category_rules, photo_rules, table_columns
from packshot.sources.suspicion import FOLDS, Suspects, find_suspects
from packshot.stages import clear

if TYPE_CHECKING:
    import pandas as pd

    from packshot.adapters.expectations import Table
    from packshot.params import Params

REPEATS = ("DUPLICATE",)
SUSPICIONS = 200
"""So many are named; all are counted."""

_NAMED = 50

log = logging.getLogger(__name__)


def validate(params: Params, layout: Layout) -> ValidationReport:
    """Check the catalogue by every rule, and write profile.json, report.html, Great Expectations' docs/ and last report.json.

    The report is the same for the same catalogue, champion and, where rights expire, day (UTC); docs/ carries ids and times.
    Raises DataRejected, after writing, where a critical rule is broken: it names what is broken and by which photos.
    """
    from packshot.adapters.expectations import check

    source, folder = layout.stage("ingest"), layout.stage("validate")
    catalog = Catalog.read(source / "catalog.json")
    rows, copies = read_manifest(source / "manifest.parquet"), read_copies(source / "copies.parquet")
    kinds = table_columns("photos", {one.name: one.kind for one in catalog.attributes})
    photos = _Photos(rows, _groups(rows, copies))
    frame = photos.frame(kinds)
    suspects = photos.suspects()
    profile = describe_catalog(catalog.digest, frame, _comparable(kinds))
    judged = _judge(params, layout, catalog)
    clear(folder)
    expectations = check(_tables(catalog, frame, len(suspects.rows), params.validate_, judged), folder / "docs")
    failpoint("validate.checked")
    expiry = [last for last in frame["expiry"] if last is not None]
    report = ValidationReport(
        passed=all(not found.broken for found in expectations if found.severity == "critical"),
        photos=rows.num_rows,
        expectations=expectations,
        quarantined=catalog.quarantined,
        suspicions=photos.tell(suspects, SUSPICIONS),
        suspected=len(suspects.rows),
        judged_on=judged.day if expiry else None,
        valid_until=min(expiry, default=None),
        champion=judged.champion.catalog if judged.champion else "",
        suite=params.validate_.content_digest(),
        catalog=catalog.digest,
    )
    profile.write(folder / "profile.json")
    page = draw_page(report, catalog, rows, copies, source, bounds=_bounds(params.validate_), champion=judged.champion)
    write_bytes(folder / "report.html", page.encode())
    failpoint("validate.page")
    report.write(folder / "report.json")
    _tell(report)
    if not report.passed:
        raise _rejection(report, folder / "report.html")
    return report


@dataclass(frozen=True, slots=True)
class _Photos:
    """The manifest, and the smallest row of each row's group of near-duplicates."""

    rows: pa.Table
    groups: NDArray[np.int64]

    def frame(self, kinds: Mapping[str, AttributeKind]) -> pd.DataFrame:
        """The columns that rules may be of; what is not known is None, an empty word too."""
        import pandas as pd

        own = ["sha256", "pixels", *(name for name in kinds if name in self.rows.column_names)]
        columns = {name: _column(self.rows[name], kinds.get(name, "label")) for name in own}
        frame = pd.DataFrame(columns, copy=False)
        frame["short_side"] = frame[["width", "height"]].min(axis=1)
        frame["aspect"] = (frame[["width", "height"]].max(axis=1) / frame["short_side"]).round(4)
        alike = np.bincount(self.groups, minlength=len(self.groups))[self.groups]
        frame["copies"] = alike
        frame["copy_group"] = np.where(alike > 1, self.groups, np.nan)
        return frame

    def suspects(self) -> Suspects:
        """The photos whose category is more likely wrong than right; copies are learnt from together or not at all."""
        labels = np.unique(self.rows["category"].to_numpy(zero_copy_only=False).astype(str), return_inverse=True)[1]
        names = self.rows["sha256"].to_pylist()
        folds = np.array([int(names[first][:8], 16) % FOLDS for first in self.groups], dtype=np.int64)
        shapes, layouts = (
            _bytes(self.rows[name], size) for name, size in (("shape", SHAPE_BYTES), ("layout", 3 * LAYOUT_SIDE**2))
        )
        return find_suspects(shapes, layouts, labels.astype(np.int64), folds)

    def tell(self, suspects: Suspects, most: int) -> tuple[Suspicion, ...]:
        """The first of them by name."""
        categories = sorted(set(self.rows["category"].to_pylist()))
        chosen = self.rows.select(["path", "category"]).take(pa.array(suspects.rows[:most])).to_pylist()
        return tuple(
            Suspicion(
                path=escape(row["path"]),
                category=escape(row["category"]),
                likely=escape(categories[label]),
                confidence=round(float(wrong), 3),
            )
            for row, label, wrong in zip(chosen, suspects.likely, suspects.wrong, strict=False)
        )


def _column(column: pa.ChunkedArray, kind: AttributeKind) -> pd.Series:
    """Numbers as floats or integers, the rest as Python's own values, None where it is not known."""
    import pandas as pd

    if kind == "number":
        return pd.Series(column.to_numpy(zero_copy_only=False))
    values = column.to_pylist()
    return pd.Series([None if value == "" else value for value in values], dtype=object)


def _bytes(column: pa.ChunkedArray, size: int) -> NDArray[np.uint8]:
    """A column of `size` bytes a row as uint8 (N, size)."""
    pieces = [np.frombuffer(b"".join(chunk.to_pylist()), dtype=np.uint8) for chunk in column.chunks]
    return np.concatenate([np.empty(0, dtype=np.uint8), *pieces]).reshape(len(column), size)


def _groups(rows: pa.Table, copies: pa.Table) -> NDArray[np.int64]:
    """The group of each row, named by its smallest member. Raises IntegrityError where a copy is no photo of the manifest."""
    names = rows["sha256"].combine_chunks()
    ends = [pc.index_in(copies[name].combine_chunks(), value_set=names) for name in ("a", "b")]
    if any(end.null_count for end in ends):
        raise IntegrityError(
            "it tells of copies of photos that the manifest lacks", where="copies.parquet", advice="run ingest again"
        )
    pairs = np.stack([end.to_numpy(zero_copy_only=False).astype(np.int64) for end in ends], axis=1)
    return group(rows.num_rows, pairs)


def _comparable(kinds: Mapping[str, AttributeKind]) -> dict[str, Literal["number", "label"]]:
    """The columns that drift can be told of."""
    return {name: kind for name, kind in kinds.items() if kind == "number" or kind == "label"}


def _judge(params: Params, layout: Layout, catalog: Catalog) -> Judged:
    """Today and the champion's data: read here once, so that one run has one answer."""
    day, champion = datetime.now(UTC).date(), champion_profile(layout)
    kinds = {**params.ingest.attributes, **{one.name: one.kind for one in catalog.attributes}}
    if champion is None:
        absent = "there is no champion yet" if not layout.live.is_file() else "nothing was kept of the champion's data"
        return Judged(day, absent=absent, attributes=kinds)
    if champion.catalog == catalog.digest:
        return Judged(day, absent="the champion learnt from these very photos", attributes=kinds)
    return Judged(day, champion, attributes=kinds)


def _tables(catalog: Catalog, photos: pd.DataFrame, suspected: int, params: ValidateParams, judged: Judged) -> list[Table]:
    import pandas as pd

    from packshot.adapters.expectations import Table

    counts = [count.photos for count in catalog.counts]
    categories = pd.DataFrame(
        {
            "category": pd.Series([count.category for count in catalog.counts], dtype=object),
            "photos": pd.Series(counts, dtype=np.int64),
            "share": pd.Series([round(count / max(1, sum(counts)), 6) for count in counts], dtype=np.float64),
        }
    )
    repeats = sum(bad.reason in REPEATS for bad in catalog.quarantined)
    broken = len(catalog.quarantined) - repeats
    similar = len(photos) - int((1 / photos["copies"]).sum().round())
    whole = pd.DataFrame(
        {
            "source": [catalog.source],
            "quarantined_share": [round(broken / max(1, broken + len(photos)), 6)],
            "duplicate_share": [round((repeats + similar) / max(1, repeats + len(photos)), 6)],
            "suspected_share": [round(suspected / max(1, len(photos)), 6)],
            "missing_photos": [abs(catalog.photos - len(photos)) + abs(sum(counts) - len(photos))],
        }
    )
    return [
        Table("photos", photos, "path", photo_rules(params, judged)),
        Table("categories", categories, "category", category_rules(params, judged)),
        Table("catalogue", whole, "source", catalog_rules(params, judged)),
    ]


def _bounds(params: ValidateParams) -> list[Bound]:
    """What the page draws into its histograms."""
    found = [one for one in params.expectations if isinstance(one, Bounds) and one.table == "photos"]
    return [Bound(one.column, one.at_least, one.at_most, one.severity) for one in found]


def _tell(report: ValidationReport) -> None:
    for found in report.expectations:
        if found.broken:
            log.warning("validate: %s (%s): %s, expected %s", found.name, found.severity, found.observed, found.expected)
    applicable = [found for found in report.expectations if found.applicable]
    kept, idle = sum(found.passed for found in applicable), len(report.expectations) - len(applicable)
    log.info(
        "validate: %d of %d expectations hold over %d photos%s",
        kept,
        len(applicable),
        report.photos,
        f"; {idle} are not applicable" if idle else "",
    )
    if report.suspected:
        log.info("validate: %d photos look like another category's; report.html shows them", report.suspected)


def _rejection(report: ValidationReport, page: Path) -> DataRejected:
    broken = [found for found in report.expectations if found.broken and found.severity == "critical"]
    lines = [
        f"{found.name}: {found.observed}, expected {found.expected}{_by(found.offenders, found.unexpected)}" for found in broken
    ]
    if report.quarantined:
        bad = [f"{escape(bad.path)} ({bad.reason})" for bad in report.quarantined]
        lines.append(f"quarantined{_by(bad, len(bad))}")
    return DataRejected(
        f"the catalogue breaks its expectations: {'; '.join(lines)}",
        where=str(page),
        advice="mend or remove what is named there, or change the section 'validate' of params.yaml",
    )


def _by(names: Sequence[str], count: int) -> str:
    """' by a, b ...': up to 50 names of so many; the page shows more."""
    if not names:
        return ""
    more = f" and {count - _NAMED} more" if count > _NAMED else ""
    return f": {', '.join(names[:_NAMED])}{more}"
