"""What each of two processes does that share small trainings."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import nn

from packshot.errors import UsageError
from packshot.models.processes import SharedBatchNorm, gather, keep_own, mean_of_all
from packshot.training.hardware import Machine
from packshot.training.keeper import Keeper
from packshot.training.launch import join
from packshot.training.loop import build, train
from packshot.training.params import TrainParams
from packshot.training.ranks import SharedKeeper, require_equal, require_lockstep
from packshot.training.state import Setback, TrainState
from packshot.training.watch import Trouble, Watch
from tests.models.families import CATEGORIES, CONDITIONS, IMAGE, SMALL
from tests.training.runs import CPU, SEED, Heard, desk, params, photos

CASES = [*((name, 1) for name in SMALL), ("gan", 2), ("vae-flow", 2)]
"""A family, and in how many parts its batches are taken."""


class Memory:
    """A Keeper that begins anew and keeps nothing."""

    def restore(self, state: TrainState) -> bool:
        return False

    def rewind(self, state: TrainState, back: int, before: int) -> bool:
        return False

    def save(self, state: TrainState) -> None:
        pass

    pause = keep = save

    def bury(self, state: TrainState, trouble: Trouble) -> None:
        pass


def settings(name: str, processes: int, parts: int = 1) -> TrainParams:
    """Twelve steps show every phase: a row of each step, no pictures."""
    rare = 10**6
    return params(
        name, 12, report_every=1, picture_every=rare, save_every=rare, processes=processes, accumulate=parts, checkpoints=1
    )


def learn(name: str, chosen: TrainParams, *, first: bool = True) -> TrainState:
    """Train in this process, as one of those that `chosen` tells of."""
    run, keeper = chosen.runs[0], Memory()
    model = build(run, IMAGE, CATEGORIES, CONDITIONS, seed=SEED, device=CPU)
    shared: Keeper = keeper if chosen.processes == 1 else SharedKeeper(keeper if first else None, CPU)
    machine = Machine.choose(chosen)
    return train(model, photos(conditions=CONDITIONS), run, chosen, seed=SEED, machine=machine, log=Heard(), keeper=shared)


def exchange(rank: int) -> None:
    """Hold what two processes tell each other against what one computes by itself."""
    torch.manual_seed(0)
    whole = torch.randn(6, 3, 4, 4, dtype=torch.float64)
    weights = torch.randn(3, 4, 4, dtype=torch.float64)
    mine = slice(3 * rank, 3 * rank + 3)

    # A sum that knows all parts, gone back through twice, against the same by one process.
    def energy(images: torch.Tensor) -> torch.Tensor:
        return (images.flatten(1) @ images.flatten(1).T).tanh().square().sum(dim=1)

    part = whole[mine].clone().requires_grad_()
    (slope,) = torch.autograd.grad(keep_own(energy(gather(part))).sum(), part, create_graph=True)
    (curved,) = torch.autograd.grad((slope * weights).square().sum(), part)
    all_of_it = whole.clone().requires_grad_()
    (expected,) = torch.autograd.grad(energy(all_of_it).sum(), all_of_it, create_graph=True)
    assert torch.allclose(slope, expected[mine])
    (bent,) = torch.autograd.grad((expected * weights).square().sum(), all_of_it)
    assert torch.allclose(curved, bent[mine])

    value = part.square().mean()
    (down,) = torch.autograd.grad(mean_of_all(value).log(), part)
    (whole_down,) = torch.autograd.grad(all_of_it.square().mean().log(), all_of_it)
    assert torch.allclose(down / 2, whole_down[mine])  # what the average over both makes of it

    # Batch norm: pictures, slopes of slopes, and running statistics.
    shared, single = SharedBatchNorm(3), nn.BatchNorm2d(3, affine=False)
    for _ in range(2):
        normal = shared(part.float())
        alone = single(all_of_it.float())
    assert torch.allclose(normal, alone[mine], atol=1e-6)
    assert torch.allclose(shared.running_mean, single.running_mean)
    assert torch.allclose(shared.running_var, single.running_var)
    assert shared.state_dict().keys() == single.state_dict().keys()
    bends = []
    for output, input_ in ((normal, part), (alone, all_of_it)):
        (first,) = torch.autograd.grad((output.tanh() * weights).sum(), input_, create_graph=True)
        (second,) = torch.autograd.grad(first.square().sum(), input_)
        bends += [(first, second)]
    (mine_first, mine_second), (whole_first, whole_second) = bends
    assert torch.allclose(mine_first, whole_first[mine], atol=1e-5)
    assert torch.allclose(mine_second, whole_second[mine], atol=1e-5)

    # Weights that are no longer the same are noticed, in every process.
    require_lockstep(nn.Linear(2, 2, bias=False).requires_grad_(requires_grad=False).apply(_one), CPU)
    with pytest.raises(Exception, match="drifted apart") as found:
        require_lockstep(nn.Linear(2, 2, bias=False).requires_grad_(requires_grad=False).apply(_one if rank else _two), CPU)
    assert f"process {rank}" in str(found.value)
    require_equal("nothing", "the same", CPU)
    with pytest.raises(UsageError, match="differ in what they are told"):
        require_equal("what they are told", str(rank), CPU)


def go_back(rank: int, folder: Path) -> list[Setback]:
    """Train on after a trouble that the second process alone saw."""
    chosen = params("gan", 12, report_every=1, picture_every=1000, save_every=4, processes=2)
    run, watch = chosen.runs[0], Watch.step

    def see(self: Watch, state: TrainState, *, kept: bool) -> None:
        watch(self, state, kept=kept)
        if rank and state.step == 6 and not state.setbacks:
            raise Trouble("NOT_FINITE", "a bit fell over")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Watch, "step", see)
        keeper = SharedKeeper(None if rank else desk(folder / "states", chosen, conditions=CONDITIONS), CPU)
        model = build(run, IMAGE, CATEGORIES, CONDITIONS, seed=SEED, device=CPU)
        there = photos(conditions=CONDITIONS)
        machine = Machine.choose(chosen)
        return train(model, there, run, chosen, seed=SEED, machine=machine, log=Heard(), keeper=keeper).setbacks


def _one(module: nn.Module) -> None:
    nn.init.ones_(module.weight)  # type: ignore[arg-type]


def _two(module: nn.Module) -> None:
    nn.init.constant_(module.weight, 2.0)  # type: ignore[arg-type]


def main(folder: str) -> None:
    with join(settings("gan", 2), Path(folder)) as place:
        exchange(place.rank)
        (Path(folder) / f"exchanged-{place.rank}").touch()
        went = [(setback.step, setback.back_to) for setback in go_back(place.rank, Path(folder))]
        (Path(folder) / f"went-back-{place.rank}.json").write_text(json.dumps(went))
        for name, parts in CASES:
            state = learn(name, settings(name, 2, parts), first=place.rank == 0)
            rows = [row.values for row in state.history]
            (Path(folder) / f"{name}-{parts}-{place.rank}.json").write_text(json.dumps(rows))
