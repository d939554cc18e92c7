"""Typed attributes as numbers that models are conditioned on: what is known of a photo beside its category.

A label takes a column for each of its words (one-hot), a number two: its z-score and 1. All zeros mean that it is not known.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from packshot.errors import DataRejected, ParamsError, UsageError
from packshot.records import Attribute, Condition

MOST_VALUES = 64
"""Words of a label that a model is conditioned on; more are a free text."""
LONGEST_VALUE = 100
"""Characters of one of them."""
FARTHEST = 5.0
"""Deviations from the mean beyond which a number counts as that far."""

Value = str | float | bool | None
"""What an attribute's column holds; None (and NaN) where it is not known."""


def fit_conditions(
    names: Sequence[str], attributes: Sequence[Attribute], columns: Mapping[str, Sequence[Value]]
) -> tuple[Condition, ...]:
    """The conditions `names`, with the words and moments that the training photos' `columns` hold; flags count as labels.

    Raises ParamsError where a name is no attribute, comes twice, or is of a kind that no model is conditioned on; DataRejected
    where the training photos' values cannot be learnt from.
    """
    kinds = {attribute.name: attribute.kind for attribute in attributes}
    for name in names:
        if name not in kinds:
            raise _misnamed(name, "there is no such attribute", f"there are {', '.join(kinds) or 'none'}; see ingest.attributes")
        if kinds[name] in {"text", "date"}:
            raise _misnamed(name, f"a {kinds[name]} is nothing to condition on", "name a label, a number or a flag")
        if list(names).count(name) > 1:
            raise _misnamed(name, "it stands there twice", "name it once")
    return tuple(
        _fit_number(name, columns[name]) if kinds[name] == "number" else _fit_label(name, columns[name]) for name in names
    )


def encode_conditions(conditions: Sequence[Condition], columns: Mapping[str, Sequence[Value]], count: int) -> NDArray[np.float32]:
    """What `columns` say of `count` photos, float32 (count, D); a word that no training photo has counts as not known."""
    parts = [np.zeros((count, 0), dtype=np.float32)]
    for condition in conditions:
        part = np.zeros((count, condition.size), dtype=np.float32)
        places = {word: place for place, word in enumerate(condition.values)}
        for row, value in enumerate(columns[condition.name]):
            if condition.kind == "number":
                if (number := _number(value)) is not None:
                    part[row] = _standardise(condition, number), 1.0
            elif (place := places.get(_word(value))) is not None:
                part[row, place] = 1.0
        parts.append(part)
    return np.concatenate(parts, axis=1)


def translate_conditions(
    encoded: NDArray[np.float32], told: Sequence[Condition], wanted: Sequence[Condition]
) -> NDArray[np.float32]:
    """What `encoded` (N, D) says in the words and moments of `told`, in those of other conditions, `wanted`: (N, E).

    Attributes go by their names; a word that `wanted` does not have, and an attribute that `told` has not, count as not known.
    """
    if tuple(told) == tuple(wanted):
        return encoded
    starts = np.cumsum([0, *(condition.size for condition in told)])
    sources = {one.name: (one, encoded[:, start : start + one.size]) for one, start in zip(told, starts[:-1], strict=True)}
    parts = [np.zeros((len(encoded), 0), dtype=np.float32)]
    for condition in wanted:
        part = np.zeros((len(encoded), condition.size), dtype=np.float32)
        source, columns = sources.get(condition.name, (condition, part))
        if source.kind == condition.kind == "label":
            for place, word in enumerate(condition.values):
                if word in source.values:
                    part[:, place] = columns[:, source.values.index(word)]
        elif source.kind == condition.kind == "number":
            known = columns[:, 1] > 0
            numbers = columns[known, 0].astype(np.float64) * source.deviation + source.mean
            part[known] = [(_standardise(condition, number), 1.0) for number in numbers.tolist()] or np.empty((0, 2))
        parts.append(part)
    return np.concatenate(parts, axis=1)


def find_unknown(told: Sequence[Condition], wanted: Sequence[Condition], *, words: bool = True) -> tuple[str, ...]:
    """What of `told` cannot be said by `wanted`: attributes by name, and with `words` those of their words that it lacks."""
    have = {(condition.name, condition.kind): condition for condition in wanted}
    unknown = []
    for one in told:
        other = have.get((one.name, one.kind))
        if other is None:
            unknown.append(one.name)
        elif words and (new := [word for word in one.values if word not in other.values]):
            unknown.append(f"{one.name} {', '.join(new)}")
    return tuple(unknown)


def encode_wish(conditions: Sequence[Condition], wish: Mapping[str, str | float]) -> NDArray[np.float32]:
    """What is asked for, float32 (D,); an attribute that is not named may turn out as it likes.

    Raises UsageError, which names what is allowed, for an attribute or a value that the models do not know.
    """
    known = {condition.name: condition for condition in conditions}
    for name, value in wish.items():
        if name not in known:
            raise UsageError(f"there is no attribute '{name}'", advice=f"there are {', '.join(known) or 'none'}")
        check_value(known[name], value)
    columns = {name: [wish.get(name)] for name in known}
    return np.asarray(encode_conditions(conditions, columns, 1)[0])


def check_value(condition: Condition, value: str | float) -> None:
    """Raise UsageError, which names what is allowed, where `value` is none that the condition can take."""
    if condition.kind == "label" and value not in condition.values:
        raise UsageError(f"'{condition.name}' cannot be '{value}'", advice=f"it is one of {', '.join(condition.values)}")
    if condition.kind == "number" and (isinstance(value, str) or _number(value) is None):
        raise UsageError(f"'{condition.name}' cannot be '{value}'", advice="it is a number")


def _fit_label(name: str, column: Sequence[Value]) -> Condition:
    words = sorted({_word(value) for value in column} - {""})
    if not 2 <= len(words) <= MOST_VALUES:
        found = f"{len(words)} values in the training photos" if len(words) != 1 else f"the one value '{words[0]}'"
        raise _unfit(name, f"has {found}; a condition needs 2 to {MOST_VALUES}")
    for word in words:
        if len(word) > LONGEST_VALUE or not word.isprintable():
            raise _unfit(
                name, f"has the value {word[:LONGEST_VALUE]!r}, which is no word of {LONGEST_VALUE} printable characters"
            )
    return Condition(name=name, kind="label", values=tuple(words))


def _fit_number(name: str, column: Sequence[Value]) -> Condition:
    known = np.array([number for value in column if (number := _number(value)) is not None], dtype=np.float64)
    if len(np.unique(known)) < 2:
        raise _unfit(name, f"has {len(np.unique(known))} different numbers in the training photos; a condition needs 2")
    with np.errstate(over="ignore"):
        mean, deviation = float(known.mean()), float(known.std())
    if not (math.isfinite(mean) and math.isfinite(deviation) and deviation > 0):
        raise _unfit(name, "has numbers too large, or too near to each other, to be told apart")
    return Condition(name=name, kind="number", mean=mean, deviation=deviation)


def _standardise(condition: Condition, number: float) -> float:
    return min(FARTHEST, max(-FARTHEST, (number - condition.mean) / condition.deviation))


def _number(value: Value) -> float | None:
    number = None if value is None or isinstance(value, str) else float(value)
    return number if number is not None and math.isfinite(number) else None


def _word(value: Value) -> str:
    """A label's word, or a flag as one; empty where it is not known."""
    if isinstance(value, (bool, np.bool_)):
        return "true" if value else "false"
    return value if isinstance(value, str) else ""


def _misnamed(name: str, what: str, advice: str) -> ParamsError:
    return ParamsError(what, where=f"prepare.conditions: {name}", advice=advice)


def _unfit(name: str, what: str) -> DataRejected:
    return DataRejected(
        f"the attribute '{name}' {what}", where="prepare.conditions", advice="take it out, or mend its values in the catalogue"
    )
