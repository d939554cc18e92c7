"""What a model costs where it is served: the bytes of its weights, its parameters, and the time to draw one picture on a CPU."""

from __future__ import annotations

import platform
import time
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from packshot.evaluation.bootstrap import CONFIDENCE, withhold
from packshot.images.pixels import to_pixels
from packshot.models.base import ImageModel
from packshot.records import Cost, Estimate

THREADS = 1
MICRO_BATCH = 8
"""As the service has both (serving.engine): one picture takes it as long as eight, since it fills up every draw to so many."""

WARM_UP = 3
"""Draws before the first that counts: the first fill caches and choose kernels."""
FEWEST, MOST = 9, 300
"""Draws that count. Of 9 the interval of a median is theirs but for the least and the greatest."""

Floats = NDArray[np.float64]


def measure_cost(model: ImageModel, weights: Path, sha256: str, *, seconds: float = 2.0, threads: int = THREADS) -> Cost:
    """Measure what `model` costs, whose `weights` have the digest `sha256`, as the service draws with it: without a gradient.

    The draws take about `seconds`: at most 300 are timed, and at least 9 however long they take. Torch is left with as many
    threads as it had. Raises ValueError where the model is not as `load_weights` returns it, in eval mode on the CPU; NotFinite
    where it draws NaN.
    """
    if model.training or next(model.parameters()).device.type != "cpu":
        raise ValueError("a model is timed in eval mode and on the CPU, where it is served")
    return Cost(
        sha256=sha256,
        size_mb=weights.stat().st_size / 1e6,
        parameters=count_parameters(model),
        latency_ms=estimate_median(_time_draws(model, seconds, threads)),
        micro_batch=MICRO_BATCH,
        threads=threads,
        processor=_processor(),
    )


def count_parameters(model: ImageModel) -> int:
    """How many parameters the deployed parts have; statistics that are stored beside them (buffers) are none."""
    return sum(tensor.numel() for name, tensor in model.named_parameters() if name.split(".")[0] in model.deployed)


def estimate_median(values: Floats) -> Estimate:
    """Estimate the median of `values` (N,) and its distribution-free 95 % interval, from the k-th least to the k-th greatest.

    k is the greatest for which fewer than k of N fair coins show heads with a chance of at most 2.5 % (David and Nagaraja 2003,
    Order Statistics, section 7.1), so the interval covers 95 % or a little more. Values are taken as independent: what slows a
    machine down for the whole of a run lies outside of it. Withheld below 6 values, and where a value is not finite.
    """
    from scipy.special import bdtr

    if not np.isfinite(values).all():
        return withhold("not every value is a finite number", values.size)
    k = int(np.sum(bdtr(np.arange(values.size), values.size, 0.5) <= (1 - CONFIDENCE) / 2))
    if not k:
        return withhold(f"needs 6 values, there are {values.size}", values.size)
    ordered = np.sort(values)
    return Estimate(value=float(np.median(values)), low=float(ordered[k - 1]), high=float(ordered[-k]), n=values.size)


def _time_draws(model: ImageModel, seconds: float, threads: int) -> Floats:
    """Milliseconds of each draw that counts."""
    before, taken = torch.get_num_threads(), list[float]()
    torch.set_num_threads(threads)
    try:
        for seed in range(WARM_UP):
            _draw(model, seed)
        end = time.perf_counter() + seconds
        while len(taken) < FEWEST or (len(taken) < MOST and time.perf_counter() < end):
            start = time.perf_counter()
            _draw(model, len(taken))
            taken.append(1e3 * (time.perf_counter() - start))
    finally:
        torch.set_num_threads(before)
    return np.array(taken)


@torch.no_grad()
def _draw(model: ImageModel, seed: int) -> None:
    category = seed % len(model.categories)
    to_pixels(model.sample(torch.full((MICRO_BATCH,), category), [seed] * MICRO_BATCH))


def _processor() -> str:
    told = Path("/proc/cpuinfo")
    lines = told.read_text().splitlines() if told.is_file() else []
    models = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(models, "") or platform.machine()
