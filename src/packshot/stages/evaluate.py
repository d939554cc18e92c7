"""evaluate: every checkpoint that was kept, by the same protocol, on photos that none of them has seen."""

from __future__ import annotations

import io
import json
import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import pyarrow as pa
import pyarrow.parquet as pq

from packshot.adapters.tracking import Tracking
from packshot.errors import IntegrityError
from packshot.evaluation.comparison import compare, make_comparable
from packshot.evaluation.cost import measure_cost
from packshot.evaluation.evidence import Evidence, Eyes, RealSide, find_worst
from packshot.evaluation.kept import Kept
from packshot.evaluation.pictures import draw_comparison, draw_pictures
from packshot.evaluation.protocol import EvaluateParams
from packshot.evaluation.report import CAPTIONS, picture_name
from packshot.evaluation.scoring import (
    collect_evidence,
    digest_evidence,
    gather_real_side,
    name_extractors,
    score,
    score_real,
    withhold_all,
)
from packshot.evaluation.slices import measure_slices
from packshot.images.manifest import read_manifest
from packshot.images.pixels import NotFinite
from packshot.images.shards import load_split
from packshot.images.sheet import encode_png
from packshot.layout import Layout
from packshot.models.base import ImageModel
from packshot.models.weights import load_weights
from packshot.params import Params
from packshot.records import (
    Catalog,
    Checkpoint,
    Cost,
    Dataset,
    EvaluationReport,
    Score,
    Scorecard,
    Speed,
    TrackedRuns,
    TrainReport,
    write_bytes,
)
from packshot.stages import clear
from packshot.stages.standing import Incumbent, find_incumbent

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
        pa.field("ms_ssim", pa.float64()),
        pa.field("perceptual_catalog", pa.float64(), nullable=False),
        pa.field("psnr_champion", pa.float64()),
        pa.field("ssim_champion", pa.float64()),
    ]
)
"""One row for each held-out photo that a checkpoint drew again; `psnr_pca` is what PCA of its latent size makes of it,
`psnr_champion` what the champion does, where it was compared. MS-SSIM is null where pictures are too small for it."""


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
    real = gather_real_side(
        dataset.categories,
        training,
        val,
        test,
        settings,
        layout.cache,
        dataset.conditions,
        inception=_open_inception(),
        labels=_read_labels(layout, dataset),
    )
    models = {checkpoint: _load(layout, checkpoint, dataset) for checkpoint in trained.checkpoints}
    evidence = digest_evidence(real, settings, dataset.digest)
    kept = Kept.open(layout.cache, evidence)
    real = replace(real, keep=kept)
    measured = score_real(real, (model.latent_size for model in models.values()), kept)
    incumbent, champion = _meet(find_incumbent(layout, dataset, (*test.ids, *test.groups)), real, settings)
    clear(out)
    judged = [_judge(checkpoint, model, champion, real, settings, layout) for checkpoint, model in models.items()]
    report = EvaluationReport(
        dataset=dataset.digest,
        evidence=evidence,
        extractors=name_extractors(real),
        conditions=dataset.conditions,
        references=measured.references,
        controls=measured.controls,
        champion=incumbent.standing if incumbent else None,
        champion_scores=champion.scores if champion else (),
        scorecards=tuple(one.card for one in judged),
    )
    _write_photos(out / "photos.parquet", [row for one in judged for row in one.photos])
    write_bytes(out / "metrics.json", (json.dumps(tell_metrics(report), indent=2) + "\n").encode())
    report.write(out / "report.json")
    Speed(costs=tuple(one.cost for one in judged if one.cost)).write(out / "speed.json")
    _annotate(layout, report)
    return report


def _open_inception() -> Eyes | None:
    """Inception, where the environment says that its weights are at hand."""
    if not (path := os.environ.get("PACKSHOT_INCEPTION")):
        return None
    from packshot.evaluation.inception import InceptionEyes  # torchvision comes with it

    return InceptionEyes.load(Path(path))


def _read_labels(layout: Layout, dataset: Dataset) -> dict[str, dict[str, str]]:
    """The catalogue's label attributes that models are not conditioned on: by name, what is known of each photo, by id."""
    told, path = {condition.name for condition in dataset.conditions}, layout.stage("ingest") / "catalog.json"
    catalog = Catalog.read(path)
    if catalog.digest != dataset.catalog:
        raise IntegrityError(
            "the catalogue is not that of the dataset any more", where=str(path), advice="run the stage 'prepare' again"
        )
    names = [one.name for one in catalog.attributes if one.kind == "label" and one.name not in told]
    if not names:
        return {}
    table = read_manifest(layout.stage("ingest") / "manifest.parquet", ["sha256", *names])
    photos = table["sha256"].to_pylist()
    columns = {name: zip(photos, table[name].to_pylist(), strict=True) for name in names}
    return {name: {photo: value for photo, value in pairs if value is not None} for name, pairs in columns.items()}


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


@dataclass(frozen=True, slots=True)
class Champion:
    """What the champion draws, by the same protocol as those that challenge it."""

    incumbent: Incumbent
    model: ImageModel
    evidence: Evidence
    scores: tuple[Score, ...]


@dataclass(frozen=True, slots=True)
class Judged:
    """All that is measured of one checkpoint."""

    card: Scorecard
    photos: list[dict[str, object]] = field(default_factory=list)
    cost: Cost | None = None
    """None where it draws nothing that could be timed."""


def _meet(incumbent: Incumbent | None, real: RealSide, settings: EvaluateParams) -> tuple[Incumbent | None, Champion | None]:
    """Let the champion draw what its challengers will; it stands aside where it cannot."""
    if incumbent is None or incumbent.model is None:
        return incumbent, None
    log.info("measuring the champion, version %d, on the same photos and seeds", incumbent.standing.version)
    try:
        evidence = collect_evidence(incumbent.model, real, settings)
    except NotFinite as fault:
        return incumbent.stand_aside(str(fault)), None
    return incumbent, Champion(incumbent, incumbent.model, evidence, score(evidence))


def _judge(
    checkpoint: Checkpoint, model: ImageModel, champion: Champion | None, real: RealSide, settings: EvaluateParams, layout: Layout
) -> Judged:
    log.info("judging %s", checkpoint.name)
    how: Literal["encoded", "searched"] = "encoded" if model.encodes else "searched"
    try:
        evidence = collect_evidence(model, real, settings)
        cost = measure_cost(model, layout.stage("train") / checkpoint.path, checkpoint.sha256)
        evidence = replace(evidence, cost=cost)
        pictures = draw_pictures(model, evidence, settings.seed)
    except NotFinite as fault:
        log.warning("%s: %s", checkpoint.name, fault)
        return Judged(Scorecard(checkpoint=checkpoint, scores=withhold_all(str(fault), real), reconstruction=how))
    pair = None
    if champion and checkpoint.sha256 != champion.incumbent.standing.sha256:
        pair = make_comparable(evidence, champion.evidence, champion.incumbent.seen)
        pictures |= draw_comparison(model, champion.model, pair, settings.seed)
    for what, picture in pictures.items():
        write_bytes(layout.stage("evaluate") / "pictures" / picture_name(checkpoint, what), encode_png(picture))
    card = Scorecard(
        checkpoint=checkpoint,
        scores=score(evidence),
        reconstruction=how,
        over_champion=compare(*pair) if pair else (),
        slices=measure_slices(evidence, pair),
        worst=find_worst(evidence),
    )
    return Judged(card, _tell_photos(checkpoint, evidence, pair[1] if pair else None), cost)


def _tell_photos(checkpoint: Checkpoint, evidence: Evidence, champion: Evidence | None) -> list[dict[str, object]]:
    redrawn, other = evidence.redrawn, champion.redrawn if champion else None
    if redrawn is None:
        return []
    places = {photo: row for row, photo in enumerate(other.photos.ids)} if other and other.how == redrawn.how else {}
    perceptual = evidence.photo_values("perceptual")
    rows = []
    for row, photo in enumerate(redrawn.photos.ids):
        told: dict[str, object] = {
            "checkpoint": checkpoint.name,
            "id": photo,
            "category": evidence.real.names[redrawn.photos.categories[row]],
            "group": redrawn.photos.groups[row],
            "reconstruction": redrawn.how,
            "psnr": float(redrawn.scores.psnr[row]),
            "ssim": float(redrawn.scores.ssim[row]),
            "psnr_pca": float(redrawn.pca.psnr[row]),
            "ssim_pca": float(redrawn.pca.ssim[row]),
            "ms_ssim": None if redrawn.ms_ssim is None else float(redrawn.ms_ssim[row]),
            "perceptual_catalog": None if perceptual is None else float(perceptual[row]),
        }
        place = places.get(photo)
        beside = {} if other is None or place is None else {"psnr": other.scores.psnr[place], "ssim": other.scores.ssim[place]}
        rows.append(told | {f"{name}_champion": float(beside[name]) if name in beside else None for name in ("psnr", "ssim")})
    return rows


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
