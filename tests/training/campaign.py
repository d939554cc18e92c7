"""Kill trainings of every family at every kind of place, go on, and compare every byte with a straight one's.

python -m tests.training.campaign --kills 200
"""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import tempfile
from collections import Counter
from pathlib import Path

from tests.children import forkserver
from tests.models.families import SMALL
from tests.training.kills import KINDS, STEPS, Trial, cpu_seconds, digest, killed, run_child

TIMES = {"train.step": STEPS, "train.saved": 5, "train.kept": 3, "train.buried": 1, "train.rewound": 1}
"""How often a straight training passes a place; the places of every file are passed ten times at least."""
MOST_KILLS = 3
"""Of one training, before it may go on to its end."""


def campaign(kills: int, seed: int, folder: Path) -> tuple[int, int, Counter[str]]:
    """How many of `kills` ended in the bytes of a straight training, how many there were, and where they were."""
    context, chances = forkserver(), random.Random(seed)
    trials = [Trial(family, kind) for kind in KINDS for family in SMALL]
    straight: dict[Trial, str] = {}
    equal, done, places = 0, 0, Counter[str]()
    while done < kills:
        for trial in trials:
            if trial not in straight:
                assert run_child(context, folder / "straight", trial) == 0
                straight[trial] = digest(folder / "straight")
                shutil.rmtree(folder / "straight")
            mine = 0
            for place in chances.sample(trial.places, min(MOST_KILLS, kills - done)):
                passage = chances.randint(1, TIMES.get(place, 10))
                if killed(run_child(context, folder / "killed", trial, f"{place}:{passage}:kill")):
                    mine += 1
                    places[f"{trial.family} {trial.kind}"] += 1
                    places[place] += 1
            assert run_child(context, folder / "killed", trial) == 0
            same = digest(folder / "killed") == straight[trial]
            if not same:
                sys.stderr.write(f"NOT EQUAL: {trial}\n")
            shutil.rmtree(folder / "killed")
            equal, done = equal + (mine if same else 0), done + mine
            sys.stderr.write(f"{equal} of {done}, {cpu_seconds():.0f} CPU seconds\n")
            if done >= kills:
                break
    return equal, done, places


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        equal, done, places = campaign(asked.kills, asked.seed, Path(folder))
    told = [f"{count:6d}  {place}" for place, count in sorted(places.items())]
    told += [f"{equal} of {done} kills end in the bytes of a straight training", f"{cpu_seconds():.0f} CPU seconds"]
    sys.stdout.write("\n".join(told) + "\n")
    raise SystemExit(equal != done)


if __name__ == "__main__":
    main()
