from __future__ import annotations

import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest

from packshot.evaluation.gate import judge
from packshot.evaluation.policy import Bound, ChampionRules
from packshot.evaluation.report import render_report
from packshot.images.sheet import encode_png
from packshot.layout import Layout
from packshot.params import load_params
from packshot.records import Control, Cost, Estimate, Score, Slice, Speed, Standing, Verdict
from packshot.stages.gate import gate
from tests.conftest import ROOT
from tests.evaluation.reports import card, estimate, report

PARAMS = load_params(ROOT / "tests" / "params.yaml")


@pytest.fixture
def layout(tmp_path) -> Layout:
    layout = Layout(tmp_path)
    folder = layout.stage("evaluate")
    cards = (
        card("vae@10", {"psnr": estimate(24, 0.3), "kid": estimate(0.1, 0.05)}),
        card("gan@10", {"psnr": 2.0}, how="searched"),
    )
    report(*cards, references={"psnr_mean_photo": 13.0, "kid_blur_1px": 0.2}).write(folder / "report.json")
    vae = cards[0].checkpoint.sha256
    latency = Estimate(value=12.5, low=12.0, high=13.0, n=99)
    cost = Cost(sha256=vae, size_mb=3.0, parameters=1, latency_ms=latency, micro_batch=8, threads=1, processor="any")
    Speed(costs=(cost,)).write(folder / "speed.json")
    (folder / "pictures").mkdir()
    (folder / "pictures" / "vae-10-samples.png").write_bytes(encode_png(np.zeros((8, 8, 3), np.uint8)))
    return layout


class Page(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in {"meta", "img", "br", "line", "rect", "circle"}:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_verdict_the_metrics_and_the_page_are_written(layout):
    verdict = gate(PARAMS, layout)
    assert verdict.passed
    assert verdict.candidate.name == "vae@10"
    assert Verdict.read(layout.stage("gate") / "verdict.json") == verdict
    told = json.loads((layout.stage("gate") / "metrics.json").read_text())
    assert told["passed"] == 1
    assert told["checkpoints"]["vae@10"]["kept"] == 1
    assert told["checkpoints"]["gan@10"]["passed"] == 0
    assert told["checkpoints"]["gan@10"]["margins"] == {"psnr": -1.0}


def test_the_page_opens_offline_and_is_whole(layout):
    verdict = gate(PARAMS, layout)
    text = (layout.stage("gate") / "report.html").read_text()
    page = Page(text)
    assert not page.open
    assert not re.search(r"(https?:)?//[a-z]", text)
    assert {tag for tag, _ in page.tags} & {"script", "link", "iframe"} == set()
    pictures = [attrs["src"] for tag, attrs in page.tags if tag == "img"]
    assert len(pictures) == 1
    assert pictures[0].startswith("data:image/png;base64,")
    for digest in (verdict.dataset, verdict.evidence, verdict.policy, verdict.candidate.sha256):
        assert digest in text
    assert "vae@10 goes on" in text


def test_what_the_clock_said_is_told_and_can_be_bounded(layout):
    gate(PARAMS, layout)
    assert "12.50" in (layout.stage("gate") / "report.html").read_text()
    for limit, passed in ((20.0, True), (12.5, False)):
        bounds = (*PARAMS.gate.bounds, Bound(metric="latency_ms", at_most=limit))
        strict = PARAMS.model_copy(update={"gate": PARAMS.gate.model_copy(update={"bounds": bounds})})
        assert gate(strict, layout).passed is passed


def test_the_page_shows_champion_slices_controls_and_curves(layout):
    gain = Score(metric="psnr", estimate=estimate(-0.7, 0.2, n=40))
    shoes = Slice(name="category <shoes>", scores=(Score(metric="psnr", estimate=estimate(20.0)),), over_champion=(gain,))
    base = report(card("a@1", {"psnr": estimate(24, 0.3)}).model_copy(update={"over_champion": (gain,), "slices": (shoes,)}))
    champion = Standing(model="packshot", version=3, sha256="c" * 64, family="vae", lacks=("hat",), reason="it cannot draw a hat")
    controls = (Control(name="real", must="pass", scores=()), Control(name="mean_photo", must="fail", scores=()))
    told = {"champion": champion, "champion_scores": (Score(metric="psnr", estimate=estimate(24.7)),), "controls": controls}
    rules = ChampionRules.model_validate_json("""{"superior": false, "slices": {"not_worse": [{"metric": "psnr", "by": 0.5}]}}""")
    policy = PARAMS.gate.model_copy(update={"champion": rules, "controls": ("real", "mean_photo")})
    base = base.model_copy(update=told)
    text = render_report(judge(base, policy), base, {}, {"a": encode_png(np.zeros((8, 8, 3), np.uint8))})
    assert not Page(text).open
    for words in (
        "Beside the champion, version 3",
        "it cannot draw a hat",
        "-0.700",
        "category &lt;shoes&gt;",
        "psnr of category &lt;shoes&gt; less the champion&#x27;s &gt;= -0.5",
        "Is the gate itself sound?",
        "The training of a",
        "c" * 64,
    ):
        assert words in text, words


def test_names_cannot_break_out_of_the_page():
    base = report(card("a@1", {"psnr": 1.0}))
    verdict = gate_verdict(base).model_copy(update={"reason": "<script>alert(1)</script>"})
    assert "<script>" not in render_report(verdict, base, {})


def gate_verdict(base):
    return judge(base, PARAMS.gate)


def test_a_page_without_checkpoints_is_still_a_page():
    base = report()
    assert "There is no checkpoint to judge." in render_report(gate_verdict(base), base, {})
