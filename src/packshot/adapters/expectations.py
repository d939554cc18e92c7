"""The one door to Great Expectations."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from packshot.errors import DataRejected, PackshotError
from packshot.records import Expectation
from packshot.sources.folder import escape
from packshot.sources.rules import Rule

_AGAIN = "run ingest again"


@dataclass(frozen=True, slots=True)
class Table:
    """Rows to check, the rules that they must keep, and the column that names a row to a person."""

    name: str
    frame: pd.DataFrame
    label: str
    rules: tuple[Rule, ...]


def check(tables: Sequence[Table], docs: Path) -> tuple[Expectation, ...]:
    """Check every rule of every table, and leave Great Expectations' Data Docs in `docs`.

    Fails closed: DataRejected where a column is missing, PackshotError where a rule could not be evaluated or where not all that
    were declared have been. Great Expectations itself takes an empty table, an empty value and an empty suite for success, so
    each table needs a rule on its rows and one against emptiness for each column that it checks.
    """
    os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")
    quiet = logging.getLogger("great_expectations")
    quiet.setLevel(logging.WARNING)
    import great_expectations as gx

    quiet.setLevel(logging.WARNING)

    for table in tables:
        _require_rules(table)
    context: Any = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False, "metric_calculations": False}
    _move_docs(context, docs)
    source = context.data_sources.add_pandas("catalogue")
    found: list[Expectation] = []
    for table in tables:
        found += _check(gx, context, source, table)
    return tuple(found)


def _require_rules(table: Table) -> None:
    if not any(rule.check == "rows" for rule in table.rules):
        raise PackshotError(f"the suite '{table.name}' does not count its rows", advice="add a rule of kind 'rows'")
    if len({rule.name for rule in table.rules}) != len(table.rules):
        raise PackshotError(f"the suite '{table.name}' names two rules alike")
    guarded = {rule.column for rule in table.rules if rule.check == "not_null"}
    for rule in table.rules:
        if rule.column and rule.column not in table.frame.columns:
            raise DataRejected(f"the column '{rule.column}' is missing", where=f"the table '{table.name}'", advice=_AGAIN)
    loose = {rule.column for rule in table.rules if rule.column} - guarded
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
    batch = source.add_dataframe_asset(table.name).add_batch_definition_whole_dataframe("all rows")
    suite = context.suites.add(gx.ExpectationSuite(name=table.name, expectations=[_declare(gx, rule) for rule in table.rules]))
    definition = context.validation_definitions.add(gx.ValidationDefinition(name=table.name, data=batch, suite=suite))
    checkpoint = context.checkpoints.add(
        gx.Checkpoint(
            name=table.name,
            validation_definitions=[definition],
            actions=[gx.checkpoint.UpdateDataDocsAction(name="docs", site_names=["docs"])],
            result_format={"result_format": "COMPLETE", "unexpected_index_column_names": [table.label]},
        )
    )
    try:
        (outcome,) = checkpoint.run(batch_parameters={"dataframe": table.frame}).run_results.values()
    except OSError:  # a full disk is no fault of its
        raise
    except Exception as error:
        raise PackshotError(
            f"Great Expectations itself failed: {type(error).__name__}: {error}",
            where=f"the suite '{table.name}'",
            advice="nothing is known of the catalogue; this is no verdict on it",
        ) from error
    results = {result.expectation_config.meta["rule"]: result for result in outcome.results}
    if set(results) != {rule.name for rule in table.rules} or len(outcome.results) != len(table.rules):
        raise PackshotError(
            f"{len(outcome.results)} of {len(table.rules)} expectations were evaluated",
            where=f"the suite '{table.name}'",
            advice="nothing is known of the catalogue; run validate again",
        )
    return [_tell(rule, results[rule.name], table) for rule in table.rules]


def _declare(gx: Any, rule: Rule) -> Any:
    """The expectation that is this rule."""
    kinds, noted = gx.expectations, {"severity": rule.severity, "meta": {"rule": rule.name}}
    if rule.check == "rows":
        return kinds.ExpectTableRowCountToBeBetween(min_value=_whole(rule.low), max_value=_whole(rule.high), **noted)
    if rule.check == "not_null":
        return kinds.ExpectColumnValuesToNotBeNull(column=rule.column, **noted)
    if rule.check == "unique":
        return kinds.ExpectColumnValuesToBeUnique(column=rule.column, **noted)
    if rule.check == "one_of":
        return kinds.ExpectColumnValuesToBeInSet(column=rule.column, value_set=list(rule.allowed), **noted)
    if rule.check == "matches":
        return kinds.ExpectColumnValuesToMatchRegex(column=rule.column, regex=rule.pattern, **noted)
    return kinds.ExpectColumnValuesToBeBetween(column=rule.column, min_value=rule.low, max_value=rule.high, **noted)


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
    offenders = [escape(str(row[table.label])) for row in seen.get("unexpected_index_list") or ()]
    return Expectation(
        name=rule.name,
        column=rule.column,
        severity=rule.severity,
        passed=bool(result.success),
        observed=_observed(rule, seen, table.frame),
        expected=rule.expected,
        offenders=tuple(sorted(offenders)),
    )


def _raised(info: Mapping[str, Any]) -> str:
    """The message of an exception that Great Expectations swallowed; it has two shapes."""
    shapes = [info, *(value for value in info.values() if isinstance(value, Mapping))]
    return next((str(shape.get("exception_message")) for shape in shapes if shape.get("raised_exception")), "")


def _observed(rule: Rule, seen: Mapping[str, Any], frame: pd.DataFrame) -> str:
    if rule.check == "rows":
        return f"{int(seen['observed_value']):,} rows"
    if rule.check == "between":
        spread = f"{frame[rule.column].min():g} to {frame[rule.column].max():g}" if len(frame) else "no values"
    else:
        spread = f"{len(frame):,} values"
    wrong = int(seen.get("unexpected_count", 0))
    return f"{spread}; {wrong:,} of {len(frame):,} outside" if wrong else spread
