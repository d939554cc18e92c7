"""Attributes become numbers: what is known stands in columns of its own, what is not is nothing."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from packshot.errors import DataRejected, ParamsError, UsageError
from packshot.images.conditions import (
    FARTHEST,
    MOST_VALUES,
    check_value,
    encode_conditions,
    encode_wish,
    find_unknown,
    fit_conditions,
    translate_conditions,
)
from packshot.records import Attribute, Condition

ATTRIBUTES = (
    Attribute(name="colour", kind="label"),
    Attribute(name="price", kind="number"),
    Attribute(name="organic", kind="flag"),
    Attribute(name="caption", kind="text"),
    Attribute(name="since", kind="date"),
)
COLUMNS = {
    "colour": ["red", "blue", None, "red", "navy"],
    "price": [1.0, None, 3.0, float("nan"), 5.0],
    "organic": [True, None, False, True, True],
}


def test_conditions_hold_the_training_photos_words_and_moments() -> None:
    colour, price, organic = fit_conditions(["colour", "price", "organic"], ATTRIBUTES, COLUMNS)
    assert colour == Condition(name="colour", kind="label", values=("blue", "navy", "red"))
    assert (price.kind, price.mean, price.deviation) == ("number", 3.0, pytest.approx(math.sqrt(8 / 3)))
    assert organic == Condition(name="organic", kind="label", values=("false", "true"))
    assert [condition.size for condition in (colour, price, organic)] == [3, 2, 2]


def test_what_is_not_known_is_all_zeros() -> None:
    conditions = fit_conditions(["colour", "price"], ATTRIBUTES, COLUMNS)
    encoded = encode_conditions(conditions, COLUMNS, 5)
    assert encoded.dtype == np.float32
    z = 2 / math.sqrt(8 / 3)
    np.testing.assert_allclose(
        encoded, [[0, 0, 1, -z, 1], [1, 0, 0, 0, 0], [0, 0, 0, 0, 1], [0, 0, 1, 0, 0], [0, 1, 0, z, 1]], rtol=1e-6
    )
    unseen = encode_conditions(conditions, {"colour": ["plaid"], "price": [None]}, 1)
    assert not unseen.any()
    assert encode_conditions((), {}, 4).shape == (4, 0)


@given(st.dictionaries(st.sampled_from(["colour", "organic"]), st.sampled_from(["blue", "true", "false"])))
def test_a_wish_is_encoded_as_a_photo_that_has_it(wish: dict[str, str]) -> None:
    conditions = fit_conditions(["colour", "price", "organic"], ATTRIBUTES, COLUMNS)
    photo = encode_conditions(conditions, {name: [wish.get(name)] for name in COLUMNS}, 1)[0]
    allowed = {condition.name: condition.values for condition in conditions}
    if all(value in allowed[name] for name, value in wish.items()):
        np.testing.assert_array_equal(encode_wish(conditions, wish), photo)
    else:
        with pytest.raises(UsageError):
            encode_wish(conditions, wish)


def test_a_wish_for_what_no_photo_had_is_told_what_there_is() -> None:
    conditions = fit_conditions(["colour", "price"], ATTRIBUTES, COLUMNS)
    with pytest.raises(UsageError, match=r"no attribute 'material': there are colour, price"):
        encode_wish(conditions, {"material": "wool"})
    with pytest.raises(UsageError, match=r"'colour' cannot be 'green': it is one of blue, navy, red"):
        encode_wish(conditions, {"colour": "green"})
    for value in ("cheap", math.nan, math.inf):
        with pytest.raises(UsageError, match="it is a number"):
            check_value(conditions[1], value)
    assert encode_wish(conditions, {"price": 1e300})[3] == FARTHEST
    assert encode_wish((), {}).shape == (0,)


@pytest.mark.parametrize(
    ("name", "said"),
    [("size", "there are colour, price"), ("caption", "a text is nothing"), ("since", "a date is nothing")],
)
def test_what_cannot_be_a_condition_is_refused(name: str, said: str) -> None:
    with pytest.raises(ParamsError, match=said):
        fit_conditions([name], ATTRIBUTES, COLUMNS)


def test_a_name_given_twice_is_refused() -> None:
    with pytest.raises(ParamsError, match="twice"):
        fit_conditions(["colour", "colour"], ATTRIBUTES, COLUMNS)


@pytest.mark.parametrize(
    ("name", "column", "said"),
    [
        ("colour", ["red", "red", None], "the one value 'red'"),
        ("colour", [None, None], "0 values"),
        ("colour", [f"shade {index}" for index in range(MOST_VALUES + 1)], f"{MOST_VALUES + 1} values"),
        ("colour", ["red", "x" * 101], "no word of 100"),
        ("colour", ["red", "a\nb"], "printable"),
        ("organic", [True, True], "the one value 'true'"),
        ("price", [2.0, 2.0, None], "1 different numbers"),
        ("price", [1e308, -1e308, 1e308], "too large"),
    ],
)
def test_values_that_cannot_be_learnt_from_are_refused_by_name(name: str, column: list[object], said: str) -> None:
    with pytest.raises(DataRejected, match=said) as refused:
        fit_conditions([name], ATTRIBUTES, {name: column})
    assert f"'{name}'" in str(refused.value)


@given(
    st.lists(
        st.tuples(
            st.one_of(st.none(), st.sampled_from(["red", "blue", "navy", "plaid"])),
            st.one_of(st.none(), st.floats(-3, 9)),
        ),
        min_size=1,
        max_size=8,
    )
)
def test_what_is_translated_is_what_would_have_been_encoded(photos: list[tuple[str | None, float | None]]) -> None:
    columns = {"colour": [colour for colour, _ in photos], "price": [price for _, price in photos]}
    told = (
        Condition(name="colour", kind="label", values=("blue", "navy", "plaid", "red")),
        Condition(name="price", kind="number", mean=3.0, deviation=4.0),
    )
    wanted = (
        Condition(name="price", kind="number", mean=2.0, deviation=1.5),
        Condition(name="size", kind="label", values=("large", "small")),
        Condition(name="colour", kind="label", values=("blue", "green", "red")),
    )
    found = translate_conditions(encode_conditions(told, columns, len(photos)), told, wanted)
    expected = encode_conditions(wanted, {**columns, "size": [None] * len(photos)}, len(photos))
    np.testing.assert_allclose(found, expected, atol=1e-6)
    same = encode_conditions(told, columns, len(photos))
    assert translate_conditions(same, told, told) is same


def test_what_others_cannot_say_is_named() -> None:
    colour = Condition(name="colour", kind="label", values=("blue", "red"))
    price = Condition(name="price", kind="number", mean=1.0)
    told = (colour.model_copy(update={"values": ("blue", "green", "pink", "red")}), price)
    assert find_unknown(told, (colour, price.model_copy(update={"mean": 9.0}))) == ("colour green, pink",)
    assert find_unknown(told, (colour, price), words=False) == ()
    assert find_unknown(told, (price,)) == ("colour",)
    assert find_unknown((price,), (Condition(name="price", kind="label", values=("high", "low")),)) == ("price",)
    assert find_unknown((colour,), told) == ()
