"""gate: what was measured, held against what was asked. It answers; a weak model is a finding, not a fault."""

from __future__ import annotations

import json
import logging
from pathlib import Path

from packshot.evaluation.gate import judge
from packshot.evaluation.report import CAPTIONS, picture_name, render_report
from packshot.layout import Layout
from packshot.params import Params
from packshot.records import EvaluationReport, Verdict, write_bytes

log = logging.getLogger(__name__)


def gate(params: Params, layout: Layout) -> Verdict:
    """Judge every checkpoint of the evaluation, and write verdict.json, metrics.json and report.html."""
    source, out = layout.stage("evaluate"), layout.stage("gate")
    report = EvaluationReport.read(source / "report.json")
    verdict = judge(report, params.gate)
    write_bytes(out / "metrics.json", (json.dumps(tell_metrics(verdict), indent=2) + "\n").encode())
    write_bytes(out / "report.html", render_report(verdict, report, _read_pictures(source / "pictures", report)).encode())
    verdict.write(out / "verdict.json")
    log.info("%s", verdict.reason)
    return verdict


def tell_metrics(verdict: Verdict) -> dict[str, object]:
    """The verdict in plain numbers, for `dvc metrics`: whether it passed, and each checkpoint's margins by metric."""
    return {
        "passed": int(verdict.passed),
        "checkpoints": {
            said.checkpoint.name: {
                "passed": int(said.passed),
                "bounds": len(said.findings),
                "kept": sum(finding.passed for finding in said.findings),
                "margins": {finding.metric: finding.margin for finding in said.findings if finding.margin is not None},
            }
            for said in verdict.judgements
        },
    }


def _read_pictures(folder: Path, report: EvaluationReport) -> dict[str, dict[str, bytes]]:
    found = {}
    for card in report.scorecards:
        paths = {what: folder / picture_name(card.checkpoint, what) for what in CAPTIONS}
        found[card.checkpoint.name] = {what: path.read_bytes() for what, path in paths.items() if path.is_file()}
    return found
