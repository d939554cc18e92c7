"""What a training runs on. It is part of the training's identity, and nothing here ever falls back in silence."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import torch

from packshot.errors import UsageError
from packshot.training.params import TrainParams

Precision = Literal["float32", "bfloat16"]


@dataclass(frozen=True, slots=True)
class Machine:
    """A device, its threads and the precision of the networks' products."""

    device: torch.device
    threads: int
    precision: Precision = "float32"

    @classmethod
    def choose(cls, params: TrainParams) -> Machine:
        """What `train` of params.yaml stands for here. Raises UsageError where it asks for what is not there."""
        return cls(choose_device(params.device), params.threads, params.precision)

    @property
    def name(self) -> str:
        """The device as a state's identity tells it."""
        cuda = self.device.type == "cuda"
        return (
            f"{self.device.type} {torch.cuda.get_device_name(self.device) if cuda else torch.backends.cpu.get_cpu_capability()}"
        )

    @contextmanager
    def own(self) -> Iterator[None]:
        """Set threads and switches as this training needs them, and leave them and torch's generators as they were."""
        before, cudnn = torch.get_num_threads(), torch.backends.cudnn
        with (
            torch.random.fork_rng(devices=[self.device] if self.device.type == "cuda" else []),
            cudnn.flags(enabled=True, benchmark=False, deterministic=True),
        ):
            torch.set_num_threads(self.threads)
            try:
                yield
            finally:
                torch.set_num_threads(before)

    def cast(self) -> torch.autocast:
        """Within it, networks compute their products in the precision asked for."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bfloat16")


def choose_device(wanted: Literal["auto", "cpu", "cuda"]) -> torch.device:
    """The device that `wanted` stands for. Raises UsageError where a GPU is asked for and there is none: no silent fallback."""
    if wanted == "cuda" and not torch.cuda.is_available():
        raise UsageError("there is no GPU that torch can use", where="train.device: cuda", advice="write cpu or auto")
    return torch.device("cuda" if wanted != "cpu" and torch.cuda.is_available() else "cpu")
