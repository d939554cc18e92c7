"""StyleGAN2's convolution and filter against their plain forms, and its training on a GPU; writes benchmarks/stylegan2.md.

    python benchmarks/stylegan2.py [--rounds N]

On the CPU: one thread, CPU seconds; every round runs every variant forwards and backwards, one after the other, and a ratio is
the median of the rounds' ratios. On the GPU: packshot's own loop, preset gpu-256, wall seconds between reports after a warm-up;
where torch sees none, it says so.
"""

from __future__ import annotations

import argparse
import math
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, conv2d, pad
from torch.utils.flop_counter import FlopCounterMode

from packshot.images.shards import Split
from packshot.models.stylegan2 import Config
from packshot.models.stylegan2.presets import PRESETS
from packshot.models.stylegan2.resample import TAPS, Double, Smooth
from packshot.models.stylegan2.synthesis import ModulatedConv, Synthesis, grid_channels
from packshot.records import ImageSpec
from packshot.training.batches import Photos
from packshot.training.hardware import Machine
from packshot.training.keeper import NoKeeper
from packshot.training.log import Pixels
from packshot.training.loop import build, train
from packshot.training.params import Run, TrainParams

WARMUP, WINDOW, WINDOWS = 32, 16, 8
"""Steps before, in, and number of the windows whose median is told; 16 steps hold each lazy term as often as a long run does."""
PEAK = 790e12
"""FLOP/s in bfloat16 that an H200 reaches on large products."""


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--rounds", type=int, default=7)
    chosen = options.parse_args()
    torch.set_num_threads(1)
    lines = ["# StyleGAN2", "", machine(), "", *modulating(chosen.rounds), "", *filtering(chosen.rounds), "", *training(), ""]
    text = "\n".join(lines)
    print(text)
    Path(__file__).with_suffix(".md").write_text(text)


def machine() -> str:
    return (
        f"One thread of {os.cpu_count()} x {platform.machine()}, {torch.backends.cpu.get_cpu_capability()}, "
        f"Python {platform.python_version()}, torch {torch.__version__}."
    )


def compare(variants: Mapping[str, Callable[[], Tensor]], leaves: list[Tensor], rounds: int) -> list[str]:
    """A row for each variant: milliseconds forwards and backwards, and how many times the first one's."""
    seconds: dict[str, list[float]] = {name: [] for name in variants}
    for number in range(rounds + 1):
        for name, variant in variants.items():
            start = time.process_time()
            torch.autograd.grad(variant().square().sum(), leaves)
            if number:
                seconds[name].append(time.process_time() - start)
    first = seconds[next(iter(variants))]
    return [
        f"{name} | {1000 * statistics.median(taken):.2f} | "
        f"{statistics.median(mine / ours for mine, ours in zip(taken, first, strict=True)):.2f} |"
        for name, taken in seconds.items()
    ]


# --- the modulated convolution ----------------------------------------------------------------------------------------------


def by_weights(convolve: ModulatedConv, grid: Tensor, styles: Tensor) -> Tensor:
    """Each picture's own weights, scaled and normalised as equations 1 and 3 have it, in one grouped convolution."""
    count, _, height, width = grid.shape
    weights = convolve.weight * styles[:, None, :, None, None]
    weights = weights * (weights.square().sum(dim=(2, 3, 4), keepdim=True) + 1e-8).rsqrt()
    grown = conv2d(grid.reshape(1, -1, height, width), weights.flatten(0, 1), padding=1, groups=count)
    return grown.view(count, -1, height, width)


def one_by_one(convolve: ModulatedConv, grid: Tensor, styles: Tensor) -> Tensor:
    """The same, one convolution for each picture."""
    weights = convolve.weight * styles[:, None, :, None, None]
    weights = weights * (weights.square().sum(dim=(2, 3, 4), keepdim=True) + 1e-8).rsqrt()
    return torch.cat([conv2d(one[None], weight, padding=1) for one, weight in zip(grid, weights, strict=True)])


def by_grids(convolve: ModulatedConv, grid: Tensor, styles: Tensor) -> Tensor:
    grown: Tensor = convolve(grid, styles)
    return grown * convolve.demodulation(styles)[:, :, None, None]


def modulating(rounds: int) -> list[str]:
    lines = [
        "A modulated and demodulated 3 x 3 convolution, forwards and backwards.",
        "",
        "| grid (N, C, H, W) | variant | ms | times packshot's |",
        "|---|---|---:|---:|",
    ]
    for count, channels, side in ((64, 32, 16), (64, 64, 8), (16, 128, 32)):
        torch.manual_seed(0)
        convolve = ModulatedConv(channels, channels, 3, 64).to(memory_format=torch.channels_last)
        grid = torch.randn(count, channels, side, side).to(memory_format=torch.channels_last).requires_grad_()
        styles = torch.randn(count, channels).requires_grad_()
        forms = {"packshot: grids are scaled": by_grids, "weights, grouped": by_weights, "weights, one by one": one_by_one}
        exact = by_grids(convolve, grid, styles)
        for form in forms.values():
            torch.testing.assert_close(form(convolve, grid, styles), exact, atol=1e-3, rtol=1e-3)
        variants = {
            name: (lambda form=form, convolve=convolve, grid=grid, styles=styles: form(convolve, grid, styles))
            for name, form in forms.items()
        }
        shape = f"({count}, {channels}, {side}, {side})"
        lines += [f"| {shape} | {row}" for row in compare(variants, [grid, styles, convolve.weight], rounds)]
    return lines


# --- the filter -------------------------------------------------------------------------------------------------------------


def by_slices(grid: Tensor) -> Tensor:
    """The filter's four taps as sums of shifted slices, along one axis and then the other, with one zero around the grid."""
    grid = pad(grid, (1, 1, 1, 1))
    for axis in (2, 3):
        length = grid.shape[axis] - 3
        parts = [grid.narrow(axis, first, length) for first in range(4)]
        grid = (parts[0] + parts[3]) + 3 * (parts[1] + parts[2])
    return grid / 64


def by_pools(grid: Tensor) -> Tensor:
    """[1, 3, 3, 1] is [1, 1] three times over."""
    grid = pad(grid, (1, 1, 1, 1))
    for _ in range(3):
        grid = avg_pool2d(grid, 2, 1)
    return grid


def by_axes(grid: Tensor) -> Tensor:
    taps = (torch.tensor(TAPS) / 8).expand(grid.shape[1], 1, 4)
    grid = conv2d(grid, taps[..., None], padding=(1, 0), groups=grid.shape[1])
    return conv2d(grid, taps[:, :, None], padding=(0, 1), groups=grid.shape[1])


def by_pictures(grid: Tensor) -> Tensor:
    """Every channel of every picture as a picture of its own."""
    kernel = torch.outer(torch.tensor(TAPS), torch.tensor(TAPS)) / 64
    return conv2d(grid.flatten(0, 1)[:, None], kernel[None, None], padding=1).view(*grid.shape[:2], grid.shape[2] - 1, -1)


def doubled_by_zeros(grid: Tensor) -> Tensor:
    """Doubling as it is defined: zeros in between, then the filter over all of it."""
    count, channels, height, width = grid.shape
    apart = pad(grid[:, :, :, None, :, None], (0, 1, 0, 0, 0, 1)).reshape(count, channels, 2 * height, 2 * width)
    kernel = (torch.outer(torch.tensor(TAPS), torch.tensor(TAPS)) / 16).expand(channels, 1, 4, 4)
    return conv2d(pad(apart, (2, 1, 2, 1)), kernel, groups=channels)


def filtering(rounds: int) -> list[str]:
    lines = [
        "The low-pass filter with one zero around the grid, and doubling through it, forwards and backwards.",
        "",
        "| grid (N, C, H, W) | variant | ms | times packshot's |",
        "|---|---|---:|---:|",
    ]
    for count, channels, side in ((64, 32, 33), (16, 64, 65)):
        filters: dict[str, Callable[[Tensor], Tensor]] = {
            "packshot: one depthwise convolution": Smooth(channels, 1),
            "one axis after the other": by_axes,
            "pools": by_pools,
            "slices": by_slices,
            "channels as pictures": by_pictures,
        }
        doubles: dict[str, Callable[[Tensor], Tensor]] = {
            "packshot: doubling, transposed": Double(3),
            "doubling, zeros put in between": doubled_by_zeros,
        }
        for forms, width, length in ((filters, channels, side), (doubles, 3, side // 2)):
            grid = torch.randn(count, width, length, length).to(memory_format=torch.channels_last).requires_grad_()
            exact = next(iter(forms.values()))(grid)
            for form in forms.values():
                torch.testing.assert_close(form(grid), exact, atol=1e-4, rtol=1e-4)
            variants = {name: (lambda form=form, grid=grid: form(grid)) for name, form in forms.items()}
            lines += [f"| ({count}, {width}, {length}, {length}) | {row}" for row in compare(variants, [grid], rounds)]
    return lines


# --- a training at 256 px ---------------------------------------------------------------------------------------------------


def training() -> list[str]:
    preset = PRESETS["gpu-256"]
    assert isinstance(preset.model, Config)
    drawing, step = work(preset.model, 256)
    lines = [f"The preset gpu-256: {drawing / 1e9:.1f} GFLOP to draw a picture, {step / 1e9:.0f} GFLOP an image to train.", ""]
    if not torch.cuda.is_available():
        return [*lines, "Its training was not measured: torch sees no GPU here."]
    lines += ["| batch | compiled | s per 1,000 images | share of peak | memory, GiB |", "|---:|---|---:|---:|---:|"]
    for batch_size, compiles in ((16, False), (16, True), (64, False), (64, True)):
        seconds, memory = measure(preset.model, 256, batch_size, "cuda", compiles=compiles)
        share = step * 1000 / seconds / PEAK
        lines.append(f"| {batch_size} | {'yes' if compiles else 'no'} | {seconds:.2f} | {share:.0%} | {memory / 2**30:.1f} |")
    return lines


def work(config: Config, size: int) -> tuple[float, float]:
    """FLOPs of the convolutions and products that draw a picture, and that an image of training takes.

    Forwards they are counted. A way back through weights and inputs is two ways forwards, through inputs alone one; the way back
    of a slope, as R1 and the path length need it, goes through all of that once more, and the path length is for half of a batch.
    """
    channels = grid_channels(size, config.capacity, config.widest)
    synthesis = Synthesis(ImageSpec(size=size), channels, config.latent)
    with torch.no_grad(), FlopCounterMode(display=False) as counted:
        synthesis(torch.zeros(1, synthesis.styles, config.latent))
    drawing = float(counted.get_total_flops())
    critic = config.build(ImageSpec(size=size), ("one",)).critic
    with torch.no_grad(), FlopCounterMode(display=False) as counted:
        critic(torch.zeros(1, 3, size, size), torch.zeros(1, dtype=torch.int64))
    judging = float(counted.get_total_flops())
    main = drawing + 6 * judging + 3 * drawing + 2 * judging
    lazy = 6 * judging / config.penalty_every + 6 * drawing / 2 / config.path_length_every
    return drawing, main + lazy


class Clock:
    """A Log that notes when it hears something: a report waits for all steps before it."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        self.seconds.append(time.perf_counter())

    def picture(self, step: int, name: str, pixels: Pixels) -> None:
        pass


def measure(config: Config, size: int, batch_size: int, device: str, *, compiles: bool) -> tuple[float, float]:
    """Seconds per thousand images of packshot's loop, and bytes of the GPU's memory at most."""
    steps = WARMUP + WINDOW * WINDOWS
    run = Run(name="stylegan2", model=config, steps=steps, batch_size=batch_size)
    settings = {
        "steps": steps,
        "threads": 1,
        "device": device,
        "precision": "bfloat16" if device == "cuda" else "float32",
        "compile": compiles,
        "report_every": WINDOW,
        "picture_every": 10**6,
        "save_every": 10**6,
        "runs": (run,),
    }
    params = TrainParams.model_validate(settings)
    chosen = Machine.choose(params)
    rng = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (1024, 3, size, size), dtype=torch.uint8, generator=rng)
    ids = tuple(map(str, range(1024)))
    photos = Photos.resident(Split(pixels.numpy(), np.arange(1024) % 10, ids, ids), (), chosen.device)
    names = tuple(f"category-{number}" for number in range(10))
    model = build(run, ImageSpec(size=size), names, (), seed=1, device=chosen.device)
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    clock = Clock()
    train(model, photos, run, params, seed=1, machine=chosen, log=clock, keeper=NoKeeper())
    windows = [later - earlier for earlier, later in zip(clock.seconds, clock.seconds[1:], strict=False)]
    measured = windows[WARMUP // WINDOW - 1 : -1]  # the last one holds the end of the run
    memory = float(torch.cuda.max_memory_allocated()) if device == "cuda" else math.nan
    return 1000 * statistics.median(measured) / (WINDOW * batch_size), memory


if __name__ == "__main__":
    main()
