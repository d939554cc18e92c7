"""Judging a model while it trains: one metric, on the photos of the split `val`, as the evaluation would measure it there.

The gate's own photos, those of the split `test`, are not touched: what is looked at while training can no longer be a judge. The
eyes are the evaluation's: trained on one half of the training photos, and cached for it.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from packshot.errors import UsageError
from packshot.evaluation.attributes import borrow_conditions
from packshot.evaluation.bootstrap import withhold
from packshot.evaluation.evidence import Evidence, RealSide, Redrawn, Scores, apportion, fold, pick, spread
from packshot.evaluation.features import PixelEyes, train_eyes
from packshot.evaluation.metrics import METRICS, measure
from packshot.evaluation.protocol import ExtractorParams
from packshot.evaluation.scoring import PROTOCOL, draw, redraw, train_attribute_eyes
from packshot.images.pixels import NotFinite
from packshot.images.shards import Split
from packshot.models.base import ImageModel
from packshot.records import Dataset, Digest, Estimate

FEWEST = 50
"""Photos of the split `val` below which chance moves every metric by more than most models differ."""
NEIGHBOURS = 5
RESAMPLES = 1_000
"""Of intervals: these are for a standard error, and no one's verdict."""
TOO_DEAR = frozenset({"robustness", "size_mb", "latency_ms", "fid", "kid_inception"})
"""Metrics that say nothing while a model trains, or would take longer than the training."""


@dataclass(frozen=True, eq=False)
class DevJudge:
    """Measures one metric; the same weights always get the same answer."""

    metric: str
    real: RealSide
    """Whose held-out photos, unseen ones and reference all are those of the split `val`."""
    samples: int
    digest: Digest
    """Of all that its answers depend on, but the model."""
    _pca: dict[int, Scores] = field(default_factory=dict)

    @classmethod
    def gather(
        cls,
        metric: str,
        dataset: Dataset,
        training: Split,
        val: Split,
        *,
        samples: int,
        seed: int,
        extractor: ExtractorParams,
        cache: Path,
    ) -> DevJudge:
        """Lay out the photos and train the eyes, or fetch them from `cache`.

        Raises UsageError where the split `val` has too few photos, or the metric speaks of attributes that no model is told.
        """
        where = f"train.dev.metric: {metric}"
        if len(val) < FEWEST:
            advice = "raise prepare.val_share, or take train.dev out"
            raise UsageError(f"the split 'val' has {len(val)} photos, fewer than {FEWEST}", where=where, advice=advice)
        if metric in TOO_DEAR:
            raise UsageError("it is not measured while a model trains", where=where, advice="take another one, such as kid")
        conditioned = METRICS[metric].when == "conditioned"
        if conditioned and not any(condition.kind == "label" for condition in dataset.conditions):
            raise UsageError("models are told no label attribute", where=where, advice="name one in prepare.conditions")
        looked_at = pick(training, fold(training)[0])
        photos = pick(val, spread(val.categories))
        real = RealSide(
            names=dataset.categories,
            training=training,
            reference=photos,
            held_out=val,
            unseen=photos,
            catalog=train_eyes(looked_at, len(dataset.categories), extractor, cache),
            pixels=PixelEyes.fit(looked_at.images),
            neighbours=NEIGHBOURS,
            seed=seed,
            resamples=RESAMPLES,
            conditions=dataset.conditions,
            attributes=(train_attribute_eyes(looked_at, dataset.conditions, extractor, cache) if conditioned else {}),
        )
        eyes = [real.catalog.digest, real.pixels.digest, *(eyes.digest for eyes in real.attributes.values())]
        parts = [PROTOCOL, "dev-1", dataset.digest, metric, samples, seed, *eyes]
        return cls(metric, real, samples, hashlib.sha256(json.dumps(parts).encode()).hexdigest())

    @property
    def higher_is_better(self) -> bool:
        return METRICS[self.metric].higher_is_better

    def require_measurable(self, model: ImageModel) -> None:
        """Raise UsageError where the metric is of photos drawn again, and the model would have to search for them."""
        if METRICS[self.metric].of == "photos" and not model.encodes:
            raise UsageError(
                "the model does not encode photos: to search for them is too costly while it trains",
                where=f"train.dev.metric: {self.metric}",
                advice="take one of new pictures, such as kid",
            )

    def measure(self, model: ImageModel) -> Estimate:
        """The metric of a model that is ready to be deployed; withheld where it draws pixels that are no numbers."""
        real, asked = self.real, np.empty(0, dtype=np.int64)
        try:
            if METRICS[self.metric].of == "photos":
                evidence = Evidence(real, np.empty((0, *model.image.shape), dtype=np.uint8), asked, self._redraw(model))
            else:
                asked = apportion(real.training.categories, len(real.names), self.samples)
                told = None
                if real.conditions:
                    told = borrow_conditions(real.training.conditions, real.training.categories, asked, real.seed)
                drawn = draw(model, asked, range(real.seed, real.seed + len(asked)), told)
                evidence = Evidence(real, drawn, asked, conditions=told)
        except NotFinite as fault:
            return withhold(str(fault))
        return measure(evidence, (self.metric,))[self.metric]

    def _redraw(self, model: ImageModel) -> Redrawn:
        size = model.latent_size
        if size not in self._pca:
            self._pca[size] = self.real.score_pca(size)
        pictures = redraw(model, self.real.held_out)
        return Redrawn(self.real.held_out, pictures, "encoded", self._pca[size], self.real.baselines["nearest_photo"])
