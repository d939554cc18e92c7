"""The machine that a training asks for: what is there, what it measures, and that nothing of it shows in the weights."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from packshot.errors import UsageError
from packshot.images.shards import Split
from packshot.models.base import Batch
from packshot.training import hardware, placement, probe
from packshot.training.batches import Photos
from packshot.training.descent import Descent, learning
from packshot.training.hardware import Machine, has_bfloat16
from packshot.training.identity import Identity, Recipe
from packshot.training.loop import build
from packshot.training.placement import Placement, choose_placement
from packshot.training.probe import Measured, choose_precision
from packshot.training.state import learning_phases
from packshot.training.transfer import freeze
from tests.models.families import CATEGORIES, CONDITIONS, IMAGE, toy_split
from tests.training.runs import CPU, SEED, params, photos, run_through

MACHINE = Machine(CPU, 1)


# --- the same gradients, however a batch is taken


def _gradients(name: str, phase_name: str, parts: int) -> tuple[dict[str, float], list[torch.Tensor]]:
    settings = params(name)
    model = build(settings.runs[0], IMAGE, CATEGORIES, CONDITIONS, seed=SEED, device=CPU)
    model.requires_grad_(requires_grad=False)
    data = photos(conditions=CONDITIONS)
    for fit in model.fits():
        fit.run(lambda: data.every(flips=True))
    (phase,) = (phase for phase in model.phases() if phase.name == phase_name)
    parameters = [parameter for module in phase.modules for parameter in module.parameters()]
    model.train()
    with learning(parameters):
        loss, _ = Descent(data, MACHINE, SEED, flips=True, parts=parts).collect(phase, parameters, 3, 15, chances=5)
        found = [parameter.grad.clone() for parameter in parameters if parameter.grad is not None]
    return {name: term.item() for name, term in loss.terms.items()}, found


@pytest.mark.parametrize(("name", "phase"), [("vae-flow", "flow"), ("vae-flow", "critic"), ("vae-flow", "penalty")])
@pytest.mark.parametrize("parts", [2, 4])
def test_what_photos_do_not_share_comes_out_the_same_part_after_part(name: str, phase: str, parts: int) -> None:
    (whole, expected), (told, found) = _gradients(name, phase, 1), _gradients(name, phase, parts)
    assert told == pytest.approx(whole, rel=1e-5)
    scale = max(float(gradient.abs().max()) for gradient in expected)
    for one, two in zip(expected, found, strict=True):
        torch.testing.assert_close(two, one, rtol=1e-4, atol=1e-6 * scale)


# --- photos, wherever they lie


def _same(one: Batch, two: Batch) -> bool:
    pairs = ((one.images, two.images), (one.categories, two.categories), (one.rows, two.rows), (one.flipped, two.flipped))
    return all(torch.equal(first, second) and first.stride() == second.stride() for first, second in pairs)


@pytest.mark.parametrize("placed", ["host", "disk"])
def test_batches_are_the_same_bits_wherever_the_photos_lie(placed: Placement, tmp_path: Path) -> None:
    split = toy_split(40, conditions=True)
    np.save(tmp_path / "pixels.npy", split.images)
    mapped = Split(np.load(tmp_path / "pixels.npy", mmap_mode="r"), split.categories, split.ids, split.groups, split.conditions)
    near, far = (Photos.open(mapped, CONDITIONS, CPU, placement=place) for place in ("resident", placed))
    for step in range(6):
        one, two = (each.batch(SEED, step, 16, flips=True) for each in (near, far))
        assert _same(one, two)
        assert one.conditions is not None
        assert two.conditions is not None
        assert torch.equal(one.conditions, two.conditions)
    for one, two in zip(near.every(flips=True), far.every(flips=True), strict=True):
        assert _same(one, two)
    assert _same(near.first(10).batch(SEED, 0, 8, flips=True), far.first(10).batch(SEED, 0, 8, flips=True))
    assert len(far.first(10)) == 10


@pytest.mark.parametrize(
    ("size", "processes", "expected"), [(49, 1, "resident"), (51, 1, "disk"), (49, 2, "disk"), (24, 2, "resident")]
)
def test_photos_take_at_most_half_of_what_is_free(
    size: int, processes: int, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class _Memory:
        available = 100

    monkeypatch.setattr(placement.psutil, "virtual_memory", _Memory)
    assert choose_placement(size, CPU, processes) == expected


@pytest.mark.parametrize(("size", "expected"), [(49, "resident"), (51, "host"), (499, "host"), (501, "disk")])
def test_photos_that_a_gpu_has_no_room_for_stay_with_the_host(size: int, expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    class _Memory:
        available = 1000

    monkeypatch.setattr(placement.psutil, "virtual_memory", _Memory)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (100, 200))
    assert choose_placement(size, torch.device("cuda", 0)) == expected


# --- precision


def test_bfloat16_on_a_cpu_without_units_is_allowed_and_warned_of_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx2": True})
    hardware._warn_of_slow_bfloat16.cache_clear()
    assert not has_bfloat16(CPU)
    with caplog.at_level(logging.WARNING):
        assert Machine.choose(params("gan", precision="bfloat16")).precision == "bfloat16"
        Machine.choose(params("gan", precision="bfloat16"))
    assert len([record for record in caplog.records if "no units for bfloat16" in record.message]) == 1


def test_bfloat16_on_a_gpu_without_it_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "Old GPU")
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: False)
    with pytest.raises(UsageError, match="Old GPU has no bfloat16"):
        Machine.choose(params("gan", precision="bfloat16", device="cuda"))
    assert Machine.choose(params("gan", device="cuda")).device == torch.device("cuda", 0)


@pytest.mark.parametrize(("long", "short", "choice"), [(10.0, 5.0, "bfloat16"), (10.0, 9.5, "float32"), (10.0, 20.0, "float32")])
def test_bfloat16_is_taken_where_it_clearly_pays(long: float, short: float, choice: str) -> None:
    assert Measured(float32=long, bfloat16=short).choice == choice


@pytest.mark.parametrize("name", ["vae-flow", "gan"])
def test_the_probe_times_every_turn_once_and_remembers(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = params(name, precision="auto")
    machine, run = Machine.choose(settings), settings.runs[0]
    assert machine.precision == "auto"
    turns: list[tuple[str, str]] = []
    collect = Descent.collect

    def spy(self: Descent, phase, *rest, **named):  # type: ignore[no-untyped-def]
        turns.append((phase.name, self.machine.precision))
        return collect(self, phase, *rest, **named)

    monkeypatch.setattr(Descent, "collect", spy)
    monkeypatch.setattr(probe, "ROUNDS", 1)
    before, threads = torch.random.get_rng_state(), torch.get_num_threads()
    choices = []
    for _ in range(2):
        model = build(run, IMAGE, CATEGORIES, (), seed=SEED, device=CPU)
        choices.append(choose_precision(model, photos(), run, settings, machine, tmp_path))
    assert choices[0] == choices[1]
    phases = [phase.name for phase in model.phases()]
    assert turns == [(phase, precision) for phase in phases for _ in range(2) for precision in ("float32", "bfloat16")]
    assert torch.equal(torch.random.get_rng_state(), before)
    assert torch.get_num_threads() == threads
    (answer,) = tmp_path.glob("precision-*.json")
    assert choices[0] == Measured.read(answer).choice

    # An answer that cannot be read is asked for again; another batch is another question.
    answer.write_text("{")
    choose_precision(build(run, IMAGE, CATEGORIES, (), seed=SEED, device=CPU), photos(), run, settings, machine, tmp_path)
    assert len(turns) == 2 * 4 * len(phases)
    Measured.read(answer)
    other = params(name, precision="auto", batch_size=8)
    choose_precision(build(run, IMAGE, CATEGORIES, (), seed=SEED, device=CPU), photos(), run, other, machine, tmp_path)
    assert len(list(tmp_path.glob("precision-*.json"))) == 2


def test_the_probe_times_no_turn_of_what_is_frozen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = params("vae-flow", precision="auto")
    model = build(settings.runs[0], IMAGE, CATEGORIES, (), seed=SEED, device=CPU)
    freeze(model, settings.runs[0].model_copy(update={"freeze": ("decoder.*",)}))
    monkeypatch.setattr(probe, "ROUNDS", 1)
    assert choose_precision(model, photos(), settings.runs[0], settings, Machine.choose(settings), tmp_path)
    assert "polish" not in [phase.name for phase in learning_phases(model)]


def test_the_machine_is_part_of_a_trainings_identity() -> None:
    settings = params("gan")
    recipe = Recipe.of(settings.runs[0], settings, SEED)
    machines = (
        Machine(CPU, 1),
        Machine(CPU, 2),
        Machine(CPU, 1, "bfloat16"),
        Machine(CPU, 1, processes=2),
        Machine(CPU, 1, compiles=True),
    )
    digests = {Identity.here(recipe, "d" * 64, machine).content_digest() for machine in machines}
    assert len(digests) == len(machines)
    parts = Recipe.of(settings.runs[0], params("gan", accumulate=2), SEED)
    assert parts != recipe


def test_networks_that_compute_in_bfloat16_learn_and_stay_float32(tmp_path: Path) -> None:
    state = run_through(tmp_path, params("gan", steps=12, precision="bfloat16"))
    assert {tensor.dtype for tensor in state.model.parameters()} == {torch.float32}
    other = run_through(tmp_path / "again", params("gan", steps=12, precision="bfloat16"))
    assert all(torch.equal(tensor, other.tensors()[key]) for key, tensor in state.tensors().items())
    full = run_through(tmp_path / "full", params("gan", steps=12))
    assert any(not torch.equal(tensor, full.tensors()[key]) for key, tensor in state.tensors().items())


# --- translation, and switches


def test_a_translated_model_has_the_same_names_and_turns_with_a_gradient_in_them_run_as_written(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class _Pair(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Linear(2, 2), nn.Linear(2, 1)

    modes: list[str] = []
    model = _Pair()
    names = list(model.state_dict())
    monkeypatch.setattr(nn.Module, "compile", lambda self, mode: modes.append(mode))
    Machine(CPU, 1).translate(model)
    assert modes == []
    Machine(CPU, 1, compiles=True).translate(model)
    Machine(torch.device("cuda", 0), 1, compiles=True).translate(model)
    assert modes == ["default", "default", "reduce-overhead", "reduce-overhead"]
    assert list(model.state_dict()) == names

    seen: list[str] = []

    def translation(graph: torch.fx.GraphModule, inputs: list[torch.Tensor]):  # type: ignore[no-untyped-def]
        seen.append("translated")
        return graph.forward

    machine, square = Machine(CPU, 1, compiles=True), torch.compile(lambda value: value.square(), backend=translation)
    with machine.turn(eager=True):
        square(torch.ones(2))
    assert seen == []
    with machine.turn(eager=False):
        square(torch.ones(2))
    assert seen == ["translated"]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no GPU")
def test_on_a_gpu_everything_that_can_repeat_its_bits_does(tmp_path: Path) -> None:
    machine = Machine.choose(params("gan", device="cuda"))
    with machine.own():
        assert torch.are_deterministic_algorithms_enabled()
        assert not torch.backends.cuda.matmul.allow_tf32
        assert not torch.backends.cudnn.allow_tf32
    assert not torch.are_deterministic_algorithms_enabled()
    first, second = (run_through(tmp_path / each, params("gan", steps=12, device="cuda")) for each in "ab")
    assert all(torch.equal(tensor, second.tensors()[key]) for key, tensor in first.tensors().items())


def test_the_switches_of_a_gpu_are_left_as_they_were(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(hardware.CUBLAS, raising=False)
    before = torch.backends.cuda.matmul.allow_tf32, torch.utils.deterministic.fill_uninitialized_memory
    with hardware._repeatable(tf32=True):
        assert torch.are_deterministic_algorithms_enabled()
        assert torch.is_deterministic_algorithms_warn_only_enabled()
        assert torch.backends.cuda.matmul.allow_tf32
        assert os.environ[hardware.CUBLAS] == ":4096:8"
    assert not torch.are_deterministic_algorithms_enabled()
    assert (torch.backends.cuda.matmul.allow_tf32, torch.utils.deterministic.fill_uninitialized_memory) == before
