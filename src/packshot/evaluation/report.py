"""The gate's report: one HTML file that opens offline, for somebody who asks why."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from types import MappingProxyType

from packshot.evaluation.ladder import CLIMBING, RUNGS
from packshot.evaluation.metrics import METRICS
from packshot.evaluation.page import draw_interval, number, span
from packshot.pages import draw_verdict, figure, page, state, table
from packshot.records import Checkpoint, Estimate, EvaluationReport, Finding, Judgement, Scorecard, Slice, Verdict, find_estimate

CAPTIONS: Mapping[str, str] = {
    "samples": "New pictures, one row a category, the same seeds in every row",
    "beside": "The champion's pictures, and right of each the challenger's from the same seed",
    "attributes": "New pictures by attribute: a row a category, first as it comes, then one a value, all from one seed",
    "reconstructions": "Held-out photos, and right of each the same photo drawn again",
    "changed": "Photos that lost most beside the champion, then those that gained most: photo, champion's, challenger's",
    "worst": "The ten photos that come back worst, then ten from the middle",
    "nearest": "The new pictures that come nearest to a training photo, and right of each that photo: copies would show here",
    "alike": "The ten pairs of new pictures that are most alike, then of unseen photos: a collapse would show here",
}
"""The pictures of a checkpoint, in their order."""


def picture_name(checkpoint: Checkpoint, what: str) -> str:
    """How the picture `what` of a checkpoint is called in data/evaluate/pictures."""
    return f"{checkpoint.run}-{checkpoint.step}-{what}.png"


def render_report(
    verdict: Verdict,
    report: EvaluationReport,
    pictures: Mapping[str, Mapping[str, bytes]],
    curves: Mapping[str, bytes] = MappingProxyType({}),
) -> str:
    """Tell a verdict and all that it rests on as one HTML page.

    `pictures` are PNGs by checkpoint name, then by kind; `curves` a PNG of each run's training.
    """
    cards = {card.checkpoint.name: card for card in report.scorecards}
    body = [*_verdict(verdict), *_leaderboard(verdict, cards), *_champion(report)]
    chosen = verdict.candidate.name if verdict.candidate else ""
    for said in sorted(verdict.judgements, key=lambda said: said.checkpoint.name != chosen):
        name = said.checkpoint.name
        body += _checkpoint(said, cards[name], pictures.get(name, {}), curves.get(said.checkpoint.run))
    body += [*_controls(verdict), *_baselines(report), *_ladder(report), *_attributes(report), *_lineage(verdict)]
    return page(f"packshot: {'passed' if verdict.passed else 'not passed'}", body)


def _verdict(verdict: Verdict) -> Iterator[str]:
    word, tone = ("passed", "pass") if verdict.passed else ("not passed", "reject")
    if not verdict.passed and _only_open(verdict.judgements):
        word, tone = "inconclusive: not passed", "inconclusive"
    title = f"{verdict.candidate.name} goes on" if verdict.candidate else "No model goes on"
    yield draw_verdict("packshot · gate report", word, tone, title, verdict.reason)


def _only_open(judgements: Sequence[Judgement]) -> bool:
    """Whether some checkpoint breaks no bound and merely fails to show that it keeps to one."""
    return any(not any(finding.state == "reject" for finding in said.findings) and said.findings for said in judgements)


def _leaderboard(verdict: Verdict, cards: Mapping[str, Scorecard]) -> Iterator[str]:
    yield "<h2>Leaderboard</h2>"
    best = METRICS[verdict.primary]
    yield (
        f'<p class="soft">Ranked by <b>{verdict.primary}</b>, {"highest" if best.higher_is_better else "lowest"} first. '
        f"{escape(best.description)}.</p>"
    )
    shown = [verdict.primary, *(name for name in ("psnr", "ssim", "kid", "recall") if name != verdict.primary)]

    def rank(said: Judgement) -> tuple[bool, float]:
        estimate = cards[said.checkpoint.name].estimate(verdict.primary)
        value = estimate.value if estimate and estimate.value is not None else float("inf")
        return not said.passed, -value if best.higher_is_better and value != float("inf") else value

    order = sorted(verdict.judgements, key=rank)
    rows = []
    for said in order:
        card = cards[said.checkpoint.name]
        kept = f"{sum(finding.passed for finding in said.findings)} of {len(said.findings)}"
        scores = [_score(card.estimate(name)) for name in shown]
        rows.append([_name(said.checkpoint), state(_overall(said)), kept, *scores])
    lit = next((index for index, said in enumerate(order) if said.checkpoint == verdict.candidate), None)
    yield table(["checkpoint", "verdict", "rules kept", *shown], rows, numbers=range(2, 3 + len(shown)), chosen=lit)


def _champion(report: EvaluationReport) -> Iterator[str]:
    """The champion's own scores beside its challengers', and what each challenger gains."""
    champion = report.champion
    if champion is None:
        return
    yield f"<h2>Beside the champion, version {champion.version} <span class=soft>· {escape(champion.family)}</span></h2>"
    if champion.reason:
        yield f"<p>{'' if champion.comparable else 'It cannot be compared: '}{escape(champion.reason)}.</p>"
    if not champion.comparable:
        return
    challengers = [card for card in report.scorecards if card.over_champion]
    if not challengers:
        yield '<p class="soft">The weights that were evaluated are the champion itself.</p>'
        return
    yield (
        '<p class="soft">Below each challenger stands what it has more than the champion, in pairs: the same photos, the same '
        "seeds, the same real pictures. Intervals are two-sided at 95 %; the rules below share out their own level among the "
        "challengers.</p>"
    )
    names = [score.metric for score in challengers[0].over_champion]
    rows, notes = [], dict[str, list[str]]()
    for name in names:
        metric = METRICS[name]
        found = [find_estimate(card.over_champion, name) for card in challengers]
        gains = [_gain(estimate, higher=metric.higher_is_better) for estimate in found]
        for note in dict.fromkeys(one.note for one in found if one and one.value is None and one.note):
            notes.setdefault(note, []).append(name)
        own = _score(find_estimate(report.champion_scores, name))
        rows.append([f"<code>{name}</code>", "higher" if metric.higher_is_better else "lower", own, *gains])
    heads = [card.checkpoint.name for card in challengers]
    yield table(["metric", "better", "champion", *heads], rows, numbers=range(2, 3 + len(challengers)))
    for note, withheld in notes.items():
        yield f'<p class="soft small">{escape(", ".join(withheld))} withheld: {escape(note)}.</p>'


def _gain(estimate: Estimate | None, *, higher: bool) -> str:
    """A difference from the champion, in green or red where chance does not explain it."""
    if estimate is None or estimate.value is None or estimate.low is None or estimate.high is None:
        return _score(estimate)
    tone = "soft" if estimate.low <= 0 <= estimate.high else "pass" if (estimate.value > 0) == higher else "reject"
    interval = f"[{estimate.low:+.3f}, {estimate.high:+.3f}]"
    return f'<span class="state {tone}">{estimate.value:+.3f}</span><br><span class="range">{interval}</span>'


def _slices(card: Scorecard) -> Iterator[str]:
    """The worst categories and values first."""
    if not card.slices:
        return
    beside = "; below each, the difference from the champion" if card.over_champion else ""
    yield f"<h3>Slice by slice</h3><p class=soft>By PSNR, the worst first{beside}.</p>"

    def rank(one: Slice) -> float:
        estimate = find_estimate(one.scores, "psnr")
        return float("inf") if estimate is None or estimate.value is None else estimate.value

    rows = []
    for one in sorted(card.slices, key=rank):
        cells = [escape(one.name)]
        for score in one.scores:
            gain = find_estimate(one.over_champion, score.metric)
            higher = METRICS[score.metric].higher_is_better
            below = f"<br>{_gain(gain, higher=higher)}" if gain is not None and gain.value is not None else ""
            cells += [_score(score.estimate) + below, str(score.estimate.n)]
        rows.append(cells)
    heads = [head for score in card.slices[0].scores for head in (score.metric, "n")]
    yield table(["slice", *heads], rows, numbers=range(1, 1 + len(heads)))


def _controls(verdict: Verdict) -> Iterator[str]:
    if not verdict.controls:
        return
    yield "<h2>Is the gate itself sound?</h2>"
    yield (
        '<p class="soft">Pictures of which it is known what must be said of them, held against the same bounds in the same run: '
        "real photos, and frauds. Where one of them fares as it must not, no checkpoint passes.</p>"
    )
    rows = [
        [
            escape(control.name.replace("_", " ")),
            control.must,
            state(control.state),
            f'<span class="state {"pass" if control.behaves else "reject"}">{"yes" if control.behaves else "no"}</span>',
            escape(control.reason),
        ]
        for control in verdict.controls
    ]
    yield table(["control", "must", "does", "as it should", "why"], rows)


def _overall(said: Judgement) -> str:
    if said.passed:
        return "pass"
    return "reject" if any(finding.state == "reject" for finding in said.findings) or not said.findings else "inconclusive"


def _checkpoint(said: Judgement, card: Scorecard, pictures: Mapping[str, bytes], curves: bytes | None) -> Iterator[str]:
    yield f"<h2>{escape(said.checkpoint.name)} <span class=soft>· {escape(said.checkpoint.family)}</span></h2>"
    yield f"<p>{escape(said.reason)}.</p>"
    order = {"reject": 0, "inconclusive": 1, "pass": 2}
    yield table(
        ["rule", "", "measured", "n", "margin", "", "what would pass"],
        [_finding(finding) for finding in sorted(said.findings, key=lambda finding: order[finding.state])],
        numbers=(2, 3, 4),
    )
    for what, caption in CAPTIONS.items():
        if png := pictures.get(what):
            yield figure(png, caption)
    yield from _slices(card)
    if curves:
        yield figure(curves, f"The training of {card.checkpoint.run}")
    yield f"<details><summary>Every score of {escape(said.checkpoint.name)}</summary>"
    if card.reconstruction == "searched":
        yield (
            '<p class="soft small">It has no encoder: each photo was searched for among its latents. PSNR and SSIM '
            "then say how much of the catalogue it covers, not how well it draws.</p>"
        )
    yield table(
        ["metric", "better", "value", "n", "meaning"],
        [
            [
                f"<code>{escape(score.metric)}</code>",
                "higher" if METRICS[score.metric].higher_is_better else "lower",
                f"{_score(score.estimate)} {METRICS[score.metric].unit}",
                str(score.estimate.n),
                f'{escape(METRICS[score.metric].description)}<span class="soft">{_note(score.estimate)}</span>',
            ]
            for score in card.scores
        ],
        numbers=(2, 3),
    )
    yield "</details>"


def _finding(finding: Finding) -> list[str]:
    return [
        escape(finding.bound),
        draw_interval(finding, at_least=">" in finding.bound),
        span(finding.value, finding.low, finding.high),
        str(finding.n),
        number(finding.margin),
        state(finding.state),
        f'<div class="advice">{escape(finding.would_pass)}</div>' if finding.would_pass else "",
    ]


def _baselines(report: EvaluationReport) -> Iterator[str]:
    yield "<h2>Trivial models on the same photos</h2>"
    yield '<p class="soft">What a model must stand beside. PCA has as many numbers a picture as the model\'s latent.</p>'
    found = {score.metric: score.estimate for score in report.references}
    names = [name.removeprefix("psnr_") for name in found if name.startswith("psnr_")]
    rows = [[name.replace("_", " "), _score(found.get(f"psnr_{name}")), _score(found.get(f"ssim_{name}"))] for name in names]
    for card in report.scorecards:
        note = " (searched)" if card.reconstruction == "searched" else ""
        rows.append(
            [f"<b>{escape(card.checkpoint.name)}</b>{note}", _score(card.estimate("psnr")), _score(card.estimate("ssim"))]
        )
    if report.champion_scores:
        own = (_score(find_estimate(report.champion_scores, name)) for name in ("psnr", "ssim"))
        rows.append(["<b>the champion</b>", *own])
    yield table(["drawn again by", "PSNR, dB", "SSIM"], rows, numbers=(1, 2))


def _ladder(report: EvaluationReport) -> Iterator[str]:
    yield "<h2>The ladder</h2>"
    yield (
        '<p class="soft">Real photos that no model has seen, made worse by known amounts and measured in the same run: '
        "the units in which the bounds are written.</p>"
    )
    found = {score.metric: score.estimate for score in report.references}
    rows = [[rung.replace("_", " "), *(_plain(found.get(f"{metric}_{rung}")) for metric in CLIMBING)] for rung in RUNGS]
    rows += [
        [f"<b>{escape(card.checkpoint.name)}</b>", *(_plain(card.estimate(metric)) for metric in CLIMBING)]
        for card in report.scorecards
    ]
    yield table(["real photos", *CLIMBING], rows, numbers=range(1, 1 + len(CLIMBING)))


def _attributes(report: EvaluationReport) -> Iterator[str]:
    real = next((score.estimate for score in report.references if score.metric == "attribute_consistency_real"), None)
    if real is None:
        return
    names = ", ".join(condition.name for condition in report.conditions if condition.kind == "label")
    yield "<h2>What was asked for</h2>"
    yield (
        f'<p class="soft">Pictures asked for with the attributes of real photos ({escape(names)}), seen by a classifier that was '
        "trained on real photos' own. Real photos that it has not seen are the measure: it errs on them too.</p>"
    )
    rows = [["real photos", _score(real) + _small(real), ""]]
    for card in report.scorecards:
        scores = [card.estimate(f"attribute_consistency{worst}") for worst in ("", "_worst")]
        rows.append([f"<b>{escape(card.checkpoint.name)}</b>", *(_score(score) + _small(score) for score in scores)])
    yield table(["", "recognised as asked for", "less than real photos, worst value"], rows, numbers=(1, 2))


def _small(estimate: Estimate | None) -> str:
    return f'<br><span class="soft small">{escape(estimate.note)}</span>' if estimate and estimate.note else ""


def _lineage(verdict: Verdict) -> Iterator[str]:
    yield "<h2>Lineage</h2>"
    yield '<p class="soft">What this verdict rests on, by sha256. Equal evidence means comparable scores.</p>'
    rows = [["dataset", _digest(verdict.dataset)], ["evidence", _digest(verdict.evidence)], ["policy", _digest(verdict.policy)]]
    rows += [[f"eyes: {escape(extractor.name)}", _digest(extractor.sha256)] for extractor in verdict.extractors]
    rows += [[f"weights of {_name(said.checkpoint)}", _digest(said.checkpoint.sha256)] for said in verdict.judgements]
    if champion := verdict.champion:
        rows.append([f"weights of the champion, version {champion.version}", _digest(champion.sha256)])
    yield table(["what", "sha256"], rows)
    yield (
        '<p class="soft small">Intervals are two-sided at 95 %, over groups of near-duplicates. They tell what another draw '
        "of photos and pictures would change, not what another training would. SSIM is Wang 2004: Gaussian window of 11 pixels, "
        "sigma 1.5, valid windows, population covariance, data range 255; PSNR is the mean over photos.</p>"
    )


def _name(checkpoint: Checkpoint) -> str:
    return f"<b>{escape(checkpoint.run)}</b><span class=soft>@{checkpoint.step}</span>"


def _digest(digest: str) -> str:
    return f"<code>{digest}</code>"


def _score(estimate: Estimate | None) -> str:
    return "–" if estimate is None else span(estimate.value, estimate.low, estimate.high)


def _plain(estimate: Estimate | None) -> str:
    return "–" if estimate is None else number(estimate.value)


def _note(estimate: Estimate) -> str:
    return f" · {escape(estimate.note)}" if estimate.note else ""
