from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from packshot.errors import DataRejected, IntegrityError, MissingArtifact
from packshot.evaluation.evidence import pick
from packshot.evaluation.gate import Bound
from packshot.evaluation.metrics import METRICS
from packshot.evaluation.review import read_photo_scores
from packshot.evaluation.scoring import gather_real_side
from packshot.images.shards import Split, SplitName
from packshot.layout import Layout
from packshot.models import gan, vae
from packshot.models.weights import WeightsCard, save_weights
from packshot.params import Params, load_params
from packshot.records import (
    Checkpoint,
    Condition,
    Dataset,
    EvaluationReport,
    ImageSpec,
    Tracked,
    TrackedRuns,
    TrainReport,
)
from packshot.stages.evaluate import evaluate
from packshot.stages.gate import gate
from tests.conftest import ROOT
from tests.evaluation.shapes import KINDS, SHADE, draw_shapes
from tests.stages.datasets import pack_dataset

DIGEST = "1" * 64
CONFIGS = {
    "vae": vae.Config(latent=8, width=4, polish=None, prior=vae.GaussianPrior()),
    "gan": gan.Config(latent=8, width=4, search=gan.Search(steps=3, restarts=1, candidates=8)),
}


@pytest.fixture(scope="module")
def params() -> Params:
    return load_params(ROOT / "tests" / "params.yaml")


def make_shop(root: Path, splits: dict[SplitName, Split], conditions: tuple[Condition, ...] = ()) -> Layout:
    """A project after `train`: a packed dataset and two untrained models."""
    layout = Layout(root)
    image = ImageSpec(size=16)
    pack_dataset(layout.stage("prepare"), splits, image, KINDS, conditions, digest=DIGEST)
    points = []
    for seed, (run, config) in enumerate(CONFIGS.items()):
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            model = config.build(image, KINDS, conditions)
        card = WeightsCard(
            config=config,
            image=image,
            categories=KINDS,
            conditions=conditions,
            run=run,
            step=0,
            dataset=DIGEST,
            params="2" * 64,
            seed=seed,
        )
        path = f"weights/{run}-0.safetensors"
        sha256 = save_weights(layout.stage("train") / path, model, card)
        points.append(Checkpoint(run=run, family=run, step=0, path=path, sha256=sha256))
    TrainReport(dataset=DIGEST, checkpoints=tuple(points)).write(layout.stage("train") / "report.json")
    return layout


def small_splits(*, conditions: bool = False) -> dict[SplitName, Split]:
    sizes: dict[SplitName, int] = {"train": 80, "val": 24, "test": 24}
    return {name: draw_shapes(n, side=16, seed=s, conditions=conditions) for s, (name, n) in enumerate(sizes.items())}


def digests(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory, params: Params) -> tuple[Layout, EvaluationReport]:
    layout = make_shop(tmp_path_factory.mktemp("shop"), small_splits())
    return layout, evaluate(params, layout)


def test_every_checkpoint_gets_every_metric_by_the_same_protocol(judged):
    layout, report = judged
    assert [card.checkpoint.name for card in report.scorecards] == ["vae@0", "gan@0"]
    assert [card.reconstruction for card in report.scorecards] == ["encoded", "searched"]
    for card in report.scorecards:
        assert tuple(score.metric for score in card.scores) == tuple(
            name for name, metric in METRICS.items() if not metric.conditioned
        )
        assert card.estimate("psnr").value is not None
        assert card.estimate("kid").value is None, "40 reference photos are too few"
        assert "needs 50" in card.estimate("kid").note
    assert report.dataset == DIGEST
    assert EvaluationReport.read(layout.stage("evaluate") / "report.json") == report


def test_scores_stand_by_photo_and_add_up_to_the_mean(judged):
    layout, report = judged
    path = layout.stage("evaluate") / "photos.parquet"
    assert pq.read_table(path).num_rows == 24 + 8
    for card in report.scorecards:
        scores = read_photo_scores(path, card.checkpoint.name, report.evidence)
        assert scores.reconstruction == card.reconstruction
        assert scores.psnr.mean() == pytest.approx(card.estimate("psnr").value)
        assert scores.ssim.mean() == pytest.approx(card.estimate("ssim").value)


def test_metrics_are_plain_numbers_by_run(judged):
    layout, report = judged
    told = json.loads((layout.stage("evaluate") / "metrics.json").read_text())
    assert set(told) == {"vae", "gan"}
    assert told["vae"]["psnr"] == report.scorecards[0].estimate("psnr").value
    assert "kid" not in told["vae"]


def test_pictures_of_every_checkpoint_are_made(judged):
    layout, _ = judged
    names = sorted(path.name for path in (layout.stage("evaluate") / "pictures").iterdir())
    kinds = ("nearest", "reconstructions", "samples", "worst")
    assert names == sorted(f"{run}-0-{kind}.png" for run in CONFIGS for kind in kinds)


def test_a_second_run_elsewhere_gives_the_same_bytes(judged, params, tmp_path):
    layout, _ = judged
    other = make_shop(tmp_path, small_splits())
    evaluate(params, other)
    gate(params, other)
    gate(params, layout)
    for name in ("evaluate", "gate"):
        assert digests(other.stage(name)) == digests(layout.stage(name))


def test_what_an_earlier_evaluation_left_does_not_stand_beside_the_new_one(judged, params):
    layout, _ = judged
    before = digests(layout.stage("evaluate"))
    (layout.stage("evaluate") / "pictures" / "old-9-samples.png").write_bytes(b"of a checkpoint that is no more")
    (layout.stage("evaluate") / ".gitignore").write_text("/report.json")
    evaluate(params, layout)
    (layout.stage("evaluate") / ".gitignore").unlink()  # DVC's own: it stayed
    assert digests(layout.stage("evaluate")) == before


def test_an_untrained_model_gets_an_answer_and_no_error(judged, params):
    layout, _ = judged
    strict = params.gate.model_copy(update={"bounds": load_params(ROOT / "params.yaml").gate.bounds})
    verdict = gate(params.model_copy(update={"gate": strict}), layout)
    assert not verdict.passed
    assert verdict.candidate is None
    assert len(verdict.judgements) == 2


def test_changed_weights_are_never_judged(params, tmp_path):
    layout = make_shop(tmp_path, small_splits())
    path = layout.stage("train") / "weights" / "gan-0.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(IntegrityError, match="sha256"):
        evaluate(params, layout)
    assert not (layout.stage("evaluate") / "report.json").exists()


def test_models_of_another_dataset_are_refused(params, tmp_path):
    layout = make_shop(tmp_path, small_splits())
    report = TrainReport.read(layout.stage("train") / "report.json")
    report.model_copy(update={"dataset": "9" * 64}).write(layout.stage("train") / "report.json")
    with pytest.raises(IntegrityError, match="another dataset"):
        evaluate(params, layout)


def test_models_with_attributes_are_asked_for_them_and_measured_by_them(params, tmp_path):
    layout = make_shop(tmp_path, small_splits(conditions=True), SHADE)
    report = evaluate(params, layout)
    assert report.conditions == SHADE
    assert "attribute_consistency_real" in {told.metric for told in report.references}
    for card in report.scorecards:
        assert tuple(told.metric for told in card.scores) == tuple(METRICS)
        assert card.estimate("attribute_consistency").n > 40
        assert (layout.stage("evaluate") / "pictures" / f"{card.checkpoint.run}-0-attributes.png").is_file()
    bound = {"metric": "attribute_consistency", "at_least": {"of": "attribute_consistency_real"}, "when": "conditioned"}
    policy = params.gate.model_copy(update={"bounds": (*params.gate.bounds, Bound.model_validate(bound))})
    verdict = gate(params.model_copy(update={"gate": policy}), layout)
    assert {finding.metric for said in verdict.judgements for finding in said.findings} == {"psnr", "attribute_consistency"}
    page = (layout.stage("gate") / "report.html").read_text()
    assert "What was asked for" in page
    assert "shade" in page


def test_models_of_other_attributes_are_refused(params, tmp_path):
    layout = make_shop(tmp_path, small_splits(conditions=True), SHADE)
    dataset = Dataset.read(layout.stage("prepare") / "dataset.json")
    dataset.model_copy(update={"conditions": SHADE[:1]}).write(layout.stage("prepare") / "dataset.json")
    with pytest.raises(IntegrityError, match="another dataset"):
        evaluate(params, layout)


def test_a_photo_that_was_trained_on_and_held_out_is_refused(params, tmp_path):
    splits = small_splits()
    leaked = pick(splits["train"], np.arange(3))
    test = splits["test"]
    splits["test"] = Split(
        np.concatenate([test.images, leaked.images]),
        np.concatenate([test.categories, leaked.categories]),
        test.ids + leaked.ids,
        test.groups + leaked.groups,
    )
    with pytest.raises(IntegrityError, match="both trained on and held out"):
        evaluate(params, make_shop(tmp_path, splits))


def test_nothing_held_out_is_a_fault_of_the_data(params, tmp_path):
    splits = small_splits()
    nothing = pick(splits["test"], np.arange(0))
    with pytest.raises(DataRejected, match="no photo is held out"):
        gather_real_side(KINDS, splits["train"], splits["val"], nothing, params.evaluate, tmp_path)


def test_without_a_training_the_stage_to_run_is_named(params, tmp_path):
    layout = make_shop(tmp_path, small_splits())
    (layout.stage("train") / "report.json").unlink()
    with pytest.raises(MissingArtifact, match="'train'"):
        evaluate(params, layout)


def test_a_tracking_server_that_is_away_does_not_stop_an_evaluation(params, tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    layout = make_shop(tmp_path, small_splits())
    tracked = tuple(Tracked(run=run, mlflow_run="0" * 32, experiment="packshot") for run in CONFIGS)
    TrackedRuns(runs=tracked).write(layout.stage("train") / "tracked.json")
    assert evaluate(params, layout).scorecards
