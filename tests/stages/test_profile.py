"""Where the time of a training's steps goes; and that looking changes nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from packshot.errors import UsageError
from packshot.images.sheet import decode_png
from packshot.layout import Layout
from packshot.params import load_params
from packshot.stages.profile import profile
from tests.models.families import CATEGORIES, IMAGE, SMALL, toy_split
from tests.stages.datasets import pack_dataset

PARAMS = load_params(Path(__file__).parents[1] / "params.yaml")
STEPS = 12
"""In place of 30: a profile of so many takes torch long to add up."""


@pytest.fixture
def layout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Layout:
    monkeypatch.delenv("PACKSHOT_VAR", raising=False)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setattr("packshot.training.profile.STEPS", STEPS)
    monkeypatch.setattr("packshot.training.profile.WARM_STEPS", 3)
    made = Layout(tmp_path)
    pack_dataset(made.stage("prepare"), {"train": toy_split(60)}, IMAGE, CATEGORIES, digest="d" * 64)
    return made


def test_it_says_where_the_time_goes_and_touches_nothing_else(layout: Layout) -> None:
    before = {path: path.read_bytes() for path in layout.root.rglob("*") if path.is_file()}
    (found,) = profile(PARAMS, layout, "gan")
    told = found.profile
    assert {phase.name: phase.calls for phase in told.phases} == {"critic": STEPS, "penalty": 2, "generator": STEPS}
    parts = sum(phase.milliseconds for phase in told.phases)
    assert 0.5 * told.step < parts <= 1.02 * told.step, "phases are nearly all of a step"
    assert 0 < told.loader < parts
    assert 0 < told.products < 1
    assert told.memory["host"] > 50
    assert any("convolution" in part.name for part in told.operators)
    assert [part.milliseconds for part in told.operators] == sorted((part.milliseconds for part in told.operators), reverse=True)
    left = {path for path in layout.root.rglob("*") if path.is_file()}
    assert left - set(before) == {found.page, found.trace, found.picture}
    assert {path: path.read_bytes() for path in before} == before

    names = {event.get("name") for event in json.loads(found.trace.read_text())["traceEvents"]}
    assert {"phase critic", "phase generator", "loader"} <= names, "what a browser shows"
    assert "| critic |" in found.page.read_text()
    assert decode_png(found.picture.read_bytes()).shape[1] == 640


def test_every_phase_of_a_run_has_its_share_and_what_is_computed_once_is_told_apart(layout: Layout) -> None:
    run = PARAMS.train.runs[0].model_copy(update={"model": SMALL["vae-flow"], "steps": 1_000_000})
    params = PARAMS.model_copy(update={"train": PARAMS.train.model_copy(update={"runs": (run,)})})
    (found,) = profile(params, layout)
    told = found.profile
    assert {phase.name for phase in told.phases} >= {"autoencoder", "critic", "polish", "flow"}
    assert told.fits
    assert f"Once in a run: {told.fits[0].name}" in found.text


def test_a_run_that_is_not_there_is_named_with_those_that_are(layout: Layout) -> None:
    with pytest.raises(UsageError, match=r"no run is called 'van': train\.runs: there are vae, gan"):
        profile(PARAMS, layout, "van")
