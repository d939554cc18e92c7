"""What a caller may send is read strictly, and refused in words."""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.datastructures import QueryParams

from packshot.records import ImageSpec
from packshot.serving.problems import Problem, quoted
from packshot.serving.requests import (
    SEEDS,
    GenerateRequest,
    ReconstructRequest,
    check_attributes,
    check_category,
    check_work,
    parse_generate,
    parse_json,
    parse_reconstruct,
    picture_seeds,
)
from tests.serving.shelf import CONDITIONS

# The first draw builds tables of Unicode, which takes seconds on a busy machine.
fuzz = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow], max_examples=200)

DEEP = b"[" * 30_000


def refusal(body: bytes) -> Problem:
    with pytest.raises(Problem) as caught:
        parse_generate(body)
    json.loads(bytes(caught.value.answer("0").body))
    return caught.value


def test_a_full_request_is_read_as_it_is_written() -> None:
    asked = parse_generate('{"category": "šaty", "count": 64, "seed": 9223372036854775807, "format": "webp"}'.encode())
    assert asked == GenerateRequest(category="šaty", count=64, seed=2**63 - 1, format="webp")


def test_only_the_category_is_required() -> None:
    assert parse_generate(b'{"category": "mug"}') == GenerateRequest(category="mug", count=1, seed=None, format="png")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"{'category': 'mug'}",
        b'{"category": "mug",}',
        b'{"category": "mug"} {}',
        b"\xff\xfe{\x00}\x00",
        b'\xef\xbb\xbf{"category": "mug"}',
        b'{"category": "\xff"}',
        b'{"category": "mug", "seed": NaN}',
        b'{"category": "mug", "seed": -Infinity}',
        b'{"category": "mug", "seed": 01}',
        b'{"category": "mug", "category": "mug"}',
        b'{"category": "mug", "x": {"a": 1, "a": 2}}',
        DEEP,
        DEEP + b"]" * 30_000,
        b'{"category": "\\ud800"}',
        b'{"category": "mug", "\\ud800": 1}',
        b'{"a":' * 10_000 + b"1" + b"}" * 10_000,
    ],
)
def test_what_is_not_strict_json_is_malformed(body: bytes) -> None:
    assert refusal(body).status == HTTPStatus.BAD_REQUEST


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *[
            ("seed", value)
            for value in ("true", '"5"', "5.0", "-1", "9223372036854775808", "1e999", "1e3", "[]", "9" * 5000, '"x"')
        ],
        *[("count", value) for value in ("0", "-1", "65", "600", "1000000000", "true", '"1"', "1.0", "null", "{}")],
        *[("category", value) for value in ("1", "null", '""', "[]", '"' + "a" * 257 + '"')],
        *[("format", value) for value in ('"gif"', '"PNG"', "1", "null")],
        *[
            ("attributes", value)
            for value in ("null", "[]", '"red"', '{"colour": true}', '{"colour": null}', '{"colour": ["red"]}')
        ],
        *[("attributes", value) for value in ('{"price": 1e999}', '{"colour": "' + "a" * 101 + '"}', '{"colour": {}}')],
        ("extra", "1"),
        ("__class__", "{}"),
    ],
)
def test_a_wrong_field_is_named_with_what_is_allowed(field: str, value: str) -> None:
    fields = {"category": '"mug"', field: value}
    problem = refusal(("{" + ",".join(f'"{name}":{content}' for name, content in fields.items()) + "}").encode())
    assert problem.status == HTTPStatus.UNPROCESSABLE_ENTITY
    assert problem.field
    assert problem.allowed


@pytest.mark.parametrize("body", [b"[]", b"1", b'"mug"', b"null", b"{}"])
def test_another_value_than_an_object_with_a_category_is_invalid(body: bytes) -> None:
    assert refusal(body).status == HTTPStatus.UNPROCESSABLE_ENTITY


def test_a_null_seed_is_a_seed_left_out() -> None:
    assert parse_generate(b'{"category": "mug", "seed": null}').seed is None


def test_an_unknown_category_is_answered_with_the_known_ones_and_little_of_itself() -> None:
    with pytest.raises(Problem) as caught:
        check_category("x" * 250 + "\r\n\x1b[31m", ("boot", "mug"))
    assert caught.value.allowed == ("boot", "mug")
    assert "x" * 65 not in caught.value.detail
    assert "\n" not in caught.value.detail


def test_an_unknown_attribute_or_value_is_answered_with_the_known_ones_and_little_of_itself() -> None:
    assert check_attributes({}, ()) == ()
    assert check_attributes({"price": 25, "colour": "weiß"}, CONDITIONS) == (0.0, 0.0, 1.0, 1.0, 1.0)
    for wish, allowed in (
        ({"x" * 250 + "\r\n": "a"}, ("colour", "price")),
        ({"colour": "x" * 100}, CONDITIONS[0].values),
        ({"price": "\x1b[31m"}, ("a number",)),
    ):
        with pytest.raises(Problem) as caught:
            check_attributes(wish, CONDITIONS)
        assert caught.value.allowed == allowed
        assert len(caught.value.detail) < 120
        assert caught.value.detail.isprintable()


def test_large_pictures_leave_room_for_fewer() -> None:
    check_work(64, ImageSpec(size=512))
    check_work(16, ImageSpec(size=1024))
    with pytest.raises(Problem, match="too many"):
        check_work(17, ImageSpec(size=1024))


def test_picture_i_has_seed_s_plus_i_and_wraps_around() -> None:
    assert picture_seeds(7, 3) == (7, 8, 9)
    assert picture_seeds(SEEDS - 1, 2) == (SEEDS - 1, 0)


def test_a_query_is_read_as_strictly_as_a_body() -> None:
    assert parse_reconstruct(QueryParams("category=%C5%A1aty&format=jpeg")) == ReconstructRequest(category="šaty", format="jpeg")
    for query in ("", "category=", "category=mug&format=gif", "category=mug&size=4", "category=mug&category=mug"):
        with pytest.raises(Problem):
            parse_reconstruct(QueryParams(query))


@fuzz
@given(st.binary(max_size=300))
def test_no_bytes_break_the_reader(body: bytes) -> None:
    try:
        parse_generate(body)
    except Problem as problem:
        assert problem.status in (HTTPStatus.BAD_REQUEST, HTTPStatus.UNPROCESSABLE_ENTITY)  # noqa: PT017 - either outcome is right


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=80),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)
fields = st.sampled_from(["category", "count", "seed", "format", "attributes", "Category", ""])


@fuzz
@given(st.dictionaries(fields, json_values, max_size=6))
def test_whatever_is_accepted_is_within_bounds(value: dict[str, Any]) -> None:
    try:
        asked = parse_generate(json.dumps(value).encode())
    except Problem as problem:
        json.loads(bytes(problem.answer("0").body))
        assert len(problem.detail) < 200  # noqa: PT017 - either outcome is right
        return
    assert 1 <= asked.count <= 64
    assert asked.seed is None or 0 <= asked.seed < SEEDS
    assert set(value) <= {"category", "count", "seed", "format", "attributes"}


@fuzz
@given(json_values)
def test_strict_json_agrees_with_the_standard_reader(value: Any) -> None:
    text = json.dumps(value)
    try:
        # An integer of more than twenty characters lies beyond every bound: its tail is not read.
        assert parse_json(text.encode()) == json.loads(text, parse_int=lambda digits: int(digits[:20]))
    except Problem as problem:
        assert "NaN" in text or "Infinity" in text, problem  # noqa: PT017 - either outcome is right


@fuzz
@given(st.text(st.characters()))
def test_a_quoted_text_is_short_and_on_one_line(text: str) -> None:
    short = quoted(text)
    assert len(short) <= 64
    assert short.isprintable()
