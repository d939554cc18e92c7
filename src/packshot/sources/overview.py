"""What the photos of a catalogue are, for its report: measures, attributes, rights, categories."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape as quote
from typing import Literal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from packshot.images.thumbnails import Thumbnails
from packshot.pages import bar, histogram, photos, shorten, table, tell_number
from packshot.records import Attribute, Catalog
from packshot.sources.drift import Profile, chance_index, count_bins, stability_index
from packshot.sources.folder import escape

BINS = 40
MOST_CATEGORIES, MOST_SAMPLES, ALL_SAMPLES = 120, 8, 240
MOST_VALUES = 12


@dataclass(frozen=True, slots=True)
class Bound:
    """What a column's numbers are expected to keep to; either side may be open."""

    column: str
    at_least: float | None = None
    at_most: float | None = None
    severity: Literal["critical", "warning"] = "warning"


def draw_measures(measures: Mapping[str, NDArray[np.float64]], bounds: Sequence[Bound]) -> Iterator[str]:
    """A histogram of each column of numbers, one value a photo, its bounds drawn in."""
    charts = []
    for name, values in measures.items():
        known = values[np.isfinite(values)]
        if not known.size:
            continue
        held = [bound for bound in bounds if bound.column == name]
        at_least = max((bound.at_least for bound in held if bound.at_least is not None), default=None)
        at_most = min((bound.at_most for bound in held if bound.at_most is not None), default=None)
        low, high = _range(known, at_least, at_most)
        counts, _ = np.histogram(np.clip(known, low, high), bins=BINS, range=(low, high))
        drawing = histogram([int(count) for count in counts], low, high, at_least=at_least, at_most=at_most)
        outside = sum(int((known < bound.at_least).sum()) if bound.at_least is not None else 0 for bound in held) + sum(
            int((known > bound.at_most).sum()) if bound.at_most is not None else 0 for bound in held
        )
        told = f"median {tell_number(float(np.median(known)))}"
        if at_least is not None or at_most is not None:
            told += f" · expected {_expected(at_least, at_most)} · outside: {outside:,} ({share(outside, known.size)})"
        charts.append(f'<div class="chart"><b>{quote(name)}</b>{drawing}<p class="soft">{told}</p></div>')
    if charts:
        yield "<h2>Measures</h2>"
        yield (
            '<p class="soft">One value a photo. Dashed lines are bounds, red bins lie outside them; the ends gather what lies '
            "beyond the 0.5 and 99.5 percentiles.</p>"
        )
        yield f'<div class="charts">{"".join(charts)}</div>'


def draw_drift(champion: Profile, rows: pa.Table, measures: Mapping[str, NDArray[np.float64]]) -> Iterator[str]:
    """How far each column has moved from the catalogue that the champion learnt from, the furthest first."""
    found = []
    for was in champion.columns:
        if was.column not in measures and was.column not in rows.column_names:
            continue
        column = pd.Series(measures[was.column]) if was.column in measures else rows[was.column].to_pandas()
        now, before = count_bins(column, was.edges, was.values), np.asarray(was.counts)
        found.append((stability_index(now, before), chance_index(now, before), was.column))
    found.sort(key=lambda one: (-one[0], one[2]))
    yield "<h2>Drift</h2>"
    yield (
        f'<p class="soft">Against the {champion.photos:,} photos that the champion learnt from. Stability index: 0.1 is a shift, '
        "0.25 a large one; beside it what chance alone exceeds once in a hundred times.</p>"
    )
    lines = [
        [f"<b>{quote(name)}</b>" if index > max(0.1, chance) else quote(name), f"{index:.3f}", f"{chance:.3f}", bar(index / 0.5)]
        for index, chance, name in found
    ]
    yield table(["column", "index", "by chance", ""], lines, numbers=[1, 2])


def draw_attributes(declared: Sequence[Attribute], rows: pa.Table) -> Iterator[str]:
    """What share of the photos has each attribute, and its values."""
    if not declared:
        return
    yield "<h2>Attributes</h2>"
    lines = []
    for attribute in declared:
        known = rows[attribute.name].drop_null()
        coverage = f"{share(len(known), rows.num_rows)} of photos"
        lines.append(
            [
                f"<b>{quote(attribute.name)}</b>",
                attribute.kind,
                coverage,
                bar(len(known) / max(1, rows.num_rows)),
                _values(attribute, known),
            ]
        )
    yield table(["attribute", "kind", "known of", "", "values"], lines)


def draw_rights(rows: pa.Table) -> Iterator[str]:
    """Licences, sources, consent and the last days of use."""
    yield "<h2>Rights</h2>"
    lines = [
        [f"<b>{name}</b>", share(rows.num_rows - rows[name].null_count, rows.num_rows), _counts(rows[name].drop_null())]
        for name in ("licence", "source", "consent")
    ]
    days = rows["expiry"].drop_null()
    told = f"from {pc.min(days).as_py()} to {pc.max(days).as_py()}" if len(days) else ""
    lines.append(["<b>expiry</b>", share(len(days), rows.num_rows), told])
    if all(rows[name].null_count == rows.num_rows for name in ("licence", "source", "consent", "expiry")):
        yield '<p class="soft">Nothing is known of licence, source, consent or expiry of any photo.</p>'
        return
    yield table(["right", "known of", "values"], lines)


def draw_categories(catalog: Catalog, rows: pa.Table, thumbnails: Thumbnails) -> Iterator[str]:
    """How many photos of each category, and a few of them: those whose digests come first, so the choice is even and stays."""
    yield "<h2>Categories</h2>"
    most = max((count.photos for count in catalog.counts), default=0) or 1
    yield table(
        ["category", "photos", ""],
        [
            [name_cell(count.category), f"{count.photos:,}", bar(count.photos / most)]
            for count in catalog.counts[:MOST_CATEGORIES]
        ],
        numbers=[1],
    )
    if len(catalog.counts) > MOST_CATEGORIES:
        told = f"Shown are {MOST_CATEGORIES} of {len(catalog.counts):,} categories; catalog.json has them all."
        yield f'<p class="soft small">{told}</p>'
    each = max(1, min(MOST_SAMPLES, ALL_SAMPLES // max(1, len(catalog.counts))))
    for category, members in first_of_each(rows["category"], each).items():
        uris = thumbnails.draw(members)
        yield f"<h3>{quote(escape(shorten(category)))}</h3>"
        yield photos((uri, escape(rows["path"][at].as_py()), "") for at, uri in zip(members, uris, strict=True))


def first_of_each(column: pa.ChunkedArray, most: int) -> dict[str, list[int]]:
    """The first `most` rows of each of the first 120 categories, by name: {category: rows}. Rows stand in the order of sha256."""
    codes = pc.dictionary_encode(column).combine_chunks()
    names, numbers = codes.dictionary.to_pylist(), codes.indices.to_numpy()
    order = np.argsort(numbers, kind="stable")
    starts = np.searchsorted(numbers[order], np.arange(len(names) + 1))
    found = {name: [int(row) for row in order[starts[at] : starts[at + 1]][:most]] for at, name in enumerate(names)}
    return dict(sorted(found.items())[:MOST_CATEGORIES])


def name_cell(name: str) -> str:
    """A name of any length in a table's cell."""
    return f'<span class="name">{quote(escape(shorten(name, 160)))}</span>'


def share(part: int, whole: int) -> str:
    """'12.3 %'; never 0 or 100 where it is not."""
    if not whole or not part:
        return "0 %"
    percent = 100 * part / whole
    if part < whole and percent > 99.9:
        return "> 99.9 %"
    return "< 0.1 %" if percent < 0.1 else f"{percent:.3g} %"


def _range(known: NDArray[np.float64], *bounds: float | None) -> tuple[float, float]:
    low, high = (float(edge) for edge in np.quantile(known, [0.005, 0.995]))
    for bound in bounds:
        if bound is not None:
            low, high = min(low, bound), max(high, bound)
    room = (high - low) * 0.04 or max(abs(low), 1.0) * 0.05
    return (max(0.0, low - room) if known.min() >= 0 else low - room), high + room


def _expected(at_least: float | None, at_most: float | None) -> str:
    if at_least is None:
        return f"at most {tell_number(at_most or 0.0)}"
    return f"at least {tell_number(at_least)}" if at_most is None else f"{tell_number(at_least)} to {tell_number(at_most)}"


def _values(attribute: Attribute, known: pa.ChunkedArray) -> str:
    if not len(known):
        return ""
    if attribute.kind == "number":
        values = known.to_numpy()
        low, middle, high = (tell_number(float(edge)) for edge in np.quantile(values, [0, 0.5, 1]))
        return f"from {low} to {high}, median {middle}"
    if attribute.kind == "date":
        return f"from {pc.min(known).as_py()} to {pc.max(known).as_py()}"
    if attribute.kind == "text":
        length = pc.mean(pc.utf8_length(known)).as_py()
        return f"{pc.count_distinct(known).as_py():,} different, {length:.0f} characters on average"
    return _counts(known)


def _counts(known: pa.ChunkedArray) -> str:
    """The most frequent values with their counts."""
    counted = sorted(
        (
            (str(pair["values"]).lower() if isinstance(pair["values"], bool) else str(pair["values"]), pair["counts"])
            for pair in pc.value_counts(known).to_pylist()
        ),
        key=lambda pair: (-pair[1], pair[0]),
    )
    shown = ", ".join(
        f'{quote(escape(shorten(value, 40)))} <span class="soft">{count:,}</span>' for value, count in counted[:MOST_VALUES]
    )
    return f"{shown} and {len(counted) - MOST_VALUES:,} more" if len(counted) > MOST_VALUES else shown
