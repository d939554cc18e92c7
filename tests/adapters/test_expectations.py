from __future__ import annotations

from pathlib import Path

import great_expectations as gx
import pandas as pd
import pytest

from packshot.adapters import expectations as module
from packshot.adapters.expectations import Table, check
from packshot.errors import DataRejected, PackshotError
from packshot.sources.drift import describe_catalog
from packshot.sources.expected import Rule

FRAME = pd.DataFrame({"path": ["a\n", "b", "c", "d"], "x": [1.0, 2.0, 3.0, 4.0], "kind": ["p", "p", "q", "r"]})
ROWS = Rule("rows", "rows", low=1)
GUARDS = tuple(Rule(f"{column} known", "not_null", column) for column in FRAME.columns)


def table(*rules: Rule, frame: pd.DataFrame = FRAME, guards: tuple[Rule, ...] = GUARDS) -> Table:
    return Table("things", frame, "path", (ROWS, *guards, *rules))


def test_every_kind_of_rule_is_kept_or_broken_as_it_should_be(tmp_path: Path) -> None:
    rules = {
        Rule("few rows", "rows", high=3): (False, ()),
        Rule("x in range", "between", "x", low=1, high=4): (True, ()),
        Rule("x too small", "between", "x", "warning", low=1.5, high=3.5): (False, ("a\\n", "d")),
        Rule("x at most", "between", "x", high=3): (False, ("d",)),
        Rule("kinds", "one_of", "kind", allowed=("p", "q")): (False, ("d",)),
        Rule("kinds once", "unique", "kind"): (False, ("a\\n", "b")),
        Rule("x once", "unique", "x"): (True, ()),
        Rule("kinds look so", "matches", "kind", pattern="^[pq]$"): (False, ("d",)),
    }
    found = {one.name: one for one in check([table(*rules)], tmp_path / "docs")}
    assert {name: found[name].passed for name in ("rows", "path known")} == {"rows": True, "path known": True}
    assert {rule.name: (found[rule.name].passed, found[rule.name].offenders) for rule in rules} == {
        rule.name: expected for rule, expected in rules.items()
    }
    assert found["x too small"].severity == "warning"
    assert found["x too small"].observed == "1 to 4; 2 of 4 outside"
    assert found["few rows"].observed == "4 rows"
    page = next((tmp_path / "docs").glob("validations/things/**/*.html"))
    assert "x too small" in page.read_text() or "expect_column" in page.read_text() or "greater than" in page.read_text()


def test_emptiness_is_found_where_a_rule_on_values_would_pass_it_over(tmp_path: Path) -> None:
    holes = FRAME.assign(x=[1.0, None, 3.0, float("nan")])
    found = {one.name: one for one in check([table(Rule("x fits", "between", "x", low=0), frame=holes)], tmp_path)}
    assert found["x fits"].passed
    assert not found["x known"].passed
    assert found["x known"].offenders == ("b", "d")


def test_an_empty_table_fails_its_count(tmp_path: Path) -> None:
    found = {one.name: one for one in check([table(Rule("x fits", "between", "x", low=0), frame=FRAME[:0])], tmp_path)}
    assert not found["rows"].passed


def test_a_missing_column_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataRejected, match="the column 'x' is missing"):
        check([table(frame=FRAME.drop(columns="x"))], tmp_path)


def test_a_column_with_holes_and_no_guard_is_refused(tmp_path: Path) -> None:
    holes = FRAME.assign(x=[1.0, None, 3.0, 4.0])
    with pytest.raises(DataRejected, match="the column 'x' has empty values"):
        check([table(Rule("x fits", "between", "x", low=0), frame=holes, guards=())], tmp_path)


def test_a_suite_that_does_not_count_rows_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PackshotError, match="does not count its rows"):
        check([Table("things", FRAME, "path", GUARDS)], tmp_path)
    with pytest.raises(PackshotError, match="two rules alike"):
        check([table(ROWS)], tmp_path)


def test_an_expectation_that_cannot_be_evaluated_is_no_verdict(tmp_path: Path) -> None:
    mixed = FRAME.assign(kind=[1, "a", 2.5, "b"])
    with pytest.raises(PackshotError, match=r"could not be evaluated.*'kinds in range'") as caught:
        check([table(Rule("kinds in range", "between", "kind", low=0), frame=mixed)], tmp_path)
    assert caught.value.exit_code == 70


def test_a_crash_of_great_expectations_is_no_verdict(tmp_path: Path) -> None:
    with pytest.raises(PackshotError, match="Great Expectations itself failed"):
        check([table(frame=FRAME.assign(kind=[1, "a", 2.5, ("t",)]))], tmp_path)


def test_a_shortened_suite_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Shortened(gx.ExpectationSuite):
        def __init__(self, name: str, expectations: list[object]) -> None:
            super().__init__(name=name, expectations=expectations[:-1])

    monkeypatch.setattr(gx, "ExpectationSuite", Shortened)
    with pytest.raises(PackshotError, match="4 of 5 expectations were evaluated"):
        check([table(Rule("x fits", "between", "x", low=0))], tmp_path)


def test_nothing_is_left_in_temporary_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import tempfile

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    (tmp_path / "tmp").mkdir()
    check([table()], tmp_path / "docs")
    assert not list((tmp_path / "tmp").iterdir())
    assert module.check is check


def test_what_the_data_say_cannot_break_out_of_the_docs(tmp_path: Path) -> None:
    attack = "<img src=x onerror=alert(1)>"
    frame = pd.DataFrame({"path": [attack, "b"], "colour": pd.Series([attack, "red"], dtype=object)})
    before = describe_catalog("e" * 64, pd.DataFrame({"colour": [f"{attack}{attack}", "red"]}), {"colour": "label"})
    rules = (
        Rule("rows", "rows", low=1),
        Rule("known", "not_null", "colour"),
        Rule(f"of {attack}", "one_of", "colour", allowed=("blue", f"{attack} too")),
        Rule("words", "matches", "colour", pattern=r"\A(?:red|<b>)\Z"),
        Rule("drift", "stable", "colour", high=0.1, reference=before.columns[0]),
    )
    found = check([Table("photos", frame, "path", rules)], tmp_path)
    assert [one.unexpected for one in found] == [0, 0, 2, 1, 0]
    pages = [path.read_text() for path in tmp_path.rglob("*.html")]
    assert any("&lt;img src=x" in page for page in pages)
    assert not any("<img src=x" in page or "<b>)" in page for page in pages)
