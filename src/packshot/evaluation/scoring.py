"""From a model to its scorecard: what it draws, and what all metrics say of it."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import MappingProxyType

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from packshot.errors import DataRejected, IntegrityError
from packshot.evaluation.attributes import FEWEST, Conditions, borrow_conditions, read_labels
from packshot.evaluation.bootstrap import estimate_mean, withhold
from packshot.evaluation.controls import CONTROLS, measure_controls
from packshot.evaluation.evidence import (
    ClassifierEyes,
    Evidence,
    Eyes,
    Pixels,
    RealSide,
    Redrawn,
    Scores,
    apportion,
    fold,
    join,
    pick,
    spread,
)
from packshot.evaluation.features import PixelEyes, train_eyes
from packshot.evaluation.kept import Kept
from packshot.evaluation.ladder import CLIMBING, OF_ATTRIBUTES, OF_REAL_PHOTOS, REFERENCE_NAMES, RUNGS
from packshot.evaluation.metrics import due_metrics, measure
from packshot.evaluation.protocol import EvaluateParams, ExtractorParams
from packshot.evaluation.psnr import psnr
from packshot.evaluation.robustness import DISTURBANCES
from packshot.images.conditions import find_unknown, translate_conditions
from packshot.images.pixels import NotFinite, to_pixels, to_unit
from packshot.images.shards import Split
from packshot.models.base import ImageModel
from packshot.records import Condition, Control, Digest, Estimate, Extractor, Record, Score

log = logging.getLogger(__name__)

PROTOCOL = "evaluation-4"
"""Rises with every change that makes scores incomparable."""
BATCH = 250


class RealScores(Record):
    """What the real photos themselves score, in all that is measured beside a model."""

    references: tuple[Score, ...]
    controls: tuple[Control, ...]


def gather_real_side(
    names: tuple[str, ...],
    training: Split,
    val: Split,
    test: Split,
    params: EvaluateParams,
    cache: Path,
    conditions: tuple[Condition, ...] = (),
    *,
    inception: Eyes | None = None,
    labels: Mapping[str, Mapping[str, str]] = MappingProxyType({}),
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
        conditions=conditions,
        attributes=train_attribute_eyes(looked_at, conditions, params.extractor, cache),
        labels=labels,
        inception=inception,
    )


def train_attribute_eyes(
    photos: Split, conditions: tuple[Condition, ...], params: ExtractorParams, cache: Path
) -> dict[str, ClassifierEyes]:
    """For each label attribute that enough photos have, a classifier of the catalogue's own design, trained on those photos."""
    eyes: dict[str, ClassifierEyes] = {}
    for name, labels in read_labels(conditions, photos.conditions).items():
        known = pick(photos, np.flatnonzero(labels >= 0))
        if len(known) < FEWEST:
            log.warning("%s is known of %d photos only: nothing can be said of it", name, len(known))
            continue
        values = next(len(condition.values) for condition in conditions if condition.name == name)
        log.info("training the eyes for %s on %d photos, or fetching them", name, len(known))
        eyes[name] = train_eyes(replace(known, categories=labels[labels >= 0]), values, params, cache)
    return eyes


def digest_evidence(real: RealSide, params: EvaluateParams, dataset: Digest) -> Digest:
    """The digest of all that scores rest on, but the model: equal evidence, comparable scores."""
    eyes = [extractor.sha256 for extractor in name_extractors(real)]
    labels = {name: sorted(known.items()) for name, known in sorted(real.labels.items())}
    measured = [due_metrics(real), list(CONTROLS), REFERENCE_NAMES]
    parts = [PROTOCOL, dataset, params.content_digest(), *eyes, labels, measured]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def name_extractors(real: RealSide) -> tuple[Extractor, ...]:
    """All eyes by which pictures are judged, each by what its features depend on."""
    eyes: dict[str, Eyes] = {"catalog": real.catalog, "pixels": real.pixels, **real.attributes}
    if real.inception:
        eyes["inception"] = real.inception
    return tuple(Extractor(name=name, sha256=one.digest) for name, one in eyes.items())


def score_real(real: RealSide, latent_sizes: Iterable[int], kept: Kept) -> RealScores:
    """Measure baselines, rungs and controls, or take them from where they were kept: they depend on no model."""
    sizes = sorted(set(latent_sizes))
    name = "-".join(["real", *map(str, sizes)])
    return kept.record(
        name, RealScores, lambda: RealScores(references=measure_references(real, sizes), controls=measure_controls(real))
    )


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
        wanted, told = CLIMBING, None
        if rung == "real":
            wanted, told = (*CLIMBING, *OF_REAL_PHOTOS, *(OF_ATTRIBUTES if real.labelled else ())), real.unseen.conditions
        found = measure(Evidence(real, drawn, asked, conditions=told), wanted)
        scores += [Score(metric=f"{metric}_{rung}", estimate=estimate) for metric, estimate in found.items()]
        log.info("the ladder's rung '%s' is measured", rung)
    return tuple(scores)


def collect_evidence(model: ImageModel, real: RealSide, params: EvaluateParams) -> Evidence:
    """Let a model draw held-out photos again, and new pictures in the categories' real proportions.

    Where models are conditioned on attributes, each new picture is asked for with those of a real training photo of its category.
    A model without an encoder searches for `params.searched_photos` of them only; one that encodes is given disturbed photos too.
    One that was trained on another dataset is asked for the categories and the attributes that it knows, in its own words.
    Raises NotFinite where a pixel is not a number.
    """
    known = np.array([model.categories.index(name) if name in model.categories else -1 for name in real.names])
    translate = partial(translate_conditions, told=real.conditions, wanted=model.conditions)
    photos = real.held_out
    if not model.encodes:
        photos = pick(photos, np.sort(spread(photos.categories)[: params.searched_photos]))
    photos = pick(photos, np.flatnonzero(known[photos.categories] >= 0))
    log.info("drawing %d held-out photos again", len(photos))
    asked = apportion(real.training.categories, len(real.names), params.samples)
    told = borrow_conditions(real.training.conditions, real.training.categories, asked, params.seed) if real.conditions else None
    seeds, kept = params.seed + np.arange(len(asked)), known[asked] >= 0
    log.info("drawing %d new pictures", kept.sum())
    wishes = None if told is None else told[kept]
    asked_for = translate(wishes) if wishes is not None and model.conditions else None
    drawn = draw(model, known[asked[kept]], seeds[kept].tolist(), asked_for)
    shown = replace(photos, categories=known[photos.categories], conditions=translate(photos.conditions))
    redrawn = _redraw_all(model, real, photos, shown) if len(photos) else None
    understood = not find_unknown(real.conditions, model.conditions)
    return Evidence(real, drawn, asked[kept], redrawn, wishes if understood else None)


def _redraw_all(model: ImageModel, real: RealSide, photos: Split, shown: Split) -> Redrawn:
    """`photos` drawn again; `shown` are the same as the model knows them, by its own numbers of categories."""
    images = np.asarray(photos.images)
    disturbed: dict[str, NDArray[np.float64]] = {}
    for name, disturb in DISTURBANCES.items() if model.encodes else ():
        disturbed[name] = psnr(redraw(model, replace(shown, images=disturb(images))), images, data_range=255)
    return Redrawn(
        photos=photos,
        pictures=redraw(model, shown),
        how="encoded" if model.encodes else "searched",
        pca=_among(real.score_pca(model.latent_size), real.held_out, photos),
        nearest=_among(real.baselines["nearest_photo"], real.held_out, photos),
        disturbed=disturbed,
    )


def score(evidence: Evidence) -> tuple[Score, ...]:
    """Measure every metric that is due."""
    found = measure(evidence, due_metrics(evidence.real))
    return tuple(Score(metric=name, estimate=estimate) for name, estimate in found.items())


def withhold_all(reason: str, real: RealSide) -> tuple[Score, ...]:
    """The scores of a model that cannot be measured."""
    return tuple(Score(metric=name, estimate=withhold(reason)) for name in due_metrics(real))


def draw(model: ImageModel, categories: NDArray[np.int64], seeds: Iterable[int], conditions: Conditions | None = None) -> Pixels:
    """New pictures of a model, uint8 (N, 3, S, S): one for each category, seed and condition, clamped and rounded to bytes."""
    every, device = list(seeds), next(model.parameters()).device

    def part(rows: slice) -> Tensor:
        told = None if conditions is None else torch.from_numpy(np.ascontiguousarray(conditions[rows])).to(device)
        return model.sample(torch.from_numpy(np.ascontiguousarray(categories[rows])).to(device), every[rows], told)

    return _collect(part, len(categories), BATCH)


def redraw(model: ImageModel, photos: Split) -> Pixels:
    """Photos as a model draws them again, uint8 (N, 3, S, S), clamped and rounded to bytes."""
    device = next(model.parameters()).device

    def part(rows: slice) -> Tensor:
        images = to_unit(torch.from_numpy(np.array(photos.images[rows])).to(device))
        known = model.conditions and photos.conditions.size
        told = torch.from_numpy(np.array(photos.conditions[rows])).to(device) if known else None
        return model.reconstruct(images, torch.from_numpy(np.array(photos.categories[rows])).to(device), told)

    return _collect(part, len(photos), BATCH if model.encodes else len(photos))


def _collect(part: Callable[[slice], Tensor], count: int, batch: int) -> Pixels:
    parts = []
    for at in range(0, count, batch):
        pictures = part(slice(at, at + batch))
        if not bool(pictures.isfinite().all()):
            raise NotFinite("the model drew pixels that are not finite numbers")
        parts.append(to_pixels(pictures).cpu().contiguous().numpy())
    return np.concatenate(parts)


def _among(scores: Scores, every: Split, some: Split) -> Scores:
    rows = {photo: row for row, photo in enumerate(every.ids)}
    return scores.keep(np.array([rows[photo] for photo in some.ids], dtype=np.int64))


def _mean(values: NDArray[np.float64], real: RealSide) -> Estimate:
    return estimate_mean(values, real.held_out.groups, resamples=real.resamples, seed=real.seed)
