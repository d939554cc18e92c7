"""What a caller may ask for, read strictly: nothing unknown, nothing guessed, nothing coerced."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Annotated, Literal, NoReturn, TypeVar

from pydantic import Field, ValidationError
from starlette.datastructures import QueryParams

from packshot.errors import UsageError
from packshot.images.conditions import LONGEST_VALUE, check_value, encode_wish
from packshot.records import Condition, ImageSpec, Record
from packshot.serving.problems import Problem, invalid, malformed, quoted

Format = Literal["png", "jpeg", "webp"]
"""PNG and WebP are lossless, JPEG has quality 95."""

SEEDS = 2**63
"""Seeds are whole numbers in [0, SEEDS)."""

MOST_PICTURES = 64
MOST_ATTRIBUTES = 64
WORK_PIXELS = 16 * 1024 * 1024
"""The most pixels that one request may ask for: 64 pictures of 512 x 512, 16 of 1024 x 1024."""


class GenerateRequest(Record):
    """POST /generate. Picture i of a request is that of seed (seed + i) mod 2**63, so each can be asked for again on its own."""

    category: Annotated[str, Field(min_length=1, max_length=256)]
    count: int = Field(1, ge=1, le=MOST_PICTURES)
    seed: int | None = Field(None, ge=0, lt=SEEDS)
    """Drawn by the service where left out."""
    format: Format = "png"
    attributes: dict[str, Annotated[str, Field(max_length=LONGEST_VALUE)] | float] = Field(
        default_factory=dict, max_length=MOST_ATTRIBUTES
    )
    """What GET /describe lists as conditions, by name: a label's word or a number. What is left out turns out as it likes."""


class ReconstructRequest(Record):
    """POST /reconstruct?category=...&format=...: the photo itself is the body."""

    category: Annotated[str, Field(min_length=1, max_length=256)]
    format: Format = "png"


Asked = TypeVar("Asked", GenerateRequest, ReconstructRequest)


def picture_seeds(seed: int, count: int) -> tuple[int, ...]:
    """The seeds of the pictures of one request: seed, seed + 1 ... modulo 2**63."""
    return tuple((seed + index) % SEEDS for index in range(count))


def parse_generate(body: bytes) -> GenerateRequest:
    """Read the JSON of POST /generate. Raises Problem: 400 where it is not strict JSON, 422 where a field is wrong."""
    return _validate(GenerateRequest, parse_json(body))


def parse_reconstruct(query: QueryParams) -> ReconstructRequest:
    """Read the query of POST /reconstruct. Raises Problem 422."""
    fields: dict[str, object] = {}
    for name, value in query.multi_items():
        if name in fields:
            raise malformed(f"the parameter '{quoted(name)}' is given twice")
        fields[name] = value
    return _validate(ReconstructRequest, fields)


def parse_json(body: bytes) -> object:
    """Read one JSON value: UTF-8, no duplicate keys, no NaN or Infinity, not nested too deeply. Raises Problem 400."""
    try:
        return json.loads(
            body.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_refuse_constant, parse_int=_bounded_int
        )
    except UnicodeDecodeError as error:
        raise malformed("the body is not UTF-8") from error
    except RecursionError as error:
        raise malformed("the body is nested too deeply") from error
    except json.JSONDecodeError as error:
        raise malformed(f"the body is not JSON: {error.msg}, at character {error.pos}") from error


def check_category(category: str, known: Sequence[str]) -> int:
    """The number of a category. Raises Problem 422 with the allowed ones."""
    if category not in known:
        raise invalid(f"there is no category '{quoted(category)}'", field="category", allowed=known)
    return known.index(category)


def check_attributes(attributes: Mapping[str, str | float], known: Sequence[Condition]) -> tuple[float, ...]:
    """What is asked for beside the category, as the model's conditions (D,). Raises Problem 422 with what is allowed."""
    conditions = {condition.name: condition for condition in known}
    for name, value in attributes.items():
        if name not in conditions:
            there = f"there is no attribute '{quoted(name)}'"
            raise invalid(there if known else f"{there}: this model knows none", field="attributes", allowed=tuple(conditions))
        try:
            check_value(conditions[name], value)
        except UsageError as error:
            allowed = conditions[name].values or ("a number",)
            raise invalid(f"'{name}' cannot be '{quoted(str(value))}'", field=f"attributes.{name}", allowed=allowed) from error
    return tuple(encode_wish(known, attributes).tolist())


def check_work(count: int, image: ImageSpec) -> None:
    """Raise Problem 422 where `count` pictures of this size are more work than one request may cause."""
    most = max(1, WORK_PIXELS // image.size**2)
    if count > most:
        raise invalid(
            f"{count} pictures of {image.size} x {image.size} are too many for one request",
            field="count",
            allowed=[f"1 to {most}"],
        )


def _validate(record: type[Asked], value: object) -> Asked:
    if not isinstance(value, dict):
        raise invalid("the body must be a JSON object")
    try:
        return record.model_validate(value)
    except ValidationError as error:
        raise _explain(record, error) from error


_ALLOWED: dict[str, tuple[str, ...]] = {
    "category": ("a category that GET /describe lists",),
    "count": (f"a whole number from 1 to {MOST_PICTURES}",),
    "seed": ("a whole number from 0 to 2**63 - 1",),
    "format": ("png", "jpeg", "webp"),
    "attributes": ("an object with a word or a number for each attribute that GET /describe lists as a condition",),
}


def _explain(record: type[Record], error: ValidationError) -> Problem:
    fault = error.errors(include_url=False, include_context=False, include_input=False)[0]
    if fault["type"] == "string_unicode":
        return malformed("the body holds half of a surrogate pair")
    field = quoted(str(fault["loc"][0]))
    if fault["type"] == "extra_forbidden":
        return invalid(f"there is no field '{field}'", field=field, allowed=tuple(record.model_fields))
    what = "is missing" if fault["type"] == "missing" else "is not an allowed value"
    return invalid(f"'{field}' {what}", field=field, allowed=_ALLOWED[field])


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        raise malformed("a key is given twice")
    return fields


def _refuse_constant(name: str) -> NoReturn:
    raise malformed(f"{name} is not JSON")


def _bounded_int(digits: str) -> int:
    # Twenty characters already exceed every bound; ten thousand would cost time for the same refusal.
    return int(digits[:20])
