"""The catalogue's own report: one HTML page that opens anywhere, offline, and stays small whatever the catalogue."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from html import escape as quote
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from packshot.images.fingerprint import group
from packshot.images.measure import Measures
from packshot.images.thumbnails import Thumbnails
from packshot.pages import bar, draw_verdict, page, photos, shorten, table, tell_number, tiles
from packshot.records import BadPhoto, Catalog, Expectation, ValidationReport
from packshot.sources.folder import escape
from packshot.sources.overview import (
    Bound,
    draw_attributes,
    draw_categories,
    draw_measures,
    draw_rights,
    name_cell,
)

MOST_PICTURES = 700
MOST_OFFENDERS, ALL_OFFENDERS, MOST_GROUPS, MOST_OF_A_GROUP, MOST_FILES = 24, 240, 24, 4, 60
MOST_OPEN = 8
"""How much of each a page shows, and how long a list stands open; it says so where there is more, and report.json has all."""

_MEASURES = tuple(Measures.__slots__)


def draw_page(
    report: ValidationReport, catalog: Catalog, rows: pa.Table, copies: pa.Table, folder: Path, *, bounds: Sequence[Bound] = ()
) -> str:
    """The report as HTML: verdict, expectations, offenders, suspicions, quarantine, near-duplicates, and what the photos are.

    `rows` is the manifest, in the order of sha256; `copies` the pairs of near-duplicates (columns a and b); `folder` holds the
    photos' shards; `bounds` are drawn into the measures' histograms. Equal input, equal page; nothing on it comes from outside.
    """
    thumbnails = Thumbnails(rows, folder, MOST_PICTURES)
    find = _Finder(rows["path"])
    values = _numbers(rows)
    parts = [
        *_head(report, catalog, rows, copies),
        *_expectations(report.expectations),
        *_offenders([found for found in report.expectations if found.broken], find, values, thumbnails),
        *_suspicions(report, find, thumbnails),
        *_quarantine(report.quarantined, rows, find, thumbnails),
        *_copies(rows, copies, thumbnails),
        *draw_measures(values, bounds),
        *draw_attributes(catalog.attributes, rows),
        *draw_rights(rows),
        *draw_categories(catalog, rows, thumbnails),
        f'<p class="soft small">Catalogue <code>{report.catalog}</code>. The page shows at most {MOST_PICTURES} pictures; '
        "report.json and manifest.parquet name every photo. Great Expectations' own pages are in <code>docs/</code>.</p>",
    ]
    return page(f"Catalogue {'accepted' if report.passed else 'rejected'}", parts)


class _Finder:
    """Rows by the names that reports use: paths, escaped where they could not be shown."""

    def __init__(self, paths: pa.ChunkedArray) -> None:
        self._paths = paths
        self._escaped: dict[str, int] = {}

    def rows(self, names: Sequence[str]) -> list[int | None]:
        found = pc.index_in(pa.array(names, pa.string()), value_set=self._paths).to_pylist()
        if None in found and not self._escaped:
            strange = pc.match_substring_regex(self._paths, r"[^\x20-\x5b\x5d-\x7e]").to_numpy(zero_copy_only=False)
            self._escaped = {escape(self._paths[int(row)].as_py()): int(row) for row in np.flatnonzero(strange)}
        return [self._escaped.get(name) if row is None else row for name, row in zip(names, found, strict=True)]


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
            f"Every critical expectation holds; {_plural(len(broken), 'warning')}: {_listed([one.name for one in broken], 6)}."
        )
    else:
        sentence = f"All {applicable} expectations hold."
    word, tone = ("accepted", "pass") if report.passed else ("rejected", "reject")
    title = f"{_plural(report.photos, 'photo')} of {_plural(len(catalog.counts), 'category', 'categories')}"
    yield draw_verdict("packshot · catalogue report", word, tone, title, sentence)
    yield tiles(
        {
            "photos": f"{report.photos:,}",
            "categories": f"{len(catalog.counts):,}",
            "originals": _size(pc.sum(rows["file_bytes"]).as_py() or 0),
            "as ingested": _size(sum(shard.size for shard in catalog.shards)),
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


def _offenders(
    broken: Sequence[Expectation], find: _Finder, values: dict[str, NDArray[np.float64]], thumbnails: Thumbnails
) -> Iterator[str]:
    named = sorted((found for found in broken if found.offenders), key=lambda found: found.severity != "critical")
    if not named:
        return
    yield "<h2>What breaks them</h2>"
    each = max(4, min(MOST_OFFENDERS, ALL_OFFENDERS // len(named)))
    for found in named:
        shown = found.offenders[:each]
        places = find.rows(shown)
        rows = [row for row in places if row is not None]
        others = [name for name, row in zip(shown, places, strict=True) if row is None]
        yield f'<h3>{quote(found.name)} <span class="soft">{quote(found.observed)}, expected {quote(found.expected)}</span></h3>'
        if others:
            yield f"<p>{', '.join(f'<code>{quote(shorten(name, 120))}</code>' for name in others)}</p>"
        column = values.get(found.column)
        told = ["" if column is None else f"<b>{tell_number(float(column[row]))}</b>" for row in rows]
        names = [name for name, row in zip(shown, places, strict=True) if row is not None]
        yield photos(zip(thumbnails.draw(rows), names, told, strict=True))
        if (more := max(found.unexpected, len(found.offenders)) - len(shown)) > 0:
            yield f'<p class="soft small">and {more:,} more</p>'


def _suspicions(report: ValidationReport, find: _Finder, thumbnails: Thumbnails) -> Iterator[str]:
    if not report.suspicions:
        return
    yield "<h2>Mislabelled?</h2>"
    shown = report.suspicions[:MOST_OFFENDERS]
    many = _plural(max(report.suspected, len(report.suspicions)), "photo")
    yield (
        f'<p class="soft">{many} whose picture looks more like another category\'s, by a model that has not seen the photo. '
        "A list to look at: nothing is done to them.</p>"
    )
    known = [(one, row) for one, row in zip(shown, find.rows([one.path for one in shown]), strict=True) if row is not None]
    told = [
        f"<b>{quote(escape(one.likely))}</b>? <span>{100 * one.confidence:.0f} %</span>, not {quote(escape(one.category))}"
        for one, _ in known
    ]
    uris = thumbnails.draw([row for _, row in known])
    yield photos((uri, one.path, words) for uri, (one, _), words in zip(uris, known, told, strict=True))
    if len(report.suspicions) > len(shown):
        rest = report.suspicions[len(shown) : MOST_FILES]
        lines = [[name_cell(one.path), name_cell(one.category), name_cell(one.likely), f"{one.confidence:.2f}"] for one in rest]
        yield f"<details><summary>{len(rest)} more</summary>"
        yield table(["photo", "category", "looks like", "confidence"], lines, numbers=[3]) + "</details>"


def _quarantine(bad: Sequence[BadPhoto], rows: pa.Table, find: _Finder, thumbnails: Thumbnails) -> Iterator[str]:
    yield "<h2>Quarantine</h2>"
    if not bad:
        yield '<p class="soft">Every file could be taken in.</p>'
        return
    counts = sorted(Counter(one.reason for one in bad).items(), key=lambda pair: (-pair[1], pair[0]))
    yield table(
        ["reason", "files", ""],
        [[f"<b>{quote(reason)}</b>", f"{count:,}", bar(count / counts[0][1])] for reason, count in counts],
        numbers=[1],
    )
    groups: dict[str, list[BadPhoto]] = defaultdict(list)
    for one in bad:
        groups[one.reason].append(one)
    for reason, _ in counts:
        members = groups[reason]
        shown = members[:MOST_FILES]
        twins = _twins(shown, rows, find)
        many = f'<span class="soft">{_plural(len(members), "file")}</span>'
        yield f"<details{' open' if len(members) <= MOST_OPEN else ''}><summary><b>{quote(reason)}</b> {many}</summary>"
        yield table(
            ["file", "category", "detail"], [[name_cell(one.path), name_cell(one.category), quote(one.detail)] for one in shown]
        )
        pictured = [(one, row) for one, row in zip(shown, twins, strict=True) if row is not None][:MOST_OFFENDERS]
        if pictured:
            yield '<p class="soft small">The photo that was kept in place of each:</p>'
            uris = thumbnails.draw([row for _, row in pictured])
            yield photos((uri, one.path, "") for (one, _), uri in zip(pictured, uris, strict=True))
        if len(members) > len(shown):
            yield f'<p class="soft small">{len(members) - len(shown):,} more: packshot catalog show --reason {quote(reason)}</p>'
        yield "</details>"


def _twins(bad: Sequence[BadPhoto], rows: pa.Table, find: _Finder) -> list[int | None]:
    """The accepted photo that shows what a refused file does: the same bytes, or the one that its detail names."""
    digests = pa.array([one.sha256 or None for one in bad], pa.string())
    same = pc.index_in(digests, value_set=rows["sha256"], skip_nulls=True).to_pylist()
    told = [one.detail.removeprefix("the same picture as ") for one in bad]
    named = find.rows([words.rpartition(" of '")[0] or words for words in told])
    return [first if first is not None else second for first, second in zip(same, named, strict=True)]


def _copies(rows: pa.Table, copies: pa.Table, thumbnails: Thumbnails) -> Iterator[str]:
    if not copies.num_rows:
        return
    pairs = np.stack([pc.index_in(copies[name], value_set=rows["sha256"]).to_numpy() for name in ("a", "b")], axis=1)
    roots = group(rows.num_rows, pairs)
    touched = np.unique(pairs)
    order = touched[np.argsort(roots[touched], kind="stable")]
    found = np.split(order, np.flatnonzero(np.diff(roots[order])) + 1)
    found.sort(key=lambda members: (-len(members), int(members[0])))
    yield "<h2>Near-duplicates</h2>"
    told = f"{_plural(len(found), 'group')} of {len(order):,} photos; a group never crosses a split."
    yield f'<p class="soft">{told}{f" Shown are the {MOST_GROUPS} largest." if len(found) > MOST_GROUPS else ""}</p>'
    cards = []
    for members in found[:MOST_GROUPS]:
        shown = [int(row) for row in members[:MOST_OF_A_GROUP]]
        names = [escape(rows["path"][row].as_py()) for row in shown]
        more = f"<p class='soft'>and {len(members) - len(shown)} more</p>" if len(members) > len(shown) else ""
        cards.append(
            f'<div class="pair">{photos(zip(thumbnails.draw(shown), names, [""] * len(shown), strict=True))}{more}</div>'
        )
    yield f'<div class="pairs">{"".join(cards)}</div>'


def _listed(words: Sequence[str], most: int) -> str:
    """'a, b and 3 more'."""
    return ", ".join(words[:most]) + (f" and {len(words) - most} more" if len(words) > most else "")


def _plural(count: int, one: str, many: str = "") -> str:
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def _size(count: int) -> str:
    """Bytes as people read them: '512 B', '3.1 MB'."""
    size = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} TB"
