"""The photos that a catalogue's report names: what breaks expectations, what is suspected, refused, or there twice."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from html import escape as quote

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from packshot.images.fingerprint import group
from packshot.images.thumbnails import Thumbnails
from packshot.pages import bar, photos, plural, shorten, table, tell_number
from packshot.records import BadPhoto, Expectation, ValidationReport
from packshot.sources.folder import escape
from packshot.sources.overview import name_cell

MOST_OFFENDERS, ALL_OFFENDERS, MOST_GROUPS, MOST_OF_A_GROUP, MOST_FILES = 24, 240, 24, 4, 60
MOST_OPEN = 8
"""How much of each a page shows, and how long a list stands open; it says so where there is more, and report.json has all."""


class Finder:
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


def draw_offenders(
    broken: Sequence[Expectation], find: Finder, values: Mapping[str, NDArray[np.float64]], thumbnails: Thumbnails
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


def draw_suspicions(report: ValidationReport, find: Finder, thumbnails: Thumbnails) -> Iterator[str]:
    if not report.suspicions:
        return
    yield "<h2>Mislabelled?</h2>"
    shown = report.suspicions[:MOST_OFFENDERS]
    many = plural(max(report.suspected, len(report.suspicions)), "photo")
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


def draw_quarantine(bad: Sequence[BadPhoto], rows: pa.Table, find: Finder, thumbnails: Thumbnails) -> Iterator[str]:
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
        many = f'<span class="soft">{plural(len(members), "file")}</span>'
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


def draw_copies(rows: pa.Table, copies: pa.Table, thumbnails: Thumbnails) -> Iterator[str]:
    if not copies.num_rows:
        return
    pairs = np.stack([pc.index_in(copies[name], value_set=rows["sha256"]).to_numpy() for name in ("a", "b")], axis=1)
    roots = group(rows.num_rows, pairs)
    touched = np.unique(pairs)
    order = touched[np.argsort(roots[touched], kind="stable")]
    found = np.split(order, np.flatnonzero(np.diff(roots[order])) + 1)
    found.sort(key=lambda members: (-len(members), int(members[0])))
    yield "<h2>Near-duplicates</h2>"
    told = f"{plural(len(found), 'group')} of {len(order):,} photos; a group never crosses a split."
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


def _twins(bad: Sequence[BadPhoto], rows: pa.Table, find: Finder) -> list[int | None]:
    """The accepted photo that shows what a refused file does: the same bytes, or the one that its detail names."""
    digests = pa.array([one.sha256 or None for one in bad], pa.string())
    same = pc.index_in(digests, value_set=rows["sha256"], skip_nulls=True).to_pylist()
    told = [one.detail.removeprefix("the same picture as ") for one in bad]
    named = find.rows([words.rpartition(" of '")[0] or words for words in told])
    return [first if first is not None else second for first, second in zip(same, named, strict=True)]
