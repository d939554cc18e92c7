"""Energy by the counters of processors and GPUs: wrap-around, parts that would count twice, and devices that say nothing."""

from __future__ import annotations

from pathlib import Path
from threading import enumerate as threads

import pytest
import torch

from packshot.training.energy import EnergyMeter, Gpu, find_packages

CPU = torch.device("cpu")
RANGE = 262_143_328_850


def zone(powercap: Path, name: str, kind: str, microjoules: int) -> Path:
    """A zone as the kernel shows it."""
    folder = powercap / name
    folder.mkdir(parents=True)
    (folder / "name").write_text(f"{kind}\n")
    (folder / "max_energy_range_uj").write_text(f"{RANGE}\n")
    (folder / "energy_uj").write_text(f"{microjoules}\n")
    return folder


def test_packages_are_added_up_and_what_would_count_twice_is_not(tmp_path: Path) -> None:
    folders = [
        zone(tmp_path, name, kind, 1_000_000)
        for name, kind in (
            ("intel-rapl:0", "package-0"),
            ("intel-rapl:1", "package-1"),
            ("intel-rapl:0:0", "core"),
            ("intel-rapl:2", "psys"),
            ("intel-rapl-mmio:0", "package-0"),
        )
    ]
    with EnergyMeter.of(CPU, tmp_path) as meter:
        for folder in folders:
            (folder / "energy_uj").write_text("3500000")
        taken = meter.read()
    assert taken
    assert (taken.joules, taken.source) == (5.0, "RAPL")


def test_a_counter_that_wraps_around_goes_on(tmp_path: Path) -> None:
    folder = zone(tmp_path, "intel-rapl:0", "package-0", RANGE - 2_000_000)
    with EnergyMeter.of(CPU, tmp_path) as meter:
        for now in (RANGE - 500_000, 1_500_000, 2_500_000):
            (folder / "energy_uj").write_text(str(now))
            taken = meter.read()
    assert taken
    assert taken.joules == pytest.approx(1.5 + 2.0 + 1.0)


def test_what_was_taken_before_the_block_is_not_counted(tmp_path: Path) -> None:
    folder = zone(tmp_path, "intel-rapl:0", "package-0", 0)
    meter = EnergyMeter.of(CPU, tmp_path)
    (folder / "energy_uj").write_text("9000000")
    with meter:
        (folder / "energy_uj").write_text("9250000")
        taken = meter.read()
    assert taken
    assert taken.joules == 0.25


def test_a_machine_that_does_not_report_is_no_number(tmp_path: Path) -> None:
    with EnergyMeter.of(CPU, tmp_path / "none") as meter:
        assert meter.read() is None
    folder = zone(tmp_path, "intel-rapl:0", "package-0", 1)
    (folder / "energy_uj").unlink()
    (folder / "energy_uj").mkdir()  # not to be read, whoever asks
    assert find_packages(tmp_path) == []


def test_a_counter_that_goes_away_leaves_no_half_sum(tmp_path: Path) -> None:
    folder = zone(tmp_path, "intel-rapl:0", "package-0", 1)
    zone(tmp_path, "intel-rapl:1", "package-1", 1)
    with EnergyMeter.of(CPU, tmp_path) as meter:
        (folder / "energy_uj").unlink()
        assert meter.read() is None


def test_the_thread_ends_with_the_block(tmp_path: Path) -> None:
    zone(tmp_path, "intel-rapl:0", "package-0", 1)
    with EnergyMeter.of(CPU, tmp_path):
        assert "energy" in {thread.name for thread in threads()}
    assert "energy" not in {thread.name for thread in threads()}


class Nvml:
    """Stands for NVML, which needs a GPU."""

    class NVMLError(Exception):
        """As NVML's."""

    def __init__(self, *, counts: bool) -> None:
        self.counts, self.millijoules, self.milliwatts = counts, 5_000.0, 200_000.0

    def nvmlDeviceGetTotalEnergyConsumption(self, handle: str) -> float:
        if not self.counts:
            raise self.NVMLError("Not Supported")
        return self.millijoules

    def nvmlDeviceGetPowerUsage(self, handle: str) -> float:
        return self.milliwatts


def test_a_gpu_tells_its_own_counter() -> None:
    nvml = Nvml(counts=True)
    with EnergyMeter([Gpu(nvml, "gpu")], "NVML") as meter:
        nvml.millijoules += 12_500
        taken = meter.read()
        nvml.counts = False
        assert meter.read() is None, "it fell off the bus"
    assert taken
    assert taken.joules == 12.5


def test_an_old_gpu_tells_its_power_which_is_added_up_over_time() -> None:
    nvml, now = Nvml(counts=False), [10.0]
    gpu = Gpu(nvml, "gpu", clock=lambda: now[0])
    now[0], nvml.milliwatts = 12.0, 300_000.0
    assert gpu.take() == 500.0, "2 s at 250 W on average"
    assert gpu.seconds_between < 1


@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no GPU")
def test_a_real_gpu_takes_energy() -> None:
    device = torch.device("cuda")
    with EnergyMeter.of(device) as meter:
        if meter.read() is None:
            pytest.skip("this GPU does not report energy")
        for _ in range(50):
            torch.randn(4096, 4096, device=device).square().sum().item()
        taken = meter.read()
    assert taken
    assert taken.joules > 0
