"""The gate is gated: what must pass it does, and every planted fraud is refused, by the policy that the project ships."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from packshot.evaluation.baselines import PrincipalComponents, mean_picture
from packshot.evaluation.controls import CONTROLS, measure_controls
from packshot.evaluation.evidence import Evidence, Pixels, RealSide, Redrawn, Scores, pick
from packshot.evaluation.gate import judge
from packshot.evaluation.metrics import due_metrics, measure
from packshot.evaluation.policy import GateParams
from packshot.evaluation.protocol import EvaluateParams, ExtractorParams
from packshot.evaluation.scoring import collect_evidence, gather_real_side, measure_references, score, withhold_all
from packshot.images.pixels import NotFinite
from packshot.models import gan, vae
from packshot.params import load_params
from packshot.records import Checkpoint, Cost, Estimate, EvaluationReport, Judgement, Score, Scorecard
from tests.conftest import ROOT
from tests.evaluation.shapes import KINDS, draw_shapes

LATENT = 8
COST = Cost(
    sha256="0" * 64,
    size_mb=3.0,
    parameters=700_000,
    latency_ms=Estimate(value=5.0, low=4.0, high=6.0, n=100),
    micro_batch=8,
    threads=1,
    processor="any",
)
PARAMS = EvaluateParams(
    samples=400, seed=5, searched_photos=40, resamples=1000, extractor=ExtractorParams(epochs=15, width=8, seed=1)
)


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> RealSide:
    splits = (draw_shapes(count, seed=seed) for seed, count in enumerate((800, 200, 200)))
    return gather_real_side(KINDS, *splits, PARAMS, tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def references(real: RealSide) -> tuple[Score, ...]:
    return measure_references(real, [LATENT])


@pytest.fixture(scope="module")
def policy() -> GateParams:
    return load_params(ROOT / "params.yaml").gate


@pytest.fixture(scope="module")
def bounds(policy: GateParams) -> GateParams:
    """The policy without its controls, which stand in these tests for themselves."""
    return policy.model_copy(update={"controls": ()})


@pytest.fixture
def ask(real: RealSide, references: tuple[Score, ...], bounds: GateParams) -> Callable[..., Judgement]:
    """What the gate says of one evidence."""

    def ask_gate(evidence: Evidence | None, how: str = "encoded") -> Judgement:
        scores = score(evidence) if evidence else withhold_all("the model drew pixels that are not finite numbers", real)
        scores = (*scores, Score(metric="latency_ms", estimate=COST.latency_ms))
        point = Checkpoint(run="control", family="vae", step=1, path="weights/control.safetensors", sha256="0" * 64)
        card = Scorecard(checkpoint=point, scores=scores, reconstruction=how)
        report = EvaluationReport(dataset="d" * 64, evidence="e" * 64, references=references, scorecards=(card,))
        (said,) = judge(report, bounds).judgements
        return said

    return ask_gate


def broken(said: Judgement) -> set[str]:
    return {finding.metric for finding in said.findings if not finding.passed}


def redraw_well(real: RealSide) -> Pixels:
    """Held-out photos with a little noise: a very good autoencoder."""
    noise = np.random.default_rng(1).normal(0, 6, real.held_out.images.shape)
    return np.clip(real.held_out.images + noise, 0, 255).astype(np.uint8)


def evidence(real: RealSide, drawn: Pixels, asked: np.ndarray, redrawn: Pixels | None = None) -> Evidence:
    pictures = redraw_well(real) if redrawn is None else redrawn
    scores = Scores.measure(pictures, np.asarray(real.held_out.images))
    disturbed = {"shift_half_px": scores.psnr - 1.0}
    return Evidence(
        real,
        drawn,
        asked,
        Redrawn(real.held_out, pictures, "encoded", real.score_pca(LATENT), real.baselines["nearest_photo"], disturbed),
        cost=COST,
    )


@pytest.fixture(scope="module")
def fresh() -> tuple[Pixels, np.ndarray]:
    """Real pictures that nobody has seen, as if a perfect generator had drawn them."""
    shop = draw_shapes(400, seed=77)
    return shop.images, shop.categories


def test_real_photos_that_nobody_has_seen_pass(real, fresh, ask):
    said = ask(evidence(real, *fresh))
    assert said.passed, said.reason


def test_the_controls_fare_as_they_must_under_the_policy_that_the_project_ships(real, references, policy):
    controls = measure_controls(real)
    assert [control.name for control in controls] == list(CONTROLS)
    report = EvaluationReport(dataset="d" * 64, evidence="e" * 64, references=references, controls=controls, scorecards=())
    assert set(policy.controls) == set(CONTROLS), "the project ships a policy that asks for all of them"
    said = judge(report, policy).controls
    assert len(said) == len(CONTROLS)
    assert [(control.name, control.state, control.reason) for control in said if not control.behaves] == []


def test_every_metric_is_measured_on_a_sound_evidence(real, fresh):
    found = score(evidence(real, *fresh))
    assert [told.metric for told in found] == list(due_metrics(real))
    assert not [told for told in found if told.estimate.value is None]


def test_models_and_rungs_are_compared_at_one_number_of_pictures(real, fresh):
    """Coverage at twice the pictures is a third less: a limit measured at another number is no limit."""
    few = replace(real, unseen=pick(real.unseen, np.arange(150)))
    rungs = {told.metric: told.estimate.n for told in measure_references(few, [LATENT])}
    model = {told.metric: told.estimate.n for told in score(evidence(few, *fresh))}
    for metric in ("precision", "recall", "density", "coverage", "fd_catalog"):
        assert model[metric] == rungs[f"{metric}_real"] == 150


def test_the_mean_photo_is_refused(real, fresh, ask):
    photos, asked = np.asarray(real.training.images), fresh[1]
    said = ask(evidence(real, mean_picture(photos, 400), asked, mean_picture(photos, 200)))
    assert broken(said) >= {"psnr_over_pca", "ssim_over_pca", "kid", "kid_pixels", "recall", "coverage", "intra_class_ssim"}


def test_each_category_s_mean_is_refused(real, fresh, ask):
    means = np.stack([mean_picture(real.training.images[real.training.categories == kind], 1)[0] for kind in range(4)])
    said = ask(evidence(real, means[fresh[1]], fresh[1], means[real.held_out.categories]))
    assert broken(said) >= {"psnr_over_pca", "recall", "intra_class_ssim_worst"}


@pytest.mark.parametrize("noise", [0, 5])
@pytest.mark.parametrize("mirrored", [False, True])
def test_a_copier_of_training_photos_is_refused_and_only_by_the_tests_for_copies(real, ask, noise, mirrored):
    copied = pick(real.training, np.random.default_rng(3).permutation(800)[:400])
    pictures = np.asarray(copied.images)[..., ::-1] if mirrored else np.asarray(copied.images)
    noisy = pictures + np.random.default_rng(2).normal(0, noise, pictures.shape) if noise else pictures
    said = ask(evidence(real, np.clip(noisy, 0, 255).astype(np.uint8), copied.categories))
    assert broken(said) >= {"copy_rate", "copying_z"}
    assert broken(said) <= {"copy_rate", "authenticity", "copying_z"}


def test_few_pictures_repeated_are_refused(real, fresh, ask):
    drawn, asked = fresh
    rows = np.resize(np.arange(20), 400)
    assert broken(ask(evidence(real, drawn[rows], asked[rows]))) >= {"recall", "coverage"}


def test_one_collapsed_category_is_refused(real, fresh, ask):
    drawn, asked = fresh[0].copy(), fresh[1]
    drawn[asked == 2] = drawn[np.flatnonzero(asked == 2)[0]]
    assert "intra_class_ssim_worst" in broken(ask(evidence(real, drawn, asked)))


def test_a_category_drawn_as_another_is_refused(real, fresh, ask):
    drawn, asked = fresh[0].copy(), fresh[1]
    drawn[asked == 2] = fresh[0][asked == 0]
    assert broken(ask(evidence(real, drawn, asked))) >= {"class_consistency_worst", "kid"}


def test_two_missing_categories_are_refused(real, fresh, ask):
    rows = np.resize(np.flatnonzero(fresh[1] < 2), 400)
    assert broken(ask(evidence(real, fresh[0][rows], fresh[1][rows]))) >= {"kid", "coverage_worst"}


def test_one_missing_category_is_named(real, fresh):
    rows = np.resize(np.flatnonzero(fresh[1] != 2), 400)
    found = measure(evidence(real, fresh[0][rows], fresh[1][rows]), ("coverage", "coverage_worst"))
    worst = found["coverage_worst"]
    assert worst.note == f"worst: {KINDS[2]}"
    assert worst.high is not None
    assert worst.high < -0.4
    n = min(len(real.reference), len(real.unseen), 400)
    apart = np.linalg.norm(real.catalog_features[:n, None] - real.catalog_features[None, :n], axis=2)
    reach = np.sort(apart, axis=1)[:, real.neighbours]  # the first is the picture itself
    shares = []
    for features in (real.catalog.see(fresh[0][rows]) / real.catalog_scale, real.unseen_features):
        across = np.linalg.norm(real.catalog_features[:n, None] - features[None, :n], axis=2)
        shares.append((across.min(axis=1) < reach)[real.reference.categories[:n] == 2].mean())
    assert worst.value == pytest.approx(shares[0] - shares[1])


def test_a_shift_of_brightness_is_refused_though_the_classifier_does_not_mind(real, fresh, ask):
    darker = np.clip(fresh[0].astype(np.int64) - 40, 0, 255).astype(np.uint8)
    assert "kid_pixels" in broken(ask(evidence(real, darker, fresh[1])))


def test_swapped_colour_channels_are_refused(real, fresh, ask):
    said = ask(evidence(real, fresh[0][:, ::-1].copy(), fresh[1], redraw_well(real)[:, ::-1].copy()))
    assert broken(said) >= {"psnr_over_nearest", "kid_pixels"}


def test_a_flawless_reconstruction_is_refused_as_a_leak(real, fresh, ask):
    said = ask(evidence(real, *fresh, np.asarray(real.held_out.images)))
    assert not said.passed
    assert broken(said) >= {"psnr", "ssim", "exact_photos"}


def linear_vae(real: RealSide, size: int) -> PrincipalComponents:
    """A VAE whose encoder and decoder are linear has the principal components for its optimum (Lucas et al. 2019, 1911.02469)."""
    return PrincipalComponents.fit(np.asarray(real.training.images), size)


def paint(components: PrincipalComponents, latents: np.ndarray) -> Pixels:
    rows = latents @ components.directions + components.mean
    return np.clip(np.round(rows * 255), 0, 255).astype(np.uint8).reshape(-1, 3, 32, 32)


def test_a_good_autoencoder_whose_prior_was_never_fitted_is_refused(real, fresh, ask):
    components = linear_vae(real, 64)
    latents = np.random.default_rng(0).standard_normal((400, 64))
    said = ask(evidence(real, paint(components, latents), fresh[1], components.redraw(np.asarray(real.held_out.images))))
    assert broken(said) >= {"kid", "kid_pixels", "recall", "coverage", "coverage_worst", "class_consistency", "outlier_rate"}
    assert not broken(said) & {"psnr_over_pca", "ssim_over_pca", "psnr_over_nearest"}, "it does draw photos again well"


def test_an_autoencoder_that_has_collapsed_is_refused(real, fresh, ask):
    components = linear_vae(real, 1)
    photos = np.asarray(real.held_out.images)
    spread_of = components.encode(np.asarray(real.training.images)).std(axis=0)
    latents = np.random.default_rng(0).standard_normal((400, 1)) * spread_of
    said = ask(evidence(real, paint(components, latents), fresh[1], components.redraw(photos)))
    assert broken(said) >= {"psnr_over_pca", "ssim_over_pca", "kid", "recall", "coverage"}


def test_one_picture_of_one_colour_is_refused(real, fresh, ask):
    flat = np.full((400, 3, 32, 32), 200, dtype=np.uint8)
    said = ask(evidence(real, flat, fresh[1], flat[:200]))
    assert broken(said) >= {"psnr_over_pca", "kid", "recall", "coverage", "class_consistency", "intra_class_ssim"}


def test_a_third_of_broken_pictures_does_not_hide_in_the_mean(real, fresh, ask):
    drawn = fresh[0].copy()
    drawn[::3] = np.random.default_rng(0).integers(0, 256, drawn[::3].shape, dtype=np.uint8)
    assert "outlier_rate" in broken(ask(evidence(real, drawn, fresh[1])))


def test_pixels_that_are_no_numbers_are_refused(ask):
    said = ask(None)
    assert not said.passed
    assert all(finding.state == "reject" for finding in said.findings)
    assert "not finite numbers" in said.reason


@pytest.mark.parametrize(
    "config",
    [
        vae.Config(latent=LATENT, width=4, polish=None, prior=vae.GaussianPrior()),
        vae.Config(latent=LATENT, width=4, polish=None),
        gan.Config(latent=LATENT, width=4, search=gan.Search(steps=10, restarts=1, candidates=16)),
    ],
    ids=["vae with class Gaussians", "vae with a flow", "gan"],
)
def test_an_untrained_model_is_refused(real, ask, config):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = config.build(real_image(), KINDS).eval()
    try:
        found = collect_evidence(model, real, PARAMS)
    except NotFinite:
        found = None
    said = ask(found, "encoded" if model.encodes else "searched")
    assert not said.passed
    if found is not None:
        assert broken(said) >= {"kid", "coverage"}


def real_image():
    from packshot.records import ImageSpec

    return ImageSpec(size=32)


def test_a_model_that_draws_nan_is_a_finding_and_not_a_crash(real):
    model = gan.Config(latent=LATENT, width=4, search=gan.Search(steps=2, restarts=1, candidates=4)).build(real_image(), KINDS)
    with torch.no_grad():
        next(model.parameters()).fill_(torch.nan)
    with pytest.raises(NotFinite):
        collect_evidence(model.eval(), real, PARAMS)


def test_the_baselines_are_those_of_the_same_photos(real, references):
    told = {score.metric: score.estimate.value for score in references}
    photos = np.asarray(real.held_out.images)
    mean = Scores.measure(mean_picture(np.asarray(real.training.images), len(photos)), photos)
    assert told["psnr_mean_photo"] == pytest.approx(mean.psnr.mean())
    assert told[f"psnr_pca_{LATENT}"] > told["psnr_nearest_photo"] - 5
    assert told["kid_blur_2px"] > told["kid_blur_1px"] > told["kid_real"]
