"""What a model costs; of times only what holds on every machine."""

from __future__ import annotations

import platform
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load
from scipy import stats

from packshot.evaluation import cost
from packshot.evaluation.cost import count_parameters, estimate_median, measure_cost
from packshot.models.base import ImageModel
from packshot.models.weights import WeightsCard, load_weights, save_weights
from packshot.records import Cost
from packshot.serving import engine
from tests.models.families import CATEGORIES, IMAGE, SMALL, build

FAMILIES = ("vae-flow", "vae-gaussians", "gan", "stylegan2")


@pytest.fixture(params=FAMILIES)
def saved(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, Path, str]:
    return save(request.param, tmp_path)


def save(name: str, folder: Path) -> tuple[str, Path, str]:
    card = WeightsCard(
        config=SMALL[name], image=IMAGE, categories=CATEGORIES, run="run", step=7, dataset="1" * 64, params="2" * 64, seed=3
    )
    path = folder / "run-7.safetensors"
    return name, path, save_weights(path, build(name), card)


def test_a_cost_says_what_was_measured_and_is_a_record(saved: tuple[str, Path, str], tmp_path: Path):
    _, path, sha256 = saved
    found = measure_cost(load_weights(path, sha256)[0], path, sha256, seconds=0)
    assert found.sha256 == sha256
    assert found.size_mb == path.stat().st_size / 1e6
    assert (found.threads, found.micro_batch) == (1, 8)
    assert found.processor
    assert platform.node() not in found.processor
    found.write(tmp_path / "cost.json")
    assert Cost.read(tmp_path / "cost.json") == found


def test_only_deployed_parameters_count(saved: tuple[str, Path, str]):
    name, path, sha256 = saved
    loaded, whole = load_weights(path, sha256)[0], build(name)
    stored = {key: tensor.numel() for key, tensor in load(path.read_bytes()).items()}
    statistics = {key for key, _ in loaded.named_buffers()}
    expected = sum(size for key, size in stored.items() if key not in statistics)
    assert count_parameters(loaded) == count_parameters(whole) == expected
    trained = sum(parameter.numel() for parameter in whole.parameters())
    assert (expected < trained) == any(child not in whole.deployed for child, _ in whole.named_children())


def test_latency_is_positive_and_counts_its_draws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    _, path, sha256 = save("gan", tmp_path)
    model, _ = load_weights(path, sha256)
    monkeypatch.setattr(cost, "MOST", 20)
    few = measure_cost(model, path, sha256, seconds=0).latency_ms
    most = measure_cost(model, path, sha256, seconds=600).latency_ms
    assert (few.n, most.n) == (9, 20)
    for latency in (few, most):
        assert 0 < latency.low <= latency.value <= latency.high


def test_a_draw_is_the_service_s(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    assert (cost.THREADS, cost.MICRO_BATCH) == (engine.THREADS, engine.MICRO_BATCH)
    _, path, sha256 = save("gan", tmp_path)
    model, seen = load_weights(path, sha256)[0], []

    def watch(categories: torch.Tensor, seeds: list[int]) -> torch.Tensor:
        seen.append(
            (len(categories), len({*categories.tolist()}), len({*seeds}), torch.get_num_threads(), torch.is_grad_enabled())
        )
        return torch.zeros(len(seeds), *IMAGE.shape)

    monkeypatch.setattr(model, "sample", watch)
    measure_cost(model, path, sha256, seconds=0, threads=2)
    assert seen == [(8, 1, 1, 2, False)] * (cost.WARM_UP + 9)


def test_torch_keeps_its_threads_even_where_a_draw_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    _, path, sha256 = save("gan", tmp_path)
    model, before = load_weights(path, sha256)[0], torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        measure_cost(model, path, sha256, seconds=0)
        assert torch.get_num_threads() == 3
        monkeypatch.setattr(model, "sample", lambda *_: torch.full((8, 3, 16, 16), torch.nan))
        with pytest.raises(ValueError, match="NaN"):
            measure_cost(model, path, sha256, seconds=0)
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


def test_a_model_that_still_trains_is_not_timed(tmp_path: Path):
    _, path, sha256 = save("gan", tmp_path)
    model: ImageModel = build("gan").train()
    with pytest.raises(ValueError, match="eval mode"):
        measure_cost(model, path, sha256, seconds=0)


@pytest.mark.parametrize("n", [6, 9, 30, 31, 200, 300])
def test_the_interval_of_a_median_is_the_narrowest_with_95_percent_of_fair_coins(n: int):
    found = estimate_median(np.random.default_rng(n).permutation(n).astype(float))
    low, high = int(found.low), int(found.high)
    assert found.value == (n - 1) / 2
    assert low + high == n - 1
    fair = stats.binom(n, 0.5)
    assert fair.cdf(high) - fair.cdf(low) >= 0.95
    assert fair.cdf(high - 1) - fair.cdf(low + 1) < 0.95


@pytest.mark.parametrize("draw", ["exponential", "standard_cauchy", "normal"])
def test_95_percent_intervals_of_a_median_cover_93_to_99_percent(draw: str):
    truth, covered = {"exponential": np.log(2)}.get(draw, 0.0), 0
    for seed in range(1000):
        found = estimate_median(getattr(np.random.default_rng(seed), draw)(size=30))
        covered += found.low <= truth <= found.high
    assert 930 <= covered <= 990


def test_too_few_values_and_values_that_are_no_numbers_are_withheld():
    for values in (np.empty(0), np.ones(5), np.array([1.0] * 20 + [np.nan]), np.array([1.0] * 20 + [np.inf])):
        found = estimate_median(values)
        assert found.value is None
        assert (found.n, bool(found.note)) == (values.size, True)
    assert "needs 6" in estimate_median(np.ones(5)).note
