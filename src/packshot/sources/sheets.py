"""Tables as people keep them, CSV and Parquet, read a row at a time: cells are text, numbers, flags, days, or a photo's bytes."""

from __future__ import annotations

import csv
import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Any, TextIO

import pyarrow as pa
import pyarrow.parquet as pq

from packshot.errors import UsageError
from packshot.sources.base import Value
from packshot.sources.cells import Cell
from packshot.sources.folder import escape

SUFFIXES = (".csv", ".tsv", ".parquet")
DELIMITERS = ",;\t"

_BATCH = 4096


@dataclass(frozen=True, slots=True)
class Line:
    """One row: its number as people count (a CSV's line, a Parquet file's row), and its cells; or why it is none."""

    number: int
    cells: tuple[Value | Cell | None, ...]
    fault: str = ""


class Sheet(ABC):
    """An open table. Every mistake in it is a UsageError that names file and line."""

    path: Path
    columns: tuple[str, ...]

    @abstractmethod
    def lines(self, wanted: Sequence[str]) -> Iterator[Line]:
        """Every row, with the cells of the wanted columns in their order."""

    def photo_column(self, name: str) -> bool:
        """Whether a column holds the photos' own bytes."""
        return False


def open_sheet(path: Path, required: Sequence[str]) -> Sheet:
    """Open a table that must have these columns. Raises UsageError."""
    if not path.is_file():
        raise UsageError("there is no such table", where=str(path), advice="name a .csv or .parquet file")
    if path.suffix.lower() not in SUFFIXES:
        raise UsageError("not a table", where=str(path), advice=f"{', '.join(SUFFIXES)} are read")
    sheet: Sheet = _Parquet(path) if path.suffix.lower() == ".parquet" else _Csv(path, required)
    if twice := sorted({name for name in sheet.columns if sheet.columns.count(name) > 1}):
        raise UsageError(f"two columns are called {_names(twice)}", where=str(path), advice="give each column a name of its own")
    if missing := [name for name in required if name not in sheet.columns]:
        raise UsageError(
            f"the table has no column {_names(missing)}", where=str(path), advice=f"its columns are {_names(sheet.columns)}"
        )
    return sheet


class _Csv(Sheet):
    """UTF-8 text, with or without a byte order mark. It is parted by what gives the columns asked for, and the most."""

    def __init__(self, path: Path, required: Sequence[str]) -> None:
        self.path = path
        headers = self._headers()
        fits = [delimiter for delimiter, header in headers.items() if set(required) <= set(header)]
        self._delimiter = max(fits or headers, key=lambda delimiter: len(headers[delimiter]))
        self.columns = headers[self._delimiter]

    def lines(self, wanted: Sequence[str]) -> Iterator[Line]:
        places = [self.columns.index(name) for name in wanted]
        for number, cells in self._records(self._delimiter):
            if len(cells) != len(self.columns):
                yield Line(number, (), f"{len(cells)} fields, where the header has {len(self.columns)}")
            else:
                yield Line(number, tuple(cells[place] for place in places))

    def _headers(self) -> dict[str, tuple[str, ...]]:
        """The first record, by each delimiter that can have written it."""
        headers: dict[str, tuple[str, ...]] = {}
        fault: UsageError | None = None
        for delimiter in DELIMITERS:
            with self.path.open(encoding="utf-8-sig", newline="") as file:
                try:
                    _, cells = next(self._read(file, delimiter), (0, []))
                except UsageError as error:
                    fault = fault or error
                else:
                    headers[delimiter] = tuple(cell.strip() for cell in cells)
        if not headers and fault:
            raise fault
        if not any(headers.values()):
            raise UsageError("the table is empty", where=str(self.path), advice="its first line names the columns")
        return headers

    def _records(self, delimiter: str) -> Iterator[tuple[int, list[str]]]:
        with self.path.open(encoding="utf-8-sig", newline="") as file:
            records = self._read(file, delimiter)
            next(records, None)
            yield from records

    def _read(self, file: TextIO, delimiter: str) -> Iterator[tuple[int, list[str]]]:
        """Each record that is not blank, and the number of its first line."""
        reader, number = csv.reader(file, delimiter=delimiter, strict=True), 0
        try:
            for cells in reader:
                if cells:
                    yield number + 1, cells
                number = reader.line_num
        except UnicodeDecodeError as error:
            advice = "save it as 'CSV UTF-8'"
            raise UsageError("not UTF-8", where=f"{self.path}, after line {number}", advice=advice) from error
        except csv.Error as error:
            raise UsageError(
                f"not CSV: {error}",
                where=f"{self.path}, from line {number + 1}",
                advice='a quote that is opened must be closed, and one inside a quoted field is written ""',
            ) from error


class _Parquet(Sheet):
    """A Parquet file. Photos may stand in it: bytes, or struct<bytes, path> as Hugging Face datasets write it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._schema: pa.Schema = pq.read_schema(path)
        except (pa.ArrowException, OSError) as error:
            raise self._broken(error) from error
        self.columns = tuple(self._schema.names)
        self._classes = _class_names(self._schema)

    def photo_column(self, name: str) -> bool:
        kind = self._schema.field(name).type
        return _is_bytes(kind) or _is_photo_struct(kind)

    def lines(self, wanted: Sequence[str]) -> Iterator[Line]:
        read = [column for name in wanted if (column := self._read_column(name))]
        number = 0
        try:
            with pq.ParquetFile(self.path) as file:
                for batch in file.iter_batches(batch_size=_BATCH, columns=read):
                    columns = [self._cells(name, batch, number) for name in wanted]
                    for cells in zip(*columns, strict=True):
                        number += 1
                        yield Line(number, cells)
        except (pa.ArrowException, OSError) as error:
            raise self._broken(error) from error

    def _read_column(self, name: str) -> str:
        """What must be read of a column: of a photo's, its name at most."""
        kind = self._schema.field(name).type
        if _is_photo_struct(kind):
            return f"{name}.path" if kind.get_field_index("path") >= 0 else ""
        return "" if _is_bytes(kind) else name

    def _cells(self, name: str, batch: pa.RecordBatch, first: int) -> list[Value | Cell | None]:
        kind = self._schema.field(name).type
        if _is_bytes(kind):
            return [Cell(self.path, name, first + at) for at in range(batch.num_rows)]
        if _is_photo_struct(kind):
            rows = batch.column(name).to_pylist() if name in batch.schema.names else [None] * batch.num_rows
            paths = [(row or {}).get("path") or "" for row in rows]
            return [Cell(self.path, f"{name}.bytes", first + at, path) for at, path in enumerate(paths)]
        classes = self._classes.get(name)
        return [_value(value, classes) for value in batch.column(name).to_pylist()]

    def _broken(self, error: Exception) -> UsageError:
        return UsageError(
            f"not a whole Parquet file: {str(error).splitlines()[0]}", where=str(self.path), advice="write it again"
        )


def _value(value: Any, classes: Sequence[str] | None) -> Value | None:
    if classes is not None and isinstance(value, int) and not isinstance(value, bool):
        return classes[value] if 0 <= value < len(classes) else None
    if value is None or isinstance(value, (str, bool, float)):
        return value
    if isinstance(value, datetime):
        return value.date() if value.time() == time() else value.isoformat()
    if isinstance(value, date):
        return value
    return str(value) if isinstance(value, (int, Decimal)) else None


def _class_names(schema: pa.Schema) -> dict[str, list[str]]:
    """What the numbers of a class column stand for, where Hugging Face datasets wrote the file."""
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        return {
            name: [str(one) for one in feature["names"]]
            for name, feature in features.items()
            if isinstance(feature, dict) and feature.get("_type") == "ClassLabel"
        }
    except (KeyError, TypeError, ValueError, AttributeError):
        return {}


def _is_bytes(kind: pa.DataType) -> bool:
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind))


def _is_photo_struct(kind: pa.DataType) -> bool:
    return bool(pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0 and _is_bytes(kind.field("bytes").type))


def _names(columns: Sequence[str]) -> str:
    return ", ".join(f"'{escape(name)}'" for name in columns) or "none"
