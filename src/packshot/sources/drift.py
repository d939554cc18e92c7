"""How far a catalogue's columns have moved from those that the champion learnt from."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from packshot.layout import Layout
from packshot.records import Digest, Live, Record, ServiceCard

if TYPE_CHECKING:
    import pandas as pd

BINS = 10
_VALUES = 50
_CHANCE = 0.01


class Distribution(Record):
    """How the values of one column fall into bins; the last bin counts what is not known."""

    column: str
    kind: Literal["number", "label"]
    edges: tuple[float, ...] = ()
    """Of a number: a bin ends with each, itself within; one more bin lies above the last."""
    values: tuple[str, ...] = ()
    """Of a label: the commonest words, sorted, a bin each; one more bin takes all others."""
    counts: tuple[int, ...]
    """Rows by bin."""


class Profile(Record):
    """What a catalogue's columns are like: what later catalogues are held against."""

    catalog: Digest
    photos: int = Field(ge=0)
    columns: tuple[Distribution, ...]

    def distribution(self, column: str) -> Distribution | None:
        return next((found for found in self.columns if found.column == column), None)


def describe_catalog(catalog: Digest, frame: pd.DataFrame, kinds: Mapping[str, Literal["number", "label"]]) -> Profile:
    """The profile of a table's columns, each of its kind."""
    columns = tuple(describe_column(name, frame[name], kind) for name, kind in kinds.items())
    return Profile(catalog=catalog, photos=len(frame), columns=columns)


def describe_column(name: str, column: pd.Series, kind: Literal["number", "label"]) -> Distribution:
    """Numbers by tenths of the rows, a value that fills a tenth alone by itself; labels by their commonest words."""
    edges = _edges(column) if kind == "number" else ()
    values = tuple(sorted(column.dropna().astype(str).value_counts().index[:_VALUES])) if kind == "label" else ()
    counts = count_bins(column, edges, values)
    return Distribution(column=name, kind=kind, edges=edges, values=values, counts=tuple(counts.tolist()))


def count_bins(column: pd.Series, edges: tuple[float, ...], values: tuple[str, ...]) -> NDArray[np.int64]:
    """Rows by bin, as Distribution.counts has them: a column of words by `values`, one of numbers by `edges`."""
    unknown = column.isna().to_numpy()
    known = column[~unknown]
    if column.dtype.kind == "O":
        words, names = known.to_numpy(dtype=str), np.array(values, dtype=str)
        at = np.where(np.isin(words, names), np.searchsorted(names, words), len(names))
    else:
        at = np.searchsorted(np.asarray(edges), known.to_numpy(dtype=np.float64), side="left")
    last = (len(values) or len(edges)) + 1
    counts = np.bincount(at, minlength=last + 1).astype(np.int64)
    counts[last] = unknown.sum()
    return counts


def stability_index(now: NDArray[np.int64], before: NDArray[np.int64]) -> float:
    """The population stability index of two histograms over the same bins: the sum of (p - q) ln(p / q), 0 for equal shares.

    It is Kullback's symmetric divergence (Kullback & Leibler 1951); credit scoring takes 0.1 for a shift and 0.25 for a large one
    (Siddiqi 2006). Half a row is added to each bin, so that an empty one does not make it infinite; bins empty in both are left
    out. Infinite where either histogram has no rows.
    """
    used = (now + before) > 0
    if not now.sum() or not before.sum():
        return math.inf
    p, q = ((counts[used] + 0.5) / (counts.sum() + 0.5 * used.sum()) for counts in (now, before))
    return float(((p - q) * np.log(p / q)).sum())


def chance_index(now: NDArray[np.int64], before: NDArray[np.int64]) -> float:
    """What the index exceeds once in a hundred times although nothing has moved.

    For two samples of one distribution it is (1 / n + 1 / m) times a chi-squared variable of one degree of freedom less than bins
    (Yurdakul & Naranjo 2020).
    """
    from scipy.special import chdtri

    bins = int(((now + before) > 0).sum())
    if bins < 2 or not now.sum() or not before.sum():
        return 0.0
    return float(chdtri(bins - 1, _CHANCE)) * (1 / int(now.sum()) + 1 / int(before.sum()))


def keep_profile(layout: Layout, path: Path) -> None:
    """Keep the profile at `path`, data/validate/profile.json or a bundle's, for as long as its catalogue may be a champion's."""
    profile = Profile.read(path)
    profile.write(layout.profiles / f"{profile.catalog}.json")


def champion_profile(layout: Layout) -> Profile | None:
    """What the champion's catalogue was like; None where nobody is champion or nothing is known of what it learnt from.

    Raises IntegrityError where the records that say so cannot be read.
    """
    if not layout.live.is_file():
        return None
    catalog = ServiceCard.read(Path(Live.read(layout.live).card)).catalog
    path = layout.profiles / f"{catalog}.json"
    return Profile.read(path) if path.is_file() else None


def _edges(column: pd.Series) -> tuple[float, ...]:
    """The column's deciles; one that stands there twice is a heap, whose lower side is an edge as well."""
    known = column.dropna().to_numpy(dtype=np.float64)
    if not len(known):
        return ()
    deciles = np.quantile(known, np.linspace(0, 1, BINS + 1)[1:-1], method="inverted_cdf")
    tied = [value for value in np.unique(deciles) if (known == value).mean() >= 1 / BINS]
    below = [float(np.nextafter(value, -math.inf)) for value in tied]
    return tuple(sorted({float(value) for value in deciles} | set(below)))
