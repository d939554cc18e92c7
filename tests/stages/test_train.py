"""train: what it leaves, that a kill changes nothing of it, and that no server is needed."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest

from packshot.errors import MissingArtifact, TrainingFailed, UsageError
from packshot.layout import Layout
from packshot.models import vae
from packshot.models.weights import load_weights, read_card
from packshot.params import Params, load_params
from packshot.records import Condition, TrackedRuns, TrainReport, file_digest, write_bytes
from packshot.stages.train import train
from packshot.training.params import DevParams, Run
from tests.children import forkserver
from tests.models.families import CATEGORIES, CONDITIONS, IMAGE, toy_split
from tests.stages.datasets import pack_dataset

PARAMS = Path(__file__).parents[1] / "params.yaml"
NOWHERE = "http://127.0.0.1:9"
"""A tracking server that does not answer: port 9 discards what it is sent, where anything listens there at all."""


def _project(root: Path, conditions: tuple[Condition, ...] = ()) -> Layout:
    """What prepare leaves, of toy photos."""
    layout = Layout(root)
    split = toy_split(60, conditions=bool(conditions))
    pack_dataset(layout.stage("prepare"), {"train": split, "val": split}, IMAGE, CATEGORIES, conditions, digest="d" * 64)
    return layout


def _params(**changes: object) -> Params:
    params = load_params(PARAMS)
    return params.model_copy(update={"train": params.train.model_copy(update=changes)})


def _train_in_a_child(root: str, failpoint: str) -> None:
    os.environ |= {"PACKSHOT_FAILPOINT": failpoint, "MLFLOW_TRACKING_URI": NOWHERE}
    train(_params(), Layout(Path(root)))


def _outputs(layout: Layout) -> dict[str, str]:
    folder = layout.stage("train")
    files = {str(path.relative_to(folder)): file_digest(path) for path in sorted(folder.rglob("*")) if path.is_file()}
    files.pop("tracked.json")
    return files


@pytest.fixture(autouse=True)
def no_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", NOWHERE)
    monkeypatch.delenv("PACKSHOT_VAR", raising=False)


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> Layout:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", NOWHERE)
        layout = _project(tmp_path_factory.mktemp("straight"))
        train(_params(), layout)
    return layout


def test_it_leaves_weights_curves_sheets_and_numbers_of_every_run(straight: Layout) -> None:
    folder = straight.stage("train")
    report = TrainReport.read(folder / "report.json")
    assert [checkpoint.name for checkpoint in report.checkpoints] == ["vae@60", "gan@30"]
    for checkpoint in report.checkpoints:
        model, card = load_weights(folder / checkpoint.path, checkpoint.sha256)
        assert (card.run, card.step, card.dataset, card.seed) == (checkpoint.run, checkpoint.step, "d" * 64, 3)
        assert (model.image, model.categories) == (IMAGE, CATEGORIES)
    assert sorted(_outputs(straight)) == [
        "curves/gan.csv",
        "curves/vae.csv",
        "metrics.json",
        "report.json",
        "sheets/gan.curves.png",
        "sheets/gan.interpolation.png",
        "sheets/gan.png",
        "sheets/gan.truncation.png",
        "sheets/vae.curves.png",
        "sheets/vae.interpolation.png",
        "sheets/vae.png",
        "sheets/vae.truncation.png",
        "weights/gan-30.safetensors",
        "weights/gan-30.training.safetensors",
        "weights/vae-60.safetensors",
        "weights/vae-60.training.safetensors",
    ]
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["gan"].keys() >= {"critic/relativistic", "generator/relativistic"}
    assert [tracked.run for tracked in TrackedRuns.read(folder / "tracked.json").runs] == ["vae", "gan"]


def test_nothing_is_left_to_go_on_from_once_it_is_through(straight: Layout) -> None:
    assert [path.name for path in straight.resume.rglob("*")] == [".lock"]
    assert not list(straight.data.glob(".*.lock"))


def test_a_card_depends_on_settings_and_not_on_the_machine(straight: Layout, tmp_path: Path) -> None:
    layout = _project(tmp_path)
    (layout.stage("train") / "weights").mkdir(parents=True)
    (layout.stage("train") / "weights" / "old-9.safetensors").write_bytes(b"of a run that is no more")
    train(_params(stall_minutes=0.0), layout)
    assert _outputs(layout) == _outputs(straight)


@pytest.mark.parametrize("place", ["train.step:33", "train.step:75", "train.run:1", "train.done:1"])
def test_a_killed_stage_ends_in_the_same_bytes(
    place: str, straight: Layout, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    layout = _project(tmp_path)
    child = forkserver().Process(target=_train_in_a_child, args=(str(tmp_path), f"{place}:kill"))
    child.start()
    child.join(120)
    assert child.exitcode == -signal.SIGKILL
    caplog.set_level("INFO")
    train(_params(), layout)
    assert _outputs(layout) == _outputs(straight)
    assert "vae goes on from step" in caplog.text
    if place != "train.step:33":
        assert "vae goes on from step 60" in caplog.text


def test_changed_settings_train_anew_what_they_touch(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    layout = _project(tmp_path)
    broken = load_params(PARAMS).train.runs[1].model_copy(update={"length": 0.25})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("packshot.stages.train.Checkpoints.publish", _interrupt)
        with pytest.raises(KeyboardInterrupt):
            train(_params(), layout)
    runs = (load_params(PARAMS).train.runs[0], broken)
    caplog.set_level("INFO")
    train(_params(runs=runs), layout)
    assert "vae goes on from step 60" in caplog.text
    report = TrainReport.read(layout.stage("train") / "report.json")
    assert [checkpoint.name for checkpoint in report.checkpoints] == ["vae@60", "gan@15"]


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def test_a_diverging_run_ends_the_stage_and_leaves_the_evidence(tmp_path: Path) -> None:
    layout = _project(tmp_path)
    run = load_params(PARAMS).train.runs[0]
    wild = run.model_copy(update={"model": run.model.model_copy(update={"learning_rate": 1e38, "polish": None})})
    with pytest.raises(TrainingFailed, match="not finite"):
        train(_params(runs=(wild,)), layout)
    assert len(list(layout.resume.glob("vae-*/failure.json"))) == 1
    assert not (layout.stage("train") / "report.json").exists()


def test_without_a_dataset_it_names_the_stage_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(MissingArtifact, match="prepare"):
        train(_params(), Layout(tmp_path))


def test_the_cards_of_one_stage_agree_on_everything_but_the_run(straight: Layout) -> None:
    cards = [read_card(path) for path in sorted((straight.stage("train") / "weights").iterdir())]
    assert {(card.dataset, card.image.size, card.categories) for card in cards} == {("d" * 64, 16, CATEGORIES)}
    assert len({card.params for card in cards}) == 2


def test_models_learn_the_conditions_of_the_dataset_and_their_weights_say_so(tmp_path: Path) -> None:
    layout = _project(tmp_path, CONDITIONS)
    report = train(_params(steps=8), layout)
    for checkpoint in report.checkpoints:
        path = layout.stage("train") / checkpoint.path
        model, card = load_weights(path, checkpoint.sha256)
        assert model.conditions == card.conditions == read_card(path).conditions == CONDITIONS
        assert b"conditions" in path.read_bytes()
    plain = train(_params(steps=8), _project(tmp_path / "plain"))
    for checkpoint in plain.checkpoints:
        assert b"conditions" not in (tmp_path / "plain" / "data" / "train" / checkpoint.path).read_bytes()


def test_what_is_wrong_with_the_last_run_is_told_before_the_first_is_trained(straight: Layout) -> None:
    before = _outputs(straight)
    for changes, told in (
        ({"accumulate": 9}, "fewer than two photos for each of 9 parts"),
        ({"dev": DevParams(metric="psnr", samples=50)}, "the model does not encode photos"),
    ):
        with pytest.raises(UsageError, match=told):
            train(_params(**changes), straight)
    assert _outputs(straight) == before
    assert not list(straight.resume.glob("*-*/"))


def test_no_run_writes_over_the_sheets_of_another(tmp_path: Path) -> None:
    layout = _project(tmp_path)
    runs = [_params().train.runs[0].model_copy(update={"name": name}) for name in ("vae", "vae-curves")]
    train(_params(runs=tuple(runs), steps=3), layout)
    assert len(list((layout.stage("train") / "sheets").glob("*.png"))) == 8


def test_a_model_that_cannot_learn_such_photos_is_refused_before_anything_is_trained_or_lost(tmp_path: Path) -> None:
    layout = _project(tmp_path)
    before = layout.stage("train") / "report.json"
    write_bytes(before, b"of an earlier training")
    big = vae.Config(latent=vae.Grid(factor=4, channels=32), prior=vae.GaussianPrior())
    with pytest.raises(
        UsageError, match=r"run 'big' cannot learn this: class_gaussians hold 256 numbers of a grid at most, not 512"
    ):
        train(_params(runs=(*_params().train.runs, Run(name="big", model=big))), layout)
    assert before.read_bytes() == b"of an earlier training"
