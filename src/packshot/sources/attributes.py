"""What a table says of a photo as text, turned into values of the declared kinds."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import date
from pathlib import Path

from packshot.errors import UsageError
from packshot.records import AttributeKind, BadPhoto
from packshot.sources.base import Photo, Rights, Source, Value
from packshot.sources.folder import escape, is_plain

MOST_LABEL, MOST_TEXT = 100, 10_000
"""Characters."""

ALLOWED: Mapping[AttributeKind, str] = {
    "label": f"a word or a few on one line, {MOST_LABEL} characters at most",
    "number": "a number with a decimal point and no thousands separator, like 1234.5",
    "text": f"text of {MOST_TEXT:,} characters at most",
    "date": "a day as YYYY-MM-DD",
    "flag": "yes or no, true or false, 1 or 0",
}

_FLAGS = {"yes": True, "true": True, "1": True, "no": False, "false": False, "0": False}
_NUMBER = re.compile(r"[-+]?(\d+(\.\d*)?|\.\d+)([eE][-+]?\d+)?", re.ASCII)
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)


class Unfit(ValueError):
    """A value that is none of its kind: which column, which value, and what is allowed."""

    def __init__(self, column: str, value: Value, allowed: str) -> None:
        shown = as_text(value)
        shown = shown if len(shown) <= 60 else f"{shown[:57]}..."
        super().__init__(f"{column} is '{escape(shown)}'; allowed is {allowed}, or nothing where it is not known")


def offered_photos(source: Source, kinds: Mapping[str, AttributeKind], root: Path) -> Iterator[Photo | BadPhoto]:
    """Every photo of the source with its attributes typed, or the reason why it is none.

    Raises what `source.photos` raises, and UsageError where `kinds` names an attribute that the source does not have.
    """
    if kinds and (missing := sorted(kinds.keys() - source.attribute_names(root))):
        have = ", ".join(sorted(source.attribute_names(root)))
        raise UsageError(
            f"the source has no {', no '.join(missing)}",
            where=f"ingest.attributes and {source.describe()}",
            advice=f"it has {have}: name no others" if have else "it has no attributes: say 'attributes: {}'",
        )
    for item in source.photos(root):
        yield type_attributes(item, kinds) if isinstance(item, Photo) else item


def type_attributes(photo: Photo, kinds: Mapping[str, AttributeKind]) -> Photo | BadPhoto:
    """The photo with those attributes that `kinds` names, each a value of its kind; what is empty is not known and left out.

    A value that does not fit makes the photo a BadPhoto with the reason ATTRIBUTE.
    """
    typed: dict[str, Value] = {}
    for name, kind in kinds.items():
        try:
            value = to_kind(name, photo.attributes.get(name), kind)
        except Unfit as fault:
            return BadPhoto(
                path=escape(photo.name),
                category=escape(photo.category),
                reason="ATTRIBUTE",
                detail=str(fault),
                sha256=photo.sha256,
            )
        if value is not None:
            typed[name] = value
    return replace(photo, attributes=typed)


def to_kind(column: str, value: Value | None, kind: AttributeKind) -> Value | None:
    """A value of the kind; None where nothing is said (empty text, NaN). Raises Unfit."""
    text = unicodedata.normalize("NFC", as_text(value)).strip() if value is not None else ""
    if not text or (isinstance(value, float) and math.isnan(value)):
        return None
    found = _READERS[kind](text)
    if found is None:
        raise Unfit(column, text, ALLOWED[kind])
    return found


def to_rights(
    licence: Value | None,
    source: Value | None,
    consent: Value | None,
    expiry: Value | None,
    *,
    columns: tuple[str, str, str, str] = ("licence", "source", "consent", "expiry"),
) -> Rights:
    """Rights from the columns of a table, which have these names there. Raises Unfit."""
    said = (licence, source, consent, expiry)
    kinds: tuple[AttributeKind, ...] = ("text", "text", "flag", "date")
    known = [to_kind(column, value, kind) for column, value, kind in zip(columns, said, kinds, strict=True)]
    return Rights(
        licence=known[0] if isinstance(known[0], str) else None,
        source=known[1] if isinstance(known[1], str) else None,
        consent=known[2] if isinstance(known[2], bool) else None,
        expiry=known[3] if isinstance(known[3], date) else None,
    )


def as_text(value: Value) -> str:
    """A value as a table of text says it: 38 for 38.0, true for True, 2024-05-01 for a day."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 2**53 else repr(value)
    return value.isoformat() if isinstance(value, date) else value


def _label(text: str) -> str | None:
    return text if len(text) <= MOST_LABEL and all(map(is_plain, text)) else None


def _number(text: str) -> float | None:
    number = float(text) if _NUMBER.fullmatch(text) else math.inf
    return number if math.isfinite(number) else None


def _text(text: str) -> str | None:
    return text if len(text) <= MOST_TEXT and not any(unicodedata.category(char) == "Cs" for char in text) else None


def _date(text: str) -> date | None:
    try:
        return date.fromisoformat(text) if _DAY.fullmatch(text) else None
    except ValueError:
        return None


def _flag(text: str) -> bool | None:
    return _FLAGS.get(text.lower())


_READERS = {"label": _label, "number": _number, "text": _text, "date": _date, "flag": _flag}
