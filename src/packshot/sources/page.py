"""The catalogue's own report: one HTML page that opens anywhere, offline."""

from __future__ import annotations

import base64
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from html import escape as quote
from itertools import chain
from pathlib import Path

from packshot.images.manifest import Row, read_photos
from packshot.images.resize import fit_square
from packshot.images.sheet import decode_png
from packshot.records import BadPhoto, Catalog, Expectation, ValidationReport
from packshot.sources.folder import escape

THUMBNAIL = 96
_SHOWN = 24
_SAMPLES = 8

_STYLE = """
:root { --ink: #1f2430; --faint: #6b7280; --line: #e5e7eb; --good: #15803d; --bad: #b91c1c; --warn: #b45309; }
* { box-sizing: border-box; }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); max-width: 1080px; margin: 0 auto; padding: 24px; }
h1 { font-size: 26px; margin: 0 0 4px; } h2 { font-size: 19px; margin: 36px 0 10px; } h3 { font-size: 15px; margin: 20px 0 6px; }
p { margin: 4px 0 12px; } .faint { color: var(--faint); } code { font-size: 13px; overflow-wrap: anywhere; }
.badge { display: inline-block; padding: 2px 12px; border-radius: 12px; color: #fff; font-weight: 600; font-size: 15px; }
.good { background: var(--good); } .bad { background: var(--bad); } .warn { background: var(--warn); }
.tiles { display: flex; gap: 12px; flex-wrap: wrap; margin: 18px 0; }
.tile { border: 1px solid var(--line); border-radius: 8px; padding: 10px 16px; min-width: 130px; }
.tile b { display: block; font-size: 22px; }
table { border-collapse: collapse; width: 100%; } th { text-align: left; font-weight: 600; color: var(--faint); font-size: 13px; }
th, td { padding: 6px 10px 6px 0; border-bottom: 1px solid var(--line); vertical-align: top; }
.bar { background: #4f6df5; height: 14px; border-radius: 3px; min-width: 2px; } .thin { width: 55%; }
.photos { display: flex; flex-wrap: wrap; gap: 10px; margin: 6px 0 14px; }
figure { margin: 0; width: 96px; } figure img { display: block; border: 1px solid var(--line); border-radius: 4px; }
summary { cursor: pointer; color: var(--faint); margin: 10px 0; }
figcaption { font-size: 11px; line-height: 1.3; color: var(--faint); overflow-wrap: anywhere; margin-top: 3px; }
"""


def draw_page(
    report: ValidationReport, catalog: Catalog, rows: Sequence[Row], copies: Sequence[Sequence[int]], folder: Path
) -> str:
    """The report as HTML: verdict, categories, expectations, offenders and near-duplicates with thumbnails, quarantine.

    `copies` are groups of indices into `rows` that show one picture; `folder` holds the photos. Equal input, equal page.
    """
    samples = _samples(rows)
    by_path = {escape(row.path): row for row in rows}
    broken = [found for found in report.expectations if not found.passed]
    accused = {name for found in broken for name in found.offenders[:_SHOWN] if name in by_path}
    twins = [[rows[index] for index in found[:6]] for found in copies[:_SHOWN]]
    pictures = _thumbnails([*chain(*samples.values(), *twins), *(by_path[name] for name in accused)], folder)
    parts = [
        _head(report, catalog),
        _expectations(report.expectations),
        _offenders(broken, by_path, pictures),
        _quarantine(report.quarantined),
        _copies(twins, len(copies), pictures),
        _categories(catalog, samples, pictures),
        f"<p class=faint>Catalogue <code>{report.catalog}</code>. Great Expectations' own pages are in <code>docs/</code>.</p>",
    ]
    title = f"Catalogue report: {'accepted' if report.passed else 'rejected'}"
    return (
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{title}</title>"
        f"<style>{_STYLE}</style><body>{''.join(parts)}</body></html>\n"
    )


def _head(report: ValidationReport, catalog: Catalog) -> str:
    warnings = sum(not found.passed and found.severity == "warning" for found in report.expectations)
    kept = sum(found.passed for found in report.expectations)
    badge = "<span class='badge good'>accepted</span>" if report.passed else "<span class='badge bad'>rejected</span>"
    tiles = {
        "photos": f"{report.photos:,}",
        "categories": f"{len(catalog.counts):,}",
        "quarantined files": f"{len(report.quarantined):,}",
        "expectations kept": f"{kept} of {len(report.expectations)}",
        "warnings": f"{warnings}",
    }
    boxes = "".join(f"<div class=tile><b>{value}</b>{name}</div>" for name, value in tiles.items())
    return f"<h1>Catalogue {badge}</h1><p class=faint>{quote(escape(catalog.source))}</p><div class=tiles>{boxes}</div>"


def _categories(catalog: Catalog, samples: Mapping[str, Sequence[Row]], pictures: Mapping[str, str]) -> str:
    most = max((count.photos for count in catalog.counts), default=0) or 1
    lines = "".join(
        f"<tr><td>{quote(escape(count.category))}<td>{count.photos:,}"
        f"<td class=thin><div class=bar style='width:{100 * count.photos / most:.1f}%'></div>"
        for count in catalog.counts
    )
    shown = "".join(
        f"<h3>{quote(escape(category))}</h3>{_figures(chosen, pictures, named=False)}" for category, chosen in samples.items()
    )
    return f"<h2>Categories</h2><table><tr><th>category<th>photos<th>{lines}</table>{shown}"


def _expectations(found: Sequence[Expectation]) -> str:
    broken = sorted((one for one in found if not one.passed), key=lambda one: one.severity != "critical")
    kept = [one for one in found if one.passed]
    first = _rules(broken) if broken else "<p>Every expectation holds.</p>"
    return f"<h2>Expectations</h2>{first}<details><summary>{len(kept)} expectations hold</summary>{_rules(kept)}</details>"


def _rules(found: Sequence[Expectation]) -> str:
    lines = "".join(
        f"<tr><td>{_state(one)}<td>{quote(one.name)}<td><code>{quote(one.column)}</code><td>{quote(one.expected)}"
        f"<td>{quote(one.observed)}"
        for one in found
    )
    return f"<table><tr><th><th>rule<th>column<th>expected<th>observed{lines}</table>"


def _state(found: Expectation) -> str:
    if found.passed:
        return "<span class='badge good'>kept</span>"
    if found.severity == "critical":
        return "<span class='badge bad'>broken</span>"
    return "<span class='badge warn'>warning</span>"


def _offenders(broken: Sequence[Expectation], by_path: Mapping[str, Row], pictures: Mapping[str, str]) -> str:
    parts = []
    for found in broken:
        if not found.offenders:
            continue
        known = [by_path[name] for name in found.offenders[:_SHOWN] if name in by_path]
        others = [name for name in found.offenders[:_SHOWN] if name not in by_path]
        more = len(found.offenders) - _SHOWN
        rest = f"<p class=faint>{more:,} more are named in report.json.</p>" if more > 0 else ""
        words = f"<p><code>{quote(', '.join(others))}</code></p>" if others else ""
        title = f"<h3>{quote(found.name)} <span class=faint>{quote(found.expected)}</span></h3>"
        parts.append(f"{title}{words}{_figures(known, pictures, column=found.column)}{rest}")
    return f"<h2>What breaks them</h2>{''.join(parts)}" if parts else ""


def _copies(twins: Sequence[Sequence[Row]], groups: int, pictures: Mapping[str, str]) -> str:
    if not twins:
        return ""
    shown = "".join(_figures(found, pictures) for found in twins)
    return f"<h2>Near-duplicates</h2><p class=faint>Groups: {groups:,}. Each stays in one split.</p>{shown}"


def _quarantine(quarantined: Sequence[BadPhoto]) -> str:
    if not quarantined:
        return "<h2>Quarantine</h2><p>Every file could be taken in.</p>"
    lines = "".join(
        f"<tr><td><code>{quote(bad.path)}</code><td>{quote(bad.category)}<td>{quote(bad.reason)}<td>{quote(bad.detail)}"
        for bad in quarantined
    )
    return f"<h2>Quarantine</h2><table><tr><th>file<th>category<th>reason<th>detail{lines}</table>"


def _figures(rows: Sequence[Row], pictures: Mapping[str, str], *, column: str = "", named: bool = True) -> str:
    figures = []
    for row in rows:
        value = f"{shown} · " if (shown := _value(row, column)) else ""
        caption = f"<figcaption>{value}{quote(escape(row.path))}</figcaption>" if named else ""
        label = quote(escape(row.path), quote=True)
        figures.append(f"<figure><img alt='{label}' width=96 height=96 src='{pictures[row.sha256]}'>{caption}</figure>")
    return f"<div class=photos>{''.join(figures)}</div>" if figures else ""


def _value(row: Row, column: str) -> str:
    if column == "short_side":
        return f"{min(row.width, row.height)} px"
    if column == "aspect":
        return f"{max(row.width, row.height) / min(row.width, row.height):.2f}"
    value = getattr(row, column, None)
    return f"{value:.3g}" if isinstance(value, float) else quote(escape(str(value))[:40]) if isinstance(value, int | str) else ""


def _samples(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """A few photos of each category: those whose digests come first, so that the choice is even and stays."""
    members: dict[str, list[Row]] = defaultdict(list)
    for row in sorted(rows, key=lambda row: row.sha256):
        if len(members[row.category]) < _SAMPLES:
            members[row.category].append(row)
    return dict(sorted(members.items()))


def _thumbnails(rows: Iterable[Row], folder: Path) -> dict[str, str]:
    """Data URIs by sha256."""
    import cv2

    wanted: dict[str, set[int]] = defaultdict(set)
    for row in rows:
        wanted[row.shard].add(row.row)
    pictures: dict[str, str] = {}
    for shard, places in sorted(wanted.items()):
        for place, (sha256, png) in enumerate(read_photos(folder / shard)):
            if place in places:
                small = fit_square(decode_png(png), THUMBNAIL, (255, 255, 255))
                _, encoded = cv2.imencode(".jpg", small[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, 82])
                pictures[sha256] = f"data:image/jpeg;base64,{base64.b64encode(bytes(encoded)).decode()}"
    return pictures
