"""The catalogue's own report: one HTML page that opens anywhere, offline, and stays small whatever the catalogue."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape as quote
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from packshot.images.measure import Measures
from packshot.images.thumbnails import Thumbnails
from packshot.pages import draw_verdict, page, plural, table, tell_bytes, tiles
from packshot.records import Catalog, Expectation, ValidationReport
from packshot.sources.drift import Profile
from packshot.sources.folder import escape
from packshot.sources.offenders import Finder, draw_copies, draw_offenders, draw_quarantine, draw_suspicions
from packshot.sources.overview import (
    Bound,
    draw_attributes,
    draw_categories,
    draw_drift,
    draw_measures,
    draw_rights,
)

MOST_PICTURES = 700
_MEASURES = tuple(Measures.__slots__)


def draw_page(
    report: ValidationReport,
    catalog: Catalog,
    rows: pa.Table,
    copies: pa.Table,
    folder: Path,
    *,
    bounds: Sequence[Bound] = (),
    champion: Profile | None = None,
) -> str:
    """The report as HTML: verdict, expectations, offenders, suspicions, quarantine, near-duplicates, and what the photos are.

    `rows` is the manifest, in the order of sha256; `copies` the pairs of near-duplicates (columns a and b); `folder` holds the
    photos' shards; `bounds` are drawn into the measures' histograms; `champion` is what the champion's catalogue was like. Equal
    input, equal page; nothing on it comes from outside.
    """
    thumbnails = Thumbnails(rows, folder, MOST_PICTURES)
    find = Finder(rows["path"])
    values = _numbers(rows)
    parts = [
        *_head(report, catalog, rows, copies),
        *_expectations(report.expectations),
        *draw_offenders([found for found in report.expectations if found.broken], find, values, thumbnails),
        *draw_suspicions(report, find, thumbnails),
        *draw_quarantine(report.quarantined, rows, find, thumbnails),
        *draw_copies(rows, copies, thumbnails),
        *(draw_drift(champion, rows, values) if champion else ()),
        *draw_measures(values, bounds),
        *draw_attributes(catalog.attributes, rows),
        *draw_rights(rows),
        *draw_categories(catalog, rows, thumbnails),
        f'<p class="soft small">Catalogue <code>{report.catalog}</code>, suite <code>{report.suite}</code>. '
        f"The page shows at most {MOST_PICTURES} pictures; report.json and manifest.parquet name every photo. "
        "Great Expectations' own pages are in <code>docs/</code>.</p>",
    ]
    return page(f"Catalogue {'accepted' if report.passed else 'rejected'}", parts)


def _numbers(rows: pa.Table) -> dict[str, NDArray[np.float64]]:
    """Size and shape, then the measures: one float a photo."""
    width, height = (rows[name].to_numpy().astype(np.float64) for name in ("width", "height"))
    short, long = np.minimum(width, height), np.maximum(width, height)
    numbers = {"short_side": short, "aspect": long / np.maximum(short, 1.0)}
    return {**numbers, **{name: rows[name].to_numpy().astype(np.float64) for name in _MEASURES if name in rows.column_names}}


def _head(report: ValidationReport, catalog: Catalog, rows: pa.Table, copies: pa.Table) -> Iterator[str]:
    broken = [found for found in report.expectations if found.broken]
    critical = [found for found in broken if found.severity == "critical"]
    applicable = sum(found.applicable for found in report.expectations)
    if critical:
        told = [f"{found.name} ({found.observed}, expected {found.expected})" for found in critical]
        sentence = f"Broken: {_listed(told, 4)}."
    elif broken:
        sentence = (
            f"Every critical expectation holds; {plural(len(broken), 'warning')}: {_listed([one.name for one in broken], 6)}."
        )
    else:
        sentence = f"All {applicable} expectations hold."
    word, tone = ("accepted", "pass") if report.passed else ("rejected", "reject")
    title = f"{plural(report.photos, 'photo')} of {plural(len(catalog.counts), 'category', 'categories')}"
    yield draw_verdict("packshot · catalogue report", word, tone, title, sentence)
    yield tiles(
        {
            "photos": f"{report.photos:,}",
            "categories": f"{len(catalog.counts):,}",
            "originals": tell_bytes(pc.sum(rows["file_bytes"]).as_py() or 0),
            "as ingested": tell_bytes(sum(shard.size for shard in catalog.shards)),
            "quarantined": f"{len(report.quarantined):,}",
            "near-duplicate pairs": f"{copies.num_rows:,}",
            "expectations kept": f"{applicable - len(broken)} of {applicable}",
        }
    )
    facts = [f"Source: {escape(catalog.source)}", f"longer side at most {catalog.side} px"]
    if report.judged_on:
        facts.append(
            f"rights judged on {report.judged_on}" + (f", all valid until {report.valid_until}" if report.valid_until else "")
        )
    if report.champion:
        facts.append(f"drift against the champion's catalogue {report.champion[:12]}")
    yield f'<p class="soft small">{quote(" · ".join(facts))}</p>'


def _expectations(found: Sequence[Expectation]) -> Iterator[str]:
    yield "<h2>Expectations</h2>"
    for severity, meaning in (("critical", "a broken one stops the pipeline"), ("warning", "a broken one is reported")):
        members = [one for one in found if one.severity == severity and one.applicable]
        broken, kept = [one for one in members if one.broken], [one for one in members if not one.broken]
        if not members:
            continue
        yield f'<h3>{severity.capitalize()} <span class="soft">{meaning} · {len(kept)} of {len(members)} kept</span></h3>'
        if broken:
            yield _rules(broken)
        if kept:
            yield f"<details><summary>{len(kept)} kept</summary>{_rules(kept)}</details>"
    if idle := [one for one in found if not one.applicable]:
        yield f"<details><summary>{len(idle)} not applicable: nothing to hold the data against</summary>{_rules(idle)}</details>"


def _rules(found: Sequence[Expectation]) -> str:
    head = ["", "expectation", "column", "observed", "expected", "rows against it"]
    lines = [
        [
            _state(one),
            quote(one.name),
            f"<code>{quote(one.column)}</code>",
            quote(one.observed),
            quote(one.expected),
            f"{one.unexpected:,}" if one.unexpected else "",
        ]
        for one in found
    ]
    return table(head, lines, numbers=[5])


def _state(found: Expectation) -> str:
    if not found.broken:
        return '<span class="state pass">kept</span>' if found.applicable else '<span class="soft">–</span>'
    tone, word = ("reject", "broken") if found.severity == "critical" else ("inconclusive", "warning")
    return f'<span class="state {tone}">{word}</span>'


def _listed(words: Sequence[str], most: int) -> str:
    """'a, b and 3 more'."""
    return ", ".join(words[:most]) + (f" and {len(words) - most} more" if len(words) > most else "")
