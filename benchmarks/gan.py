"""The family `gan` against the DCGAN of the textbooks, at equal CPU seconds; writes benchmarks/gan.md and docs/pictures/gan.png.

    python benchmarks/gan.py [--photos FOLDER] [--seconds N] [--seed N] [--recipes NAME ...]

Each recipe is timed over a few steps, and trained for as many as fit into N CPU seconds of one thread, its own schedule stretched
over them; the seconds spent are told. Scores are those of the stage `evaluate`, by its own instruments. Without FOLDER the
built-in catalogue is drawn.
"""

from __future__ import annotations

import argparse
import os
import platform
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from packshot.errors import TrainingFailed
from packshot.evaluation.attributes import borrow_conditions
from packshot.evaluation.evidence import Evidence, RealSide, apportion
from packshot.evaluation.metrics import measure
from packshot.evaluation.scoring import draw, gather_real_side
from packshot.images.pixels import to_pixels
from packshot.images.shards import load_split
from packshot.images.sheet import Pixels, add_title, contact_sheet, encode_png
from packshot.layout import Layout
from packshot.models import gan
from packshot.models.base import ImageModel
from packshot.params import Params, load_params
from packshot.records import Dataset
from packshot.sources.folder import Folder
from packshot.stages.ingest import ingest
from packshot.stages.prepare import prepare
from packshot.training.batches import Photos
from packshot.training.hardware import Machine
from packshot.training.loop import build, train
from packshot.training.params import Run
from packshot.training.state import TrainState
from packshot.training.watch import Trouble

ROOT = Path(__file__).parents[1]
PICTURE = ROOT / "docs" / "pictures" / "gan.png"
DCGAN = gan.Config(
    upsampling="transposed",
    critic="normalised",
    loss="non_saturating",
    recognition=0.0,
    learning_rate=2e-4,
    momentum=0.5,
    final_share=1.0,
    penalty=0.0,
    augment=None,
    half_life=0,
)
"""As the public example trains it: swapped labels, batch norm in both networks, Adam at 2e-4, no average of weights."""
RECIPES: Mapping[str, gan.Config] = {
    "gan, as it is by default": gan.Config(),
    "DCGAN: cross entropy": DCGAN,
    "the default with cross entropy": gan.Config(loss="non_saturating"),
    "the default with the hinge": gan.Config(loss="hinge"),
    "the default with the minimax game": gan.Config(loss="bce"),
}
TRIAL = 16
SCORES = {
    "kid": "KID",
    "kid_pixels": "KID of pixels",
    "recall": "recall",
    "coverage": "coverage",
    "class_consistency": "class consistency",
    "intra_class_ssim": "likeness within a category",
}
SHOWN, COLUMNS = 6, 8


@dataclass(frozen=True, slots=True)
class Shop:
    """A prepared catalogue and the real side of its evaluation."""

    params: Params
    dataset: Dataset
    photos: Photos
    real: RealSide


@dataclass(frozen=True, slots=True)
class Trained:
    """What came of a recipe."""

    model: ImageModel
    steps: int
    seconds: float


class Nowhere:
    """A keeper that keeps nothing and a log that tells nothing."""

    def restore(self, state: TrainState) -> bool:
        return False

    def rewind(self, state: TrainState, back: int, before: int) -> bool:
        return False

    def save(self, state: TrainState) -> None: ...
    def pause(self, state: TrainState) -> None: ...
    def keep(self, state: TrainState) -> None: ...
    def bury(self, state: TrainState, trouble: Trouble) -> None: ...
    def metrics(self, step: int, values: Mapping[str, float]) -> None: ...
    def picture(self, step: int, name: str, pixels: Pixels) -> None: ...


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--photos", type=Path, help="a folder of photos for each category")
    options.add_argument("--seconds", type=float, default=210.0, help="CPU seconds for each recipe")
    options.add_argument("--seed", type=int, default=7)
    options.add_argument("--recipes", type=int, default=2, help="how many of the five, in order")
    chosen = options.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        shop = open_shop(Path(folder), chosen.photos)
        trained, stopped = {}, []
        for name in list(RECIPES)[: chosen.recipes]:
            try:
                trained[name] = fit(shop, RECIPES[name], chosen.seconds, chosen.seed)
            except TrainingFailed as failure:
                stopped.append(f"{name}: stopped, {failure}")
        rows = table(shop, trained, chosen.photos, chosen.seed)
        lines = ["# The GAN against the textbook's", "", machine(), "", *rows, "", *stopped]
    text = "\n".join(lines)
    print(text)
    if not chosen.photos:
        Path(__file__).with_suffix(".md").write_text(text)
        PICTURE.write_bytes(encode_png(show(shop, trained)))


def machine() -> str:
    return (
        f"One thread of {os.cpu_count()} x {platform.machine()} ({torch.backends.cpu.get_cpu_capability()}), "
        f"Python {platform.python_version()}, torch {torch.__version__.split('+')[0]}."
    )


def open_shop(root: Path, photos: Path | None) -> Shop:
    """Take the photos in and prepare them as params.yaml says."""
    params, layout = load_params(ROOT / "params.yaml"), Layout(root)
    source = params.ingest.source.model_copy(update={"path": str(ROOT / "src/packshot/sources/rendering")})
    attributes = params.ingest.attributes
    if photos:
        source, attributes = Folder(kind="folder", path=str(photos.resolve())), {}
    section = params.ingest.model_copy(update={"source": source, "attributes": attributes})
    params = params.model_copy(update={"ingest": section})
    ingest(params, layout)
    dataset = prepare(params, layout)
    training, val, test = (load_split(layout.stage("prepare"), name) for name in ("train", "val", "test"))
    real = gather_real_side(dataset.categories, training, val, test, params.evaluate, layout.cache, dataset.conditions)
    return Shop(params, dataset, Photos.resident(training, dataset.conditions, torch.device("cpu")), real)


def fit(shop: Shop, config: gan.Config, seconds: float, seed: int) -> Trained:
    """Train one recipe for about so many CPU seconds."""
    trial = TRIAL // config.penalty_every * config.penalty_every or TRIAL
    _, warm = run_steps(shop, config, trial, seed)
    _, twice = run_steps(shop, config, 3 * trial, seed)
    steps = max(trial, round(seconds / ((twice - warm) / (2 * trial))))
    model, spent = run_steps(shop, config, steps, seed)
    print(f"{steps} steps, {spent:.0f} CPU seconds", flush=True)
    return Trained(model, steps, spent)


def run_steps(shop: Shop, config: gan.Config, steps: int, seed: int) -> tuple[ImageModel, float]:
    """The average that `steps` steps leave, and the CPU seconds that they took."""
    run = Run(name="gan", model=config, steps=steps)
    settings = shop.params.train.model_copy(
        update={
            "runs": (run,),
            "threads": 1,
            "device": "cpu",
            "processes": 1,
            "checkpoints": 1,
            "dev": None,
            "report_every": steps,
            "picture_every": steps,
            "save_every": steps,
            "watch": shop.params.train.watch.model_copy(update={"every": steps, "min_diversity": 0.0}),
        }
    )
    data, device = shop.dataset, torch.device("cpu")
    model = build(run, data.image, data.categories, data.conditions, seed=seed, device=device)
    silent = Nowhere()
    began = time.process_time()
    state = train(model, shop.photos, run, settings, seed=seed, machine=Machine.choose(settings), log=silent, keeper=silent)
    return state.average, time.process_time() - began


def table(shop: Shop, trained: Mapping[str, Trained], photos: Path | None, seed: int) -> list[str]:
    """A row for each recipe, and what real photos and blurred ones score."""
    which = "Photos of a folder" if photos else "The built-in catalogue"
    side, count = shop.dataset.image.size, shop.params.evaluate.samples
    lines = [
        f"{which}: {len(shop.photos)} photos of {len(shop.dataset.categories)} categories to learn from, {side} x {side}, "
        f"batches of {shop.params.train.batch_size}, {count} pictures judged, seed {seed}. CPU seconds: all but judging.",
        "",
        f"| recipe | steps | CPU s | {' | '.join(SCORES.values())} |",
        f"|---|---:|---:|{'---:|' * len(SCORES)}",
    ]
    asked = apportion(shop.real.training.categories, len(shop.real.names), count)
    told = None
    if shop.dataset.conditions:
        told = borrow_conditions(shop.real.training.conditions, shop.real.training.categories, asked, shop.params.evaluate.seed)
    first = shop.params.evaluate.seed
    for name, found in trained.items():
        evidence = Evidence(shop.real, draw(found.model, asked, range(first, first + count), told), asked, None, told)
        lines.append(f"| {name} | {found.steps} | {found.seconds:.0f} | {' | '.join(told_scores(evidence))} |")
        print(lines[-1], flush=True)
    real = Evidence(
        shop.real, np.asarray(shop.real.unseen.images), shop.real.unseen.categories, None, shop.real.unseen.conditions
    )
    lines.append(f"| real photos, unseen | | | {' | '.join(told_scores(real))} |")
    return lines


def told_scores(evidence: Evidence) -> list[str]:
    return [
        f"{estimate.value:.3f}" if estimate.value is not None else "" for estimate in measure(evidence, tuple(SCORES)).values()
    ]


def show(shop: Shop, trained: Mapping[str, Trained]) -> Pixels:
    """The first two recipes' pictures of the same categories and seeds, one above the other."""
    names = shop.dataset.categories[:: max(1, len(shop.dataset.categories) // SHOWN)][:SHOWN]
    categories = torch.tensor([shop.dataset.categories.index(name) for name in names]).repeat_interleave(COLUMNS)
    labels = [name if column == 0 else "" for name in names for column in range(COLUMNS)]
    sheets = []
    for name, found in list(trained.items())[:2]:
        pictures = to_pixels(found.model.sample(categories, list(range(COLUMNS)) * len(names))).contiguous().numpy()
        sheets.append(add_title(contact_sheet(pictures, COLUMNS, labels, scale=2), f"{name}, {found.seconds:.0f} CPU seconds"))
    return np.concatenate(sheets, axis=1)


if __name__ == "__main__":
    main()
