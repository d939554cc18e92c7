"""Where the time of a training goes: some steps of a run, watched by torch's profiler. Nothing is kept of what they learn."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.profiler import ProfilerActivity, record_function
from torch.profiler import profile as watch

from packshot.models.base import Batch, ImageModel
from packshot.training.batches import ALL, Photos
from packshot.training.hardware import Machine
from packshot.training.keeper import NoKeeper
from packshot.training.loop import train
from packshot.training.params import Run, TrainParams
from packshot.training.state import TrainState

if TYPE_CHECKING:
    from packshot.training.log import Pixels

WARM_STEPS, STEPS = 10, 30
"""The first pass makes room, chooses kernels and translates; the second one is watched."""
OPERATORS = 12
PHASE, FIT, LOADER = "phase ", "fit ", "loader"
PRODUCTS = frozenset({"mm", "addmm", "bmm", "baddbmm", "addmv", "linear", "mkldnn_linear"})


@dataclass(frozen=True, slots=True)
class Part:
    """What something took: milliseconds of a step, in `calls` of the steps that were watched."""

    name: str
    milliseconds: float
    calls: int


@dataclass(frozen=True, slots=True)
class Profile:
    """Where the time of a run's steps went, in milliseconds of an average step."""

    run: str
    device: str
    batch_size: int
    step: float
    """The mean of the watched steps, without what is computed once in a run."""
    phases: tuple[Part, ...]
    loader: float
    """In the phases, too: choosing, mirroring and converting photos."""
    fits: tuple[Part, ...]
    """What is computed once in a run: milliseconds of all of it."""
    operators: tuple[Part, ...]
    products: float
    """The share of the operators' time that convolutions and products of matrices take."""
    memory: Mapping[str, float]
    """The most memory in use, in megabytes, of the host and of the GPU."""

    @property
    def rest(self) -> float:
        """What is in no phase."""
        return max(0.0, self.step - sum(part.milliseconds for part in self.phases))


def profile_run(
    model: ImageModel, photos: Photos, run: Run, params: TrainParams, *, seed: int, machine: Machine, trace: Path
) -> Profile:
    """Train the fresh `model` for 10 steps and again for 30 in place of the run's, watch those, and write them to `trace`.

    The run's phases have their shares of the few steps as they have of its own, so that their shares of the time are about those
    of the whole run; it is one process that trains, whatever `train.processes` says. chrome://tracing and ui.perfetto.dev show
    the trace.
    """
    watched = _Watched(*(getattr(photos, field.name) for field in fields(Photos)))
    gate = _Gate(machine)
    for steps, watch_it in ((WARM_STEPS, False), (STEPS, True)):
        gate.open = watch_it
        short = run.model_copy(update={"steps": steps, "length": 1.0})
        rare = dict.fromkeys(("report_every", "picture_every", "save_every"), steps)
        few = params.model_copy(update={"checkpoints": 1, **rare})
        train(model, watched, short, few, seed=seed, machine=machine, log=gate, keeper=gate)
    trace.parent.mkdir(parents=True, exist_ok=True)
    gate.profiler.export_chrome_trace(str(trace))
    return _read(gate, run.name, machine, params.batch_size_of(run))


class _Watched(Photos):
    """Photos whose reading has a name in the profile."""

    def batch(self, seed: int, step: int, size: int, *, flips: bool, part: slice = ALL) -> Batch:
        with record_function(LOADER):
            return Photos.batch(self, seed, step, size, flips=flips, part=part)


class _Gate(NoKeeper):
    """A Log and Keeper that keeps nothing, and lets the profiler look from the first step to the last one."""

    def __init__(self, machine: Machine) -> None:
        self.device = machine.device
        activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if machine.device.type == "cuda" else [])]
        self.profiler = watch(activities=activities, acc_events=True)
        self.open = self.looking = False
        self.began = self.seconds = 0.0

    def restore(self, state: TrainState) -> bool:
        """There is nothing to go on from: the steps begin."""
        if self.open:
            self._wait()
            self.looking = True
            self.profiler.start()
            self.began = time.perf_counter()
        return False

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        """The only row is that of the last step: what follows it, pictures for one, is no part of a step."""
        if self.looking:
            self._wait()
            self.seconds = time.perf_counter() - self.began
            self.looking = False
            self.profiler.stop()

    def picture(self, step: int, name: str, pixels: Pixels) -> None:
        """It is shown to nobody."""

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


def _read(gate: _Gate, run: str, machine: Machine, batch_size: int) -> Profile:
    cuda = machine.device.type == "cuda"
    found = list(gate.profiler.key_averages())
    named = [_part(one, one.device_time_total if cuda else one.cpu_time_total) for one in found if _is_range(one, cuda=cuda)]
    fits = tuple(
        Part(part.name.removeprefix(FIT), part.milliseconds * STEPS, part.calls) for part in named if part.name.startswith(FIT)
    )
    operators = [
        _part(one, one.self_device_time_total if cuda else one.self_cpu_time_total) for one in found if _is_operator(one)
    ]
    total = sum(part.milliseconds for part in operators)
    memory = {"host": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e6}
    if cuda:
        memory["GPU"] = torch.cuda.max_memory_allocated(machine.device) / 1e6
    return Profile(
        run=run,
        device=machine.name,
        batch_size=batch_size,
        step=(1e3 * gate.seconds - sum(part.milliseconds for part in fits)) / STEPS,
        phases=tuple(
            Part(part.name.removeprefix(PHASE), part.milliseconds, part.calls) for part in named if part.name.startswith(PHASE)
        ),
        loader=sum(part.milliseconds for part in named if part.name == LOADER),
        fits=fits,
        operators=tuple(sorted(operators, key=lambda part: -part.milliseconds)[:OPERATORS]),
        products=sum(part.milliseconds for part in operators if _is_product(part.name)) / total if total else 0.0,
        memory=memory,
    )


def _part(found: Any, microseconds: float) -> Part:
    return Part(str(found.key), microseconds / 1e3 / STEPS, int(found.count))


def _is_range(found: Any, *, cuda: bool) -> bool:
    """A stretch that the loop named. A GPU's profile has each twice: as the host saw it, and as the GPU did."""
    own = found.key.startswith((PHASE, FIT)) or found.key == LOADER
    return own and found.is_user_annotation and (not cuda or found.device_time_total > 0)


def _is_operator(found: Any) -> bool:
    return not found.is_user_annotation and found.key.startswith("aten::")


def _is_product(name: str) -> bool:
    plain = name.removeprefix("aten::")
    return "conv" in plain or plain in PRODUCTS


def tell_profile(profile: Profile) -> str:
    """The profile as Markdown tables."""
    images = 1e3 * profile.batch_size / profile.step
    shares = [*profile.phases, *([Part("the rest", profile.rest, STEPS)] if profile.rest else [])]
    memory = ", ".join(f"{megabytes / 1e3:.2f} GB of the {where}" for where, megabytes in profile.memory.items())
    once = [f"Once in a run: {part.name}, {part.milliseconds:.0f} ms." for part in profile.fits]
    lines = [
        f"# {profile.run}: {profile.step:.1f} ms a step, {images:.0f} images/s",
        "",
        f"{profile.device}; batches of {profile.batch_size}; the mean of {STEPS} steps, the profiler's own cost among it.",
        "",
        f"Loader: {profile.loader:.2f} ms, {profile.loader / profile.step:.1%} of a step. "
        f"Convolutions and matrix products: {profile.products:.0%} of the operators' time. Memory at most: {memory}.",
        *(["", *once] if once else []),
        "",
        *_table("phase", shares, profile.step),
        "",
        *_table("operator, by itself", profile.operators, profile.step),
    ]
    return "\n".join(lines) + "\n"


def _table(name: str, parts: Sequence[Part], step: float) -> list[str]:
    rows = [f"| {part.name} | {part.milliseconds:.2f} | {part.milliseconds / step:.1%} | {part.calls} |" for part in parts]
    return [f"| {name} | ms a step | share | calls |", "| --- | ---: | ---: | ---: |", *rows]


def draw_profile(profile: Profile) -> Pixels:
    """The phases as bars, uint8 (H, W, 3): milliseconds of a step, the longest on top."""
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    bars = sorted([*profile.phases, Part("the rest", profile.rest, STEPS)], key=lambda part: part.milliseconds)
    with mpl.rc_context():
        mpl.rcdefaults()
        figure = Figure(figsize=(6.4, 1.1 + 0.36 * len(bars)), dpi=100, layout="constrained")
        canvas = FigureCanvasAgg(figure)
        box = figure.subplots()
        drawn = box.barh([part.name for part in bars], [part.milliseconds for part in bars], color="#1f5fa8", height=0.62)
        told = [f"{part.milliseconds:.1f} ms, {part.milliseconds / profile.step:.0%}" for part in bars]
        box.bar_label(drawn, told, padding=4, fontsize=8)
        box.margins(x=0.2)
        box.spines[["top", "right"]].set_visible(False)
        box.set_title(f"{profile.run}: {profile.step:.1f} ms a step", fontsize=10)
        box.set_xlabel("milliseconds of an average step", fontsize=8)
        box.tick_params(labelsize=8)
        canvas.draw()  # type: ignore[no-untyped-call]
        return np.ascontiguousarray(np.asarray(canvas.buffer_rgba())[..., :3])  # type: ignore[no-untyped-call]
