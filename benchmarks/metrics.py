"""The gate's arithmetic against scikit-image and SciPy, and its own seconds; writes benchmarks/metrics.md.

    python benchmarks/metrics.py [--photos FOLDER] [--quick]

FOLDER holds one folder a category; without it the built-in catalogue is drawn. One thread, CPU seconds, turn about, the median of
the rounds' ratios. `--quick` takes a quarter of the photos and of the features, to see that it runs: its figures mean nothing.
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

os.environ.setdefault("OMP_NUM_THREADS", "1")

import cv2
import numpy as np
import scipy
import scipy.linalg
import skimage
from numpy.typing import NDArray
from skimage.metrics import structural_similarity
from threadpoolctl import threadpool_info

from packshot.evaluation.evidence import Evidence, RealSide, Redrawn, Scores, spread
from packshot.evaluation.features import PixelEyes, train_eyes
from packshot.evaluation.frechet import Gaussian, frechet_distance
from packshot.evaluation.kept import Kept
from packshot.evaluation.metrics import due_metrics, measure
from packshot.evaluation.protocol import ExtractorParams
from packshot.evaluation.ssim import ssim
from packshot.images.decode import decode
from packshot.images.resize import fit_square
from packshot.images.shards import Split
from packshot.sources.synthetic import Synthetic

WHITE = (255, 255, 255)
ROUNDS = 5
ASKED = ("psnr", "ssim", "fd_catalog", "kid", "precision", "recall", "density", "coverage")

Pixels = NDArray[np.uint8]


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--photos", type=Path, help="photos, one folder a category")
    options.add_argument("--quick", action="store_true", help="only to see that it runs")
    chosen = options.parse_args()
    part = 4 if chosen.quick else 1
    cv2.setNumThreads(1)
    photos, categories, names = gather(chosen.photos, 4000 // part, 64)
    lines = [
        "# The gate's arithmetic",
        "",
        f"{len(photos)} {'photos of a folder' if chosen.photos else 'drawn photos'}; one thread of {os.cpu_count()} x "
        f"{platform.machine()}, Python {platform.python_version()}, NumPy {np.__version__}, SciPy {scipy.__version__}, "
        f"scikit-image {skimage.__version__}, NumPy's BLAS as for {kernel()}.",
        "",
        "| SSIM of pixels | scikit-image's Gaussian mode, pairs a second | packshot | times | differ by at most |",
        "|---:|---:|---:|---:|---:|",
        *(compare_ssim(photos, side, count // part) for side, count in ((32, 512), (64, 256), (128, 64), (256, 32))),
        "",
        "| Frechet distance of features | SciPy's sqrtm, s | packshot, s | times | differ by, relative |",
        "|---:|---:|---:|---:|---:|",
        *(compare_frechet(dims // part) for dims in (256, 2048)),
        "",
        "| of 1,000 photos drawn again and 1,000 new pictures of 64 pixels | s CPU |",
        "|---|---:|",
        *time_report(photos, categories, names),
        "",
    ]
    text = "\n".join(lines)
    print(text)
    if not chosen.quick:
        Path(__file__).with_suffix(".md").write_text(text)


def kernel() -> str:
    """For which processors the BLAS that NumPy multiplies with has chosen its code: the products of `ssim` hang on it."""
    return next(str(told["architecture"]) for told in threadpool_info() if "numpy" in told["filepath"])


def gather(folder: Path | None, count: int, size: int) -> tuple[Pixels, NDArray[np.int64], tuple[str, ...]]:
    """Up to `count` photos (N, 3, size, size), their categories and the categories' names."""
    if folder is not None:
        files = sorted(folder.glob("*/*.jpg"))
        some = [files[row] for row in sorted(np.random.default_rng(1).permutation(len(files))[:count])]
        drawn = [(file.parent.name, fit_square(decode(file.read_bytes(), background=WHITE).pixels, size, WHITE)) for file in some]
    else:
        source = Synthetic(kind="synthetic", path="src/packshot/sources/rendering", count=count, seed=7, size=size)
        drawn = [(Path(photo.name).parent.name, photo.content()) for photo in source.photos(Path.cwd())]
    names = tuple(sorted({name for name, _ in drawn}))
    photos = np.stack([pixels.transpose(2, 0, 1) for _, pixels in drawn])
    return photos, np.array([names.index(name) for name, _ in drawn], dtype=np.int64), names


def soften(photos: Pixels) -> Pixels:
    """As a model draws photos again: a little blurred, a little noisy."""
    noise = np.random.default_rng(3)
    soft = [cv2.GaussianBlur(photo.transpose(1, 2, 0), (0, 0), 1.2).transpose(2, 0, 1) for photo in photos]
    return np.clip(np.stack(soft) + noise.normal(0, 3, photos.shape), 0, 255).astype(np.uint8)


def compare_ssim(photos: Pixels, side: int, count: int) -> str:
    ways = [photo.transpose(1, 2, 0) for photo in photos[:count]]
    sized = np.stack([cv2.resize(way, (side, side), interpolation=cv2.INTER_CUBIC).transpose(2, 0, 1) for way in ways])
    again, theirs = soften(sized), np.empty(len(sized))

    def by_skimage() -> None:
        for row, (one, other) in enumerate(zip(again, sized, strict=True)):
            theirs[row] = structural_similarity(
                one, other, channel_axis=0, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=255
            )

    def by_packshot() -> NDArray[np.float64]:
        return ssim(again, sized, data_range=255)

    slow, quick, ratio = turn_about(by_skimage, by_packshot)
    difference = float(np.abs(by_packshot() - theirs).max())
    return f"| {side} | {len(sized) / slow:,.0f} | {len(sized) / quick:,.0f} | **{ratio:.1f}** | {difference:.0e} |"


def compare_frechet(dims: int) -> str:
    random = np.random.default_rng(4)
    mix = random.normal(0, dims**-0.5, (dims, dims))
    clouds = [random.normal(0, 1, (2 * dims, dims)) @ mix, random.normal(0.1, 1.1, (2 * dims, dims)) @ mix]
    one, other = (Gaussian.fit(np.maximum(cloud, 0) + 0.1 * random.normal(0, 1, cloud.shape)) for cloud in clouds)
    found = [0.0, 0.0]

    def by_scipy() -> None:
        gap, root = one.mean - other.mean, scipy.linalg.sqrtm(one.covariance @ other.covariance).real
        found[0] = float(gap @ gap + np.trace(one.covariance + other.covariance - 2 * root))

    def by_packshot() -> None:
        found[1] = frechet_distance(one, other)

    slow, quick, ratio = turn_about(by_scipy, by_packshot, rounds=3)
    return f"| {dims:,} | {slow:.2f} | {quick:.2f} | **{ratio:.1f}** | {abs(found[1] / found[0] - 1):.0e} |"


def time_report(photos: Pixels, categories: NDArray[np.int64], names: tuple[str, ...]) -> list[str]:
    """What a report says of one model, but the drawing: what is asked for most, everything, and that with the real side kept."""
    order = spread(categories)
    photos, categories = photos[order], categories[order]
    parts = [slice(start * len(photos) // 4, (start + 1) * len(photos) // 4) for start in range(4)]
    training, reference, held_out, drawn = (_split(photos[part], categories[part], part) for part in parts)
    with tempfile.TemporaryDirectory() as cache:
        eyes = train_eyes(training, len(names), ExtractorParams(epochs=1, width=16, seed=0), Path(cache))

        def meet(digest: str) -> Evidence:
            real = RealSide(
                names=names,
                training=training,
                reference=reference,
                held_out=held_out,
                unseen=held_out,
                catalog=eyes,
                pixels=PixelEyes.fit(np.asarray(training.images)),
                neighbours=5,
                seed=0,
                resamples=10_000,
                keep=Kept.open(Path(cache), digest),
            )
            nothing = Scores(np.zeros(len(held_out)), np.zeros(len(held_out)))
            again = Redrawn(held_out, soften(np.asarray(held_out.images)), "encoded", nothing, nothing)
            return Evidence(real, np.asarray(drawn.images), drawn.categories, again)

        ready = meet("a" * 64)
        few = seconds(lambda: measure(ready, ASKED))
        ready = meet("b" * 64)
        cold = seconds(lambda: measure(ready, due_metrics(ready.real)))
        ready = meet("b" * 64)
        warm = seconds(lambda: measure(ready, due_metrics(ready.real)))
    return [
        f"| {', '.join(ASKED)} | {few:.2f} |",
        f"| every metric, the real side measured too | {cold:.2f} |",
        f"| every metric, the real side kept from before | {warm:.2f} |",
    ]


def _split(photos: Pixels, categories: NDArray[np.int64], part: slice) -> Split:
    ids = tuple(f"photo-{row}" for row in range(part.start, part.stop))
    return Split(photos, categories, ids, ids)


def turn_about(slow: Callable[[], object], quick: Callable[[], object], rounds: int = ROUNDS) -> tuple[float, float, float]:
    """The median CPU seconds of both, and the median of the rounds' ratios."""
    quick()
    times = [(seconds(slow), seconds(quick)) for _ in range(rounds)]
    return (
        statistics.median(one for one, _ in times),
        statistics.median(other for _, other in times),
        statistics.median(one / other for one, other in times),
    )


def seconds(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


if __name__ == "__main__":
    main()
