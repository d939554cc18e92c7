"""The pace, the memory and the energy of a training: measured beside it, by a clock and counters that tests move."""

from __future__ import annotations

import psutil
import pytest
import torch

from packshot.training.energy import Energy
from packshot.training.vitals import ENERGY, ENERGY_A_PICTURE, HOST, PACE, Vitals
from tests.training.runs import Heard

CPU = torch.device("cpu")


class Meter:
    """Energy that a test adds to."""

    def __init__(self) -> None:
        self.joules: float | None = 0.0

    def read(self) -> Energy | None:
        return None if self.joules is None else Energy(self.joules, "a test")


@pytest.fixture
def rig() -> tuple[Vitals, Heard, Meter, list[float]]:
    heard, meter, now = Heard(), Meter(), [50.0]
    return Vitals(heard, 16, CPU, meter, clock=lambda: now[0]), heard, meter, now


def test_the_pace_is_that_of_the_way_since_the_row_before(rig: tuple[Vitals, Heard, Meter, list[float]]) -> None:
    vitals, heard, _, now = rig
    for step, seconds in ((10, 7.0), (20, 4.0), (40, 2.0)):
        now[0] += seconds
        vitals.metrics(step, {"a/loss": float(step)})
    assert {step: heard.values[PACE, step] for step in (20, 40)} == {20: 16 * 10 / 4, 40: 16 * 20 / 2}
    assert (PACE, 10) not in heard.values, "what lies before the first row, starting up for one, is no pace"
    assert [heard.values["a/loss", step] for step in (10, 20, 40)] == [10.0, 20.0, 40.0]


def test_rows_that_are_told_again_and_setbacks_have_no_pace(rig: tuple[Vitals, Heard, Meter, list[float]]) -> None:
    vitals, heard, meter, now = rig
    for step in (10, 20, 30):  # a resumed run tells its history in no time
        now[0] += 1e-5
        vitals.metrics(step, {})
    now[0] += 5.0
    meter.joules = 8.0
    vitals.metrics(40, {})
    now[0] += 5.0
    vitals.metrics(20, {})  # back from 40
    assert [step for name, step in heard.values if name == PACE] == [40]
    assert heard.values[PACE, 40] == 16 * 10 / 5
    vitals.close(40)
    assert heard.values[ENERGY_A_PICTURE, 40] == 8.0 / 160, "of the images that were drawn here"


def test_memory_is_the_process_own(rig: tuple[Vitals, Heard, Meter, list[float]]) -> None:
    vitals, heard, _, now = rig
    vitals.metrics(1, {})
    now[0] += 1
    vitals.metrics(2, {})
    assert heard.values[HOST, 2] == pytest.approx(psutil.Process().memory_info().rss / 1e6, rel=0.2)


def test_energy_is_told_at_the_end_and_not_where_nothing_reports_it(rig: tuple[Vitals, Heard, Meter, list[float]]) -> None:
    vitals, heard, meter, now = rig
    meter.joules = 100.0
    vitals.metrics(10, {})
    now[0] += 1
    meter.joules = 180.0
    vitals.metrics(20, {})
    assert str(vitals.close(20)) == "0.2 kJ (a test)"
    assert (heard.values[ENERGY, 20], heard.values[ENERGY_A_PICTURE, 20]) == (180.0, 80 / 160)
    meter.joules = None
    heard.values.clear()
    assert vitals.close(20) is None
    assert not heard.values
