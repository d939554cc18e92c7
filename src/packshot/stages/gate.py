"""gate: what was measured, held against what was asked. It answers; a weak model is a finding, not a fault."""

from __future__ import annotations

import json
import logging
from pathlib import Path

from packshot.adapters.tracking import Tracking
from packshot.evaluation.gate import judge
from packshot.evaluation.report import CAPTIONS, picture_name, render_report
from packshot.layout import Layout
from packshot.params import Params
from packshot.records import EvaluationReport, Judgement, Score, Speed, TrackedRuns, Verdict, write_bytes
from packshot.stages.hearings import keep_hearing

log = logging.getLogger(__name__)


def gate(params: Params, layout: Layout) -> Verdict:
    """Judge every checkpoint of the evaluation, and write verdict.json, metrics.json and report.html."""
    source, out = layout.stage("evaluate"), layout.stage("gate")
    measured = EvaluationReport.read(source / "report.json")
    report = _with_latencies(measured, Speed.read(source / "speed.json"))
    verdict = judge(report, params.gate)
    pictures = _read_pictures(source / "pictures", report)
    write_bytes(out / "metrics.json", (json.dumps(tell_metrics(verdict), indent=2) + "\n").encode())
    write_bytes(out / "report.html", render_report(verdict, report, pictures, _read_curves(layout, report)).encode())
    verdict.write(out / "verdict.json")
    log.info("%s", verdict.reason)
    looks = keep_hearing(layout, measured.content_digest(), report, verdict)
    if looks > params.gate.looks:
        log.warning("these held-out photos have judged %d evaluations: draw others, by another prepare.salt", looks)
    _annotate(layout, verdict, looks)
    return verdict


def tell_metrics(verdict: Verdict) -> dict[str, object]:
    """The verdict in plain numbers, for `dvc metrics`: whether it passed, and each checkpoint's margins by rule."""
    return {
        "passed": int(verdict.passed),
        "checkpoints": {said.checkpoint.name: _tell_one(said) for said in verdict.judgements},
    }


def _tell_one(said: Judgement) -> dict[str, object]:
    kept = sum(finding.passed for finding in said.findings)
    return {"passed": int(said.passed), "bounds": len(said.findings), "kept": kept, "margins": _margins(said)}


def _margins(said: Judgement) -> dict[str, float]:
    """The least margin of each metric: of its bound, and beside the champion."""
    margins: dict[str, float] = {}
    for finding in said.findings:
        if finding.margin is not None:
            name = finding.metric if finding.kind in {"bound", "leak"} else f"{finding.metric}_over_champion"
            margins[name] = min(finding.margin, margins.get(name, finding.margin))
    return margins


def _with_latencies(report: EvaluationReport, speed: Speed) -> EvaluationReport:
    """The report with what the clock said, which stands beside it since it never says the same twice."""
    said = {cost.sha256: cost.latency_ms for cost in speed.costs}
    cards = tuple(
        card.model_copy(update={"scores": (*card.scores, Score(metric="latency_ms", estimate=said[card.checkpoint.sha256]))})
        if card.checkpoint.sha256 in said
        else card
        for card in report.scorecards
    )
    return report.model_copy(update={"scorecards": cards})


def _read_pictures(folder: Path, report: EvaluationReport) -> dict[str, dict[str, bytes]]:
    found = {}
    for card in report.scorecards:
        paths = {what: folder / picture_name(card.checkpoint, what) for what in CAPTIONS}
        found[card.checkpoint.name] = {what: path.read_bytes() for what, path in paths.items() if path.is_file()}
    return found


def _read_curves(layout: Layout, report: EvaluationReport) -> dict[str, bytes]:
    """The curves of each run's training, as train drew them."""
    runs = {card.checkpoint.run for card in report.scorecards}
    paths = {run: layout.stage("train") / "sheets" / f"{run}.curves.png" for run in sorted(runs)}
    return {run: path.read_bytes() for run, path in paths.items() if path.is_file()}


def _annotate(layout: Layout, verdict: Verdict, looks: int) -> None:
    """Show the verdict where the trainings were tracked; without a tracked run there is nothing to do."""
    path = layout.stage("train") / "tracked.json"
    if not path.is_file():
        return
    runs = {tracked.run: tracked.mlflow_run for tracked in TrackedRuns.read(path).runs}
    tracking = Tracking.open(layout)
    for said in verdict.judgements:
        if run := runs.get(said.checkpoint.run):
            kept = sum(finding.passed for finding in said.findings)
            metrics = {"gate_passed": float(said.passed), "gate_rules": len(said.findings), "gate_rules_kept": kept}
            margins = {f"gate_margin_{name}": margin for name, margin in _margins(said).items()}
            tags = {
                "gate": "passed" if said.passed else "refused",
                "gate_reason": said.reason,
                "gate_verdict": verdict.content_digest(),
                "gate_policy": verdict.policy,
                "gate_evidence": verdict.evidence,
                "gate_champion": f"version {verdict.champion.version}" if verdict.champion else "none",
                "gate_looks": str(looks),
            }
            tracking.annotate(run, {**metrics, **margins}, said.checkpoint.step, {}, tags)
