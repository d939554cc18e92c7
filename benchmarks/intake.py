"""What it costs to take photos in through processes that may die: CPU seconds, against calling `take` in bare loops.

Two loops at once are compared with two processes, since two cores that share a cache or a unit slow each other down. Variants in
turn, the median of the rounds' ratios. The photos are 192 x 256 JPEGs of drawn products.
"""

from __future__ import annotations

import io
import os
import platform
import statistics
import tempfile
import time
from pathlib import Path

import cv2
import psutil
from PIL import Image

from packshot.images.decode import Recipe
from packshot.sources import intake
from packshot.sources.base import File, Photo
from packshot.sources.synthetic import draw

ROUNDS = 5
PHOTOS = 2048
DRAWN = 64
RECIPE = Recipe(side=256, background="#ffffff")
REPORT = Path(__file__).with_suffix(".md")


def main() -> None:
    cv2.setNumThreads(1)
    loops: dict[int, list[float]] = {1: [], 2: []}
    crews: dict[int, list[float]] = {1: [], 2: []}
    with tempfile.TemporaryDirectory() as folder:
        photos = make_photos(Path(folder))
        take_in_processes(photos[:DRAWN], 1)  # starts the server that the processes are forked from
        for _ in range(ROUNDS):
            for count, spent in loops.items():
                spent.append(take_in_loops(photos, count))
                crews[count].append(take_in_processes(photos, count))
    REPORT.write_text(describe(loops, crews))
    print(REPORT.read_text())


def describe(loops: dict[int, list[float]], crews: dict[int, list[float]]) -> str:
    lines = [
        "# Intake: what processes that may die cost",
        "",
        f"{PHOTOS:,} JPEGs of 192 x 256 px, {ROUNDS} rounds, CPU seconds of all processes together, their start included "
        f"({machine()}).",
        "",
        "| at once | photos per CPU second: bare loops | crew | CPU seconds of the crew, of the loops' (median) | from | to |",
        "|---|---|---|---|---|---|",
    ]
    for count, bare in loops.items():
        ratios = [own / other for own, other in zip(crews[count], bare, strict=True)]
        rates = [f"{PHOTOS / statistics.median(seconds):.0f}" for seconds in (bare, crews[count])]
        lines.append(
            f"| {count} | {rates[0]} | {rates[1]} | {statistics.median(ratios):.3f} | {min(ratios):.3f} | {max(ratios):.3f} |"
        )
    return "\n".join(lines) + "\n"


def machine() -> str:
    load = os.getloadavg()[0]
    return f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, load {load:.1f}"


def make_photos(folder: Path) -> list[Photo]:
    for index in range(DRAWN):
        buffer = io.BytesIO()
        Image.fromarray(draw(0, index, 256)[:, 32:224]).save(buffer, "JPEG", quality=90)
        (folder / f"{index}.jpg").write_bytes(buffer.getvalue())
    return [Photo(name=str(at), category="c", content=File(folder / f"{at % DRAWN}.jpg")) for at in range(PHOTOS)]


def take_in_loops(photos: list[Photo], count: int) -> float:
    """CPU seconds of `count` forks, each with its share of the photos."""
    forks = []
    for share in range(count):
        if not (fork := os.fork()):
            for photo in photos[share::count]:
                assert isinstance(intake.take(photo, RECIPE), intake.Intake)
            os._exit(0)
        forks.append(fork)
    spent = [os.wait4(fork, 0)[2] for fork in forks]
    return sum(one.ru_utime + one.ru_stime for one in spent)


def take_in_processes(photos: list[Photo], count: int) -> float:
    """CPU seconds of the crew, of the server that forks it and of this process."""
    intake.count_cores = lambda: count
    before = cpu_seconds()
    assert all(isinstance(one, intake.Intake) for one in intake.take_all(photos, RECIPE))
    return cpu_seconds() - before


def cpu_seconds() -> float:
    """Of this process and of the servers that it has started, with all their children that have ended."""
    servers = psutil.Process().children()
    while any(server.children() for server in servers):
        time.sleep(0.01)
    return time.process_time() + sum(sum(server.cpu_times()[:4]) for server in servers)


if __name__ == "__main__":
    main()
