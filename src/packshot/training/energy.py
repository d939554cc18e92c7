"""The energy that a training takes, where the device reports it.

A processor's comes from the powercap counters of its packages (RAPL), a GPU's from NVML. They count whatever else runs there too.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Lock, Thread
from types import TracebackType
from typing import Any, Protocol, Self

import torch

POWERCAP = Path("/sys/class/powercap")
SECONDS_BETWEEN = 5.0
"""Between two looks. A package's counter wraps after about 260 kJ: a quarter of an hour at 300 W."""
WATTS_SECONDS_BETWEEN = 0.5
"""Between two looks at a GPU that tells its power and not its energy."""


class Counter(Protocol):
    """Something that counts energy."""

    seconds_between: float
    """How often it must be looked at."""

    def take(self) -> float:
        """Joules since the look before; 0 at the first. Raises OSError where it cannot be read."""


class Package:
    """The counter of one processor package, in microjoules, which wraps around."""

    seconds_between = SECONDS_BETWEEN

    def __init__(self, folder: Path) -> None:
        self._counter = folder / "energy_uj"
        self._range = int((folder / "max_energy_range_uj").read_text())
        self._before = self._read()

    def take(self) -> float:
        """Joules since the look before."""
        now, before = self._read(), self._before
        self._before = now
        return ((now - before) if now >= before else now + self._range - before) / 1e6

    def _read(self) -> int:
        return int(self._counter.read_text())


class Gpu:
    """The energy of one NVIDIA GPU: its own counter, or, before Volta, its power over time."""

    def __init__(self, nvml: Any, handle: Any, clock: Callable[[], float] = time.monotonic) -> None:
        self._nvml, self._handle, self._clock = nvml, handle, clock
        try:
            self._before = float(nvml.nvmlDeviceGetTotalEnergyConsumption(handle))
            self._counts, self.seconds_between = True, SECONDS_BETWEEN
        except nvml.NVMLError:
            self._power, self._at = float(nvml.nvmlDeviceGetPowerUsage(handle)), clock()
            self._counts, self.seconds_between = False, WATTS_SECONDS_BETWEEN

    def take(self) -> float:
        """Joules since the look before."""
        try:
            return self._from_counter() if self._counts else self._from_power()
        except self._nvml.NVMLError as error:
            raise OSError(f"NVML: {error}") from error

    def _from_counter(self) -> float:
        now, before = float(self._nvml.nvmlDeviceGetTotalEnergyConsumption(self._handle)), self._before
        self._before = now
        return max(0.0, now - before) / 1e3

    def _from_power(self) -> float:
        power, at = float(self._nvml.nvmlDeviceGetPowerUsage(self._handle)), self._clock()
        joules = (power + self._power) / 2e3 * (at - self._at)
        self._power, self._at = power, at
        return joules


@dataclass(frozen=True, slots=True)
class Energy:
    """Joules, and what told them."""

    joules: float
    source: str

    def __str__(self) -> str:
        return f"{self.joules / 1e3:.1f} kJ ({self.source})"


class EnergyMeter:
    """Counts within its `with` block what a device takes; a thread looks often enough that no counter wraps unseen."""

    def __init__(self, counters: Sequence[Counter], source: str) -> None:
        self._counters, self._source = list(counters), source
        self._joules = 0.0
        self._lock, self._done = Lock(), Event()
        self._thread = Thread(target=self._follow, name="energy", daemon=True) if self._counters else None

    @classmethod
    def of(cls, device: torch.device, powercap: Path = POWERCAP) -> EnergyMeter:
        """The meter of `device`; one that reads None where the device does not report, or not to this user."""
        if device.type == "cuda":
            gpu = _find_gpu(device)
            return cls([gpu] if gpu else [], "NVML")
        return cls(find_packages(powercap), "RAPL")

    def read(self) -> Energy | None:
        """What has been taken since the block was entered; None where the device does not report it."""
        with self._lock:
            for counter in self._counters:
                try:
                    self._joules += counter.take()
                except (OSError, ValueError):  # the device is gone, or the right to read: half a sum would be a lie
                    self._counters.clear()
                    break
            return Energy(self._joules, self._source) if self._counters else None

    def __enter__(self) -> Self:
        self.read()
        self._joules = 0.0
        if self._thread is not None:
            self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._done.set()
        if self._thread is not None:
            self._thread.join()

    def _follow(self) -> None:
        pause = min(counter.seconds_between for counter in self._counters)
        while not self._done.wait(pause):
            if self.read() is None:
                return


def find_packages(powercap: Path) -> list[Package]:
    """The packages below `powercap` that this user may read; their parts, and what counts them a second time, are left out."""
    packages = []
    for folder in sorted(powercap.glob("intel-rapl:*")):
        if folder.name.count(":") > 1:  # a part of a package: its cores, its memory
            continue
        with suppress(OSError, ValueError):
            if (folder / "name").read_text().startswith("package"):  # and not `psys`, the whole machine
                packages.append(Package(folder))
    return packages


def _find_gpu(device: torch.device) -> Gpu | None:
    """By its UUID: NVML numbers the GPUs in an order of its own. None without NVML."""
    try:
        import pynvml as nvml  # type: ignore[import-untyped]
    except ImportError:
        return None
    try:
        nvml.nvmlInit()
        uuid = str(torch.cuda.get_device_properties(device).uuid)
        return Gpu(nvml, nvml.nvmlDeviceGetHandleByUUID(uuid if uuid.startswith("GPU-") else f"GPU-{uuid}"))
    except nvml.NVMLError:
        return None
