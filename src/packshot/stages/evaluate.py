"""evaluate: every checkpoint that was kept, by the same protocol, on photos that none of them has seen."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import pyarrow as pa
import pyarrow.parquet as pq

from packshot.adapters.tracking import Tracking
from packshot.errors import IntegrityError
from packshot.evaluation.evidence import Evidence, RealSide
from packshot.evaluation.pictures import show_attributes, show_nearest, show_reconstructions, show_samples, show_worst
from packshot.evaluation.report import CAPTIONS, picture_name
from packshot.evaluation.scoring import (
    NotFinite,
    collect_evidence,
    digest_evidence,
    gather_real_side,
    measure_references,
    score,
    withhold_all,
)
from packshot.images.shards import load_split
from packshot.images.sheet import encode_png
from packshot.layout import Layout
from packshot.models.base import ImageModel
from packshot.models.weights import load_weights
from packshot.params import Params
from packshot.records import Checkpoint, Dataset, EvaluationReport, Scorecard, TrackedRuns, TrainReport, write_bytes
from packshot.stages import clear

log = logging.getLogger(__name__)

PHOTOS = pa.schema(
    [
        pa.field("checkpoint", pa.string(), nullable=False),
        pa.field("id", pa.string(), nullable=False),
        pa.field("category", pa.string(), nullable=False),
        pa.field("group", pa.string(), nullable=False),
        pa.field("reconstruction", pa.string(), nullable=False),
        pa.field("psnr", pa.float64(), nullable=False),
        pa.field("ssim", pa.float64(), nullable=False),
        pa.field("psnr_pca", pa.float64(), nullable=False),
        pa.field("ssim_pca", pa.float64(), nullable=False),
    ]
)
"""One row for each held-out photo that a checkpoint drew again; `psnr_pca` is what PCA of its latent size makes of it."""


def evaluate(params: Params, layout: Layout) -> EvaluationReport:
    """Measure every checkpoint of the training, and write report.json, metrics.json, photos.parquet and pictures/."""
    out, settings = layout.stage("evaluate"), params.evaluate
    dataset = Dataset.read(layout.stage("prepare") / "dataset.json")
    trained = TrainReport.read(layout.stage("train") / "report.json")
    if trained.dataset != dataset.digest:
        raise IntegrityError(
            "the models were trained on another dataset",
            where=str(layout.stage("train") / "report.json"),
            advice="run the stage 'train' again",
        )
    training, val, test = (load_split(layout.stage("prepare"), name) for name in ("train", "val", "test"))
    real = gather_real_side(dataset.categories, training, val, test, settings, layout.cache, dataset.conditions)
    models = {checkpoint: _load(layout, checkpoint, dataset) for checkpoint in trained.checkpoints}
    references = measure_references(real, (model.latent_size for model in models.values()))
    clear(out)
    cards, rows = [], []
    for checkpoint, model in models.items():
        log.info("judging %s", checkpoint.name)
        card, found = _judge(checkpoint, model, real, params, out / "pictures")
        cards.append(card)
        rows += found
    report = EvaluationReport(
        dataset=dataset.digest,
        evidence=digest_evidence(real, settings, dataset.digest),
        conditions=dataset.conditions,
        references=references,
        scorecards=tuple(cards),
    )
    _write_photos(out / "photos.parquet", rows)
    write_bytes(out / "metrics.json", (json.dumps(tell_metrics(report), indent=2) + "\n").encode())
    report.write(out / "report.json")
    _annotate(layout, report)
    return report


def tell_metrics(report: EvaluationReport) -> dict[str, dict[str, float]]:
    """The plain numbers for `dvc metrics`: by run for its last checkpoint, by run@step for those before. None is withheld."""
    last = {
        card.checkpoint.run: card.checkpoint.step for card in sorted(report.scorecards, key=lambda card: card.checkpoint.step)
    }
    told = {}
    for card in report.scorecards:
        point = card.checkpoint
        told[point.run if last[point.run] == point.step else point.name] = _numbers(card)
    return told


def _load(layout: Layout, checkpoint: Checkpoint, dataset: Dataset) -> ImageModel:
    path = layout.stage("train") / checkpoint.path
    model, card = load_weights(path, checkpoint.sha256)
    asked = (dataset.digest, dataset.categories, dataset.conditions, dataset.image)
    if (card.dataset, card.categories, card.conditions, card.image) != asked:
        raise IntegrityError(
            "these weights were trained on another dataset", where=str(path), advice="run the stage 'train' again"
        )
    return model


def _judge(
    checkpoint: Checkpoint, model: ImageModel, real: RealSide, params: Params, folder: Path
) -> tuple[Scorecard, list[dict[str, object]]]:
    how: Literal["encoded", "searched"] = "encoded" if model.encodes else "searched"
    try:
        evidence = collect_evidence(model, real, params.evaluate)
        pictures = {"samples": show_samples(model, params.evaluate.seed), "nearest": show_nearest(evidence)}
        if real.labelled:
            pictures["attributes"] = show_attributes(model, params.evaluate.seed)
    except NotFinite as fault:
        log.warning("%s: %s", checkpoint.name, fault)
        return Scorecard(checkpoint=checkpoint, scores=withhold_all(str(fault), real), reconstruction=how), []
    if evidence.redrawn is not None:
        pictures |= {"reconstructions": show_reconstructions(evidence.redrawn), "worst": show_worst(evidence.redrawn)}
    for what, picture in pictures.items():
        write_bytes(folder / picture_name(checkpoint, what), encode_png(picture))
    return Scorecard(checkpoint=checkpoint, scores=score(evidence), reconstruction=how), _tell_photos(checkpoint, evidence)


def _tell_photos(checkpoint: Checkpoint, evidence: Evidence) -> list[dict[str, object]]:
    redrawn = evidence.redrawn
    if redrawn is None:
        return []
    return [
        {
            "checkpoint": checkpoint.name,
            "id": photo,
            "category": evidence.real.names[redrawn.photos.categories[row]],
            "group": redrawn.photos.groups[row],
            "reconstruction": redrawn.how,
            "psnr": float(redrawn.scores.psnr[row]),
            "ssim": float(redrawn.scores.ssim[row]),
            "psnr_pca": float(redrawn.pca.psnr[row]),
            "ssim_pca": float(redrawn.pca.ssim[row]),
        }
        for row, photo in enumerate(redrawn.photos.ids)
    ]


def _write_photos(path: Path, rows: list[dict[str, object]]) -> None:
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows, schema=PHOTOS), sink, compression="zstd")
    write_bytes(path, sink.getvalue())


def _numbers(card: Scorecard) -> dict[str, float]:
    return {score.metric: score.estimate.value for score in card.scores if score.estimate.value is not None}


def _annotate(layout: Layout, report: EvaluationReport) -> None:
    """Show the scores and pictures where the trainings were tracked; without a tracked run there is nothing to do."""
    path = layout.stage("train") / "tracked.json"
    if not path.is_file():
        return
    runs: Mapping[str, str] = {tracked.run: tracked.mlflow_run for tracked in TrackedRuns.read(path).runs}
    tracking = Tracking.open(layout)
    folder = layout.stage("evaluate") / "pictures"
    for card in report.scorecards:
        if run := runs.get(card.checkpoint.run):
            pictures = {what: folder / picture_name(card.checkpoint, what) for what in CAPTIONS}
            there = {what: picture for what, picture in pictures.items() if picture.is_file()}
            tracking.annotate(run, {f"test_{name}": value for name, value in _numbers(card).items()}, card.checkpoint.step, there)
