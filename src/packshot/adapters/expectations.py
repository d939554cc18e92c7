"""The one door to Great Expectations."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape as quote
from pathlib import Path
from typing import Any, cast

import pandas as pd

from packshot.errors import DataRejected, PackshotError
from packshot.records import Expectation
from packshot.sources.drift import Distribution
from packshot.sources.expected import Rule
from packshot.sources.folder import escape

NAMED = 200
"""So many offenders a rule are named; all are counted."""

_AGAIN = "run ingest again"
_OVER_EMPTINESS = frozenset({"unexpired", "one_in_group", "stable"})
"""What may be asked of a column with empty values: these say themselves what an empty one means."""


@dataclass(frozen=True, slots=True)
class Table:
    """Rows to check, the rules that they must keep, and the column that names a row to a person."""

    name: str
    frame: pd.DataFrame
    label: str
    rules: tuple[Rule, ...]


def check(tables: Sequence[Table], docs: Path) -> tuple[Expectation, ...]:
    """Check every rule of every table, and leave Great Expectations' Data Docs in `docs`: one Expectation a rule, in their order.

    Fails closed: DataRejected where a column is missing, PackshotError where a rule could not be evaluated or where not all that
    were declared have been. Great Expectations itself takes an empty table, an empty value and an empty suite for success, so
    each table needs a rule on its rows and one on the emptiness of each column that it checks. A rule that has nothing to hold
    the data against is not evaluated, and said to be not applicable.
    """
    os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")
    import great_expectations as gx

    for name in ("great_expectations", "great_expectations.data_context.types.base"):  # the second has a level of its own
        logging.getLogger(name).setLevel(logging.WARNING)

    for table in tables:
        _require_rules(table)
    context: Any = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False, "metric_calculations": False}
    _move_docs(context, docs)
    source = context.data_sources.add_pandas("catalogue")
    found: list[Expectation] = []
    for table in tables:
        found += _check(gx, context, source, table)
    context.build_data_docs(site_names=["docs"])
    return tuple(found)


def _require_rules(table: Table) -> None:
    if not any(rule.check == "rows" for rule in table.rules):
        raise PackshotError(f"the suite '{table.name}' does not count its rows", advice="add a rule of kind 'rows'")
    if len({rule.name for rule in table.rules}) != len(table.rules):
        raise PackshotError(f"the suite '{table.name}' names two rules alike")
    guarded = {rule.column for rule in table.rules if rule.check == "not_null"}
    rules = [rule for rule in table.rules if not rule.absent]
    for rule in rules:
        missing = [column for column in (rule.column, rule.group) if column and column not in table.frame.columns]
        if missing:
            raise DataRejected(f"the column '{missing[0]}' is missing", where=f"the table '{table.name}'", advice=_AGAIN)
    loose = {rule.column for rule in rules if rule.column and rule.check not in _OVER_EMPTINESS} - guarded
    if empty := sorted(column for column in loose if table.frame[column].isna().any()):
        raise DataRejected(f"the column '{empty[0]}' has empty values", where=f"the table '{table.name}'", advice=_AGAIN)


def _move_docs(context: Any, docs: Path) -> None:
    """Great Expectations makes a temporary folder for its pages; ours go where the stage says."""
    for name in list(context.variables.data_docs_sites):
        made = context.variables.data_docs_sites[name]["store_backend"].get("base_directory")
        context.delete_data_docs_site(name)
        shutil.rmtree(made, ignore_errors=True)
    backend = {"class_name": "TupleFilesystemStoreBackend", "base_directory": str(docs.resolve())}
    index = {"class_name": "DefaultSiteIndexBuilder"}
    site = {
        "class_name": "SiteBuilder",
        "site_index_builder": index,
        "store_backend": backend,
        "show_how_to_buttons": False,
    }
    context.add_data_docs_site(site_name="docs", site_config=site)


def _check(gx: Any, context: Any, source: Any, table: Table) -> list[Expectation]:
    rules = [rule for rule in table.rules if not rule.absent]
    batch = source.add_dataframe_asset(table.name).add_batch_definition_whole_dataframe("all rows")
    suite = context.suites.add(gx.ExpectationSuite(name=table.name, expectations=[_declare(gx, rule) for rule in rules]))
    definition = context.validation_definitions.add(gx.ValidationDefinition(name=table.name, data=batch, suite=suite))
    checkpoint = context.checkpoints.add(
        gx.Checkpoint(
            name=table.name,
            validation_definitions=[definition],
            # COMPLETE, and names instead of numbers of rows, cost Great Expectations 50 microseconds an offender
            result_format={"result_format": "SUMMARY", "partial_unexpected_count": NAMED},
        )
    )
    frame = table.frame.reset_index(drop=True)
    try:
        ((key, outcome),) = checkpoint.run(batch_parameters={"dataframe": frame}).run_results.items()
    except OSError:  # a full disk is no fault of its
        raise
    except Exception as error:
        raise PackshotError(
            f"Great Expectations itself failed: {type(error).__name__}: {error}",
            where=f"the suite '{table.name}'",
            advice="nothing is known of the catalogue; this is no verdict on it",
        ) from error
    results = {result.expectation_config.meta["rule"]: result for result in outcome.results}
    if set(results) != {rule.name for rule in rules} or len(outcome.results) != len(rules):
        raise PackshotError(
            f"{len(outcome.results)} of {len(rules)} expectations were evaluated",
            where=f"the suite '{table.name}'",
            advice="nothing is known of the catalogue; run validate again",
        )
    told = [_waive(rule) if rule.absent else _tell(rule, results[rule.name], table) for rule in table.rules]
    _defuse(context, suite, key, outcome)
    return told


def _defuse(context: Any, suite: Any, key: Any, outcome: Any) -> None:
    """Escape whatever the data say in what Data Docs are drawn from: Great Expectations puts them into its pages as they are."""
    for result in outcome.results:
        result.result = _quote(result.result)
        result.expectation_config.kwargs = _quote(result.expectation_config.kwargs)
        result.expectation_config.description = _quote(result.expectation_config.description)
    context.validation_results_store.set(key, outcome)
    for expectation in suite.expectations:
        expectation.description = _quote(expectation.description)
        for name in ("value_set", "words", "regex"):
            if hasattr(expectation, name):
                setattr(expectation, name, _quote(getattr(expectation, name)))
    suite.save()


def _quote(value: Any) -> Any:
    """Every text in lists and mappings, escaped for HTML."""
    if isinstance(value, str):
        return quote(value, quote=False)
    if isinstance(value, Mapping):
        return {name: _quote(one) for name, one in value.items()}
    return [_quote(one) for one in value] if isinstance(value, list | tuple) else value


def _declare(gx: Any, rule: Rule) -> Any:
    """The expectation that is this rule."""
    from packshot.adapters import vocabulary

    kinds, own = gx.expectations, cast(Any, vocabulary)
    noted: dict[str, Any] = {
        "severity": rule.severity,
        "meta": {"rule": rule.name},
        "description": f"{rule.name}: {rule.expected}",
    }
    if rule.check == "rows":
        return kinds.ExpectTableRowCountToBeBetween(min_value=_whole(rule.low), max_value=_whole(rule.high), **noted)
    if rule.check == "one_in_group":
        return own.ExpectOneValueAGroup(column_A=rule.group, column_B=rule.column, mostly=rule.share, **noted)
    noted["column"] = rule.column
    if rule.check == "unique":
        return kinds.ExpectColumnValuesToBeUnique(**noted)
    if rule.check == "even":
        return own.ExpectColumnEvennessToBeAtLeast(min_value=rule.low, **noted)
    if rule.check == "stable":
        before = cast(Distribution, rule.reference)
        noted |= {"edges": list(before.edges), "words": list(before.values), "counts": list(before.counts)}
        return own.ExpectColumnStabilityIndexToBeAtMost(max_value=rule.high, **noted)
    noted["mostly"] = rule.share
    if rule.check == "not_null":
        return kinds.ExpectColumnValuesToNotBeNull(**noted)
    if rule.check == "one_of":
        return kinds.ExpectColumnValuesToBeInSet(value_set=list(rule.allowed), **noted)
    if rule.check == "matches":
        return kinds.ExpectColumnValuesToMatchRegex(regex=rule.pattern, **noted)
    if rule.check == "unexpired":
        return own.ExpectColumnValuesToBeUnexpired(day=str(rule.day), **noted)
    return kinds.ExpectColumnValuesToBeBetween(min_value=rule.low, max_value=rule.high, **noted)


def _whole(bound: float | None) -> int | None:
    return None if bound is None else int(bound)


def _tell(rule: Rule, result: Any, table: Table) -> Expectation:
    if error := _raised(result.exception_info):
        raise PackshotError(
            f"an expectation could not be evaluated: {error}",
            where=f"'{rule.name}' of the suite '{table.name}'",
            advice="nothing is known of the catalogue; this is no verdict on it",
        )
    seen: Mapping[str, Any] = result.result
    names = table.frame[table.label].iloc[list(seen.get("partial_unexpected_index_list") or ())]
    return Expectation(
        name=rule.name,
        column=rule.column,
        severity=rule.severity,
        passed=bool(result.success),
        observed=_observed(rule, seen, table.frame),
        expected=rule.expected,
        unexpected=int(seen.get("unexpected_count") or 0),
        offenders=tuple(sorted(escape(str(name)) for name in names)),
    )


def _waive(rule: Rule) -> Expectation:
    """What is said of a rule that has nothing to hold the data against."""
    return Expectation(
        name=rule.name,
        column=rule.column,
        severity=rule.severity,
        passed=False,
        applicable=False,
        observed=rule.absent,
        expected=rule.expected,
    )


def _raised(info: Mapping[str, Any]) -> str:
    """The message of an exception that Great Expectations swallowed; it has two shapes."""
    shapes = [info, *(value for value in info.values() if isinstance(value, Mapping))]
    return next((str(shape.get("exception_message")) for shape in shapes if shape.get("raised_exception")), "")


def _observed(rule: Rule, seen: Mapping[str, Any], frame: pd.DataFrame) -> str:
    """What was found, in a few words."""
    if rule.check == "rows":
        return f"{int(seen['observed_value']):,} rows"
    if rule.check == "even":
        return "no values" if seen["observed_value"] is None else f"{seen['observed_value']:.3f}"
    if rule.check == "stable":
        return f"{seen['observed_value']:.3f}, and chance alone gives up to {seen['details']['chance']:.3f}"
    wrong, known = int(seen["unexpected_count"]), len(frame)
    if rule.check == "not_null":
        return f"{known - wrong:,} of {known:,} known"
    values = frame[rule.group or rule.column].dropna()
    known = len(values)
    spread = f"{known:,} values" if rule.check != "between" or not known else f"{values.min():g} to {values.max():g}"
    return f"{spread}; {wrong:,} of {known:,} outside" if wrong else spread
