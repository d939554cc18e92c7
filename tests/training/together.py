"""One process of a small training that several share: python -m tests.training.together FAMILY FOLDER [STEPS] [PARTS]."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from packshot.training.hardware import Machine
from packshot.training.keeper import Keeper
from packshot.training.launch import join
from packshot.training.loop import build, train
from packshot.training.params import TrainParams
from packshot.training.ranks import SharedKeeper
from packshot.training.state import TrainState
from packshot.training.watch import Trouble
from tests.models.families import CATEGORIES, CONDITIONS, IMAGE
from tests.training.runs import CPU, SEED, Heard, params, photos


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


def settings(name: str, steps: int, processes: int, parts: int = 1) -> TrainParams:
    """Twelve steps show every phase: reports of each step, no pictures."""
    return params(
        name, steps, report_every=1, picture_every=10**6, save_every=10**6, processes=processes, accumulate=parts, checkpoints=1
    )


def learn(name: str, chosen: TrainParams, *, first: bool = True) -> TrainState:
    """Train in this process, as one of those that `chosen` tells of."""
    run, keeper = chosen.runs[0], Memory()
    model = build(run, IMAGE, CATEGORIES, CONDITIONS, seed=SEED, device=CPU)
    shared: Keeper = keeper if chosen.processes == 1 else SharedKeeper(keeper if first else None, CPU)
    machine = Machine.choose(chosen)
    return train(model, photos(conditions=CONDITIONS), run, chosen, seed=SEED, machine=machine, log=Heard(), keeper=shared)


def main(name: str, folder: str, steps: str = "12", parts: str = "1") -> None:
    chosen = settings(name, int(steps), 2, int(parts))
    with join(chosen, Path(folder)) as place:
        state = learn(name, chosen, first=place.rank == 0)
    rows = [row.values for row in state.history]
    (Path(folder) / f"{name}-{parts}-{place.rank}.json").write_text(json.dumps(rows))


if __name__ == "__main__":
    main(*sys.argv[1:])
