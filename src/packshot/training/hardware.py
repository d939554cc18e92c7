"""What a training runs on. It is part of the training's identity, and nothing here ever falls back in silence."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal

import torch
from torch import nn

from packshot.errors import UsageError
from packshot.training.params import TrainParams

Precision = Literal["float32", "bfloat16"]
CUBLAS = "CUBLAS_WORKSPACE_CONFIG"
"""cuBLAS repeats its bits only with a workspace of its own, and reads this before its first product."""
FILL = "fill_uninitialized_memory"
logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Machine:
    """A device, its threads, the precision of the networks' products, and how many processes train together."""

    device: torch.device
    threads: int
    precision: Precision | Literal["auto"] = "float32"
    """`auto` until it is measured (training.probe)."""
    processes: int = 1
    compiles: bool = False

    @classmethod
    def choose(cls, params: TrainParams, place: int = 0) -> Machine:
        """What `train` of params.yaml stands for here; `place` counts the processes of this host, which take a GPU each.

        Raises UsageError where it asks for what is not there.
        """
        device = choose_device(params.device)
        if device.type == "cuda":
            device = torch.device("cuda", place)
        machine = cls(device, params.threads, params.precision, params.processes, params.compile)
        machine._require_room()
        if params.precision == "bfloat16":
            require_bfloat16(device)
        return machine

    def with_precision(self, precision: Precision) -> Machine:
        """The same machine, once it is known what `auto` stands for."""
        return replace(self, precision=precision)

    @property
    def name(self) -> str:
        """The device as a state's identity tells it."""
        cuda = self.device.type == "cuda"
        return (
            f"{self.device.type} {torch.cuda.get_device_name(self.device) if cuda else torch.backends.cpu.get_cpu_capability()}"
        )

    @contextmanager
    def own(self) -> Iterator[None]:
        """Set threads and switches as this training needs them, and leave them and torch's generators as they were.

        On a GPU everything that can repeat its bits does; what cannot warns once. Products of float32 are products of float32:
        TF32, which keeps 10 bits of them, is for the remains of a bfloat16 training alone.
        """
        before, cuda = torch.get_num_threads(), self.device.type == "cuda"
        with ExitStack() as stack:
            stack.enter_context(torch.random.fork_rng(devices=[self.device] if cuda else []))
            short = self.precision == "bfloat16"
            stack.enter_context(torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=short))
            if cuda:
                stack.enter_context(_repeatable(tf32=short))
                stack.enter_context(torch.cuda.device(self.device))
            torch.set_num_threads(self.threads)
            try:
                yield
            finally:
                torch.set_num_threads(before)

    def seed(self, chances: int) -> None:
        """Start torch's generators anew."""
        # torch.manual_seed asks after every kind of device there is: half a millisecond, in each turn.
        torch.default_generator.manual_seed(chances)
        if self.device.type == "cuda":
            torch.cuda.manual_seed(chances)

    def cast(self) -> torch.autocast:
        """Within it, networks compute their products in the precision asked for."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bfloat16")

    def translate(self, model: nn.Module) -> None:
        """Let torch.compile translate the networks of `model`, where that is asked for; names and weights stay as they are.

        On a GPU into CUDA graphs: there a small network's step is spent on starting its kernels one by one.
        """
        for network in model.children() if self.compiles else ():
            network.compile(mode="reduce-overhead" if self.device.type == "cuda" else "default")

    @contextmanager
    def turn(self, *, eager: bool) -> Iterator[None]:
        """Around one turn of a phase; `eager` where it must not run translated, as a loss that holds a gradient cannot."""
        if not self.compiles:
            yield
            return
        torch.compiler.cudagraph_mark_step_begin()  # type: ignore[no-untyped-call]
        with torch.compiler.set_stance("force_eager" if eager else "default"):
            yield

    def _require_room(self) -> None:
        cuda = self.device.type == "cuda"
        there = torch.cuda.device_count() if cuda else count_cores()
        if self.processes > there:
            units = "GPU" if cuda else "core"
            raise UsageError(
                f"{self.processes} processes and {there} {units}{'s' if there != 1 else ''}",
                where="train.processes",
                advice=f"write {there} or fewer: each process has a {units} of its own",
            )
        if not cuda and self.processes > 1 and self.processes * self.threads > there:
            logger.warning(
                "%d processes of %d threads each share %d cores: train.threads: %d would be quicker",
                self.processes,
                self.threads,
                there,
                max(1, there // self.processes),
            )


def count_cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def choose_device(wanted: Literal["auto", "cpu", "cuda"]) -> torch.device:
    """The device that `wanted` stands for. Raises UsageError where a GPU is asked for and there is none: no silent fallback."""
    if wanted == "cuda" and not torch.cuda.is_available():
        raise UsageError("there is no GPU that torch can use", where="train.device: cuda", advice="write cpu or auto")
    return torch.device("cuda" if wanted != "cpu" and torch.cuda.is_available() else "cpu")


def require_bfloat16(device: torch.device) -> None:
    """Raise UsageError on a GPU without bfloat16; warn, once, on a CPU that has no units for it."""
    if device.type == "cuda" and not has_bfloat16(device):
        advice = "write float32"
        raise UsageError(
            f"{torch.cuda.get_device_name(device)} has no bfloat16", where="train.precision: bfloat16", advice=advice
        )
    if device.type == "cpu" and not has_bfloat16(device):
        _warn_of_slow_bfloat16()


def has_bfloat16(device: torch.device) -> bool:
    """Whether `device` has units for products of bfloat16."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    told = torch.cpu.get_capabilities()
    return any(told.get(unit, False) for unit in ("avx512_bf16", "amx_bf16", "bf16"))


@lru_cache(maxsize=1)
def _warn_of_slow_bfloat16() -> None:
    logger.warning(
        "train.precision: this CPU has no units for bfloat16: about half as fast as float32, and less exact; auto measures it"
    )


@contextmanager
def _repeatable(*, tf32: bool) -> Iterator[None]:
    """Deterministic algorithms wherever torch has them, and TF32 as said; everything as before afterwards."""
    if os.environ.get(CUBLAS) is None:
        os.environ[CUBLAS] = ":4096:8"
    products, filling = torch.backends.cuda.matmul, torch.utils.deterministic
    before = (torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled())
    allowed, filled = products.allow_tf32, getattr(filling, FILL)
    torch.use_deterministic_algorithms(mode=True, warn_only=True)
    # Filling what is yet to be written repeats nothing that we read.
    setattr(filling, FILL, False)
    products.allow_tf32 = tf32
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])
        setattr(filling, FILL, filled)
        products.allow_tf32 = allowed
