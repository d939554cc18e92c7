"""validate: Great Expectations over the manifest; a catalogue that breaks a critical one goes no further."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from packshot.errors import DataRejected
from packshot.images.fingerprint import Fingerprint, Fingerprints, group, near_duplicates
from packshot.images.manifest import Row, read_manifest
from packshot.layout import Layout
from packshot.records import Catalog, ValidationReport, write_bytes
from packshot.sources.folder import escape
from packshot.sources.page import draw_page
from packshot.sources.rules import ValidateParams, catalog_rules, category_rules, photo_rules
from packshot.stages import clear

if TYPE_CHECKING:
    from packshot.adapters.expectations import Table
    from packshot.params import Params

REPEATS = ("DUPLICATE",)
_NAMED = 50

log = logging.getLogger(__name__)


def validate(params: Params, layout: Layout) -> ValidationReport:
    """Check the catalogue by every rule, and write report.json, report.html and Great Expectations' docs/.

    report.json and report.html are the same for the same catalogue; docs/ carries ids and times. Raises DataRejected, after
    writing, where a critical rule is broken: it names what is broken and by which photos.
    """
    from packshot.adapters.expectations import check

    source, folder = layout.stage("ingest"), layout.stage("validate")
    catalog = Catalog.read(source / "catalog.json")
    rows = read_manifest(source / "manifest.parquet")
    clear(folder)
    copies = _copies(rows, params.prepare.duplicate_radius)
    expectations = check(_tables(catalog, rows, copies, params.validate_), folder / "docs")
    report = ValidationReport(
        passed=all(found.passed for found in expectations if found.severity == "critical"),
        photos=len(rows),
        expectations=expectations,
        quarantined=catalog.quarantined,
        catalog=catalog.digest,
    )
    write_bytes(folder / "report.html", draw_page(report, catalog, rows, copies, source).encode())
    report.write(folder / "report.json")
    _tell(report)
    if not report.passed:
        raise _rejection(report, folder / "report.html")
    return report


def _copies(rows: Sequence[Row], radius: int) -> tuple[tuple[int, ...], ...]:
    """The groups, of two photos or more, that show one picture."""
    prints = Fingerprints.of([Fingerprint(row.phash, row.phash_mirrored, row.layout) for row in rows])
    members: dict[int, list[int]] = defaultdict(list)
    for index, root in enumerate(group(len(rows), near_duplicates(prints, radius))):
        members[root].append(index)
    return tuple(tuple(found) for found in members.values() if len(found) > 1)


def _tables(catalog: Catalog, rows: Sequence[Row], copies: Sequence[Sequence[int]], params: ValidateParams) -> list[Table]:
    from packshot.adapters.expectations import Table

    photos = _frame(rows)
    photos["copies_categories"] = 1
    for found in copies:
        photos.loc[list(found), "copies_categories"] = len({rows[index].category for index in found})
    categories = pd.DataFrame(
        {
            "category": pd.Series([count.category for count in catalog.counts], dtype=object),
            "photos": [count.photos for count in catalog.counts],
        }
    )
    repeats = sum(bad.reason in REPEATS for bad in catalog.quarantined)
    broken = len(catalog.quarantined) - repeats
    similar = sum(len(found) - 1 for found in copies)
    whole = pd.DataFrame(
        {
            "source": [catalog.source],
            "quarantined_share": [round(broken / max(1, broken + len(rows)), 6)],
            "duplicate_share": [round((repeats + similar) / max(1, repeats + len(rows)), 6)],
            "missing_photos": [abs(catalog.photos - len(rows))],
        }
    )
    return [
        Table("photos", photos, "path", photo_rules(params)),
        Table("categories", categories, "category", category_rules(params)),
        Table("catalogue", whole, "source", catalog_rules(params)),
    ]


def _frame(rows: Sequence[Row]) -> pd.DataFrame:
    names = list(Row.__slots__)
    frame = pd.DataFrame({name: [getattr(row, name) for row in rows] for name in names}, columns=names)
    frame["short_side"] = frame[["width", "height"]].min(axis=1)
    frame["aspect"] = (frame[["width", "height"]].max(axis=1) / frame["short_side"]).round(4)
    return frame


def _tell(report: ValidationReport) -> None:
    for found in report.expectations:
        if not found.passed:
            log.warning("validate: %s (%s): %s, expected %s", found.name, found.severity, found.observed, found.expected)
    kept = sum(found.passed for found in report.expectations)
    log.info("validate: %d of %d expectations hold over %d photos", kept, len(report.expectations), report.photos)


def _rejection(report: ValidationReport, page: Path) -> DataRejected:
    broken = [found for found in report.expectations if not found.passed and found.severity == "critical"]
    lines = [f"{found.name}: {found.observed}, expected {found.expected}{_by(found.offenders)}" for found in broken]
    if report.quarantined:
        lines.append(f"quarantined{_by([f'{escape(bad.path)} ({bad.reason})' for bad in report.quarantined])}")
    return DataRejected(
        f"the catalogue breaks its expectations: {'; '.join(lines)}",
        where=str(page),
        advice="mend or remove what is named there, or change the section 'validate' of params.yaml",
    )


def _by(names: Sequence[str]) -> str:
    """' by a, b ...': every name, up to 50; the report has them all."""
    if not names:
        return ""
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f": {', '.join(names[:_NAMED])}{more}"
