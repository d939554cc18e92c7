"""What a training step costs, against a plain one and against the convolutions that it needs; writes benchmarks/step.md.

    python benchmarks/step.py [--rounds N]

DCGAN at 64 x 64 (Radford, Metz and Chintala 2016: 64 channels at the finest grid of both networks, batches of 64, BCE), trained
by packshot's own steps and by the step that everyone writes: float32, the networks as they come, the critic's weights collecting
gradients in the generator's turn too, Adam. Equal architecture, batch and photos; photos in memory on both sides. Then the
default models at 32 x 32, in both precisions, beside their bare networks. One thread, CPU seconds, turn about, the median of the
rounds' ratios.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from operator import truediv
from pathlib import Path
from typing import ClassVar, Literal, get_args

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from packshot.images.shards import Split
from packshot.models import gan, vae
from packshot.models.base import Batch, ImageModel, Loss, Optimizer, Phase
from packshot.models.config import ModelConfig
from packshot.records import Condition, ImageSpec
from packshot.training.batches import Photos
from packshot.training.hardware import Machine, Precision
from packshot.training.loop import Course, build
from packshot.training.params import Run, TrainParams
from packshot.training.state import TrainState

BATCH, SIZE, CHANNELS, LATENT = 64, 64, 64, 100
CPU = torch.device("cpu")
Asked = Literal["both", "weights", "images"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--rounds", type=int, default=7, help="of which the medians are taken")
    chosen = options.parse_args()
    torch.set_num_threads(1)
    lines = [
        "# A training step",
        "",
        f"One thread of {os.cpu_count()} x {platform.machine()} ({torch.backends.cpu.get_cpu_capability()}), "
        f"Python {platform.python_version()}, torch {torch.__version__}; medians of {chosen.rounds} rounds.",
        "",
        *compare_dcgan(chosen.rounds),
        "",
        *compare_defaults(chosen.rounds),
        "",
        *compare_on_gpu(chosen.rounds),
        "",
    ]
    text = "\n".join(lines)
    print(text)
    Path(__file__).with_suffix(".md").write_text(text)


# --- DCGAN, as its paper has it


def generator() -> nn.Sequential:
    """Latents (N, 100, 1, 1) to pictures (N, 3, 64, 64)."""
    parts: list[nn.Module] = [nn.ConvTranspose2d(LATENT, 8 * CHANNELS, 4, bias=False)]
    for width in (8 * CHANNELS, 4 * CHANNELS, 2 * CHANNELS, CHANNELS):
        following = width // 2 if width > CHANNELS else 3
        parts += [nn.BatchNorm2d(width), nn.ReLU(inplace=True), nn.ConvTranspose2d(width, following, 4, 2, 1, bias=False)]
    return nn.Sequential(*parts, nn.Tanh())


def critic() -> nn.Sequential:
    """Pictures (N, 3, 64, 64) to one logit each, (N, 1, 1, 1)."""
    parts: list[nn.Module] = [nn.Conv2d(3, CHANNELS, 4, 2, 1, bias=False), nn.LeakyReLU(0.2, inplace=True)]
    for width in (CHANNELS, 2 * CHANNELS, 4 * CHANNELS):
        parts += [nn.Conv2d(width, 2 * width, 4, 2, 1, bias=False), nn.BatchNorm2d(2 * width), nn.LeakyReLU(0.2, inplace=True)]
    return nn.Sequential(*parts, nn.Conv2d(8 * CHANNELS, 1, 4, bias=False))


def begin(network: nn.Module) -> nn.Module:
    """Weights from N(0, 0.02), batch norm's gains from N(1, 0.02)."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.normal_(module.weight, 0.0, 0.02)
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.weight, 1.0, 0.02)
    return network


def bce(scores: Tensor, *, real: bool) -> Tensor:
    wanted = torch.ones_like(scores) if real else torch.zeros_like(scores)
    return binary_cross_entropy_with_logits(scores, wanted)


class Config(ModelConfig):
    family: Literal["dcgan"] = "dcgan"

    def build(self, image: ImageSpec, categories: tuple[str, ...], conditions: tuple[Condition, ...] = ()) -> DCGAN:
        return DCGAN(self, image, categories, conditions)


class DCGAN(ImageModel):
    """The same two networks and the same two losses, as packshot trains them.

    Both turns see the same drawn pictures, as in the plain step; here the generator's comes first, since it alone may ask for
    their slopes.
    """

    deployed: ClassVar[tuple[str, ...]] = ("generator",)

    def __init__(
        self, config: ModelConfig, image: ImageSpec, categories: tuple[str, ...], conditions: tuple[Condition, ...] = ()
    ) -> None:
        super().__init__()
        self.config, self.image, self.categories, self.conditions = config, image, categories, conditions
        self.latent_size, self.noise_shape, self.encodes = LATENT, (LATENT, 1, 1), False
        self.generator, self.critic = begin(generator()), begin(critic())

    def phases(self) -> tuple[Phase, ...]:
        adam = Optimizer(2e-4, (0.5, 0.999))
        return (
            Phase("generator", (self.generator,), self.generator_loss, adam, averaged=(self.generator,)),
            Phase("critic", (self.critic,), self.critic_loss, adam),
        )

    def _score(self, images: Tensor) -> Tensor:
        scores: Tensor = self.critic(images).float()
        return scores

    def generator_loss(self, batch: Batch) -> Loss:
        drawn: Tensor = self.generator(batch.normal(*self.noise_shape))
        self.drawn = drawn.detach()
        return Loss({"bce": bce(self._score(drawn), real=True)})

    def critic_loss(self, batch: Batch) -> Loss:
        return Loss({"real": bce(self._score(batch.images), real=True), "drawn": bce(self._score(self.drawn), real=False)})

    def draw(self, noise: Tensor, categories: Tensor, conditions: Tensor | None = None, *, truncation: float = 1.0) -> Tensor:
        pictures: Tensor = self.generator(truncation * noise)
        return pictures

    def reconstruct(self, images: Tensor, categories: Tensor, conditions: Tensor | None = None) -> Tensor:
        return images


class Plain:
    """The step as everyone writes it: one batch of drawn pictures for both turns, no network frozen, float32 as it comes."""

    def __init__(self, photos: Photos) -> None:
        self.photos, self.steps, self.device = photos, 0, photos.categories.device
        self.generator, self.critic = begin(generator()).to(self.device), begin(critic()).to(self.device)
        ways = {"lr": 2e-4, "betas": (0.5, 0.999)}
        self.generator_adam = torch.optim.Adam(self.generator.parameters(), **ways)
        self.critic_adam = torch.optim.Adam(self.critic.parameters(), **ways)

    def step(self) -> None:
        images = self.photos.batch(3, self.steps, BATCH, flips=False).images.contiguous()
        self.steps += 1
        self.critic.zero_grad()
        bce(self.critic(images), real=True).backward()
        drawn = self.generator(torch.randn(BATCH, LATENT, 1, 1, device=self.device))
        bce(self.critic(drawn.detach()), real=False).backward()
        self.critic_adam.step()
        self.generator.zero_grad()
        bce(self.critic(drawn), real=True).backward()
        self.generator_adam.step()


class Ours:
    """A run of packshot's, step by step."""

    def __init__(self, config: ModelConfig, size: int, photos: Photos, machine: Machine) -> None:
        run = Run.model_construct(name="run", model=config)
        params = TrainParams.model_construct(steps=10**6, batch_size=BATCH, flips=False, runs=(run,))
        self.machine = machine
        self.model = build(run, ImageSpec(size=size), ("a", "b"), (), seed=3, device=machine.device)
        self.state = TrainState.begin(self.model)
        machine.translate(self.model)
        self.course = Course(self.model, photos, run, params, 3, self.machine, None)

    def step(self) -> None:
        self.course.take_step(self.state)


def photographs(size: int, count: int = 512, device: torch.device = CPU) -> Photos:
    pixels = np.random.default_rng(1).integers(0, 256, (count, 3, size, size), dtype=np.uint8)
    names = tuple(f"{row:064x}" for row in range(count))
    return Photos.resident(Split(pixels, np.arange(count) % 2, names, names), (), device)


def layer_flops(network: nn.Module, input: Tensor) -> list[tuple[nn.Module, Tensor, int]]:  # noqa: A002
    """Each convolution with what it is given, and the floating-point operations of one pass, in closed form."""
    found: list[tuple[nn.Module, Tensor, int]] = []

    def hear(layer: nn.Module, given: tuple[Tensor, ...], out: Tensor) -> None:
        assert isinstance(layer, nn.Conv2d | nn.ConvTranspose2d)
        # A transposed convolution takes each number of its input to a window, a convolution each of its output from one.
        grid = given[0] if isinstance(layer, nn.ConvTranspose2d) else out
        window = layer.weight.numel() // (layer.in_channels if isinstance(layer, nn.ConvTranspose2d) else layer.out_channels)
        found.append((layer, given[0].detach(), 2 * grid.numel() * window))

    hooks = [
        layer.register_forward_hook(hear) for layer in network.modules() if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d)
    ]
    with torch.no_grad():
        network(input)
    for hook in hooks:
        hook.remove()
    return found


class Convolution:
    """A layer of the step by itself: there, and back to the slopes that the step asks of it."""

    def __init__(self, layer: nn.Module, images: Tensor, flops: int, machine: Machine, *, back_to: Asked, times: int) -> None:
        self.layer, self.flops, self.machine, self.times = layer.to(memory_format=torch.channels_last), flops, machine, times
        precision = torch.bfloat16 if machine.precision == "bfloat16" else torch.float32
        self.images = images.to(precision, memory_format=torch.channels_last).requires_grad_(back_to != "weights")
        self.asked = [*((self.images,) if back_to != "weights" else ()), *(layer.parameters() if back_to != "images" else ())]
        self.done, self.whole = (1 + len(self.asked)) * flops, back_to == "both"

    def work(self) -> None:
        with self.machine.cast():
            answer = self.layer(self.images)
        torch.autograd.grad(answer, self.asked, torch.ones_like(answer))


def convolutions_of(machine: Machine) -> list[Convolution]:
    """Those of a step of packshot's: a batch drawn; judged for its slopes alone; and two judged for the critic's."""
    draws = layer_flops(begin(generator()), torch.randn(BATCH, LATENT, 1, 1))
    looks = layer_flops(begin(critic()), torch.randn(BATCH, 3, SIZE, SIZE))
    ways: list[tuple[tuple[nn.Module, Tensor, int], Asked, int]] = []
    for number, layer in enumerate(draws):
        ways.append((layer, "both" if number else "weights", 1))  # nobody asks for a latent's slope
    for number, layer in enumerate(looks):
        ways += [(layer, "both" if number else "weights", 2), (layer, "images", 1)]  # nor for a photo's
    return [Convolution(*layer, machine, back_to=back_to, times=times) for layer, back_to, times in ways]


def compare_dcgan(rounds: int) -> list[str]:
    photos = photographs(SIZE)
    plain, ours = Plain(photos), {name: Ours(Config(), SIZE, photos, Machine(CPU, 1, name)) for name in PRECISIONS}
    parts = {precision: convolutions_of(run.machine) for precision, run in ours.items()}

    def load() -> None:
        # Both turns of a step take its photos.
        for turn in range(20):
            photos.batch(3, turn, BATCH, flips=True)

    ways: dict[str, Callable[[], None]] = {"plain": plain.step, **{name: run.step for name, run in ours.items()}, "load": load}
    ways |= {f"{name} {number}": part.work for name, several in parts.items() for number, part in enumerate(several)}
    with ours["float32"].machine.own():
        times = take_turns(ways, rounds)
    usual = {name: statistics.median(taken) for name, taken in times.items()}
    rows = [f"| the plain step, float32 | {1000 * usual['plain'] / BATCH:.2f} | **1.00** | - | - | - | - |"]
    for name, several in parts.items():
        ratio = statistics.median(first / second for first, second in zip(times["plain"], times[name], strict=True))
        alone = sum(part.times * usual[f"{name} {number}"] for number, part in enumerate(several))
        flops = sum(part.times * part.done for part in several)
        peak = max(part.done / usual[f"{name} {number}"] for number, part in enumerate(several) if part.whole)
        told = [f"packshot, {name}", f"{1000 * usual[name] / BATCH:.2f}", f"**{ratio:.2f}**"]
        told += [f"{flops / usual[name] / 1e9:.0f}", f"{flops / usual[name] / peak:.0%} of {peak / 1e9:.0f}"]
        told += [f"{alone / usual[name]:.0%}", f"{usual['load'] / 10 / usual[name]:.2%}"]
        rows.append(f"| {' | '.join(told)} |")
    return [
        "DCGAN, 64 x 64, 64 channels, batches of 64, BCE. GFLOP/s counts convolutions alone, in closed form: "
        f"{flops / BATCH / 1e9:.2f} GFLOP a photo.",
        "The peak is what the quickest single layer of these networks reaches by itself, there and back, measured in the same",
        "rounds; beside it, what all of the step's convolutions take by themselves, of what the step takes.",
        "",
        "| step | ms CPU a photo | times | GFLOP/s | of the peak | convolutions alone | of it the loader |",
        "|---|---:|---:|---:|---:|---:|---:|",
        *rows,
    ]


# --- the default models


def compare_defaults(rounds: int) -> list[str]:
    photos = photographs(32)
    rows = [
        *default_rows("vae, autoencoder", vae.Config(), photos, rounds),
        *default_rows("gan, with its lazy penalty", gan.Config(), photos, rounds),
    ]
    return [
        "Default models at 32 x 32, batches of 64, photos a second. Bare: the same losses, back and Adam alone, on a batch that",
        "is there, without clipping, watching, averages or curves.",
        "",
        "| model | float32 | bfloat16 | times | packshot's share beside the bare step |",
        "|---|---:|---:|---:|---:|",
        *rows,
    ]


def default_rows(name: str, config: ModelConfig, photos: Photos, rounds: int) -> Iterator[str]:
    runs = {precision: Ours(config, 32, photos, Machine(CPU, 1, precision)) for precision in PRECISIONS}
    alone = Ours(config, 32, photos, Machine(CPU, 1))
    batch = photos.batch(3, 0, BATCH, flips=False)
    steps = 0

    def bare() -> None:
        nonlocal steps
        alone.model.train()
        for phase in alone.model.phases():
            if phase.start or steps % phase.every:
                continue
            parameters = [parameter for module in phase.modules for parameter in module.parameters()]
            for parameter in parameters:
                parameter.requires_grad = True
            phase.loss(batch).total.backward()
            alone.state.optimizers[phase.shares or phase.name].step()
            for parameter in parameters:
                parameter.requires_grad, parameter.grad = False, None
        steps += 1

    def eight(step: Callable[[], None]) -> Callable[[], None]:
        def repeat() -> None:
            for _ in range(8):
                step()

        return repeat

    with alone.machine.own():
        ways = {**{precision: eight(run.step) for precision, run in runs.items()}, "bare": eight(bare)}
        times = take_turns(ways, rounds)
    long, short = (8 * BATCH / statistics.median(times[precision]) for precision in PRECISIONS)
    ratio = statistics.median(first / second for first, second in zip(times["float32"], times["bfloat16"], strict=True))
    ours = statistics.median(1 - second / first for first, second in zip(times["float32"], times["bare"], strict=True))
    yield f"| {name} | {long:,.0f} | {short:,.0f} | **{ratio:.2f}** | {ours:.1%} |"


# --- a GPU


def compare_on_gpu(rounds: int, steps: int = 100) -> list[str]:
    """DCGAN with its photos on the device: the plain step, and packshot's as CUDA graphs."""
    if not torch.cuda.is_available():
        return ["On a GPU: not measured, torch sees none."]
    device = torch.device("cuda", 0)
    photos = photographs(SIZE, device=device)
    ways: dict[str, Ours | Plain] = {"the plain step, float32": Plain(photos)}
    for compiles in (False, True):
        told = f"packshot, bfloat16{', CUDA graphs' if compiles else ''}"
        ways[told] = Ours(Config(), SIZE, photos, Machine(device, 1, "bfloat16", compiles=compiles))
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds + 1):
        for name, way in ways.items():
            with way.machine.own() if isinstance(way, Ours) else nullcontext():
                begun, done = (torch.cuda.Event(enable_timing=True) for _ in range(2))
                begun.record()
                for _ in range(steps):
                    way.step()
                done.record()
                torch.cuda.synchronize()
            if number:
                rates[name].append(1000 * steps * BATCH / begun.elapsed_time(done))
    first, *_ = rates.values()
    rows = [
        f"| {name} | {statistics.median(rate):,.0f} | **{statistics.median(map(truediv, rate, first)):.2f}** |"
        for name, rate in rates.items()
    ]
    return [
        f"The same DCGAN on one {torch.cuda.get_device_name(device)}, photos on the device.",
        "",
        "| step | photos a second | times |",
        "|---|---:|---:|",
        *rows,
    ]


def take_turns(ways: Mapping[str, Callable[[], None]], rounds: int) -> dict[str, list[float]]:
    """CPU seconds of each way in each round, after one that does not count."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds + 1):
        for name, way in ways.items():
            taken = seconds(way)
            if number:
                times[name].append(taken)
    return times


def seconds(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


if __name__ == "__main__":
    main()
