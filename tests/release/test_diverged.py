"""What diverged can never be registered, also where another run of the same training did well, or an older one was approved."""

from __future__ import annotations

from pathlib import Path

import pytest

from packshot.errors import IntegrityError, MissingArtifact, TrainingFailed
from packshot.params import load_params
from packshot.release.register import register
from packshot.stages.evaluate import evaluate
from packshot.stages.train import train
from tests.models.families import CATEGORIES, IMAGE, toy_split
from tests.release.conftest import Shop
from tests.stages.datasets import pack_dataset


def test_with_a_nan_in_one_of_two_runs_nothing_can_be_registered(shop: Shop) -> None:
    shop.train(1)
    assert register(shop.params(), shop.layout).version == 1
    pack_dataset(shop.layout.stage("prepare"), {"train": toy_split(60)}, IMAGE, CATEGORIES, digest="d" * 64)
    params = load_params(Path(__file__).parents[1] / "params.yaml")
    sound, other = params.train.runs
    wild = other.model_copy(update={"model": other.model.model_copy(update={"learning_rate": 1e38})})
    section = params.train.model_copy(update={"runs": (sound, wild), "steps": 20})
    with pytest.raises(TrainingFailed, match=r"^NOT_FINITE: ") as failed:
        train(params.model_copy(update={"train": section}), shop.layout)
    assert failed.value.exit_code == 11
    left = shop.layout.stage("train")
    assert not (left / "report.json").exists()
    assert not list(left.glob("weights/gan*"))
    # The verdict on the model before still stands there, and is worth nothing: not even what passed then can be had again.
    with pytest.raises(IntegrityError, match="the candidate's weights are gone"):
        register(shop.params(), shop.layout)
    with pytest.raises(MissingArtifact):
        evaluate(params, shop.layout)
