"""The curves as a picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from packshot.images.sheet import encode_png
from packshot.training.plots import draw_curves, sort_panels
from packshot.training.state import Row, Setback

HISTORY = [
    Row(
        step=step,
        values={
            "critic/relativistic": 0.7,
            "critic/wins": 0.5,
            "critic/gradient_norm": 1.0,
            **({"penalty/r1": 10.0 ** -(step / 100)} if step > 20 else {}),
            "dev/kid": 0.1 / step,
            "setbacks": 1.0,
        },
    )
    for step in range(10, 301, 10)
]


def test_there_is_a_panel_a_phase_and_one_beside_it_for_what_it_saw() -> None:
    panels = {panel.title: panel for panel in sort_panels(HISTORY)}
    assert list(panels) == ["critic", "critic: what it saw", "dev", "penalty"]
    assert set(panels["critic"].curves) == {"relativistic", "gradient_norm"}
    assert panels["penalty"].curves["r1"][0] == (30, pytest.approx(10**-0.3)), "from its first turn on"
    assert {title for title, panel in panels.items() if panel.logarithmic} == {"penalty", "dev"}


def test_losses_below_zero_are_on_a_plain_scale() -> None:
    rows = [Row(step=step, values={"a/loss": float(value)}) for step, value in enumerate((100.0, 1.0, -0.5))]
    assert [panel.logarithmic for panel in sort_panels(rows)] == [False]


def test_the_same_curves_are_the_same_bytes_whatever_a_matplotlibrc_says(monkeypatch: pytest.MonkeyPatch) -> None:
    import matplotlib as mpl

    before = encode_png(draw_curves("gan", HISTORY))
    monkeypatch.setitem(mpl.rcParams, "lines.linewidth", 9.0)
    monkeypatch.setitem(mpl.rcParams, "font.size", 30.0)
    assert encode_png(draw_curves("gan", HISTORY)) == before
    assert mpl.rcParams["font.size"] == 30.0, "and it is left as it was"


def test_setbacks_are_red_lines_and_one_row_is_a_picture_too(tmp_path: Path) -> None:
    def reds(setbacks: tuple[Setback, ...]) -> int:
        picture = draw_curves("gan", HISTORY, setbacks).astype(int)
        return int(((picture[..., 0] > 150) & (picture[..., 1] < 90) & (picture[..., 2] < 90)).sum())

    assert reds((Setback(step=150, reason="NOT_FINITE", back_to=120),)) > reds(()) + 100
    assert draw_curves("gan", HISTORY[:1]).dtype == np.uint8
    assert draw_curves("gan", []).ndim == 3
