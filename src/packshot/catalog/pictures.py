"""What a change of the catalogue looks like: thumbnails of both versions, a contact sheet, and a page that opens offline."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape as quote

import numpy as np
import pyarrow as pa

from packshot.catalog.changes import Diff, Side
from packshot.catalog.pairing import KINDS, Changes, Kind
from packshot.catalog.snapshot import Snapshot
from packshot.images.resize import fit_square
from packshot.images.sheet import Pixels, add_title, contact_sheet, encode_png
from packshot.images.thumbnails import encode_thumbnail
from packshot.pages import bar, draw_verdict, page, photos, shorten, table, tell_number, tiles
from packshot.sources.folder import escape
from packshot.sources.overview import name_cell

MOST_SHOWN = 24
"""Photos of a kind that are shown."""

MEANING: Mapping[Kind, str] = {
    "added": "new photos",
    "removed": "photos that are gone",
    "changed": "another picture under the same name: before, after",
    "moved": "the same picture in another category",
    "renamed": "the same picture under another name",
    "retold": "the same picture, other attributes or rights",
}

MOST_ROWS = 200
"""Lines of a table on the page."""

_SIDE, _COLUMNS = 96, 12
_PAPER = (255, 255, 255)


@dataclass(frozen=True, slots=True)
class Shown:
    """One photo of a sheet, with its picture before or after or both."""

    kind: Kind
    before: Pixels | None
    after: Pixels | None
    name: str
    told: str
    """What is to be said of it, where its name is not enough."""


def collect_pictures(found: Changes, before: Snapshot, after: Snapshot) -> list[Shown]:
    """Some photos of each kind, of its categories in turn; of those whose picture is the same only one picture."""
    pairs = {kind: _choose(found, kind) for kind in KINDS}
    old = before.pixels(sorted({row for kind in ("changed", "removed") for row, _ in pairs[kind]}))
    new = after.pixels(sorted({row for kind in KINDS if kind != "removed" for _, row in pairs[kind]}))
    return [_shown(kind, found, row, now, old.get(row), new.get(now)) for kind in KINDS for row, now in pairs[kind]]


def _choose(found: Changes, kind: Kind) -> list[tuple[int, int]]:
    """The pairs of rows that are shown: the first of each category, then the second of each ..., in the order of paths."""
    pairs = found.kinds[kind]
    side, table = (0, found.before) if kind == "removed" else (1, found.after)
    codes = table["category"].take(pa.array(pairs[:, side])).combine_chunks().dictionary_encode().indices.to_numpy()
    order = np.argsort(codes, kind="stable")
    rank = np.arange(len(codes)) - np.searchsorted(codes[order], codes[order])
    chosen = np.sort(order[np.argsort(rank, kind="stable")][:MOST_SHOWN])
    return [(int(row), int(now)) for row, now in pairs[chosen]]


def _shown(kind: Kind, found: Changes, row: int, now: int, before: Pixels | None, after: Pixels | None) -> Shown:
    table, at = (found.before, row) if kind == "removed" else (found.after, now)
    told = ""
    if kind == "moved":
        told = f"{found.before['category'][row].as_py()} → {found.after['category'][now].as_py()}"
    elif kind == "renamed":
        told = f"was {found.before['path'][row].as_py()}"
    elif kind == "retold":
        told = ", ".join(name for name, rows in found.told.items() if now in rows)
    return Shown(kind, before if kind in {"changed", "removed"} else None, after, escape(table["path"][at].as_py()), escape(told))


def draw_sheet(diff: Diff, shown: Sequence[Shown]) -> bytes:
    """The contact sheet as a PNG: rows of photos for each kind, changed ones before and after side by side."""
    strips = []
    for kind in KINDS:
        pictures, labels = [], []
        for one in (one for one in shown if one.kind == kind):
            for when, pixels in (("before", one.before), ("after", one.after)):
                if pixels is not None:
                    pictures.append(fit_square(pixels, _SIDE, _PAPER))
                    name = one.name.rpartition("/")[2]
                    labels.append(f"{when}: {name}" if kind == "changed" else one.told or name)
        if pictures:
            title = f"{kind}: {MEANING[kind]} ({_some(len([one for one in shown if one.kind == kind]), diff.count(kind))})"
            strips.append(add_title(contact_sheet(np.stack(pictures), _COLUMNS, labels), title))
    if not strips:
        blank = np.full((_SIDE, 3 * _SIDE, 3), 255, dtype=np.uint8)
        strips = [add_title(blank, "no photo is added, removed, changed, moved, renamed or retold")]
    width = max(strip.shape[1] for strip in strips)
    return encode_png(
        np.concatenate([np.pad(strip, ((0, 8), (0, width - strip.shape[1]), (0, 0)), constant_values=255) for strip in strips])
    )


def draw_page(diff: Diff, shown: Sequence[Shown]) -> str:
    """The whole change as one HTML page."""
    title = f"Catalogue: {diff.before.name} to {diff.after.name}"
    return page(title, [*_head(diff), *_photos(diff, shown), *_tables(diff), *_files(diff)])


def tell_counts(diff: Diff) -> str:
    """'12 added, 3 changed; 2 newly quarantined'."""
    if diff.same:
        return "Nothing changed."
    parts = [f"{found.photos:,} {found.kind}" for found in diff.counts if found.photos]
    parts += [
        f"{len(files):,} {word}"
        for files, word in ((diff.quarantined, "newly quarantined"), (diff.released, "released"))
        if files
    ]
    return ", ".join(parts)


def _head(diff: Diff) -> Iterator[str]:
    word, tone = ("nothing changed", "pass") if diff.same else ("changed", "inconclusive")
    title = f"From {_name(diff.before)} to {_name(diff.after)}"
    yield draw_verdict("packshot · catalogue diff", word, tone, title, tell_counts(diff))
    yield tiles(
        {
            "photos before": f"{diff.before.photos:,}",
            "photos after": f"{diff.after.photos:,}",
            **{found.kind: f"{found.photos:,}" for found in diff.counts if found.photos},
        }
    )


def _photos(diff: Diff, shown: Sequence[Shown]) -> Iterator[str]:
    for kind in KINDS:
        members = [one for one in shown if one.kind == kind]
        if not members:
            continue
        many = _some(len(members), diff.count(kind))
        yield f'<h2>{kind.capitalize()} <span class="soft small">{MEANING[kind]} · {many}</span></h2>'
        if kind != "changed":
            yield photos((_uri(one.before if one.after is None else one.after), one.name, quote(one.told)) for one in members)
            continue
        cards = (
            f'<div class="pair">{photos([(_uri(one.before), "", "before"), (_uri(one.after), "", "after")])}'
            f'<p title="{quote(one.name)}">{quote(shorten(one.name))}</p></div>'
            for one in members
        )
        yield f'<div class="pairs">{"".join(cards)}</div>'


def _tables(diff: Diff) -> Iterator[str]:
    yield "<h2>By category</h2>"
    moving = [one for one in diff.categories if one.touched]
    lines = [[name_cell(one.category), *(f"{count:,}" if count else "" for count in one.numbers)] for one in moving[:MOST_ROWS]]
    if lines:
        heads = ["category", "before", "after", "added", "removed", "moved in", "moved out", "changed"]
        yield table(heads, lines, numbers=range(1, 8))
    yield f'<p class="soft small">{_rest(len(diff.categories) - len(moving), "category", "categories")} unchanged.</p>'
    if diff.attributes:
        yield "<h2>By attribute</h2>"
        lines = [[quote(one.attribute), f"{one.before:,}", f"{one.after:,}", f"{one.changed:,}"] for one in diff.attributes]
        yield table(["attribute", "known before", "known after", "changed in photos of both"], lines, numbers=range(1, 4))
    if diff.reasons:
        yield "<h2>Quarantine by reason</h2>"
        lines = [[quote(one.reason), f"{one.before:,}", f"{one.after:,}"] for one in diff.reasons]
        yield table(["reason", "before", "after"], lines, numbers=range(1, 3))
    if diff.drift:
        yield "<h2>Measures</h2>"
        yield (
            '<p class="soft">The stability index of each measure: 0.1 is a shift, 0.25 a large one. '
            "Beside it what chance alone exceeds once in a hundred times with so many photos.</p>"
        )
        lines = [
            [
                f"<b>{one.measure}</b>" if one.shifted else one.measure,
                tell_number(one.before),
                tell_number(one.after),
                f"{one.index:.3f}",
                f"{one.chance:.3f}",
                bar(one.index / 0.5) if one.shifted else "",
            ]
            for one in diff.drift
        ]
        yield table(["measure", "median before", "median after", "index", "by chance", ""], lines, numbers=range(1, 5))


def _files(diff: Diff) -> Iterator[str]:
    for title, files in (("Newly quarantined", diff.quarantined), ("Released from quarantine", diff.released)):
        if not files:
            continue
        yield f"<h2>{title}</h2>"
        lines = [[name_cell(bad.path), quote(bad.reason), quote(bad.detail)] for bad in files[:MOST_ROWS]]
        yield table(["file", "reason", "detail"], lines)
        if len(files) > MOST_ROWS:
            yield f'<p class="soft small">and {len(files) - MOST_ROWS:,} more</p>'


def _uri(pixels: Pixels | None) -> str:
    return "" if pixels is None else encode_thumbnail(pixels)


def _name(side: Side) -> str:
    return f"{side.name} ({side.commit[:10]})" if side.commit and not side.commit.startswith(side.name) else side.name


def _some(shown: int, count: int) -> str:
    return f"the first {shown:,} of {count:,}" if shown < count else f"{count:,}"


def _rest(count: int, one: str, many: str) -> str:
    return f"{count:,} {one if count == 1 else many}"
