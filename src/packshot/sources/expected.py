"""One expectation of a table: as params.yaml declares it, and as the rule that is checked."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Discriminator, Field, Tag, field_validator, model_validator

from packshot.records import AttributeKind, Record
from packshot.sources.drift import Distribution, Profile

Share = Annotated[float, Field(ge=0.0, le=1.0)]
Severity = Literal["critical", "warning"]
TableName = Literal["photos", "categories", "catalogue"]


@dataclass(frozen=True, slots=True)
class Rule:
    """One expectation of a table, in words that no vendor owns."""

    name: str
    """Unique in its table."""
    check: Literal["rows", "not_null", "unique", "between", "one_of", "matches", "unexpired", "one_in_group", "even", "stable"]
    column: str = ""
    severity: Severity = "critical"
    share: float = 1.0
    """Of the rows that have a value, those that must keep it."""
    low: float | None = None
    high: float | None = None
    allowed: tuple[str | bool, ...] = ()
    pattern: str = ""
    group: str = ""
    """one_in_group: the column whose equal values make a group; rows without one are none."""
    day: date | None = None
    """unexpired: the day that must not be past the value."""
    reference: Distribution | None = None
    """stable: what the column's values were like."""
    absent: str = ""
    """Why there is nothing to hold the column against; then the rule does not apply."""

    @property
    def expected(self) -> str:
        """The rule in a few words."""
        often = f" for {self.share:.4g} of them" if self.share < 1 else ""
        return self._words() + often

    def _words(self) -> str:
        plain = {
            "not_null": "known",
            "unique": "no value twice",
            "one_in_group": f"the same {self.column} in each {self.group.replace('_', ' ')}",
        }
        if self.check in plain:
            return plain[self.check]
        if self.check == "one_of":
            return f"one of {', '.join(map(_word, self.allowed))}"
        if self.check == "matches":
            return f"matches {self.pattern}"
        if self.check == "unexpired":
            return "not past"
        noun = {"rows": "rows ", "even": "evenness ", "stable": "drift "}.get(self.check, "")
        if self.low is None:
            return f"{noun}at most {self.high:.10g}"
        return f"{noun}at least {self.low:.10g}" if self.high is None else f"{noun}from {self.low:.10g} to {self.high:.10g}"


@dataclass(frozen=True, slots=True)
class Judged:
    """What the rules are judged by beside the table itself."""

    day: date
    champion: Profile | None = None
    absent: str = "there is no champion yet"
    """Why `champion` is None."""
    attributes: Mapping[str, AttributeKind] = field(default_factory=dict)
    """Those that the catalogue has or should have."""


def _before(judged: Judged, column: str) -> tuple[Distribution | None, str]:
    """What the champion's catalogue was like in a column, or why that is not known."""
    reference = judged.champion.distribution(column) if judged.champion else None
    absent = "" if reference else judged.absent if not judged.champion else "the champion's profile does not tell of it"
    return reference, absent


class Declared(Record, ABC):
    """What every expectation of params.yaml may say."""

    name: str = Field("", max_length=80)
    """How reports call it; what it says, where nothing is given."""
    severity: Severity = "warning"

    kinds: ClassVar[frozenset[AttributeKind]] = frozenset({"label", "number", "text", "date", "flag"})
    """Which columns it can be said of."""
    skips_unknown: ClassVar[bool] = False
    """Whether it says nothing of rows without a value, so that another must say how many there may be."""
    table: TableName = "photos"

    @property
    @abstractmethod
    def about(self) -> str:
        """The column that it is about."""

    @abstractmethod
    def rule(self, judged: Judged) -> Rule:
        """The rule that it declares."""

    def _named(self, words: str) -> str:
        return self.name or f"{self.about} {words}"


class _OfColumn(Declared, ABC):
    column: str

    @property
    def about(self) -> str:
        return self.column


class _OfPhotos(_OfColumn, ABC):
    table: Literal["photos"] = "photos"


class Bounds(_OfColumn):
    """`{column: sharpness, at_least: 60, share: 0.98}`: numbers within bounds, in `share` of the rows that have one."""

    kinds = frozenset({"number"})
    skips_unknown = True
    at_least: float | None = None
    at_most: float | None = None
    share: Annotated[float, Field(gt=0.0, le=1.0)] = 1.0

    @model_validator(mode="after")
    def _say_something(self) -> Self:
        if self.at_least is None and self.at_most is None:
            raise ValueError(f"says nothing of '{self.column}'; it may say {', '.join((*_SAYINGS, 'at_least', 'at_most'))}")
        if self.at_least is not None and self.at_most is not None and self.at_least > self.at_most:
            raise ValueError("at_least is above at_most")
        return self

    def rule(self, judged: Judged) -> Rule:
        rule = Rule("", "between", self.column, self.severity, share=self.share, low=self.at_least, high=self.at_most)
        return replace(rule, name=self._named(rule.expected))


class OneOf(_OfPhotos):
    """`{column: colour, one_of: [red, blue]}`: words, or true and false, of a list."""

    kinds = frozenset({"label", "text", "flag"})
    skips_unknown = True
    one_of: tuple[str | bool, ...] = Field(min_length=1)
    share: Annotated[float, Field(gt=0.0, le=1.0)] = 1.0

    def rule(self, judged: Judged) -> Rule:
        rule = Rule("", "one_of", self.column, self.severity, share=self.share, allowed=self.one_of)
        return replace(rule, name=self._named(rule.expected))


class Matches(_OfPhotos):
    """`{column: sku, matches: "[A-Z]{2}[0-9]{6}"}`: words that a regular expression describes from end to end."""

    kinds = frozenset({"label", "text"})
    skips_unknown = True
    matches: str = Field(min_length=1)
    share: Annotated[float, Field(gt=0.0, le=1.0)] = 1.0

    @field_validator("matches")
    @classmethod
    def _be_a_pattern(cls, value: str) -> str:
        try:
            re.compile(value)
        except re.error as error:
            raise ValueError(f"not a regular expression: {error}") from None
        return value

    def rule(self, judged: Judged) -> Rule:
        pattern = rf"\A(?:{self.matches})\Z"
        return Rule(self._named(f"matches {self.matches}"), "matches", self.column, self.severity, self.share, pattern=pattern)


class Known(_OfPhotos):
    """`{column: licence, known: true}`: no photo without it."""

    known: Literal[True]

    def rule(self, judged: Judged) -> Rule:
        return Rule(self._named("known"), "not_null", self.column, self.severity)


class Coverage(_OfPhotos):
    """`{column: colour, coverage: 0.9}`: the share of the photos that have it."""

    coverage: Annotated[float, Field(gt=0.0, le=1.0)]

    def rule(self, judged: Judged) -> Rule:
        named = self._named(f"known for {self.coverage:.4g}")
        return Rule(named, "not_null", self.column, self.severity, share=self.coverage)


class Unexpired(_OfPhotos):
    """`{column: expiry, unexpired: true}`: no day, where one is given, that has passed (UTC)."""

    kinds = frozenset({"date"})
    unexpired: Literal[True]

    def rule(self, judged: Judged) -> Rule:
        return Rule(self._named("unexpired"), "unexpired", self.column, self.severity, day=judged.day)


class Evenness(_OfPhotos):
    """`{column: category, evenness: 0.7}`: Pielou's evenness (1966), the entropy of the shares by that of equal ones, 0..1."""

    kinds = frozenset({"label"})
    skips_unknown = True
    evenness: Share

    def rule(self, judged: Judged) -> Rule:
        named = self._named(f"evenness at least {self.evenness:.4g}")
        return Rule(named, "even", self.column, self.severity, low=self.evenness)


class Drift(Declared):
    """`{drift: sharpness, at_most: 0.2}`: the stability index against the champion's catalogue, beyond what chance gives."""

    kinds = frozenset({"number", "label"})
    table: Literal["photos"] = "photos"
    drift: str
    at_most: float = Field(gt=0.0)

    @property
    def about(self) -> str:
        return self.drift

    def rule(self, judged: Judged) -> Rule:
        reference, absent = _before(judged, self.drift)
        named = self.name or f"drift of {self.drift}"
        return Rule(named, "stable", self.drift, self.severity, high=self.at_most, reference=reference, absent=absent)


class Newcomers(Declared):
    """`{new: source, at_most: 0.02}`: the share of photos with a word that the champion's catalogue lacks, of those with any.

    Many photos from a source that nobody has vetted are what poisons a catalogue. Words beyond the 50 commonest count as new.
    """

    kinds = frozenset({"label"})
    skips_unknown = True
    table: Literal["photos"] = "photos"
    new: str
    at_most: float = Field(ge=0.0, lt=1.0)

    @property
    def about(self) -> str:
        return self.new

    def rule(self, judged: Judged) -> Rule:
        reference, absent = _before(judged, self.new)
        named = self.name or f"new in {self.new} at most {self.at_most:.4g}"
        allowed = reference.values if reference else ()
        return Rule(named, "one_of", self.new, self.severity, share=1 - self.at_most, allowed=allowed, absent=absent)


_MEMBERS: Mapping[str, type[Declared]] = {
    "drift": Drift,
    "new": Newcomers,
    "one_of": OneOf,
    "matches": Matches,
    "known": Known,
    "coverage": Coverage,
    "unexpired": Unexpired,
    "evenness": Evenness,
}
_SAYINGS = tuple(name for name, kind in _MEMBERS.items() if issubclass(kind, _OfColumn))


def _saying(value: Any) -> str:
    """What an expectation says, by the word that only its kind has."""
    if isinstance(value, Declared):
        return next((name for name, kind in _MEMBERS.items() if isinstance(value, kind)), "bounds")
    return next((name for name in _MEMBERS if name in value), "bounds") if isinstance(value, dict) else "bounds"


AnyExpectation = Annotated[
    Annotated[Bounds, Tag("bounds")]
    | Annotated[Drift, Tag("drift")]
    | Annotated[Newcomers, Tag("new")]
    | Annotated[OneOf, Tag("one_of")]
    | Annotated[Matches, Tag("matches")]
    | Annotated[Known, Tag("known")]
    | Annotated[Coverage, Tag("coverage")]
    | Annotated[Unexpired, Tag("unexpired")]
    | Annotated[Evenness, Tag("evenness")],
    Discriminator(_saying),
]
"""An expectation, told by what it says of its column."""


def _word(value: str | bool) -> str:
    return value if isinstance(value, str) else str(value).lower()
