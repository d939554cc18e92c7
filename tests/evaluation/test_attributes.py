"""Whether models draw what they are asked for beside the category, measured by eyes trained on real photos."""

import numpy as np
import pytest

from packshot.evaluation.attributes import (
    Named,
    borrow_conditions,
    estimate_attribute_consistency,
    estimate_worst_attribute,
    read_labels,
)
from packshot.evaluation.controls import CONTROLS
from packshot.evaluation.evidence import Evidence, RealSide, join, pick
from packshot.evaluation.metrics import METRICS, due_metrics
from packshot.evaluation.pictures import show_attributes
from packshot.evaluation.protocol import EvaluateParams, ExtractorParams
from packshot.evaluation.scoring import collect_evidence, digest_evidence, gather_real_side, measure_references, score
from packshot.models import vae
from packshot.records import Condition, ImageSpec
from tests.evaluation.shapes import KINDS, SHADE, draw_shapes

PARAMS = EvaluateParams(
    samples=120, seed=5, searched_photos=40, resamples=1000, extractor=ExtractorParams(epochs=8, width=4, seed=1)
)
COLOUR = Condition(name="colour", kind="label", values=("blue", "red", "white"))


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> RealSide:
    splits = (draw_shapes(count, side=16, seed=seed, conditions=True) for seed, count in enumerate((400, 80, 80)))
    return gather_real_side(KINDS, *splits, PARAMS, tmp_path_factory.mktemp("cache"), SHADE)


def test_labels_are_read_back_and_what_is_not_known_is_left_open():
    number = Condition(name="price", kind="number")
    encoded = np.array([[0.5, 1, 0, 1, 0], [0, 0, 0, 0, 0], [0, 1, 1, 0, 0]], dtype=np.float32)
    found = read_labels((number, COLOUR), encoded)
    assert found.keys() == {"colour"}
    np.testing.assert_array_equal(found["colour"], [1, -1, 0])


def test_pictures_are_asked_for_with_what_real_photos_of_their_category_have_each_in_its_turn():
    categories = np.array([0, 0, 0, 1, 1])
    conditions = np.arange(5, dtype=np.float32)[:, None]
    asked = np.array([1, 0] * 12)
    told = borrow_conditions(conditions, categories, asked, seed=3)
    assert np.bincount(told[asked == 0, 0].astype(int), minlength=5).tolist() == [4, 4, 4, 0, 0]
    assert np.bincount(told[asked == 1, 0].astype(int), minlength=5).tolist() == [0, 0, 0, 6, 6]
    np.testing.assert_array_equal(told, borrow_conditions(conditions, categories, asked, seed=3))
    assert not np.array_equal(told, borrow_conditions(conditions, categories, asked, seed=4))


def test_the_share_over_all_attributes_and_the_worst_value_are_told():
    asked = np.arange(90) % 3
    seen = np.where(asked == 2, 0, asked)
    size = Condition(name="size", kind="label", values=("big", "small"))
    every = np.zeros(90, dtype=np.int64)
    drawn = [Named(COLOUR, asked, seen), Named(size, every, every)]
    found = estimate_attribute_consistency(drawn)
    assert found.value == pytest.approx(150 / 180)
    assert found.note == "colour 0.67, size 1.00"
    sound = [Named(COLOUR, asked, asked), Named(size, every, every)]
    worst = estimate_worst_attribute(drawn, sound)
    assert (worst.value, worst.note) == (-1, "worst: colour white")


def test_too_few_pictures_say_nothing():
    few = np.zeros(19, dtype=np.int64)
    named = [Named(COLOUR, few, few)]
    assert estimate_attribute_consistency(named).value is None
    assert estimate_worst_attribute(named, named).value is None
    assert estimate_attribute_consistency([]).value is None


def test_real_photos_are_recognised_and_swapped_ones_are_not(real: RealSide):
    (found,) = [told.estimate for told in measure_references(real, [4]) if told.metric == "attribute_consistency_real"]
    shop = draw_shapes(120, side=16, seed=9, conditions=True)
    swapped = shop.conditions[:, [1, 0, 2, 3]]
    honest, fraud = (
        {told.metric: told.estimate for told in score(Evidence(real, shop.images, shop.categories, conditions=conditions))}
        for conditions in (shop.conditions, swapped)
    )
    assert found.value > 0.8
    assert honest["attribute_consistency"].n == 103, "each seventh is not known"
    assert abs(honest["attribute_consistency"].value - found.value) < 0.15
    assert fraud["attribute_consistency"].value == pytest.approx(1 - honest["attribute_consistency"].value)
    assert fraud["attribute_consistency_worst"].high < -0.3


def test_attributes_are_measured_only_where_models_know_of_some(real: RealSide, tmp_path):
    assert due_metrics(real) == tuple(name for name, metric in METRICS.items() if metric.when in {"always", "conditioned"})
    bare = gather_real_side(KINDS, *(draw_shapes(n, side=16, seed=s) for s, n in enumerate((80, 8, 8))), PARAMS, tmp_path)
    assert set(due_metrics(real)) - set(due_metrics(bare)) == {"attribute_consistency", "attribute_consistency_worst"}
    assert digest_evidence(bare, PARAMS, "d" * 64) != digest_evidence(real, PARAMS, "d" * 64)


def test_an_attribute_that_few_photos_have_is_withheld(tmp_path):
    splits = [draw_shapes(n, side=16, seed=s, conditions=True) for s, n in enumerate((80, 24, 24))]
    splits[0].conditions[30:, :2] = 0
    real = gather_real_side(KINDS, *splits, PARAMS, tmp_path, SHADE)
    told = {
        found.metric: found.estimate
        for found in score(Evidence(real, splits[2].images, splits[2].categories, conditions=splits[2].conditions))
    }
    for metric in ("attribute_consistency", "attribute_consistency_worst"):
        assert told[metric].value is None
        assert "20 photos" in told[metric].note


def test_a_model_is_asked_for_the_attributes_of_training_photos(real: RealSide):
    config = vae.Config(latent=4, width=4, polish=None, prior=vae.FlowPrior(width=16, blocks=1, steps=2))
    model = config.build(ImageSpec(size=16), KINDS, SHADE).eval()
    evidence = collect_evidence(model, real, PARAMS)
    assert evidence.conditions is not None
    for category in range(4):
        mine = evidence.conditions[evidence.asked == category]
        photos = {row.tobytes() for row in real.training.conditions[real.training.categories == category]}
        assert {row.tobytes() for row in mine} <= photos
    assert len(evidence.named) == 1
    assert show_attributes(model, seed=1).shape[2] == 3


def test_conditions_go_with_their_photos():
    one, other = (draw_shapes(6, side=16, seed=seed, conditions=True) for seed in (0, 1))
    picked = pick(join(one, other), np.array([7, 0]))
    np.testing.assert_array_equal(picked.conditions, [other.conditions[1], one.conditions[0]])


def test_all_that_is_measured_is_part_of_the_evidence(real, monkeypatch):
    before = digest_evidence(real, PARAMS, "d" * 64)
    monkeypatch.setitem(CONTROLS, "another", CONTROLS["real"])
    assert digest_evidence(real, PARAMS, "d" * 64) != before, "what was kept lacks a control that was added since"
