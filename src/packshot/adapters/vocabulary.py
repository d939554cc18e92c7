"""What a catalogue is expected to be that Great Expectations has no words for: expectations of its own, each with its metric.

Importing this module registers them, once; only adapters.expectations does, since it imports Great Expectations.
"""

from __future__ import annotations

from datetime import date
from typing import Any, Literal

import numpy as np
import pandas as pd
from great_expectations.execution_engine.pandas_execution_engine import PandasExecutionEngine
from great_expectations.expectations.expectation import ColumnAggregateExpectation, ColumnMapExpectation, ColumnPairMapExpectation
from great_expectations.expectations.metrics.column_aggregate_metric_provider import (
    ColumnAggregateMetricProvider,
    column_aggregate_value,
)
from great_expectations.expectations.metrics.map_metric_provider.column_condition_partial import column_condition_partial
from great_expectations.expectations.metrics.map_metric_provider.column_map_metric_provider import ColumnMapMetricProvider
from great_expectations.expectations.metrics.map_metric_provider.column_pair_condition_partial import (
    column_pair_condition_partial,
)
from great_expectations.expectations.metrics.map_metric_provider.column_pair_map_metric_provider import (
    ColumnPairMapMetricProvider,
)

from packshot.sources.drift import chance_index, count_bins, stability_index


class _Unexpired(ColumnMapMetricProvider):
    condition_metric_name = "column_values.packshot_unexpired"
    condition_value_keys = ("day",)

    @column_condition_partial(engine=PandasExecutionEngine)
    def _pandas(self, column: pd.Series, day: str, **_: Any) -> pd.Series:
        today = date.fromisoformat(day)
        return column.map(lambda last: last >= today).astype(bool)


class ExpectColumnValuesToBeUnexpired(ColumnMapExpectation):
    """Expect the days of a column, where there is one, not to lie before `day`, YYYY-MM-DD."""

    day: str
    map_metric = "column_values.packshot_unexpired"
    success_keys = ("day", "mostly")


class _OneInGroup(ColumnPairMapMetricProvider):
    condition_metric_name = "column_pair_values.packshot_one_in_group"
    condition_domain_keys = ("batch_id", "table", "column_A", "column_B", "row_condition", "condition_parser", "ignore_row_if")
    condition_value_keys = ()

    @column_pair_condition_partial(engine=PandasExecutionEngine)  # type: ignore[untyped-decorator]
    def _pandas(self, groups: pd.Series, values: pd.Series, **_: Any) -> pd.Series:
        return values.groupby(groups).transform("nunique") == 1


class ExpectOneValueAGroup(ColumnPairMapExpectation):
    """Expect rows that have the same in column_A to have the same in column_B; rows with nothing in column_A are passed over."""

    ignore_row_if: Literal["either_value_is_missing"] = "either_value_is_missing"
    map_metric = "column_pair_values.packshot_one_in_group"
    success_keys = ("ignore_row_if", "mostly")


class _Stability(ColumnAggregateMetricProvider):
    metric_name = "column.packshot_stability"
    value_keys = ("edges", "words", "counts")

    @column_aggregate_value(engine=PandasExecutionEngine)
    def _pandas(self, column: pd.Series, edges: list[float], words: list[str], counts: list[int], **_: Any) -> dict[str, float]:
        now, before = count_bins(column, tuple(edges), tuple(words)), np.asarray(counts, dtype=np.int64)
        return {"index": stability_index(now, before), "chance": chance_index(now, before)}


class ExpectColumnStabilityIndexToBeAtMost(ColumnAggregateExpectation):
    """Expect the population stability index of a column, against counts of earlier rows, to be at most `max_value` beyond chance.

    See sources.drift; empty values are a bin of their own.
    """

    edges: list[float]
    words: list[str]
    counts: list[int]
    max_value: float
    metric_dependencies = ("column.packshot_stability",)
    success_keys = ("edges", "words", "counts", "max_value")

    def _validate(
        self, metrics: dict[str, Any], runtime_configuration: Any = None, execution_engine: Any = None
    ) -> dict[str, Any]:
        found = metrics["column.packshot_stability"]
        success = bool(found["index"] <= self.max_value + found["chance"])
        return {"success": success, "result": {"observed_value": found["index"], "details": {"chance": found["chance"]}}}


class _Evenness(ColumnAggregateMetricProvider):
    metric_name = "column.packshot_evenness"

    @column_aggregate_value(engine=PandasExecutionEngine)
    def _pandas(self, column: pd.Series, **_: Any) -> float | None:
        counts = column.value_counts().to_numpy(dtype=np.float64)
        if not len(counts):
            return None
        shares = counts / counts.sum()
        return 1.0 if len(shares) == 1 else float(-(shares * np.log(shares)).sum() / np.log(len(shares)))


class ExpectColumnEvennessToBeAtLeast(ColumnAggregateExpectation):
    """Expect Pielou's evenness of a column's values (1966) to be at least `min_value`; a column without values is not even."""

    min_value: float
    metric_dependencies = ("column.packshot_evenness",)
    success_keys = ("min_value",)

    def _validate(
        self, metrics: dict[str, Any], runtime_configuration: Any = None, execution_engine: Any = None
    ) -> dict[str, Any]:
        found = metrics["column.packshot_evenness"]
        return {"success": found is not None and bool(found >= self.min_value), "result": {"observed_value": found}}
