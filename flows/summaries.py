"""What a stage's record says to somebody who reads the run in Prefect: Markdown."""

from __future__ import annotations

import base64
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from packshot.adapters.search import Tried
from packshot.layout import Layout
from packshot.records import (
    BadPhoto,
    Catalog,
    Dataset,
    Estimate,
    EvaluationReport,
    TrackedRuns,
    TrainReport,
    ValidationReport,
    Verdict,
    find_estimate,
)

ROWS = 50
"""So many rows of a long list are shown; the record on disk has them all."""

CLOSING = (".interpolation", ".truncation")
"""Sheets that come after the others, where not all are shown."""

PICTURES, PICTURE_BYTES = 4, 1_000_000
"""Prefect keeps artifacts in its database."""


def _cell(value: object) -> str:
    """Text that cannot break out of its cell, whatever a file is called."""
    text = str(value).replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;").replace("`", "'")
    return " ".join(text.split())


def _table(head: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    heads = tuple(head)
    lines = [heads, ("---",) * len(heads), *(tuple(_cell(value) for value in row) for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _quarantine(bad: tuple[BadPhoto, ...]) -> str:
    if not bad:
        return "No photo was quarantined."
    more = f"\n\n... and {len(bad) - ROWS} more." if len(bad) > ROWS else ""
    return (
        f"**{len(bad)} quarantined**\n\n"
        + _table(
            ("photo", "category", "reason", "detail"), ((one.path, one.category, one.reason, one.detail) for one in bad[:ROWS])
        )
        + more
    )


def _number(value: float | None) -> str:
    return "withheld" if value is None else f"{value:.4g}"


def _estimate(estimate: Estimate) -> str:
    if estimate.value is None:
        return f"withheld ({estimate.note})" if estimate.note else "withheld"
    interval = "" if estimate.low is None or estimate.high is None else f" [{_number(estimate.low)}, {_number(estimate.high)}]"
    return f"{_number(estimate.value)}{interval}" + (f", n={estimate.n}" if estimate.n else "")


def describe_ingest(folder: Path) -> str:
    catalog = Catalog.read(folder / "catalog.json")
    counts = _table(("category", "photos"), ((one.category, one.photos) for one in catalog.counts))
    return f"# {catalog.photos} photos from {_cell(catalog.source)}\n\n{counts}\n\n{_quarantine(catalog.quarantined)}"


def describe_validate(folder: Path) -> str:
    report = ValidationReport.read(folder / "report.json")
    broken = [one for one in report.expectations if one.broken]
    head = f"# {'Passed' if report.passed else 'REJECTED'}: {len(report.expectations)} expectations on {report.photos} photos"
    rows = ((one.name, one.column, one.severity, one.observed, one.expected, ", ".join(one.offenders[:5])) for one in broken)
    table = _table(("expectation", "column", "severity", "observed", "expected", "for example"), rows)
    return f"{head}\n\n{table if broken else 'All hold.'}\n\n{_quarantine(report.quarantined)}"


def describe_prepare(folder: Path) -> str:
    dataset = Dataset.read(folder / "dataset.json")
    splits = _table(("split", "photos"), ((one.split, one.photos) for one in dataset.splits))
    return f"# {len(dataset.categories)} categories at {dataset.image.size} px\n\n{splits}\n\nDataset `{dataset.digest}`"


def describe_train(folder: Path) -> str:
    report = TrainReport.read(folder / "report.json")
    rows = ((one.run, one.family, one.step, one.sha256[:12]) for one in report.checkpoints)
    table = _table(("run", "family", "step", "weights"), rows)
    return f"# {len(report.checkpoints)} checkpoints\n\n{table}\n\nDataset `{report.dataset}`"


def describe_evaluate(folder: Path) -> str:
    report = EvaluationReport.read(folder / "report.json")
    metrics = list(dict.fromkeys(score.metric for card in report.scorecards for score in card.scores))
    shown = [(card.checkpoint.name, card.scores) for card in report.scorecards]
    if report.champion and report.champion_scores:
        shown.append((f"champion, version {report.champion.version}", report.champion_scores))
    rows = []
    for metric in metrics:
        found = (find_estimate(scores, metric) for _, scores in shown)
        rows.append((metric, *("" if one is None else _estimate(one) for one in found)))
    scores = _table(("metric", *(name for name, _ in shown)), rows)
    references = _table(("reference", "value"), ((one.metric, _estimate(one.estimate)) for one in report.references))
    return f"# Held-out scores\n\n{scores}\n\n## References of the same run\n\n{references}\n\nEvidence `{report.evidence}`"


def describe_gate(folder: Path) -> str:
    verdict = Verdict.read(folder / "verdict.json")
    parts = [f"# {'Passed' if verdict.passed else 'REFUSED'}: {_cell(verdict.reason)}", f"Declared primary: {verdict.primary}"]
    if champion := verdict.champion:
        parts.append(
            f"Beside the champion, version {champion.version}" + (f": {_cell(champion.reason)}" if champion.reason else "")
        )
    if astray := [control for control in verdict.controls if not control.behaves]:
        parts.append(
            _table(("control that fares as it must not", "must", "why"), ((one.name, one.must, one.reason) for one in astray))
        )
    for judgement in verdict.judgements:
        chosen = " (the candidate)" if verdict.candidate == judgement.checkpoint else ""
        rows = (
            (one.metric, one.bound, _number(one.value), one.state, _number(one.margin), one.would_pass)
            for one in judgement.findings
        )
        table = _table(("metric", "rule", "value", "state", "margin", "would pass"), rows)
        parts.append(f"## {judgement.checkpoint.name}{chosen}\n\n{_cell(judgement.reason)}\n\n{table}")
    return "\n\n".join(parts)


def describe_search(metric: str, tried: Sequence[Tried], best: Tried | None) -> str:
    """The trials of a search, the best first, then those that are through."""
    names = list(dict.fromkeys(name for one in tried for name in one.settings))
    ranked = sorted(tried, key=lambda one: (one != best, one.state != "completed", one.number))
    rows = (
        (one.number, one.reason or one.state, _number(one.value), *(one.settings.get(name, "") for name in names))
        for one in ranked
    )
    head = "No trial is through" if best is None else f"{metric} {_number(best.value)} by trial {best.number}"
    return f"# {head}\n\n{_table(('trial', 'state', metric, *names), rows)}"


DESCRIBERS: Mapping[str, Callable[[Path], str]] = {
    "ingest": describe_ingest,
    "validate": describe_validate,
    "prepare": describe_prepare,
    "train": describe_train,
    "evaluate": describe_evaluate,
    "gate": describe_gate,
}


def describe(stage: str, layout: Layout) -> str:
    """A stage's record as Markdown.

    Raises MissingArtifact or IntegrityError where the stage's folder does not hold its record.
    """
    return DESCRIBERS[stage](layout.stage(stage))


def link_runs(layout: Layout) -> list[tuple[str, str]]:
    """The name and the MLflow page of each run that train tracked; none where MLflow is a database without a server."""
    from packshot.adapters.tracking import hide_login

    server = hide_login(os.environ.get("MLFLOW_TRACKING_URI", "").rstrip("/"))
    if not server.startswith(("http://", "https://")):
        return []
    tracked = TrackedRuns.read(layout.stage("train") / "tracked.json")
    return [(one.run, f"{server}/#/runs/{one.mlflow_run}") for one in tracked.runs]


def find_pictures(stage: str, layout: Layout) -> list[Path]:
    """The sheets that a stage drew, small enough for a page."""
    folders = {"train": "sheets", "evaluate": "pictures"}
    if stage not in folders:
        return []
    found = sorted(
        (layout.stage(stage) / folders[stage]).glob("*.png"), key=lambda path: (path.stem.endswith(CLOSING), path.name)
    )
    return [path for path in found if path.stat().st_size <= PICTURE_BYTES][:PICTURES]


def picture_address(path: Path) -> str:
    """A PNG as a data: address, so that Prefect's pages can show it without a file server."""
    return f"data:image/png;base64,{base64.b64encode(path.read_bytes()).decode()}"
