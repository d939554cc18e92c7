"""What train makes of an earlier training, a signal, a full disk, too little memory, and data that change under its hands."""

from __future__ import annotations

import os
import shutil
import signal
from collections import Counter
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from threading import Timer

import pytest
import torch
from mlflow import MlflowClient

from packshot.adapters import tracking
from packshot.adapters.processes import fault_of
from packshot.adapters.versioning import repro
from packshot.errors import IntegrityError, Locked, OutOfResources, Stopped, UsageError
from packshot.layout import Layout
from packshot.records import Dataset
from packshot.stages.train import train
from packshot.training.loop import train as fit
from packshot.training.stopped import sole_owner
from tests.children import forkserver
from tests.conftest import make_project
from tests.stages.test_train import NOWHERE, _outputs, _params, _project

GAN = _params().train.runs[1]


@pytest.fixture(autouse=True)
def no_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", NOWHERE)
    monkeypatch.delenv("PACKSHOT_VAR", raising=False)


def _gan(**changes: object):  # type: ignore[no-untyped-def]
    return _params(**{"runs": (GAN,), "steps": 24, "save_every": 5, "picture_every": 1000, **changes})


def _stop_at(step: int, monkeypatch: pytest.MonkeyPatch, layout: Layout, **changes: object) -> None:
    with monkeypatch.context() as patch:
        patch.setenv("PACKSHOT_FAILPOINT", f"train.step:{step}:term")
        patch.setattr("packshot.failpoints._passages", Counter())
        with pytest.raises(Stopped, match="stopped at step"):
            train(_gan(**changes), layout)


def test_the_old_settings_go_on_where_they_stood_after_others_were_tried(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    straight = _project(tmp_path / "straight")
    train(_gan(), straight)
    layout = _project(tmp_path / "stopped")
    _stop_at(7, monkeypatch, layout)
    caplog.clear()
    _stop_at(3, monkeypatch, layout, batch_size=8)
    assert "there changed: gan: train.batch_size: 16, then 8" in caplog.text
    assert len(list(layout.resume.glob("gan-*/training.json"))) == 2
    with pytest.raises(UsageError, match=r"gan: train.batch_size: 8, then 4") as refused:
        train(_gan(batch_size=4), layout, resume=True)
    assert refused.value.exit_code == 2
    assert len(list(layout.resume.glob("gan-*/training.json"))) == 2, "what is refused leaves nothing"
    train(_gan(), layout, resume=True)
    assert "gan goes on from step" in caplog.text
    assert _outputs(layout) == _outputs(straight)


def test_with_nothing_stopped_there_is_nothing_to_resume(tmp_path: Path) -> None:
    layout = _project(tmp_path)
    with pytest.raises(UsageError, match="there is no training to go on from exactly: packshot train --resume"):
        train(_gan(), layout, resume=True)
    assert not layout.stage("train").exists()


def test_two_trainings_of_one_checkout_exclude_each_other_and_two_experiments_take_turns_at_the_very_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    layout = _project(tmp_path)
    with sole_owner(layout.stage("train")), pytest.raises(Locked):
        train(_gan(), layout)
    _stop_at(7, monkeypatch, layout)
    (mine,) = layout.resume.glob("gan-*/")
    with sole_owner(mine):
        with monkeypatch.context() as patch:
            patch.setattr("packshot.stages.train.WAIT_FOR_TRAININGS", timedelta(0))
            with pytest.raises(Locked) as refused:
                train(_gan(), layout)
        assert refused.value.exit_code == 23
        train(_gan(steps=4), layout)

        # It waits, and a signal ends that.
        asked = Timer(1.0, os.kill, (os.getpid(), signal.SIGTERM))
        asked.start()
        with pytest.raises(Stopped):
            train(_gan(), layout)
        assert "this one waits until that is over" in caplog.text
    other = ExitStack()
    other.enter_context(sole_owner(mine))
    Timer(1.0, other.close).start()
    caplog.set_level("INFO")
    train(_gan(), layout)
    assert "gan goes on from step" in caplog.text


def test_data_that_change_while_they_are_trained_on_are_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    layout = _project(tmp_path)
    dataset = Dataset.read(layout.stage("prepare") / "dataset.json")
    pixels = layout.stage("prepare") / next(file.name for file in dataset.files if file.name.startswith("train-pixels"))

    def edit(*given: object, **more: object) -> object:
        state = fit(*given, **more)  # type: ignore[arg-type]
        content = bytearray(pixels.read_bytes())
        content[-1] ^= 1
        pixels.unlink()
        pixels.write_bytes(content)
        return state

    monkeypatch.setattr("packshot.stages.train.fit", edit)
    with pytest.raises(IntegrityError, match="changed while they were trained on"):
        train(_gan(steps=4), layout)
    assert not (layout.stage("train") / "report.json").exists()


def test_a_disk_without_room_is_told_before_the_first_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    layout = _project(tmp_path)
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr("packshot.records.shutil.disk_usage", lambda _: usage._replace(free=100_000))
    monkeypatch.setattr("packshot.stages.train.fit", lambda *_, **__: pytest.fail("it trains"))
    with pytest.raises(OutOfResources, match=r"[\d,]{7,} bytes are needed, 100,000 are free") as refused:
        train(_gan(), layout)
    assert refused.value.exit_code == 22


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB."),
        RuntimeError("[enforce fail at alloc_cpu.cpp:124] DefaultCPUAllocator: can't allocate memory"),
        MemoryError(),
    ],
)
def test_too_little_memory_is_told_with_advice_and_no_batch_shrinks(
    error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = []

    def refuse(*_: object, **given: object) -> None:
        tried.append(given)
        raise error

    monkeypatch.setattr("packshot.stages.train.fit", refuse)
    with pytest.raises(OutOfResources, match=r"out of memory.*held [\d,]+ bytes: gan: raise train.accumulate") as told:
        train(_gan(), _project(tmp_path))
    assert told.value.exit_code == 22
    assert len(tried) == 1


def test_any_other_error_stays_what_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("shapes do not match")

    monkeypatch.setattr("packshot.stages.train.fit", fail)
    with pytest.raises(RuntimeError, match="shapes"):
        train(_gan(), _project(tmp_path))


def test_a_stage_that_was_killed_by_the_system_is_told_as_such() -> None:
    for code in (-9, 137):
        assert isinstance(fault_of(code, [], where="dvc repro train", advice=""), OutOfResources)
    stopped = fault_of(143, ["packshot: stopped at step 7; run it again to go on"], where="", advice="")
    assert (type(stopped), stopped.exit_code) == (Stopped, 143)
    assert stopped.line == "packshot: stopped at step 7; run it again to go on"


def test_under_dvc_a_signal_ends_it_and_running_it_again_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = make_project(tmp_path / "project")
    layout = _project(project.root)
    for name, value in project.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PACKSHOT_FAILPOINT", "train.step:12:term")
    lines: list[str] = []
    with pytest.raises(Stopped) as stopped:
        repro(layout, ["train"], single_item=True, on_line=lines.append)
    assert stopped.value.exit_code == 143
    assert [line for line in lines if line.startswith("packshot: stopped at step ")], lines
    assert len(list(layout.resume.glob("vae-*/*-*-*.safetensors"))) > 1


def _train_and_tell(layout: Layout, database: Path) -> None:
    """All is told at once, far beyond the state that stands."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{database}")
        patch.setattr(tracking, "FLUSH_SECONDS", 0.0)
        train(_gan(report_every=2, save_every=10), layout)


def _die(root: str, database: str) -> None:
    os.environ["PACKSHOT_FAILPOINT"] = "train.step:9:kill"
    _train_and_tell(Layout(Path(root)), Path(database))


def _curves(database: Path) -> dict[str, list[tuple[int, float]]]:
    """Of the only run, which is through."""
    client = MlflowClient(tracking_uri=f"sqlite:///{database}")
    (experiment,) = [found for found in client.search_experiments() if found.name == "packshot"]
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.status == "FINISHED"
    names = [name for name in run.data.metrics if name.startswith(("critic/", "generator/", "penalty/"))]
    points = {name: client.get_metric_history(run.info.run_id, name) for name in names}
    return {name: sorted((point.step, point.value) for point in told) for name, told in points.items()}


def test_every_point_of_a_curve_is_in_mlflow_once_whatever_is_killed(tmp_path: Path, database: Path) -> None:
    straight, killed = _project(tmp_path / "straight"), _project(tmp_path / "killed")
    for layout in (straight, killed):
        shutil.copy(database, layout.root / "mlflow.db")
    child = forkserver().Process(target=_die, args=(str(killed.root), str(killed.root / "mlflow.db")))
    child.start()
    child.join(120)
    assert child.exitcode == -signal.SIGKILL
    for layout in (straight, killed):
        _train_and_tell(layout, layout.root / "mlflow.db")
    curves = _curves(killed.root / "mlflow.db")
    assert curves == _curves(straight.root / "mlflow.db")
    assert all(len(points) == len({step for step, _ in points}) for points in curves.values())
    assert len(curves) > 3
