"""What a catalogue must be like before anything is learnt from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from packshot.images.manifest import MANIFEST
from packshot.records import Record

Share = Annotated[float, Field(ge=0.0, le=1.0)]
Severity = Literal["critical", "warning"]


class ValidateParams(Record):
    """The section `validate` of params.yaml. A broken critical rule stops the pipeline; a broken warning is reported."""

    min_photos: int = Field(ge=1)
    """Critical: photos in all."""
    min_categories: int = Field(1, ge=1)
    """Critical: categories."""
    min_photos_a_category: int = Field(ge=1)
    """Critical: photos of each category."""
    max_quarantined_share: Share
    """Critical: files that could not be taken in, of all that were offered; repeats of an accepted photo are not counted."""
    max_duplicate_share: Share
    """Warning: repeats and near-duplicates of another photo, of all photos."""
    min_side: int = Field(ge=1)
    """Warning: pixels of a photo's shorter side."""
    max_aspect: float = Field(ge=1.0)
    """Warning: longer side by shorter side."""
    min_sharpness: float = Field(ge=0.0)
    """Warning: see images.measure; 60 is a blurred photo, 1,000 a usual one."""
    min_brightness: Share
    max_brightness: Share
    """Warning: mean luma."""
    min_contrast: float = Field(ge=0.0, le=0.5)
    """Warning: standard deviation of the luma."""
    min_fill: Share
    """Warning: share of the picture that is not backdrop."""

    @model_validator(mode="after")
    def _leave_room_between_bounds(self) -> Self:
        if self.min_brightness >= self.max_brightness:
            raise ValueError("min_brightness is not below max_brightness")
        return self


@dataclass(frozen=True, slots=True)
class Rule:
    """One expectation of a table, in words that no vendor owns."""

    name: str
    """Unique in its table."""
    check: Literal["rows", "not_null", "unique", "between", "one_of", "matches"]
    column: str = ""
    severity: Severity = "critical"
    low: float | None = None
    high: float | None = None
    allowed: tuple[str, ...] = ()
    pattern: str = ""

    @property
    def expected(self) -> str:
        """The rule in a few words."""
        if self.check == "not_null":
            return "never empty"
        if self.check == "unique":
            return "no value twice"
        if self.check == "one_of":
            return f"one of {', '.join(self.allowed)}"
        if self.check == "matches":
            return f"matches {self.pattern}"
        noun = "rows " if self.check == "rows" else ""
        if self.low is None:
            return f"{noun}at most {self.high:g}"
        return f"{noun}at least {self.low:g}" if self.high is None else f"{noun}from {self.low:g} to {self.high:g}"


def photo_rules(params: ValidateParams) -> tuple[Rule, ...]:
    """The suite over the manifest, a row a photo, with the columns short_side, aspect and copies_categories added."""
    return (
        Rule("enough photos", "rows", low=params.min_photos),
        *_never_empty([field.name for field in MANIFEST if not field.nullable]),
        Rule("each photo once", "unique", "sha256"),
        Rule("each picture once", "unique", "pixels"),
        Rule("each name once", "unique", "path"),
        Rule("a digest for an id", "matches", "sha256", pattern="^[0-9a-f]{64}$"),
        Rule("a known format", "one_of", "format", allowed=("JPEG", "PNG", "WEBP", "DRAWN")),
        Rule("a width", "between", "width", low=1),
        Rule("a height", "between", "height", low=1),
        Rule("some bytes", "between", "file_bytes", low=1),
        Rule("large enough", "between", "short_side", "warning", low=params.min_side),
        Rule("not too long", "between", "aspect", "warning", high=params.max_aspect),
        Rule("sharp", "between", "sharpness", "warning", low=params.min_sharpness),
        Rule(
            "neither dark nor pale",
            "between",
            "brightness",
            "warning",
            low=params.min_brightness,
            high=params.max_brightness,
        ),
        Rule("some contrast", "between", "contrast", "warning", low=params.min_contrast),
        Rule("a product to see", "between", "fill", "warning", low=params.min_fill),
        Rule("copies in one category", "between", "copies_categories", "warning", high=1),
    )


def category_rules(params: ValidateParams) -> tuple[Rule, ...]:
    """The suite over the categories: the columns category and photos."""
    return (
        Rule("enough categories", "rows", low=params.min_categories),
        *_never_empty(["category", "photos"]),
        Rule("each category once", "unique", "category"),
        Rule("enough photos of each category", "between", "photos", low=params.min_photos_a_category),
    )


def catalog_rules(params: ValidateParams) -> tuple[Rule, ...]:
    """The suite over the catalogue as a whole: one row with the columns below."""
    return (
        Rule("one catalogue", "rows", low=1, high=1),
        *_never_empty(["quarantined_share", "duplicate_share", "missing_photos"]),
        Rule("few unusable files", "between", "quarantined_share", low=0, high=params.max_quarantined_share),
        Rule("few duplicates", "between", "duplicate_share", "warning", low=0, high=params.max_duplicate_share),
        Rule("the manifest is whole", "between", "missing_photos", low=0, high=0),
    )


def _never_empty(columns: list[str]) -> tuple[Rule, ...]:
    """A rule on values passes over empty ones, so each column needs one against emptiness."""
    return tuple(Rule(f"{column} known", "not_null", column) for column in columns)
