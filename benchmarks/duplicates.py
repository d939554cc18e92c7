"""How finding near-duplicates grows with the catalogue, and how many planted copies it finds; writes benchmarks/duplicates.md.

    python benchmarks/duplicates.py [--photos FOLDER] [--largest N]

FOLDER holds one folder a category; without it the built-in catalogue is drawn. The larger catalogues are made from those photos:
each new one is a blend of two of a category, moved, zoomed and recoloured far beyond what a copy is, so that shapes stay as
clustered as a shop's are and no two are copies by construction.
"""

from __future__ import annotations

import argparse
import io
import multiprocessing
import os
import platform
import resource
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageEnhance

from packshot.images.decode import decode
from packshot.images.fingerprint import Fingerprints, fingerprint, near_duplicates
from packshot.images.resize import fit_within
from packshot.sources.synthetic import Synthetic

Pixels = NDArray[np.uint8]

RADII = (10, 14)
PLANTED = 300
WHITE = (255, 255, 255)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--photos", type=Path, help="photos, one folder a category")
    options.add_argument("--largest", type=int, default=200_000, help="photos of the largest catalogue")
    chosen = options.parse_args()
    photos = read(chosen.photos) if chosen.photos else draw(1500)
    sizes = [size for size in (4_000, 20_000, 200_000) if size <= chosen.largest]
    lines = [
        "# Near-duplicates: growth and quality",
        "",
        f"{'Photos of a folder' if chosen.photos else 'The built-in catalogue'}, {len(photos)} of them; {machine()}",
        "",
        *growth(photos, sizes),
        "",
        *quality(photos),
        "",
    ]
    text = "\n".join(lines)
    print(text)
    Path(__file__).with_suffix(".md").write_text(text)


def machine() -> str:
    return f"one thread of {os.cpu_count()} x {platform.machine()}, Python {platform.python_version()}, NumPy {np.__version__}."


def read(folder: Path) -> list[tuple[str, Pixels]]:
    files = sorted(folder.glob("*/*.jpg"))
    return [(file.parent.name, decode(file.read_bytes(), background=WHITE).pixels) for file in files]


def draw(count: int) -> list[tuple[str, Pixels]]:
    source = Synthetic(kind="synthetic", path="src/packshot/sources/rendering", count=count, seed=7, size=128)
    return [(photo.category, photo.content()) for photo in source.photos(Path.cwd())]


# --- growth -----------------------------------------------------------------------------------------------------------------


def growth(photos: list[tuple[str, Pixels]], sizes: list[int]) -> list[str]:
    lines = [
        "| catalogue | photos | radius | pairs | CPU s | µs a photo | 10 new ones, CPU s | peak memory, MB |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    made = {"blends of photos": blends(photos, sizes[-1]), "random": random_prints(sizes[-1])}
    for name, prints in made.items():
        for size in sizes:
            some = Fingerprints(prints.hashes[:size], prints.mirrored[:size], prints.layouts[:size])
            for radius in RADII:
                pairs, seconds, peak = in_a_child(some, radius, None)
                new = np.arange(size) >= size - 10
                _, more, _ = in_a_child(some, radius, new)
                times = f"{seconds:.1f} | {seconds / size * 1e6:.0f} | {more:.2f}"
                lines.append(f"| {name} | {size:,} | {radius} | {pairs:,} | {times} | {peak:.0f} |")
                print(lines[-1], flush=True)
    return lines


def in_a_child(prints: Fingerprints, radius: int, new: NDArray[np.bool_] | None) -> tuple[int, float, float]:
    """Pairs, CPU seconds and the rise of the peak memory of one search, in a process of its own."""
    ours, theirs = multiprocessing.Pipe(duplex=False)
    child = multiprocessing.get_context("fork").Process(target=_search, args=(prints, radius, new, theirs))
    child.start()
    told = ours.recv()
    child.join()
    return told


def _search(prints: Fingerprints, radius: int, new: NDArray[np.bool_] | None, back: Connection) -> None:
    near_duplicates(Fingerprints(prints.hashes[:64], prints.mirrored[:64], prints.layouts[:64]), radius)
    before, start = peak_megabytes(), time.process_time()
    pairs = near_duplicates(prints, radius, new=new)
    back.send((len(pairs), time.process_time() - start, peak_megabytes() - before))


def peak_megabytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def blends(photos: list[tuple[str, Pixels]], count: int) -> Fingerprints:
    """Fingerprints of `count` pictures, the photos themselves first."""
    chances = np.random.default_rng(11)
    small = [np.asarray(Image.fromarray(pixels).resize((48, 48), Image.Resampling.BOX)) for _, pixels in photos]
    kinds: dict[str, list[int]] = {}
    for index, (category, _) in enumerate(photos):
        kinds.setdefault(category, []).append(index)
    prints = [fingerprint(fit_within(pixels, 128)) for _, pixels in photos[:count]]
    while len(prints) < count:
        one = int(chances.integers(len(photos)))
        other = int(chances.choice(kinds[photos[one][0]]))
        share = chances.uniform(0.35, 0.65)
        colours = small[one] * share * chances.uniform(0.7, 1.2, 3) + small[other] * (1 - share) * chances.uniform(0.7, 1.2, 3)
        mixed = Image.fromarray(np.clip(colours, 0, 255).astype(np.uint8))
        left, top, right, bottom = chances.uniform(0, 6, 4)
        moved = mixed.resize((32, 32), Image.Resampling.BILINEAR, box=(left, top, 48 - right, 48 - bottom))
        prints.append(fingerprint(np.asarray(moved)))
    return Fingerprints.of(prints)


def random_prints(count: int) -> Fingerprints:
    """Fingerprints of `count` pictures of smooth noise."""
    chances = np.random.default_rng(12)
    coarse = chances.integers(0, 256, (count, 5, 5, 3), dtype=np.uint8)
    return Fingerprints.of(
        [fingerprint(np.asarray(Image.fromarray(one).resize((32, 32), Image.Resampling.BICUBIC))) for one in coarse]
    )


# --- quality ----------------------------------------------------------------------------------------------------------------


def recompress(pixels: Pixels) -> Pixels:
    sink = io.BytesIO()
    Image.fromarray(pixels).save(sink, "JPEG", quality=60)
    return np.asarray(Image.open(io.BytesIO(sink.getvalue())))


def scale(pixels: Pixels, factor: float) -> Pixels:
    size = (round(pixels.shape[1] * factor), round(pixels.shape[0] * factor))
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC))


def crop(pixels: Pixels, share: float, chances: np.random.Generator) -> Pixels:
    """Take `share` of each axis away, somewhere between all on one side and all on the other."""
    height, width = pixels.shape[:2]
    down, across = round(height * share), round(width * share)
    top, left = chances.integers(0, down + 1), chances.integers(0, across + 1)
    return pixels[top : height - (down - top), left : width - (across - left)]


def recolour(pixels: Pixels, chances: np.random.Generator) -> Pixels:
    """Brightness within 8 %, saturation within 15 %, hue within 5 degrees."""
    picture = ImageEnhance.Brightness(Image.fromarray(pixels)).enhance(chances.uniform(0.92, 1.08))
    picture = ImageEnhance.Color(picture).enhance(chances.uniform(0.85, 1.15))
    channels = np.array(picture.convert("HSV"))
    channels[..., 0] = (channels[..., 0].astype(int) + round(chances.uniform(-5, 5) / 360 * 256)) % 256
    return np.asarray(Image.fromarray(channels, "HSV").convert("RGB"))


def mirror(pixels: Pixels) -> Pixels:
    return np.ascontiguousarray(pixels[:, ::-1])


KINDS: dict[str, Callable[[Pixels, np.random.Generator], Pixels]] = {
    "half the size": lambda pixels, _: scale(pixels, 0.5),
    "JPEG q60": lambda pixels, _: recompress(pixels),
    "2 pixels cropped at each edge": lambda pixels, _: pixels[2:-2, 2:-2],
    "3 % of each axis cropped": lambda pixels, chances: crop(pixels, 0.03, chances),
    "mirrored": lambda pixels, _: mirror(pixels),
    "recoloured slightly": recolour,
    "all at once": lambda pixels, chances: recompress(
        scale(mirror(recolour(crop(pixels[2:-2, 2:-2], 0.03, chances), chances)), 0.75)
    ),
    "beyond what is promised: 3 % cropped at each edge": lambda pixels, _: pixels[
        round(pixels.shape[0] * 0.03) : -round(pixels.shape[0] * 0.03),
        round(pixels.shape[1] * 0.03) : -round(pixels.shape[1] * 0.03),
    ],
}


def quality(photos: list[tuple[str, Pixels]]) -> list[str]:
    chances = np.random.default_rng(5)
    originals = [fingerprint(fit_within(pixels, 128)) for _, pixels in photos]
    picked = np.sort(chances.choice(len(photos), min(PLANTED, len(photos) // 2), replace=False))
    known = {tuple(pair) for pair in near_duplicates(Fingerprints.of(originals), max(RADII)).tolist()}
    lines = [
        f"{len(picked)} copies of each kind, planted one kind at a time; a false pair touches a copy and was not planted.",
        "",
        "| copies | " + " | ".join(f"recall, radius {radius} | false pairs" for radius in RADII) + " |",
        "|---|" + "---:|---:|" * len(RADII),
    ]
    found = dict.fromkeys(RADII, 0)
    wrong = dict.fromkeys(RADII, 0)
    for name, change in KINDS.items():
        copies = [fingerprint(fit_within(np.ascontiguousarray(change(photos[row][1], chances)), 128)) for row in picked]
        prints = Fingerprints.of([*originals, *copies])
        planted = {(int(row), len(photos) + place) for place, row in enumerate(picked)}
        cells = []
        for radius in RADII:
            pairs = {
                tuple(pair) for pair in near_duplicates(prints, radius, new=np.arange(len(prints.hashes)) >= len(photos)).tolist()
            }
            false = {pair for pair in pairs - planted if not is_known(pair, known, planted)}
            cells.append(f"{len(pairs & planted) / len(planted):.1%} | {len(false)}")
            if not name.startswith("beyond"):
                found[radius] += len(pairs & planted)
                wrong[radius] += len(false)
        lines.append(f"| {name} | {' | '.join(cells)} |")
    kinds = sum(not name.startswith("beyond") for name in KINDS)
    total = " | ".join(
        f"{found[radius] / (kinds * len(picked)):.1%} | {wrong[radius]} ({wrong[radius] / (found[radius] + wrong[radius]):.2%})"
        for radius in RADII
    )
    return [*lines, f"| **all kinds that are promised** | {total} |"]


def is_known(pair: tuple[int, int], known: set[tuple[int, int]], planted: set[tuple[int, int]]) -> bool:
    """Whether a pair only repeats that a copy's original is itself one of a pair."""
    origin = {copy: row for row, copy in planted}
    one, other = (origin.get(end, end) for end in pair)
    return (min(one, other), max(one, other)) in known


if __name__ == "__main__":
    main()
