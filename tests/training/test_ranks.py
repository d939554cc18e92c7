"""Several processes train one model as one process would, and end together, however one of them ends."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import signal
import socket
import sys
import time
from pathlib import Path

import psutil
import pytest
import torch
import yaml

from packshot.cli import main
from packshot.errors import UsageError
from packshot.images.shards import Split, SplitName
from packshot.layout import Layout
from packshot.models.processes import gather, keep_own, mean_of_all
from packshot.models.weights import WeightsCard, save_training, save_weights, training_path
from packshot.records import TrainReport, file_digest
from packshot.training import launch
from packshot.training.hardware import Machine, count_cores
from packshot.training.launch import join
from packshot.training.params import Run
from tests.children import forkserver
from tests.models.families import CATEGORIES, CONDITIONS, IMAGE, SMALL, toy_split
from tests.stages.datasets import pack_dataset
from tests.training.runs import params
from tests.training.together import CASES, learn, settings
from tests.training.together import main as train_together

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
    return {"GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1", **{key: str(value) for key, value in told.items()}}


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What two processes told of every family, whole batches and in two parts."""
    folder, port = tmp_path_factory.mktemp("together"), _free_port()
    running = [forkserver().Process(target=_be_one_of_two, args=(str(folder), _place(rank, port))) for rank in range(2)]
    for process in running:
        process.start()
    for process in running:
        process.join(300)
    assert [process.exitcode for process in running] == [0, 0]
    return folder


def _be_one_of_two(folder: str, place: dict[str, str]) -> None:
    os.environ |= place
    train_together(folder)


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


def _project(root: Path) -> Path:
    """A project with toy photos and one run that two processes train, from weights of before, measured on the way."""
    layout = Layout(root)
    splits: dict[SplitName, Split] = {"train": toy_split(60), "val": toy_split(60)}
    pack_dataset(layout.stage("prepare"), splits, IMAGE, CATEGORIES, (), digest="d" * 64)
    content = yaml.safe_load((ROOT / "tests" / "params.yaml").read_text())
    run = content["train"]["runs"][1] | {"length": 1.0}
    _keep_weights(root / "kept" / "gan.safetensors", Run.model_validate(run))
    content["train"] |= {
        "processes": 2,
        "steps": 20,
        "save_every": 3,
        "report_every": 5,
        "dev": {"metric": "kid", "every": 0.5, "samples": 50},
        "runs": [run | {"init_from": {"weights": "kept/gan.safetensors"}}],
    }
    (root / "params.yaml").write_text(yaml.safe_dump(content))
    return root


def _keep_weights(path: Path, run: Run) -> None:
    """Weights, and what only training needs of them, of an earlier training."""
    torch.manual_seed(77)
    model = run.model.build(IMAGE, CATEGORIES)
    card = WeightsCard(
        config=run.model,
        image=IMAGE,
        categories=CATEGORIES,
        conditions=(),
        run=run.name,
        step=9,
        dataset="c" * 64,
        params="b" * 64,
        seed=1,
    )
    save_weights(path, model, card)
    save_training(training_path(path), model, card)


def _lead(root: str, failpoint: str, rank: int) -> None:
    """What the first process does: `packshot train`, as a shell runs it. At the failpoint, the process of that rank is met."""
    os.chdir(root)
    sys.stderr = Path("told").open("w", buffering=1)  # noqa: SIM115 - as long as the process
    os.environ |= {"MLFLOW_TRACKING_URI": NOWHERE, "PACKSHOT_VAR": f"{root}/var"}
    start = launch._Others.start

    def start_others(count: int, port: int, project: Path) -> launch._Others:
        os.environ["PACKSHOT_FAILPOINT"] = failpoint if rank else ""
        others = start(count, port, project)
        os.environ["PACKSHOT_FAILPOINT"] = "" if rank else failpoint
        return others

    launch._Others.start = start_others  # type: ignore[method-assign]
    sys.argv = ["packshot", "train"]
    main()


def _train(root: Path, failpoint: str = "", rank: int = 0) -> tuple[int | None, list[str]]:
    """The exit code of the first process and what it told, once no process of the training is there any more."""
    first = forkserver().Process(target=_lead, args=(str(root), failpoint, rank))
    first.start()
    first.join(180)
    until = time.monotonic() + 30
    while orphans := [process.pid for process in psutil.process_iter(["cwd"]) if process.info["cwd"] == os.path.realpath(root)]:
        assert time.monotonic() < until, f"orphans: {orphans}"
        time.sleep(0.02)
    return first.exitcode, (root / "told").read_text().splitlines()


def _outputs(root: Path) -> dict[str, str]:
    folder = Layout(root).stage("train")
    files = {str(path.relative_to(folder)): file_digest(path) for path in sorted(folder.rglob("*")) if path.is_file()}
    files.pop("tracked.json")
    return files


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project after a training that nothing happened to."""
    root = _project(tmp_path_factory.mktemp("straight"))
    code, told = _train(root)
    assert code == 0, told
    return root


def test_the_first_process_starts_the_others_and_alone_tells_and_keeps(straight: Path) -> None:
    report = TrainReport.read(straight / "data" / "train" / "report.json")
    assert [checkpoint.name for checkpoint in report.checkpoints] == ["gan@20"]
    told = (straight / "told").read_text()
    assert "gan starts from" in told
    assert not [line for line in told.splitlines() if "E70" in line or "Error" in line]
    with (straight / "data" / "train" / "curves" / "gan.csv").open() as file:
        assert [row["step"] for row in csv.DictReader(file) if row["dev/kid"]] == ["10", "20"]


def test_whichever_of_two_is_ended_the_other_ends_too_and_run_again_they_end_in_the_same_bytes(
    straight: Path, tmp_path: Path
) -> None:
    for name in ("data/prepare", "kept"):
        shutil.copytree(straight / name, tmp_path / name)
    shutil.copy(straight / "params.yaml", tmp_path)

    code, told = _train(tmp_path, "train.step:5:kill", rank=1)
    assert code == 22
    assert told[-1].startswith("packshot: E22 it was killed: process 1: often the memory ran out")
    assert not [line for line in told if "Traceback" in line]

    code, _ = _train(tmp_path, "train.step:5:kill")
    assert code == -signal.SIGKILL

    code, told = _train(tmp_path, "train.step:5:term")
    assert code == 143
    assert re.fullmatch(r"packshot: stopped at step \d+; run it again to go on", told[-1])

    code, told = _train(tmp_path)
    assert code == 0
    assert [line for line in told if "gan goes on from step 1" in line], told
    assert _outputs(tmp_path) == _outputs(straight)


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
