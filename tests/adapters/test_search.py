"""The study behind a search: what it tries, what it gives up, and that neither a kill nor a torn line loses what is known."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from pydantic import ValidationError

from packshot.adapters.search import JOURNAL, Study
from packshot.errors import Locked, ParamsError
from packshot.images.sheet import encode_png
from packshot.params import Params, describe_best, load_params, set_trial
from packshot.training.search import SearchParams

SETTINGS: dict[str, object] = {
    "run": "vae",
    "metric": "psnr",
    "unpruned": 2,
    "parameters": {
        "model.learning_rate": {"low": 1e-4, "high": 1e-1, "log": True},
        "batch_size": {"values": [8, 16, 32]},
        "model.width": {"low": 4, "high": 8},
    },
}


def section(**changes: object) -> SearchParams:
    return SearchParams.model_validate_json(json.dumps({**SETTINGS, **changes}))


def worth(settings: dict[str, object]) -> float:
    """The nearer the rate is to 0.01, the better."""
    return 20 - abs(math.log10(float(str(settings["model.learning_rate"]))) + 2)


def try_some(folder: Path, count: int, search: SearchParams) -> list[dict[str, object]]:
    tried = []
    with Study.open(folder, search, maximise=True) as study:
        for _ in range(count):
            number, settings = study.begin()
            study.complete(number, worth(settings))
            tried.append(settings)
    return tried


def test_values_are_of_the_kind_that_the_section_says(tmp_path: Path) -> None:
    for settings in try_some(tmp_path / "s", 12, section()):
        assert 1e-4 <= settings["model.learning_rate"] <= 1e-1
        assert settings["batch_size"] in {8, 16, 32}
        assert type(settings["model.width"]) is int


def test_the_seed_decides_also_where_the_study_was_closed_between(tmp_path: Path) -> None:
    straight = try_some(tmp_path / "straight" / "s", 14, section())
    parts = try_some(tmp_path / "parts" / "s", 5, section()) + try_some(tmp_path / "parts" / "s", 9, section())
    assert parts == straight
    assert try_some(tmp_path / "other" / "s", 3, section(seed=2)) != straight[:3]


def test_it_learns_from_what_it_tried(tmp_path: Path) -> None:
    tried = [worth(settings) for settings in try_some(tmp_path / "s", 40, section())]
    by_chance = 20 - (2 / 3 * 1 + 1 / 3 * 0.5)
    assert sum(tried[30:]) / 10 > by_chance + 0.3
    with Study.open(tmp_path / "s", section(), maximise=True) as study:
        best = study.best()
    assert best
    assert best.value == max(tried)


@pytest.mark.parametrize(("maximise", "verdicts"), [(True, [True, False]), (False, [False, True])])
def test_what_is_worse_than_the_median_at_the_same_look_is_given_up(maximise: bool, verdicts: list[bool], tmp_path: Path) -> None:
    with Study.open(tmp_path / "s", section(), maximise=maximise) as study:
        for value in (9.0, 10.0, 11.0):
            number, _ = study.begin()
            assert not study.report(number, 50, value) or value == 11.0, "the first two are never given up"
            study.complete(number, value)
        found = []
        for value in (9.5, 10.5):
            number, _ = study.begin()
            found.append(study.report(number, 50, value))
            study.prune(number)
        assert found == verdicts
        assert [one.state for one in study.tried()][-2:] == ["pruned", "pruned"]
        assert study.tried()[-1].value == 10.5


def test_what_was_under_way_when_it_was_killed_is_tried_again_first(tmp_path: Path) -> None:
    with Study.open(tmp_path / "s", section(), maximise=True) as study:
        first, _ = study.begin()
        study.complete(first, 1.0)
        failed, _ = study.begin()
        study.fail(failed, "NOT_FINITE")
        _, lost = study.begin()
    with (tmp_path / "s" / JOURNAL).open("a") as journal:
        journal.write('{"op_code": 6, "wor')  # the line that the kill cut
    with Study.open(tmp_path / "s", section(), maximise=True) as study:
        assert [(one.state, one.reason) for one in study.tried()] == [("completed", ""), ("failed", "NOT_FINITE")]
        number, again = study.begin()
        assert again == lost
        study.complete(number, 2.0)
        _, other = study.begin()
        assert other != lost
    with Study.open(tmp_path / "s", section(), maximise=True) as study:
        assert [one.value for one in study.tried()] == [1.0, None, 2.0]


def test_two_searches_do_not_share_a_study(tmp_path: Path) -> None:
    with (
        Study.open(tmp_path / "s", section(), maximise=True),
        pytest.raises(Locked, match="under way in another process"),
        Study.open(tmp_path / "s", section(), maximise=True),
    ):
        pass


def test_the_history_is_a_picture_of_the_same_bytes(tmp_path: Path) -> None:
    with Study.open(tmp_path / "s", section(), maximise=True) as study:
        assert study.draw().ndim == 3, "also of nothing"
    try_some(tmp_path / "s", 4, section())
    with Study.open(tmp_path / "s", section(), maximise=True) as study:
        study.fail(study.begin()[0], "NOT_FINITE")
        assert encode_png(study.draw()) == encode_png(study.draw())


# --- the section, and the params of a trial


def project(**changes: object) -> Params:
    params = load_params(Path(__file__).parents[1] / "params.yaml")
    return params.model_copy(update={"search": section(**changes)})


def test_a_trial_has_its_run_alone_with_its_settings_and_is_measured_as_it_goes() -> None:
    params = project(share=0.5, looks=4)
    trial = set_trial(params, {"model.learning_rate": 0.25, "batch_size": 8, "model.width": 6})
    (run,) = trial.train.runs
    before = params.train.runs[0]
    assert (run.name, run.model.learning_rate, run.batch_size, run.model.width) == ("vae", 0.25, 8, 6)
    assert trial.train.steps_of(run) == params.train.steps_of(before) // 2
    assert trial.train.dev
    assert (trial.train.dev.metric, trial.train.dev.every, trial.train.dev.patience) == ("psnr", 0.25, None)
    assert run.model.model_copy(update={"learning_rate": before.model.learning_rate, "width": before.model.width}) == before.model
    assert (trial.seed, trial.evaluate, trial.search) == (params.seed, params.evaluate, None)


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("model.latnt", 8, "the run 'vae' has no such setting to search"),
        ("model.polish.critc", 8, "the run 'vae' has no such setting to search"),
        ("name", "x", "the run 'vae' has no such setting to search"),
        ("model.family", "gan", "the run 'vae' has no such setting to search"),
        ("model.width", -1, "width: Input should be greater"),
        ("model.width", "wide", "width: Input should be a valid integer"),
    ],
)
def test_a_setting_that_cannot_be_is_named(name: str, value: object, told: str) -> None:
    with pytest.raises(ParamsError, match=told):
        set_trial(project(), {name: value})


@pytest.mark.parametrize(
    ("parameter", "told"),
    [
        ({"low": 2, "high": 2}, "high, 2, is not above it"),
        ({"low": 0, "high": 2, "log": True}, "on a logarithmic scale it is above 0"),
        ({"values": [1]}, "at least 2 items"),
        ({"low": 1, "hihg": 2}, "hihg"),
    ],
)
def test_a_range_that_is_none_is_refused(parameter: dict[str, object], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        section(parameters={"batch_size": parameter})


def test_the_best_settings_are_yaml_for_the_run() -> None:
    assert describe_best({"model.learning_rate": 0.25, "model.prior.guidance": 1.5, "batch_size": 8}) == (
        "model:\n  learning_rate: 0.25\n  prior:\n    guidance: 1.5\nbatch_size: 8\n"
    )
