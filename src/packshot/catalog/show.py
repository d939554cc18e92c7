"""show: what is quarantined and why, and all that is known of one photo."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from packshot.catalog.snapshot import Snapshot, open_snapshot
from packshot.errors import PackshotError, UsageError
from packshot.images.manifest import read_copies
from packshot.images.measure import Measures
from packshot.images.resize import fit_square
from packshot.images.shards import SPLITS, open_index
from packshot.images.sheet import contact_sheet, encode_png
from packshot.layout import Layout
from packshot.records import BadPhoto, Catalog, Dataset, Record, Suspicion, ValidationReport, write_bytes
from packshot.sources.folder import escape

SHORTEST_PREFIX = 6
"""Digits of a sha256 that may stand for all of it."""

_SIDE, _COLUMNS = 192, 6


class Quarantine(Record):
    """Files that were refused, by reason and then by name."""

    total: int
    reasons: tuple[tuple[str, int], ...]
    """Of all of them, the most frequent first."""
    files: tuple[BadPhoto, ...]


class Fact(Record):
    """One value that is known of a photo."""

    name: str
    value: str
    note: str = ""


class Copy(Record):
    """A near-duplicate."""

    path: str
    category: str
    sha256: str
    split: str


class PhotoFacts(Record):
    """All that is known of one accepted photo."""

    path: str
    category: str
    sha256: str
    sku: str
    generation: int
    original: str
    """Format, size in pixels and in bytes."""
    stored: str
    """Where the ingested picture lies."""
    split: str
    """train, val or test; 'left out'; or why there is none."""
    attributes: tuple[Fact, ...]
    rights: tuple[Fact, ...]
    measures: tuple[Fact, ...]
    copies: tuple[Copy, ...]
    broken: tuple[str, ...]
    """The expectations that name it, and what was expected."""
    suspicion: Suspicion | None


def list_quarantined(layout: Layout, reason: str = "") -> Quarantine:
    """The quarantined files, or those of one reason. Raises MissingArtifact before ingest, UsageError for a reason nobody has."""
    catalog = Catalog.read(layout.stage("ingest") / "catalog.json")
    counts = Counter(bad.reason for bad in catalog.quarantined)
    wanted = reason.upper()
    if wanted and wanted not in counts:
        there = ", ".join(sorted(counts)) or "nothing at all"
        raise UsageError(f"nothing is quarantined as '{wanted}'", where="--reason", advice=f"there is {there}")
    ranks = {name: rank for rank, (name, _) in enumerate(counts.most_common())}
    files = [bad for bad in catalog.quarantined if wanted in {"", bad.reason}]
    files.sort(key=lambda bad: (ranks[bad.reason], bad.path))
    return Quarantine(total=len(catalog.quarantined), reasons=tuple(counts.most_common()), files=tuple(files))


def find_photo(layout: Layout, name: str) -> PhotoFacts | BadPhoto:
    """All about the photo of that path or sha256 (its first six digits do), accepted or quarantined.

    Raises MissingArtifact before ingest, UsageError where there is no such photo, or several.
    """
    with open_snapshot(layout) as now:
        row = _row(now, name)
        return row if isinstance(row, BadPhoto) else _facts(layout, now, row)


def draw_photo(layout: Layout, facts: PhotoFacts | BadPhoto, path: Path) -> None:
    """Write the picture of a photo and of its near-duplicates as one PNG.

    Raises UsageError where the photo is quarantined, IntegrityError where the photos are not those that were ingested.
    """
    if isinstance(facts, BadPhoto):
        advice = "data/validate/report.html shows the photo that was kept in its place, where there is one"
        raise UsageError("a quarantined file has no picture", where=facts.path, advice=advice)
    with open_snapshot(layout) as now:
        wanted = [facts.sha256, *(copy.sha256 for copy in facts.copies)]
        rows = pc.index_in(pa.array(wanted), value_set=now.rows["sha256"]).to_pylist()
        pictures = now.pixels(rows)
    labels = [facts.path, *(copy.path for copy in facts.copies)]
    squares = np.stack([fit_square(pictures[row], _SIDE, (255, 255, 255)) for row in rows])
    write_bytes(path, encode_png(contact_sheet(squares, _COLUMNS, labels)))


def _row(now: Snapshot, name: str) -> int | BadPhoto:
    found = _places(now.rows["path"], name) or _escaped(now.rows["path"], name)
    if not found and len(name) >= SHORTEST_PREFIX:
        found = np.flatnonzero(pc.starts_with(now.rows["sha256"], name.lower()).to_numpy()).tolist()
    refused = [bad for bad in now.catalog.quarantined if name == bad.path or (bad.sha256 and bad.sha256 == name.lower())]
    if len(found) > 1:
        raise UsageError(f"{len(found)} photos have a sha256 that begins with '{name}'", where=name, advice="write more of it")
    if found:
        return int(found[0])
    if refused:
        return refused[0]
    raise UsageError(f"no photo is called '{escape(name)}'", where="data/ingest", advice=_advise(now, name))


def _places(column: pa.ChunkedArray, value: str) -> list[int]:
    return [int(row) for row in np.flatnonzero(pc.equal(column, value).to_numpy())]


def _escaped(paths: pa.ChunkedArray, name: str) -> list[int]:
    """Rows whose path is shown as `name`, where that is not how it is written."""
    if "\\" not in name:
        return []
    return [row for row, path in enumerate(paths.to_pylist()) if escape(path) == name]


def _advise(now: Snapshot, name: str) -> str:
    """Names that may have been meant."""
    paths = now.rows["path"]
    last = name.rpartition("/")[2]
    near = paths.filter(pc.match_substring(paths, last, ignore_case=True)).slice(0, 3).to_pylist() if last else []
    near = near or difflib.get_close_matches(name, paths.slice(0, 20_000).to_pylist(), n=3)
    return f"there is {', '.join(map(escape, near))}" if near else "'packshot catalog show' lists what is quarantined"


def _facts(layout: Layout, now: Snapshot, at: int) -> PhotoFacts:
    row: dict[str, Any] = now.rows.slice(at, 1).drop_columns(["layout", "shape"]).to_pylist()[0]
    others = _copies(layout, row["sha256"])
    splits = _splits(layout, now.catalog, [row["sha256"], *others])
    report = _report(layout, now.catalog)
    shown = escape(row["path"])
    return PhotoFacts(
        path=shown,
        category=escape(row["category"]),
        sha256=row["sha256"],
        sku=row["sku"],
        generation=row["generation"],
        original=f"{row['format']}, {row['width']:,} x {row['height']:,} pixels, {row['file_bytes']:,} bytes",
        stored=f"{now.folder.relative_to(layout.root).as_posix()}/{row['shard']}, row {row['row']}",
        split=splits[row["sha256"]],
        attributes=tuple(_told(one.name, row[one.name]) for one in now.catalog.attributes),
        rights=tuple(_told(name, row[name]) for name in ("licence", "source", "consent", "expiry")),
        measures=tuple(_measure(now.rows[name], name, row[name]) for name in Measures.__slots__),
        copies=tuple(_copy(now.rows, digest, splits[digest]) for digest in others),
        broken=tuple(
            f"{one.name} ({one.severity}): expected {one.expected}"
            for one in (report.expectations if report else ())
            if one.broken and shown in one.offenders
        ),
        suspicion=next((one for one in report.suspicions if one.path == shown), None) if report else None,
    )


def _told(name: str, value: object) -> Fact:
    if value is None:
        return Fact(name=name, value="", note="not known")
    return Fact(name=name, value=str(value).lower() if isinstance(value, bool) else escape(str(value)))


def _measure(column: pa.ChunkedArray, name: str, value: float) -> Fact:
    below = float((column.to_numpy() < value).mean()) if len(column) else 0.0
    return Fact(name=name, value=f"{value:.4g}", note=f"more than {100 * below:.0f} % of the photos")


def _copies(layout: Layout, sha256: str) -> list[str]:
    pairs = read_copies(layout.stage("ingest") / "copies.parquet")
    others = [
        *pairs["b"].filter(pc.equal(pairs["a"], sha256)).to_pylist(),
        *pairs["a"].filter(pc.equal(pairs["b"], sha256)).to_pylist(),
    ]
    return sorted(set(others))


def _copy(rows: pa.Table, sha256: str, split: str) -> Copy:
    row = rows.select(["path", "category"]).take([pc.index(rows["sha256"], sha256).as_py()]).to_pylist()[0]
    return Copy(path=escape(row["path"]), category=escape(row["category"]), sha256=sha256, split=split)


def _splits(layout: Layout, catalog: Catalog, digests: Sequence[str]) -> dict[str, str]:
    """Where prepare put each of these photos."""
    folder = layout.stage("prepare")
    try:
        dataset = Dataset.read(folder / "dataset.json")
    except PackshotError:
        return dict.fromkeys(digests, "not prepared yet")
    if dataset.catalog != catalog.digest:
        return dict.fromkeys(digests, "prepared from other photos")
    found = dict.fromkeys(digests, "left out")
    for split in SPLITS:
        ids = open_index(folder, dataset, split, ["id"])["id"]
        there = pc.is_in(pa.array(digests), value_set=ids).to_pylist()
        found |= {digest: split for digest, inside in zip(digests, there, strict=True) if inside}
    return found


def _report(layout: Layout, catalog: Catalog) -> ValidationReport | None:
    """The verdict on these very photos."""
    try:
        report = ValidationReport.read(layout.stage("validate") / "report.json")
    except PackshotError:
        return None
    return report if report.catalog == catalog.digest else None
