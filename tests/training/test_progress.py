"""What a person sees of a training: in a pipe, on a terminal, or not at all."""

from __future__ import annotations

import io
import logging
import re
import sys

import pytest
from rich.console import Console

from flows.progress import STEP
from packshot.training.progress import WIDTH, Progress, describe, fit, tell_seconds
from packshot.training.vitals import DEVICE, ENERGY, HOST, PACE

VALUES = {
    "critic/relativistic": 0.5,
    "critic/real": 3.0,
    "critic/drawn": -3.0,
    "critic/wins": 0.9,
    "critic/gradient_norm": 1.0,
    "generator/relativistic": 1.25,
}


class Clock:
    """Time that a test moves."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.message for record in caplog.records if record.name.startswith("packshot.training.progress")]


def test_in_a_pipe_there_is_a_line_every_few_seconds_and_one_at_the_end(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    clock = Clock()
    with Progress("vae", 100, 16, clock=clock) as progress:
        for step in range(10, 101, 10):
            clock.now += 2.0
            progress.metrics(step, {**VALUES, PACE: 80.0, HOST: 1200.0})
    assert [re.match(r"vae (\d+)/100  ", line)[1] for line in told(caplog)] == ["10", "40", "70", "100"]
    assert told(caplog)[0].startswith("vae 10/100  0:18 left  80 images/s  1.2 GB  critic/relativistic 0.5"), "18 s for 90 steps"
    assert "left" not in told(caplog)[-1]


def test_the_flow_can_read_how_far_it_is(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    with Progress("vae-2", 100, 16) as progress:
        progress.metrics(30, {**VALUES, PACE: 80.0, HOST: 1200.0, DEVICE: 7.0})
    found = STEP.search(told(caplog)[0])
    assert found
    assert found.groups() == ("vae-2", "30", "100")


def test_a_line_tells_the_score_first_and_signals_only_where_they_are_short() -> None:
    line = describe({**VALUES, "dev/kid": 0.0123, "setbacks": 2.0}, 80.0)
    assert line == (
        "80 images/s  2 setbacks  dev/kid 0.0123  critic/relativistic 0.5  generator/relativistic 1.25  critic/wins 0.9"
    )
    assert describe({**VALUES, "setbacks": 1.0}, None).startswith("1 setback  ")


def test_a_line_is_never_longer_than_it_may_be_and_nothing_in_it_is_cut_in_two() -> None:
    parts = [f"phase{number}/loss {number}" for number in range(40)]
    line = fit(parts)
    assert WIDTH - 20 < len(line) <= WIDTH
    assert parts[: len(line.split("  "))] == line.split("  ")


def test_after_a_setback_the_time_left_is_that_of_the_pace_before(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    clock = Clock()
    with Progress("vae", 100, 10, clock=clock) as progress:
        progress.metrics(60, {PACE: 100.0})
        clock.now += 10
        progress.metrics(50, {"setbacks": 1.0})
    assert told(caplog)[-1] == "vae 50/100  0:05 left  1 setback"


def test_times_read_as_clocks_do() -> None:
    assert [tell_seconds(seconds) for seconds in (-3.0, 0.4, 61.0, 3599.6, 37_805.0)] == [
        "0:00",
        "0:00",
        "1:01",
        "1:00:00",
        "10:30:05",
    ]


def test_it_is_silent_where_that_is_asked_for(caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]) -> None:
    caplog.set_level("WARNING")
    sink = io.StringIO()
    with Progress("vae", 100, 16, console=Console(file=sink, force_terminal=True)) as progress:
        progress.metrics(100, VALUES)
    assert (told(caplog), sink.getvalue(), capsys.readouterr().err) == ([], "", "")


def test_the_energy_is_told_at_the_end_and_in_no_line(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    with Progress("vae", 100, 16) as progress:
        progress.metrics(100, {ENERGY: 5.0})
    assert told(caplog) == []


def test_on_a_terminal_one_line_lives_what_is_logged_stands_above_it_and_the_last_one_stays(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sink = io.StringIO()
    monkeypatch.setattr(sys, "stderr", sink)
    handler = logging.StreamHandler(sink)
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", [handler])
    monkeypatch.setattr(root, "level", logging.INFO)
    console = Console(file=sink, force_terminal=True, width=200)
    clock = Clock()
    with Progress("vae", 100, 16, console=console, clock=clock) as progress:
        progress.metrics(10, {**VALUES, PACE: 16.0})
        clock.now += 30
        progress._live.refresh()
        logging.getLogger("packshot.elsewhere").warning("something else")
        progress.metrics(100, {**VALUES, PACE: 16.0})
        progress._live.refresh()
    shown = sink.getvalue()
    assert handler.stream is sink
    assert "vae 10/100  1:00 left" in shown, "90 steps were left, and 30 s have passed"
    assert shown.index("something else") < shown.rindex("vae 100/100")
    lines = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown).replace("\r", "\n").splitlines()
    assert lines[-1].startswith("vae 100/100  16 images/s")
    assert not shown.endswith("\x1b[?25l"), "the cursor is back"


def test_a_terminal_that_cannot_go_back_in_a_line_gets_plain_ones(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("TERM", "dumb")
    caplog.set_level("INFO")
    with Progress("vae", 100, 16, console=Console(file=io.StringIO(), force_terminal=True)) as progress:
        progress.metrics(10, VALUES)
    assert len(told(caplog)) == 1
