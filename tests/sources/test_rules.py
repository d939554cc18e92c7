from __future__ import annotations

import pytest
from pydantic import ValidationError

from packshot.images.manifest import MANIFEST
from packshot.sources.rules import Rule, ValidateParams, catalog_rules, category_rules, photo_rules
from tests.stages.catalogues import small_params

PARAMS = small_params().validate_


@pytest.mark.parametrize("rules", [photo_rules(PARAMS), category_rules(PARAMS), catalog_rules(PARAMS)])
def test_every_suite_counts_its_rows_and_guards_its_columns(rules: tuple[Rule, ...]) -> None:
    assert rules[0].check == "rows"
    assert len({rule.name for rule in rules}) == len(rules)


def test_every_column_that_may_not_be_empty_is_checked_for_it() -> None:
    guarded = {rule.column for rule in photo_rules(PARAMS) if rule.check == "not_null"}
    assert guarded == {field.name for field in MANIFEST if not field.nullable}


def test_a_dark_bound_above_the_bright_one_is_refused() -> None:
    with pytest.raises(ValidationError, match="min_brightness is not below"):
        ValidateParams(**{**PARAMS.model_dump(), "min_brightness": 0.9, "max_brightness": 0.2})


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        (Rule("a", "rows", low=3), "rows at least 3"),
        (Rule("a", "between", "x", low=0.5, high=2), "from 0.5 to 2"),
        (Rule("a", "between", "x", high=0.02), "at most 0.02"),
        (Rule("a", "not_null", "x"), "never empty"),
        (Rule("a", "unique", "x"), "no value twice"),
        (Rule("a", "one_of", "x", allowed=("b", "c")), "one of b, c"),
        (Rule("a", "matches", "x", pattern="^b"), "matches ^b"),
    ],
)
def test_a_rule_says_what_it_expects(rule: Rule, words: str) -> None:
    assert rule.expected == words
