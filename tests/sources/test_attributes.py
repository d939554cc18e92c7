from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from packshot.errors import UsageError
from packshot.records import AttributeKind, BadPhoto
from packshot.sources.attributes import Unfit, as_text, offered_photos, to_kind, to_rights, type_attributes
from packshot.sources.base import File, Photo, Rights, Value
from packshot.sources.synthetic import Synthetic


def photo(**attributes: Value) -> Photo:
    return Photo("hat/a.jpg", "hat", File(Path("hat/a.jpg")), attributes=attributes)


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        ("label", " dark red ", "dark red"),
        ("label", "38", "38"),
        ("label", 38.0, "38"),
        ("label", "платье", "платье"),
        ("label", "e\N{COMBINING ACUTE ACCENT}te", "\N{LATIN SMALL LETTER E WITH ACUTE}te"),
        ("number", "12.50", 12.5),
        ("number", "-1e3", -1000.0),
        ("number", ".5", 0.5),
        ("number", 7.25, 7.25),
        ("text", "A red hat,\nwith a brim", "A red hat,\nwith a brim"),
        ("date", "2024-02-29", date(2024, 2, 29)),
        ("date", date(2024, 2, 29), date(2024, 2, 29)),
        ("flag", "Yes", True),
        ("flag", "1", True),
        ("flag", "FALSE", False),
        ("flag", True, True),
        ("flag", 0.0, False),
    ],
)
def test_text_becomes_a_value_of_its_kind(kind: AttributeKind, text: Value, value: Value) -> None:
    assert to_kind("column", text, kind) == value


@pytest.mark.parametrize("kind", ["label", "number", "text", "date", "flag"])
@pytest.mark.parametrize("nothing", [None, "", "  ", float("nan")])
def test_what_is_empty_is_not_known(kind: AttributeKind, nothing: Value | None) -> None:
    assert to_kind("column", nothing, kind) is None


@pytest.mark.parametrize(
    ("kind", "text", "told"),
    [
        ("number", "12,50", "price is '12,50'; allowed is a number with a decimal point"),
        ("number", "1 234", "no thousands separator"),
        ("number", "1_000", "a number"),
        ("number", "١٢", "a number"),
        ("number", "inf", "a number"),
        ("number", "1e999", "a number"),
        ("date", "29.02.2024", "a day as YYYY-MM-DD"),
        ("date", "2023-02-29", "a day as YYYY-MM-DD"),
        ("date", "20240229", "a day as YYYY-MM-DD"),
        ("date", "2024-02-29T12:00:00", "a day as YYYY-MM-DD"),
        ("flag", "maybe", "yes or no, true or false, 1 or 0"),
        ("label", "two\nlines", "on one line"),
        ("label", "x" * 101, "100 characters at most"),
        ("text", "x" * 10_001, "10,000 characters"),
        ("text", "\ud800", "text"),
    ],
)
def test_a_value_that_does_not_fit_is_told_with_what_is_allowed(kind: AttributeKind, text: str, told: str) -> None:
    with pytest.raises(Unfit) as caught:
        to_kind("price", text, kind)
    assert told in str(caught.value)
    assert len(str(caught.value)) < 250
    str(caught.value).encode()


def test_declared_attributes_are_typed_and_the_others_left_out() -> None:
    offered = photo(colour="red", price="12.5", note="never asked for", sold="")
    typed = type_attributes(offered, {"colour": "label", "price": "number", "sold": "flag", "absent": "text"})
    assert isinstance(typed, Photo)
    assert typed.attributes == {"colour": "red", "price": 12.5}


def test_a_photo_whose_value_does_not_fit_is_refused_by_name() -> None:
    bad = type_attributes(photo(price="12,50"), {"price": "number"})
    assert isinstance(bad, BadPhoto)
    assert (bad.path, bad.category, bad.reason) == ("hat/a.jpg", "hat", "ATTRIBUTE")
    assert "price is '12,50'" in bad.detail


def test_an_attribute_that_the_source_lacks_is_a_mistake_of_use() -> None:
    source = Synthetic(path="src", count=2)
    with pytest.raises(UsageError, match=r"has no color.*synthetic.*it has caption, colour, pattern: name no others"):
        next(offered_photos(source, {"color": "label"}, Path()))
    found = list(offered_photos(source, {"colour": "label"}, Path()))
    assert all(isinstance(item, Photo) and set(item.attributes) == {"colour"} for item in found)


def test_rights_are_typed_as_attributes_are() -> None:
    assert to_rights("CC-BY", "studio", "yes", "2030-01-31") == Rights("CC-BY", "studio", True, date(2030, 1, 31))
    assert to_rights(None, "", " ", None) == Rights()
    with pytest.raises(Unfit, match=r"valid_until is '31\.01\.2030'; allowed is a day"):
        to_rights(None, None, None, "31.01.2030", columns=("licence", "source", "consent", "valid_until"))


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_survives_being_text(number: float) -> None:
    assert to_kind("column", as_text(number), "number") == number


@given(st.booleans(), st.dates())
def test_flags_and_days_survive_being_text(flag: bool, day: date) -> None:
    assert to_kind("column", as_text(flag), "flag") is flag
    assert to_kind("column", as_text(day), "date") == day


@given(st.text(), st.sampled_from(["label", "number", "text", "date", "flag"]))
def test_any_text_is_a_value_nothing_or_unfit(text: str, kind: AttributeKind) -> None:
    try:
        value = to_kind("column", text, kind)
    except Unfit as fault:
        str(fault).encode()
        return
    assert value is None or as_text(value).encode()
