"""A shop's photos as a table lists them: CSV or Parquet, a row a photo, with whatever else the shop knows of it."""

from __future__ import annotations

import math
import os
import re
import stat
import unicodedata
from collections.abc import Iterator
from datetime import date
from pathlib import Path, PurePosixPath
from typing import Literal

from pydantic import Field

from packshot.errors import DataRejected, UsageError
from packshot.images.decode import SUFFIXES, PictureError
from packshot.records import BadPhoto
from packshot.sources.attributes import Unfit, as_text, to_kind, to_rights
from packshot.sources.base import Encoded, File, Photo, Source, Value
from packshot.sources.cells import Cell
from packshot.sources.folder import escape, is_plain
from packshot.sources.sheets import Line, Sheet, open_sheet


class Table(Source):
    """One photo a row of `table`, a file in the folder `path`. Columns are named here; those that are not are attributes.

    A photo is a path below the folder (never outside it, links are not followed), or stands in the Parquet table itself.
    """

    kind: Literal["table"]
    path: str = Field(min_length=1)
    """The folder of the table and the photos; the table itself, where the photos stand in it."""
    table: str = ""
    image: str = Field(min_length=1)
    category: str = Field(min_length=1)
    sku: str = ""
    licence: str = ""
    source: str = ""
    consent: str = ""
    expiry: str = ""
    added: str = ""
    """The day on which the photo came: earlier days are earlier generations."""

    def describe(self) -> str:
        return f"table {self.path}{f'/{self.table}' if self.table else ''}"

    def attribute_names(self, root: Path) -> frozenset[str]:
        return frozenset(self._attributes(self.open(root)))

    def open(self, root: Path) -> Sheet:
        """The table, with all the columns that are named here. Raises UsageError."""
        place = root / self.path
        if not place.exists():
            raise UsageError(
                "no such folder or table", where=str(place), advice="ingest.source.path names one; 'dvc pull' may bring it"
            )
        if place.is_dir() and not self.table:
            raise UsageError("which table?", where=str(place), advice="ingest.source.table names a .csv or .parquet file in it")
        sheet = open_sheet(place / self.table if self.table else place, self._named())
        if place.is_file() and not sheet.photo_column(self.image):
            raise UsageError(
                f"the column '{self.image}' holds no photos but names them",
                where=str(place),
                advice="ingest.source.path must be the folder of the photos, and ingest.source.table the file in it",
            )
        return sheet

    def photos(self, root: Path) -> Iterator[Photo | BadPhoto]:
        sheet = self.open(root)
        attributes = self._attributes(sheet)
        generations = self._generations(sheet)
        shelf = _Shelf(sheet.path.parent)
        seen: dict[str, int] = {}
        number = 0
        for line in sheet.lines([*self._named(), *attributes.values()]):
            number = line.number
            item = self._photo(line, list(attributes), generations, shelf)
            if isinstance(item, Photo) and (first := seen.setdefault(item.name, number)) != number:
                detail = f"row {number} names the photo of row {first} again"
                item = BadPhoto(path=escape(item.name), category=escape(item.category), reason="DUPLICATE_ROW", detail=detail)
            yield item
        if not number:
            raise DataRejected("the table has no row", where=str(sheet.path), advice="put a photo a row into it")

    def _named(self) -> list[str]:
        """The columns that are named here, in this order, each once."""
        optional = (self.sku, self.licence, self.source, self.consent, self.expiry, self.added)
        return list(dict.fromkeys(name for name in (self.image, self.category, *optional) if name))

    def _attributes(self, sheet: Sheet) -> dict[str, str]:
        """The other columns, by the names that they have as attributes. Raises UsageError where two would have the same."""
        found: dict[str, str] = {}
        for column in sheet.columns:
            if column in self._named() or sheet.photo_column(column) or not (name := attribute_name(column)):
                continue
            if name in found:
                raise UsageError(
                    f"the columns '{escape(found[name])}' and '{escape(column)}' would both be the attribute '{name}'",
                    where=str(sheet.path),
                    advice="rename one of them",
                )
            found[name] = column
        return found

    def _generations(self, sheet: Sheet) -> dict[date, int]:
        """The rank of each day in the column `added`, from 1."""
        if not self.added:
            return {}
        days: set[date] = set()
        for line in sheet.lines([self.added]):
            try:
                day = to_kind(self.added, _known(line.cells[0]) if line.cells else None, "date")
            except Unfit:
                continue  # told when its photo comes
            if isinstance(day, date):
                days.add(day)
        return {day: rank for rank, day in enumerate(sorted(days), 1)}

    def _photo(self, line: Line, attributes: list[str], generations: dict[date, int], shelf: _Shelf) -> Photo | BadPhoto:
        if line.fault:
            return BadPhoto(path=f"row {line.number}", category="", reason="ROW", detail=line.fault)
        cells = dict(zip([*self._named(), *(f"attribute {name}" for name in attributes)], line.cells, strict=True))
        category = unicodedata.normalize("NFC", _text(cells[self.category])).strip()
        image = cells[self.image]
        shown = _text(image) if not isinstance(image, Cell) else image.name
        shown = escape(shown) or f"row {line.number}"
        if not category or not all(map(is_plain, category)):
            detail = f"row {line.number}: a category is text on one line" if category else f"row {line.number} has no category"
            return BadPhoto(path=shown, category=escape(category), reason="CATEGORY", detail=detail)
        try:
            name, content = _place(image, line.number, shelf)
            known = {column: _known(cell) for column, cell in cells.items()}
            columns = (self.licence, self.source, self.consent, self.expiry)
            rights = to_rights(*map(known.get, columns), columns=columns)
            generation = self._generation(known.get(self.added), generations)
        except PictureError as fault:
            return BadPhoto(
                path=shown, category=escape(category), reason=fault.reason, detail=f"row {line.number}: {fault.detail}"
            )
        except Unfit as fault:
            return BadPhoto(path=shown, category=escape(category), reason="ATTRIBUTE", detail=f"row {line.number}: {fault}")
        offered = {name: value for name in attributes if (value := known[f"attribute {name}"]) is not None}
        sku = unicodedata.normalize("NFC", _text(cells.get(self.sku))).strip()
        return Photo(name, category, content, sku, rights, offered, generation)

    def _generation(self, value: Value | None, generations: dict[date, int]) -> int:
        if not self.added:
            return 0
        day = to_kind(self.added, value, "date")
        if not isinstance(day, date):
            raise Unfit(self.added, "", "a day as YYYY-MM-DD in every row: it tells old photos from new ones")
        return generations[day]


def attribute_name(column: str) -> str:
    """The name that a column has as an attribute: 'Price (EUR)' is price_eur; '' where nothing is left of it."""
    plain = unicodedata.normalize("NFKD", column).encode("ascii", "ignore").decode().lower()
    return re.sub(r"^[^a-z]+", "", re.sub(r"[^a-z0-9]+", "_", plain)).strip("_")[:48]


class _Shelf:
    """The photos below one folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._plain: set[PurePosixPath] = {PurePosixPath()}

    def find(self, text: str) -> tuple[str, File]:
        """The photo that a path names, and its name. Raises PictureError."""
        path = PurePosixPath(text)
        if not text.strip() or "\0" in text:
            raise PictureError("PATH", "no path to a photo")
        if path.is_absolute() or ".." in path.parts or re.match(r"[A-Za-z][A-Za-z0-9+.-]*:", text) or "\\" in text:
            raise PictureError(
                "PATH", f"'{escape(text[:100])}' is no path below the table's folder; write it with '/' between folders"
            )
        if path.suffix.lower() not in SUFFIXES:
            raise PictureError("FORMAT", f"'{escape(path.suffix)}' is not taken; JPEG, PNG and WebP are")
        for form in (None, "NFC", "NFD"):
            candidate = path if form is None else PurePosixPath(unicodedata.normalize(form, str(path)))
            if self._is_there(candidate):
                return unicodedata.normalize("NFC", str(path)), File(self._folder / candidate)
        raise PictureError("MISSING", "there is no such file")

    def _is_there(self, path: PurePosixPath) -> bool:
        try:
            for folder in reversed(path.parents):
                if folder not in self._plain:
                    if stat.S_ISLNK(os.lstat(self._folder / folder).st_mode):
                        raise PictureError("PATH", "a link; links are not followed")
                    self._plain.add(folder)
            mode = os.lstat(self._folder / path).st_mode
        except (OSError, ValueError):
            return False
        if stat.S_ISLNK(mode):
            raise PictureError("PATH", "a link; links are not followed")
        if not stat.S_ISREG(mode):
            raise PictureError("SPECIAL_FILE", "not a regular file")
        return True


def _place(image: Value | Cell | None, number: int, shelf: _Shelf) -> tuple[str, Encoded]:
    """The name and the bytes of a row's photo. Raises PictureError."""
    if not isinstance(image, Cell):
        return shelf.find(_text(image))
    name = unicodedata.normalize("NFC", image.name.replace("\\", "/")).strip("/")
    if not name:
        return f"row-{number:07d}", image
    suffix = PurePosixPath(name).suffix
    if suffix.lower() not in SUFFIXES:
        raise PictureError("FORMAT", f"'{escape(suffix)}' is not taken; JPEG, PNG and WebP are")
    return name, image


def _known(cell: Value | Cell | None) -> Value | None:
    return None if isinstance(cell, Cell) or (isinstance(cell, float) and math.isnan(cell)) else cell


def _text(cell: Value | Cell | None) -> str:
    known = _known(cell)
    return "" if known is None else as_text(known)
