"""What a catalogue must be like before anything is learnt from it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from datetime import date
from difflib import get_close_matches
from typing import Self

from pydantic import Field, model_validator

from packshot.images.measure import Measures
from packshot.records import AttributeKind, Record
from packshot.sources.expected import AnyExpectation, Coverage, Judged, Known, Rule, Share, TableName

FORMATS = ("JPEG", "PNG", "WEBP", "DRAWN")

_NEVER_EMPTY = (
    *("sha256", "pixels", "path", "category", "format", "width", "height", "short_side", "aspect", "file_bytes", "generation"),
    *("copies", *(field.name for field in fields(Measures))),
)
_CATEGORIES: Mapping[str, AttributeKind] = {"category": "label", "photos": "number", "share": "number"}
_CATALOGUE: Mapping[str, AttributeKind] = {
    "quarantined_share": "number",
    "duplicate_share": "number",
    "suspected_share": "number",
    "missing_photos": "number",
}


class ValidateParams(Record):
    """The section `validate` of params.yaml. A broken critical rule stops the pipeline; a broken warning is reported.

    Beside what is declared here, every suite counts its rows and those that were counted before, and every column that may not be
    empty is checked for it.
    """

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
    expectations: tuple[AnyExpectation, ...] = Field(min_length=1)
    """What else is expected, of photos unless `table` says otherwise."""

    @model_validator(mode="after")
    def _name_each_once(self) -> Self:
        judged = Judged(date.min)
        for rules in (photo_rules(self, judged), category_rules(self, judged), catalog_rules(self, judged)):
            names = Counter(rule.name for rule in rules)
            if twice := [name for name, count in names.items() if count > 1]:
                raise ValueError(f"two expectations are named '{twice[0]}': give one of them another `name`")
        return self

    def require_columns(self, attributes: Mapping[str, AttributeKind]) -> None:
        """Raise ValueError where an expectation is of a column that a catalogue with these attributes does not have, or cannot be
        said of it; or where nothing says how many values may be missing of a column that others pass over where it is empty.

        A warning may be of an attribute that this catalogue does not declare, if its name is no slip of the pen: it is not
        applicable, so that one suite serves catalogues that know more and that know less.
        """
        counted = {one.about for one in self.expectations if isinstance(one, Known | Coverage)} | set(_NEVER_EMPTY)
        for place, one in enumerate(self.expectations):
            where = f"validate.expectations.{place}"
            columns = table_columns(one.table, attributes)
            if one.about not in columns:
                if one.table == "photos" and one.severity == "warning" and not get_close_matches(one.about, columns, cutoff=0.8):
                    continue
                raise ValueError(f"{where}: no column '{one.about}' in the table '{one.table}'; there are {', '.join(columns)}")
            kind = columns[one.about]
            if kind not in one.kinds:
                raise ValueError(f"{where}: '{one.about}' is a {kind}; this is said of a {' or '.join(sorted(one.kinds))}")
            if one.skips_unknown and one.table == "photos" and one.about not in counted:
                advice = f"say how often by {{column: {one.about}, coverage: 0.9}} or {{column: {one.about}, known: true}}"
                raise ValueError(f"{where}: '{one.about}' may be empty, and an empty value is passed over; {advice}")


def table_columns(table: TableName, attributes: Mapping[str, AttributeKind]) -> dict[str, AttributeKind]:
    """The columns that expectations can be of, and what each holds.

    Of photos: the manifest's and the attributes; short_side and aspect, of the original; copies, how many photos show the same.
    """
    if table == "categories":
        return dict(_CATEGORIES)
    if table == "catalogue":
        return dict(_CATALOGUE)
    numbers = ("width", "height", "short_side", "aspect", "file_bytes", "generation", "copies")
    return {
        **dict.fromkeys((*numbers, *(field.name for field in fields(Measures))), "number"),
        **dict.fromkeys(("category", "format", "licence", "source"), "label"),
        **dict.fromkeys(("path", "sku"), "text"),
        "consent": "flag",
        "expiry": "date",
        **attributes,
    }


def photo_rules(params: ValidateParams, judged: Judged) -> tuple[Rule, ...]:
    """The suite over the photos: `table_columns`, with sha256, pixels and copy_group, which near-duplicates have in common."""
    return (
        Rule("enough photos", "rows", low=params.min_photos),
        *_never_empty(_NEVER_EMPTY),
        Rule("each photo once", "unique", "sha256"),
        Rule("each picture once", "unique", "pixels"),
        Rule("each name once", "unique", "path"),
        Rule("a digest for an id", "matches", "sha256", pattern=r"\A[0-9a-f]{64}\Z"),
        Rule("a known format", "one_of", "format", allowed=FORMATS),
        Rule("a width", "between", "width", low=1),
        Rule("a height", "between", "height", low=1),
        Rule("some bytes", "between", "file_bytes", low=1),
        Rule("copies in one category", "one_in_group", "category", "warning", group="copy_group"),
        *_declared(params, "photos", judged),
    )


def category_rules(params: ValidateParams, judged: Judged) -> tuple[Rule, ...]:
    """The suite over the categories: their photos, and their share of all."""
    return (
        Rule("enough categories", "rows", low=params.min_categories),
        *_never_empty(_CATEGORIES),
        Rule("each category once", "unique", "category"),
        Rule("enough photos of each category", "between", "photos", low=params.min_photos_a_category),
        *_declared(params, "categories", judged),
    )


def catalog_rules(params: ValidateParams, judged: Judged) -> tuple[Rule, ...]:
    """The suite over the catalogue as a whole: one row."""
    return (
        Rule("one catalogue", "rows", low=1, high=1),
        *_never_empty(_CATALOGUE),
        Rule("few unusable files", "between", "quarantined_share", low=0, high=params.max_quarantined_share),
        Rule("few duplicates", "between", "duplicate_share", "warning", low=0, high=params.max_duplicate_share),
        Rule("the manifest is whole", "between", "missing_photos", low=0, high=0),
        *_declared(params, "catalogue", judged),
    )


def _declared(params: ValidateParams, table: TableName, judged: Judged) -> list[Rule]:
    columns = table_columns(table, judged.attributes)
    declared = [one for one in params.expectations if one.table == table]
    return [
        replace(one.rule(judged), absent=f"ingest.attributes has no {one.about}")
        if one.severity == "warning" and one.about not in columns
        else one.rule(judged)
        for one in declared
    ]


def _never_empty(columns: Sequence[str] | Mapping[str, AttributeKind]) -> tuple[Rule, ...]:
    """A rule on values passes over empty ones, so each column needs one against emptiness."""
    return tuple(Rule(f"{column} is never empty", "not_null", column) for column in columns)
