"""From a model to its scorecard: what it draws, and what all metrics say of it."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from packshot.errors import DataRejected, IntegrityError
from packshot.evaluation.bootstrap import estimate_mean, withhold
from packshot.evaluation.evidence import Evidence, Pixels, RealSide, Redrawn, Scores, apportion, fold, join, pick, spread
from packshot.evaluation.features import PixelEyes, train_eyes
from packshot.evaluation.ladder import CLIMBING, OF_REAL_PHOTOS, RUNGS
from packshot.evaluation.metrics import METRICS, measure
from packshot.evaluation.protocol import EvaluateParams
from packshot.images.pixels import to_pixels, to_unit
from packshot.images.shards import Split
from packshot.models.base import ImageModel
from packshot.records import Digest, Estimate, Score

log = logging.getLogger(__name__)

PROTOCOL = "evaluation-2"
"""Rises with every change that makes scores incomparable."""
BATCH = 250


class NotFinite(Exception):
    """A model drew pixels that are not numbers."""


def gather_real_side(
    names: tuple[str, ...], training: Split, val: Split, test: Split, params: EvaluateParams, cache: Path
) -> RealSide:
    """Lay out the real photos, and train the eyes.

    Raises DataRejected where no photo is held out, IntegrityError where a photo, or a near-duplicate of it, stands both among
    those to train on and those held out.
    """
    if not len(test):
        raise DataRejected("no photo is held out", where="the split 'test'", advice="add photos, or raise prepare's share of it")
    for kept in (val, test):
        if shared := {*training.ids, *training.groups} & {*kept.ids, *kept.groups}:
            raise IntegrityError(
                f"{len(shared)} photos or groups of near-duplicates are both trained on and held out",
                where=min(shared),
                advice="run the stage 'prepare' again",
            )
    seen, kept_rows = fold(training)
    reference = pick(training, kept_rows)
    unseen = join(val, test)
    log.info("training the catalogue's classifier on %d photos, or fetching it", len(seen))
    looked_at = pick(training, seen)
    return RealSide(
        names=names,
        training=training,
        reference=pick(reference, spread(reference.categories)),
        held_out=test,
        unseen=pick(unseen, spread(unseen.categories)),
        catalog=train_eyes(looked_at, len(names), params.extractor, cache),
        pixels=PixelEyes.fit(looked_at.images),
        neighbours=params.neighbours,
        seed=params.seed,
        resamples=params.resamples,
    )


def digest_evidence(real: RealSide, params: EvaluateParams, dataset: Digest) -> Digest:
    """The digest of all that scores rest on, but the model: equal evidence, comparable scores."""
    parts = [PROTOCOL, dataset, params.content_digest(), real.catalog.digest, real.pixels.digest]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def measure_references(real: RealSide, latent_sizes: Iterable[int]) -> tuple[Score, ...]:
    """Measure the baselines on the held-out photos, and every rung of the ladder: real photos, made worse by known amounts."""
    baselines = dict(real.baselines) | {f"pca_{size}": real.score_pca(size) for size in sorted(set(latent_sizes))}
    scores = [
        Score(metric=f"{metric}_{name}", estimate=_mean(getattr(found, metric), real))
        for metric in ("psnr", "ssim")
        for name, found in baselines.items()
    ]
    for rung, degrade in RUNGS.items():
        drawn, asked = degrade(np.asarray(real.unseen.images), real.unseen.categories)
        wanted = (*CLIMBING, *OF_REAL_PHOTOS) if rung == "real" else CLIMBING
        found = measure(Evidence(real, drawn, asked), wanted)
        scores += [Score(metric=f"{metric}_{rung}", estimate=estimate) for metric, estimate in found.items()]
        log.info("the ladder's rung '%s' is measured", rung)
    return tuple(scores)


def collect_evidence(model: ImageModel, real: RealSide, params: EvaluateParams) -> Evidence:
    """Let a model draw held-out photos again, and new pictures in the categories' real proportions.

    A model without an encoder searches for `params.searched_photos` of them only. Raises NotFinite where a pixel is not a number.
    """
    photos = real.held_out
    if not model.encodes:
        photos = pick(photos, np.sort(spread(photos.categories)[: params.searched_photos]))
    log.info("drawing %d held-out photos again", len(photos))
    redrawn = Redrawn(
        photos=photos,
        pictures=redraw(model, photos),
        how="encoded" if model.encodes else "searched",
        pca=_among(real.score_pca(model.latent_size), real.held_out, photos),
        nearest=_among(real.baselines["nearest_photo"], real.held_out, photos),
    )
    asked = apportion(real.training.categories, len(real.names), params.samples)
    log.info("drawing %d new pictures", len(asked))
    return Evidence(real, draw(model, asked, range(params.seed, params.seed + len(asked))), asked, redrawn)


def score(evidence: Evidence) -> tuple[Score, ...]:
    """Measure every metric."""
    return tuple(Score(metric=name, estimate=estimate) for name, estimate in measure(evidence, tuple(METRICS)).items())


def withhold_all(reason: str) -> tuple[Score, ...]:
    """The scores of a model that cannot be measured."""
    return tuple(Score(metric=name, estimate=withhold(reason)) for name in METRICS)


def draw(model: ImageModel, categories: NDArray[np.int64], seeds: Iterable[int]) -> Pixels:
    """New pictures of a model, uint8 (N, 3, S, S): one for each category and seed, clamped and rounded to bytes."""
    every = list(seeds)

    def part(rows: slice) -> Tensor:
        return model.sample(torch.from_numpy(np.ascontiguousarray(categories[rows])), every[rows])

    return _collect(part, len(categories), BATCH)


def redraw(model: ImageModel, photos: Split) -> Pixels:
    """Photos as a model draws them again, uint8 (N, 3, S, S), clamped and rounded to bytes."""

    def part(rows: slice) -> Tensor:
        images = to_unit(torch.from_numpy(np.array(photos.images[rows])))
        return model.reconstruct(images, torch.from_numpy(np.array(photos.categories[rows])))

    return _collect(part, len(photos), BATCH if model.encodes else len(photos))


def _collect(part: Callable[[slice], Tensor], count: int, batch: int) -> Pixels:
    parts = []
    for at in range(0, count, batch):
        pictures = part(slice(at, at + batch))
        if not bool(pictures.isfinite().all()):
            raise NotFinite("the model drew pixels that are not finite numbers")
        parts.append(to_pixels(pictures).contiguous().numpy())
    return np.concatenate(parts)


def _among(scores: Scores, every: Split, some: Split) -> Scores:
    rows = {photo: row for row, photo in enumerate(every.ids)}
    kept = np.array([rows[photo] for photo in some.ids], dtype=np.int64)
    return Scores(scores.psnr[kept], scores.ssim[kept])


def _mean(values: NDArray[np.float64], real: RealSide) -> Estimate:
    return estimate_mean(values, real.held_out.groups, resamples=real.resamples, seed=real.seed)
