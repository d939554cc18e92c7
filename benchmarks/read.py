"""Reading a prepared split against ImageFolder and Pillow, and the loader's share of a training step; writes benchmarks/read.md.

    python benchmarks/read.py [--photos FOLDER] [--count N]

FOLDER holds one folder a category; without it the built-in catalogue is drawn. Every way gives the same photos, in shuffled
batches of 64, as float32 tensors in [-1, 1] of the same values; one thread, CPU seconds, turn about, the median of the rounds'
ratios. How often quicker the split is depends on how large the originals are: they are what ImageFolder decodes.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision.datasets import ImageFolder
from torchvision.transforms import Compose, Normalize, ToTensor

from packshot.images.decode import decode
from packshot.images.pixels import to_unit
from packshot.images.resize import fit_square
from packshot.images.shards import Split, draft_pixels, keep_pixels
from packshot.models import vae
from packshot.models.base import Batch
from packshot.records import ImageSpec
from packshot.sources.synthetic import Synthetic
from packshot.training.batches import Photos

WHITE = (255, 255, 255)
BATCH, ROUNDS = 64, 5
READ_TWICE = 40
"""Epochs of the prepared split to one of the folder: what is too quick to be timed alone."""


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--photos", type=Path, help="photos, one folder a category")
    options.add_argument("--count", type=int, default=384, help="how many of them")
    chosen = options.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "photos"
        count = gather(chosen.photos, folder, chosen.count)
        lines = [
            "# Reading prepared photos",
            "",
            f"{count} {'photos of a folder' if chosen.photos else 'drawn photos of 512 x 512 pixels'} as JPEG; {machine()}",
            "",
            "| pixels | ImageFolder + Pillow, photos a second | prepared split | times | train's loader | times | differ by |",
            "|---:|---:|---:|---:|---:|---:|---:|",
            *(compare_reading(folder, Path(scratch), size) for size in (64, 32)),
            "",
            "| training step of the default VAE, batch of 64 | ms CPU | of it the loader |",
            "|---|---:|---:|",
            *(share_of_step(folder, Path(scratch), size) for size in (64, 32)),
            "",
        ]
    text = "\n".join(lines)
    print(text)
    Path(__file__).with_suffix(".md").write_text(text)


def machine() -> str:
    return (
        f"one thread of {os.cpu_count()} x {platform.machine()}, Python {platform.python_version()}, torch {torch.__version__}."
    )


def gather(photos: Path | None, folder: Path, count: int) -> int:
    """Put `count` JPEGs into `folder`, by category."""
    if photos is not None:
        files = sorted(photos.glob("*/*.jpg"))
        for number in np.random.default_rng(1).choice(len(files), min(count, len(files)), replace=False):
            place = folder / files[number].parent.name / files[number].name
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(files[number].read_bytes())
    else:
        source = Synthetic(kind="synthetic", path="src/packshot/sources/rendering", count=count, seed=7, size=512)
        for photo in source.photos(Path.cwd()):
            place = (folder / photo.name).with_suffix(".jpg")
            place.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(photo.content()).save(place, quality=90)
    return len(list(folder.glob("*/*.jpg")))


def squared(image: Image.Image, size: int) -> Image.Image:
    """What prepare does, in Pillow's words: on a white square, itself in the middle, scaled with antialiasing."""
    side = max(image.size)
    square = Image.new("RGB", (side, side), WHITE)
    square.paste(image, ((side - image.width) // 2, (side - image.height) // 2))
    return square.resize((size, size), Image.Resampling.BICUBIC)


def as_folder(folder: Path, size: int) -> ImageFolder:
    ways = Compose([lambda image: squared(image, size), ToTensor(), Normalize([0.5] * 3, [0.5] * 3)])
    return ImageFolder(str(folder), ways)


def as_split(folder: Path, scratch: Path, size: int) -> Split:
    """The same files packed as prepare packs them, opened as train opens them."""
    files = ImageFolder(str(folder)).samples
    with draft_pixels(scratch, "train", len(files), size) as pixels:
        for row, (path, _) in enumerate(files):
            decoded = decode(Path(path).read_bytes(), background=WHITE).pixels
            pixels[row] = fit_square(decoded, size, WHITE).transpose(2, 0, 1)
    images = np.load(scratch / keep_pixels(scratch, "train").name, mmap_mode="r")
    names = tuple(path for path, _ in files)
    return Split(images, np.array([category for _, category in files], dtype=np.int64), names, names)


def compare_reading(folder: Path, scratch: Path, size: int) -> str:
    there, split = as_folder(folder, size), as_split(folder, scratch, size)
    pixels, ours = split.images, Photos.resident(split, (), torch.device("cpu"))
    count = len(ours)
    order = np.random.default_rng(2).permutation(count)

    def read_folder() -> Tensor:
        for start in range(0, count, BATCH):
            batch = torch.stack([there[row][0] for row in order[start : start + BATCH].tolist()])
        return batch

    def read_split() -> Tensor:
        for step in range(READ_TWICE * count // BATCH):
            start = step * BATCH % (count - BATCH + 1)
            batch = to_unit(torch.from_numpy(pixels[np.sort(order[start : start + BATCH])]))
        return batch

    def load_batches() -> Tensor:
        for step in range(READ_TWICE * count // BATCH):
            batch = ours.batch(3, step, BATCH, flips=False).images
        return batch

    rows = torch.arange(min(count, BATCH))
    same = torch.stack([there[int(row)][0] for row in rows])
    mine = next(iter(ours.every(flips=False))).images[: len(rows)]
    difference = float((same - mine).abs().max())
    ways = {
        read_folder: count,
        read_split: READ_TWICE * count // BATCH * BATCH,
        load_batches: READ_TWICE * count // BATCH * BATCH,
    }
    for way in ways:
        way()
    times = [[seconds(way) / read for way, read in ways.items()] for _ in range(ROUNDS)]
    slow, quick, loaded = (1 / statistics.median(column) for column in zip(*times, strict=True))
    ratios = [statistics.median(row[0] / row[way] for row in times) for way in (1, 2)]
    return f"| {size} | {slow:,.0f} | {quick:,.0f} | **{ratios[0]:,.0f}** | {loaded:,.0f} | {ratios[1]:,.0f} | {difference:.4f} |"


def share_of_step(folder: Path, scratch: Path, size: int) -> str:
    """The loader's part: a step on the next batch of photos less the same step on a batch that is already there."""
    ours = Photos.resident(as_split(folder, scratch, size), (), torch.device("cpu"))
    model = vae.Config(family="vae").build(ImageSpec(size=size), tuple(ImageFolder(str(folder)).classes))
    phases = [phase for phase in model.phases() if phase.start == 0.0]

    def work(batch: Batch) -> None:
        for phase in phases:
            phase.loss(batch).total.backward()

    constant = ours.batch(3, 0, BATCH, flips=True)
    work(constant)
    steps, loads = [], []
    for _ in range(4 * ROUNDS):
        steps.append(seconds(lambda: work(constant)))
        loads.append(seconds(lambda: [ours.batch(3, step, BATCH, flips=True) for step in range(10)]) / 10)
    whole, load = statistics.median(steps), statistics.median(loads)
    return f"| {size} px | {1000 * (whole + load):.1f} | {load / (whole + load):.2%} |"


def seconds(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


if __name__ == "__main__":
    main()
