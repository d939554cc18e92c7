"""Several processes train one model as one process would, and end together, however one of them ends."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import torch
import yaml

from packshot.errors import UsageError
from packshot.layout import Layout
from packshot.models.processes import gather, keep_own, mean_of_all
from packshot.records import TrainReport
from packshot.training.hardware import Machine, count_cores
from packshot.training.launch import join
from tests.models.families import CATEGORIES, CONDITIONS, IMAGE, SMALL, toy_split
from tests.stages.datasets import pack_dataset
from tests.training.runs import params
from tests.training.together import CASES, learn, settings

ROOT = Path(__file__).parents[2]
NOWHERE = "http://127.0.0.1:9"
pytestmark = pytest.mark.skipif(count_cores() < 2, reason="two processes need two cores")


def _free_port() -> int:
    with socket.socket() as door:
        door.bind(("127.0.0.1", 0))
        port: int = door.getsockname()[1]
    return port


def _place(rank: int, port: int, count: int = 2) -> dict[str, str]:
    """As torchrun tells a process its place."""
    told = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": count, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    return {**os.environ, "GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1", **{key: str(value) for key, value in told.items()}}


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What two processes told of every family, whole batches and in two parts."""
    folder, port = tmp_path_factory.mktemp("together"), _free_port()
    command = [sys.executable, "-m", "tests.training.together", str(folder)]
    running = [subprocess.Popen(command, cwd=ROOT, env=_place(rank, port)) for rank in range(2)]
    assert [process.wait(300) for process in running] == [0, 0]
    return folder


@pytest.mark.parametrize(("name", "parts"), CASES)
def test_two_processes_lose_what_one_does(name: str, parts: int, together: Path) -> None:
    first, second = (json.loads((together / f"{name}-{parts}-{rank}.json").read_text()) for rank in range(2))
    assert first == second
    alone = [row.values for row in learn(name, settings(name, processes=1, parts=parts)).history]
    assert any("r1" in key for row in alone for key in row) == any(phase.second_order for phase in _phases(name))
    for one, two in zip(alone, first, strict=True):
        assert _told(two) == pytest.approx(_told(one), rel=1e-4, abs=1e-5)


def _told(row: dict[str, float]) -> dict[str, float]:
    """A row with the difference of a critic's scores: a relativistic one has no zero of its own, and rounding alone moves it."""
    scores = {key: row[key] for key in ("critic/real", "critic/drawn") if key in row}
    gap = {"critic/gap": scores["critic/real"] - scores["critic/drawn"]} if scores else {}
    return {key: value for key, value in row.items() if key not in scores} | gap


def _phases(name: str) -> tuple[object, ...]:
    return SMALL[name].build(IMAGE, CATEGORIES, CONDITIONS).phases()


# --- what they tell each other


def test_what_a_batch_shares_is_that_of_all_processes_and_so_are_its_slopes_and_theirs(together: Path) -> None:
    assert all((together / f"exchanged-{rank}").is_file() for rank in range(2))


def test_what_one_process_alone_sees_all_of_them_go_back_for(together: Path) -> None:
    assert [json.loads((together / f"went-back-{rank}.json").read_text()) for rank in range(2)] == [[[6, 4]]] * 2


def test_a_training_of_one_process_is_given_back_what_it_gives() -> None:
    value = torch.ones(3)
    assert mean_of_all(value) is gather(value) is keep_own(value) is value


# --- how they start and end


def _project(root: Path, **changes: object) -> Path:
    """A project with prepared toy photos and one run that two processes train."""
    layout = Layout(root)
    pack_dataset(layout.stage("prepare"), {"train": toy_split(60)}, IMAGE, CATEGORIES, (), digest="d" * 64)
    content = yaml.safe_load((ROOT / "tests" / "params.yaml").read_text())
    content["train"] |= {"processes": 2, "steps": 20, "runs": [content["train"]["runs"][1]], **changes}
    (root / "params.yaml").write_text(yaml.safe_dump(content))
    return root


def _train(root: Path, **environment: str) -> subprocess.Popen[str]:
    own = {"MLFLOW_TRACKING_URI": NOWHERE, "OMP_NUM_THREADS": "1", "PACKSHOT_VAR": str(root / "var"), **environment}
    return subprocess.Popen(
        [sys.executable, "-m", "packshot.cli", "train"],
        cwd=root,
        env={**os.environ, **own},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_the_first_process_starts_the_others_and_alone_tells_and_keeps(tmp_path: Path) -> None:
    root = _project(tmp_path)
    process = _train(root)
    _, told = process.communicate(timeout=180)
    assert process.returncode == 0, told
    report = TrainReport.read(root / "data" / "train" / "report.json")
    assert [checkpoint.name for checkpoint in report.checkpoints] == ["gan@10"]
    assert not [line for line in told.splitlines() if "E70" in line or "Error" in line]


@pytest.fixture
def long_training(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], psutil.Process]]:
    """A training that goes on for ever, once both processes are at it: the first, and the one that it started."""
    root = _project(tmp_path, steps=10**7, report_every=1)
    process = _train(root)
    followers: list[psutil.Process] = []
    try:
        assert process.stderr is not None
        for line in process.stderr:
            if "/5000000" in line:
                break
        followers = psutil.Process(process.pid).children()
        assert len(followers) == 1
        yield process, followers[0]
    finally:
        process.kill()
        process.wait()
        for follower in followers:
            if follower.is_running():
                follower.kill()


def _wait_until_gone(process: psutil.Process, seconds: float = 30.0) -> None:
    until = time.monotonic() + seconds
    while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < until, "an orphan"
        time.sleep(0.02)


def test_where_one_is_killed_the_first_one_says_so_in_a_line(
    long_training: tuple[subprocess.Popen[str], psutil.Process],
) -> None:
    first, other = long_training
    other.kill()
    _, told = first.communicate(timeout=60)
    assert first.returncode == 22
    assert told.splitlines()[-1].startswith("packshot: E22 it was killed: process 1: often the memory ran out")
    assert "Traceback" not in told


def test_where_the_first_one_is_killed_no_other_stays(long_training: tuple[subprocess.Popen[str], psutil.Process]) -> None:
    first, other = long_training
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    _wait_until_gone(other)


# --- what is refused


def test_more_processes_than_cores_are_refused() -> None:
    with pytest.raises(UsageError, match=r"processes and .* core") as refused:
        Machine.choose(params("gan", processes=1000))
    assert "or fewer" in refused.value.advice


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_gpus_that_are_not_there_are_refused() -> None:
    with pytest.raises(UsageError, match="no GPU"):
        Machine.choose(params("gan", processes=2, device="cuda"))


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"processes": 2, "batch_size": 17}, "cannot be shared by 2 processes"),
        ({"accumulate": 9}, "fewer than two photos"),
        ({"processes": 2, "accumulate": 5}, "fewer than two photos"),
    ],
)
def test_a_batch_that_cannot_be_shared_out_is_refused(changes: dict[str, object], what: str) -> None:
    chosen = params("gan", **changes)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=what):
        learn("gan", chosen)


@pytest.mark.parametrize(("told", "what"), [("3", "3 processes were started"), ("none", "is no place")])
def test_another_number_of_processes_than_params_say_is_refused(told: str, what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", told)
    with pytest.raises(UsageError, match=what), join(params("gan", processes=2), Path()):
        pass
