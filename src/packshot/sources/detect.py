"""Which source something on disk is, and what its table's columns seem to mean."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path

import pyarrow.compute as pc

from packshot.errors import UsageError
from packshot.images.manifest import CORE_COLUMNS
from packshot.records import AttributeKind
from packshot.sources.archive import Archive
from packshot.sources.attributes import Unfit, to_kind
from packshot.sources.folder import Folder
from packshot.sources.packed import Pack, read_index
from packshot.sources.sheets import SUFFIXES, Sheet, open_sheet
from packshot.sources.table import Table

USUAL: Mapping[str, tuple[str, ...]] = {
    "image": ("image", "image_path", "image_file", "photo", "picture", "path", "file", "filename", "file_name"),
    "category": ("category", "product_category", "class", "label"),
    "sku": ("sku", "product_id", "article_id", "item_id"),
    "licence": ("licence", "license"),
    "source": ("source",),
    "consent": ("consent",),
    "expiry": ("expiry", "expires", "valid_until"),
}
"""What shops call the columns, the likeliest first; case does not matter."""

MOST_LABELS = 64
"""Different words of a column that is taken for a label."""

_SAMPLE = 10_000


@dataclass(frozen=True, slots=True)
class Columns:
    """Which columns of a table mean what; what is empty is guessed by its usual names."""

    image: str = ""
    category: str = ""
    sku: str = ""
    licence: str = ""
    source: str = ""
    consent: str = ""
    expiry: str = ""


def detect_source(place: Path, columns: Columns, *, below: str = "", path: str | None = None) -> Folder | Table | Archive:
    """The source that reads a folder tree, a table or an archive; its own `path` is `path`, by default the place itself.

    Raises UsageError where it is none of these, a table whose columns have unusual names, or where what is said of it does not
    concern it.
    """
    path = path if path is not None else str(place)
    if not place.exists():
        raise UsageError("no such folder, table or archive", where=str(place), advice="name what holds the photos")
    if below and (place.is_dir() or place.suffix.lower() in SUFFIXES):
        raise UsageError("--below is of an archive", where=str(place), advice="leave it out, or name the folder itself")
    if not place.is_dir() and place.suffix.lower() in SUFFIXES:
        return _table(place, columns, path)
    if said := [one.name for one in fields(Columns) if getattr(columns, one.name)]:
        raise UsageError(f"--{said[0]} is of a table", where=str(place), advice="leave it out, or name the table")
    if place.is_dir():
        return Folder(kind="folder", path=path)
    return Archive(kind="archive", path=path, below=below)


def detect_import(place: Path, columns: Columns, *, below: str, path: str) -> Folder | Table | Archive:
    """As `detect_source`, for what stands at `path` in the project; a folder with one table in it is that table."""
    tables = sorted(one for one in place.iterdir() if one.suffix.lower() in SUFFIXES) if place.is_dir() else []
    if len(tables) == 1:
        return _table(tables[0], columns, f"{path}/{tables[0].name}", folder=path)
    return detect_source(place, columns, below=below, path=path)


def _table(place: Path, columns: Columns, path: str, *, folder: str = "") -> Table:
    sheet = open_sheet(place, [])
    meant = guess_columns(sheet, columns)
    inside = sheet.photo_column(meant.image) and not folder
    return Table(
        kind="table",
        path=path if inside else folder or str(Path(path).parent),
        table="" if inside else place.name,
        image=meant.image,
        category=meant.category,
        sku=meant.sku,
        licence=meant.licence,
        source=meant.source,
        consent=meant.consent,
        expiry=meant.expiry,
    )


def guess_columns(sheet: Sheet, columns: Columns) -> Columns:
    """The columns with those that were not said found by their usual names. Raises UsageError where a needed one is not found."""
    low = {name.lower(): name for name in reversed(sheet.columns)}
    found = {}
    for one in fields(Columns):
        said = str(getattr(columns, one.name))
        found[one.name] = said or next((low[name] for name in USUAL[one.name] if name in low), "")
    held = [name for name in sheet.columns if sheet.photo_column(name)]
    if not columns.image and held:
        found["image"] = held[0]
    for needed in ("image", "category"):
        if not found[needed]:
            raise UsageError(
                f"which column is the {needed}?",
                where=str(sheet.path),
                advice=f"say --{needed} COLUMN; the columns are {', '.join(sheet.columns)}",
            )
    return Columns(**found)


def suggest_kinds(folder: Path, pack: Pack) -> dict[str, AttributeKind]:
    """A kind for each attribute, from up to 10,000 photos: of flag, date, number, label and text the first that fits."""
    texts = pc.unique(read_index(folder, pack, ["attributes"])["attributes"])
    step = max(1, len(texts) // _SAMPLE)
    said = [json.loads(text.as_py()) for text in texts[::step]]
    kinds: dict[str, AttributeKind] = {}
    for name in pack.attributes:
        if name not in CORE_COLUMNS:
            kinds[name] = _fitting({one[name] for one in said if one.get(name)}, len(said))
    return kinds


def _fitting(values: set[str], rows: int) -> AttributeKind:
    """The narrowest kind that all values are of; a label has few words, each used more than once on the average."""
    kinds: tuple[AttributeKind, ...] = ("flag", "date", "number")
    for kind in kinds:
        if values and all(_fits(value, kind) for value in values):
            return kind
    few = len(values) <= min(MOST_LABELS, max(2, rows // 2))
    return "label" if few and all(_fits(value, "label") for value in values) else "text"


def _fits(value: str, kind: AttributeKind) -> bool:
    try:
        return to_kind("", value, kind) is not None
    except Unfit:
        return False
