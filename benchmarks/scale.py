"""What the catalogue costs as it grows: from nothing, and with one more photo; writes benchmarks/scale.md.

    python benchmarks/scale.py [--sizes N ...] [--folder WORK]

For each size a project of its own is made in WORK (about 60 kB a photo; removed afterwards), and the commands are run as a user
runs them: `packshot catalog add`, `ingest`, `validate`, `prepare`, then everything once more with one photo more. CPU seconds are
those of the command and all its processes; memory is the command's own peak. The photos are smooth random colour fields, unique
JPEGs of 128 x 128 px, so that decoding is real and no two are copies.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import psutil
import yaml

ROOT = Path(__file__).parents[1]
REPORT = Path(__file__).with_suffix(".md")
SIZES = (4_000, 20_000, 100_000, 200_000)
FAR = 4_000_000
CATEGORIES = 10
STEPS = ("catalog add", "ingest", "validate", "prepare")
GROWN = tuple(f"{step}, one photo more" for step in STEPS)
INGEST = {"source": {"kind": "catalog", "path": "data/catalog"}, "side": 128, "duplicate_radius": 10}
PREPARE = {"image": {"size": 64}, "val_share": 0.1, "test_share": 0.1, "min_photos": 1}


@dataclass(frozen=True)
class Cost:
    """Of one command."""

    wall: float
    cpu: float
    memory: int


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--sizes", type=int, nargs="+", default=SIZES, help="photos, from small to large")
    options.add_argument("--folder", type=Path, help="where there is room; a temporary folder otherwise")
    chosen = options.parse_args()
    cv2.setNumThreads(1)
    costs: dict[int, dict[str, Cost]] = {}
    with tempfile.TemporaryDirectory(dir=chosen.folder) as work:
        photos = Path(work) / "photos"
        for size in sorted(chosen.sizes):
            print(f"== {size:,} photos", flush=True)
            write_photos(photos, range(sum(1 for _ in photos.glob("*/*.jpg")), size))
            costs[size] = measure(Path(work) / str(size), photos, size)
            REPORT.write_text(describe(costs))
    print(REPORT.read_text())


def write_photos(folder: Path, numbers: Iterable[int]) -> None:
    """Unique smooth photos, in ten categories."""
    for number in numbers:
        category = folder / f"category {number % CATEGORIES}"
        category.mkdir(parents=True, exist_ok=True)
        coarse = np.random.default_rng(number).integers(0, 256, (6, 6, 3), dtype=np.uint8)
        picture = cv2.resize(coarse, (128, 128), interpolation=cv2.INTER_CUBIC)
        (category / f"{number:08d}.jpg").write_bytes(cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 92])[1].tobytes())


def measure(root: Path, photos: Path, size: int) -> dict[str, Cost]:
    """Every command on `size` photos, then on one more; the project and that photo are removed."""
    make_project(root)
    costs = {}
    try:
        for names in (STEPS, GROWN):
            for name in names:
                command = name.partition(",")[0].split()
                found = run([*command, str(photos)] if command[0] == "catalog" else command, root)
                if found is None:
                    break
                costs[name] = found
                print(f"{name:32} {found.wall:8.1f} s {found.cpu:8.1f} CPU s {found.memory / 1e6:8.0f} MB", flush=True)
            if names is STEPS:
                if found := run(["ingest"], root):
                    costs["ingest, nothing new"] = found
                write_photos(photos, [size])
    finally:
        (photos / f"category {size % CATEGORIES}" / f"{size:08d}.jpg").unlink(missing_ok=True)
        shutil.rmtree(root)
    return costs


def make_project(root: Path) -> None:
    root.mkdir(parents=True)
    content = yaml.safe_load((ROOT / "params.yaml").read_text())
    absent = content["ingest"]["attributes"]
    content["ingest"], content["prepare"] = INGEST, PREPARE
    every = content["validate"]["expectations"]
    content["validate"]["expectations"] = [one for one in every if one.get("column", one.get("drift")) not in absent]
    (root / "params.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    for command in ("git init -q", "dvc init -q", "dvc config core.analytics false", "dvc config core.check_update false"):
        subprocess.run(command.split(), cwd=root, check=True, env=environment(root))


def environment(root: Path) -> dict[str, str]:
    tools = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "PATH": tools, "DVC_SITE_CACHE_DIR": str(root / "var" / "dvc"), "OMP_NUM_THREADS": "1"}


def run(words: list[str], root: Path) -> Cost | None:
    """Run `packshot WORDS` and watch it and all processes that it starts; None where it fails."""
    begun = time.monotonic()
    with (root / "command.log").open("wb") as log:
        process = psutil.Popen(["packshot", *words], cwd=root, env=environment(root), stdout=log, stderr=log)
        spent: dict[tuple[int, float], float] = {}
        memory = 0
        while process.poll() is None:
            memory = max(memory, watch(process, spent))
            time.sleep(0.05)
    if process.returncode:
        print(
            f"packshot {' '.join(words)} ended with {process.returncode}: {(root / 'command.log').read_text()[-600:]}", flush=True
        )
        return None
    return Cost(time.monotonic() - begun, sum(spent.values()), memory)


def watch(process: psutil.Popen, spent: dict[tuple[int, float], float]) -> int:
    """Note the CPU seconds of the process and all below it, each its own; gives back the process's resident bytes."""
    memory = 0
    try:
        memory = process.memory_info().rss
        for one in (process, *process.children(recursive=True)):
            times = one.cpu_times()
            spent[one.pid, one.create_time()] = times.user + times.system
    except psutil.Error:
        pass
    return memory


def describe(costs: dict[int, dict[str, Cost]]) -> str:
    small, large = min(costs), max(costs)
    lines = [
        "# Scale: what the catalogue costs as it grows",
        "",
        "Unique random JPEGs of 128 x 128 px, kept at 128 px, packed by `catalog add` under DVC, prepared at 64 px; each command",
        "as a user runs it, its start included. CPU seconds are those of all processes together; wall seconds depend on the load",
        f"({platform.machine()}, {os.cpu_count()} cores shared with others, Python {platform.python_version()}, "
        f"load {os.getloadavg()[0]:.1f}).",
        "",
    ]
    lines += ["## From nothing", "", *table(costs, STEPS, each=True), ""]
    lines += ["## One photo more", "", *table(costs, (*GROWN, "ingest, nothing new"), each=False), ""]
    if large > small:
        lines += ["## Four million photos", "", *extrapolate(costs, small, large), ""]
    return "\n".join(lines)


def table(costs: dict[int, dict[str, Cost]], steps: Iterable[str], *, each: bool) -> list[str]:
    head = "CPU ms a photo | of the smallest's" if each else "of the smallest's CPU"
    lines = [
        f"| command | photos | wall s | CPU s | {head} | peak memory, MB |",
        f"|---|---|---|---|{'---|' * (3 if each else 2)}",
    ]
    for step in steps:
        found = [(size, of[step]) for size, of in sorted(costs.items()) if step in of]
        for size, cost in found:
            first_size, first = found[0]
            ratio = cost.cpu / first.cpu * (first_size / size if each else 1)
            cells = [step, f"{size:,}", f"{cost.wall:.1f}", f"{cost.cpu:.1f}"]
            cells += [f"{1000 * cost.cpu / size:.2f}"] if each else []
            lines.append("| " + " | ".join([*cells, f"{ratio:.2f}", f"{cost.memory / 1e6:.0f}"]) + " |")
    return lines


def extrapolate(costs: dict[int, dict[str, Cost]], small: int, large: int) -> list[str]:
    """Straight on from the smallest and the largest size: a guess, and said to be one."""

    def ahead(step: str, value: Callable[[Cost], float]) -> tuple[float, float]:
        low, high = value(costs[small][step]), value(costs[large][step])
        slope = (high - low) / (large - small)
        return slope, high + slope * (FAR - large)

    lines = [
        f"Nobody ran this: straight lines through {small:,} and {large:,} photos, continued {FAR / large:.0f} times as far.",
        "Sorting grows a little faster than a line, and a disk or a memory that is too small ends it sooner.",
        "",
        f"| command | CPU us a further photo | CPU s at {FAR:,} | bytes of memory a further photo | GB of memory at {FAR:,} |",
        "|---|---|---|---|---|",
    ]
    for step in (*STEPS, *GROWN):
        if step in costs[small] and step in costs[large]:
            each, spent = ahead(step, lambda cost: cost.cpu)
            weight, memory = ahead(step, lambda cost: float(cost.memory))
            lines.append(f"| {step} | {1e6 * each:.0f} | {spent:,.0f} | {weight:,.0f} | {memory / 1e9:.1f} |")
    return lines


if __name__ == "__main__":
    main()
