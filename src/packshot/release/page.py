"""The page of a version in MLflow: a model card in Markdown, within the 5,000 characters that MLflow keeps."""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import quote

from packshot.evaluation.report import CAPTIONS
from packshot.records import Estimate, Finding, Judgement
from packshot.release.bundle import Bundle

LONGEST = 5000
MOST_PICTURES = 4


def describe_version(bundle: Bundle, run: str, address: str) -> str:
    """Describe a version: verdict, scores with intervals and bounds, pictures, lineage.

    `run` is its MLflow run; `address` what goes before a file's path to show it. Where all of it is too long, the measures
    without a bound go first, then the pictures.
    """
    verdict, candidate = bundle.verdict(), bundle.candidate()
    judgement = next(one for one in verdict.judgements if one.checkpoint == candidate)
    head = f"**{_cell(verdict.reason)}**"
    if judgement.reason not in verdict.reason:
        head += f"\n\n{_cell(judgement.reason)}"
    for pictures, others in ((MOST_PICTURES, True), (MOST_PICTURES, False), (1, False), (0, False)):
        parts = [head, _bounds(judgement), _others(bundle, judgement) if others else "", _pictures(bundle, address, pictures)]
        text = "\n\n".join(part for part in (*parts, _lineage(bundle, run, address)) if part)
        if len(text) <= LONGEST:
            return text
    return text[: LONGEST - 1] + "…"


def _bounds(judgement: Judgement) -> str:
    rows = [(one.metric, _interval(one), f"{one.n}" if one.n else "", one.bound, one.state) for one in judgement.findings]
    return "### Held against its rules\n\n" + _table(("metric", "value [95 % interval]", "n", "rule", "state"), rows)


def _others(bundle: Bundle, judgement: Judgement) -> str:
    bounded = {finding.metric for finding in judgement.findings}
    rows = [
        (score.metric, _interval(score.estimate), f"{score.estimate.n}" if score.estimate.n else "")
        for score in bundle.scorecard().scores
        if score.metric not in bounded
    ]
    return "### Also measured\n\n" + _table(("metric", "value [95 % interval]", "n"), rows) if rows else ""


def _pictures(bundle: Bundle, address: str, most: int) -> str:
    shown = bundle.pictures[:most]
    images = (f"{CAPTIONS[path.stem]}:\n\n![{path.stem}]({address}{quote(f'pictures/{path.name}', safe='')})" for path in shown)
    return "\n\n".join(["### Pictures", *images]) if shown else ""


def _lineage(bundle: Bundle, run: str, address: str) -> str:
    verdict, candidate, lineage, card = bundle.verdict(), bundle.candidate(), bundle.lineage(), bundle.card()
    rows = [
        ("weights (sha256)", f"`{candidate.sha256}`"),
        (
            "checkpoint",
            f"{candidate.name}, {candidate.family}, {card.image.size} x {card.image.size}, {len(card.categories)} categories",
        ),
        *([("started from", card.start.name)] if card.start else []),
        ("MLflow run", f"`{run}`"),
        ("data version", f"`{lineage.data_version}`" if lineage.data_version else "not under DVC"),
        ("dataset", f"`{verdict.dataset}`"),
        ("evidence", f"`{verdict.evidence}`"),
        ("policy of the gate", f"`{verdict.policy}`"),
        *([("judged beside", f"version {verdict.champion.version}")] if verdict.champion else []),
        ("git commit", f"`{lineage.git_commit}`"),
        ("report", f"[report.html]({address}report.html)"),
    ]
    return "### Lineage\n\n" + _table(("what", "which"), rows)


def _interval(estimate: Estimate | Finding) -> str:
    if estimate.value is None:
        return f"withheld: {estimate.note}" if isinstance(estimate, Estimate) and estimate.note else "withheld"
    if estimate.low is None or estimate.high is None:
        return f"{estimate.value:.4g}"
    return f"{estimate.value:.4g} [{estimate.low:.4g}, {estimate.high:.4g}]"


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    heads = tuple(head)
    lines = [heads, *(tuple(_cell(value) for value in row) for row in rows)]
    spaced = ["| " + " &emsp; | ".join(line) + " |" for line in lines]  # MLflow sets tables without any space between columns
    return "\n".join([spaced[0], "|" + " --- |" * len(heads), *spaced[1:]])


def _cell(text: str) -> str:
    """Text in one line that cannot break out of its cell."""
    return " ".join(text.replace("|", "\\|").replace("<", "&lt;").split())
