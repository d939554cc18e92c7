from __future__ import annotations

import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest

from packshot.evaluation.report import render_report
from packshot.images.sheet import encode_png
from packshot.layout import Layout
from packshot.params import load_params
from packshot.records import Verdict
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
        if tag not in {"meta", "img", "line", "rect", "circle"}:
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


def test_names_cannot_break_out_of_the_page():
    base = report(card("a@1", {"psnr": 1.0}))
    verdict = gate_verdict(base).model_copy(update={"reason": "<script>alert(1)</script>"})
    assert "<script>" not in render_report(verdict, base, {})


def gate_verdict(base):
    from packshot.evaluation.gate import judge

    return judge(base, PARAMS.gate)


def test_a_page_without_checkpoints_is_still_a_page():
    base = report()
    assert "There is no checkpoint to judge." in render_report(gate_verdict(base), base, {})
