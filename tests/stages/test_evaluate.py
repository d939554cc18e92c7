from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from packshot.errors import DataRejected, IntegrityError, MissingArtifact
from packshot.evaluation.comparison import UNASKED, UNPAIRED
from packshot.evaluation.evidence import pick
from packshot.evaluation.metrics import METRICS
from packshot.evaluation.policy import Bound
from packshot.evaluation.scoring import gather_real_side
from packshot.images.shards import Split, SplitName
from packshot.layout import Layout
from packshot.models import gan, vae
from packshot.models.weights import WeightsCard, load_weights, save_weights
from packshot.params import Params, load_params
from packshot.records import (
    Attribute,
    Catalog,
    Checkpoint,
    Condition,
    Dataset,
    EvaluationReport,
    ImageSpec,
    Live,
    ServiceCard,
    Speed,
    Tracked,
    TrackedRuns,
    TrainReport,
    find_estimate,
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


def make_catalog(layout: Layout, known: Mapping[str, Mapping[str, str | None]] = MappingProxyType({})) -> None:
    """What ingest says of attributes: for each photo, by id, the value of each."""
    names = sorted({name for values in known.values() for name in values})
    attributes = tuple(Attribute(name=name, kind="label") for name in names)
    Catalog(
        source="folder",
        photos=len(known),
        side=16,
        recipe=DIGEST,
        attributes=attributes,
        counts=(),
        quarantined=(),
        shards=(),
        digest="0" * 64,
    ).write(layout.stage("ingest") / "catalog.json")
    columns = {"sha256": list(known), **{name: [values[name] for values in known.values()] for name in names}}
    pq.write_table(pa.table(columns), layout.stage("ingest") / "manifest.parquet")


def make_shop(root: Path, splits: dict[SplitName, Split], conditions: tuple[Condition, ...] = ()) -> Layout:
    """A project after `train`: a packed dataset and two untrained models."""
    layout = Layout(root)
    make_catalog(layout)
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
            name for name, metric in METRICS.items() if metric.when == "always"
        )
        assert card.estimate("psnr").value is not None
        assert card.estimate("kid").value is None, "40 reference photos are too few"
        assert "needs 50" in card.estimate("kid").note
    assert report.dataset == DIGEST
    assert EvaluationReport.read(layout.stage("evaluate") / "report.json") == report


def test_scores_stand_by_photo_and_add_up_to_the_mean(judged):
    layout, report = judged
    photos = pq.read_table(layout.stage("evaluate") / "photos.parquet").to_pandas()
    assert len(photos) == 24 + 8
    for card in report.scorecards:
        mine = photos[photos["checkpoint"] == card.checkpoint.name]
        assert set(mine["reconstruction"]) == {card.reconstruction}
        for name in ("psnr", "ssim", "perceptual_catalog"):
            assert mine[name].mean() == pytest.approx(card.estimate(name).value)
        assert mine["ms_ssim"].isna().all(), "16 pixels are too small for two scales"
        assert mine["psnr_champion"].isna().all(), "there is no champion"
        worst = mine.sort_values("psnr")["id"].tolist()[:10]
        assert [photo.id for photo in card.worst] == worst


def test_metrics_are_plain_numbers_by_run(judged):
    layout, report = judged
    told = json.loads((layout.stage("evaluate") / "metrics.json").read_text())
    assert set(told) == {"vae", "gan"}
    assert told["vae"]["psnr"] == report.scorecards[0].estimate("psnr").value
    assert "kid" not in told["vae"]


def test_pictures_of_every_checkpoint_are_made(judged):
    layout, _ = judged
    names = sorted(path.name for path in (layout.stage("evaluate") / "pictures").iterdir())
    kinds = ("alike", "nearest", "reconstructions", "samples", "worst")
    assert names == sorted(f"{run}-0-{kind}.png" for run in CONFIGS for kind in kinds)


def test_a_second_run_elsewhere_gives_the_same_bytes(judged, params, tmp_path):
    layout, _ = judged
    other = make_shop(tmp_path, small_splits())
    evaluate(params, other)
    clock = "speed.json"
    shutil.copy(layout.stage("evaluate") / clock, other.stage("evaluate") / clock)  # no clock says the same twice
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
    after = digests(layout.stage("evaluate"))
    assert after.keys() == before.keys()
    assert {name for name in after if after[name] != before[name]} <= {"speed.json"}


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
        assert tuple(told.metric for told in card.scores) == tuple(
            name for name, metric in METRICS.items() if metric.when in {"always", "conditioned"}
        )
        assert {"shade cold", "shade warm"} <= {one.name for one in card.slices}
        assert card.estimate("attribute_consistency").n > 40
        assert (layout.stage("evaluate") / "pictures" / f"{card.checkpoint.run}-0-attributes.png").is_file()
    bound = {"metric": "attribute_consistency", "at_least": {"of": "attribute_consistency_real"}, "when": "conditioned"}
    policy = params.gate.model_copy(update={"bounds": (*params.gate.bounds, Bound.model_validate(bound))})
    verdict = gate(params.model_copy(update={"gate": policy}), layout)
    assert {finding.metric for said in verdict.judgements for finding in said.findings} == {"psnr", "attribute_consistency"}
    page = (layout.stage("gate") / "report.html").read_text()
    assert "What was asked for" in page
    assert "shade" in page


def test_attributes_of_the_catalogue_cut_slices_though_no_model_is_told_of_them(params, tmp_path, judged):
    _, without = judged
    layout, splits = make_shop(tmp_path, small_splits()), small_splits()
    photos = [photo for split in splits.values() for photo in split.ids]
    known = {
        photo: {"season": None if row % 3 == 2 else ("summer", "winter")[row % 3], "rare": photo}
        for row, photo in enumerate(photos)
    }
    make_catalog(layout, known)
    report = evaluate(params, layout)
    for card in report.scorecards:
        names = [one.name for one in card.slices]
        assert names == [*(f"category {kind}" for kind in KINDS), "season summer", "season winter"]
    assert find_estimate(report.scorecards[0].slices[-1].scores, "psnr").n == 8
    assert report.evidence != without.evidence, "slices are evidence too"
    assert [card.scores for card in report.scorecards] == [card.scores for card in without.scorecards]


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


def test_what_models_cost_stands_beside_the_report(judged):
    layout, report = judged
    speed = Speed.read(layout.stage("evaluate") / "speed.json")
    assert [cost.sha256 for cost in speed.costs] == [card.checkpoint.sha256 for card in report.scorecards]
    for card, cost in zip(report.scorecards, speed.costs, strict=True):
        weights = layout.stage("train") / card.checkpoint.path
        assert card.estimate("size_mb").value == pytest.approx(weights.stat().st_size / 1e6)
        assert cost.latency_ms.value > 0


# --- beside a champion ---------------------------------------------------------------------------------------------------


def crown(layout: Layout, weights: Path, sha256: str, *, dataset: str = DIGEST, version: int = 7) -> None:
    """Make weights the champion that live.json names."""
    model, _ = load_weights(weights, sha256)
    folder = layout.var / "shelf"
    card = ServiceCard(
        model="packshot",
        version=version,
        sha256=sha256,
        family="vae",
        image=model.image,
        categories=model.categories,
        dataset=dataset,
        data_version="",
        git_commit="",
        run="vae",
        scores=(),
    )
    card.write(folder / "card.json")
    live = {"epoch": 1, "model": "packshot", "version": version, "sha256": sha256}
    Live(**live, weights=str(weights), card=str(folder / "card.json")).write(layout.live)


def make_champion(
    folder: Path,
    *,
    seed: int = 5,
    categories: tuple[str, ...] = KINDS,
    size: int = 16,
    conditions: tuple[Condition, ...] = (),
) -> tuple[Path, str]:
    """An untrained VAE of the shop's own kind."""
    image = ImageSpec(size=size)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = CONFIGS["vae"].build(image, categories, conditions)
    card = WeightsCard(
        config=CONFIGS["vae"],
        image=image,
        categories=categories,
        conditions=conditions,
        run="vae",
        step=0,
        dataset=DIGEST,
        params="2" * 64,
        seed=seed,
    )
    path = folder / f"champion-{seed}-{size}-{len(categories)}-{len(conditions)}.safetensors"
    return path, save_weights(path, model, card)


def test_the_champion_is_measured_on_the_same_photos_and_seeds(params, tmp_path):
    layout = make_shop(tmp_path, small_splits())
    crown(layout, *make_champion(tmp_path))
    report = evaluate(params, layout)
    assert report.champion.version == 7
    assert report.champion.comparable
    vae_card, gan_card = report.scorecards
    own = find_estimate(report.champion_scores, "psnr")
    gain = find_estimate(vae_card.over_champion, "psnr")
    assert gain.value == pytest.approx(vae_card.estimate("psnr").value - own.value)
    assert gain.n == 24
    assert find_estimate(gan_card.over_champion, "psnr").note == UNPAIRED
    assert find_estimate(gan_card.over_champion, "class_consistency").n == 64
    pictures = {path.name for path in (layout.stage("evaluate") / "pictures").iterdir()}
    assert {"vae-0-beside.png", "vae-0-changed.png", "gan-0-beside.png"} <= pictures
    photos = pq.read_table(layout.stage("evaluate") / "photos.parquet").to_pandas()
    mine = photos[photos["checkpoint"] == "vae@0"]
    assert (mine["psnr"] - mine["psnr_champion"]).mean() == pytest.approx(gain.value)
    verdict = gate(params, layout)
    assert verdict.champion == report.champion
    page = (layout.stage("gate") / "report.html").read_text()
    assert "Beside the champion, version 7" in page
    assert report.champion.sha256 in page


def test_the_champion_s_own_weights_are_not_compared_with_themselves(params, tmp_path):
    layout = make_shop(tmp_path, small_splits())
    point = TrainReport.read(layout.stage("train") / "report.json").checkpoints[0]
    crown(layout, layout.stage("train") / point.path, point.sha256)
    card = evaluate(params, layout).scorecards[0]
    assert card.checkpoint.sha256 == point.sha256
    assert card.over_champion == ()
    assert (
        find_estimate(card.scores, "psnr").value
        == find_estimate(EvaluationReport.read(layout.stage("evaluate") / "report.json").champion_scores, "psnr").value
    )


def test_a_champion_that_lacks_a_category_is_compared_in_the_others(params, tmp_path):
    layout = make_shop(tmp_path, small_splits())
    crown(layout, *make_champion(tmp_path, categories=tuple(reversed(KINDS[1:]))))
    report = evaluate(params, layout)
    assert report.champion.lacks == KINDS[:1]
    assert KINDS[0] in report.champion.reason
    gain = find_estimate(report.scorecards[0].over_champion, "psnr")
    assert gain.n == 18, "a quarter of the 24 held-out photos is of the category that it lacks"
    lacking = next(one for one in report.scorecards[0].slices if one.name == f"category {KINDS[0]}")
    assert find_estimate(lacking.over_champion, "psnr").value is None
    assert find_estimate(lacking.scores, "psnr").n == 6


@pytest.mark.parametrize(
    ("champion", "why"), [({"size": 32}, "32 pixels"), ({"categories": ("lamp", "mug")}, "none of the categories")]
)
def test_a_champion_of_another_kind_stands_and_cannot_be_compared(params, tmp_path, champion, why):
    layout = make_shop(tmp_path, small_splits())
    crown(layout, *make_champion(tmp_path, **champion))
    report = evaluate(params, layout)
    assert not report.champion.comparable
    assert why in report.champion.reason
    assert report.champion_scores == ()
    assert not gate(params, layout).compared


def test_a_champion_is_asked_for_attributes_in_its_own_words(params, tmp_path):
    layout = make_shop(tmp_path, small_splits(conditions=True), SHADE)
    shade, price = SHADE
    later = (price.model_copy(update={"mean": price.mean + 1.0}), shade)
    crown(layout, *make_champion(tmp_path, conditions=later))
    report = evaluate(params, layout)
    assert report.champion.comparable
    assert report.champion.lacks == ()
    assert find_estimate(report.scorecards[0].over_champion, "attribute_consistency").value is not None
    crown(layout, *make_champion(tmp_path, seed=6, conditions=(shade.model_copy(update={"values": ("cold", "hot")}), price)))
    report = evaluate(params, layout)
    assert report.champion.lacks == ("shade warm",)
    assert find_estimate(report.scorecards[0].over_champion, "attribute_consistency").note == UNASKED
    assert find_estimate(report.scorecards[0].over_champion, "psnr").value is not None


def test_a_champion_that_was_told_more_than_is_known_now_stands_aside(params, tmp_path):
    layout = make_shop(tmp_path, small_splits())
    crown(layout, *make_champion(tmp_path, conditions=SHADE))
    report = evaluate(params, layout)
    assert not report.champion.comparable
    assert "shade, price" in report.champion.reason
    assert not gate(params, layout).compared


def test_a_champion_whose_card_is_gone_stops_no_evaluation(params, tmp_path):
    layout = make_shop(tmp_path, small_splits())
    crown(layout, *make_champion(tmp_path))
    (layout.var / "shelf" / "card.json").unlink()
    report = evaluate(params, layout)
    assert not report.champion.comparable
    assert "cannot be read" in report.champion.reason


def test_a_catalogue_that_is_not_the_dataset_s_any_more_is_refused(params, tmp_path):
    layout = make_shop(tmp_path, small_splits())
    path = layout.stage("ingest") / "catalog.json"
    path.write_text(path.read_text().replace('"digest": "000', '"digest": "abc'))
    with pytest.raises(IntegrityError, match="not that of the dataset"):
        evaluate(params, layout)


def test_a_champion_whose_weights_are_damaged_stops_no_evaluation(params, tmp_path):
    layout = make_shop(tmp_path, small_splits())
    path, sha256 = make_champion(tmp_path)
    crown(layout, path, sha256)
    path.write_bytes(b"other bytes")
    report = evaluate(params, layout)
    assert not report.champion.comparable
    assert "cannot be read" in report.champion.reason


def test_photos_that_the_champion_has_learnt_from_are_left_out_of_the_comparison(params, tmp_path):
    splits = small_splits()
    layout = make_shop(tmp_path, splits)
    crown(layout, *make_champion(tmp_path), dataset="7" * 64)
    unknown = evaluate(params, layout)
    assert "not known here" in unknown.champion.reason
    assert find_estimate(unknown.scorecards[0].over_champion, "psnr").n == 24
    learnt = [*splits["train"].ids[:5], *splits["test"].ids[:9]]
    layout.learnt.mkdir(parents=True)
    pq.write_table(pa.table({"id": learnt, "group": learnt}), layout.learnt / f"{'7' * 64}.parquet")
    report = evaluate(params, layout)
    assert "left out" in report.champion.reason
    assert find_estimate(report.scorecards[0].over_champion, "psnr").n == 15
