"""What it costs to look at photos and to judge them, and what suspicion finds; writes benchmarks/validate.md.

    python benchmarks/validate.py [--photos FOLDER] [--sizes N ...]

The photos are those of FOLDER, a folder a category, or the drawn ones of params.yaml. One thread, CPU seconds. The suite is that
of params.yaml, over tables that are the photos' own rows drawn again and again; Great Expectations is imported before the clock
starts. Suspicion is tried on labels of which 5 % are moved to another category, in five draws.
"""

from __future__ import annotations

import argparse
import os
import platform
import resource
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from datetime import date
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"

import cv2
import numpy as np
import pandas as pd

from packshot.adapters.expectations import Table, check
from packshot.images.fingerprint import fingerprint
from packshot.images.measure import describe_shape, measure
from packshot.images.resize import fit_within
from packshot.params import load_params
from packshot.sources.base import Encoded, Photo
from packshot.sources.drift import describe_catalog
from packshot.sources.expected import Judged
from packshot.sources.rules import photo_rules, table_columns
from packshot.sources.suspicion import FOLDS, find_suspects

ROOT = Path(__file__).parents[1]
ROUNDS = 5
SWAPPED = 0.05


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--photos", type=Path, help="photos, one folder a category")
    options.add_argument("--sizes", type=int, nargs="+", default=(10_000, 200_000))
    chosen = options.parse_args()
    cv2.setNumThreads(1)
    categories, pictures = zip(*(read(chosen.photos) if chosen.photos else draw()), strict=True)
    labels = np.unique(categories, return_inverse=True)[1]
    some = pictures[:: max(1, len(pictures) // 300)]
    kind = "real" if chosen.photos else "drawn"
    told = f"{len(pictures):,} {kind} photos at 128 px, one thread, CPU time, median of {ROUNDS} rounds; {platform.machine()}."
    lines = ["# Judging photos", "", told, ""]
    lines += ["| of one photo | ms |", "|---|---|"]
    for name, look in (("measures", measure), ("shape", describe_shape), ("fingerprint", fingerprint)):
        lines.append(f"| {name} | {1000 * cost(lambda look=look: [look(one) for one in some]) / len(some):.3f} |")
    shapes = np.stack([np.frombuffer(describe_shape(one), dtype=np.uint8) for one in pictures])
    layouts = np.stack([np.frombuffer(fingerprint(one).layout, dtype=np.uint8) for one in pictures])
    lines += ["", "| suspicion, 5 % of the labels moved | listed | right | found | a random list |", "|---|---|---|---|---|"]
    lines += [suspicion(shapes, layouts, labels, seed) for seed in range(5)]
    lines += ["", "| photos | suite, s | suspicion, s | memory, MB |", "|---|---|---|---|"]
    measures = pd.DataFrame([asdict(measure(one)) for one in pictures])
    lines += [scale(size, measures, shapes, layouts, labels) for size in sorted(chosen.sizes)]
    text = "\n".join(lines) + "\n"
    print(text)
    Path(__file__).with_suffix(".md").write_text(text)


def read(folder: Path) -> Iterator[tuple[str, np.ndarray]]:
    """Category and picture of each photo of a folder."""
    for path in sorted(folder.glob("*/*.*")):
        yield path.parent.name, fit_within(cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB), 128)


def draw() -> Iterator[tuple[str, np.ndarray]]:
    """Category and picture of each photo that params.yaml draws."""
    for photo in load_params(ROOT / "params.yaml").ingest.source.photos(ROOT):
        if isinstance(photo, Photo) and not isinstance(photo.content, Encoded):
            yield photo.category, fit_within(photo.content(), 128)


def cost(work: Callable[[], object]) -> float:
    """Median CPU seconds."""
    found = []
    for _ in range(ROUNDS):
        start = time.process_time()
        work()
        found.append(time.process_time() - start)
    return float(np.median(found))


def suspicion(shapes: np.ndarray, layouts: np.ndarray, labels: np.ndarray, seed: int) -> str:
    chance = np.random.default_rng(seed)
    moved = chance.random(len(labels)) < SWAPPED
    wrong = np.where(moved, (labels + chance.integers(1, labels.max() + 1, len(labels))) % (labels.max() + 1), labels)
    found = find_suspects(shapes, layouts, wrong, chance.integers(0, FOLDS, len(labels)))
    right = moved[found.rows]
    shares = (right.mean(), right.sum() / moved.sum(), moved.mean())
    return f"| draw {seed}: {moved.sum()} moved | {len(right)} | {' | '.join(f'{share:.0%}' for share in shares)} |"


def scale(size: int, measures: pd.DataFrame, shapes: np.ndarray, layouts: np.ndarray, labels: np.ndarray) -> str:
    import great_expectations  # noqa: F401

    params = load_params(ROOT / "params.yaml")
    kinds = table_columns("photos", params.ingest.attributes)
    rows = np.random.default_rng(0).integers(0, len(labels), size)
    names = pd.Series([f"{number:064x}" for number in range(size)], dtype=object)
    frame = measures.iloc[rows].reset_index(drop=True).assign(sha256=names, pixels=names, path=names)
    frame = frame.assign(category=labels[rows].astype(str).astype(object), format="PNG", copies=1, copy_group=np.nan)
    for name in set(kinds) - set(frame):
        frame[name] = 1.0 if kinds[name] == "number" else pd.Series([None] * size, dtype=object)
    start = time.process_time()
    profile = describe_catalog("0" * 64, frame, {name: kind for name, kind in kinds.items() if kind in {"number", "label"}})
    with tempfile.TemporaryDirectory() as docs:
        rules = photo_rules(params.validate_, Judged(date(2026, 1, 1), profile))
        check([Table("photos", frame, "path", rules)], Path(docs))
    suite = time.process_time() - start
    folds = np.random.default_rng(1).integers(0, FOLDS, size)
    start = time.process_time()
    find_suspects(shapes[rows], layouts[rows], labels[rows], folds)
    found = time.process_time() - start
    return f"| {size:,} | {suite:.1f} | {found:.1f} | {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024:,} |"


if __name__ == "__main__":
    main()
