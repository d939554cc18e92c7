"""What a training's machine does meanwhile: its pace, its memory, its energy. Of no two runs the same, so kept out of data/."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

import psutil
import torch

from packshot.training.energy import Energy, EnergyMeter
from packshot.training.log import Log, Pixels

PACE = "system/images_per_second"
HOST, DEVICE = "system/host_memory_mb", "system/device_memory_mb"
ENERGY, ENERGY_A_PICTURE = "energy_joules", "joules_per_image"
MB = 1e6

SHORTEST = 1e-4
"""Seconds that a step takes at least. What is faster was not computed: a resumed run tells again what it told."""


class Vitals:
    """A Log that hands on what it is told, with what the machine does beside it."""

    def __init__(
        self,
        log: Log,
        batch_size: int,
        device: torch.device,
        energy: EnergyMeter,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.log, self.batch_size, self.device, self.energy, self.clock = log, batch_size, device, energy, clock
        self.before: tuple[float, int, float] | None = None
        """When it was told last, of which step, and how many joules had been taken."""
        self.images, self.joules = 0, 0.0
        """In the ways that were watched from one row to the next."""
        self._process = psutil.Process()

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        """Hand on `values`, with the pace since the row before and the memory in use."""
        pace = self._look(step)
        self.log.metrics(step, values if pace is None else {**values, PACE: pace, **self._memory()})

    def picture(self, step: int, name: str, pixels: Pixels) -> None:
        """Hand on a picture."""
        self.log.picture(step, name, pixels)

    def close(self, step: int) -> Energy | None:
        """Hand on the energy taken since the training was begun, or gone on with, here; None where nothing reports it."""
        taken = self.energy.read()
        if taken is not None:
            each = {ENERGY_A_PICTURE: self.joules / self.images} if self.images else {}
            self.log.metrics(step, {ENERGY: taken.joules, **each})
        return taken

    def _look(self, step: int) -> float | None:
        """Images a second since the row before; None where no way from there was watched."""
        now, energy = self.clock(), self.energy.read()
        joules = energy.joules if energy else 0.0
        before, self.before = self.before, (now, step, joules)
        if before is None or step <= before[1] or now - before[0] < SHORTEST * (step - before[1]):
            return None
        images = (step - before[1]) * self.batch_size
        self.images, self.joules = self.images + images, self.joules + joules - before[2]
        return images / (now - before[0])

    def _memory(self) -> dict[str, float]:
        """In use on the host just now; on a GPU, the most so far."""
        told = {HOST: self._process.memory_info().rss / MB}
        if self.device.type == "cuda":
            told[DEVICE] = torch.cuda.max_memory_allocated(self.device) / MB
        return told
