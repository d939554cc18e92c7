from __future__ import annotations

from dataclasses import fields, replace
from datetime import date
from pathlib import Path

import pytest

from packshot.errors import ParamsError
from packshot.images.manifest import OFFERED, SEEN
from packshot.images.measure import Measures
from packshot.params import load_params
from packshot.sources.expected import Judged, Rule
from packshot.sources.rules import catalog_rules, category_rules, photo_rules, table_columns
from tests.stages.catalogues import PARAMS, small_params

SECTION = small_params().validate_
TODAY = Judged(date(2026, 5, 1))
SUITES = [suite(SECTION, TODAY) for suite in (photo_rules, category_rules, catalog_rules)]


@pytest.mark.parametrize("rules", SUITES)
def test_every_suite_counts_its_rows_and_guards_its_columns(rules: tuple[Rule, ...]) -> None:
    assert rules[0].check == "rows"
    assert rules[0].severity == "critical"
    assert len({rule.name for rule in rules}) == len(rules)
    guarded = {rule.column for rule in rules if rule.check == "not_null"}
    says_itself = {"rows", "unexpired", "stable", "one_in_group"}
    assert {rule.column for rule in rules if rule.check not in says_itself} <= guarded


def test_every_column_that_may_not_be_empty_is_checked_for_it() -> None:
    guarded = {rule.column for rule in photo_rules(SECTION, TODAY) if rule.check == "not_null"}
    empty_words = {
        "sku",
        "stored_bytes",
        "phash",
        "phash_mirrored",
        "layout",
        "shape",
    }  # '' is not known; the rest is packshot's own
    assert {field.name for field in (*SEEN, *OFFERED) if not field.nullable} - empty_words <= guarded


def test_expectations_can_be_of_every_measure_and_of_the_sources_attributes() -> None:
    columns = table_columns("photos", {"material": "label", "price": "number"})
    assert {one.name for one in fields(Measures)} <= set(columns)
    assert {one.name for one in OFFERED} <= set(columns)
    assert (columns["material"], columns["price"], columns["expiry"], columns["consent"]) == ("label", "number", "date", "flag")


def fault(tmp_path: Path, expectation: str, attributes: str = "{colour: label, note: text}") -> str:
    path = tmp_path / "params.yaml"
    text = PARAMS.read_text().replace("- {column: short_side, at_least: 16}", f"- {expectation}")
    path.write_text(text.replace("duplicate_radius: 0", f"duplicate_radius: 0\n  attributes: {attributes}"))
    try:
        load_params(path)
    except ParamsError as error:
        return str(error)
    return ""


@pytest.mark.parametrize(
    "expectation",
    [
        "{column: fill, at_least: 0.1, at_most: 0.9, share: 0.9, severity: critical, name: there is a product}",
        "{column: colour, coverage: 0.9}",
        "{column: licence, known: true, severity: critical}",
        "{column: category, one_of: [hat, shoe]}",
        "{column: category, matches: '[a-z]+'}",
        "{column: category, evenness: 0.5}",
        "{drift: colour, at_most: 0.2}",
        "{new: category, at_most: 0.1}",
        "{table: categories, column: share, at_least: 0.01}",
        "{table: catalogue, column: suspected_share, at_most: 0.05}",
        "{column: fabric, coverage: 0.9}",
        "{column: fabric, one_of: [wool]}",
        "{drift: fabric, at_most: 0.2}",
    ],
)
def test_what_a_shop_may_declare(tmp_path: Path, expectation: str) -> None:
    assert fault(tmp_path, expectation) == ""


@pytest.mark.parametrize(
    ("expectation", "told"),
    [
        ("{column: colr, coverage: 0.9}", "no column 'colr' in the table 'photos'; there are width, "),
        (
            "{column: fabric, known: true, severity: critical}",
            "no column 'fabric' in the table 'photos'; there are width, ",
        ),
        ("{column: sharpnes, at_least: 60}", "no column 'sharpnes' in the table 'photos'"),
        (
            "{table: categories, column: fill, at_most: 1}",
            "no column 'fill' in the table 'categories'; there are category",
        ),
        ("{column: fill, at_leest: 0.1}", "at_leest: no such field; there are name, severity, table, column, at_least, at_most"),
        ("{column: fill}", "says nothing of 'fill'; it may say one_of, matches, known"),
        ("{drift: fill}", "drift.at_most: is missing"),
        ("{column: fill, at_least: 2, at_most: 1}", "at_least is above at_most"),
        ("{column: colour, at_least: 2}", "'colour' is a label; this is said of a number"),
        ("{column: note, evenness: 0.2}", "'note' is a text; this is said of a label"),
        ("{drift: note, at_most: 0.2}", "'note' is a text; this is said of a label or number"),
        ("{new: fill, at_most: 0.2}", "'fill' is a number; this is said of a label"),
        ("{new: source, at_most: 0.02}", "'source' may be empty, and an empty value is passed over; say how often by"),
        ("{column: fill, unexpired: true}", "'fill' is a number; this is said of a date"),
        (
            "{column: colour, one_of: [red]}",
            "'colour' may be empty, and an empty value is passed over; say how often by",
        ),
        ("{column: category, one_of: []}", "at least 1 item"),
        ("{column: category, matches: '('}", "not a regular expression"),
        ("{column: licence, known: false}", "Input should be True"),
        ("{column: fill, at_least: 0.1, share: 0}", "greater than 0"),
        ("{column: fill, at_least: .nan}", "a finite number"),
        ("{column: aspect, at_most: 4.0}", "two expectations are named 'aspect at most 4'"),
        ("{column: aspect, at_most: 5.0, name: each photo once}", "two expectations are named 'each photo once'"),
        ("just words", "should be an object"),
    ],
)
def test_what_cannot_be_meant_is_told_with_what_is_possible(tmp_path: Path, expectation: str, told: str) -> None:
    assert told in fault(tmp_path, expectation)


def test_a_warning_of_an_attribute_that_is_not_declared_does_not_apply(tmp_path: Path) -> None:
    assert fault(tmp_path, "{column: fabric, coverage: 0.9}") == ""
    params = load_params(tmp_path / "params.yaml").validate_
    for attributes, absent in (({}, "ingest.attributes has no fabric"), ({"fabric": "label"}, "")):
        (rule,) = [one for one in photo_rules(params, replace(TODAY, attributes=attributes)) if one.column == "fabric"]
        assert rule.absent == absent


def test_an_empty_suite_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    head, tail = PARAMS.read_text().split("  expectations:\n")
    path.write_text(f"{head}  expectations: []\n\nprepare:{tail.split('prepare:')[1]}")
    with pytest.raises(ParamsError, match=r"validate\.expectations: .*at least 1 item"):
        load_params(path)
    path.write_text(f"{head}\nprepare:{tail.split('prepare:')[1]}")
    with pytest.raises(ParamsError, match=r"validate\.expectations: is missing"):
        load_params(path)


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        (Rule("a", "rows", low=3), "rows at least 3"),
        (Rule("a", "between", "x", low=0.5, high=2), "from 0.5 to 2"),
        (Rule("a", "between", "x", high=0.02, share=0.98), "at most 0.02 for 0.98 of them"),
        (Rule("a", "not_null", "x"), "known"),
        (Rule("a", "not_null", "x", share=0.9), "known for 0.9 of them"),
        (Rule("a", "unique", "x"), "no value twice"),
        (Rule("a", "one_of", "x", allowed=("b", True)), "one of b, true"),
        (Rule("a", "matches", "x", pattern="^b"), "matches ^b"),
        (Rule("a", "unexpired", "x", day=date(2026, 1, 1)), "not past"),
        (Rule("a", "one_in_group", "x", group="g"), "the same x in each g"),
        (Rule("a", "even", "x", low=0.7), "evenness at least 0.7"),
        (Rule("a", "stable", "x", high=0.2), "drift at most 0.2"),
    ],
)
def test_a_rule_says_what_it_expects(rule: Rule, words: str) -> None:
    assert rule.expected == words
