"""The curves of a run as a picture: a panel a phase, the same bytes for the same numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from packshot.training.pictures import interpolation_sheet, truncation_sheet
from packshot.training.state import Row, Setback, TrainState

if TYPE_CHECKING:
    from packshot.training.log import Pixels

SIGNALS = frozenset({"real", "drawn", "wins", "active_units"})
"""What a phase saw beside its losses: on a scale of its own."""
SLOPE = "gradient_norm"
WIDE = 20.0
"""A panel whose numbers span more than this factor, all of them above 0, is logarithmic."""
COLOURS = ("#1f5fa8", "#c2571a", "#2f7d4f", "#8a4fa3", "#a3832f", "#50707d")
WARNING = "#b3261e"
WIDTH, HEIGHT, DPI = 4.8, 2.9, 100
"""Of a panel, in inches; dots an inch."""


def closing_sheets(run: str, state: TrainState) -> dict[str, Pixels]:
    """What a run leaves beside its samples, by name; the pictures are those of the averaged weights."""
    return {
        "interpolation": interpolation_sheet(state.average),
        "truncation": truncation_sheet(state.average),
        "curves": draw_curves(run, state.history, state.setbacks),
    }


@dataclass(frozen=True, slots=True)
class Panel:
    """One box of the picture: the curves that share a scale."""

    title: str
    curves: Mapping[str, Sequence[tuple[int, float]]]
    """(step, value) by name."""
    of_signals: bool = False

    @property
    def logarithmic(self) -> bool:
        """Whether these are losses that span more than a factor of 20, none of them 0 or below."""
        values = [value for curve in self.curves.values() for _, value in curve if math.isfinite(value)]
        return not self.of_signals and bool(values) and min(values) > 0 and max(values) > WIDE * min(values)


def sort_panels(history: Sequence[Row]) -> list[Panel]:
    """A panel for the losses of each phase, in the order of their first turns, and one for its signals where it has some."""
    curves: dict[tuple[str, bool], dict[str, list[tuple[int, float]]]] = {}
    for row in history:
        for name, value in row.values.items():
            phase, _, what = name.rpartition("/")
            if phase:
                curves.setdefault((phase, what in SIGNALS), {}).setdefault(what, []).append((row.step, value))
    phases = list(dict.fromkeys(phase for phase, _ in curves))
    return [
        Panel(f"{phase}: what it saw" if saw else phase, curves[phase, saw], saw)
        for phase in phases
        for saw in (False, True)
        if (phase, saw) in curves
    ]


def draw_curves(run: str, history: Sequence[Row], setbacks: Sequence[Setback] = ()) -> Pixels:
    """The curves of `run`, uint8 (H, W, 3): losses of one phase in one panel, logarithmic where they span a factor of 20.

    Where the training went back to an earlier state there is a red line.
    """
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    panels = sort_panels(history)
    columns = min(2, max(1, len(panels)))
    rows = max(1, -(-len(panels) // columns))
    with mpl.rc_context():
        mpl.rcdefaults()  # whatever a matplotlibrc says
        figure = Figure(figsize=(columns * WIDTH, rows * HEIGHT + 0.3), dpi=DPI, layout="constrained")
        canvas = FigureCanvasAgg(figure)
        figure.suptitle(run, fontsize=11)
        boxes = figure.subplots(rows, columns, squeeze=False).flatten()
        for box, panel in zip(boxes, panels, strict=False):
            _draw_panel(box, panel, setbacks)
        for box in boxes[len(panels) :]:
            box.set_axis_off()
        canvas.draw()  # type: ignore[no-untyped-call]
        return np.ascontiguousarray(np.asarray(canvas.buffer_rgba())[..., :3])  # type: ignore[no-untyped-call]


def _draw_panel(box: Any, panel: Panel, setbacks: Sequence[Setback]) -> None:
    colours = iter(COLOURS * len(panel.curves))
    for name, curve in panel.curves.items():
        steps, values = [step for step, _ in curve], [value for _, value in curve]
        look = {"color": "#9a9a9a", "linewidth": 0.8} if name == SLOPE else {"color": next(colours), "linewidth": 1.4}
        box.plot(steps, values, label=name.replace("_", " "), marker="o" if len(curve) < 3 else None, markersize=3, **look)
    for setback in setbacks:
        box.axvline(setback.step, color=WARNING, linewidth=0.9, linestyle="--")
    if panel.logarithmic:
        box.set_yscale("log")
    box.set_title(panel.title, fontsize=9)
    box.set_xlabel("step", fontsize=8)
    box.tick_params(labelsize=7)
    box.grid(visible=True, color="#e4e4e4", linewidth=0.6)
    # In the corner that most curves leave: to look for the emptiest place takes seconds once curves are long.
    falling = sum(curve[-1][1] < curve[0][1] for curve in panel.curves.values())
    corner = "upper right" if 2 * falling >= len(panel.curves) else "lower right"
    box.legend(loc=corner, fontsize=7, framealpha=0.8, edgecolor="none")
