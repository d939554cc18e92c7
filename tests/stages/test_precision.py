"""train with `precision: auto`: what was measured when a training began is what it goes on with."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from packshot.layout import Layout
from packshot.params import load_params
from packshot.stages import begin
from packshot.stages.train import train_runs
from packshot.training.log import Pixels
from packshot.training.stopped import Standing
from tests.models.families import CATEGORIES, IMAGE, toy_split
from tests.stages.datasets import pack_dataset

PARAMS = Path(__file__).parents[1] / "params.yaml"


class _PowerCut(Exception):
    pass


class _Cutting:
    """A Log that ends the training."""

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        if step >= 20:
            raise _PowerCut

    def picture(self, step: int, name: str, pixels: Pixels) -> None:
        pass


def test_a_training_goes_on_in_the_precision_that_was_measured_when_it_began(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.delenv("PACKSHOT_VAR", raising=False)
    layout = Layout(tmp_path)
    pack_dataset(layout.stage("prepare"), {"train": toy_split(60)}, IMAGE, CATEGORIES, (), digest="d" * 64)
    params = load_params(PARAMS)
    gan = params.train.runs[1].model_copy(update={"length": 1.0})
    params = params.model_copy(
        update={"train": params.train.model_copy(update={"precision": "auto", "runs": (gan,), "steps": 30})}
    )

    asked: list[str] = []

    def measure(*_: object) -> str:
        asked.append("measured")
        return "bfloat16" if len(asked) == 1 else "float32"

    monkeypatch.setattr(begin, "choose_precision", measure)
    with pytest.raises(_PowerCut):
        train_runs(params, layout, listener=_Cutting())
    (note,) = layout.resume.glob("*/training.json")
    assert Standing.read(note).told["precision"] == "bfloat16"
    report = train_runs(params, layout)
    assert asked == ["measured"]
    assert [checkpoint.step for checkpoint in report.checkpoints] == [30]
