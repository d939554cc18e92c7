"""A training that is asked to end keeps where it stands; one that hangs is ended. Real processes, real signals."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from packshot.errors import Stopped
from packshot.training.interruption import heed_signals
from tests.children import forkserver
from tests.training.kills import SAVE_EVERY, TROUBLE_AT, Trial, digest, killed, run_child

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(("name", "code"), [("term", 143), ("int", 130)])
@pytest.mark.parametrize("step", [4, 17])
def test_a_signal_ends_it_after_the_step_and_it_ends_in_the_same_bytes(
    name: str, code: int, step: int, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    context, trial = forkserver(), Trial("gan")
    assert run_child(context, tmp_path / "straight", trial) == 0
    assert run_child(context, tmp_path / "stopped", trial, f"train.step:{step}:{name}") == code
    newest = max((tmp_path / "stopped").glob("*-*-*.safetensors"), key=_number)
    assert step <= int(newest.name.split("-")[2]) <= step + 2, "a step or two pass until the signal is heard"
    assert run_child(context, tmp_path / "stopped", trial) == 0
    # A number more may have been given, for a pause: but for the numbers every byte is the same.
    assert _contents(tmp_path / "stopped") == _contents(tmp_path / "straight")


def _contents(folder: Path) -> list[str]:
    return sorted(path.name.split("-", 2)[-1] for path in folder.rglob("*.safetensors"))


def test_no_trouble_brings_a_training_back_to_where_it_was_stopped(tmp_path: Path) -> None:
    context, trial = forkserver(), Trial("vae-gaussians", "setback")
    assert run_child(context, tmp_path / "straight", trial) == 0
    stop = TROUBLE_AT - 2
    assert stop % SAVE_EVERY
    assert run_child(context, tmp_path / "stopped", trial, f"train.step:{stop}:term") in {143, 0}
    assert run_child(context, tmp_path / "stopped", trial) == 0
    assert digest(tmp_path / "stopped" / "weights") == digest(tmp_path / "straight" / "weights")


def test_a_training_that_was_stopped_and_then_killed_goes_on_from_where_it_was_stopped(tmp_path: Path) -> None:
    context, trial = forkserver(), Trial("gan")
    assert run_child(context, tmp_path, trial, "train.step:12:term") == 143
    assert killed(run_child(context, tmp_path, trial, "train.step:1:kill"))
    assert [path.name.split("-")[0] for path in sorted(tmp_path.glob("*-*-*.safetensors"), key=_number)][-1] == "pause"
    assert run_child(context, tmp_path, trial) == 0
    assert not list(tmp_path.glob("pause-*"))


def _number(path: Path) -> int:
    return int(path.name.split("-")[1])


BLOCKED = """
import os, signal, sys, time
from pathlib import Path
import torch
from packshot.models.gan.model import GAN
from packshot.training.interruption import heed_signals

class Blocked(GAN):
    def generator_loss(self, batch):
        interruption.limit = {limit}
        for number in {signals}:
            os.kill(os.getpid(), number)
            time.sleep(0.4)
        time.sleep(600)

from tests.training.runs import *
settings = params("gan")
model = Blocked(SMALL["gan"], IMAGE, CATEGORIES)
keeper = desk(Path(sys.argv[1]), settings)
with heed_signals() as interruption, interruption.watching(keeper.folder, minutes=30):
    train(model, photos(), settings.runs[0], settings, seed=1, machine=Machine.choose(settings), log=Heard(), keeper=keeper,
          interruption=interruption)
"""


def _run_blocked(folder: Path, *, limit: float = 1e6, signals: str = "()") -> subprocess.CompletedProcess[str]:
    """What comes of a training whose first loss never comes back."""
    words = [sys.executable, "-c", BLOCKED.format(limit=limit, signals=signals), str(folder)]
    return subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=120)


def test_a_step_that_hangs_ends_the_process_with_every_stack_and_it_can_be_run_again(tmp_path: Path) -> None:
    done = _run_blocked(tmp_path, limit=0.6)
    assert done.returncode == 70
    assert done.stderr.startswith("packshot: E70 no step for 0.01 minutes")
    assert "Traceback" not in done.stderr
    assert "in generator_loss" in (tmp_path / "stalled.txt").read_text()
    assert [path.name[:22] for path in tmp_path.glob("state-*")] == ["state-000001-000000000"]


def test_a_signal_ends_what_hangs_too_within_its_grace(tmp_path: Path) -> None:
    done = _run_blocked(tmp_path, signals="(15,)")
    assert done.returncode == 143
    assert done.stderr == "packshot: stopped; run it again to go on\n"


def test_a_second_signal_ends_it_at_once(tmp_path: Path) -> None:
    done = _run_blocked(tmp_path, signals="(2, 15)")
    assert done.returncode == 130
    assert done.stderr == "packshot: stopped at once; run it again to go on\n"


def test_handlers_are_put_back_and_other_threads_leave_them_alone() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    with heed_signals():
        assert signal.getsignal(signal.SIGTERM) is not before[0]
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == before
    found = []

    def look() -> None:
        with heed_signals():
            found.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert found == before[:1]
    assert [thread.name for thread in threading.enumerate() if thread.name == "packshot-interruption"] == []


def test_a_signal_that_is_ignored_stays_ignored() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with heed_signals() as interruption:
            os.kill(os.getpid(), signal.SIGINT)
            assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
        assert interruption.signal == 0
    finally:
        signal.signal(signal.SIGINT, before)


def test_between_two_trainings_a_signal_is_heard_too() -> None:
    with heed_signals() as interruption:
        os.kill(os.getpid(), signal.SIGTERM)
        while not interruption.signal:
            time.sleep(0.01)
        with pytest.raises(Stopped, match="run it again") as stopped:
            interruption.check()
    assert (stopped.value.exit_code, stopped.value.line) == (143, "packshot: stopped; run it again to go on")
    assert stopped.value.exit_code == 128 + signal.SIGTERM


def test_a_stop_says_at_which_step() -> None:
    with heed_signals() as interruption:
        assert interruption.stop(1200).line == "packshot: stopped at step 1200; run it again to go on"
